"""Checks for notebook 04: overlap, directions, units, missed organs, small samples, intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from oarfuse.course.checks.common import close, exercise, number_hint, numbers


@exercise("One pixel off, and a quarter of the score is gone: this organ is small.")
def check_04_dice(dsc: float | None) -> str:
    """Exercise 1: a 4 x 4 square against the same square one pixel further."""
    hints = {
        0.6: "That is intersection over union. Dice counts the overlap twice.",
        0.375: "The overlap counts twice, because both masks hold it.",
        None: "Count the pixels that both masks hold, double them, divide by the two areas' sum.",
    }
    return number_hint(dsc, 0.75, 1e-3, hints)


@exercise("Whoever reports the first direction alone forgives every part that was left out.")
def check_04_directions(
    to_truth: float | None, to_prediction: float | None, hausdorff: float | None
) -> str:
    """Exercise 2: a row of 7 pixels inside a row of 10 that begins at the same place."""
    if close(to_truth, 3, 1e-6) and close(to_prediction, 0, 1e-6):
        return "The two directions are exchanged: stand on the prediction first."
    if not close(to_truth, 0, 1e-6):
        return "Every pixel of a row one pixel thick is surface, in both rows."
    if not close(to_prediction, 3, 1e-6):
        return "How far is the truth's last pixel from the prediction's last one?"
    hints = {
        0: "A symmetric distance must see what the prediction left out.",
        1.5: "Not the mean of the two directions: the worse one counts.",
        None: "Which of the two directions does the Hausdorff distance take?",
    }
    return number_hint(hausdorff, 3, 1e-6, hints)


@exercise("Another point was the nearest one: two units are two searches.")
def check_04_units(voxels: float | None, mm: float | None) -> str:
    """Exercise 3: the nearest of (3, 0) and (0, 2) in voxels and in mm, spacing (2.5, 4.0) mm."""
    if not close(voxels, 2, 1e-6):
        return "In voxels every step counts 1: which of the two points is nearer?"
    factor = "There is no factor from voxels to mm where the spacing differs."
    hints = {
        8: "You converted the point that is nearest in voxels. Search again.",
        6.5: factor,
        5: factor,
        None: "Multiply each axis by its own spacing, then look for the nearest point.",
    }
    return number_hint(mm, 7.5, 1e-6, hints)


@exercise("A score that improves when the method fails is not a score.")
def check_04_missed(mean: float | None) -> str:
    """Exercise 4: the mean DSC of 0.9, 0.8 and an organ that was missed."""
    hints = {
        0.85: "You dropped the patient whom the method failed. The mean rose by it.",
        None: "A missed organ overlaps with nothing. What is its DSC?",
    }
    return number_hint(mean, 1.7 / 3, 1e-3, hints)


@exercise("With fewer patients no difference, however large, can be significant.")
def check_04_patients(patients: int | None) -> str:
    """Exercise 5: the fewest patients for a two-sided Wilcoxon p below 0.05."""
    hints = {
        5: "With five, the least p is 2 / 2**5. A two-sided test counts both ends.",
        None: "If all n differences have one sign, p is 2 / 2**n: which n brings it below 0.05?",
    }
    return number_hint(patients, 6, 0, hints)


@exercise("Twenty patients stay twenty, however many organs each of them has.")
def check_04_bootstrap(answer: Callable[[np.ndarray], Sequence[float]] | None) -> str:
    """Exercise 6: the 95 % bootstrap interval of the mean of (patients, organs), by patients."""
    assert answer is not None  # `exercise` has seen to it
    rng = np.random.default_rng(4)
    # The organs of a patient share most of their luck, so that drawing single organs shows.
    scores = 0.8 + 0.06 * rng.standard_normal((20, 1)) + 0.01 * rng.standard_normal((20, 5))
    ends = numbers(answer(scores.copy())) or ()
    if len(ends) != 2:
        return "Return two numbers: the lower and the upper end."
    drawn = rng.integers(20, size=(10_000, 20))
    right = np.percentile(scores[drawn].mean(axis=(1, 2)), [2.5, 97.5])
    width = float(np.ptp(right))
    if np.allclose(ends, right, rtol=0, atol=0.08 * width):
        return ""
    share = (ends[1] - ends[0]) / width
    if share < 0:
        return "The lower end comes first."
    if share < 0.05:
        return "Every draw has the same mean: draw with replacement, so that some come twice."
    if share < 0.6:
        return "Too narrow: you drew single organs. A patient's organs come or stay together."
    if share > 2:
        return "That is how single patients spread. How do the means of twenty spread?"
    if np.allclose(sum(ends), right.sum(), rtol=0, atol=0.16 * width):
        return "The middle is right, the width is not: which share of the means lies between?"
    return "Take the mean of each draw, and of these means the percentiles 2.5 and 97.5."
