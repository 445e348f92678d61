"""Feature maps of a network on one slice: gates, focal levels, modulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import GAP_IN, MARGIN_IN, STYLE, WIDTH_IN, panel_figure
from oarfuse.viewing.canvas.overlay import draw_ct, draw_outlines, finish_picture, organ_handles
from oarfuse.viewing.canvas.planes import (
    Plane,
    Spacing,
    check_image,
    check_labels,
    get_plane,
    telling_voxel,
    whole_box,
)

Reduce = Literal["channels", "mean", "norm"]
ROW_LABEL_IN = 0.34
BAR_IN = 0.12
BAR_TEXT_IN = 0.46
MAX_CELL_IN = 2.4
MAX_CHANNELS = 8


def _as_map(name: str, value: Any, reduce: Reduce) -> np.ndarray:
    """Return a map as float (C, D, H, W), reduced over channels if asked for."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu().numpy()
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 5 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4:
        raise OarfuseError(
            f"The map {name!r} has shape {array.shape}: pass (C, D, H, W) or (D, H, W) of one case."
        )
    if reduce == "mean":
        return array.mean(axis=0, keepdims=True)
    if reduce == "norm":
        return np.sqrt((array**2).mean(axis=0, keepdims=True))
    if array.shape[0] > MAX_CHANNELS:
        raise OarfuseError(
            f"The map {name!r} has {array.shape[0]} channels, more than {MAX_CHANNELS} columns: "
            'choose reduce="mean" or reduce="norm".'
        )
    return array


def _norm(values: Sequence[np.ndarray]) -> tuple[Normalize, str]:
    """Return colour scale and colour map: diverging around 0 for signed values, else sequential."""
    low = min(float(v.min()) for v in values)
    high = max(float(v.max()) for v in values)
    if low < 0:
        reach = max(abs(low), abs(high))
        return TwoSlopeNorm(0.0, -reach, reach), "PuOr_r"
    return Normalize(low, high if high > low else low + 1.0), "viridis"


def show_gates(
    maps: Mapping[str, Any],
    *,
    image: np.ndarray,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    labels: np.ndarray | None = None,
    plane: str = "axial",
    index: int | None = None,
    columns: Sequence[str] = (),
    reduce: Reduce = "channels",
    shared: bool = False,
    title: str = "",
) -> Figure:
    """Show feature maps as a grid beside the CT slice they belong to.

    Parameters
    ----------
    maps
        Row title to a tensor (C, D, H, W), (1, C, D, H, W) or (D, H, W) that covers the same
        region as the image at any resolution; each channel becomes a column. For the gates of a
        focal-fuse block a row is a stream and a column a level.
    image
        The CT that went into the network, HU, (D, H, W).
    labels
        Label map whose outlines are drawn on the CT.
    plane, index
        The slice of the image; coarser maps show the slice that holds it. By default the slice
        with the most organs, or the middle.
    columns
        Column titles; by default `channel 0`, ...
    reduce
        `channels` shows every channel (8 at most), `mean` their mean and `norm` their root mean
        square, which suits modulators and levels of many channels.
    shared
        One colour scale for all maps; otherwise one for each row.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If there is no map, or a shape, plane, slice or number of titles does not fit.
    """
    spacing = check_image(image, spacing_mm)
    view = get_plane(plane)
    if labels is not None:
        labels = check_labels(labels, image, spec, "label map")
    if not maps:
        raise OarfuseError("No map is given: pass at least one tensor (C, D, H, W).")
    arrays = {name: _as_map(name, value, reduce) for name, value in maps.items()}
    if index is None:
        index = telling_voxel(np.zeros(image.shape, np.uint8) if labels is None else labels)[
            view.axis
        ]
    if not 0 <= index < image.shape[view.axis]:
        raise OarfuseError(
            f"There is no {plane} slice {index}: choose one of 0..{image.shape[view.axis] - 1}."
        )
    count = max(array.shape[0] for array in arrays.values())
    if columns and len(columns) < count:
        raise OarfuseError(f"{len(columns)} column titles are given for {count} channels.")
    titles = list(columns) or (
        [f"channel {c}" for c in range(count)] if reduce == "channels" else [reduce]
    )

    sections = {}
    for name, array in arrays.items():
        # The slice of a coarser map that holds the centre of the image's slice.
        place = int((index + 0.5) * array.shape[1 + view.axis] / image.shape[view.axis])
        sections[name] = np.take(array, place, axis=1 + view.axis)
    every = list(sections.values())
    scales = [_norm(every if shared else [section]) for section in every]
    scene = _Scene(image, labels, spacing, spec, view, index)
    reduced = {"channels": "", "mean": " (mean over channels)", "norm": " (RMS over channels)"}
    kind = "all maps" if shared else ("each map" if count == 1 else "each row")
    caption = (
        f"{plane.capitalize()} slice {index} of 0..{image.shape[view.axis] - 1}. "
        f"Maps{reduced[reduce]} are drawn at their own resolution over the CT's field; one colour "
        f"scale for {kind}, no unit. CT window {spec.window_hu[0]:g} to {spec.window_hu[1]:g} HU."
    )
    sides = {name: "x".join(map(str, array.shape[1:])) for name, array in arrays.items()}
    with plt.rc_context(STYLE):
        if count == 1:
            names = [f"{name}, {sides[name]}" for name in sections]
            panels_of = [section[0] for section in every]
            return _draw_row(scene, panels_of, scales, names, title or "Feature maps", caption)
        names = [f"{name}\n{sides[name]}" for name in sections]
        return _draw_grid(scene, every, scales, names, titles, title or "Feature maps", caption)


@dataclass(frozen=True)
class _Scene:
    """What every panel shares: the CT, its slice and its proportions."""

    image: np.ndarray
    labels: np.ndarray | None
    spacing: Spacing
    spec: DatasetSpec
    view: Plane
    index: int

    @property
    def ratio(self) -> float:
        """Height over width of a panel."""
        width, height = self.view.size_mm(whole_box(self.image.shape), self.spacing)
        return height / width

    @property
    def handles(self) -> list[Any]:
        present = set() if self.labels is None else set(np.unique(self.labels).tolist()) - {0}
        return organ_handles(self.spec, present, "outline")

    def draw_image(self, axes: Axes) -> None:
        draw_ct(axes, self.image, self.view, self.index, self.spacing, self.spec.window_hu)
        if self.labels is not None:
            draw_outlines(axes, self.labels, self.view, self.index, self.spacing, self.spec)
        finish_picture(axes, self.view, whole_box(self.image.shape), self.spacing, scale=True)

    def draw_map(self, axes: Axes, section: np.ndarray, scale: tuple[Normalize, str]) -> AxesImage:
        picture = axes.imshow(
            section,
            norm=scale[0],
            cmap=scale[1],
            origin=self.view.origin,
            extent=self.view.extent(self.image.shape, self.spacing),
            interpolation="nearest",
            aspect="equal",
        )
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color="#BBBBBB", linewidth=0.6)
        return picture


def _draw_bar(figure: Figure, picture: AxesImage, axes: Axes, orientation: str) -> None:
    bar = figure.colorbar(picture, cax=axes, orientation=orientation)
    bar.ax.tick_params(labelsize=7, length=2, pad=1.5)
    bar.locator = MaxNLocator(nbins=5 if orientation == "vertical" else 3)
    bar.outline.set_linewidth(0.4)


def _draw_row(
    scene: _Scene,
    sections: Sequence[np.ndarray],
    scales: Sequence[tuple[Normalize, str]],
    names: Sequence[str],
    title: str,
    caption: str,
) -> Figure:
    """Draw the CT and one panel a map, each with its colour bar below, in lines of up to five."""
    across = min(len(sections) + 1, 5)
    lines = -(-(len(sections) + 1) // across)
    cell = min((WIDTH_IN - 2 * MARGIN_IN - GAP_IN * (across - 1)) / across, MAX_CELL_IN)
    panels = panel_figure(
        [cell] * across,
        [cell * scene.ratio, BAR_IN] * lines + [BAR_TEXT_IN / 4],
        title=title,
        caption=caption,
        handles=scene.handles,
        headers=[0.24, 0.0] + [0.38, 0.0] * (lines - 1) + [0.0],
    )
    first = panels.axes(0, 0)
    scene.draw_image(first)
    first.set_title("CT", pad=4)
    for number, (section, scale, name) in enumerate(zip(sections, scales, names, strict=True), 1):
        line, column = divmod(number, across)
        axes = panels.axes(2 * line, column)
        picture = scene.draw_map(axes, section, scale)
        axes.set_title(name, pad=4, fontsize=8)
        bar = panels.axes(2 * line + 1, column, width=cell * 0.9)
        _draw_bar(panels.figure, picture, bar, "horizontal")
    return panels.figure


def _draw_grid(
    scene: _Scene,
    sections: Sequence[np.ndarray],
    scales: Sequence[tuple[Normalize, str]],
    names: Sequence[str],
    titles: Sequence[str],
    title: str,
    caption: str,
) -> Figure:
    """Draw a row for each map: the CT, its channels, a colour bar."""
    total = 1 + max(section.shape[0] for section in sections)
    room = WIDTH_IN - 2 * MARGIN_IN - ROW_LABEL_IN - BAR_IN - BAR_TEXT_IN - GAP_IN * total
    cell = min(room / total, MAX_CELL_IN, 8.0 / len(sections) / scene.ratio)
    height = cell * scene.ratio
    panels = panel_figure(
        [cell] * total + [BAR_IN],
        [height] * len(sections),
        title=title,
        caption=caption,
        handles=scene.handles,
        headers=[0.24] + [0.0] * (len(sections) - 1),
        left_in=MARGIN_IN + ROW_LABEL_IN,
        right_in=MARGIN_IN + BAR_TEXT_IN,
    )
    figure_width, figure_height = panels.figure.get_size_inches()
    for row, (section, scale, name) in enumerate(zip(sections, scales, names, strict=True)):
        scene.draw_image(panels.axes(row, 0))
        for channel, values in enumerate(section):
            picture = scene.draw_map(panels.axes(row, 1 + channel), values, scale)
        bar = panels.axes(row, total, height=height * 0.94)
        _draw_bar(panels.figure, picture, bar, "vertical")
        panels.figure.text(
            (MARGIN_IN + ROW_LABEL_IN / 2) / figure_width,
            (panels.bottoms[row] + height / 2) / figure_height,
            name,
            ha="center",
            va="center",
            rotation=90,
            fontsize=8,
            gid="row",
        )
    for column, heading in enumerate(("CT", *titles[: total - 1])):
        panels.figure.text(
            (panels.lefts[column] + cell / 2) / figure_width,
            (panels.bottoms[0] + height + 0.06) / figure_height,
            heading,
            ha="center",
            va="bottom",
            fontsize=9,
            gid="column",
        )
    return panels.figure
