"""Curves of a training run and box plots of scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import name_rows, panel_figure
from oarfuse.viewing.canvas.style import INK, LINES, WIDTH_IN, styled

METRICS = {  # column of metrics.csv -> (axis label, whether more is better)
    "dsc": ("DSC", True),
    "hd_vox": ("Hausdorff distance (voxels)", False),
    "hd_mm": ("Hausdorff distance (mm)", False),
    "hd95_vox": ("HD95 (voxels)", False),
    "hd95_mm": ("HD95 (mm)", False),
    "asd_vox": ("Average surface distance (voxels)", False),
    "asd_mm": ("Average surface distance (mm)", False),
}


def _read_log(log: pd.DataFrame | str | Path) -> tuple[pd.DataFrame, str]:
    if isinstance(log, pd.DataFrame):
        return log, "The log"
    path = Path(log)
    if not path.is_file():
        raise OarfuseError(f"There is no log {path}: give the log.csv of a training run.")
    try:
        return pd.read_csv(path), str(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise OarfuseError(f"{path} is not a readable CSV file: give a run's log.csv.") from error


def _points(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of the rows where a column is filled (others wrote other columns)."""
    values = pd.to_numeric(frame[column], errors="coerce")
    steps = pd.to_numeric(frame["step"], errors="coerce")
    filled = values.notna() & steps.notna()
    return steps[filled].to_numpy(), values[filled].to_numpy()


def _style(axes: Axes, ylabel: str) -> None:
    axes.set_xlabel("Step", fontsize=8.5)
    axes.set_title(ylabel, fontsize=9, loc="left", pad=5)
    axes.grid(True)
    axes.margins(x=0.02)
    axes.ticklabel_format(axis="x", style="plain")


@styled
def plot_curves(
    log: pd.DataFrame | str | Path, *, spec: DatasetSpec | None = None, title: str = ""
) -> Figure:
    """Plot loss, learning rate and validation DSC over the steps of a run.

    Parameters
    ----------
    log
        A run's `log.csv` or its table: a `step` column and any of `loss` (and other columns with
        "loss" in their name), `lr`, `val_dsc`, and `val_dsc_<organ>`. Empty cells are skipped, so
        that steps and validations may share one table. Panels without data are left out.
    spec
        The data set whose colours and titles the organs' curves get.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If the file is missing or unreadable, or holds no `step` or nothing to plot.
    """
    frame, name = _read_log(log)
    if "step" not in frame:
        raise OarfuseError(f"{name} has no column 'step': give the log.csv of a training run.")
    filled = [column for column in frame if column != "step" and len(_points(frame, column)[0])]
    losses = [column for column in filled if "loss" in column]
    rates = [column for column in filled if column in ("lr", "learning_rate")]
    scores = [column for column in filled if column.startswith("val_dsc")]
    panels_of = [kind for kind in (losses, rates, scores) if kind]
    if not panels_of:
        raise OarfuseError(f"{name} holds no loss, lr or val_dsc: nothing can be plotted.")

    caption = "One optimiser step is one batch."
    if losses:
        caption += " Loss: every row of the log (faint) and its running median."
    if scores:
        caption += " DSC: mean over organs and validation cases; the ring marks the best one."
    count, left, gap = len(panels_of), 0.5, 0.55
    right = 1.0 if len(scores) > 1 else 0.15  # room for the organs' names beside the last panel
    width = (WIDTH_IN - left - right - gap * (count - 1)) / count
    panels = panel_figure(
        [width] * count,
        [2.3],
        title=title or "Training",
        caption=caption,
        headers=[0.28],
        left_in=left,
        right_in=right,
        gap_in=gap,
        foot_in=0.36,
    )
    for column, kind in enumerate(panels_of):
        axes = panels.axes(0, column)
        if kind is losses:
            _draw_losses(axes, frame, losses)
        elif kind is rates:
            steps, values = _points(frame, rates[0])
            _style(axes, "Learning rate (in thousandths)")
            axes.plot(steps, 1000 * values, color=LINES[0], linewidth=1.3)
        else:
            _draw_scores(axes, frame, scores, spec)
    return panels.figure


def _draw_losses(axes: Axes, frame: pd.DataFrame, columns: list[str]) -> None:
    _style(axes, "Loss")
    for column, color in zip(columns, LINES * len(columns), strict=False):
        steps, values = _points(frame, column)
        window = max(1, len(values) // 30)
        if window > 1:
            axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.3)
        smooth = pd.Series(values).rolling(window, center=True, min_periods=1).median()
        axes.plot(steps, smooth, color=color, linewidth=1.6, label=column.replace("_", " "))
    if len(columns) > 1:
        axes.legend(fontsize=8, loc="upper right")


def _draw_scores(
    axes: Axes, frame: pd.DataFrame, columns: list[str], spec: DatasetSpec | None
) -> None:
    _style(axes, "Validation DSC")
    organs = {organ.name: organ for organ in spec.organs} if spec else {}
    drawn = 0
    for column in columns:
        steps, values = _points(frame, column)
        organ = organs.get(column.removeprefix("val_dsc").lstrip("_"))
        if column == "val_dsc":
            axes.plot(steps, values, "o-", color=INK, markersize=3, linewidth=1.8, label="Mean")
            best = int(np.argmax(values))
            axes.plot(
                steps[best],
                values[best],
                "o",
                markersize=9,
                mfc="none",
                mec=INK,
                gid="best",
                clip_on=False,
            )
            axes.annotate(
                f"{values[best]:.3f}",
                (steps[best], values[best]),
                textcoords="offset points",
                xytext=(2, 9),
                ha="right",
                fontsize=8,
                annotation_clip=False,
            )
        else:
            label = organ.title if organ else column.removeprefix("val_dsc_").replace("_", " ")
            color = organ.color if organ else LINES[drawn % len(LINES)]
            axes.plot(steps, values, color=color, linewidth=1.2, label=label)
            drawn += 1
    axes.margins(y=0.16)
    if len(columns) > 1:
        axes.legend(
            fontsize=7.5,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            handlelength=1.2,
            labelspacing=0.5,
        )


@styled
def plot_boxes(
    frames: Mapping[str, pd.DataFrame],
    metric: str = "dsc",
    *,
    spec: DatasetSpec,
    log: bool = False,
    title: str = "",
) -> Figure:
    """Plot a metric's spread over the cases, one panel an organ and one row a method.

    Parameters
    ----------
    frames
        Method name to the table of its `metrics.csv` (columns `case`, `organ`, the metric).
    metric
        A metric column such as `dsc`, `hd95_mm`, `asd_vox`.
    log
        Make the axis logarithmic (linear below 1), for distances of which a few are far larger.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`). Boxes span the quartiles, whiskers 1.5
    interquartile ranges, the bar is the median, the diamond the mean, each dot one case.

    Raises
    ------
    OarfuseError
        If no table is given, or one lacks a column or holds no organ of the data set.
    """
    if not frames:
        raise OarfuseError("No table is given: pass at least one metrics.csv.")
    for name, frame in frames.items():
        missing = {"case", "organ", metric} - set(frame.columns)
        if missing:
            raise OarfuseError(
                f"The table of {name!r} has no column {sorted(missing)[0]!r}: give a metrics.csv."
            )
    seen = {organ for frame in frames.values() for organ in frame["organ"].unique()}
    organs = [organ for organ in spec.organs if organ.name in seen]
    if not organs:
        raise OarfuseError(f"The tables hold no organ of {spec.title}: pass the right data set.")
    label, more_is_better = METRICS.get(metric, (metric, True))

    methods = list(frames)
    across = min(len(organs), 5 if len(organs) <= 5 else 4)
    lines = -(-len(organs) // across)
    left = 0.25 + 0.075 * max(len(name) for name in methods)
    width = (WIDTH_IN - left - 0.12 - 0.14 * (across - 1)) / across
    height = 0.3 + 0.34 * len(methods)
    cases = max(frame["case"].nunique() for frame in frames.values())
    better = "further right is better" if more_is_better else "further left is better"
    caption = (
        f"{label} of {cases} cases, {better}. Box: quartiles; bar: median; diamond: mean; "
        "whiskers: 1.5 interquartile ranges; each dot is one case (those without a value are "
        "left out)." + (" The axis is logarithmic." if log else "")
    )
    every = pd.concat([pd.to_numeric(frame[metric], errors="coerce") for frame in frames.values()])
    low, high = float(every.min()), float(every.max())
    reach = (high - low or 1.0) * 0.05
    panels = panel_figure(
        [width] * across,
        [height] * lines,
        title=title or label,
        caption=caption,
        headers=[0.24] + [0.4] * (lines - 1),
        left_in=left,
        right_in=0.12,
        gap_in=0.14,
        foot_in=0.24,
    )
    for number, organ in enumerate(organs):
        row, column = divmod(number, across)
        axes = panels.axes(row, column)
        for place, frame in enumerate(frames.values()):
            values = pd.to_numeric(frame.loc[frame["organ"] == organ.name, metric], "coerce")
            _draw_box(axes, values.dropna().to_numpy(), place, organ.color)
        axes.set_title(organ.title, pad=4)
        if log:
            axes.set_xscale("symlog", linthresh=1)
            ticks = (1, 3, 10, 30, 100, 300)
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.set_xlim(low / 1.3, high * 1.3)
        else:
            axes.set_xlim(low - reach, high + reach)
            axes.locator_params(axis="x", nbins=4)
        name_rows(axes, methods, shown=column == 0)
        axes.grid(axis="x")
    return panels.figure


def _draw_box(axes: Axes, values: np.ndarray, place: int, color: str) -> None:
    if not len(values):
        return
    axes.boxplot(
        values,
        positions=[place],
        orientation="horizontal",
        widths=0.62,
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": color, "edgecolor": INK, "linewidth": 0.8, "alpha": 0.75},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops={"color": INK, "linewidth": 0.8},
        capprops={"color": INK, "linewidth": 0.8},
        meanprops={
            "marker": "D",
            "markersize": 4,
            "markerfacecolor": "white",
            "markeredgecolor": INK,
            "markeredgewidth": 0.8,
        },
    )
    # A fixed spread, so that the same table always gives the same picture.
    spread = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
    axes.scatter(
        values, place + spread, s=5, color=INK, alpha=0.55, linewidths=0, zorder=3, gid="cases"
    )
