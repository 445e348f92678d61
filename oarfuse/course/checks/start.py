"""Checks for notebook 00: labels, splits, the size of a network, a prediction of one's own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from oarfuse.course.checks.common import (
    close,
    exercise,
    number_hint,
    report,
    unanswered,
    word_hint,
)
from oarfuse.evaluation import score
from oarfuse.models import build_model
from oarfuse.organs import OPENKBP
from oarfuse.prediction import predict

__all__ = ["check_00_parameters", "check_00_second", "check_00_split", "check_00_voxels"]


@exercise("The same numbers and colours hold in all notebooks.")
def check_00_voxels(answer: int | None, label: np.ndarray, organ: str) -> str:
    """Check how many voxels of a label map belong to the organ with that name."""
    value = OPENKBP.classes.index(organ)
    counts = np.bincount(label.ravel(), minlength=len(OPENKBP.classes))
    hints: dict[int | None, str] = {
        None: "Compare `volume.label` with the organ's label value, and count what is True.",
        int(counts[value - 1]): "You left out the background: label 0 is not an organ.",
        int(counts[value]) * value: "You added up labels: each voxel counts once.",
        int(counts[1:].sum()): "Those are the voxels of all organs together.",
    }
    return number_hint(answer, int(counts[value]), 0, hints)


@exercise("That is why validation scores are a little too good.")
def check_00_split(answer: str | None) -> str:
    """Check which split decides which weights of a training run are kept."""
    hints = {
        "test": "Then its score would be the best of many looks. The test split is looked at once.",
        "train": "A network that learnt these cases by heart would look perfect there.",
        None: "Choose one of 'train', 'validation', 'test'.",
    }
    return word_hint(answer, "validation", hints)


def check_00_parameters(answer: int | None, model: str) -> bool:
    """Check the number of parameters of the network that `build_model(model)` makes."""
    if unanswered(answer):
        return False
    right = sum(parameter.numel() for parameter in build_model(model).parameters())
    hint = "Add up `parameter.numel()` over `model.parameters()`."
    if close(answer, right / 1e6, 0.01):
        hint = "That looks like millions: give the plain number."
    elif close(answer, right / 1e3, 1.0):
        hint = "That looks like thousands: give the plain number."
    return report(close(answer, right, 0), hint, f"{right / 1e6:.2f} million.")


@exercise("One patient says little about which network is better; notebook 06 takes all twenty.")
def check_00_second(
    answer: float | None, image: str | Path, truth: str | Path, weights: str, first: float
) -> str:
    """Check the mean DSC over the organs of what `weights` predict for a CT.

    Parameters
    ----------
    image, truth
        The files of the CT and of its labels. The check predicts the CT itself.
    first
        The mean DSC of the notebook's own prediction, by other weights.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.nii.gz"
        predict(image, weights).to_filename(path)
        scores = score(truth, path, OPENKBP.name)
    right = float(scores["dsc"].mean())
    hints: dict[float | None, str] = {
        None: f"Give {weights} to `oarfuse.predict`, write the labels to a file, score the file, "
        "and take the mean of the column `dsc`.",
        first: "That is the first network's score: did you give `oarfuse.predict` other weights?",
        100 * right: "That looks like per cent: DSC lies in 0..1.",
        float(scores["hd_vox"].mean()): "That is a distance: take the column `dsc`.",
    }
    return number_hint(answer, right, 1e-3, hints)
