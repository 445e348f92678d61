"""What changes from slice to slice along the body: the CT's extent, the organs, the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from oarfuse.data.ct import leaking_slices
from oarfuse.data.openkbp.sparse_csv import CT_OFFSET
from oarfuse.metrics import dice
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import panel_figure
from oarfuse.viewing.canvas.overlay import organ_handles, present_organs
from oarfuse.viewing.canvas.planes import check_image, check_labels
from oarfuse.viewing.canvas.style import INK, WIDTH_IN, styled

LEAK_COLOR = "#D55E00"  # Okabe and Ito's vermilion: no organ of OpenKBP wears it
LEFT_IN, RIGHT_IN = 1.05, 0.15
BODY_AXIS = "Axial slice (inferior on the left, superior on the right)"


@styled
def plot_coverage(
    image: np.ndarray,
    labels: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    title: str = "",
) -> Figure:
    """Plot how much CT each axial slice holds outside the organs, over where the organs lie.

    Slices that `oarfuse.data.leaking_slices` finds are shaded: there the CT is little more than
    the organs themselves.

    Parameters
    ----------
    image, labels
        CT in HU (-1024 where there is none) and label map, (D, H, W).
    spacing_mm
        Voxel size (D, H, W) in mm.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).
    """
    spacing = check_image(image, spacing_mm)
    labels = check_labels(labels, image, spec, "label map")
    leaking = leaking_slices(image, labels)
    area = ((image > -CT_OFFSET) & (labels == 0)).sum(axis=(1, 2)) * spacing[1] * spacing[2] / 100
    organs = present_organs(spec, labels)
    caption = (
        f"Above: area of the CT outside all organs in each axial slice; slices are {spacing[0]:g} "
        "mm apart. Below: the slices in which each organ is drawn. Leaking slices hold organs but "
        "next to no CT around them."
    )
    handles = [Patch(facecolor=LEAK_COLOR, alpha=0.35, label=f"{leaking.sum()} leaking slices")]
    panels = panel_figure(
        [WIDTH_IN - LEFT_IN - RIGHT_IN],
        [1.7, 0.2 * len(organs) + 0.1],
        title=title or "Where the CT ends and the organs go on",
        caption=caption,
        handles=handles,
        headers=[0.1, 0.0],
        left_in=LEFT_IN,
        right_in=RIGHT_IN,
        foot_in=0.4,
    )
    above, below = panels.axes(0, 0), panels.axes(1, 0)
    above.fill_between(np.arange(len(area)), area, step="mid", color="#BBBBBB", linewidth=0)
    above.step(np.arange(len(area)), area, where="mid", color=INK, linewidth=1.0)
    above.set_ylabel("CT area (cm²)")
    above.set_ylim(0, None)
    above.set_xticklabels([])
    for row, organ in enumerate(organs):
        used = np.flatnonzero((labels == organ.label).any(axis=(1, 2)))
        below.barh(
            row, np.ones(len(used)), left=used - 0.5, color=organ.color, height=0.75, zorder=2
        )
    below.set_yticks(range(len(organs)), [organ.title for organ in organs])
    below.set_ylim(len(organs) - 0.4, -0.6)
    below.tick_params(axis="y", length=0)
    below.set_xlabel(BODY_AXIS)
    for axes in (above, below):
        axes.set_xlim(-0.5, len(area) - 0.5)
        for index in np.flatnonzero(leaking):
            axes.axvspan(
                index - 0.5, index + 0.5, color=LEAK_COLOR, alpha=0.2, linewidth=0, zorder=0
            )
    return panels.figure


def slice_dsc(truth: np.ndarray, prediction: np.ndarray, label: int) -> np.ndarray:
    """Return the DSC of one organ in every axial slice, (D,); nan where neither map has it."""
    mine, theirs = truth == label, prediction == label
    total = (mine.sum(axis=(1, 2)) + theirs.sum(axis=(1, 2))).astype(float)
    return 2 * (mine & theirs).sum(axis=(1, 2)) / np.where(total > 0, total, np.nan)


@styled
def plot_slice_dsc(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    spec: DatasetSpec,
    title: str = "",
) -> Figure:
    """Plot each organ's DSC slice by slice, with its DSC over the whole volume at the side.

    Shows how much the choice of a slice decides what a picture seems to say.

    Parameters
    ----------
    truth, prediction
        Label maps (D, H, W) on one grid.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).
    """
    check_image(truth, (1, 1, 1))
    truth = check_labels(truth, truth, spec, "truth")
    prediction = check_labels(prediction, truth, spec, "prediction")
    organs = present_organs(spec, truth, prediction)
    used = np.flatnonzero(((truth > 0) | (prediction > 0)).any(axis=(1, 2)))
    caption = (
        "DSC within each axial slice (dots) and over the whole volume (dashed line and number). "
        "Slices where neither truth nor prediction has the organ have no value."
    )
    handles = [
        *organ_handles(organs),
        Line2D([], [], color=INK, linestyle="dashed", linewidth=1.0, label="whole volume"),
    ]
    panels = panel_figure(
        [WIDTH_IN - LEFT_IN - 0.6],
        [0.62] * len(organs),
        title=title or "One prediction, slice by slice",
        caption=caption,
        handles=handles,
        headers=[0.06] * len(organs),
        left_in=LEFT_IN,
        right_in=0.6,
        foot_in=0.4,
    )
    for row, organ in enumerate(organs):
        axes = panels.axes(row, 0)
        _draw_slices(axes, slice_dsc(truth, prediction, organ.label), organ.color)
        whole = dice(prediction == organ.label, truth == organ.label)
        axes.axhline(whole, color=INK, linestyle="dashed", linewidth=1.0, zorder=1)
        axes.text(1.01, whole, f"{whole:.2f}", transform=axes.get_yaxis_transform(), va="center")
        axes.set_xlim(used[0] - 1.5, used[-1] + 1.5)
        axes.set_ylabel(organ.title, rotation=0, ha="right", va="center", labelpad=2)
        if row == len(organs) - 1:
            axes.set_xlabel(BODY_AXIS)
        else:
            axes.set_xticklabels([])
    return panels.figure


def _draw_slices(axes: Axes, values: np.ndarray, color: str) -> None:
    index = np.flatnonzero(~np.isnan(values))
    axes.vlines(index, 0, values[index], color=color, linewidth=1.6, zorder=2)
    axes.scatter(index, values[index], s=14, color=color, edgecolors=INK, linewidths=0.5, zorder=3)
    axes.set_ylim(-0.08, 1.08)
    axes.set_yticks([0, 1])
    axes.grid(axis="y")
