"""Where a prediction is wrong: missed, extra and confused voxels in three planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.overlay import Scan, draw_fill, organ_handles, present_organs
from oarfuse.viewing.canvas.planes import (
    PLANES,
    check_image,
    check_index,
    check_labels,
    crop_box,
    telling_voxel,
)
from oarfuse.viewing.ct.slices import draw_planes

# An extra voxel wears its organ's colour mixed with so much white, a missed one the full colour.
TINT = 0.5
CONFUSED_COLOR = "#FFFFFF"
# The classes 1, 2, ... of `error_classes` with their words in the legend. "Agree" and not "right":
# right is also a side of the patient.
TITLES = {"agree": "Agree", "missed": "Missed", "extra": "Extra", "confused": "Wrong organ"}
# What stands for a kind of error in the legend, where it has no organ.
KEYS = {"agree": "none", "missed": "#555555", "extra": "#D0D0D0", "confused": CONFUSED_COLOR}


def error_classes(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return 0 background, 1 agree, 2 missed, 3 extra, 4 confused (another organ) per voxel."""
    classes = np.zeros(truth.shape, np.uint8)
    organ, drawn = truth > 0, prediction > 0
    classes[organ & (truth == prediction)] = 1
    classes[organ & ~drawn] = 2
    classes[~organ & drawn] = 3
    classes[organ & drawn & (truth != prediction)] = 4
    return classes


def error_rgba(truth: np.ndarray, prediction: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Return a slice's colours (rows, columns, 4): whose error, and by its shade of which kind.

    Missed voxels wear the full colour of the truth's organ, extra ones the pale colour of the
    prediction's, and those of a wrong organ are white; all else is clear.
    """
    full, pale = np.zeros((spec.num_classes, 4)), np.zeros((spec.num_classes, 4))
    for organ in spec.organs:
        color = np.array(to_rgb(organ.color))
        full[organ.label] = (*color, 0.95)
        pale[organ.label] = (*(color + TINT * (1 - color)), 0.95)
    classes = error_classes(truth, prediction)
    painted = np.zeros((*truth.shape, 4))
    for code, colors, labels in ((2, full, truth), (3, pale, prediction)):
        painted[classes == code] = colors[labels[classes == code]]
    painted[classes == 4] = to_rgba(CONFUSED_COLOR, 0.95)
    return painted


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
    """Show every organ's missed, extra and confused voxels in three planes over a dimmed CT.

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
    handles = []
    for code, (kind, name) in enumerate(TITLES.items(), start=1):
        count = int((classes == code).sum())
        text = f"{name}: {count} voxels ({count * cm3_a_voxel:.1f} cm³)"
        key = Patch(facecolor=KEYS[kind], edgecolor="#555555", linewidth=0.5, label=text)
        if kind == "agree":
            key.set_linestyle((0, (1, 1.5)))  # dotted: nothing is painted there
        handles.append(key)
    figure = draw_planes(
        scan,
        voxel,
        truth,
        outline=0.9,
        title=title or "Where the prediction is wrong",
        caption=(
            "Lines: the truth's outlines in the organs' colours; agreement is left unpainted. "
            "Missed: organ in the truth, background in the prediction, in the organ's full colour. "
            "Extra: the reverse, in its pale colour. White: an organ in both, but another one. "
            "Counts are for the whole volume; the slices shown hold the most wrong voxels unless "
            "chosen otherwise. The patient's right (R) is on your left."
        ),
        handles=[*organ_handles(present_organs(spec, truth, prediction)), *handles],
    )
    for axes, plane in zip(figure.axes, PLANES.values(), strict=True):
        true, drawn = (plane.take(labels, voxel[plane.axis]) for labels in (truth, prediction))
        draw_fill(axes, scan, plane, error_rgba(true, drawn, spec))
    return figure
