"""Grids of voxels that lie elsewhere in the body."""

from __future__ import annotations

import numpy as np


def turned(affine: np.ndarray, shape: tuple[int, ...], degrees: float) -> np.ndarray:
    """The grid turned about the body's axis through its own centre."""
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    centre = affine @ np.array([*((side - 1) / 2 for side in shape), 1.0])
    back, there = np.eye(4), np.eye(4)
    there[:3, 3], back[:3, 3] = -centre[:3], centre[:3]
    return back @ turn @ there @ affine
