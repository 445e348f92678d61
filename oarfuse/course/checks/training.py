"""Checks for notebook 03: the loss, the rate, mirroring, several devices."""

from __future__ import annotations

from collections.abc import Sequence

from oarfuse.course.checks.common import close, exercise, number_hint, numbers, row_hint

# The toy of exercise 1: four voxels, an organ on the first two of them.
PROBABILITIES = (0.8, 0.3, 0.4, 0.1)
TRUTH = (1, 1, 0, 0)


@exercise("The paper's loss is their sum, with equal weights.")
def check_03_loss(dice_loss: float | None, cross_entropy: float | None) -> str:
    """Exercise 1: both halves of the loss of `PROBABILITIES` against `TRUTH`, by hand."""
    organ = 2 * (0.8 + 0.3) / (1.6 + 2)
    background = 2 * (0.6 + 0.9) / (2.4 + 2)
    dice = (organ + background) / 2
    hints = {
        1 - organ: "MONAI averages the Dice over all classes: background is one too.",
        dice: "That is the mean Dice coefficient. A loss must fall as it rises.",
        None: "The Dice half: per class 2 sum(p t) / (sum p + sum t), then the mean.",
    }
    all_voxels = "Background voxels count as well, with 1 - p; and the log is natural."
    entropy_hints: dict[float | None, str] = {
        2.0433: "The cross-entropy is the mean over the voxels, not their sum.",
        **dict.fromkeys((0.3568, 0.7136, 0.2218), all_voxels),
        None: "The cross-entropy: -ln of what each voxel gives to its true class.",
    }
    return number_hint(dice_loss, 1 - dice, 2e-3, hints) or number_hint(
        cross_entropy, 0.5108, 2e-3, entropy_hints
    )


@exercise("A function of the step alone: a resumed run has nothing to restore.")
def check_03_rate(rate: float | None) -> str:
    """Exercise 2: the rate at step 700 with cycles of 500 steps between 0.0005 and 0.003."""
    hints = {
        0.002: "`cycle_steps` is a whole cycle, up and down; you took it for half.",
        0.0015: "It climbs for half a cycle and then falls: where is step 700?",
        0.001: "Each cycle begins at the lower end of the rate.",
        None: "Take the step within its cycle, then its distance from the cycle's middle.",
    }
    return number_hint(rate, 0.0025, 1e-6, hints)


@exercise("The organ without a partner keeps its label.")
def check_03_mirror(row: Sequence[int] | None) -> str:
    """Exercise 3: the labels ``[3, 3, 0, 1, 0, 4]`` after mirroring left to right."""
    if numbers(row) is None:
        return "Give six label values, such as [0, 0, 1, 0, 3, 4]."
    flipped, traded = (4.0, 0, 1, 0, 3, 3), (4.0, 4, 0, 1, 0, 3)
    hints = {
        flipped: "Now the right parotid lies on the patient's left. What is missing?",
        traded: "The labels are traded, but the row itself was not turned around.",
        None: "Two things happen: the row is read backwards, and labels 3 and 4 trade places.",
    }
    return row_hint(row, (3, 0, 1, 0, 4, 4), hints)


@exercise("Fewer steps also means fewer updates: the rate may need to change with them.")
def check_03_devices(patches: int | None, steps: int | None) -> str:
    """Exercise 4: patches a step on 4 devices with batch 2, and steps for 8000 patches."""
    if patches == 2:
        return "`batch_size` counts patches on each device, and four work at once."
    if steps == 4000:
        return "4000 steps were one device's. Each step now sees more patches."
    if patches == 8 and steps == 1000:
        return ""
    return "Multiply devices and batch; divide the patches that should be seen by that."


@exercise("Halve the false alarm and the term is still 1: only cross-entropy sees the difference.")
def check_03_absent(term: float | None) -> str:
    """Exercise 5: the Dice term of an absent organ, with p = 0.01 on 1000 voxels."""
    if close(term, 1e-6, 1e-7):
        return "That is the Dice; the loss's term is one minus it."
    hints = {
        0: "The overlap is 0 and so is its Dice. What does one minus that give?",
        None: "Numerator: nothing overlaps. Denominator: 1000 voxels of 0.01. Epsilon is 1e-5.",
    }
    return number_hint(term, 1, 1e-3, hints)
