"""Receptive fields drawn on the CT: nested boxes around the voxel that sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from oarfuse.errors import OarfuseError
from oarfuse.models.receptive_field import Interval
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import STYLE, panel_figure
from oarfuse.viewing.canvas.overlay import draw_ct, finish_picture
from oarfuse.viewing.canvas.planes import PLANES, check_image, check_index
from oarfuse.viewing.ct.slices import crop_box, plane_panels, slice_title

# Seen on a dark CT and in a white legend, and worn by no organ of the kit.
COLORS = ("#00B8C4", "#8DB600", "#EE3377", "#AA77DD", "#FF6F61", "#B58B5A")


def show_fields(
    image: np.ndarray,
    fields: Mapping[str, Sequence[Interval]],
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    voxel: Sequence[int],
    title: str = "",
) -> Figure:
    """Draw boxes around one voxel on the three slices through it.

    Parameters
    ----------
    image
        The CT, HU, (D, H, W).
    fields
        Name to the box's intervals along D, H and W: first and last voxel, both included. A box
        may reach over the volume's edge. At most six.
    voxel
        The voxel (d, h, w) whose fields these are.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If there is no box or more than six, or a box or the voxel does not fit.
    """
    spacing = check_image(image, spacing_mm)
    centre = check_index(voxel, image.shape)
    if not 1 <= len(fields) <= len(COLORS):
        raise OarfuseError(f"{len(fields)} boxes are given: pass 1 to {len(COLORS)}.")
    for name, box in fields.items():
        if len(box) != 3 or any(first > last for first, last in box):
            raise OarfuseError(f"The box {name!r} is {box}: give (first, last) for D, H and W.")
    window = spec.window_hu
    shown = crop_box(image, None, spacing, "none")
    widths, heights, _ = plane_panels(shown, spacing)
    sides = {
        name: " x ".join(
            f"{(last - first + 1) * step:.0f}"
            for (first, last), step in zip(box, spacing, strict=True)
        )
        for name, box in fields.items()
    }
    caption = (
        f"Boxes around the voxel {centre} (dot), in mm along superior, posterior, left; "
        f"what lies outside of the picture is outside of the volume. CT window {window[0]:g} to "
        f"{window[1]:g} HU. The patient's right is on your left."
    )
    colors = dict(zip(fields, COLORS, strict=False))
    handles = [
        Line2D([], [], color=colors[name], linewidth=2.2, label=f"{name}: {text} mm")
        for name, text in sides.items()
    ]
    with plt.rc_context(STYLE):
        panels = panel_figure(
            widths,
            [max(heights)],
            title=title or "Receptive fields",
            caption=caption,
            handles=handles,
        )
        for column, plane in enumerate(PLANES.values()):
            axes = panels.axes(0, column, height=heights[column])
            draw_ct(axes, image, plane, centre[plane.axis], spacing, window)
            row_mm, col_mm = spacing[plane.row_axis], spacing[plane.col_axis]
            for name, box in fields.items():
                (top, bottom), (left, right) = box[plane.row_axis], box[plane.col_axis]
                axes.add_patch(
                    Rectangle(
                        (left * col_mm, top * row_mm),
                        (right - left + 1) * col_mm,
                        (bottom - top + 1) * row_mm,
                        fill=False,
                        edgecolor=colors[name],
                        linewidth=1.3,
                        gid="field",
                    )
                )
            axes.plot(
                (centre[plane.col_axis] + 0.5) * col_mm,
                (centre[plane.row_axis] + 0.5) * row_mm,
                "o",
                color="#FFFFFF",
                markeredgecolor="black",
                markersize=3.2,
            )
            finish_picture(axes, plane, shown, spacing, scale=True)
            index = centre[plane.axis]
            axes.set_title(slice_title(plane.name, index, image.shape[plane.axis]), pad=4)
    return panels.figure
