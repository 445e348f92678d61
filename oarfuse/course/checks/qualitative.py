"""Checks for notebook 05: mirrored pictures, error counts, ranks, slices and volumes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oarfuse.course.checks.common import (
    close,
    exercise,
    number_hint,
    report,
    unanswered,
    word_hint,
)
from oarfuse.viewing.plots.profiles import slice_dsc

__all__ = [
    "check_05_error_counts",
    "check_05_median",
    "check_05_two_slices",
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


@exercise("Half of the cases look worse than this one.")
def check_05_median(answer: str | None, scores: Mapping[str, float]) -> str:
    """Check which case is the median one (of an even number, the lower of the middle two)."""
    ranked = sorted(scores, key=lambda case: scores[case])
    right = ranked[(len(ranked) - 1) // 2]
    mean = float(np.mean(list(scores.values())))
    nearest = min(scores, key=lambda case: abs(scores[case] - mean))
    if str(answer) == right:
        return ""
    if str(answer) == nearest:
        return "That case is nearest to the mean. One bad case pulls the mean, not the median."
    if str(answer) not in scores:
        return f"Give the name of a case: one of {', '.join(scores)}."
    if len(ranked) % 2 == 0 and str(answer) == ranked[len(ranked) // 2]:
        return (
            "There are two middle cases: take the lower one, so that the figure does not flatter."
        )
    return "Sort the cases by score and take the one in the middle."


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
def check_05_two_slices(answer: float | None) -> str:
    """Check a volume's DSC: slice A 90 voxels all right, slice B 10 in truth, 10 elsewhere."""
    hints = {
        0.5: "You took the mean of the two slices' DSCs, as if both were equally large.",
        90 / 110: "That is the intersection over union. DSC counts what is shared twice.",
        None: "Add the voxels of both slices first: shared, truth, prediction.",
    }
    return number_hint(answer, 0.9, 1e-3, hints)
