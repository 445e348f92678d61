"""Checks for notebook 03: the loss, the rate, mirroring, several devices."""

from __future__ import annotations

from collections.abc import Sequence

from oarfuse.course.checks.common import close, report, unanswered

# The toy of exercise 1: four voxels, an organ on the first two of them.
PROBABILITIES = (0.8, 0.3, 0.4, 0.1)
TRUTH = (1, 1, 0, 0)


def check_03_loss(dice_loss: float | None, cross_entropy: float | None) -> bool:
    """Exercise 1: both halves of the loss of `PROBABILITIES` against `TRUTH`, by hand."""
    if unanswered(dice_loss, cross_entropy):
        return False
    organ = 2 * (0.8 + 0.3) / (1.6 + 2)
    background = 2 * (0.6 + 0.9) / (2.4 + 2)
    right = 1 - (organ + background) / 2
    if close(dice_loss, 1 - organ, 2e-3):
        return report(False, "MONAI averages the Dice over all classes: background is one too.")
    if close(dice_loss, (organ + background) / 2, 2e-3):
        return report(False, "That is the mean Dice coefficient. A loss must fall as it rises.")
    if not close(dice_loss, right, 2e-3):
        return report(
            False, "The Dice half: per class 2 sum(p t) / (sum p + sum t), then the mean."
        )
    if close(cross_entropy, 2.0433, 5e-3):
        return report(False, "The cross-entropy is the mean over the voxels, not their sum.")
    if any(close(cross_entropy, wrong, 2e-3) for wrong in (0.3568, 0.7136, 0.2218)):
        return report(False, "Background voxels count as well, with 1 - p; and the log is natural.")
    if not close(cross_entropy, 0.5108, 2e-3):
        return report(False, "The cross-entropy: -ln of what each voxel gives to its true class.")
    return report(True, "", "The paper's loss is their sum, with equal weights.")


def check_03_rate(rate: float | None) -> bool:
    """Exercise 2: the rate at step 700 with cycles of 500 steps between 0.0005 and 0.003."""
    if unanswered(rate):
        return False
    if close(rate, 0.002, 1e-6):
        return report(False, "`cycle_steps` is a whole cycle, up and down; you took it for half.")
    if close(rate, 0.0015, 1e-6):
        return report(False, "It climbs for half a cycle and then falls: where is step 700?")
    if close(rate, 0.001, 1e-6):
        return report(False, "Each cycle begins at the lower end of the rate.")
    return report(
        close(rate, 0.0025, 1e-6),
        "Take the step within its cycle, then its distance from the cycle's middle.",
        "A function of the step alone: a resumed run has nothing to restore.",
    )


def check_03_mirror(row: Sequence[int] | None) -> bool:
    """Exercise 3: the labels ``[3, 3, 0, 1, 0, 4]`` after mirroring left to right."""
    if unanswered(row):
        return False
    try:
        values = [int(value) for value in row]  # type: ignore[union-attr]
    except (TypeError, ValueError):
        return report(False, "Give six label values, such as [0, 0, 1, 0, 3, 4].")
    if values == [4, 0, 1, 0, 3, 3]:
        return report(False, "Now the right parotid lies on the patient's left. What is missing?")
    if values == [4, 4, 0, 1, 0, 3]:
        return report(False, "The labels are traded, but the row itself was not turned around.")
    return report(
        values == [3, 0, 1, 0, 4, 4],
        "Two things happen: the row is read backwards, and labels 3 and 4 trade places.",
        "The organ without a partner keeps its label.",
    )


def check_03_devices(patches: int | None, steps: int | None) -> bool:
    """Exercise 4: patches a step on 4 devices with batch 2, and steps for 8000 patches."""
    if unanswered(patches, steps):
        return False
    if patches == 2:
        return report(False, "`batch_size` counts patches on each device, and four work at once.")
    if steps == 4000:
        return report(False, "4000 steps were one device's. Each step now sees more patches.")
    return report(
        patches == 8 and steps == 1000,
        "Multiply devices and batch; divide the patches that should be seen by that.",
        "Fewer steps also means fewer updates: the rate may need to change with them.",
    )


def check_03_absent(term: float | None) -> bool:
    """Exercise 5: the Dice term of an absent organ, with p = 0.01 on 1000 voxels."""
    if unanswered(term):
        return False
    if close(term, 1e-6, 1e-7):
        return report(False, "That is the Dice; the loss's term is one minus it.")
    if close(term, 0, 1e-3):
        return report(False, "The overlap is 0 and so is its Dice. What does one minus that give?")
    return report(
        close(term, 1, 1e-3),
        "Numerator: nothing overlaps. Denominator: 1000 voxels of 0.01. Epsilon is 1e-5.",
        "Halve the false alarm and the term is still 1: only cross-entropy sees the difference.",
    )
