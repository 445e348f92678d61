"""Augmentation of training patches, with MONAI's transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandAdjustContrast,
    RandAffined,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandShiftIntensity,
)
from torch import Tensor

from oarfuse.organs import DatasetSpec

# At strength 1: rotation by up to 15 degrees in the axial plane and 10 about the other axes; zoom
# by up to 15 %. Axes are (D, H, W), so the rotation about D turns the axial plane.
_ROTATE = (np.deg2rad(15), np.deg2rad(10), np.deg2rad(10))
_ZOOM = 0.15
# A patch that is rotated or enlarged at strength 1 reads this share of its sides beyond them.
_MARGIN = 0.3


def wide_enough(patch_size: tuple[int, int, int], strength: float) -> tuple[int, int, int]:
    """Return the (D, H, W) to cut, so that turning a patch brings in anatomy and not padding."""
    depth, height, width = (int(np.ceil(side * (1 + _MARGIN * strength))) for side in patch_size)
    return depth, height, width


def _spatial(patch_size: tuple[int, int, int], strength: float) -> RandAffined:
    return RandAffined(
        keys=("image", "label"),
        prob=0.8,
        rotate_range=tuple(angle * strength for angle in _ROTATE),
        scale_range=(_ZOOM * strength,) * 3,
        spatial_size=patch_size,
        mode=("bilinear", "nearest"),
        padding_mode=("border", "zeros"),
    )


def _intensity(strength: float) -> Compose:
    sigma = (0.3, 0.3 + 0.5 * strength)
    return Compose(
        [
            RandScaleIntensity(factors=0.15 * strength, prob=0.5),
            RandShiftIntensity(offsets=0.05 * strength, prob=0.5),
            RandAdjustContrast(gamma=(0.75**strength, 1.35**strength), prob=0.3),
            RandGaussianSmooth(sigma_x=sigma, sigma_y=sigma, sigma_z=sigma, prob=0.15),
            RandGaussianNoise(std=0.04 * strength, prob=0.3),
        ]
    )


def scale_window(image_hu: Tensor, window_hu: tuple[float, float]) -> Tensor:
    """Clip HU to the window and scale it to 0..1, as float32."""
    low, high = window_hu
    return ((image_hu.float() - low) / (high - low)).clamp_(0, 1)


def augment_patch(
    image_hu: Tensor,
    label: Tensor,
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
    random: np.random.Generator,
    strength: float,
) -> dict[str, Tensor]:
    """Augment one patch and cut it to size.

    Parameters
    ----------
    image_hu, label
        (D, H, W) HU and label values, wider than `patch_size`: see `wide_enough`.
    random
        Source of every random choice.
    strength
        Multiplies how far each of the changes may go; 1 turns by up to 15 degrees.

    Returns
    -------
    dict
        ``image`` (1, D, H, W) float32 in 0..1, ``label`` (1, D, H, W) int64.
    """
    image = scale_window(image_hu, spec.window_hu)
    spatial = _spatial(patch_size, strength)
    spatial.set_random_state(seed=int(random.integers(2**31)))
    turned = spatial({"image": image[None], "label": label.float()[None]})
    image, label = _plain(turned["image"]), _plain(turned["label"]).to(torch.uint8)
    if spec.mirror_pairs and random.random() < 0.5:
        image, label = mirror(image, label, spec)
    intensity = _intensity(strength)
    intensity.set_random_state(seed=int(random.integers(2**31)))
    image = _plain(intensity(image)).clamp_(0, 1)
    return {"image": image, "label": label.long()}


def mirror(image: Tensor, label: Tensor, spec: DatasetSpec) -> tuple[Tensor, Tensor]:
    """Mirror ``(.., D, H, W)`` left to right; organs of a pair trade their labels."""
    return image.flip(-1), swap_pairs(label.flip(-1), spec)


def swap_pairs(label: Tensor, spec: DatasetSpec) -> Tensor:
    """Exchange the labels of paired organs."""
    swapped = label.clone()
    for left, right in spec.mirror_pairs:
        swapped[label == left] = right
        swapped[label == right] = left
    return swapped


def _plain(tensor: Any) -> Tensor:
    """Drop MONAI's metadata: it would be pickled from a worker to the trainer for nothing."""
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor
