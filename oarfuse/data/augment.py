"""Augmentation of training patches: a batch at a time, on the device that trains.

What happens to a patch is drawn on the host into a `Change`; `augment_batch` then carries out the
changes of a whole batch with few tensor operations and never waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oarfuse.data.ct import scale_window
from oarfuse.data.grids import ZOOM
from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec

# At strength 1: rotation by up to 15 degrees in the axial plane and 10 about the other axes; zoom
# by up to `ZOOM`. Axes are (D, H, W), so the rotation about D turns the axial plane.
_ROTATE = np.deg2rad((15, 10, 10))
# A patch that is rotated or enlarged at strength 1 reads this share of its sides beyond them.
_MARGIN = 0.3
# Shares of the patches that each change is made to.
_TURNED, _MIRRORED, _SCALED, _SHIFTED, _CONTRASTED, _BLURRED, _NOISED = (
    0.8, 0.5, 0.5, 0.5, 0.3, 0.15, 0.3,
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What is done to one patch, in this order; as it stands by default, nothing.

    Attributes
    ----------
    angles
        Radians about the axes D, H and W: the patch is read from a box that is turned about W
        first and about D last.
    zoom
        For each axis (D, H, W), how many voxels of the cut one voxel of the patch takes; above 1
        shrinks the patient.
    mirrored
        Whether left and right change places, and with them the labels of paired organs.
    factor, shift
        The image times `factor`, plus `shift`.
    gamma
        Exponent of the image once it is scaled to 0..1 between its least and greatest value.
    sigmas
        Standard deviations in voxels of the blur along (D, H, W).
    noise_std, noise_seed
        Gaussian noise and the seed to draw it from.
    """

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zoom: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirrored: bool = False
    factor: float = 1.0
    shift: float = 0.0
    gamma: float = 1.0
    sigmas: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_std: float = 0.0
    noise_seed: int = 0

    @property
    def turned(self) -> bool:
        """Whether the patch is rotated or zoomed, so that voxels fall between voxels."""
        return any(self.angles) or self.zoom != (1.0, 1.0, 1.0)


def draw_change(random: np.random.Generator, strength: float, *, mirrors: bool) -> Change:
    """Draw what is done to one patch.

    Parameters
    ----------
    random
        Source of every random choice; a call always takes the same amount from it.
    strength
        Multiplies how far each of the changes may go; 1 turns by up to 15 degrees.
    mirrors
        Whether patches of this data set may be mirrored.
    """
    happens = random.random(7) < (
        _TURNED, _MIRRORED, _SCALED, _SHIFTED, _CONTRASTED, _BLURRED, _NOISED,
    )  # fmt: skip
    turned, mirrored, scaled, shifted, contrasted, blurred, noised = happens.tolist()
    signed = random.uniform(-strength, strength, 8)
    share = random.random(5)
    seed = int(random.integers(2**63))
    least, most = 0.75**strength, 1.35**strength
    return Change(
        angles=_three(_ROTATE * signed[:3]) if turned else (0.0, 0.0, 0.0),
        zoom=_three(1 + ZOOM * signed[3:6]) if turned else (1.0, 1.0, 1.0),
        mirrored=mirrors and mirrored,
        factor=float(1 + 0.15 * signed[6]) if scaled else 1.0,
        shift=float(0.05 * signed[7]) if shifted else 0.0,
        gamma=float(least + (most - least) * share[0]) if contrasted else 1.0,
        sigmas=_three(0.3 + 0.5 * strength * share[1:4]) if blurred else (0.0, 0.0, 0.0),
        noise_std=float(0.04 * strength * share[4]) if noised else 0.0,
        noise_seed=seed,
    )


def wide_enough(patch_size: tuple[int, int, int], strength: float) -> tuple[int, int, int]:
    """Return the (D, H, W) to cut, so that turning a patch brings in anatomy and not padding.

    The same number of voxels is added at both ends of a side: the middles of patch and cut then
    agree, and a patch that is not turned is made of whole voxels.
    """
    depth, height, width = (
        side + 2 * math.ceil(side * _MARGIN * strength / 2) for side in patch_size
    )
    return depth, height, width


def augment_batch(
    image_hu: Tensor,
    label: Tensor,
    changes: Sequence[Change],
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
) -> dict[str, Tensor]:
    """Carry out one change for each patch of a batch, and cut the patches to size.

    A patch does not depend on the others of its batch. Its noise is drawn on the device, and
    differs between kinds of device.

    Parameters
    ----------
    image_hu, label
        (B, D', H', W') HU and label values, wider than `patch_size` (D, H, W): see `wide_enough`.
    changes
        One for each of the B patches.

    Returns
    -------
    dict
        ``image`` (B, 1, D, H, W) float32 in 0..1, ``label`` (B, 1, D, H, W) int64, on the device
        of `image_hu`.

    Raises
    ------
    OarfuseError
        If the cuts are smaller than the patch.
    """
    cut = tuple(image_hu.shape[1:])
    if any(wide < side for wide, side in zip(cut, patch_size, strict=True)):
        raise OarfuseError(f"A patch of {patch_size} voxels does not fit into a cut of {cut}.")
    image, values = _turn(image_hu, label, changes, spec, patch_size)
    image = _recolour(image, changes).clamp_(0, 1)
    return {"image": image, "label": values.long()}


def mirror(image: Tensor, label: Tensor, spec: DatasetSpec) -> tuple[Tensor, Tensor]:
    """Mirror ``(.., D, H, W)`` left to right; organs of a pair trade their labels."""
    return image.flip(-1), swap_pairs(label.flip(-1), spec)


def swap_pairs(label: Tensor, spec: DatasetSpec) -> Tensor:
    """Exchange the labels of paired organs."""
    swapped = label
    for left, right in spec.mirror_pairs:
        swapped = torch.where(label == left, right, swapped)
        swapped = torch.where(label == right, left, swapped)
    return swapped


def _turn(
    image_hu: Tensor,
    label: Tensor,
    changes: Sequence[Change],
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
) -> tuple[Tensor, Tensor]:
    """Rotate, zoom and mirror: image (B, 1, D, H, W) float32 in 0..1, label the same in uint8."""
    batch, device = len(changes), image_hu.device
    if any(change.turned for change in changes):
        wide = scale_window(image_hu, spec.window_hu)[:, None]  # (B, 1, D', H', W')
        grid = _grid(changes, image_hu.shape[1:], patch_size, device)
        image = F.grid_sample(wide, grid, padding_mode="border", align_corners=False)
        # float32 holds every label value exactly
        nearest = F.grid_sample(label.float()[:, None], grid, mode="nearest", align_corners=False)
        values = nearest.to(torch.uint8)
        if any(change.mirrored for change in changes):  # the grid has mirrored the place already
            mirrored = _send([change.mirrored for change in changes], np.bool_, device)
            values = torch.where(_column(mirrored), swap_pairs(values, spec), values)
    else:
        image = torch.empty((batch, 1, *patch_size), device=device)
        values = torch.empty((batch, 1, *patch_size), dtype=torch.uint8, device=device)
    inner = tuple(
        slice((wide - side) // 2, (wide - side) // 2 + side)
        for wide, side in zip(image_hu.shape[1:], patch_size, strict=True)
    )
    for row, change in enumerate(changes):
        if not change.turned:  # whole voxels, exactly as they are
            middle = scale_window(image_hu[row][inner], spec.window_hu), label[row][inner]
            if change.mirrored:
                middle = mirror(*middle, spec)
            image[row, 0], values[row, 0] = middle
    return image, values


def _grid(
    changes: Sequence[Change],
    cut: Sequence[int],
    patch_size: tuple[int, int, int],
    device: torch.device,
) -> Tensor:
    """Return for each voxel where in the cut it is read, as `grid_sample` wants it.

    (B, D, H, W, 3) in the order (W, H, D), -1 and 1 being the outer faces of the outer voxels.
    """
    scaled = _matrices(changes) * (2 / np.array(cut))[:, None]
    ways = _send(scaled[:, ::-1], np.float32, device)  # (B, 3 of W H D, 3 of D H W)
    lines = [torch.arange(side, device=device) - (side - 1) / 2 for side in patch_size]
    along_d = (ways[:, :, 0, None] * lines[0])[..., :, None, None]
    along_h = (ways[:, :, 1, None] * lines[1])[..., None, :, None]
    along_w = (ways[:, :, 2, None] * lines[2])[..., None, None, :]
    # One sum for all; the three numbers of a voxel need not lie side by side.
    return ((along_d + along_h) + along_w).permute(0, 2, 3, 4, 1)


def _matrices(changes: Sequence[Change]) -> NDArray[np.float64]:
    """Return (B, 3, 3), which take a place in the patch to one in the cut.

    Places are (D, H, W) in voxels from the middle.
    """
    angles = np.array([change.angles for change in changes])
    turns = np.tile(np.eye(3), (3, len(changes), 1, 1))  # (axis, B, 3, 3)
    for axis, (one, other) in enumerate(((1, 2), (2, 0), (0, 1))):
        turns[axis, :, one, one] = turns[axis, :, other, other] = np.cos(angles[:, axis])
        turns[axis, :, other, one] = np.sin(angles[:, axis])
        turns[axis, :, one, other] = -turns[axis, :, other, one]
    scales = np.array([change.zoom for change in changes])
    scales[:, 2] *= [-1 if change.mirrored else 1 for change in changes]
    return turns[0] @ turns[1] @ turns[2] * scales[:, None]


def _recolour(image: Tensor, changes: Sequence[Change]) -> Tensor:
    """Scale, shift, change the contrast, blur and add noise, in place."""
    device = image.device
    lines = _send([(change.factor, change.shift) for change in changes], np.float32, device)
    image.mul_(_column(lines[:, 0])).add_(_column(lines[:, 1]))
    contrasted = [row for row, change in enumerate(changes) if change.gamma != 1]
    if contrasted:
        rows = _send(contrasted, np.int64, device)
        gammas = _send([changes[row].gamma for row in contrasted], np.float32, device)
        image.index_copy_(0, rows, _adjust_contrast(image.index_select(0, rows), gammas))
    blurred = [row for row, change in enumerate(changes) if any(change.sigmas)]
    if blurred:
        rows = _send(blurred, np.int64, device)
        sigmas = np.array([changes[row].sigmas for row in blurred])
        image.index_copy_(0, rows, _blur(image.index_select(0, rows), sigmas))
    for row, change in enumerate(changes):
        if change.noise_std:
            # A generator for each patch, so that its noise does not depend on its batch.
            source = torch.Generator(device).manual_seed(change.noise_seed)
            noise = torch.randn(image.shape[1:], generator=source, device=device)
            image[row].add_(noise, alpha=change.noise_std)
    return image


def _adjust_contrast(image: Tensor, gammas: Tensor) -> Tensor:
    """Raise each image (B, 1, D, H, W) to its power between its least and greatest value."""
    least = image.amin((1, 2, 3, 4), keepdim=True)
    extent = image.amax((1, 2, 3, 4), keepdim=True) - least
    unit = (image - least) / (extent + 1e-7)
    return unit.pow_(_column(gammas)).mul_(extent).add_(least)


def _blur(image: Tensor, sigmas: NDArray[np.float64]) -> Tensor:
    """Blur images (B, 1, D, H, W) by Gaussians of (B, 3) voxels; beyond the border is zero.

    Sums of shifted images: on a CPU they take a third of the time of `conv3d`, and unlike it they
    give the same numbers for one image and for several.
    """
    tail = int(4 * sigmas.max() + 0.5)
    erf = np.vectorize(math.erf)
    offsets = np.arange(tail + 1)
    width = math.sqrt(2) * sigmas[..., None]
    # The share of the Gaussian that falls into a voxel so far away: (B, 3, tail + 1)
    shares = (erf((offsets + 0.5) / width) - erf((offsets - 0.5) / width)) / 2
    shares[offsets > np.floor(4 * sigmas[..., None] + 0.5)] = 0
    weights = _send(shares, np.float32, image.device)
    for axis in range(3):
        padding = [0, 0] * (2 - axis) + [tail, tail]
        padded, side = F.pad(image, padding), image.shape[2 + axis]
        image = image * _column(weights[:, axis, 0])
        for offset in range(1, tail + 1):
            both = padded.narrow(2 + axis, tail - offset, side)
            both = both + padded.narrow(2 + axis, tail + offset, side)
            image.addcmul_(both, _column(weights[:, axis, offset]))
    return image


def _send(values: object, dtype: type[np.generic], device: torch.device) -> Tensor:
    """Return numbers of the host as a tensor of the device, without waiting for the device."""
    tensor = torch.from_numpy(np.array(values, dtype=dtype, order="C"))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _column(values: Tensor) -> Tensor:
    """Shape one value a patch (B,) so that it meets (B, 1, D, H, W)."""
    return values[:, None, None, None, None]


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third
