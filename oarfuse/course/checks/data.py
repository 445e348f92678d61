"""Checks for notebook 01: positions, orientation, odd contours, sides, overlaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from oarfuse.course.checks.common import exercise, number_hint, word_hint
from oarfuse.data.openkbp.sparse_csv import SHAPE

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "check_01_ceiling",
    "check_01_flat_index",
    "check_01_odd",
    "check_01_reader",
    "check_01_sides",
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
def check_01_reader(answer: Callable[[bytes], np.ndarray] | None) -> str:
    """Check a function from a mask file's bytes to its mask (D, H, W), as `load_case` turns it.

    It is tried on a file of three voxels that no exchange of axes leaves in place.
    """
    assert answer is not None
    voxels = [(3, 20, 100), (3, 21, 100), (90, 64, 5)]  # (a, b, c)
    stored = np.zeros(SHAPE, bool)
    stored[tuple(np.transpose(voxels))] = True
    rows = "".join(f"{np.ravel_multi_index(voxel, SHAPE)},\n" for voxel in voxels)
    try:
        found = np.asarray(answer(f",data\n{rows}".encode()))
    except Exception as error:
        return f"Your function stops with: {type(error).__name__}: {error}"
    if found.shape != SHAPE:
        return f"It returns the shape {found.shape}: make a volume of 128 x 128 x 128 first."
    turned = stored.transpose(2, 0, 1)
    known = {
        "": turned[::-1],
        "The axes are right, but one of them points the other way: superior comes first now.": (
            turned
        ),
        "That is the stored order (a, b, c). A loaded volume has the axes S, P, L.": stored,
        "You let the first axis run fastest. In C order the last axis does.": stored.T,
    }
    for hint, mask in known.items():
        if np.array_equal(found.astype(bool), mask):
            return hint
    if found.astype(bool).sum() != len(voxels):
        return "It marks another number of voxels than the file lists: only the header is no row."
    return "Say for each stored axis which way it points, and find the loaded axis along that line."


@exercise("Now look at it: a table finds the odd contour, a picture says what is odd about it.")
def check_01_odd(answer: str | None, table: pd.DataFrame) -> str:
    """Check whose two parotids differ most, as a ratio, in what `oarfuse.data.audit` returns."""
    right, left = table["voxels_right_parotid"], table["voxels_left_parotid"]
    ratio = np.maximum(right / left, left / right)
    hints = {
        None: "Divide the larger gland of each patient by the smaller, and take the largest ratio.",
        str(ratio.idxmin()): "That patient's glands are the most alike of all.",
        str((right + left).idxmax()): "Both of that patient's glands are large: are they unequal?",
        str((right - left).abs().idxmax()): (
            "The largest difference in voxels belongs to large glands: how many times as large is "
            "one as the other?"
        ),
        str((right / left).idxmax()): "You looked at one side only: the right may be the smaller.",
    }
    return word_hint(answer, str(ratio.idxmax()), hints)


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
