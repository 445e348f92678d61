"""Label files of whatever program: reading them, and scoring them without a prepared folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from oarfuse.data.nifti import NiftiVolume, read_nifti, require_same_grid
from oarfuse.errors import OarfuseError
from oarfuse.evaluation.cases import check_labels, organ_rows
from oarfuse.evaluation.statistics import MORE_COLUMNS
from oarfuse.organs import get_spec


def score(truth: str | Path, prediction: str | Path, dataset: str) -> pd.DataFrame:
    """Score label files against the truth, as they are.

    There is no CT here, so leaking slices are not known, and nothing is cleaned up: the rows are
    what `oarfuse.evaluation.score_predictions` gives for the variant ``raw``.

    Parameters
    ----------
    truth, prediction
        Two NIfTI files (``.nii`` or ``.nii.gz``) of label values, or two folders of such files. In
        folders each file of `truth` is compared with the one of the same name in `prediction`,
        whatever else lies there. A pair may be of any orientation but must share one grid.
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
    for true_path, path in _pairs(Path(truth), Path(prediction)):
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
        case = true_path.name.removesuffix(".gz").removesuffix(".nii")
        scored = organ_rows(labels, true_labels, reference.spacing_mm, spec)
        rows += [{"case": case, **row} for row in scored]
    return pd.DataFrame(rows, columns=[name for name in MORE_COLUMNS if name != "variant"])


def _pairs(truth: Path, prediction: Path) -> list[tuple[Path, Path]]:
    if truth.is_dir() != prediction.is_dir():
        raise OarfuseError(
            f"Of {truth} and {prediction} one is a folder: give two files or two folders."
        )
    if not truth.is_dir():
        return [(truth, prediction)]
    paths = sorted(path for path in truth.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    if not paths:
        raise OarfuseError(f"{truth} holds no label files: give a folder of .nii.gz files.")
    for path in paths:
        if not (prediction / path.name).is_file():
            raise OarfuseError(
                f"There is no {prediction / path.name}: give a label file for each of {truth}."
            )
    return [(path, prediction / path.name) for path in paths]


def whole_labels(volume: NiftiVolume) -> np.ndarray:
    """Return the labels of a file as integers; raise `OarfuseError` if it holds fractions."""
    labels = np.asarray(volume.array)
    if labels.dtype.kind != "f":
        return labels
    whole = np.rint(labels)  # many programs store labels as floating-point numbers
    if not np.array_equal(whole, labels):
        raise OarfuseError(f"{volume.path} holds fractions: give label values, not probabilities.")
    return whole.astype(np.int32)
