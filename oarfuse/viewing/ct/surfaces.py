"""Organs as shaded surfaces, drawn by casting one ray a pixel: no 3D library, nothing to install.

Each organ's mask is smoothed a little and sampled along rays. Where the smoothed mask first
reaches one half lies the surface, and the gradient there is its normal. Organs nearer to the
viewer hide those behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import ndimage

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import GAP_IN, MARGIN_IN, STYLE, WIDTH_IN, panel_figure, tidy
from oarfuse.viewing.canvas.overlay import organ_handles
from oarfuse.viewing.canvas.planes import Spacing, check_image, check_labels

# (azimuth, elevation) in degrees: azimuth 0 looks at the face, 90 at the patient's left side.
VIEWS: dict[str, tuple[float, float]] = {
    "Anterior": (0.0, 0.0),
    "Left anterior oblique": (45.0, 15.0),
    "Left lateral": (90.0, 0.0),
}
DIRECTIONS = (("S", "I"), ("P", "A"), ("L", "R"))  # letters along (D, H, W), forwards and backwards
SMOOTHING_MM = 3.0
PIXEL_MM = 0.8
LIGHT = np.array([-0.45, -0.6, 0.66])  # (right, down, towards the viewer): from the upper left
MARGIN_MM = 18.0  # room for the letters at the edges


def view_axes(azimuth: float, elevation: float) -> np.ndarray:
    """Return the view's (down, away, right) unit vectors as rows, each in (D, H, W) directions.

    "Away" points from the viewer into the picture, so rows, depth and columns of a sampled
    volume run along the three vectors.
    """
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    superior, posterior, left = np.eye(3)
    level = np.cos(a) * posterior - np.sin(a) * left
    right = np.sin(a) * posterior + np.cos(a) * left
    away = np.cos(e) * level - np.sin(e) * superior
    up = np.cos(e) * superior + np.sin(e) * level
    return np.stack([-up, away, right])


def edge_letters(direction: np.ndarray) -> str:
    """Return the letters of a patient direction, the strongest first: `P`, or `LP` for oblique."""
    strong = [axis for axis in np.argsort(-np.abs(direction)) if abs(direction[axis]) > 0.35]
    return "".join(DIRECTIONS[axis][0 if direction[axis] > 0 else 1] for axis in strong)


def show_surfaces(
    labels: np.ndarray,
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    views: Mapping[str, tuple[float, float]] | None = None,
    title: str = "",
) -> Figure:
    """Render the organs' surfaces from several sides at one common scale.

    Parameters
    ----------
    labels
        Label map (D, H, W).
    spacing_mm
        Voxel size (D, H, W) in mm.
    views
        Title to (azimuth, elevation) in degrees; by default anterior, left oblique, left lateral.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If shapes, spacing or labels do not fit, or no organ is there to draw.
    """
    spacing = check_image(labels, spacing_mm)
    labels = check_labels(labels, labels, spec, "label map")
    if not labels.any():
        raise OarfuseError("The label map holds no organ: there is no surface to show.")
    views = VIEWS if views is None else views
    pictures = [render(labels, spacing, spec, *angles) for angles in views.values()]
    sizes = [(p.shape[1] * PIXEL_MM, p.shape[0] * PIXEL_MM) for p in pictures]
    room = WIDTH_IN - 2 * MARGIN_IN - GAP_IN * (len(sizes) - 1)
    scale = min(room / sum(w for w, _ in sizes), 5.0 / max(h for _, h in sizes))
    present = set(np.unique(labels).tolist()) - {0}
    caption = (
        f"Surfaces of the labels, smoothed by {SMOOTHING_MM:g} mm, seen without perspective; one "
        "scale. Letters: the patient's right R, left L, anterior A, posterior P, superior S, "
        "inferior I."
    )
    with plt.rc_context(STYLE):
        panels = panel_figure(
            [max(w * scale, 1.5) for w, _ in sizes],
            [max(h for _, h in sizes) * scale],
            title=title or "Organ surfaces",
            caption=caption,
            handles=organ_handles(spec, present),
        )
        for column, (name, angles) in enumerate(views.items()):
            width, height = sizes[column]
            axes = panels.axes(0, column, width * scale, height * scale)
            axes.imshow(pictures[column], extent=(0, width, height, 0), interpolation="antialiased")
            _mark(axes, view_axes(*angles), width)
            axes.set_title(name, pad=4)
    return panels.figure


def _mark(axes: Axes, view: np.ndarray, width_mm: float) -> None:
    down, _, right = view
    for x, y, direction, horizontal, vertical in (
        (0.02, 0.5, -right, "left", "center"),
        (0.98, 0.5, right, "right", "center"),
        (0.5, 0.985, -down, "center", "top"),
        (0.5, 0.015, down, "center", "bottom"),
    ):
        axes.text(
            x,
            y,
            edge_letters(direction),
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize=8.5,
            fontweight="bold",
            color="#333333",
            gid="orientation",
        )
    length = 50 if width_mm > 120 else 20
    axes.plot(
        [0.04, 0.04 + length / width_mm],
        [0.03, 0.03],
        transform=axes.transAxes,
        color="#333333",
        linewidth=2,
        solid_capstyle="butt",
        gid="scale",
    )
    axes.text(
        0.04, 0.04, f"{length} mm", transform=axes.transAxes, va="bottom", fontsize=7, color="#333"
    )
    tidy(axes)


def render(
    labels: np.ndarray, spacing: Spacing, spec: DatasetSpec, azimuth: float, elevation: float
) -> np.ndarray:
    """Return an RGB picture (rows, columns, 3) of all organs from one side, PIXEL_MM a pixel."""
    view = view_axes(azimuth, elevation)
    steps = np.array(spacing)
    organs = np.argwhere(labels > 0)
    # Corners of the organs' common box decide the picture's frame in view coordinates (mm).
    low, high = organs.min(axis=0) * steps, (organs.max(axis=0) + 1) * steps
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T @ view.T
    start = corners.min(axis=0) - MARGIN_MM
    rows, _, columns = np.ceil((corners.max(axis=0) + MARGIN_MM - start) / PIXEL_MM).astype(int)
    colors = np.ones((rows, columns, 3))
    depth = np.full((rows, columns), np.inf)
    for organ in spec.organs:
        if (labels == organ.label).any():
            _draw_organ(labels == organ.label, organ.color, spacing, view, start, colors, depth)
    picture = _darken_edges(colors, depth)
    # The box of a tilted view is wider than what is drawn in it.
    used = np.isfinite(depth)
    margin = round(MARGIN_MM / PIXEL_MM)
    trim = []
    for axis in (1, 0):
        drawn = np.flatnonzero(used.any(axis=axis))
        trim.append(slice(max(0, drawn[0] - margin), drawn[-1] + 1 + margin))
    return picture[tuple(trim)]


def _draw_organ(
    mask: np.ndarray,
    color: str,
    spacing: Spacing,
    view: np.ndarray,
    start: np.ndarray,
    colors: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Cast rays at one organ and write its pixels where it is the nearest so far."""
    steps = np.array(spacing)
    used = ndimage.find_objects(mask.astype(np.uint8))[0]
    pad = np.ceil(3 * SMOOTHING_MM / steps).astype(int) + 1
    first = np.array([part.start for part in used]) - pad
    part = np.pad(mask[used], [(p, p) for p in pad]).astype(np.float32)
    field = ndimage.gaussian_filter(part, SMOOTHING_MM / steps)
    # A thin organ can fall below one half everywhere: its own maximum then sets the level.
    level = min(0.5, 0.6 * float(field.max()))

    low, high = first * steps, (first + part.shape) * steps
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T @ view.T
    begin = np.floor((corners.min(axis=0) - start) / PIXEL_MM).astype(int)
    end = np.ceil((corners.max(axis=0) - start) / PIXEL_MM).astype(int)
    begin[[0, 2]] = np.maximum(begin[[0, 2]], 0)
    end[[0, 2]] = np.minimum(end[[0, 2]], depth.shape)
    # View voxel v lies at view^T (start + (begin + v + 1/2) PIXEL) mm; voxel i at (i + 1/2) step.
    matrix = (view.T * PIXEL_MM) / steps[:, None]
    offset = (view.T @ (start + (begin + 0.5) * PIXEL_MM)) / steps - 0.5 - first
    sampled = ndimage.affine_transform(
        field, matrix, offset, output_shape=tuple(end - begin), order=1, mode="constant"
    )  # (rows, depth, columns)

    inside = sampled >= level
    hit = inside.any(axis=1)
    entry = np.where(hit, inside.argmax(axis=1), 0)
    gradient = [
        np.take_along_axis(part, entry[:, None, :], axis=1)[:, 0] for part in np.gradient(sampled)
    ]
    normal = -np.stack([gradient[2], gradient[0], gradient[1]], axis=-1)  # right, down, away
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    light = LIGHT / np.linalg.norm(LIGHT)
    facing = normal @ (light * [1, 1, -1])  # "towards the viewer" is against "away"
    halfway = light + np.array([0.0, 0.0, 1.0])
    shine = np.clip(normal @ (halfway / np.linalg.norm(halfway) * [1, 1, -1]), 0, 1) ** 30
    shade = 0.42 + 0.58 * np.clip(facing, 0, 1)
    pixels = np.clip(np.array(to_rgb(color)) * shade[..., None] + 0.22 * shine[..., None], 0, 1)

    window = (slice(begin[0], end[0]), slice(begin[2], end[2]))
    distance = (entry + begin[1]) * PIXEL_MM
    nearer = hit & (distance < depth[window])
    depth[window][nearer] = distance[nearer]
    colors[window][nearer] = pixels[nearer]


def _darken_edges(colors: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Draw a thin dark rim where the depth jumps, so that overlapping organs stay apart."""
    far = np.where(np.isfinite(depth), depth, 1e4)
    jump = ndimage.maximum_filter(far, 3) - far
    rim = np.isfinite(depth) & (jump > 6.0)
    colors[rim] *= 0.55
    return colors
