"""README's picture of accuracy against cost, and of how a training step grows.

Cost is measured by benchmarks/training_step.py. Accuracy is the paper's Table I, and, where
workflow/experiments.py has run the comparison at equal budget, our own beside it.
"""

from __future__ import annotations

from typing import cast

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.paper.printed import paper_table
from oarfuse.viewing.canvas.layout import STYLE, WIDTH_IN, new_figure
from oarfuse.viewing.plots.curves import LINES
from reports.performance import BENCHMARKS, STEP, read
from workflow.experiments import RESULTS as EXPERIMENTS
from workflow.experiments import compared, read_list

_, OUR_INK, MEMORY_INK, _, PAPER_INK = LINES
# Named right of their discs where the others, named left, leave room: the paper's and ours.
PAPER_RIGHT = ("attunet", "unetr", "swinunetr", "oarfocalfusenet")
OUR_RIGHT = ("msf3d", "unetr", "swinunetr", "oarfocalfusenet")


def draw() -> Figure:
    """Return the figure."""
    content = read(STEP)
    if content is None:
        raise OarfuseError(
            f"There is no {BENCHMARKS / STEP}: run benchmarks/training_step.py first."
        )
    rows = {row["side"]: row for row in content["steps"]}
    paper = paper_table("I").set_index("model")["dsc"]
    with plt.rc_context(STYLE):
        figure = new_figure(WIDTH_IN, 3.6)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _accuracy(left, {name: rows[name] for name in paper.index}, paper.to_dict(),
                  compared(read_list(), EXPERIMENTS))  # fmt: skip
        _growth(right, content["growth"])
        figure.subplots_adjust(left=0.08, right=0.93, top=0.86, bottom=0.15, wspace=0.3)
    return figure


def _accuracy(
    axes: Axes, rows: dict[str, dict], paper: dict[str, float], ours: dict[str, float]
) -> None:
    for scores, ink, named_right, title in (
        (paper, PAPER_INK, PAPER_RIGHT, "Table I of the paper (test)"),
        (ours, OUR_INK, OUR_RIGHT, "ours, 45 minutes (validation)"),
    ):
        if not scores:
            continue
        seconds = [rows[name]["seconds"]["median"] for name in scores]
        area = [rows[name]["mebibytes"] / 12 for name in scores]
        axes.scatter(seconds, list(scores.values()), s=area, color=ink, alpha=0.55, label=title)
        for name, x, y, size in zip(scores, seconds, scores.values(), area, strict=True):
            right = name in named_right
            away = (size / np.pi) ** 0.5 + 3  # points from the centre to beyond the disc
            axes.annotate(
                name, (x, y), xytext=(away if right else -away, 0), textcoords="offset points",
                ha="left" if right else "right", va="center", fontsize=8, color="#333333",
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(0.25, 8)
    axes.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["0.25", "0.5", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set_xlabel("seconds a training step, 64 x 96 x 96, batch 1")
    axes.set_ylabel("DSC")
    axes.set_title("Accuracy against cost (area: peak memory)", loc="left")
    axes.margins(y=0.12)
    axes.grid(color="#E6E6E6", linewidth=0.7)
    for handle in axes.legend(loc="lower right", frameon=False).legend_handles:
        cast(PathCollection, handle).set_sizes([40])


def _growth(axes: Axes, points: list[dict[str, float]]) -> None:
    sides = [int(point["side"]) for point in points]
    millions = [side**3 / 1e6 for side in sides]
    memory = axes.twinx()
    for which, key, scale, ink, label in (
        (axes, "seconds", 1, OUR_INK, "seconds"),
        (memory, "mebibytes", 1 / 1024, MEMORY_INK, "GiB"),
    ):
        which.plot(millions, [point[key] * scale for point in points], "o-", color=ink, ms=4)
        which.set_ylabel(label, color=ink)
        which.tick_params(axis="y", colors=ink)
        which.set_ylim(bottom=0)
    memory.spines["right"].set_visible(True)
    shown = [side for side in sides if side >= 64]
    axes.set_xticks([side**3 / 1e6 for side in shown], [f"{side}³" for side in shown])
    axes.set_xlim(left=0)
    axes.set_xlabel("voxels of the patch")
    axes.set_title("A step of oarfocalfusenet", loc="left")
    axes.grid(color="#E6E6E6", linewidth=0.7)
