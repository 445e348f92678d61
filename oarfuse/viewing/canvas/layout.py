"""Figures whose panels have a known physical size: exact placement, nothing overlaps.

Matplotlib's automatic layouts leave wide gaps around images of fixed aspect and may lay a legend
over a caption. Here every band (title, panel headings, panels, legend, caption) has its own
height in inches and the figure is as tall as their sum.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH_IN = 8.6  # fits the text column of JupyterLab, Colab and GitHub without scrolling
MARGIN_IN = 0.08
GAP_IN = 0.10
LINE_IN = 0.165  # one line of caption
CAPTION_PT = 8.5
LETTERS_PER_INCH = 16.4  # of caption text, measured on DejaVu Sans with some reserve
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.dpi": 100.0,
}


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return a figure that a notebook shows once: as the value of its cell.

    Pyplot is told to forget it at once, so a loop over a hundred patients does not pile up open
    figures and the inline backend does not draw it a second time.
    """
    figure = plt.figure(figsize=(width_in, height_in), dpi=STYLE["figure.dpi"], facecolor="white")
    plt.close(figure)
    FigureCanvasAgg(figure)  # closing leaves a canvas that cannot draw
    return figure


def caption_lines(text: str, width_in: float) -> list[str]:
    """Break a caption into the lines that fit a figure of that width."""
    letters = int((width_in - 2 * MARGIN_IN) * LETTERS_PER_INCH)
    return textwrap.wrap(text, letters) if text else []


def legend_columns(labels: Sequence[str], width_in: float) -> int:
    """Return how many legend columns fit: the longest label decides, with its patch and gaps."""
    widest = max((len(label) for label in labels), default=1) * 0.072 + 0.42
    fitting = max(1, int(width_in / widest))
    rows = -(-len(labels) // fitting)
    return -(-len(labels) // max(rows, 1))  # rows of equal length look better than full ones


def put_caption(figure: Figure, text: str) -> float:
    """Write a caption along the figure's lower edge; return the height in inches that it takes."""
    width, height = figure.get_size_inches()
    lines = caption_lines(text, width)
    figure.text(
        MARGIN_IN / width,
        MARGIN_IN / height,
        "\n".join(lines),
        ha="left",
        va="bottom",
        fontsize=CAPTION_PT,
        color="#444444",
        linespacing=1.25,
        gid="caption",
    )
    return MARGIN_IN + LINE_IN * len(lines)


@dataclass(frozen=True)
class PanelFigure:
    """A figure with a grid of panels; `axes(row, column, width, height)` makes one of them."""

    figure: Figure
    lefts: tuple[float, ...]
    bottoms: tuple[float, ...]
    widths: tuple[float, ...]
    heights: tuple[float, ...]

    def axes(
        self, row: int, column: int, width: float | None = None, height: float | None = None
    ) -> Axes:
        """Add axes at the top centre of a cell; sizes in inches, by default the whole cell."""
        total_width, total_height = self.figure.get_size_inches()
        width = self.widths[column] if width is None else width
        height = self.heights[row] if height is None else height
        left = self.lefts[column] + (self.widths[column] - width) / 2
        bottom = self.bottoms[row] + self.heights[row] - height
        return self.figure.add_axes(
            (left / total_width, bottom / total_height, width / total_width, height / total_height)
        )


def panel_figure(
    widths: Sequence[float],
    heights: Sequence[float],
    *,
    title: str = "",
    caption: str = "",
    handles: Sequence[Artist] = (),
    headers: Sequence[float] | None = None,
    left_in: float = MARGIN_IN,
    right_in: float = MARGIN_IN,
    gap_in: float = GAP_IN,
    row_gap_in: float = GAP_IN,
) -> PanelFigure:
    """Lay out a grid of panels with a title above, a legend and a caption below.

    Parameters
    ----------
    widths, heights
        Column widths and row heights in inches.
    handles
        Legend entries; the legend stands under the panels, never on a picture.
    headers
        Height in inches of the free band above each row (for panel titles); 0.24 by default.
    """
    headers = [0.24] * len(heights) if headers is None else list(headers)
    width = left_in + sum(widths) + gap_in * (len(widths) - 1) + right_in
    caption_in = LINE_IN * len(caption_lines(caption, width))
    columns = legend_columns([str(handle.get_label()) for handle in handles], width)
    legend_in = 0.0
    if handles:
        legend_in = 0.12 + 0.2 * -(-len(handles) // columns)
    title_in = 0.32 if title else 0.04
    height = title_in + sum(headers) + sum(heights) + row_gap_in * (len(heights) - 1)
    height += GAP_IN + legend_in + caption_in + MARGIN_IN

    figure = new_figure(width, height)
    if title:
        figure.text(
            MARGIN_IN / width,
            1 - 0.08 / height,
            title,
            ha="left",
            va="top",
            fontsize=11,
            fontweight="bold",
            gid="title",
        )
    put_caption(figure, caption)
    if handles:
        figure.legend(
            handles=list(handles),
            ncol=columns,
            loc="lower center",
            frameon=False,
            bbox_to_anchor=(0.5, (MARGIN_IN + caption_in) / height),
            borderpad=0.1,
            fontsize=STYLE["legend.fontsize"],
            handlelength=1.4,
            columnspacing=1.4,
        )

    lefts, bottoms, x, y = [], [], left_in, height - title_in
    for column_width in widths:
        lefts.append(x)
        x += column_width + gap_in
    for row_height, header in zip(heights, headers, strict=True):
        y -= header + row_height
        bottoms.append(y)
        y -= row_gap_in
    return PanelFigure(figure, tuple(lefts), tuple(bottoms), tuple(widths), tuple(heights))


def tidy(axes: Axes) -> Axes:
    """Remove ticks and frame from axes that hold a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes
