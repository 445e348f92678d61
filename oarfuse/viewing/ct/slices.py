"""Three planes through one voxel: the view that a reader meets first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import panel_figure, panel_room
from oarfuse.viewing.canvas.overlay import (
    Scan,
    draw_crosshair,
    draw_plane,
    organ_handles,
    present_organs,
    window_text,
)
from oarfuse.viewing.canvas.planes import (
    PLANES,
    Crop,
    check_image,
    check_index,
    check_labels,
    crop_box,
    get_plane,
    telling_voxel,
)
from oarfuse.viewing.canvas.style import styled

MAX_PANEL_IN = 4.2


@styled
def draw_planes(
    scan: Scan,
    voxel: tuple[int, int, int],
    labels: np.ndarray | None = None,
    *,
    fill: float = 0.0,
    outline: float = 0.7,
    crosshair: bool = True,
    planes: Sequence[str] = tuple(PLANES),
    title: str,
    caption: str,
    handles: Sequence[Artist],
) -> Figure:
    """Draw the planes through a voxel side by side, at one scale.

    The figure's axes are in the order of `planes`, so that a caller can draw on them; for `labels`,
    `fill` and `outline` see `draw_plane`.
    """
    shown = [get_plane(name) for name in planes]
    sizes = [plane.size_mm(scan.box, scan.spacing_mm) for plane in shown]
    scale = min(
        panel_room(len(shown)) / sum(width for width, _ in sizes),
        MAX_PANEL_IN / max(height for _, height in sizes),
    )
    panels = panel_figure(
        [width * scale for width, _ in sizes],
        [max(height for _, height in sizes) * scale],
        title=title,
        caption=caption,
        handles=handles,
    )
    for column, plane in enumerate(shown):
        axes, index = panels.axes(0, column, height=sizes[column][1] * scale), voxel[plane.axis]
        draw_plane(axes, scan, plane, index, labels, fill=fill, outline=outline)
        if crosshair:
            draw_crosshair(axes, plane, voxel, scan.spacing_mm)
        last = scan.image.shape[plane.axis] - 1
        axes.set_title(f"{plane.name.capitalize()}, slice {index} of 0..{last}", pad=4)
    return panels.figure


def show_planes(
    image: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    index: Sequence[int] | None = None,
    window_hu: tuple[float, float] | None = None,
    style: Literal["fill", "outline"] = "fill",
    alpha: float = 0.45,
    crop: Crop = "organs",
    planes: Sequence[str] = tuple(PLANES),
    title: str = "",
) -> Figure:
    """Show the axial, coronal and sagittal slice through one voxel, all at the same scale.

    Parameters
    ----------
    image
        CT in Hounsfield units, (D, H, W) = (superior, posterior, left).
    labels
        Label map on the same grid, or None for the CT alone.
    spacing_mm
        Voxel size (D, H, W) in mm; the pictures have true proportions.
    spec
        The data set: organ titles, colours, and the CT window used by default.
    index
        The voxel (d, h, w); by default the one whose slices show the most organs.
    window_hu
        CT window (black, white) in HU.
    style
        `fill` paints the organs translucently, `outline` draws the edges of their voxels.
    alpha
        Opacity of the fill.
    crop
        Show the `organs` with a margin of 25 mm, the `body`, or `none`: the whole grid.
    planes
        Which of ``axial``, ``coronal`` and ``sagittal`` to show. The last two are of one height.

    Returns
    -------
    A closed Matplotlib figure: the last expression of a notebook cell shows it once.

    Raises
    ------
    OarfuseError
        If shapes, spacing, index, labels or names do not fit.
    """
    spacing = check_image(image, spacing_mm)
    if labels is not None:
        labels = check_labels(labels, image, spec, "label map")
    if style not in ("fill", "outline"):
        raise OarfuseError(f"There is no style named {style!r}: choose fill or outline.")
    if index is None:
        index = telling_voxel(np.zeros(image.shape, np.uint8) if labels is None else labels)
    voxel = check_index(index, image.shape)
    box = crop_box(image, labels, spacing, crop)
    scan = Scan(image, spacing, spec, box, window_hu or spec.window_hu)
    return draw_planes(
        scan,
        voxel,
        labels,
        fill=alpha if style == "fill" else 0.0,
        outline=0.7 if style == "fill" else 1.4,
        planes=planes,
        title=title or "Three planes through one voxel",
        caption=(
            f"{window_text(scan.window)}; voxels "
            f"{' x '.join(f'{step:.2f}' for step in spacing)} mm (superior, posterior, left). R, L,"
            " A, P, S, I: the patient's right, left, anterior, posterior, superior, inferior side; "
            "the patient's right is on your left. Dashed lines: where the other slices cut."
        ),
        handles=organ_handles([] if labels is None else present_organs(spec, labels), style),
    )
