"""A forest plot: one row a change, its effect with an interval, and the band of chance behind."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from oarfuse.errors import OarfuseError
from oarfuse.viewing.canvas.layout import name_rows, panel_figure
from oarfuse.viewing.canvas.style import INK, LINES, WIDTH_IN, styled

BAND = "#DDCC77"


@styled
def plot_forest(
    effects: pd.DataFrame,
    chance: pd.DataFrame,
    *,
    band: tuple[float, float],
    title: str = "",
    caption: str = "",
    axis: str = "Difference in DSC from the unchanged training's mean",
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Plot the effect of each change before the band of what a seed alone does.

    Parameters
    ----------
    effects
        One row a change (index: its name) with ``difference, low, high``.
    chance
        The unchanged training's seeds, with ``difference``: ticks in a row of their own, on top.
    band
        Where one more seed of it would fall (see `oarfuse.course.experiments.seed_band`).
    limits
        Of the axis; an effect beyond them is an arrow at the edge with its number.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`). A filled dot lies outside of the band.

    Raises
    ------
    OarfuseError
        If there is no effect.
    """
    if effects.empty:
        raise OarfuseError("There is no effect to plot: give at least one row.")
    names = [f"unchanged, {len(chance)} seeds", *map(str, effects.index)]
    left = 0.3 + 0.067 * max(map(len, names))
    panels = panel_figure(
        [WIDTH_IN - left - 0.25],
        [0.2 + 0.3 * len(names)],
        title=title or "Effects and chance",
        caption=caption,
        handles=[
            Patch(facecolor=BAND, alpha=0.45, label="one more seed, unchanged (95 %)"),
            Line2D([], [], color=INK, marker="o", mfc=LINES[0], label="outside of the band"),
            Line2D([], [], color=INK, marker="o", mfc="white", label="inside: may be chance"),
        ],
        headers=[0.06],
        left_in=left,
        right_in=0.25,
        foot_in=0.42,
    )
    axes = panels.axes(0, 0)
    axes.axvspan(*band, color=BAND, alpha=0.45, linewidth=0, gid="band")
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(chance["difference"], [0] * len(chance), "|", color=INK, markersize=13, mew=2)
    if limits is None:
        ends = [*effects["low"], *effects["high"], *band]
        margin = 0.05 * (max(ends) - min(ends))
        limits = min(ends) - margin, max(ends) + margin
    for place, row in enumerate(effects.itertuples(), start=1):
        difference, low, high = float(row.difference), float(row.low), float(row.high)
        if not limits[0] <= difference <= limits[1]:
            below = difference < limits[0]
            axes.annotate(
                f"{difference:+.3f}",
                (limits[0] if below else limits[1], place),
                xytext=(26 if below else -26, 0),
                textcoords="offset points",
                ha="left" if below else "right",
                va="center",
                arrowprops={"arrowstyle": "->", "color": LINES[0], "lw": 1.6},
            )
            continue
        axes.plot([low, high], [place] * 2, color=INK, linewidth=1.4)
        sure = not band[0] <= difference <= band[1]
        axes.plot(
            difference, place, "o", markersize=7, mew=1.6, mec=LINES[0],
            mfc=LINES[0] if sure else "white", gid="filled" if sure else "open",
        )  # fmt: skip
    axes.set_xlim(*limits)
    name_rows(axes, names)
    axes.set_xlabel(axis)
    axes.grid(axis="x")
    return panels.figure
