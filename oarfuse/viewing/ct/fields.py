"""Receptive fields drawn on the CT: nested boxes around the voxel that sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from oarfuse.errors import OarfuseError
from oarfuse.models.receptive_field import Interval
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.overlay import Scan, window_text
from oarfuse.viewing.canvas.planes import PLANES, check_image, check_index, whole_box
from oarfuse.viewing.ct.slices import draw_planes

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
    colors = dict(zip(fields, COLORS, strict=False))
    handles = []
    for name, box in fields.items():
        sides = zip(box, spacing, strict=True)
        text = " x ".join(f"{(last - first + 1) * step:.0f}" for (first, last), step in sides)
        label = f"{name}: {text} mm"
        handles.append(Line2D([], [], color=colors[name], linewidth=2.2, label=label))
    figure = draw_planes(
        Scan(image, spacing, spec, whole_box(image.shape), spec.window_hu),
        centre,
        crosshair=False,
        title=title or "Receptive fields",
        caption=(
            f"Boxes around the voxel {centre} (dot), in mm along superior, posterior, left; what "
            "lies outside of the picture is outside of the volume. "
            f"{window_text(spec.window_hu)}. The patient's right is on your left."
        ),
        handles=handles,
    )
    for axes, plane in zip(figure.axes, PLANES.values(), strict=True):
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
    return figure
