"""The grid's graph of jobs as Snakemake reports it: docs/figures/workflow.png.

Each box is a rule of workflow/Snakefile, with its number of jobs in the phantom's and in the
paper's grid; an arrow means that a job of the one needs a job of the other.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from reports.results import ROOT

GRIDS = {"phantom": "phantom.yaml", "paper": "paper.yaml"}
# Columns from left to right; what stands in one column has no arrow between.
COLUMNS = (("download", "phantom"), ("prepare",), ("fold",), ("train",), ("evaluate",),
           ("tables", "summary", "notebook"))  # fmt: skip
WIDTH, HEIGHT = 0.7, 0.34


@dataclass(frozen=True)
class Graph:
    """Rules with their number of jobs, and which rule needs which."""

    jobs: Counter[str]
    arrows: frozenset[tuple[str, str]]


def read_graph(config: Path) -> Graph:
    """Ask Snakemake for a grid's jobs, from a folder where nothing is done yet."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "notebooks").symlink_to(ROOT / "notebooks")
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow" / "Snakefile")]
        command += ["--directory", folder, "--configfile", str(config), "--dag", "dot"]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    return parse_graph(told.stdout)


def parse_graph(dot: str) -> Graph:
    """Take rules, counts and arrows from Snakemake's DOT; the rule `all` only collects."""
    rules = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', dot, re.MULTILINE))
    arrows = re.findall(r"^\s*(\d+) -> (\d+)$", dot, re.MULTILINE)
    return Graph(
        Counter(rule for rule in rules.values() if rule != "all"),
        frozenset((rules[a], rules[b]) for a, b in arrows if rules[b] != "all"),
    )


def draw() -> Figure:
    """Return the figure."""
    graphs = {grid: read_graph(ROOT / "workflow" / name) for grid, name in GRIDS.items()}
    figure, ax = plt.subplots(figsize=(9.5, 4.7), layout="constrained")
    _boxes(ax, graphs)
    ax.set_title("Jobs of workflow/Snakefile, in the phantom's grid and in the paper's", size=11)
    return figure


def _boxes(ax: Axes, graphs: dict[str, Graph]) -> None:
    rules = set().union(*(graph.jobs for graph in graphs.values()))
    places = {
        rule: (column, (len(names) - 1) / 2 - row)
        for column, names in enumerate(COLUMNS)
        for row, rule in enumerate(names)
    }
    if rules != set(places):
        raise SystemExit(
            f"Give {', '.join(rules ^ set(places))} a place in COLUMNS, or take it out."
        )
    for rule, (x, y) in places.items():
        text = [f"{grid}: {graph.jobs[rule]}" for grid, graph in graphs.items() if graph.jobs[rule]]
        corner, shape = (x - WIDTH / 2, y - HEIGHT), "round,pad=0.02,rounding_size=0.06"
        ax.add_patch(
            FancyBboxPatch(corner, WIDTH, 2 * HEIGHT, boxstyle=shape, fc="#eef3f8", ec="#0072b2")
        )
        ax.text(x, y + 0.18, rule, ha="center", va="center", weight="bold", size=10)
        ax.text(x, y - 0.13, "\n".join(text), ha="center", va="center", size=8)
    for start, end in set().union(*(graph.arrows for graph in graphs.values())):
        (x0, y0), (x1, y1) = places[start], places[end]
        begin, finish, bend = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1), 0.0
        if x1 - x0 > 1 and y1 == y0:  # over the box between them
            begin, finish, bend = (x0, y0 + HEIGHT), (x1, y1 + HEIGHT), -0.3
        elif x1 - x0 > 1:  # below it
            begin, finish, bend = (x0, y0 - HEIGHT), (x1 - WIDTH / 2, y1 - 0.2), 0.2
        style = dict(arrowstyle="-|>", color="#555555", lw=1.1, shrinkA=4, shrinkB=3)
        ax.annotate("", finish, begin, arrowprops=style | {"connectionstyle": f"arc3,rad={bend}"})
    ax.set_xlim(-0.5, len(COLUMNS) - 0.5)
    ax.set_ylim(-1.45, 1.45)
    ax.set_aspect("equal")
    ax.axis("off")
