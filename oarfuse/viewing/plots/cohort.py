"""A data set at a glance: how large its voxels and its organs are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from oarfuse.data.openkbp.cohort import Cohort
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import name_rows, panel_figure
from oarfuse.viewing.canvas.style import FAINT, INK, WIDTH_IN, styled

LEFT_IN, RIGHT_IN, GAP_IN = 1.05, 0.15, 0.75


@styled
def plot_cohort(
    frame: pd.DataFrame, *, spec: DatasetSpec, whole: Cohort | None = None, title: str = ""
) -> Figure:
    """Plot every case's organ volumes and voxel size.

    Parameters
    ----------
    frame
        What `oarfuse.data.audit` returns.
    spec
        The data set, for its organs and colours.
    whole
        The cohort that these patients are a part of: its ranges are laid behind.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).
    """
    ml = frame["spacing_d"] * frame["spacing_h"] * frame["spacing_w"] / 1000
    room = WIDTH_IN - LEFT_IN - RIGHT_IN - GAP_IN
    height = 0.5 * len(spec.organs) + 0.2
    caption = (
        f"{len(frame)} cases, one dot each. Left: organ volumes in ml on a logarithmic axis; "
        "box: quartiles; bar: median. Right: the size of their voxels; a larger dot stands for "
        "several cases with the same voxels."
    )
    if whole is not None:
        caption += (
            f" Grey lines: range, quartiles and median of the whole data set's {whole.patients} "
            "patients; grey circles: their voxels."
        )
    panels = panel_figure(
        [room * 0.6, room * 0.4],
        [height],
        title=title or "Organs and voxels of the data set",
        caption=caption,
        headers=[0.05],
        left_in=LEFT_IN,
        right_in=RIGHT_IN,
        gap_in=GAP_IN,
        foot_in=0.4,
    )
    left, right = panels.axes(0, 0), panels.axes(0, 1)
    # A fixed spread, so that the same table always gives the same picture.
    spread = np.random.default_rng(0).uniform(-0.2, 0.2, len(frame))
    if whole is not None:
        _draw_whole(left, right, whole, spec)
    for row, organ in enumerate(spec.organs):
        volume = (frame[f"voxels_{organ.name}"] * ml).to_numpy()
        left.boxplot(
            volume,
            positions=[row],
            orientation="horizontal",
            widths=0.52,
            showfliers=False,
            whis=0,
            showcaps=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": organ.color, "edgecolor": INK, "linewidth": 0.8},
            medianprops={"color": INK, "linewidth": 1.8},
        )
        left.scatter(volume, row + spread, s=6, color=INK, alpha=0.55, linewidths=0, zorder=3)
    left.set_xscale("log")
    left.set_xticks([5, 10, 20, 50, 100, 200])
    left.xaxis.set_major_formatter(ScalarFormatter())
    left.xaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("Volume (ml)")
    name_rows(left, [organ.title for organ in spec.organs])
    counts = frame.groupby(["spacing_h", "spacing_d"]).size().reset_index(name="cases")
    right.scatter(
        counts["spacing_h"],
        counts["spacing_d"],
        s=14 * counts["cases"],
        color="#56676F",
        edgecolors=INK,
        linewidths=0.7,
        alpha=0.7,
        zorder=3,
    )
    right.margins(0.18)
    right.set_xlabel("In plane (mm)")
    right.set_ylabel("Between slices (mm)")
    for axes in (left, right):
        axes.grid(True)
    return panels.figure


def _draw_whole(left: Axes, right: Axes, whole: Cohort, spec: DatasetSpec) -> None:
    """Draw the whole cohort above each organ's box, and its voxels as empty circles."""
    for row, organ in enumerate(spec.organs):
        low, quarter, middle, three_quarters, high = whole.volumes_ml[organ.name]
        y = row - 0.38
        left.plot([low, high], [y, y], color=FAINT, linewidth=1.0, gid="whole")
        left.plot([quarter, three_quarters], [y, y], color=FAINT, linewidth=3.5)
        left.plot([middle], [y], "|", color=INK, markersize=7, markeredgewidth=1.4)
    in_plane, between, patients = zip(*whole.voxels_mm, strict=True)
    right.scatter(
        in_plane,
        between,
        s=14 * np.array(patients),
        facecolors="none",
        edgecolors=FAINT,
        linewidths=0.9,
        gid="whole",
    )
