"""Checks for notebook 04: overlap, directions, units, missed organs, small samples."""

from __future__ import annotations

from oarfuse.course.checks.common import close, report, unanswered


def check_04_dice(dsc: float | None) -> bool:
    """Exercise 1: a 4 x 4 square against the same square one pixel further."""
    if unanswered(dsc):
        return False
    if close(dsc, 0.6, 1e-3):
        return report(False, "That is intersection over union. Dice counts the overlap twice.")
    if close(dsc, 0.375, 1e-3):
        return report(False, "The overlap counts twice, because both masks hold it.")
    return report(
        close(dsc, 0.75, 1e-3),
        "Count the pixels that both masks hold, double them, divide by the two areas' sum.",
        "One pixel off, and a quarter of the score is gone: this organ is small.",
    )


def check_04_directions(
    to_truth: float | None, to_prediction: float | None, hausdorff: float | None
) -> bool:
    """Exercise 2: a row of 7 pixels inside a row of 10 that begins at the same place."""
    if unanswered(to_truth, to_prediction, hausdorff):
        return False
    if close(to_truth, 3, 1e-6) and close(to_prediction, 0, 1e-6):
        return report(False, "The two directions are exchanged: stand on the prediction first.")
    if not close(to_truth, 0, 1e-6):
        return report(False, "Every pixel of a row one pixel thick is surface, in both rows.")
    if not close(to_prediction, 3, 1e-6):
        return report(False, "How far is the truth's last pixel from the prediction's last one?")
    if close(hausdorff, 0, 1e-6):
        return report(False, "A symmetric distance must see what the prediction left out.")
    if close(hausdorff, 1.5, 1e-6):
        return report(False, "Not the mean of the two directions: the worse one counts.")
    return report(
        close(hausdorff, 3, 1e-6),
        "Which of the two directions does the Hausdorff distance take?",
        "Whoever reports the first direction alone forgives every part that was left out.",
    )


def check_04_units(voxels: float | None, mm: float | None) -> bool:
    """Exercise 3: the nearest of (3, 0) and (0, 2) in voxels and in mm, spacing (2.5, 4.0) mm."""
    if unanswered(voxels, mm):
        return False
    if not close(voxels, 2, 1e-6):
        return report(False, "In voxels every step counts 1: which of the two points is nearer?")
    if close(mm, 8, 1e-6):
        return report(False, "You converted the point that is nearest in voxels. Search again.")
    if close(mm, 6.5, 1e-6) or close(mm, 5, 1e-6):
        return report(False, "There is no factor from voxels to mm where the spacing differs.")
    return report(
        close(mm, 7.5, 1e-6),
        "Multiply each axis by its own spacing, then look for the nearest point.",
        "Another point was the nearest one: two units are two searches.",
    )


def check_04_missed(mean: float | None) -> bool:
    """Exercise 4: the mean DSC of 0.9, 0.8 and an organ that was missed."""
    if unanswered(mean):
        return False
    if close(mean, 0.85, 1e-3):
        return report(False, "You dropped the patient whom the method failed. The mean rose by it.")
    return report(
        close(mean, 1.7 / 3, 1e-3),
        "A missed organ overlaps with nothing. What is its DSC?",
        "A score that improves when the method fails is not a score.",
    )


def check_04_patients(patients: int | None) -> bool:
    """Exercise 5: the fewest patients for a two-sided Wilcoxon p below 0.05."""
    if unanswered(patients):
        return False
    if close(patients, 5, 0):
        return report(
            False, "With five, the least p is 2 / 2**5. A two-sided test counts both ends."
        )
    return report(
        close(patients, 6, 0),
        "If all n differences have one sign, p is 2 / 2**n: which n brings it below 0.05?",
        "With fewer patients no difference, however large, can be significant.",
    )
