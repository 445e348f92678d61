"""Feature maps of a network on one slice: gates, focal levels, modulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import MARGIN_IN, panel_figure, panel_room
from oarfuse.viewing.canvas.overlay import (
    Scan,
    draw_plane,
    organ_handles,
    present_organs,
    window_text,
)
from oarfuse.viewing.canvas.planes import (
    AXIAL,
    check_image,
    check_labels,
    telling_voxel,
    whole_box,
)
from oarfuse.viewing.canvas.style import styled

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


@styled
def show_maps(
    maps: Mapping[str, Any],
    *,
    image: np.ndarray,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    labels: np.ndarray | None = None,
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
    index
        The axial slice of the image; coarser maps show the slice that holds it. By default the
        slice with the most organs, or the middle.
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
        If there is no map, or a shape, slice or number of titles does not fit.
    """
    spacing = check_image(image, spacing_mm)
    if labels is not None:
        labels = check_labels(labels, image, spec, "label map")
    if not maps:
        raise OarfuseError("No map is given: pass at least one tensor (C, D, H, W).")
    arrays = {name: _as_map(name, value, reduce) for name, value in maps.items()}
    if index is None:
        index = telling_voxel(np.zeros(image.shape, np.uint8) if labels is None else labels)[0]
    if not 0 <= index < len(image):
        raise OarfuseError(f"There is no axial slice {index}: choose one of 0..{len(image) - 1}.")
    count = max(array.shape[0] for array in arrays.values())
    if columns and len(columns) < count:
        raise OarfuseError(f"{len(columns)} column titles are given for {count} channels.")
    titles = list(columns) or (
        [f"channel {c}" for c in range(count)] if reduce == "channels" else [reduce]
    )

    # The slice of a coarser map that holds the centre of the image's slice.
    sections = [
        array[:, int((index + 0.5) * array.shape[1] / len(image))] for array in arrays.values()
    ]  # (C, H, W) each
    reduced = {"channels": "", "mean": " (mean over channels)", "norm": " (RMS over channels)"}
    kind = "all maps" if shared else ("each map" if count == 1 else "each row")
    caption = (
        f"Axial slice {index} of 0..{len(image) - 1}. Maps{reduced[reduce]} are drawn at their own "
        f"resolution over the CT's field; one colour scale for {kind}, no unit. "
        f"{window_text(spec.window_hu)}."
    )
    scan = Scan(image, spacing, spec, whole_box(image.shape), spec.window_hu)
    scene = _Scene(scan, labels, index)
    rows = []
    for (name, array), section in zip(arrays.items(), sections, strict=True):
        norm, colors = _norm(sections if shared else [section])
        rows.append(_Map(name, "x".join(map(str, array.shape[1:])), section, norm, colors))
    if count == 1:
        return _draw_row(scene, rows, title or "Feature maps", caption)
    return _draw_grid(scene, rows, titles, title or "Feature maps", caption)


@dataclass(frozen=True)
class _Map:
    """One map on the slice that is shown, and its colours."""

    name: str
    size: str
    section: np.ndarray  # (C, H, W)
    norm: Normalize
    colors: str


@dataclass(frozen=True)
class _Scene:
    """What every panel shares: the CT, its organs, its slice."""

    scan: Scan
    labels: np.ndarray | None
    index: int

    @property
    def ratio(self) -> float:
        """Height over width of a panel."""
        width, height = AXIAL.size_mm(self.scan.box, self.scan.spacing_mm)
        return height / width

    @property
    def handles(self) -> list[Any]:
        maps = [] if self.labels is None else [self.labels]
        return organ_handles(present_organs(self.scan.spec, *maps), "outline")

    def draw_image(self, axes: Axes) -> None:
        draw_plane(axes, self.scan, AXIAL, self.index, self.labels, outline=1.3)

    def draw_map(self, axes: Axes, one: _Map, channel: int) -> AxesImage:
        picture = axes.imshow(
            one.section[channel],
            norm=one.norm,
            cmap=one.colors,
            origin=AXIAL.origin,
            extent=AXIAL.extent(self.scan.image.shape, self.scan.spacing_mm),
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


def _draw_row(scene: _Scene, maps: Sequence[_Map], title: str, caption: str) -> Figure:
    """Draw the CT and one panel a map, each with its colour bar below, in lines of up to five."""
    across = min(len(maps) + 1, 5)
    lines = -(-(len(maps) + 1) // across)
    cell = min(panel_room(across) / across, MAX_CELL_IN)
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
    for number, one in enumerate(maps, 1):
        line, column = divmod(number, across)
        axes = panels.axes(2 * line, column)
        picture = scene.draw_map(axes, one, 0)
        axes.set_title(f"{one.name}, {one.size}", pad=4, fontsize=8)
        bar = panels.axes(2 * line + 1, column, width=cell * 0.9)
        _draw_bar(panels.figure, picture, bar, "horizontal")
    return panels.figure


def _draw_grid(
    scene: _Scene, maps: Sequence[_Map], titles: Sequence[str], title: str, caption: str
) -> Figure:
    """Draw a row for each map: the CT, its channels, a colour bar."""
    total = 1 + max(len(one.section) for one in maps)
    room = panel_room(total + 1, ROW_LABEL_IN + BAR_IN + BAR_TEXT_IN)
    cell = min(room / total, MAX_CELL_IN, 8.0 / len(maps) / scene.ratio)
    height = cell * scene.ratio
    panels = panel_figure(
        [cell] * total + [BAR_IN],
        [height] * len(maps),
        title=title,
        caption=caption,
        handles=scene.handles,
        headers=[0.24] + [0.0] * (len(maps) - 1),
        left_in=MARGIN_IN + ROW_LABEL_IN,
        right_in=MARGIN_IN + BAR_TEXT_IN,
    )
    for row, one in enumerate(maps):
        scene.draw_image(panels.axes(row, 0))
        for channel in range(len(one.section)):
            picture = scene.draw_map(panels.axes(row, 1 + channel), one, channel)
        bar = panels.axes(row, total, height=height * 0.94)
        _draw_bar(panels.figure, picture, bar, "vertical")
        panels.name_row(row, f"{one.name}\n{one.size}", MARGIN_IN + ROW_LABEL_IN / 2, fontsize=8)
    figure_width, figure_height = panels.figure.get_size_inches()
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
