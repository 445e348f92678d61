"""Whether two grids of voxels are the same: where their corner voxels land, in mm."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

# (4, 4), voxel indices to mm in RAS+ (toward right, anterior, superior).
Affine = NDArray[np.float64]
# Two grids are the same if no corner voxel is further off than this share of the smallest voxel
# side. Rounded headers stay far below it; a shift by half a voxel, the usual slip, is above it.
TOLERANCE = 0.25
# How far the corners of a sheared grid may be from those of the nearest rectangular one, in the
# same unit. Less than above: a qform cannot hold a shear, and must still agree with its sform.
_SHEAR_TOLERANCE = 0.1
# Augmentation shows patients as if their voxels were by up to this share larger or smaller.
ZOOM = 0.15


def voxel_sizes(affine: Affine) -> NDArray[np.float64]:
    """Return the mm along each axis of an affine."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def corners_apart(shape: Sequence[int], one: Affine, other: Affine) -> float:
    """Return the largest distance in mm between where two affines put the same corner voxel."""
    corners = np.array([(*corner, 1.0) for corner in product(*((0, side - 1) for side in shape))])
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def difference(
    shape: Sequence[int],
    affine: Affine,
    wanted_shape: Sequence[int],
    wanted_affine: Affine,
    *,
    of: str = "its image",
) -> str | None:
    """Say how a grid differs from the wanted one, or return None if it is the same.

    Compares shape, voxel sizes, directions and origin: a corner may be `TOLERANCE` of the smallest
    wanted voxel side away. The answer goes on after a file's name: "lies 90.0 mm beside its image".
    """
    sizes, wanted = voxel_sizes(affine), voxel_sizes(wanted_affine)
    apart = corners_apart(wanted_shape, affine, wanted_affine)
    limit = TOLERANCE * float(wanted.min())
    if tuple(shape) == tuple(wanted_shape) and apart <= limit:
        return None
    grid = "has {} voxels of {} mm"
    mine = grid.format(tuple(shape), _rounded(sizes))
    theirs = f"where {of} {grid.format(tuple(wanted_shape), _rounded(wanted))}"
    corners = np.abs(sizes - wanted) * (np.array(wanted_shape) - 1)
    if tuple(shape) != tuple(wanted_shape) or float(np.linalg.norm(corners)) > limit:
        return f"{mine} {theirs}"
    turn = (affine[:3, :3] / sizes).T @ (wanted_affine[:3, :3] / wanted)
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    # A turn that is worth a word moves the corners of its own by more than is allowed.
    centred = np.eye(4)
    centred[:3, 3] = -(np.array(shape) - 1) / 2
    by_turn = corners_apart(shape, _linear(affine) @ centred, _linear(wanted_affine) @ centred)
    if by_turn > limit:
        return f"is turned by {angle:.1f} degrees against {of}, up to {apart:.1f} mm away"
    return f"lies {apart:.1f} mm beside {of}"


def is_sheared(shape: Sequence[int], affine: Affine) -> bool:
    """Whether the axes are not at right angles, so that no corner is where a box would have it."""
    sizes = voxel_sizes(affine)
    u, _, v = np.linalg.svd(affine[:3, :3] / sizes)
    rectangular, centred = np.eye(4), np.eye(4)
    rectangular[:3, :3] = (u @ v) * sizes
    centred[:3, 3] = -(np.array(shape) - 1) / 2
    apart = corners_apart(shape, _linear(affine) @ centred, rectangular @ centred)
    return apart > _SHEAR_TOLERANCE * float(sizes.min())


def obliquity(affine: Affine) -> float:
    """Return the largest angle in degrees between a grid's axis and the body's nearest one."""
    directions = np.abs(affine[:3, :3] / voxel_sizes(affine))
    return float(np.degrees(np.arccos(np.clip(directions.max(axis=0), -1, 1))).max())


def _linear(affine: Affine) -> Affine:
    """The affine without its origin."""
    linear = np.eye(4)
    linear[:3, :3] = affine[:3, :3]
    return linear


def _rounded(sizes: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{size:.6g}" for size in sizes) + ")"
