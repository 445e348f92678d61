"""The whole way from a CSV file to a score on one picture, drawn from what really went through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from oarfuse.data.openkbp.sparse_csv import ct_rows
from oarfuse.errors import OarfuseError
from oarfuse.models.stages import Stage
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import MARGIN_IN, panel_figure
from oarfuse.viewing.canvas.overlay import (
    Scan,
    draw_plane,
    organ_handles,
    present_organs,
    window_text,
)
from oarfuse.viewing.canvas.planes import (
    AXIAL,
    Box,
    box_around,
    check_image,
    check_labels,
    crop_box,
    telling_voxel,
)
from oarfuse.viewing.canvas.style import FAINT, INK, WIDTH_IN, styled
from oarfuse.viewing.network.diagram import FILLS, STREAM_COLORS, shape_text

ARROW_IN = 0.36
PANEL_H = 2.0
STATIONS = (  # with the notebook that explains each
    "Sparse files [01]",
    "Volume and organs [01]",
    "Patch, scaled to 0..1 [03]",
    "Network [02]",
    "Predicted labels [04]",
    "Scores [04]",
)


@styled
def draw_pipeline(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    patch_size: Sequence[int],
    stages: Sequence[Stage],
    scores: Mapping[str, float],
    title: str = "",
) -> Figure:
    """Draw the six stations of the pipeline with the data of one case.

    Parameters
    ----------
    image, truth, prediction
        CT in HU and label maps, (D, H, W). The rows of ``ct.csv`` are made from the CT.
    patch_size
        (D, H, W) voxels of a training patch; one around the organs' centre is shown.
    stages
        What `trace_stages` returns for the network.
    scores
        Organ name to DSC.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If shapes, labels or stages do not fit.
    """
    spacing = check_image(image, spacing_mm)
    truth = check_labels(truth, image, spec, "truth")
    prediction = check_labels(prediction, image, spec, "prediction")
    if len(patch_size) != 3:
        raise OarfuseError(f"patch_size is {tuple(patch_size)}: give three sides (D, H, W).")
    width = (WIDTH_IN - 2 * MARGIN_IN - 2 * ARROW_IN) / 3
    panels = panel_figure(
        [width] * 3,
        [PANEL_H] * 2,
        title=title or "From a CSV file to a score",
        caption=(
            "One case on its way. Axial slices: the patient's right (R) is on your left; "
            f"{window_text(spec.window_hu)}. The network is drawn from the model: encoder, fusion "
            "between the streams, decoder, with channels x voxels for one patch; I5 goes "
            "straight to the decoder. Numbers in brackets: the notebook that explains the step."
        ),
        handles=organ_handles(present_organs(spec, truth)),
        headers=[0.28, 0.34],
        gap_in=ARROW_IN,
    )
    axes = [panels.axes(row, column) for row in range(2) for column in range(3)]
    for number, (panel, name) in enumerate(zip(axes, STATIONS, strict=True), start=1):
        panel.set_title(f"{number}  {name}", pad=4, loc="left")
    scan = Scan(image, spacing, spec, crop_box(image, None, spacing, "body"), spec.window_hu)
    patch = replace(scan, box=_patch_box(truth, patch_size))
    _draw_rows(axes[0], ct_rows(image, 8))
    for number, seen, labels in ((1, scan, truth), (2, patch, None), (4, scan, prediction)):
        draw_plane(axes[number], seen, AXIAL, telling_voxel(truth)[0], labels, fill=0.55)
        axes[number].set_anchor("N")
    _draw_network(axes[3], stages)
    _draw_scores(axes[5], scores, spec, panels.figure)
    for number in (0, 1, 3, 4):
        _arrow_after(panels.figure, axes[number], axes[number + 1])
    return panels.figure


def _draw_rows(axes: Axes, rows: Sequence[str]) -> None:
    _frame(axes)
    text = "\n".join(["place,value", *rows, "..."])
    axes.text(0.08, 0.94, text, family="monospace", fontsize=8.5, va="top", linespacing=1.35)
    axes.text(0.95, 0.06, "ct.csv", color=FAINT, ha="right", va="bottom")


def _patch_box(truth: np.ndarray, patch_size: Sequence[int]) -> Box:
    """Return the box of a patch around the middle of all organs, moved to lie in the volume."""
    around = box_around(truth > 0, (1.0, 1.0, 1.0), 0.0)  # the whole volume if there is no organ
    box = []
    for (low, high), side, whole in zip(around, patch_size, truth.shape, strict=True):
        side = min(int(side), whole)
        start = min(max((low + high) // 2 - side // 2, 0), whole - side)
        box.append((start, start + side))
    return box[0], box[1], box[2]


def _draw_network(axes: Axes, stages: Sequence[Stage]) -> None:
    """Draw encoder and decoder as boxes that shrink with resolution, and the exchange between."""
    found = {stage.name: stage for stage in stages}
    wanted = [*(f"I{a}" for a in range(1, 6)), *(f"D{a}" for a in range(1, 5))]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise OarfuseError(f"The stage {missing[0]} is missing: pass what trace_stages returns.")
    axes.set(xlim=(0, 10), ylim=(0, 8))
    _frame(axes)
    ys = {a: 7.35 - 1.6 * (a - 1) for a in range(1, 6)}
    for name in wanted:
        x, kind = (2.0, "encoder") if name[0] == "I" else (8.0, "decoder")
        text = f"{name[0]}$_{name[1]}$  {shape_text(found[name].shape)}"
        _box(axes, x, ys[int(name[1])], FILLS[kind], text)
    for a in range(1, 5):
        for b in range(1, 5):
            color = STREAM_COLORS[b]
            axes.plot([4.15, 5.85], [ys[b], ys[a]], color=color, linewidth=0.9, zorder=1)
        for x in (4.15, 5.85):
            axes.plot([x], [ys[a]], "o", color=INK, markersize=3.5, zorder=3)
        _arrow(axes, (2.0, ys[a] - 0.38), (2.0, ys[a + 1] + 0.38))
        _arrow(axes, (8.0, ys[a + 1] + (0.38 if a < 4 else 0.0)), (8.0, ys[a] - 0.38))
    axes.plot([3.75, 8.0], [ys[5], ys[5]], color=INK, linewidth=1.0)
    axes.text(5.0, 1.45, "fusion of the streams", ha="center", fontsize=7.5, color=FAINT)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=7, color=INK, shrinkA=0, shrinkB=0
        )
    )


def _box(axes: Axes, x: float, y: float, fill: str, text: str) -> None:
    axes.add_patch(
        Rectangle((x - 1.75, y - 0.36), 3.5, 0.72, facecolor=fill, edgecolor=FAINT, zorder=2)
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=6.2, zorder=3)


def _draw_scores(
    axes: Axes, scores: Mapping[str, float], spec: DatasetSpec, figure: Figure
) -> None:
    organs = [organ for organ in spec.organs if organ.name in scores]
    for row, organ in enumerate(organs):
        value = scores[organ.name]
        axes.barh(row, value, color=organ.color, edgecolor=INK, linewidth=0.5, height=0.66)
        axes.text(0.03, row, f"{organ.title}  {value:.2f}", va="center", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(len(organs) - 0.5, -0.5))
    axes.set_yticks([])
    axes.set_xticks([0, 0.5, 1], ["0", "DSC", "1"])
    position = axes.get_position()  # the tick labels belong inside the panel's cell
    rise = 0.2 / figure.get_size_inches()[1]
    axes.set_position((position.x0, position.y0 + rise, position.width, position.height - rise))


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color="#CCCCCC")


def _arrow_after(figure: Figure, panel: Axes, following: Axes) -> None:
    """Draw an arrow in the gap between two neighbouring panels."""
    panel.apply_aspect()
    start, end = panel.get_position(original=True), following.get_position(original=True)
    y = start.y0 + start.height / 2
    gap = end.x0 - start.x1
    figure.add_artist(
        FancyArrowPatch(
            (start.x1 + 0.2 * gap, y),
            (end.x0 - 0.2 * gap, y),
            transform=figure.transFigure,
            arrowstyle="-|>",
            mutation_scale=16,
            linewidth=1.8,
            color=INK,
            gid="arrow",
        )
    )
