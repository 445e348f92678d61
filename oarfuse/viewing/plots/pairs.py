"""Two methods on the same cases: one dot a case, and how far it lies from the diagonal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.viewing.canvas.layout import panel_figure
from oarfuse.viewing.canvas.style import INK, LINES, WIDTH_IN, styled
from oarfuse.viewing.plots.curves import METRICS

LEFT_IN, RIGHT_IN, GAP_IN = 0.75, 0.12, 0.18


@styled
def plot_pairs(
    reference: pd.DataFrame,
    others: Mapping[str, pd.DataFrame],
    *,
    reference_name: str,
    metric: str = "dsc",
    title: str = "",
) -> Figure:
    """Plot other methods against a reference, case by case.

    Parameters
    ----------
    reference
        The reference's scores: columns `case`, `organ` and the metric.
    others
        Method name to such a table of the same cases.
    reference_name
        What the axis calls the reference.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`): one panel a method, one dot a case (its mean
    over the organs), the diagonal where both score alike. All panels share one scale.

    Raises
    ------
    OarfuseError
        If no other method is given, or one has other cases or lacks the metric.
    """
    if not others:
        raise OarfuseError("There is nothing to compare: give at least one other method.")
    across = _means(reference, metric, reference_name)
    along = {name: _means(frame, metric, name) for name, frame in others.items()}
    for name, means in along.items():
        if set(means.index) != set(across.index):
            raise OarfuseError(f"{name} was scored on other cases than {reference_name}.")
    label, more_is_better = METRICS.get(metric, (metric, True))
    everything = np.concatenate([across, *along.values()])
    margin = 0.06 * (np.ptp(everything) or 1.0)
    limits = everything.min() - margin, everything.max() + margin
    width = (WIDTH_IN - LEFT_IN - RIGHT_IN - GAP_IN * (len(along) - 1)) / len(along)
    side = min(width, 2.6)
    panels = panel_figure(
        [side] * len(along),
        [side],
        title=title or f"Case by case against {reference_name}",
        caption=(
            f"{label} of {len(across)} cases, the mean over each one's organs; one dot a case. On "
            f"the line both methods score alike; {'above' if more_is_better else 'below'} it the "
            "panel's method is better. Along the line the cases differ, across it the methods do."
        ),
        headers=[0.26],
        left_in=LEFT_IN,
        right_in=RIGHT_IN,
        gap_in=GAP_IN,
        foot_in=0.4,
    )
    for column, (name, means) in enumerate(along.items()):
        axes = panels.axes(0, column)
        axes.plot(limits, limits, color=LINES[-1], linewidth=1.0, zorder=1)
        axes.scatter(
            across,
            means.loc[across.index],
            s=20,
            color=LINES[0],
            alpha=0.75,
            linewidths=0,
            zorder=2,
            gid="cases",
        )
        gain = (means - across) * (1 if more_is_better else -1)
        better = int((gain > 0).sum())
        axes.text(
            0.04,
            0.95,
            f"better in {better} of {len(across)}",
            transform=axes.transAxes,
            va="top",
            fontsize=8,
            color=INK,
        )
        axes.set(xlim=limits, ylim=limits)
        axes.set_title(name, pad=4)
        axes.set_xlabel(reference_name, fontsize=8.5)
        axes.locator_params(nbins=4)
        axes.grid(True)
        if column:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel(label)
    return panels.figure


def _means(frame: pd.DataFrame, metric: str, name: str) -> pd.Series:
    if metric not in frame:
        raise OarfuseError(f"The table of {name!r} has no column {metric!r}: give a metrics.csv.")
    return frame.groupby("case")[metric].mean()
