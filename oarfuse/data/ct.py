"""What training, prediction and scoring know of a CT: its window, its body, its cut slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

# The least value of a CT, which also says that there is no CT at all.
AIR_HU = -1024
# In the 133 training and validation patients, organ slices hold either below 3 % or above 15 % of
# the CT of a full slice, with almost nothing between: any limit in the gap finds the same slices.
LEAK_SHARE = 0.05
# Every slice there that leaks by its labels (1919 of them) holds at most 6.7 % of the CT voxels of
# a full slice, and 34 of the 10 218 other organ slices hold less than this share.
CUT_SHARE = 0.08


def scale_window(image_hu: Tensor, window_hu: tuple[float, float]) -> Tensor:
    """Clip HU to the window and scale it to 0..1, as float32."""
    low, high = window_hu
    return ((image_hu.float() - low) / (high - low)).clamp_(0, 1)


def body_box(image: NDArray[np.int16], threshold_hu: int = -500) -> tuple[slice, slice, slice]:
    """Return the (D, H, W) box around all that is denser than air; the whole volume if nothing is.

    Parameters
    ----------
    image
        (D, H, W) HU.
    threshold_hu
        Voxels above it count.
    """
    dense = image > threshold_hu
    plane = np.any(dense, axis=0)
    lines = (dense.any(axis=(1, 2)), plane.any(axis=1), plane.any(axis=0))
    box = []
    for line, size in zip(lines, image.shape, strict=True):
        found = np.flatnonzero(line)
        box.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, size))
    return box[0], box[1], box[2]


def leaking_slices(image: NDArray[Any], label: NDArray[Any]) -> NDArray[np.bool_]:
    """Find axial slices that give the answer away, because CT exists only where organs are.

    In many OpenKBP patients the CT was cut to the planned region while the organ contours go on.
    Beyond the cut the data set keeps CT only inside structures, so that a network need not know
    what an organ looks like: wherever there is CT, there is an organ.

    A slice leaks if it holds organ voxels and its CT voxels outside all organs number less than
    `LEAK_SHARE` of those in a full slice. A voxel has CT if its value is above -1024 HU. A full
    slice is the 90th percentile of that count over the volume's organ slices; the median would not
    do, because in some patients half of the organ slices leak.

    Parameters
    ----------
    image
        (D, H, W) HU, -1024 where there is no CT; the first axis runs along the body.
    label
        (D, H, W) label values, 0 for background.

    Returns
    -------
    (D,) boolean, True for leaking slices. All False if there is no organ, or no CT outside organs
    at all, since then no slice can be told from the others.
    """
    organ = label > 0
    with_organ = organ.any(axis=(1, 2))
    if not with_organ.any():
        return np.zeros(len(label), bool)
    outside = ((image > AIR_HU) & ~organ).sum(axis=(1, 2))
    full = np.percentile(outside[with_organ], 90)
    return with_organ & (outside < LEAK_SHARE * full)


def cut_slices(image: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Find axial slices whose CT was cut away but inside structures, without knowing the labels.

    A slice counts if it has CT voxels, but fewer than `CUT_SHARE` of a full slice; a voxel has CT
    if it is above -1024 HU, and a full slice is the 90th percentile over the slices with CT. It is
    the rule of `leaking_slices` without its use of the labels, so that prediction can apply it.

    Parameters
    ----------
    image
        (D, H, W) HU.

    Returns
    -------
    (D,) boolean; all False if there is no CT at all.
    """
    present = np.count_nonzero(image > AIR_HU, axis=(1, 2))
    if not present.any():
        return np.zeros(len(image), bool)
    full = np.percentile(present[present > 0], 90)
    return (present > 0) & (present < CUT_SHARE * full)


def blank_cut_slices(image: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the CT (D, H, W) with air in the slices that `cut_slices` finds."""
    blanked = image.copy()
    blanked[cut_slices(image)] = AIR_HU
    return blanked
