"""The validation curve of a training that went on in several stages."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.viewing.canvas.layout import STYLE, WIDTH_IN, panel_figure
from oarfuse.viewing.plots.curves import LINES


def plot_stages(
    stages: Sequence[tuple[str, pd.DataFrame, float]], *, title: str = "Validation DSC"
) -> Figure:
    """Plot validation DSC against the minutes of training, stage after stage.

    Parameters
    ----------
    stages
        Oldest first: the stage's name, its run's ``validation.csv`` (columns ``minutes`` of the
        stage and ``val_dsc``), and the minutes after which the next stage took its weights or,
        for the last stage, after which the published weights were kept.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`). A stage starts where the weights that it goes
    on from were taken; a ring marks each stage's kept weights.

    Raises
    ------
    OarfuseError
        If there is no stage, or a table has other columns.
    """
    if not stages:
        raise OarfuseError("No stage is given: pass at least one validation.csv.")
    left, right = 0.6, 0.15
    with plt.rc_context(STYLE):
        panels = panel_figure(
            [WIDTH_IN - left - right],
            [2.6, 0.36],  # the second row is room for tick labels and the axis title
            title=title,
            caption=(
                "Mean DSC over organs and validation patients of the weights' moving average. "
                "Minutes are of training alone; a ring marks the weights that were kept"
                + (", from which the next stage goes on." if len(stages) > 1 else ".")
            ),
            headers=[0.1, 0.0],
            left_in=left,
            right_in=right,
            gap_in=0.0,
            row_gap_in=0.0,
        )
        axes = panels.axes(0, 0)
        start = 0.0
        for number, (name, frame, minutes) in enumerate(stages):
            if not {"minutes", "val_dsc"} <= set(frame.columns) or frame.empty:
                raise OarfuseError(f"The table of {name!r} is no validation.csv: give a run's.")
            color = LINES[number % len(LINES)]
            at = start + frame["minutes"]
            axes.plot(at, frame["val_dsc"], "o-", color=color, markersize=3, label=name)
            kept = (frame["minutes"] - minutes).abs().idxmin()
            axes.plot(
                at[kept],
                frame["val_dsc"][kept],
                "o",
                markersize=9,
                mfc="none",
                mec=color,
                gid="kept",
            )
            start += minutes
        axes.set_xlabel("Minutes of training", fontsize=8.5)
        axes.set_ylabel("DSC", fontsize=8.5)
        axes.grid(color="#E6E6E6", linewidth=0.7)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return panels.figure
