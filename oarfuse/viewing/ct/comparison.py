"""Truth beside predictions: the idea of the paper's Fig. 2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.metrics import dice
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import MARGIN_IN, panel_figure, panel_room
from oarfuse.viewing.canvas.overlay import (
    Scan,
    draw_plane,
    organ_handles,
    present_organs,
    window_text,
)
from oarfuse.viewing.canvas.planes import (
    AXIAL,
    PLANES,
    Plane,
    check_image,
    check_index,
    check_labels,
    crop_box,
    telling_voxel,
)
from oarfuse.viewing.canvas.style import styled

ROW_LABEL_IN = 0.22


@dataclass(frozen=True)
class ViewCase:
    """One patient for `show_cases`: CT, truth and one label map per method, all (D, H, W)."""

    title: str
    image: np.ndarray
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    spacing_mm: Sequence[float]
    index: Sequence[int] | None = None


def mean_dsc(truth: np.ndarray, prediction: np.ndarray, spec: DatasetSpec) -> float:
    """Return the mean DSC over the organs that truth or prediction holds, in the whole volume.

    A missed organ and an invented one count 0; nan if neither volume holds any organ.
    """
    found = [dice(prediction == organ.label, truth == organ.label) for organ in spec.organs]
    scores = [dsc for dsc in found if not math.isnan(dsc)]
    return float(np.mean(scores)) if scores else math.nan


@dataclass(frozen=True)
class _CheckedCase:
    """A case that can be drawn, at one voxel."""

    scan: Scan
    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    voxel: tuple[int, int, int]


@dataclass(frozen=True)
class _Row:
    """One row of the comparison: a plane of a case."""

    name: str
    case: _CheckedCase
    plane: Plane

    @property
    def size_mm(self) -> tuple[float, float]:
        return self.plane.size_mm(self.case.scan.box, self.case.scan.spacing_mm)


def _check_case(
    case: ViewCase, spec: DatasetSpec, window_hu: tuple[float, float] | None = None
) -> _CheckedCase:
    spacing = check_image(case.image, case.spacing_mm)
    truth = check_labels(case.truth, case.image, spec, "truth")
    predictions = {
        name: check_labels(labels, case.image, spec, f"prediction {name!r}")
        for name, labels in case.predictions.items()
    }
    # The place is chosen on the truth alone, so no method picks its own flattering slice.
    index = telling_voxel(truth) if case.index is None else case.index
    voxel = check_index(index, case.image.shape)
    box = crop_box(case.image, truth, spacing, "organs")
    scan = Scan(case.image, spacing, spec, box, window_hu or spec.window_hu)
    return _CheckedCase(scan, truth, predictions, voxel)


def show_comparison(
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    index: Sequence[int] | None = None,
    window_hu: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Show one patient: a row per plane, the truth and then every method as columns.

    Above each method stands its mean DSC over the whole volume (not over the slice).

    Parameters
    ----------
    image, truth, predictions
        CT in HU and label maps (D, H, W) on one grid; the mapping's order is the columns' order.
    index
        The voxel (d, h, w) whose slices are shown; by default chosen on the truth alone.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).
    """
    case = ViewCase("", image, truth, predictions, spacing_mm, index)
    checked = _check_case(case, spec, window_hu)
    rows = [
        _Row(f"{plane.name.capitalize()}, slice {checked.voxel[plane.axis]}", checked, plane)
        for plane in PLANES.values()
    ]
    return _draw_rows(rows, title or "Truth and predictions")


def show_cases(cases: Sequence[ViewCase], *, spec: DatasetSpec, title: str = "") -> Figure:
    """Show several patients, one row each: truth and every method on the same axial slice.

    All cases must hold predictions of the same methods.
    """
    if not cases:
        raise OarfuseError("No case is given: pass at least one ViewCase.")
    methods = list(cases[0].predictions)
    rows = []
    for case in cases:
        if list(case.predictions) != methods:
            raise OarfuseError(
                f"Case {case.title!r} has predictions of {list(case.predictions)} but the first "
                f"case of {methods}: give every case the same methods in the same order."
            )
        checked = _check_case(case, spec)
        rows.append(_Row(f"{case.title}, slice {checked.voxel[0]}", checked, AXIAL))
    return _draw_rows(rows, title or "Truth and predictions, axial slices")


@styled
def _draw_rows(rows: Sequence[_Row], title: str) -> Figure:
    first = rows[0].case
    columns = 1 + len(first.predictions)
    room = panel_room(columns, ROW_LABEL_IN)
    widest = max(row.size_mm[0] for row in rows)
    # One scale for all pictures; few columns must not make a figure taller than a screen.
    scale = min(room / columns / widest, 7.5 / sum(row.size_mm[1] for row in rows))
    one_volume = all(row.case is first for row in rows)
    drawn = [labels for row in rows for labels in (row.case.truth, *row.case.predictions.values())]
    panels = panel_figure(
        # A lone narrow column must still leave room for title and caption.
        [max(scale * widest, 4.5 / columns)] * columns,
        [row.size_mm[1] * scale for row in rows],
        title=title,
        caption=(
            f"The same slice in every column, {window_text(first.scan.window)}, one scale; the "
            "patient's right (R) is on your left; the crop follows the truth. DSC: mean over the "
            "organs in the whole volume, not in the slice."
        ),
        handles=organ_handles(present_organs(first.scan.spec, *drawn)),
        headers=[0.4] + [0.02 if one_volume else 0.22] * (len(rows) - 1),
        left_in=MARGIN_IN + ROW_LABEL_IN,
    )
    for number, row in enumerate(rows):
        panels.name_row(number, row.name, x_in=MARGIN_IN + 0.08, fontsize=8.5)
        case, plane = row.case, row.plane
        width, height = (side * scale for side in row.size_mm)
        for column, (name, labels) in enumerate([("Truth", case.truth), *case.predictions.items()]):
            axes = panels.axes(number, column, width, height)
            index = case.voxel[plane.axis]
            draw_plane(axes, case.scan, plane, index, labels, fill=0.55, scale_bar=column == 0)
            if number == 0 or not one_volume:
                dsc = mean_dsc(case.truth, labels, case.scan.spec)
                score = f"DSC {dsc:.3f}" if column else ""
                heading = f"{name}\n{score}" if number == 0 else score
                axes.set_title(heading, pad=3, fontsize=8.5)
    return panels.figure
