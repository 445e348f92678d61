"""Checks for notebook 05: mirrored pictures, error counts, ranks, slices and volumes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oarfuse.course.checks.common import close, report, unanswered
from oarfuse.viewing.plots.profiles import slice_dsc

__all__ = [
    "check_05_error_counts",
    "check_05_median",
    "check_05_two_slices",
    "check_05_which_side",
    "check_05_worst_slice",
]


def check_05_which_side(answer: str | None) -> bool:
    """Check which side a gland is on that stands on the viewer's left in an axial picture."""
    if unanswered(answer):
        return False
    given = str(answer).strip().lower()
    hint = "Answer 'left' or 'right'."
    if given == "left":
        hint = "Read the letters at the picture's edges: you look from the feet, face to face."
    return report(given == "right", hint, "A picture without R and L leaves this to luck.")


def check_05_error_counts(answer: float | None, truth: int, missed: int, extra: int) -> bool:
    """Check the DSC of an organ from its voxels in the truth and the missed and extra ones."""
    if unanswered(answer):
        return False
    shared = truth - missed
    right = 2 * shared / (truth + shared + extra)
    hint = "Right voxels: truth minus missed. The prediction holds them and the extra ones."
    if close(answer, shared / truth, 5e-4):
        hint = "That is the recall: extra voxels do not count in it, and in DSC they do."
    elif close(answer, shared / (truth + extra), 5e-4):
        hint = "That is the intersection over union (Jaccard). DSC counts what is shared twice."
    elif close(answer, 1 - (missed + extra) / truth, 5e-4):
        hint = "One minus the share of errors is not DSC: write down both masks' sizes."
    return report(close(answer, right, 5e-4), hint, "The error map's legend holds the whole score.")


def check_05_median(answer: str | None, scores: Mapping[str, float]) -> bool:
    """Check which case is the median one (of an even number, the lower of the middle two)."""
    if unanswered(answer):
        return False
    ranked = sorted(scores, key=lambda case: scores[case])
    right = ranked[(len(ranked) - 1) // 2]
    mean = float(np.mean(list(scores.values())))
    nearest = min(scores, key=lambda case: abs(scores[case] - mean))
    hint = "Sort the cases by score and take the one in the middle."
    if str(answer) == nearest:
        hint = "That case is nearest to the mean. One bad case pulls the mean, not the median."
    elif str(answer) not in scores:
        hint = f"Give the name of a case: one of {', '.join(scores)}."
    elif len(ranked) % 2 == 0 and str(answer) == ranked[len(ranked) // 2]:
        hint = (
            "There are two middle cases: take the lower one, so that the figure does not flatter."
        )
    return report(str(answer) == right, hint, "Half of the cases look worse than this one.")


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


def check_05_two_slices(answer: float | None) -> bool:
    """Check a volume's DSC: slice A 90 voxels all right, slice B 10 in truth, 10 elsewhere."""
    if unanswered(answer):
        return False
    hint = "Add the voxels of both slices first: shared, truth, prediction."
    if close(answer, 0.5, 1e-3):
        hint = "You took the mean of the two slices' DSCs, as if both were equally large."
    elif close(answer, 90 / 110, 2e-3):
        hint = "That is the intersection over union. DSC counts what is shared twice."
    return report(
        close(answer, 0.9, 1e-3), hint, "Large slices decide a volume's DSC; small ones hide in it."
    )
