"""Three planes through one voxel: the view that a reader meets first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import GAP_IN, MARGIN_IN, STYLE, WIDTH_IN, panel_figure
from oarfuse.viewing.canvas.overlay import (
    draw_crosshair,
    draw_ct,
    draw_fill,
    draw_outlines,
    finish_picture,
    label_rgba,
    organ_handles,
)
from oarfuse.viewing.canvas.planes import (
    PLANES,
    Box,
    Spacing,
    body_box,
    box_around,
    check_image,
    check_index,
    check_labels,
    telling_voxel,
    whole_box,
)

Crop = Literal["body", "organs", "none"]
ORGAN_MARGIN_MM = 25.0
MAX_PANEL_IN = 4.2


def crop_box(image: np.ndarray, labels: np.ndarray | None, spacing: Spacing, crop: Crop) -> Box:
    """Return the box that `crop` names: the body, the organs with 25 mm around, or everything."""
    if crop == "none":
        return whole_box(image.shape)
    if crop == "organs" and labels is not None:
        return box_around(labels > 0, spacing, ORGAN_MARGIN_MM)
    if crop in ("body", "organs"):
        return body_box(image, spacing)
    raise OarfuseError(f"There is no crop named {crop!r}: choose body, organs or none.")


def plane_panels(box: Box, spacing: Spacing) -> tuple[list[float], list[float], float]:
    """Return panel widths and heights in inches for the three planes at one common scale.

    The third value is that scale in inches per mm.
    """
    sizes = [plane.size_mm(box, spacing) for plane in PLANES.values()]
    room = WIDTH_IN - 2 * MARGIN_IN - 2 * GAP_IN
    scale = min(room / sum(w for w, _ in sizes), MAX_PANEL_IN / max(h for _, h in sizes))
    return [w * scale for w, _ in sizes], [h * scale for _, h in sizes], scale


def slice_title(plane_name: str, index: int, count: int) -> str:
    """Return a panel title such as `Axial, slice 64 of 0..127`."""
    return f"{plane_name.capitalize()}, slice {index} of 0..{count - 1}"


def show_planes(
    image: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    index: Sequence[int] | None = None,
    window_hu: tuple[float, float] | None = None,
    style: Literal["fill", "outline"] = "fill",
    alpha: float = 0.45,
    crop: Crop = "organs",
    title: str = "",
) -> Figure:
    """Show the axial, coronal and sagittal slice through one voxel, all at the same scale.

    Parameters
    ----------
    image
        CT in Hounsfield units, (D, H, W) = (superior, posterior, left).
    labels
        Label map on the same grid, or None for the CT alone.
    spacing_mm
        Voxel size (D, H, W) in mm; the pictures have true proportions.
    spec
        The data set: organ titles, colours, and the CT window used by default.
    index
        The voxel (d, h, w); by default the one whose slices show the most organs.
    window_hu
        CT window (black, white) in HU.
    style
        `fill` paints the organs translucently, `outline` draws the edges of their voxels.
    alpha
        Opacity of the fill.
    crop
        Show the `organs` with a margin of 25 mm, the `body`, or `none`: the whole grid.

    Returns
    -------
    A closed Matplotlib figure: the last expression of a notebook cell shows it once.

    Raises
    ------
    OarfuseError
        If shapes, spacing, index, labels or names do not fit.
    """
    spacing = check_image(image, spacing_mm)
    if labels is not None:
        labels = check_labels(labels, image, spec, "label map")
    if style not in ("fill", "outline"):
        raise OarfuseError(f"There is no style named {style!r}: choose fill or outline.")
    window = window_hu or spec.window_hu
    if index is None:
        index = telling_voxel(np.zeros(image.shape, np.uint8) if labels is None else labels)
    voxel = check_index(index, image.shape)
    box = crop_box(image, labels, spacing, crop)
    widths, heights, _ = plane_panels(box, spacing)
    present = set() if labels is None else set(np.unique(labels).tolist()) - {0}

    caption = (
        f"CT window {window[0]:g} to {window[1]:g} HU; voxels "
        f"{' x '.join(f'{step:.2f}' for step in spacing)} mm (superior, posterior, left). "
        "R, L, A, P, S, I: the patient's right, left, anterior, posterior, superior, inferior "
        "side; the patient's right is on your left. Dashed lines: where the other two slices cut."
    )
    with plt.rc_context(STYLE):
        panels = panel_figure(
            widths,
            [max(heights)],
            title=title or "Three planes through one voxel",
            caption=caption,
            handles=organ_handles(spec, present, style),
        )
        for column, plane in enumerate(PLANES.values()):
            axes = panels.axes(0, column, height=heights[column])
            slice_index = voxel[plane.axis]
            draw_ct(axes, image, plane, slice_index, spacing, window)
            if labels is not None and style == "fill":
                rgba = label_rgba(plane.take(labels, slice_index), spec, alpha)
                draw_fill(axes, rgba, plane, plane.extent(image.shape, spacing))
            if labels is not None:
                draw_outlines(
                    axes,
                    labels,
                    plane,
                    slice_index,
                    spacing,
                    spec,
                    linewidth=0.7 if style == "fill" else 1.4,
                )
            draw_crosshair(axes, plane, voxel, spacing)
            finish_picture(axes, plane, box, spacing, scale=True)
            axes.set_title(slice_title(plane.name, slice_index, image.shape[plane.axis]), pad=4)
    return panels.figure
