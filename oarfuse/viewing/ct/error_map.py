"""Where a prediction is wrong: missed, extra and confused voxels in three planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.overlay import Scan, draw_fill
from oarfuse.viewing.canvas.planes import (
    PLANES,
    check_image,
    check_index,
    check_labels,
    crop_box,
    telling_voxel,
)
from oarfuse.viewing.ct.slices import draw_planes

# Okabe and Ito's vermilion and blue: far apart for every kind of colour vision.
ERROR_COLORS = {"missed": "#D55E00", "extra": "#0072B2", "confused": "#FFFFFF", "agree": "#9A9A9A"}
# The classes 1, 2, ... of `error_classes` with their words in the legend.
TITLES = {"agree": "Right", "missed": "Missed", "extra": "Extra", "confused": "Wrong organ"}


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
    low, high = spec.window_hu
    box = crop_box(image, (truth > 0) | (prediction > 0), spacing, "organs")
    # A brighter white point dims the CT, so that the error colours stand out.
    scan = Scan(image, spacing, spec, box, (low, high + (high - low)))

    cm3_a_voxel = float(np.prod(spacing)) / 1000
    table, handles = np.zeros((5, 4)), []
    for code, (kind, name) in enumerate(TITLES.items(), start=1):
        color, count = ERROR_COLORS[kind], int((classes == code).sum())
        table[code] = to_rgba(color, 0.35 if kind == "agree" else 0.95)
        text = f"{name}: {count} voxels ({count * cm3_a_voxel:.1f} cm³)"
        handles.append(Patch(facecolor=color, edgecolor="#555555", linewidth=0.5, label=text))
    figure = draw_planes(
        scan,
        voxel,
        truth,
        outline=0.9,
        title=title or "Where the prediction is wrong",
        caption=(
            "Missed: organ in the truth, background in the prediction. Extra: the reverse. Wrong "
            "organ: an organ in both, but another one. Grey: right. Thin lines: the truth's "
            "outlines in the organs' colours. Counts are for the whole volume; the slices shown "
            "hold the most wrong voxels unless chosen otherwise. The patient's right (R) is on "
            "your left."
        ),
        handles=handles,
    )
    for axes, plane in zip(figure.axes, PLANES.values(), strict=True):
        draw_fill(axes, scan, plane, table[plane.take(classes, voxel[plane.axis])])
    return figure
