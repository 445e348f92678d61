"""What a switch costs and does: one row a switch, one panel a quantity."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.viewing.canvas.layout import name_rows, panel_figure
from oarfuse.viewing.canvas.style import INK, LINES, WIDTH_IN, styled


@styled
def plot_switches(
    table: pd.DataFrame,
    *,
    titles: Sequence[str] = (),
    runs: pd.DataFrame | None = None,
    caption: str = "",
    title: str = "",
) -> Figure:
    """Plot columns of numbers for a list of switches, the first row as the reference.

    Parameters
    ----------
    table
        One row a switch, one numeric column a panel.
    titles
        The panels' headings with their units; by default the column names.
    runs
        Columns ``switch, seed, loss`` (see `oarfuse.course.switches.short_runs`): one more panel
        with a dot for each run, and a bar at the mean.
    caption
        What the numbers were measured on.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`). The dashed line is the reference's value.

    Raises
    ------
    OarfuseError
        If the table is empty or the titles do not fit.
    """
    headings = list(titles) or [str(column) for column in table.columns]
    if table.empty or len(headings) != len(table.columns) + (runs is not None and bool(titles)):
        raise OarfuseError(
            f"{len(table.columns)} columns and {len(headings)} titles: give one for each panel."
        )
    if runs is not None and not titles:
        headings.append("Loss")
    count = len(headings)
    left = 0.25 + 0.075 * max(len(str(name)) for name in table.index)
    width = (WIDTH_IN - left - 0.12 - 0.22 * (count - 1)) / count
    panels = panel_figure(
        [width] * count,
        [0.3 + 0.25 * len(table)],
        title=title or "Switches",
        caption=(f"{caption} Dashed: {table.index[0]}.").strip(),
        headers=[0.26],
        left_in=left,
        right_in=0.12,
        gap_in=0.22,
        foot_in=0.24,
    )
    rows = range(len(table))
    for number, heading in enumerate(headings):
        axes = panels.axes(0, number)
        if number < len(table.columns):
            values = table.iloc[:, number]
            axes.hlines(rows, values.iloc[0], values, color="#BBBBBB", linewidth=1.4)
            axes.plot(values, rows, "o", color=LINES[0], markersize=5)
            reference = float(values.iloc[0])
        else:
            assert runs is not None
            reference = _draw_runs(axes, runs, [str(name) for name in table.index])
        axes.axvline(reference, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.set_title(heading, pad=5)
        name_rows(axes, [str(name) for name in table.index], shown=number == 0)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.grid(axis="x")
    return panels.figure


def _draw_runs(axes: Axes, runs: pd.DataFrame, names: Sequence[str]) -> float:
    """Draw a dot for each run and a bar at each switch's mean; return the first one's mean."""
    means = runs.groupby("switch")["loss"].mean()
    for row, name in enumerate(names):
        values = runs.loc[runs["switch"] == name, "loss"]
        axes.plot(values, [row] * len(values), "o", color=LINES[3], markersize=4.5, alpha=0.8)
        axes.plot([means[name]] * 2, [row - 0.28, row + 0.28], color=INK, linewidth=1.8)
    return float(means[names[0]])
