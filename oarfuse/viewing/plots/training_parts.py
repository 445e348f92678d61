"""The validation curve of a training in several parts, each going on from the one before."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.viewing.canvas.layout import panel_figure
from oarfuse.viewing.canvas.style import LINES, WIDTH_IN, styled


@styled
def plot_parts(
    parts: Sequence[tuple[str, pd.DataFrame, float]], *, title: str = "Validation DSC"
) -> Figure:
    """Plot validation DSC against the minutes of training, part after part.

    Parameters
    ----------
    parts
        Oldest first: the part's name, its run's ``validation.csv`` (columns ``minutes`` of the
        part and ``val_dsc``), and the minutes after which the next part took its weights or, for
        the last part, after which the published weights were kept. Weights files and published
        figures call a part a stage (`oarfuse.weights.training_stages`).

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`). A part starts where the weights that it goes on
    from were taken; a ring marks each part's kept weights.

    Raises
    ------
    OarfuseError
        If there is no part, or a table has other columns.
    """
    if not parts:
        raise OarfuseError("No part of a training is given: pass at least one validation.csv.")
    left, right = 0.6, 0.15
    panels = panel_figure(
        [WIDTH_IN - left - right],
        [2.6],
        title=title,
        caption=(
            "Mean DSC over organs and validation patients of the weights' moving average. "
            "Minutes are of training alone; a ring marks the weights that were kept"
            + (", from which the next stage goes on." if len(parts) > 1 else ".")
        ),
        headers=[0.1],
        left_in=left,
        right_in=right,
        foot_in=0.36,
    )
    axes = panels.axes(0, 0)
    start = 0.0
    for number, (name, frame, minutes) in enumerate(parts):
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
    axes.grid(True)
    axes.legend(fontsize=8, loc="lower right")
    return panels.figure
