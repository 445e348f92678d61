"""Checks for notebook 01: positions, orientation, volumes, sides, overlaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from oarfuse.course.checks.common import close, exercise, number_hint, row_hint
from oarfuse.data.openkbp.sparse_csv import SHAPE

__all__ = [
    "check_01_ceiling",
    "check_01_flat_index",
    "check_01_sides",
    "check_01_turned",
    "check_01_volume",
]


@exercise("The last axis, superior to inferior, runs fastest.")
def check_01_flat_index(answer: int | None, voxel: tuple[int, int, int]) -> str:
    """Check the flat index under which the CSV files list a voxel (a, b, c)."""
    right = int(np.ravel_multi_index(voxel, SHAPE))
    reverse = int(np.ravel_multi_index(voxel[::-1], SHAPE))
    hints = {
        reverse: "You let the first axis run fastest. In C order the last axis does.",
        right + 1: "You counted from 1. The files count from 0.",
        None: "Write out equation (D1): how many voxels does one step along the first axis skip?",
    }
    return number_hint(answer, right, 0, hints)


@exercise("One axis flips, and all three change places.")
def check_01_turned(answer: Sequence[int] | None, voxel: tuple[int, int, int]) -> str:
    """Check the index (d, h, w) that a stored voxel (a, b, c) has in a loaded volume."""
    a, b, c = voxel
    unturned = "The axes are right, but one of them points the other way: superior comes first now."
    hints = {
        (c, a, b): unturned,
        (SHAPE[2] - c, a, b): "Almost: of 128 slices the last has the index 127.",
        voxel: "That is the place in the stored array. A loaded volume has the axes S, P, L.",
        None: "Say for each stored axis which way it points, and find the loaded axis along that "
        "line.",
    }
    return row_hint(answer, (SHAPE[2] - 1 - c, a, b), hints)


@exercise("Volumes compare; voxel counts do not.")
def check_01_volume(answer: float | None, voxels: int, spacing_mm: Sequence[float]) -> str:
    """Check an organ's volume in ml from its voxel count and the voxel size in mm."""
    right = voxels * float(np.prod(spacing_mm)) / 1000
    if close(answer, right, 0.01 * right):
        return ""
    if close(answer, right * 1000, right):
        return "That is in mm³. How many of them make one ml?"
    if close(answer, voxels / 1000, 1e-6) or close(answer, voxels, 0.5):
        return "You counted voxels as if each were 1 mm³ or 1 ml: use the voxel size."
    if any(close(answer, right / side, 1e-3 * right) for side in spacing_mm):
        return "One of the three sides of the voxel is missing."
    return "A voxel is a box: its volume is the product of its three sides. 1 ml is 1 cm³."


@exercise("No volume rule would have seen the swap.")
def check_01_sides(answer: Callable[[np.ndarray], bool] | None) -> str:
    """Check a function that says whether right and left parotid of a label map are on their sides.

    It is tried on a correct map, on one whose labels are swapped, and on one whose patient stands
    far from the middle of the volume.
    """
    assert answer is not None
    label = np.zeros((4, 8, 40), np.uint8)
    label[1:3, 2:5, 8:12], label[1:3, 2:5, 28:32] = 3, 4
    swapped = np.array([0, 1, 2, 4, 3, 5], np.uint8)[label]
    off_centre = np.zeros_like(label)
    off_centre[1:3, 2:5, 22:26], off_centre[1:3, 2:5, 34:38] = 3, 4
    try:
        found = [bool(answer(given.copy())) for given in (label, swapped, off_centre)]
    except Exception as error:
        return f"Your function stops with: {type(error).__name__}: {error}"
    if found == [True, False, True]:
        return ""
    if found == [False, True, False] or found == [False, True, True]:
        return "The last axis points to the patient's left: which label has the smaller index?"
    if found == [True, False, False]:
        return "The patient need not stand in the middle: compare the two glands with each other."
    if found[0] and found[1]:
        return "It also accepts a map whose two parotids are swapped."
    return "Compare the mean position of label 3 with that of label 4 along the last axis."


@exercise("Even a perfect copy of the drawn contour could not score more.")
def check_01_ceiling(answer: float | None, drawn: int, lost: int) -> str:
    """Check the DSC between an organ as drawn and the same organ without the voxels it lost."""
    left = drawn - lost
    recall = "That is the share of the organ that is left (a recall). DSC counts both masks below."
    hints = {
        left / drawn: recall,
        left / (drawn + left): "You forgot the factor 2 above the line.",
        None: "DSC = 2 |A ∩ B| / (|A| + |B|). How large are A, B and what they share?",
    }
    return number_hint(answer, 2 * left / (drawn + left), 5e-4, hints)
