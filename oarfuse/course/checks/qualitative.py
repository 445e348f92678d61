"""Checks for notebook 05: mirrored pictures, error counts, ranks, slices and volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from oarfuse.course.checks.common import (
    close,
    exercise,
    report,
    unanswered,
    word_hint,
)
from oarfuse.metrics import dice
from oarfuse.viewing.plots.profiles import slice_dsc

__all__ = [
    "check_05_error_counts",
    "check_05_median",
    "check_05_two_faces",
    "check_05_which_side",
    "check_05_worst_slice",
]


@exercise("A picture without R and L leaves this to luck.")
def check_05_which_side(answer: str | None) -> str:
    """Check which side a gland is on that stands on the viewer's left in an axial picture."""
    hints = {
        "left": "Read the letters at the picture's edges: you look from the feet, face to face.",
        None: "Answer 'left' or 'right'.",
    }
    return word_hint(answer, "right", hints)


@exercise("The error map's legend holds the whole score.")
def check_05_error_counts(answer: float | None, truth: int, missed: int, extra: int) -> str:
    """Check the DSC of an organ from its voxels in the truth and the missed and extra ones."""
    shared = truth - missed
    if close(answer, 2 * shared / (truth + shared + extra), 5e-4):
        return ""
    if close(answer, shared / truth, 5e-4):
        return "That is the recall: extra voxels do not count in it, and in DSC they do."
    if close(answer, shared / (truth + extra), 5e-4):
        return "That is the intersection over union (Jaccard). DSC counts what is shared twice."
    if close(answer, 1 - (missed + extra) / truth, 5e-4):
        return "One minus the share of errors is not DSC: write down both masks' sizes."
    return "Right voxels: truth minus missed. The prediction holds them and the extra ones."


# Scores by case on which `check_05_median` tries a function: of an odd and an even number, with
# the middle neither first nor last as written, nor nearest to the mean.
MEDIAN_TRIALS: tuple[dict[str, float], ...] = (
    {"pt_1": 0.80, "pt_2": 0.83, "pt_3": 0.30, "pt_4": 0.70, "pt_5": 0.82},
    {"pt_6": 0.90, "pt_7": 0.10, "pt_8": 0.80, "pt_9": 0.70},
    {"pt_10": 0.75},
)


@exercise("Half of the cases look worse than this one.")
def check_05_median(answer: Callable[[Mapping[str, float]], str]) -> str:
    """Check a function of scores by case that returns the median case (the lower of two)."""
    if not callable(answer):
        return "Hand over the function itself: `median_case`, without brackets."
    for scores in MEDIAN_TRIALS:
        given = answer(dict(scores))
        ranked = sorted(scores, key=lambda case: scores[case])
        if given == ranked[(len(ranked) - 1) // 2]:
            continue
        mean = float(np.mean(list(scores.values())))
        if given not in scores:
            return f"For {scores} it returned {given!r}: return the name of a case."
        if len(ranked) % 2 == 0 and given == ranked[len(ranked) // 2]:
            return (
                "There are two middle cases: take the lower one, so that the figure does not "
                "flatter."
            )
        if given == list(scores)[(len(scores) - 1) // 2]:
            return "That is the middle of the dictionary as it was written: sort by score first."
        if given == min(scores, key=lambda case: abs(scores[case] - mean)):
            return "That case is nearest to the mean. One bad case pulls the mean, not the median."
        return f"For {scores} it returned {given!r}: sort by score, take the one in the middle."
    return ""


def check_05_worst_slice(
    answer: int | None, truth: np.ndarray, prediction: np.ndarray, label: int
) -> bool:
    """Check the axial slice with the lowest DSC of an organ (any of several equal ones)."""
    if unanswered(answer):
        return False
    scores = slice_dsc(truth, prediction, label)
    lowest = np.nanmin(scores)
    best = np.flatnonzero(scores == np.nanmax(scores))
    try:
        index = int(answer)  # type: ignore[arg-type]
        found = scores[index] if 0 <= index < len(scores) else None
    except (TypeError, ValueError):
        found = None
    hint = "That slice scores better than another one."
    if found is None:
        hint = f"Give a slice index from 0 to {len(scores) - 1}."
    elif np.isnan(found):
        hint = "Neither map has the organ there, so there is no score: np.argmin stops at the nan."
    elif index in best:
        hint = "That is the kindest slice. Look for the harshest one."
    return report(
        found is not None and bool(found == lowest),
        hint,
        f"DSC {lowest:.2f} in this slice, and it is the same prediction.",
    )


@exercise("Large slices decide a volume's DSC; small ones hide in it.")
def check_05_two_faces(
    answer: np.ndarray, truth: np.ndarray, label: int, least: float = 0.95, slices: int = 3
) -> str:
    """Check a label map: DSC of an organ at least `least`, yet 0 in `slices` of its slices."""
    if np.shape(answer) != truth.shape:
        return f"Give a label map on the truth's grid, {truth.shape}: start from a copy of it."
    present = (truth == label).any(axis=(1, 2))
    scores = slice_dsc(truth, np.asarray(answer), label)
    zero = int((scores[present] == 0).sum())
    dsc = dice(np.asarray(answer) == label, truth == label)
    if zero < slices:
        stray = int((scores[~present] == 0).sum())
        if stray >= slices:
            return "Those slices have no such organ in the truth: lose it where it is."
        return (
            f"{zero} of the truth's slices have a DSC of 0, and {slices} were asked for: which "
            "slices can the volume do without?"
        )
    if not dsc >= least:
        return f"The volume's DSC is {dsc:.3f}: lose slices that hold fewer voxels."
    return ""
