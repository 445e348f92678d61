"""Where a prediction is wrong: missed, extra and confused voxels in three planes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import STYLE, panel_figure
from oarfuse.viewing.canvas.overlay import (
    draw_crosshair,
    draw_ct,
    draw_fill,
    draw_outlines,
    finish_picture,
)
from oarfuse.viewing.canvas.planes import (
    PLANES,
    box_around,
    check_image,
    check_index,
    check_labels,
    telling_voxel,
)
from oarfuse.viewing.ct.slices import ORGAN_MARGIN_MM, Crop, crop_box, plane_panels, slice_title

# Okabe and Ito's vermilion and blue: far apart for every kind of colour vision.
ERROR_COLORS = {"missed": "#D55E00", "extra": "#0072B2", "confused": "#FFFFFF", "agree": "#9A9A9A"}


def error_classes(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return 0 background, 1 agree, 2 missed, 3 extra, 4 confused (another organ) per voxel."""
    classes = np.zeros(truth.shape, np.uint8)
    organ, drawn = truth > 0, prediction > 0
    classes[organ & (truth == prediction)] = 1
    classes[organ & ~drawn] = 2
    classes[~organ & drawn] = 3
    classes[organ & drawn & (truth != prediction)] = 4
    return classes


def show_error_map(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    index: Sequence[int] | None = None,
    window_hu: tuple[float, float] | None = None,
    crop: Crop = "organs",
    title: str = "",
) -> Figure:
    """Show missed, extra and confused voxels in three planes over a dimmed CT.

    By default the slices with the most wrong voxels are shown: the worst view, not a typical one.
    The legend counts voxels and volume over the whole grid. Parameters as in `show_planes`.
    """
    spacing = check_image(image, spacing_mm)
    truth = check_labels(truth, image, spec, "truth")
    prediction = check_labels(prediction, image, spec, "prediction")
    classes = error_classes(truth, prediction)
    wrong = classes >= 2
    if index is None:
        index = [int(np.argmax(wrong.sum(axis=tuple({0, 1, 2} - {axis})))) for axis in range(3)]
        index = index if wrong.any() else telling_voxel(truth)
    voxel = check_index(index, image.shape)
    low, high = window_hu or spec.window_hu
    if crop == "organs":
        box = box_around((truth > 0) | (prediction > 0), spacing, ORGAN_MARGIN_MM)
    else:
        box = crop_box(image, truth, spacing, crop)
    widths, heights, _ = plane_panels(box, spacing)

    titles = {
        "agree": "Right",
        "missed": "Missed",
        "extra": "Extra",
        "confused": "Wrong organ",
    }
    codes = {"agree": 1, "missed": 2, "extra": 3, "confused": 4}
    alphas = {"agree": 0.35, "missed": 0.95, "extra": 0.95, "confused": 0.95}
    cm3_a_voxel = float(np.prod(spacing)) / 1000
    table, handles = np.zeros((5, 4)), []
    for kind, code in codes.items():
        table[code] = to_rgba(ERROR_COLORS[kind], alphas[kind])
        count = int((classes == code).sum())
        handles.append(
            Patch(
                facecolor=ERROR_COLORS[kind],
                edgecolor="#555555",
                linewidth=0.5,
                label=f"{titles[kind]}: {count} voxels ({count * cm3_a_voxel:.1f} cm³)",
            )
        )
    caption = (
        "Missed: organ in the truth, background in the prediction. Extra: the reverse. Wrong "
        "organ: an organ in both, but another one. Grey: right. Thin lines: the truth's outlines "
        "in the organs' colours. Counts are for the whole volume; the slices shown hold the most "
        "wrong voxels unless chosen otherwise. The patient's right (R) is on your left."
    )
    with plt.rc_context(STYLE):
        panels = panel_figure(
            widths,
            [max(heights)],
            title=title or "Where the prediction is wrong",
            caption=caption,
            handles=handles,
        )
        for column, plane in enumerate(PLANES.values()):
            axes = panels.axes(0, column, height=heights[column])
            slice_index = voxel[plane.axis]
            # A brighter white point dims the CT, so that the error colours stand out.
            draw_ct(axes, image, plane, slice_index, spacing, (low, high + (high - low)))
            rgba = table[plane.take(classes, slice_index)]
            draw_fill(axes, rgba, plane, plane.extent(image.shape, spacing))
            draw_outlines(axes, truth, plane, slice_index, spacing, spec, linewidth=0.9)
            draw_crosshair(axes, plane, voxel, spacing)
            finish_picture(axes, plane, box, spacing, scale=True)
            axes.set_title(slice_title(plane.name, slice_index, image.shape[plane.axis]), pad=4)
    return panels.figure
