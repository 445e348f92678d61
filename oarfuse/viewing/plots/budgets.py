"""What trainings reached after how many minutes, on whatever machine: their validation curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from oarfuse.errors import OarfuseError
from oarfuse.runs import VALIDATION
from oarfuse.viewing.canvas.layout import panel_figure
from oarfuse.viewing.canvas.style import LINES, WIDTH_IN, styled

_MINUTES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def recorded_curve(folder: str | Path) -> pd.DataFrame:
    """Return when a recorded training was validated, and what it reached.

    Parameters
    ----------
    folder
        A run's folder, or one of stages ``1``, ``2``, ... that each go on from the weights which
        the one before had at the minute of its ``record.json``. Minutes add up from stage to stage;
        what a stage did after those weights is left out.

    Returns
    -------
    pandas.DataFrame
        ``minutes`` of training since the first stage began, and ``val_dsc``.

    Raises
    ------
    OarfuseError
        If the folder holds neither.
    """
    folder = Path(folder)
    if (folder / VALIDATION).exists():
        return pd.read_csv(folder / VALIDATION)[["minutes", "val_dsc"]]
    stages = sorted(folder.glob("[0-9]*/record.json"), key=lambda path: int(path.parent.name))
    if not stages:
        raise OarfuseError(f"{folder} holds no {VALIDATION} and no stages: give a run's folder.")
    parts, passed = [], 0.0
    for record in stages:
        taken = float(json.loads(record.read_text(encoding="utf-8"))["minutes"])
        curve = recorded_curve(record.parent)
        curve = curve[curve["minutes"] <= taken + 0.01]  # the record's minutes are rounded
        parts.append(curve.assign(minutes=curve["minutes"] + passed))
        passed += taken
    return pd.concat(parts, ignore_index=True)


@styled
def plot_budgets(curves: Mapping[str, pd.DataFrame], *, title: str = "", note: str = "") -> Figure:
    """Plot validation DSC against the minutes of training, one curve a run, minutes as logarithms.

    Parameters
    ----------
    curves
        The run's name, best with its machine, to its table (columns ``minutes``, ``val_dsc``; see
        `recorded_curve`).
    note
        Stands in the caption: what differs between the runs beside the machine.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`). Each curve ends with its last score.

    Raises
    ------
    OarfuseError
        If there is no curve, or a table has other columns.
    """
    if not curves:
        raise OarfuseError("No curve is given: pass at least one run's validation.")
    for name, frame in curves.items():
        if not {"minutes", "val_dsc"} <= set(frame.columns) or frame.empty:
            raise OarfuseError(f"The table of {name!r} is no validation.csv: give a run's.")
    left, right = 0.55, 0.55
    panels = panel_figure(
        [WIDTH_IN - left - right],
        [2.7],
        title=title or "Validation DSC after minutes of training",
        caption=f"Mean DSC over organs and validation cases; each point is a validation. {note}",
        headers=[0.1],
        left_in=left,
        right_in=right,
        foot_in=0.36,
    )
    axes = panels.axes(0, 0)
    axes.set_xscale("log")
    for number, (name, frame) in enumerate(curves.items()):
        color = LINES[number % len(LINES)]
        axes.plot(frame["minutes"], frame["val_dsc"], "o-", color=color, markersize=3, label=name)
        last = frame.iloc[-1]
        axes.annotate(
            f"{last['val_dsc']:.3f}",
            (last["minutes"], last["val_dsc"]),
            textcoords="offset points",
            xytext=(5, 4 - 10 * (number % 2)),
            fontsize=8,
            color=color,
            annotation_clip=False,
        )
    axes.xaxis.set_major_locator(FixedLocator(_MINUTES))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set_ylim(0, 1)
    axes.set_xlabel("Minutes of training (logarithmic)", fontsize=8.5)
    axes.set_ylabel("DSC", fontsize=8.5)
    axes.grid(True)
    axes.legend(fontsize=8, loc="lower right")
    return panels.figure
