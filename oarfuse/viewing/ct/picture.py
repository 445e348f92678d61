"""One slice drawn again and again: the fast picture behind the slice browser."""

from __future__ import annotations

import io
from collections.abc import Collection

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import tidy
from oarfuse.viewing.canvas.overlay import (
    Scan,
    add_outline,
    draw_ct,
    draw_fill,
    finish_picture,
    label_rgba,
    outline_segments,
)
from oarfuse.viewing.canvas.planes import AXIAL, Box, Plane, Spacing, whole_box
from oarfuse.viewing.canvas.style import styled

PICTURE_IN = 5.0
TALLEST = 1.2  # of the picture's height over its width, so that the controls stay in sight


class SlicePicture:
    """A CT slice with filled truth and outlined prediction on an Agg canvas.

    The artists are made once; `show` only exchanges their data, and `place` only runs when the
    plane or the crop changes. Inputs are taken as checked.
    """

    @styled
    def __init__(self, volume: np.ndarray, spacing_mm: Spacing, spec: DatasetSpec) -> None:
        self._volume, self._spacing, self._spec = volume, spacing_mm, spec
        self.figure = Figure(figsize=(PICTURE_IN, PICTURE_IN), dpi=100, facecolor="black")
        self._canvas = FigureCanvasAgg(self.figure)
        self._axes = tidy(self.figure.add_axes((0, 0, 1, 1)))
        scan = Scan(volume, spacing_mm, spec, whole_box(volume.shape), spec.window_hu)
        self._ct = draw_ct(self._axes, scan, AXIAL, 0)
        self._fill = draw_fill(self._axes, scan, AXIAL, np.zeros((1, 1, 4)))
        self._outlines = {o.label: add_outline(self._axes, o, 1.6) for o in spec.organs}
        self.place(AXIAL, scan.box)

    def place(self, plane: Plane, box: Box) -> None:
        """Fit axes, figure height and marks to a plane and a crop."""
        self._plane = plane
        for mark in [*self._axes.texts, *self._axes.lines]:
            mark.remove()
        extent = plane.extent(self._volume.shape, self._spacing)
        for picture in (self._ct, self._fill):
            picture.origin = plane.origin
            picture.set_extent(extent)
        width, height = plane.size_mm(box, self._spacing)
        # The picture keeps its width and takes the height that true proportions ask for.
        self.figure.set_size_inches(PICTURE_IN, PICTURE_IN * min(height / width, TALLEST))
        finish_picture(self._axes, plane, box, self._spacing)

    def show(
        self,
        index: int,
        window_hu: tuple[float, float],
        *,
        filled: np.ndarray | None,
        opacity: float,
        outlined: np.ndarray | None,
        shown: Collection[int],
    ) -> bytes:
        """Draw slice `index` and return it as PNG bytes.

        Parameters
        ----------
        filled, outlined
            Label volumes (D, H, W) drawn as translucent fill and as outlines; None for neither.
        shown
            The label values that are drawn.
        """
        plane = self._plane
        self._ct.set_data(plane.take(self._volume, index))
        self._ct.set_clim(*window_hu)
        self._fill.set_visible(filled is not None)
        if filled is not None:
            self._fill.set_data(label_rgba(plane.take(filled, index), self._spec, opacity, shown))
        for label, lines in self._outlines.items():
            visible = outlined is not None and label in shown
            lines.set_visible(visible)
            if outlined is not None and visible:
                mask = plane.take(outlined, index) == label
                row_mm, col_mm = self._spacing[plane.row_axis], self._spacing[plane.col_axis]
                lines.set_segments(list(outline_segments(mask, row_mm, col_mm)))
        self._canvas.draw()
        buffer = io.BytesIO()
        picture = PillowImage.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
        picture.save(buffer, format="PNG", compress_level=1)  # speed matters more than size here
        return buffer.getvalue()
