"""From the mask of a slice to closed contours, and from contours back to the mask."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import contourpy
import numpy as np
from numpy.typing import NDArray

# (points, 2): column and row, in pixels; the middle of the first pixel is (0, 0).
Polygon = NDArray[np.float64]


def mask_to_polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Outline each piece of a mask by one closed polygon.

    Marching squares at one half: each point lies midway between a pixel of the mask and one
    outside, so that a polygon holds the middles of exactly the mask's pixels and is nowhere further
    than half a pixel from the mask's border. A hole is cut out by a keyhole: the polygon goes to
    the hole and around it through a channel without width, and comes back the same way (DICOM
    PS3.3, C.8.8.6.3). Readers that unite the contours of a slice and readers that exclude one from
    another both see the hole, because the slice's polygons never lie inside one another's area.

    Parameters
    ----------
    mask
        (rows, columns).

    Returns
    -------
    list of (points, 2) arrays
        Column and row of each point, the first not repeated at the end. Empty for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    first = np.array([columns[0], rows[0]]) - 1  # of the box around the mask, one pixel wider
    box = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    lines = contourpy.contour_generator(
        z=box.astype(np.float64), fill_type=contourpy.FillType.OuterOffset
    )
    polygons = []
    for points, offsets in zip(*lines.filled(0.5, np.inf), strict=True):
        outer, *holes = (
            _without_midpoints(points[start : end - 1] + first) for start, end in pairwise(offsets)
        )
        for hole in holes:
            outer = _with_keyhole(outer, hole)
        polygons.append(outer)
    return polygons


def _without_midpoints(polygon: Polygon) -> Polygon:
    """Leave out the points on a straight line between their neighbours; none of them is needed."""
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    return polygon[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _with_keyhole(outer: Polygon, hole: Polygon) -> Polygon:
    """Join a hole to the polygon around it by the shortest channel that meets no pixel's middle.

    Of each point one coordinate is whole and the other ends in one half. A line between two points
    of which different coordinates are whole passes through no place where both are.
    """
    distance = ((outer[:, None] - hole[None]) ** 2).sum(axis=-1)  # (points, hole's points)
    alike = (outer[:, None, 0] % 1 == 0) == (hole[None, :, 0] % 1 == 0)
    distance[alike] = np.inf
    at, begin = np.unravel_index(int(distance.argmin()), distance.shape)
    around = np.concatenate([hole[begin:], hole[: begin + 1]])
    return np.concatenate([outer[: at + 1], around, outer[at:]])


def polygons_to_mask(polygons: Iterable[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose middles lie inside an odd number of polygons' turns (even-odd rule).

    Keyholes and inner contours both become holes.

    Parameters
    ----------
    polygons
        Each (points, 2): column and row, in pixels.
    shape
        (rows, columns) of the result.
    """
    rows, columns = shape
    # From each crossing of a row with an edge on, pixels change sides; (rows, columns + 1).
    crossings = np.zeros((rows, columns + 1), np.int64)
    for polygon in polygons:
        x, y = polygon.T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        # Half open: a point that lies on a row belongs to the edge below it alone.
        low = np.clip(np.ceil(np.minimum(y, next_y)), 0, rows).astype(np.int64)
        high = np.clip(np.ceil(np.maximum(y, next_y)), 0, rows).astype(np.int64)
        count = high - low
        edge = np.repeat(np.arange(len(x)), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + low[edge]
        share = (row - y[edge]) / (next_y - y)[edge]
        at = x[edge] + share * (next_x - x)[edge]
        column = np.clip(np.ceil(at), 0, columns).astype(np.int64)
        np.add.at(crossings, (row, column), 1)
    return np.cumsum(crossings, axis=1)[:, :columns] % 2 == 1
