"""Drawing a body from soft-edged shapes: what the procedural phantoms share.

Shapes are signed distances in mm (negative inside), as in computer graphics. A voxel that a
shape's edge crosses gets a share of its HU, which is the partial-volume effect of a real CT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Point = Sequence[float] | NDArray[np.floating]
Region = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Shape:
    """A signed distance in mm (negative inside) on a part of the canvas; far away beyond it."""

    region: Region
    distance: NDArray[np.float32]

    def grown(self, mm: float) -> Shape:
        """The same shape, thicker by `mm` on every side; thinner if negative."""
        return Shape(self.region, self.distance - np.float32(mm))


class Canvas:
    """A CT under construction.

    Points are (posterior, left, superior) in mm in the body's own frame. Arrays are
    (I, J, K) with axes to posterior, left and inferior, as OpenKBP stores them.

    Parameters
    ----------
    shape
        Voxels along the array's axes.
    spacing_mm
        mm along the same axes.
    turn
        (3, 3) rotation that takes body coordinates to scanner coordinates.
    origin
        Where the body's origin lies: scanner mm from the volume's centre, (posterior, left,
        superior).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        turn: NDArray[np.float64],
        origin: Point,
    ) -> None:
        self.shape = shape
        self.spacing_mm = spacing_mm
        self._steps = np.array(spacing_mm) * (1, 1, -1)  # the third axis runs to inferior
        self._turn = turn
        self._origin = np.asarray(origin, float)
        self.hu = np.full(shape, -1000, np.float32)
        axes = [
            (np.arange(side) - (side - 1) / 2) * step - start
            for side, step, start in zip(shape, self._steps, self._origin, strict=True)
        ]
        scanner = np.ix_(*(axis.astype(np.float32) for axis in axes))
        inverse = turn.T.astype(np.float32)
        # Body coordinates of every voxel, one (I, J, K) array for each direction.
        self.coordinates = tuple(
            sum(inverse[row, column] * scanner[column] for column in range(3)) for row in range(3)
        )

    def region(self, points: NDArray[np.float64], reach_mm: float) -> Region:
        """The part of the array that holds everything within `reach_mm` of body `points` (n, 3)."""
        scanner = points @ self._turn.T + self._origin
        index = scanner / self._steps + (np.array(self.shape) - 1) / 2
        margin = reach_mm / np.abs(self._steps) + 1
        low = np.floor((index - margin).min(axis=0)).astype(int).clip(0, self.shape)
        high = np.ceil((index + margin).max(axis=0)).astype(int).clip(0, self.shape) + 1
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))  # type: ignore[return-value]

    def ellipsoid(self, centre: Point, radii: Point, tilt_degrees: float = 0.0) -> Shape:
        """An ellipsoid; `tilt_degrees` turns it about the left-right axis, top to the front."""
        radii = np.asarray(radii, np.float32)
        region = self.region(np.asarray([centre], float), float(radii.max()) + 12)
        back, left, up = (
            axis[region] - np.float32(start)
            for axis, start in zip(self.coordinates, centre, strict=True)
        )
        if tilt_degrees:
            angle = np.radians(tilt_degrees)
            cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            back, up = back * cosine + up * sine, up * cosine - back * sine
        back, left, up = back / radii[0], left / radii[1], up / radii[2]
        scaled = np.sqrt(back**2 + left**2 + up**2)
        # First-order distance: exact on the surface, where it is used.
        slope = np.sqrt((back / radii[0]) ** 2 + (left / radii[1]) ** 2 + (up / radii[2]) ** 2)
        return Shape(region, scaled * (scaled - 1) / np.maximum(slope, 1e-4))

    def tube(
        self, points: Sequence[Point], radii: float | Point, flatten: Point = (1, 1, 1)
    ) -> Shape:
        """A tube along a polyline.

        Parameters
        ----------
        points
            (n, 3) body coordinates, n at least 2.
        radii
            One radius in mm, or one at each point, changing linearly between.
        flatten
            How many times wider than `radii` the tube is along (posterior, left, superior).
        """
        nodes = np.asarray(points, float)
        sizes = np.broadcast_to(np.asarray(radii, float), len(nodes))
        stretch = np.asarray(flatten, float)
        region = self.region(nodes, float(sizes.max() * stretch.max()) + 12)
        place = [
            axis[region] / np.float32(wide)
            for axis, wide in zip(self.coordinates, stretch, strict=True)
        ]
        nodes = (nodes / stretch).astype(np.float32)
        distance: NDArray[np.float32] | None = None
        for a, b, size_a, size_b in zip(nodes, nodes[1:], sizes, sizes[1:], strict=False):
            along = b - a
            t = sum((x - x0) * dx for x, x0, dx in zip(place, a, along, strict=True))
            t = np.clip(t / np.float32(along @ along), 0, 1)
            square = sum((x - x0 - t * dx) ** 2 for x, x0, dx in zip(place, a, along, strict=True))
            piece = np.sqrt(square) - (np.float32(size_a) + t * np.float32(size_b - size_a))
            distance = piece if distance is None else np.minimum(distance, piece)
        assert distance is not None, "a tube needs two points"
        return Shape(region, distance)

    def heights(self) -> NDArray[np.float32]:
        """(1, 1, K) mm above the body's origin along the scanner's own axis."""
        count = self.shape[2]
        height = (np.arange(count) - (count - 1) / 2) * self._steps[2] - self._origin[2]
        return height.astype(np.float32)[None, None, :]

    def full(self, shape: Shape) -> NDArray[np.float32]:
        """The shape's distance on the whole canvas, 1000 mm where it was not computed."""
        distance = np.full(self.shape, 1000, np.float32)
        distance[shape.region] = shape.distance
        return distance

    def inside(self, shape: Shape) -> NDArray[np.bool_]:
        """(I, J, K) mask of the voxels whose centres lie in the shape."""
        mask = np.zeros(self.shape, bool)
        mask[shape.region] = shape.distance < 0
        return mask

    def paint(
        self, shape: Shape, hu: float | NDArray[np.float32], within: Shape | None = None
    ) -> None:
        """Fill a shape with HU, blending over one voxel at its edge.

        `within` keeps the paint inside a second shape that covers the whole canvas.
        """
        width = np.float32(np.prod(self.spacing_mm) ** (1 / 3))
        share = np.clip(0.5 - shape.distance / width, 0, 1)
        if within is not None:
            share = share * np.clip(0.5 - within.distance[shape.region] / width, 0, 1)
        part = self.hu[shape.region]
        part += share * (hu - part)

    def whole(self, distance: NDArray[np.float32]) -> Shape:
        """Wrap a distance that is given on the whole canvas."""
        return Shape((slice(None),) * 3, distance)


def blend(*distances: NDArray[np.float32], mm: float) -> NDArray[np.float32]:
    """Union of shapes whose seams are rounded over about `mm` (a smooth minimum)."""
    united = distances[0]
    for other in distances[1:]:
        bend = np.maximum(np.float32(mm) - np.abs(united - other), 0) / np.float32(mm)
        united = np.minimum(united, other) - bend * bend * np.float32(mm / 4)
    return united


def rotation(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """(3, 3) rotation of (posterior, left, superior) by degrees.

    `roll` tilts toward a shoulder, `pitch` nods, `yaw` turns the face sideways.
    """
    turn = np.eye(3)
    for degrees, (a, b) in ((roll, (1, 2)), (pitch, (0, 2)), (yaw, (0, 1))):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        step = np.eye(3)
        step[a, a] = step[b, b] = cosine
        step[a, b], step[b, a] = -sine, sine
        turn = turn @ step
    return turn


def noise(
    rng: np.random.Generator, shape: tuple[int, int, int], grain_voxels: float
) -> NDArray[np.float32]:
    """Gaussian noise of mean 0 and standard deviation 1, correlated over `grain_voxels`."""
    field = rng.standard_normal(shape, dtype=np.float32)
    if grain_voxels:
        field = gaussian_filter(field, grain_voxels, mode="wrap", truncate=2.5)
    return (field - field.mean()) / field.std()
