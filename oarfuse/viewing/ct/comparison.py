"""Truth beside predictions: the idea of the paper's Fig. 2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.metrics import dice
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import (
    GAP_IN,
    MARGIN_IN,
    STYLE,
    WIDTH_IN,
    PanelFigure,
    panel_figure,
)
from oarfuse.viewing.canvas.overlay import (
    draw_ct,
    draw_fill,
    draw_outlines,
    finish_picture,
    label_rgba,
    organ_handles,
)
from oarfuse.viewing.canvas.planes import (
    Box,
    Plane,
    Spacing,
    check_image,
    check_index,
    check_labels,
    get_plane,
    telling_voxel,
)
from oarfuse.viewing.ct.slices import Crop, crop_box

ROW_LABEL_IN = 0.22


@dataclass(frozen=True)
class ViewCase:
    """One patient for `show_cases`: CT, truth and one label map per method, all (D, H, W)."""

    title: str
    image: np.ndarray
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    spacing_mm: Spacing
    index: tuple[int, int, int] | None = field(default=None)


def mean_dsc(truth: np.ndarray, prediction: np.ndarray, spec: DatasetSpec) -> float:
    """Return the mean DSC over the organs that truth or prediction holds, in the whole volume.

    A missed organ and an invented one count 0; nan if neither volume holds any organ.
    """
    found = [dice(prediction == organ.label, truth == organ.label) for organ in spec.organs]
    scores = [dsc for dsc in found if not math.isnan(dsc)]
    return float(np.mean(scores)) if scores else math.nan


@dataclass(frozen=True)
class _Row:
    """One row of the comparison: a plane of a checked case."""

    label: str
    case: ViewCase
    plane: Plane
    index: int
    box: Box


def _check_case(case: ViewCase, spec: DatasetSpec) -> ViewCase:
    spacing = check_image(case.image, case.spacing_mm)
    truth = check_labels(case.truth, case.image, spec, "truth")
    predictions = {
        name: check_labels(labels, case.image, spec, f"prediction {name!r}")
        for name, labels in case.predictions.items()
    }
    if case.index is None:
        # The place is chosen on the truth alone, so no method picks its own flattering slice.
        voxel = telling_voxel(truth)
    else:
        voxel = check_index(case.index, case.image.shape)
    return ViewCase(case.title, case.image, truth, predictions, spacing, voxel)


def show_comparison(
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    planes: Sequence[str] = ("axial", "coronal", "sagittal"),
    index: Sequence[int] | None = None,
    window_hu: tuple[float, float] | None = None,
    scores: bool = True,
    crop: Crop = "organs",
    title: str = "",
) -> Figure:
    """Show one patient: a row per plane, the truth and then every method as columns.

    Parameters
    ----------
    image, truth, predictions
        CT in HU and label maps (D, H, W) on one grid; the mapping's order is the columns' order.
    planes
        The rows, out of axial, coronal and sagittal.
    index
        The voxel (d, h, w) whose slices are shown; by default chosen on the truth alone.
    scores
        Write each method's mean DSC over the whole volume (not over the slice) above its column.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).
    """
    voxel = None if index is None else check_index(index, np.shape(image))
    case = ViewCase("", image, truth, predictions, tuple(spacing_mm), voxel)  # type: ignore[arg-type]
    case = _check_case(case, spec)
    if not planes:
        raise OarfuseError("No plane is given: choose at least one of axial, coronal, sagittal.")
    box = crop_box(case.image, case.truth, case.spacing_mm, crop)
    rows = []
    for plane in map(get_plane, planes):
        assert case.index is not None
        slice_index = case.index[plane.axis]
        rows.append(
            _Row(f"{plane.name.capitalize()}, slice {slice_index}", case, plane, slice_index, box)
        )
    return _draw_rows(
        rows, spec, window_hu or spec.window_hu, scores, title or "Truth and predictions"
    )


def show_cases(
    cases: Sequence[ViewCase],
    *,
    spec: DatasetSpec,
    plane: str = "axial",
    window_hu: tuple[float, float] | None = None,
    scores: bool = True,
    crop: Crop = "organs",
    title: str = "",
) -> Figure:
    """Show several patients, one row each: truth and every method on the same slice.

    All cases must hold predictions of the same methods; parameters as in `show_comparison`.
    """
    if not cases:
        raise OarfuseError("No case is given: pass at least one ViewCase.")
    methods = list(cases[0].predictions)
    rows, view = [], get_plane(plane)
    for case in cases:
        if list(case.predictions) != methods:
            raise OarfuseError(
                f"Case {case.title!r} has predictions of {list(case.predictions)} but the first "
                f"case of {methods}: give every case the same methods in the same order."
            )
        checked = _check_case(case, spec)
        assert checked.index is not None
        slice_index = checked.index[view.axis]
        box = crop_box(checked.image, checked.truth, checked.spacing_mm, crop)
        rows.append(_Row(f"{case.title}, slice {slice_index}", checked, view, slice_index, box))
    heading = title or f"Truth and predictions, {plane} slices"
    return _draw_rows(rows, spec, window_hu or spec.window_hu, scores, heading)


def _draw_rows(
    rows: Sequence[_Row], spec: DatasetSpec, window: tuple[float, float], scores: bool, title: str
) -> Figure:
    methods = list(rows[0].case.predictions)
    columns = 1 + len(methods)
    sizes = [row.plane.size_mm(row.box, row.case.spacing_mm) for row in rows]
    room = WIDTH_IN - ROW_LABEL_IN - 2 * MARGIN_IN - GAP_IN * (columns - 1)
    # One scale for all pictures; few columns must not make a figure taller than a screen.
    scale = min(room / columns / max(w for w, _ in sizes), 7.5 / sum(h for _, h in sizes))
    one_volume = all(row.case is rows[0].case for row in rows)
    headers = [0.4 if scores else 0.24] + [0.02 if one_volume or not scores else 0.22] * (
        len(rows) - 1
    )
    present = set()
    for row in rows:
        for labels in (row.case.truth, *row.case.predictions.values()):
            present |= set(np.unique(labels).tolist()) - {0}
    caption = (
        f"The same slice in every column, CT window {window[0]:g} to {window[1]:g} HU, one scale; "
        "the patient's right (R) is on your left; the crop follows the truth."
    )
    if scores:
        caption += " DSC: mean over the organs in the whole volume, not in the slice."
    with plt.rc_context(STYLE):
        # A lone narrow column must still leave room for title and caption.
        column_in = max(scale * max(w for w, _ in sizes), 4.5 / columns)
        panels = panel_figure(
            [column_in] * columns,
            [h * scale for _, h in sizes],
            title=title,
            caption=caption,
            handles=organ_handles(spec, present),
            headers=headers,
            left_in=MARGIN_IN + ROW_LABEL_IN,
        )
        for number, (row, (width_mm, height_mm)) in enumerate(zip(rows, sizes, strict=True)):
            _label_row(panels, number, row.label)
            for column, name in enumerate((None, *methods)):
                labels = row.case.truth if name is None else row.case.predictions[name]
                axes = panels.axes(number, column, width_mm * scale, height_mm * scale)
                spacing = row.case.spacing_mm
                draw_ct(axes, row.case.image, row.plane, row.index, spacing, window)
                rgba = label_rgba(row.plane.take(labels, row.index), spec, 0.55)
                draw_fill(axes, rgba, row.plane, row.plane.extent(labels.shape, spacing))
                draw_outlines(axes, labels, row.plane, row.index, spacing, spec, linewidth=0.7)
                finish_picture(axes, row.plane, row.box, spacing, scale=column == 0)
                heading = [("Truth" if name is None else name)] if number == 0 else []
                if scores and name is not None and (number == 0 or not one_volume):
                    heading.append(f"DSC {mean_dsc(row.case.truth, labels, spec):.3f}")
                elif scores and number == 0:
                    heading.append("")
                if heading:
                    axes.set_title("\n".join(heading), pad=3, fontsize=8.5)
    return panels.figure


def _label_row(panels: PanelFigure, row: int, text: str) -> None:
    width, height = panels.figure.get_size_inches()
    panels.figure.text(
        (MARGIN_IN + 0.08) / width,
        (panels.bottoms[row] + panels.heights[row] / 2) / height,
        text,
        rotation=90,
        ha="center",
        va="center",
        fontsize=8.5,
    )
