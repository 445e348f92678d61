"""Paired differences between methods with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.evaluation.statistics import MEAN
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import name_rows, panel_figure
from oarfuse.viewing.canvas.style import INK, LINES, WIDTH_IN, styled
from oarfuse.viewing.plots.curves import METRICS

SIGNIFICANT = 0.05


@styled
def plot_differences(
    table: pd.DataFrame, *, spec: DatasetSpec, reference: str, metric: str = "dsc", title: str = ""
) -> Figure:
    """Plot how much other methods differ from a reference, organ by organ, cases paired.

    Parameters
    ----------
    table
        What `oarfuse.evaluation.statistics.paired_differences` returns.
    reference
        The reference method's name, for the axis.
    metric
        The metric of the table that is drawn.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`): one panel a method; the dot is the mean
    difference over the cases, the bar its interval, a filled dot a difference whose p value
    stays below 0.05 after Holm's correction, which counts every row of the table.

    Raises
    ------
    OarfuseError
        If the table holds nothing of this metric.
    """
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise OarfuseError(f"The table compares no {metric!r}: choose one of its metrics.")
    titles = {organ.name: organ.title for organ in spec.organs} | {MEAN: "Mean of organs"}
    colors = {organ.name: organ.color for organ in spec.organs} | {MEAN: INK}
    organs = [name for name in titles if name in set(rows["organ"])]
    methods = list(dict.fromkeys(rows["method"]))
    label, more_is_better = METRICS.get(metric, (metric, True))
    family = f"all {len(table)} comparisons"
    if len(rows) < len(table):
        names = dict.fromkeys(METRICS.get(name, (name,))[0] for name in table["metric"])
        family += f", of {' and '.join(names)},"
    caption = (
        f"{label} of each method minus that of {reference}, paired over up to "
        f"{rows['cases'].max()} cases; {'right' if more_is_better else 'left'} of the line "
        "is better than the reference. Dot: mean difference; bar: 95 % bootstrap interval over "
        "cases; filled: p below 0.05 (Wilcoxon signed-rank test) after Holm's correction over "
        f"{family} that were made."
    )
    left, gap = 1.25, 0.3
    width = (WIDTH_IN - left - 0.15 - gap * (len(methods) - 1)) / len(methods)
    reach = 1.08 * float(np.nanmax(rows[["low", "high", "difference"]].abs().to_numpy())) or 1.0
    panels = panel_figure(
        [width] * len(methods),
        [0.2 + 0.27 * len(organs)],
        title=title or f"Differences from {reference}",
        caption=caption,
        headers=[0.26],
        left_in=left,
        right_in=0.15,
        gap_in=gap,
        foot_in=0.42,
    )
    for column, method in enumerate(methods):
        axes = panels.axes(0, column)
        axes.axvline(0, color=LINES[-1], linewidth=1)
        for place, organ in enumerate(organs):
            found = rows[(rows["method"] == method) & (rows["organ"] == organ)]
            if found.empty:
                continue
            row = found.iloc[0]
            axes.plot([row["low"], row["high"]], [place] * 2, color=INK, linewidth=1.3)
            sure = row["p_holm"] < SIGNIFICANT
            face = colors[organ] if sure else "white"
            axes.plot(
                row["difference"],
                place,
                "o",
                markersize=7,
                mfc=face,
                mec=colors[organ],
                mew=1.8,
                gid="filled" if sure else "open",
            )
        axes.set_xlim(-reach, reach)
        name_rows(axes, [titles[organ] for organ in organs], shown=column == 0)
        axes.set_title(method, pad=4)
        axes.set_xlabel(f"Difference in {label}", fontsize=8.5)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x")
    return panels.figure
