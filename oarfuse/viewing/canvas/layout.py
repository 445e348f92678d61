"""Figures whose panels have a known physical size: exact placement, nothing overlaps.

Matplotlib's automatic layouts leave wide gaps around images of fixed aspect and may lay a legend
over a caption. Here every band (title, panel headings, panels, legend, caption) has its own
height in inches and the figure is as tall as their sum.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from oarfuse.viewing.canvas.style import STYLE, WIDTH_IN

MARGIN_IN = 0.08
GAP_IN = 0.10
LINE_IN = 0.165  # one line of caption
CAPTION_PT = 8.5
LETTERS_PER_INCH = 16.4  # of caption text, measured on DejaVu Sans with some reserve


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


def panel_room(columns: int, taken_in: float = 0.0) -> float:
    """Return the width in inches of so many panels together, in a figure of the usual width.

    `taken_in` is what stands beside the panels, such as the rows' names.
    """
    return WIDTH_IN - taken_in - 2 * MARGIN_IN - GAP_IN * (columns - 1)


def put_title(figure: Figure, text: str) -> None:
    """Write a title into a figure's upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(
        MARGIN_IN / width,
        1 - 0.08 / height,
        text,
        ha="left",
        va="top",
        fontsize=11,
        fontweight="bold",
        gid="title",
    )


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

    def name_row(self, row: int, text: str, x_in: float, fontsize: float) -> None:
        """Write a row's name upwards beside its first panel, `x_in` inches from the left edge."""
        width, height = self.figure.get_size_inches()
        self.figure.text(
            x_in / width,
            (self.bottoms[row] + self.heights[row] / 2) / height,
            text,
            rotation=90,
            ha="center",
            va="center",
            fontsize=fontsize,
            gid="row",
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
    foot_in: float = 0.0,
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
    left_in, right_in, gap_in, foot_in
        Free room in inches beside the panels, between columns, and below the last row (for tick
        labels and the axis title).
    """
    headers = [0.24] * len(heights) if headers is None else list(headers)
    width = left_in + sum(widths) + gap_in * (len(widths) - 1) + right_in
    caption_in = LINE_IN * len(caption_lines(caption, width))
    columns = legend_columns([str(handle.get_label()) for handle in handles], width)
    legend_in = 0.0
    if handles:
        legend_in = 0.12 + 0.2 * -(-len(handles) // columns)
    title_in = 0.32 if title else 0.04
    height = title_in + sum(headers) + sum([*heights, foot_in]) + GAP_IN * (len(heights) - 1)
    height += GAP_IN + legend_in + caption_in + MARGIN_IN

    figure = new_figure(width, height)
    if title:
        put_title(figure, title)
    put_caption(figure, caption)
    if handles:
        figure.legend(
            handles=list(handles),
            ncol=columns,
            loc="lower center",
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
        y -= GAP_IN
    return PanelFigure(figure, tuple(lefts), tuple(bottoms), tuple(widths), tuple(heights))


def tidy(axes: Axes) -> Axes:
    """Remove ticks and frame from axes that hold a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def name_rows(axes: Axes, names: Sequence[str], shown: bool = True) -> None:
    """Let y = 0, 1, ... be rows from top to bottom, and name them unless a neighbour does."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names if shown else [""] * len(names))
    axes.tick_params(axis="y", length=0)
