"""CTs of a spacing that a network does not know, brought to one that it does and back."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from oarfuse.data.grids import ZOOM
from oarfuse.weights import ModelInfo


def sides_to_work_on(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float], info: ModelInfo
) -> tuple[int, ...]:
    """Return the sides that bring a foreign spacing to the training data's median.

    Foreign is what lies outside of the training data's range by more than its augmentation's zoom,
    which shows a network patients as if their voxels were so much larger or smaller.
    """
    least, most = info.spacing_range_mm
    recipe = info.training.get("config", {})
    augmented = isinstance(recipe, dict) and recipe.get("augment") is True
    margin = 1 + (ZOOM if augmented else 0.05)
    sides = []
    for side, spacing, low, high, median in zip(
        shape, spacing_mm, least, most, info.spacing_mm, strict=True
    ):
        known = low / margin <= spacing <= margin * high
        sides.append(side if known else max(1, round(side * spacing / median)))
    return tuple(sides)


def resize(image: NDArray[np.int16], sides: tuple[int, ...]) -> NDArray[np.int16]:
    """Resize a CT (D, H, W) to other sides, averaging where voxels merge."""
    volume = torch.from_numpy(image.copy()).float()[None, None]
    # Averaging over the voxels that merge is what a scanner with larger voxels does.
    smaller = tuple(min(new, old) for new, old in zip(sides, image.shape, strict=True))
    volume = F.adaptive_avg_pool3d(volume, smaller)
    volume = F.interpolate(volume, size=sides, mode="trilinear")
    return volume[0, 0].round().to(torch.int16).numpy()


def resize_labels(
    labels: NDArray[np.uint8], sides: tuple[int, ...], num_classes: int
) -> NDArray[np.uint8]:
    """Resize a label map class by class with linear interpolation, so that borders stay smooth."""
    best = torch.zeros(sides)
    resized = torch.zeros(sides, dtype=torch.uint8)
    for value in range(num_classes):
        mask = torch.from_numpy(labels == value).float()[None, None]
        score = F.interpolate(mask, size=sides, mode="trilinear")[0, 0]
        better = score > best
        best[better] = score[better]
        resized[better] = value
    return resized.numpy()
