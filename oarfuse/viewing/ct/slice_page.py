"""A slice browser for pages without a kernel: pictures in HTML, a slider, nothing to fetch.

Every slice is one grey picture at the CT's own resolution, with the truth as a translucent picture
over it and the prediction's outlines as an SVG path along the voxels' edges, so that each layer can
be switched off. All of them are in the page as text; the slider's handler shows one and hides the
others. Handlers stand in the elements, since a script may be left out where HTML is inserted.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage

from oarfuse.errors import OarfuseError
from oarfuse.extras import require
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.overlay import label_rgba, outline_segments, present_organs, window_text
from oarfuse.viewing.canvas.planes import (
    Box,
    Crop,
    Plane,
    Spacing,
    check_image,
    check_labels,
    crop_box,
    get_plane,
    telling_voxel,
)

if TYPE_CHECKING:
    from IPython.display import HTML

LIMIT_BYTES = 1_500_000  # of the page: a notebook that holds it must still open at once
WIDTH_PX = 560
OPACITY = 0.45
BAR_MM = 50
_ROOT = "this.closest('.oarfuse-slices')"
_SHOW = f"{_ROOT}.querySelectorAll('figure').forEach((f,i)=>f.hidden=i!=this.value)"
_LAYER = f"{_ROOT}.querySelectorAll('.%s').forEach(e=>e.style.display=this.checked?'':'none')"
_STEP = (
    f"const s={_ROOT}.querySelector('input[type=range]');s.value=+s.value+(%d);"
    "s.dispatchEvent(new Event('input'))"
)
# The same text on every page, so that two pages in one document agree.
_LOOK = f"""<style>
.oarfuse-slices{{font-size:13px}}
.oarfuse-slices figure{{margin:6px 0}}
.oarfuse-slices .frame{{position:relative;overflow:hidden;width:{WIDTH_PX}px;max-width:100%;
background:black}}
.oarfuse-slices .ct{{display:block;width:100%;height:100%}}
.oarfuse-slices .truth,.oarfuse-slices .prediction{{position:absolute;left:0;top:0;width:100%;
height:100%;margin:0;pointer-events:none;image-rendering:pixelated}}
.oarfuse-slices path{{fill:none;stroke-width:2;stroke-linecap:square;
vector-effect:non-scaling-stroke}}
.oarfuse-slices .at{{position:absolute;color:white;font:bold 14px sans-serif;white-space:nowrap;
text-shadow:0 0 3px black,0 0 3px black}}
.oarfuse-slices .left{{left:6px;top:50%;transform:translateY(-50%)}}
.oarfuse-slices .right{{right:6px;top:50%;transform:translateY(-50%)}}
.oarfuse-slices .top{{top:4px;left:50%;transform:translateX(-50%)}}
.oarfuse-slices .bottom{{bottom:4px;left:50%;transform:translateX(-50%)}}
.oarfuse-slices .scale{{left:4%;bottom:4%;border-bottom:3px solid white}}
.oarfuse-slices .move{{display:flex;gap:6px;align-items:center;width:{WIDTH_PX}px;max-width:100%}}
.oarfuse-slices .move input{{flex:1}}
.oarfuse-slices label{{margin-right:14px}}
</style>"""


def slice_page(
    image: np.ndarray,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    *,
    plane: str = "axial",
    crop: Crop = "organs",
    window_hu: tuple[float, float] | None = None,
    title: str = "",
    limit_bytes: int = LIMIT_BYTES,
) -> HTML:
    """Return a slice browser in plain HTML that works on a page without a kernel.

    Parameters
    ----------
    image
        CT in HU, (D, H, W).
    spacing_mm
        Voxel size (D, H, W) in mm.
    truth, prediction
        Label maps on the same grid: the truth is filled, the prediction outlined.
    plane
        ``axial``, ``coronal`` or ``sagittal``. The slices run through the organs, two beyond their
        ends on either side; through the whole crop if there are none.
    crop
        As for `show_planes`.
    limit_bytes
        A longer page would be too heavy: then every second slice is shown, or every third.

    Returns
    -------
    IPython.display.HTML
        A slider, two buttons, a switch for each layer, and one ``<figure>`` a slice. It opens at
        the slice that shows the most organs of the truth.

    Raises
    ------
    OarfuseError
        If shapes, spacing, labels or the plane do not fit, or not even one slice in eight stays
        below the limit, or IPython is missing.
    """
    require("A page of slices", "notebooks", "IPython")
    from IPython.display import HTML

    spacing, view = check_image(image, spacing_mm), get_plane(plane)
    truth = None if truth is None else check_labels(truth, image, spec, "truth")
    prediction = None if prediction is None else check_labels(prediction, image, spec, "prediction")
    maps = [labels for labels in (truth, prediction) if labels is not None]
    box = crop_box(image, maps[0] if maps else None, spacing, crop)
    drawer = _Drawer(image, spacing, spec, view, box, window_hu or spec.window_hu)
    opened = telling_voxel(maps[0])[view.axis] if maps else sum(box[view.axis]) // 2
    indices = _slices(maps, view, box)
    legend = _legend(spec, maps)
    figures = {i: drawer.figure(i, truth, prediction, hidden=i != opened) for i in indices}
    for step in range(1, 9):
        # Counted from the slice that it opens at, which therefore is always there.
        chosen = [index for index in indices if (index - opened) % step == 0]
        shown = [figures[index] for index in chosen]
        page = _page(shown, chosen.index(opened), truth, prediction, title, legend)
        if len(page) <= limit_bytes:
            return HTML(page)
    raise OarfuseError(
        f"Slices of {image.shape} make a page of more than {limit_bytes:,} bytes: "
        "pass a smaller volume."
    )


def _slices(maps: Sequence[np.ndarray], view: Plane, box: Box) -> list[int]:
    """Return the slices from the organs' first to their last, and two more on either side."""
    first, end = box[view.axis]
    others = tuple(axis for axis in range(3) if axis != view.axis)
    used = [np.flatnonzero((labels > 0).any(axis=others)) for labels in maps]
    used = [index for index in used if index.size]
    if used:
        first = max(0, min(int(index[0]) for index in used) - 2)
        end = min(maps[0].shape[view.axis], max(int(index[-1]) for index in used) + 3)
    return list(range(first, end))


class _Drawer:
    """What is the same for every slice; `figure` makes the HTML of one."""

    def __init__(
        self,
        image: np.ndarray,
        spacing: Spacing,
        spec: DatasetSpec,
        view: Plane,
        box: Box,
        window_hu: tuple[float, float],
    ) -> None:
        low, high = window_hu
        rows, columns = box[view.row_axis], box[view.col_axis]
        self._part = slice(*rows), slice(*columns)
        grey = np.clip((np.asarray(image, np.float32) - low) / (high - low), 0, 1)
        self._grey = np.round(255 * grey).astype(np.uint8)
        self._spec, self._view, self._window = spec, view, window_hu
        self._size = rows[1] - rows[0], columns[1] - columns[0]  # voxels
        self._mm = (
            self._size[0] * spacing[view.row_axis],
            self._size[1] * spacing[view.col_axis],
        )
        self._depth_mm, self._last = spacing[view.axis], image.shape[view.axis] - 1

    def _take(self, volume: np.ndarray, index: int) -> np.ndarray:
        """Return the cropped slice as it stands in the picture, first row on top."""
        section = self._view.take(volume, index)[self._part]
        return section[::-1] if self._view.upward else section

    def figure(
        self,
        index: int,
        truth: np.ndarray | None,
        prediction: np.ndarray | None,
        hidden: bool,
    ) -> str:
        height, width = self._mm
        parts = [
            f'<img class="ct" alt="CT slice {index}" src="{_png(self._take(self._grey, index))}">'
        ]
        if truth is not None:
            fill = label_rgba(self._take(truth, index), self._spec, OPACITY)
            picture = _png(np.round(255 * fill).astype(np.uint8))
            parts.append(f'<img class="truth" alt="" src="{picture}">')
        if prediction is not None:
            parts.append(self._outlines(self._take(prediction, index)))
        for edge in ("left", "right", "top", "bottom"):
            parts.append(f'<span class="at {edge}">{getattr(self._view, edge)}</span>')
        bar = f"width:{100 * BAR_MM / width:.1f}%"
        parts.append(f'<span class="at scale" style="{bar}">{BAR_MM} mm</span>')
        where = (
            f"{self._view.name.capitalize()} slice {index} of 0 to {self._last}, "
            f"{(index + 0.5) * self._depth_mm:.1f} mm; {window_text(self._window)}"
        )
        return (
            f"<figure{' hidden' if hidden else ''}>"
            f'<div class="frame" style="aspect-ratio:{width:.4g}/{height:.4g}">'
            f"{''.join(parts)}</div><figcaption>{where}</figcaption></figure>"
        )

    def _outlines(self, section: np.ndarray) -> str:
        rows, columns = self._size
        paths = []
        for organ in present_organs(self._spec, section):
            lines = outline_segments(section == organ.label, 1, 1).astype(int).tolist()
            way = "".join(f"M{x} {y}{'v1' if x == end else 'h1'}" for (x, y), (end, _) in lines)
            paths.append(f'<path d="{way}" stroke="{organ.color}"/>')
        return (
            f'<svg class="prediction" viewBox="0 0 {columns} {rows}" preserveAspectRatio="none">'
            f"{''.join(paths)}</svg>"
        )


def _png(pixels: np.ndarray) -> str:
    """Return a data URI of grey (H, W) or RGBA (H, W, 4) pixels, uint8."""
    buffer = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _legend(spec: DatasetSpec, maps: Sequence[np.ndarray]) -> str:
    return " ".join(
        f'<span style="white-space:nowrap"><span style="color:{organ.color}">&#9632;</span> '
        f"{html.escape(organ.title)}</span>"
        for organ in present_organs(spec, *maps)
    )


def _page(
    figures: Sequence[str],
    opened: int,
    truth: np.ndarray | None,
    prediction: np.ndarray | None,
    title: str,
    legend: str,
) -> str:
    switches = "".join(
        f'<label><input type="checkbox" checked autocomplete="off" '
        f'onchange="{_LAYER % name}"> {text}</label>'
        for name, text, layer in (
            ("truth", "truth (filled)", truth),
            ("prediction", "prediction (outlines)", prediction),
        )
        if layer is not None
    )
    slider = (
        f'<input type="range" min="0" max="{len(figures) - 1}" value="{opened}" '
        f'aria-label="Slice" autocomplete="off" oninput="{_SHOW}">'
    )
    back, on = (
        f'<button type="button" aria-label="{word} slice" onclick="{_STEP % step}">{sign}</button>'
        for word, step, sign in (("Previous", -1, "&#9664;"), ("Next", 1, "&#9654;"))
    )
    heading = f"<strong>{html.escape(title)}</strong>" if title else ""
    return (
        f'{_LOOK}<div class="oarfuse-slices">{heading}'
        f"{''.join(figures)}"
        f'<div class="move">{back}{slider}{on}</div>'
        f"<div>{switches}</div><div>{legend}</div></div>"
    )
