"""Label files of whatever program: reading them, and scoring them without a prepared folder."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from oarfuse.data.nifti import (
    NiftiVolume,
    case_name,
    nifti_cases,
    read_nifti,
    require_same_grid,
)
from oarfuse.data.openkbp.prepare import PLACES as OPENKBP_PLACES
from oarfuse.data.plausible import Place, place_problem
from oarfuse.data.synapse_labels import PLACES as SYNAPSE_PLACES
from oarfuse.errors import OarfuseError
from oarfuse.evaluation.cases import check_labels, organ_rows, score_case
from oarfuse.evaluation.folder import (
    FORMAT,
    MARKER,
    TABLES,
    WRITTEN,
    Evaluation,
    claim_folder,
    digest,
)
from oarfuse.evaluation.report import write_report
from oarfuse.evaluation.statistics import MORE_COLUMNS
from oarfuse.files import check_output_folder, sha256, sole_writer
from oarfuse.organs import DatasetSpec, get_spec
from oarfuse.provenance import environment


def score(truth: str | Path, prediction: str | Path, dataset: str) -> pd.DataFrame:
    """Score label files against the truth, as they are.

    There is no CT here, so leaking slices are not known, and nothing is cleaned up: the rows are
    what `oarfuse.evaluation.score_predictions` gives for the variant ``raw``.

    Parameters
    ----------
    truth, prediction
        Two NIfTI files (``.nii`` or ``.nii.gz``) of label values, or two folders of such files. In
        folders each file of `truth` is compared with the one of the same name, its ending left
        aside, in `prediction`, whatever else lies there. A pair may be of any orientation but must
        share one grid.
    dataset
        ``openkbp`` or ``synapse``, for the organs and their label values (`oarfuse.organs`).

    Returns
    -------
    pandas.DataFrame
        One row per case (a truth's name without its suffix) and organ: `MORE_COLUMNS` of
        `oarfuse.evaluation.statistics` without ``variant``. DSC and surface Dice lie in 0..1,
        distances are in voxels or mm as their names say, `missed` is bool; what neither file
        has is NaN. `oarfuse.evaluation.statistics.summarise` takes the means.

    Raises
    ------
    OarfuseError
        If the data set is unknown, a file is missing or damaged, one is a folder and the other
        is not, a folder holds no such file, the grids differ, or a file holds other labels.
    """
    spec = get_spec(dataset)
    rows = []
    pairs = _pairs(Path(truth), Path(prediction))
    for pair in pairs:
        true_labels, labels, spacing_mm, _ = _read_pair(*pair, spec)
        scored = organ_rows(labels, true_labels, spacing_mm, spec)
        rows += [{"case": case_name(pair[0]), **row} for row in scored]
    _about_copies(pairs)
    return pd.DataFrame(rows, columns=[name for name in MORE_COLUMNS if name != "variant"])


def score_files(
    truth: str | Path, prediction: str | Path, dataset: str, output: str | Path
) -> Evaluation:
    """Score label files as `score` does, and write what `oarfuse.evaluation.evaluate` writes.

    Without a CT the leaking slices are not known, so there are two variants: ``raw`` and
    ``largest_component``. A truth whose organs lie where no patient has them, and a prediction that
    is the truth itself, are warned of, also in the summary.

    Parameters
    ----------
    truth, prediction, dataset
        As for `score`.
    output
        Folder to write. One that holds the scores of other files is refused.

    Raises
    ------
    OarfuseError
        As `score` does, or if the folder holds something else.
    """
    spec, output = get_spec(dataset), Path(output)
    pairs = _pairs(Path(truth), Path(prediction))
    for path in {path for pair in pairs for path in pair}:
        if not path.is_file():
            raise OarfuseError(f"There is no {path}: give a NIfTI file of labels.")
    identity = {
        "format": FORMAT,
        "dataset": dataset,
        "truth_sha256": digest([sha256(true_path) for true_path, _ in pairs]),
        "predictions_sha256": digest([sha256(path) for _, path in pairs]),
    }
    check_output_folder(output, WRITTEN, marker=MARKER, reads=(truth, prediction))
    with sole_writer(output, "scoring into"):
        claim_folder(output, identity)
        rows, said = [], _about_copies(pairs)
        for pair in pairs:
            true_labels, labels, spacing_mm, doubts = _read_pair(*pair, spec)
            said += doubts
            scored = score_case(labels, true_labels, spacing_mm, spec, case=case_name(pair[0]))
            rows += [row for row in scored if row["variant"] in TABLES]
        description = {
            "format": FORMAT,
            "model": None,
            "method": Path(prediction).name,
            "kind": "label files",
            **environment(),
            "dataset": dataset,
            "phantom_data": False,
            "data_source": Path(truth).name,
            "split_rule": None,
            "split": "given files",
            "cases": len(pairs),
            "cases_with_leaking_slices": None,
            "prediction_seconds_mean": None,
            "warnings": said,
        }
        return write_report(output, pd.DataFrame(rows), description)


def _read_pair(
    true_path: Path, path: Path, spec: DatasetSpec
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float], list[str]]:
    """Return truth and prediction (D, H, W) of a case, its spacing in mm, and what to doubt."""
    reference, found = read_nifti(true_path), read_nifti(path)
    require_same_grid(
        found,
        reference.array.shape,
        reference.array_affine,
        of="the truth",
        remedy="resample it onto the truth's grid",
    )
    true_labels, labels = whole_labels(reference), whole_labels(found)
    check_labels(true_labels, spec, str(true_path))
    check_labels(labels, spec, str(path))
    doubts = []
    values = {organ.name: organ.label for organ in spec.organs}
    problem = place_problem(true_labels, reference.array_affine, values, _places(spec))
    if problem:
        doubts.append(
            f"{true_path} {problem}: look whether its labels are those of {spec.title}, and its "
            "header is true."
        )
        warnings.warn(doubts[0], stacklevel=3)
    return true_labels, labels, reference.spacing_mm, doubts


def _about_copies(pairs: list[tuple[Path, Path]]) -> list[str]:
    """Say, and warn, that files of predictions are the truth itself, to the last byte."""
    same = [path for true_path, path in pairs if sha256(true_path) == sha256(path)]
    if not same:
        return []
    said = (
        f"{same[0]} is the truth itself, to the last byte ({len(same)} of {len(pairs)} files are)."
    )
    warnings.warn(said, stacklevel=3)
    return [said]


def _places(spec: DatasetSpec) -> list[Place]:
    """Return the rules about places whose organs a data set has both."""
    names = {organ.name for organ in spec.organs}
    rules = OPENKBP_PLACES if spec.name == "openkbp" else SYNAPSE_PLACES
    return [rule for rule in rules if {rule.organ, rule.other} <= names]


def _pairs(truth: Path, prediction: Path) -> list[tuple[Path, Path]]:
    if truth.is_dir() != prediction.is_dir():
        raise OarfuseError(
            f"Of {truth} and {prediction} one is a folder: give two files or two folders."
        )
    if not truth.is_dir():
        return [(truth, prediction)]
    true_files, files = nifti_cases(truth), nifti_cases(prediction)
    if not true_files:
        raise OarfuseError(f"{truth} holds no label files: give a folder of .nii.gz files.")
    for name in true_files:
        if name not in files:
            raise OarfuseError(
                f"There is no {prediction / name}.nii.gz: give a label file for each of {truth}."
            )
    return [(path, files[name]) for name, path in true_files.items()]


def whole_labels(volume: NiftiVolume) -> np.ndarray:
    """Return the labels of a file as integers; raise `OarfuseError` if it holds fractions."""
    labels = np.asarray(volume.array)
    if labels.dtype.kind != "f":
        return labels
    whole = np.rint(labels)  # many programs store labels as floating-point numbers
    if not np.array_equal(whole, labels):
        raise OarfuseError(f"{volume.path} holds fractions: give label values, not probabilities.")
    return whole.astype(np.int32)
