"""Surface distances drawn on small shapes, pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.spatial import cKDTree

from oarfuse.errors import OarfuseError
from oarfuse.metrics import distance_sets, surface
from oarfuse.viewing.canvas.layout import panel_figure, panel_room, tidy
from oarfuse.viewing.canvas.overlay import outline_segments
from oarfuse.viewing.canvas.style import styled

# Two colours that no organ wears, apart for the colour-blind too.
PREDICTION, TRUTH, LONGEST = "#882255", "#332288", "#D55E00"
MAX_PANEL_IN = 3.4
_DIRECTIONS = ("Prediction to truth", "Truth to prediction")


@styled
def show_distances(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    spacing_mm: Sequence[float] | None = None,
    directions: Sequence[int] = (0, 1),
    title: str = "",
) -> Figure:
    """Draw the distances from each surface pixel of one mask to the other mask's surface.

    Parameters
    ----------
    pairs
        Column title to a prediction and a truth: 2D bool masks, both of them not empty.
    spacing_mm
        Pixel size (rows, columns) in mm; without it distances are in pixels.
    directions
        The rows of the picture: 0 from prediction to truth, 1 from truth to prediction.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`): the masks filled, one line from each surface
    pixel to the nearest one of the other surface, the longest of them marked.

    Raises
    ------
    OarfuseError
        If there is nothing to draw, a mask is not 2D or empty, or shapes or spacing do not fit.
    """
    if not pairs or not set(directions) or not set(directions) <= {0, 1}:
        raise OarfuseError("Nothing is drawn: give a pair of masks and directions out of 0 and 1.")
    if any(np.ndim(mask) != 2 for pair in pairs.values() for mask in pair):
        raise OarfuseError("Distances are drawn on pictures: give 2D masks (rows, columns).")
    step = (1.0, 1.0) if spacing_mm is None else (float(spacing_mm[0]), float(spacing_mm[1]))
    unit = "pixels" if spacing_mm is None else "mm"
    shapes = [pair[0].shape for pair in pairs.values()]
    width = max(columns for _, columns in shapes) * step[1]
    height = max(rows for rows, _ in shapes) * step[0]
    room = panel_room(len(pairs))
    scale = min(room / len(pairs) / width, MAX_PANEL_IN / height)
    caption = (
        "Filled: the masks, pixel by pixel. Dots: surface pixels that do not lie on the other "
        f"surface; lines: to the nearest surface pixel of the other mask, the longest one thick. "
        f"Distances in {unit}"
    )
    caption += "." if spacing_mm is None else f"; a pixel is {step[0]:g} x {step[1]:g} mm."
    handles = [
        Patch(facecolor=TRUTH, alpha=0.25, edgecolor=TRUTH, label="Truth"),
        Patch(facecolor=PREDICTION, alpha=0.25, edgecolor=PREDICTION, label="Prediction"),
        Line2D([], [], color=LONGEST, linewidth=2.5, label="Longest distance"),
    ]
    panels = panel_figure(
        [room / len(pairs)] * len(pairs),
        [height * scale] * len(directions),
        title=title or "Surface distances",
        caption=caption,
        handles=handles,
        headers=[0.58] + [0.38] * (len(directions) - 1),
    )
    for row, direction in enumerate(directions):
        for column, (name, (prediction, truth)) in enumerate(pairs.items()):
            rows, columns = truth.shape
            axes = panels.axes(row, column, columns * step[1] * scale, rows * step[0] * scale)
            distances = _draw(axes, prediction, truth, step, direction)
            heading = f"{_DIRECTIONS[direction]}\n{_numbers(distances)}"
            axes.set_title(f"{name}\n{heading}" if row == 0 else heading, pad=3, fontsize=8.5)
    return panels.figure


def _numbers(distances: np.ndarray) -> str:
    return (
        f"max {distances.max():.2f}, 95 % {np.percentile(distances, 95):.2f}, "
        f"mean {distances.mean():.2f}"
    )


def _draw(
    axes: Axes, prediction: np.ndarray, truth: np.ndarray, step: tuple[float, float], direction: int
) -> np.ndarray:
    rows, columns = truth.shape
    for mask, color in ((truth, TRUTH), (prediction, PREDICTION)):
        rgba = np.zeros((*mask.shape, 4))
        rgba[np.asarray(mask, dtype=bool)] = to_rgba(color, 0.22)
        extent = (0, columns * step[1], rows * step[0], 0)
        axes.imshow(rgba, extent=extent, interpolation="nearest")
        lines = outline_segments(mask, *step)
        axes.add_collection(LineCollection(list(lines), colors=color, linewidths=1.4))
    distances = distance_sets(prediction, truth, step)[direction]
    masks = (prediction, truth) if direction == 0 else (truth, prediction)
    start, end = (np.argwhere(surface(mask.astype(bool))) for mask in masks)
    nearest = end[cKDTree(end * step).query(start * step)[1]]
    # Pixel centres as (x, y); where the surfaces coincide there is no line to draw.
    points, targets = ((place + 0.5)[:, ::-1] * step[::-1] for place in (start, nearest))
    apart, color = distances > 0, (PREDICTION, TRUTH)[direction]
    segments = np.stack([points, targets], axis=1)
    axes.add_collection(LineCollection(list(segments[apart]), colors=color, linewidths=0.9))
    axes.scatter(points[apart][:, 0], points[apart][:, 1], s=7, color=color, zorder=3)
    if apart.any():
        longest = segments[[int(distances.argmax())]]
        axes.add_collection(
            LineCollection(list(longest), colors=LONGEST, linewidths=3, zorder=4, gid="longest")
        )
    axes.set_xlim(0, columns * step[1])
    axes.set_ylim(rows * step[0], 0)
    axes.set_aspect("equal")
    tidy(axes)
    return distances
