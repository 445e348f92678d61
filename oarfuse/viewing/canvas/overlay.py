"""What is drawn on one slice: the CT, translucent organs, outlines, orientation, scale bar."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import tidy
from oarfuse.viewing.canvas.planes import Box, Extent, Plane, Spacing

HALO = [withStroke(linewidth=2.0, foreground="black")]
MARK_COLOR = "#FFFFFF"


def draw_ct(
    axes: Axes,
    image: np.ndarray,
    plane: Plane,
    index: int,
    spacing_mm: Spacing,
    window_hu: tuple[float, float],
) -> AxesImage:
    """Draw one CT slice in true proportions; the axes are in mm."""
    picture = axes.imshow(
        plane.take(image, index),
        cmap="gray",
        vmin=window_hu[0],
        vmax=window_hu[1],
        origin=plane.origin,
        extent=plane.extent(image.shape, spacing_mm),
        interpolation="bilinear",
        aspect="equal",
    )
    axes.set_facecolor("black")
    return picture


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


def draw_fill(axes: Axes, rgba: np.ndarray, plane: Plane, extent: Extent) -> AxesImage:
    """Lay an RGBA slice over the CT, voxel by voxel: labels are never smoothed."""
    return axes.imshow(
        rgba, origin=plane.origin, extent=extent, interpolation="nearest", aspect="equal"
    )


def outline_segments(mask: np.ndarray, row_mm: float, col_mm: float) -> np.ndarray:
    """Return the voxel edges between inside and outside of a 2D mask as (n, 2, 2) points (x, y) mm.

    The outline runs exactly along the voxels' edges, so it shows the labels that are scored and
    not a smoothed version of them.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    rows, cols = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    across = np.stack(
        [
            np.stack([cols * col_mm, rows * row_mm], 1),
            np.stack([(cols + 1) * col_mm, rows * row_mm], 1),
        ],
        axis=1,
    )
    rows, cols = np.nonzero(np.diff(padded, axis=1)[1:-1])
    along = np.stack(
        [
            np.stack([cols * col_mm, rows * row_mm], 1),
            np.stack([cols * col_mm, (rows + 1) * row_mm], 1),
        ],
        axis=1,
    )
    return np.concatenate([across, along]).astype(float)


def draw_outlines(
    axes: Axes,
    labels: np.ndarray,
    plane: Plane,
    index: int,
    spacing_mm: Spacing,
    spec: DatasetSpec,
    *,
    linewidth: float = 1.3,
    linestyle: str = "solid",
    color: str | None = None,
) -> list[LineCollection]:
    """Draw each organ's outline on one slice, in its own colour unless `color` is given."""
    section = plane.take(labels, index)
    drawn = []
    for organ in spec.organs:
        mask = section == organ.label
        if mask.any():
            segments = outline_segments(
                mask, spacing_mm[plane.row_axis], spacing_mm[plane.col_axis]
            )
            lines = LineCollection(
                list(segments),
                colors=color or organ.color,
                linewidths=linewidth,
                linestyles=linestyle,
                capstyle="projecting",
            )
            axes.add_collection(lines, autolim=False)
            drawn.append(lines)
    return drawn


def draw_crosshair(
    axes: Axes, plane: Plane, voxel: tuple[int, int, int], spacing_mm: Spacing
) -> None:
    """Draw dashed lines where the other two slices cut; the edges stay free for the letters."""
    y = (voxel[plane.row_axis] + 0.5) * spacing_mm[plane.row_axis]
    x = (voxel[plane.col_axis] + 0.5) * spacing_mm[plane.col_axis]
    for line in (axes.axhline(y, 0.08, 0.92), axes.axvline(x, 0.08, 0.92)):
        line.set(color="white", linewidth=0.6, linestyle=(0, (4, 4)), alpha=0.7, gid="crosshair")


def mark_orientation(axes: Axes, plane: Plane) -> None:
    """Write the patient's directions at the four edges of a picture."""
    places = {
        plane.left: (0.025, 0.5, "left", "center"),
        plane.right: (0.975, 0.5, "right", "center"),
        plane.top: (0.5, 0.975, "center", "top"),
        plane.bottom: (0.5, 0.025, "center", "bottom"),
    }
    for letter, (x, y, horizontal, vertical) in places.items():
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize=8.5,
            fontweight="bold",
            color=MARK_COLOR,
            path_effects=HALO,
            gid="orientation",
        )


def mark_scale(axes: Axes) -> None:
    """Draw a scale bar in the lower left corner: the longest round length below a third."""
    left, right = axes.get_xlim()
    width = abs(right - left)
    length = next((mm for mm in (100, 50, 20, 10, 5, 2, 1) if mm <= width / 3), 1)
    axes.plot(
        [0.04, 0.04 + length / width],
        [0.045, 0.045],
        transform=axes.transAxes,
        color=MARK_COLOR,
        linewidth=2.0,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=4, foreground="k")],
        scalex=False,
        scaley=False,
        gid="scale",
    )
    axes.text(
        0.04,
        0.065,
        f"{length} mm",
        transform=axes.transAxes,
        ha="left",
        va="bottom",
        fontsize=7,
        color=MARK_COLOR,
        path_effects=HALO,
    )


def finish_picture(axes: Axes, plane: Plane, box: Box, spacing_mm: Spacing, scale: bool) -> None:
    """Crop to the box, mark orientation and scale, remove ticks: the last step of every picture."""
    xlim, ylim = plane.limits(box, spacing_mm)
    axes.set_xlim(xlim)
    axes.set_ylim(ylim)
    tidy(axes)
    mark_orientation(axes, plane)
    if scale:
        mark_scale(axes)


def organ_handles(
    spec: DatasetSpec, present: Collection[int], style: str = "fill"
) -> list[Patch | Line2D]:
    """Return legend entries for the organs in `present`, as patches (fill) or lines (outline)."""
    organs = [organ for organ in spec.organs if organ.label in present]
    if style == "outline":
        return [Line2D([], [], color=o.color, linewidth=2.5, label=o.title) for o in organs]
    return [
        Patch(facecolor=o.color, edgecolor="#555555", linewidth=0.5, label=o.title) for o in organs
    ]
