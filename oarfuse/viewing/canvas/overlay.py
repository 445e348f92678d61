"""What is drawn on one slice: the CT, translucent organs, outlines, orientation, scale bar."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from oarfuse.organs import DatasetSpec, Organ
from oarfuse.viewing.canvas.layout import tidy
from oarfuse.viewing.canvas.planes import Box, Plane, Spacing
from oarfuse.viewing.canvas.style import INK


@dataclass(frozen=True)
class Scan:
    """A CT and how its slices are shown.

    Attributes
    ----------
    image
        (D, H, W) in HU, or whatever `window` is in.
    spec
        The data set, for the organs' colours.
    box
        The part that is seen.
    window
        The values that are drawn black and white.
    """

    image: np.ndarray
    spacing_mm: Spacing
    spec: DatasetSpec
    box: Box
    window: tuple[float, float]


def window_text(window_hu: tuple[float, float]) -> str:
    """Return a caption's words for a CT window."""
    return f"CT window {window_hu[0]:g} to {window_hu[1]:g} HU"


def draw_plane(
    axes: Axes,
    scan: Scan,
    plane: Plane,
    index: int,
    labels: np.ndarray | None = None,
    *,
    fill: float = 0.0,
    outline: float = 0.7,
    scale_bar: bool = True,
) -> None:
    """Draw one slice of a CT with its organs, in true proportions; the axes are in mm.

    Parameters
    ----------
    labels
        Label map (D, H, W) on the CT's grid.
    fill
        Opacity of the organs; at 0 they are not painted.
    outline
        Width of their outlines in points.
    """
    draw_ct(axes, scan, plane, index)
    if labels is not None:
        section = plane.take(labels, index)
        if fill:
            draw_fill(axes, scan, plane, label_rgba(section, scan.spec, fill))
        row_mm, col_mm = scan.spacing_mm[plane.row_axis], scan.spacing_mm[plane.col_axis]
        for organ in present_organs(scan.spec, section):
            lines = outline_segments(section == organ.label, row_mm, col_mm)
            add_outline(axes, organ, outline).set_segments(list(lines))
    finish_picture(axes, plane, scan.box, scan.spacing_mm, scale_bar)


def draw_ct(axes: Axes, scan: Scan, plane: Plane, index: int) -> AxesImage:
    """Draw one whole slice of the CT alone."""
    picture = axes.imshow(
        plane.take(scan.image, index),
        cmap="gray",
        vmin=scan.window[0],
        vmax=scan.window[1],
        origin=plane.origin,
        extent=plane.extent(scan.image.shape, scan.spacing_mm),
        interpolation="bilinear",
        aspect="equal",
    )
    axes.set_facecolor("black")
    return picture


def draw_fill(axes: Axes, scan: Scan, plane: Plane, rgba: np.ndarray) -> AxesImage:
    """Lay a slice (rows, columns, 4) over the CT, voxel by voxel: labels are never smoothed."""
    return axes.imshow(
        rgba,
        origin=plane.origin,
        extent=plane.extent(scan.image.shape, scan.spacing_mm),
        interpolation="nearest",
        aspect="equal",
    )


def label_rgba(
    labels: np.ndarray, spec: DatasetSpec, alpha: float, shown: Collection[int] | None = None
) -> np.ndarray:
    """Return a label slice (rows, columns) as float RGBA; background and hidden organs are clear.

    Parameters
    ----------
    shown
        Label values to draw; all by default.
    """
    table = np.zeros((spec.num_classes, 4))
    for organ in spec.organs:
        if shown is None or organ.label in shown:
            table[organ.label] = to_rgba(organ.color, alpha)
    return table[labels]


def outline_segments(mask: np.ndarray, row_mm: float, col_mm: float) -> np.ndarray:
    """Return the voxel edges between inside and outside of a 2D mask as (n, 2, 2) points (x, y) mm.

    The outline runs exactly along the voxels' edges, so it shows the labels that are scored and
    not a smoothed version of them.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    across = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    along = np.nonzero(np.diff(padded, axis=1)[1:-1])
    segments = []
    for (rows, cols), down, right in ((across, 0, 1), (along, 1, 0)):
        start = np.stack([cols * col_mm, rows * row_mm], axis=1)
        end = np.stack([(cols + right) * col_mm, (rows + down) * row_mm], axis=1)
        segments.append(np.stack([start, end], axis=1))
    return np.concatenate(segments).astype(float)


def add_outline(axes: Axes, organ: Organ, linewidth: float) -> LineCollection:
    """Add an outline in an organ's colour, still without its segments."""
    lines = LineCollection([], colors=organ.color, linewidths=linewidth, capstyle="projecting")
    axes.add_collection(lines, autolim=False)
    return lines


def draw_crosshair(
    axes: Axes, plane: Plane, voxel: tuple[int, int, int], spacing_mm: Spacing
) -> None:
    """Draw dashed lines where the other two slices cut; the edges stay free for the letters."""
    y = (voxel[plane.row_axis] + 0.5) * spacing_mm[plane.row_axis]
    x = (voxel[plane.col_axis] + 0.5) * spacing_mm[plane.col_axis]
    for line in (axes.axhline(y, 0.08, 0.92), axes.axvline(x, 0.08, 0.92)):
        line.set(color="white", linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.7, gid="crosshair")


def mark_orientation(
    axes: Axes, left: str, right: str, top: str, bottom: str, on_black: bool = True
) -> None:
    """Write the patient's directions at the four edges of a picture."""
    for letters, x, y, horizontal, vertical in (
        (left, 0.025, 0.5, "left", "center"),
        (right, 0.975, 0.5, "right", "center"),
        (top, 0.5, 0.975, "center", "top"),
        (bottom, 0.5, 0.025, "center", "bottom"),
    ):
        axes.text(
            x,
            y,
            letters,
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize=8.5,
            fontweight="bold",
            gid="orientation",
            **_ink(on_black, 2.0),
        )


def mark_scale(axes: Axes, on_black: bool = True) -> None:
    """Draw a scale bar in the lower left corner: the longest round length below a third."""
    left, right = axes.get_xlim()
    width = abs(right - left)
    length = next((mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm <= width / 3), 1)
    axes.plot(
        [0.04, 0.04 + length / width],
        [0.045, 0.045],
        transform=axes.transAxes,
        linewidth=2.0,
        solid_capstyle="butt",
        scalex=False,
        scaley=False,
        zorder=2.1,  # above the crosshair
        gid="scale",
        **_ink(on_black, 4.0),
    )
    axes.text(
        0.04,
        0.065,
        f"{length} mm",
        transform=axes.transAxes,
        ha="left",
        va="bottom",
        fontsize=7,
        **_ink(on_black, 2.0),
    )


def _ink(on_black: bool, halo: float) -> dict[str, Any]:
    """Return how marks are drawn: white with a black halo on a CT, dark on paper."""
    if not on_black:
        return {"color": INK}
    return {"color": "white", "path_effects": [withStroke(linewidth=halo, foreground="black")]}


def finish_picture(
    axes: Axes, plane: Plane, box: Box, spacing_mm: Spacing, scale_bar: bool = True
) -> None:
    """Crop to the box, mark orientation and scale, remove ticks: the last step of every picture."""
    xlim, ylim = plane.limits(box, spacing_mm)
    axes.set(xlim=xlim, ylim=ylim)
    tidy(axes)
    mark_orientation(axes, plane.left, plane.right, plane.top, plane.bottom)
    if scale_bar:
        mark_scale(axes)


def present_organs(spec: DatasetSpec, *label_maps: np.ndarray) -> list[Organ]:
    """Return the organs that any of the label maps holds, in the data set's order."""
    return [
        organ
        for organ in spec.organs
        if any((labels == organ.label).any() for labels in label_maps)
    ]


def organ_handles(organs: Sequence[Organ], style: str = "fill") -> list[Patch | Line2D]:
    """Return legend entries for organs, as patches (fill) or lines (outline)."""
    if style == "outline":
        return [Line2D([], [], color=o.color, linewidth=2.5, label=o.title) for o in organs]
    return [
        Patch(facecolor=o.color, edgecolor="#555555", linewidth=0.5, label=o.title) for o in organs
    ]
