"""Organs as shaded surfaces: marching cubes for the triangles, Matplotlib for the picture.

Seen without perspective a surface is a flat drawing: the triangles' corners are projected onto the
picture and the triangles painted from the farthest to the nearest, so that nearer organs hide those
behind. The axes stay in mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import TriMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from scipy import ndimage
from skimage.measure import marching_cubes

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import MARGIN_IN, panel_figure, panel_room, tidy
from oarfuse.viewing.canvas.overlay import (
    mark_orientation,
    mark_scale,
    organ_handles,
    present_organs,
)
from oarfuse.viewing.canvas.planes import Spacing, check_image, check_labels
from oarfuse.viewing.canvas.style import styled

# (azimuth, elevation) in degrees: azimuth 0 looks at the face, 90 at the patient's left side.
VIEWS: dict[str, tuple[float, float]] = {
    "Anterior": (0.0, 0.0),
    "Left anterior oblique": (45.0, 15.0),
    "Left lateral": (90.0, 0.0),
}
DIRECTIONS = (("S", "I"), ("P", "A"), ("L", "R"))  # letters along (D, H, W), forwards and backwards
SMOOTHING_MM = 3.0
LIGHT = np.array([-0.6, -0.66, -0.45])  # (down, away, right): from the viewer's upper left
RIM = 0.2  # surfaces turned further away than this are dark: a line where an organ ends
MARGIN_MM = 18.0  # room for the letters at the edges
ROW_LABEL_IN = 0.22


class Surfaces(NamedTuple):
    """The surfaces of all organs as one set of triangles."""

    points: np.ndarray  # (n, 3) along (D, H, W), mm
    normals: np.ndarray  # (n, 3) outwards, of length 1
    colors: np.ndarray  # (n, 3) RGB of the organ
    triangles: np.ndarray  # (m, 3) indices of points


def view_axes(azimuth: float, elevation: float) -> np.ndarray:
    """Return the view's (down, away, right) unit vectors as rows, each in (D, H, W) directions.

    "Away" points from the viewer into the picture.
    """
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    superior, posterior, left = np.eye(3)
    level = np.cos(a) * posterior - np.sin(a) * left
    right = np.sin(a) * posterior + np.cos(a) * left
    away = np.cos(e) * level - np.sin(e) * superior
    up = np.cos(e) * superior + np.sin(e) * level
    return np.stack([-up, away, right])


def edge_letters(direction: np.ndarray) -> str:
    """Return the letters of a patient direction, the strongest first: `P`, or `LP` for oblique."""
    strong = [axis for axis in np.argsort(-np.abs(direction)) if abs(direction[axis]) > 0.35]
    return "".join(DIRECTIONS[axis][0 if direction[axis] > 0 else 1] for axis in strong)


@styled
def show_surfaces(
    labels: np.ndarray | Mapping[str, np.ndarray],
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    views: Mapping[str, tuple[float, float]] | None = None,
    title: str = "",
) -> Figure:
    """Render the organs' surfaces from several sides at one common scale.

    Parameters
    ----------
    labels
        Label map (D, H, W): its views stand in a row. Or several by name, on one grid: each has a
        column, a view is a row, and every picture of a row frames the same part of space.
    spacing_mm
        Voxel size (D, H, W) in mm.
    views
        Title to (azimuth, elevation) in degrees; by default anterior, left oblique, left lateral.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If shapes, spacing or labels do not fit, or no organ is there to draw.
    """
    several = isinstance(labels, Mapping)
    named = dict(labels) if isinstance(labels, Mapping) else {"": labels}
    if not named:
        raise OarfuseError("There is no label map: give one, or several by name.")
    first = next(iter(named.values()))
    spacing = check_image(first, spacing_mm)
    checked = {
        name: check_labels(one, first, spec, f"label map {name!r}" if several else "label map")
        for name, one in named.items()
    }
    if not any(one.any() for one in checked.values()):
        raise OarfuseError("The label map holds no organ: there is no surface to show.")
    surfaces = {
        name: find_surfaces(one, spacing, spec) for name, one in checked.items() if one.any()
    }
    points = np.concatenate([one.points for one in surfaces.values()])
    sides = {name: view_axes(*angles) for name, angles in (views or VIEWS).items()}
    frames = {name: _frame(points, view) for name, view in sides.items()}
    sizes = [np.abs(np.diff(frame, axis=1)).ravel() for frame in frames.values()]  # mm, (h, w)
    if several:
        cells = [[(name, side) for name in checked] for side in sides]
        taken, tallest = ROW_LABEL_IN, 4.2
    else:
        cells, taken, tallest = [[("", side) for side in sides]], 0.0, 5.0
    across = [max(w for _, w in sizes)] * len(checked) if several else [w for _, w in sizes]
    down = [h for h, _ in sizes] if several else [max(h for h, _ in sizes)]
    scale = min(panel_room(len(across), taken) / sum(across), tallest / max(down))
    panels = panel_figure(
        [max(width * scale, 1.5) for width in across],
        [height * scale for height in down],
        title=title or "Organ surfaces",
        caption=(
            f"Surfaces of the labels, smoothed by {SMOOTHING_MM:g} mm, seen without perspective; "
            "one scale. Letters: the patient's right R, left L, anterior A, posterior P, superior "
            "S, inferior I."
        ),
        handles=organ_handles(present_organs(spec, *checked.values())),
        left_in=MARGIN_IN + taken,
    )
    for row, line in enumerate(cells):
        for column, (name, side) in enumerate(line):
            height, width = sizes[row if several else column]
            axes = panels.axes(row, column, width * scale, height * scale)
            _draw_surfaces(axes, surfaces.get(name), sides[side], frames[side])
            axes.set_title((name if row == 0 else "") if several else side, pad=4)
        if several:
            panels.name_row(row, line[0][1], MARGIN_IN + ROW_LABEL_IN / 2, 9)
    return panels.figure


def _frame(points: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Return the (down, right) limits in mm of a view that shows all points, lower limit first."""
    seen = points @ view[[0, 2]].T
    return np.stack([seen.min(axis=0) - MARGIN_MM, seen.max(axis=0) + MARGIN_MM], axis=1)


def find_surfaces(labels: np.ndarray, spacing: Spacing, spec: DatasetSpec) -> Surfaces:
    """Return the surfaces of a label map's organs (D, H, W), each smoothed by `SMOOTHING_MM`."""
    steps, parts, count = np.array(spacing), [], 0
    for organ in present_organs(spec, labels):
        mask = labels == organ.label
        used = ndimage.find_objects(mask.astype(np.uint8))[0]
        pad = np.ceil(3 * SMOOTHING_MM / steps).astype(int) + 1
        first = np.array([part.start for part in used]) - pad
        padded = np.pad(mask[used], [(side, side) for side in pad]).astype(np.float32)
        field = ndimage.gaussian_filter(padded, SMOOTHING_MM / steps)
        # A thin organ can fall below one half everywhere: its own maximum then sets the level.
        level = min(0.5, 0.6 * float(field.max()))
        points, triangles, normals, _ = marching_cubes(field, level, spacing=spacing)
        points += (first + 0.5) * steps
        colors = np.broadcast_to(to_rgb(organ.color), points.shape)
        parts.append(Surfaces(points, normals, colors, triangles + count))
        count += len(points)
    return Surfaces(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _draw_surfaces(
    axes: Axes, surfaces: Surfaces | None, view: np.ndarray, frame: np.ndarray
) -> None:
    if surfaces is not None:
        down, away, right = (surfaces.points @ direction for direction in view)
        normals = surfaces.normals @ view.T
        light = LIGHT / np.linalg.norm(LIGHT)
        halfway = light + np.array([0.0, -1.0, 0.0])  # between the light and the viewer
        shine = np.clip(normals @ (halfway / np.linalg.norm(halfway)), 0, 1) ** 30
        shade = 0.42 + 0.58 * np.clip(normals @ light, 0, 1)
        colors = np.clip(surfaces.colors * shade[:, None] + 0.22 * shine[:, None], 0, 1)
        colors[-normals[:, 1] < RIM] *= 0.55
        order = np.argsort(-away[surfaces.triangles].mean(axis=1))
        mesh = TriMesh(Triangulation(right, down, surfaces.triangles[order]))
        mesh.set_facecolor(colors)  # a colour for each corner, blended over the triangle
        axes.add_collection(mesh)
    axes.set_ylim(*frame[0][::-1])
    axes.set_xlim(*frame[1])
    tidy(axes)
    left, right, top, bottom = map(edge_letters, (-view[2], view[2], -view[0], view[0]))
    mark_orientation(axes, left, right, top, bottom, on_black=False)
    mark_scale(axes, on_black=False)
