"""Evaluate a trained network, or label files made elsewhere, on a split of a prepared folder."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oarfuse.data import read_nifti
from oarfuse.data.label_files import check_is_ours, write_labels
from oarfuse.data.manifest import checksums, load_whole_manifest
from oarfuse.data.nifti import nifti_cases, require_same_grid
from oarfuse.data.seen import about_seen
from oarfuse.devices import choose_device, choose_precision
from oarfuse.doubts import is_far
from oarfuse.errors import OarfuseError
from oarfuse.evaluation.cases import jsonable, run_cases, stored_case
from oarfuse.evaluation.folder import (
    FORMAT,
    MARKER,
    PREDICTIONS,
    WRITTEN,
    Evaluation,
    claim_folder,
    digest,
)
from oarfuse.evaluation.labels import whole_labels
from oarfuse.evaluation.report import write_report
from oarfuse.evaluation.statistics import MORE_COLUMNS
from oarfuse.evaluation.synapse_scorer import COLUMNS
from oarfuse.files import check_output_folder, sha256, sole_writer
from oarfuse.inference import check_options, predict_labels, predict_slices
from oarfuse.provenance import environment
from oarfuse.weights import find_weights, load_weights

if TYPE_CHECKING:
    from oarfuse.data import Case, Manifest, Volume


def evaluate(
    weights: str | Path,
    data: str | Path,
    split: str,
    output: str | Path,
    *,
    mirror: bool = False,
    device: str | None = None,
    precision: str = "auto",
    smoke: bool = False,
    save_predictions: bool = False,
    adapt_steps: int = 0,
    slice_side: int | None = None,
    progress: bool = True,
) -> Evaluation:
    """Predict and score every case of a split.

    Finished cases are kept in ``output/cases``, so that an interrupted evaluation goes on where it
    stopped when it is started again.

    Parameters
    ----------
    weights
        A safetensors file that `oarfuse train` wrote, or a name of `oarfuse.pretrained_names`.
    data
        A prepared folder.
    split
        ``train``, ``validation`` or ``test``.
    output
        Folder for the results; one folder holds one evaluation.
    mirror
        Average the predictions of the volume and of its left-right mirror image.
    device
        ``cpu``, ``cuda`` or ``cuda:1``; a GPU if there is one, when omitted.
    precision
        As for `oarfuse.inference.predict_labels`.
    smoke
        Call the result a smoke run in the summary: it proves that the pipeline works and nothing
        about the method.
    save_predictions
        Also write ``output/predictions/<case>.nii.gz``. Of cases that were scored without, or whose
        label map is gone, it is made again.
    adapt_steps
        Fit a copy of the network to each case first, see `oarfuse.inference.adapt_to_image`.
    slice_side
        Predict as TransUNet does, see `oarfuse.inference.predict_slices`; for 2D networks.
    progress
        Show a progress bar.

    Raises
    ------
    OarfuseError
        If an input is missing or damaged, the weights are for another data set, the split is
        empty, `output` holds another evaluation, or the network's scores are not finite.
    """
    manifest = load_whole_manifest(data)
    cases = _cases(manifest, split)
    weights = find_weights(weights)
    model, info = load_weights(weights)
    if info.dataset != manifest.dataset:
        raise OarfuseError(
            f"{weights} was trained for {info.dataset} and {data} holds {manifest.dataset}: "
            "evaluate it on the data set that it was trained for."
        )
    chosen = choose_device(device)
    choose_precision(precision, chosen.type)
    model.to(chosen)  # once, and not there and back for each case
    output = Path(output)
    said = check_options(model, info, mirror=mirror, adapt_steps=adapt_steps, slice_side=slice_side)
    far = [case.case for case in cases if is_far(case.spacing_mm, info)]
    if far:
        said.append(
            f"{len(far)} of {len(cases)} patients ({far[0]}) have voxels far from those that "
            f"{weights} was trained on, and nothing is resampled here: `oarfuse predict` does so."
        )
    for warning in said:
        warnings.warn(warning, stacklevel=2)
    special = {
        key: value
        for key, value in {"adapt_steps": adapt_steps, "slice_side": slice_side}.items()
        if value
    }
    data_identity, changed, files = _data_identity(manifest, cases, split)
    leaks = about_seen(info.patients, manifest, split, files, f"The weights {weights}")
    identity = {
        "weights_sha256": sha256(weights),
        "mirror": mirror,
        "precision": precision,
        **special,
        **data_identity,
    }

    def saved(case: Case) -> Path | None:
        return output / PREDICTIONS / f"{case.case}.nii.gz" if save_predictions else None

    def predict(volume: Volume) -> np.ndarray:
        if slice_side:
            labels = predict_slices(
                model, volume.image, info, slice_side, device=chosen, precision=precision
            )
        else:
            labels = predict_labels(
                model,
                volume.image,
                info,
                mirror=mirror,
                device=chosen,
                precision=precision,
                adapt_steps=adapt_steps,
            )
        target = saved(volume.case)
        if target is not None:
            check_is_ours(target)
            write_labels(target, labels, read_nifti(volume.case.image_path))
        return labels

    about = dataclasses.asdict(info)
    del about["patients"]  # checksums, of which a warning says what they mean here
    description = {
        "model": info.model,
        "weights": {"file": weights.name, "sha256": identity["weights_sha256"]},
        "model_info": jsonable(about),
        "mirror": mirror,
        "precision": choose_precision(precision, chosen.type),
        **special,
    }
    phantom = manifest.phantom or info.phantom
    kind = "phantom" if phantom else "smoke run" if smoke else "full run"
    description = {**description, **environment(chosen), "kind": kind}
    description["warnings"] = said + leaks + changed
    description["known_patients"] = bool(leaks and info.patients)  # and not only doubted
    check_output_folder(output, WRITTEN, marker=MARKER, reads=(data,))
    with sole_writer(output, "evaluating into"):
        claim_folder(output, identity)
        run_cases(cases, manifest.spec, output, predict, progress=progress, ahead=True, saved=saved)
        return _finish(output, manifest, cases, split, description)


def score_predictions(
    predictions: str | Path,
    data: str | Path,
    split: str,
    output: str | Path,
    *,
    method: str,
    model: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Score label files that any other program made, exactly as `evaluate` scores its own.

    Parameters
    ----------
    predictions
        Folder with ``<case>.nii.gz`` or ``.nii`` for each case of the split, on its image's grid.
    data, split, output, progress
        As for `evaluate`.
    method
        What the summary calls the method.
    model
        A name of `oarfuse.model_names()` if the labels are from that network: the summary then
        shows the paper's row of it.

    Raises
    ------
    OarfuseError
        As `evaluate` does, or if a file is missing, lies on another grid or holds other labels.
    """
    folder, output = Path(predictions), Path(output)
    manifest = load_whole_manifest(data)
    cases = _cases(manifest, split)
    files = nifti_cases(folder)
    for case in cases:
        if case.case not in files:
            raise OarfuseError(
                f"There is no {folder / case.case}.nii.gz: give a label file for each case of "
                f"{split}."
            )
    data_identity, changed, _ = _data_identity(manifest, cases, split)
    identity = {
        "predictions_sha256": digest([sha256(files[case.case]) for case in cases]),
        **data_identity,
    }

    def read(volume: Volume) -> np.ndarray:
        found = read_nifti(files[volume.case.case])
        require_same_grid(
            found,
            volume.label.shape,
            volume.affine,
            of="the case",
            remedy="resample it onto the image's grid, or give it that image's affine",
        )
        return whole_labels(found)

    kind = "phantom" if manifest.phantom else "full run"
    description = {"model": model, "method": method, "kind": kind, **environment()}
    description["warnings"] = changed
    check_output_folder(output, WRITTEN, marker=MARKER, reads=(data, folder))
    with sole_writer(output, "evaluating into"):
        claim_folder(output, identity)
        run_cases(cases, manifest.spec, output, read, progress=progress, ahead=False)
        return _finish(output, manifest, cases, split, description)


def _cases(manifest: Manifest, split: str) -> tuple[Case, ...]:
    cases = manifest.split(split)
    if not cases:
        raise OarfuseError(f"{manifest.folder} has no {split} cases: choose another split.")
    return cases


def _data_identity(
    manifest: Manifest, cases: Sequence[Case], split: str
) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """Return what tells these cases from others, warnings about their files, and the checksums."""
    sums, changed = checksums(cases)
    files = {name: f"{of['image']} {of['label']}" for name, of in sums.items()}
    identity = {
        "format": FORMAT,
        "dataset": manifest.dataset,
        "split": split,
        "data_sha256": digest([" ".join(file) for file in files.items()]),
    }
    return identity, changed, files


def _finish(
    output: Path,
    manifest: Manifest,
    cases: Sequence[Case],
    split: str,
    description: dict[str, Any],
) -> Evaluation:
    stored = [content for case in cases if (content := stored_case(output, case)) is not None]
    rows = [row for content in stored for row in content["rows"]]
    frame = pd.DataFrame(rows, columns=list(MORE_COLUMNS))
    numbers = [name for name in MORE_COLUMNS if name not in ("case", "organ", "variant", "missed")]
    frame = frame.astype(dict.fromkeys(numbers, float) | {"missed": bool})
    seconds = [content["prediction_seconds"] for content in stored]
    description = {
        "format": FORMAT,
        **description,
        "dataset": manifest.dataset,
        "phantom_data": manifest.phantom,
        "data_source": manifest.source,
        "split_rule": manifest.split_rule,
        "split": split,
        "cases": len(stored),
        "cases_with_leaking_slices": sum(content["leaking_slices"] > 0 for content in stored),
        "prediction_seconds_mean": None if None in seconds else float(np.mean(seconds)),
    }
    transunet = None
    if manifest.dataset == "synapse":
        rows = [row for content in stored for row in content["transunet"]]
        transunet = pd.DataFrame(rows, columns=list(COLUMNS))
    return write_report(output, frame, description, transunet)
