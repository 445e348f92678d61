"""A slice browser for notebooks: ipywidgets around one picture that is redrawn in place.

The picture is drawn on an Agg canvas and sent as PNG bytes into an `ipywidgets.Image`. That works
in JupyterLab, Colab and VS Code without a Matplotlib widget extension, and the state can be
tested without a browser: set `browser.slice.value` and read `browser.image.value`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.planes import (
    PLANES,
    box_around,
    check_image,
    check_labels,
    get_plane,
    telling_voxel,
    whole_box,
)
from oarfuse.viewing.ct.comparison import show_comparison
from oarfuse.viewing.ct.picture import PICTURE_IN, SlicePicture
from oarfuse.viewing.ct.slices import show_planes

CT_WINDOWS: dict[str, tuple[int, int]] = {  # (centre, width) in HU, as radiologists name them
    "Soft tissue": (40, 400),
    "Brain": (40, 80),
    "Bone": (400, 1800),
    "Lung": (-600, 1500),
}
NETWORK_WINDOW = "Network input"
CUSTOM_WINDOW = "Custom"
NO_PREDICTION = "none"
ZOOM_MARGIN_MM = 45.0
# Picture and controls fit side by side into JupyterLab's page in a window 1280 pixels wide.
CONTROLS_PX = 320
LABEL_PX = 92


class SliceBrowser:
    """Browse a CT with its truth and predictions, slice by slice.

    Parameters
    ----------
    image
        CT in HU, (D, H, W) = (superior, posterior, left).
    spacing_mm
        Voxel size (D, H, W) in mm.
    spec
        The data set: organ titles, colours, default CT window.
    truth
        Label map on the same grid, drawn as a translucent fill.
    predictions
        Label maps by method name; one at a time is drawn as outlines.

    Attributes
    ----------
    plane, slice, zoom, preset, centre, width, opacity, show_truth, prediction
        The controls (ipywidgets); set their `.value` from code just as well.
    organs
        One checkbox per organ name.
    image
        The picture (`ipywidgets.Image`, PNG bytes in `.value`).
    widget
        Everything together, for use inside other layouts.

    Raises
    ------
    OarfuseError
        If shapes, spacing or labels do not fit.

    Notes
    -----
    As the last expression of a cell it shows the live widget where a kernel runs, and carries a
    static picture that GitHub's preview and other static pages show instead.
    """

    def __init__(
        self,
        image: np.ndarray,
        spacing_mm: Sequence[float],
        spec: DatasetSpec,
        truth: np.ndarray | None = None,
        predictions: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._spacing = check_image(image, spacing_mm)
        self._spec = spec
        self._volume = np.asarray(image)
        self._truth = None if truth is None else check_labels(truth, image, spec, "truth")
        self._predictions = {
            name: check_labels(labels, image, spec, f"prediction {name!r}")
            for name, labels in (predictions or {}).items()
        }
        if NO_PREDICTION in self._predictions:
            raise OarfuseError(f"{NO_PREDICTION!r} cannot name a prediction: give it another name.")
        known = (
            self._truth if self._truth is not None else next(iter(self._predictions.values()), None)
        )
        # Each plane remembers its own slice, so that switching back and forth loses nothing.
        self._voxel = list(
            telling_voxel(np.zeros(image.shape, np.uint8) if known is None else known)
        )
        shape = self._volume.shape
        organs = np.zeros(shape, bool) if known is None else known > 0
        self._boxes = {
            True: box_around(organs, self._spacing, ZOOM_MARGIN_MM),
            False: whole_box(shape),
        }
        self._quiet = False
        self._make_controls()
        self._picture = SlicePicture(self._volume, self._spacing, spec)
        self._place_plane()
        self._redraw()

    # ----- controls

    def _make_controls(self) -> None:
        low, high = self._spec.window_hu
        self.plane = widgets.ToggleButtons(
            options=[(name.capitalize(), name) for name in PLANES],
            value="axial",
            style={"button_width": "84px"},
            tooltips=[f"{name} slices" for name in PLANES],
        )
        # Checkboxes get the same empty label, so that all controls share one left edge.
        labelled: dict[str, Any] = {
            "layout": widgets.Layout(width=f"{CONTROLS_PX - 8}px"),
            "style": {"description_width": f"{LABEL_PX}px"},
        }
        self.slice = widgets.IntSlider(
            value=self._voxel[0],
            min=0,
            max=self._volume.shape[0] - 1,
            description="Slice",
            **labelled,
        )
        self.zoom = widgets.Checkbox(value=True, description="Zoom to the organs", **labelled)
        self.preset = widgets.Dropdown(
            options=[NETWORK_WINDOW, *CT_WINDOWS, CUSTOM_WINDOW],
            value=NETWORK_WINDOW,
            description="CT window",
            **labelled,
        )
        self.centre = widgets.IntSlider(
            value=round((low + high) / 2),
            min=-1000,
            max=2000,
            step=10,
            description="Centre (HU)",
            **labelled,
        )
        self.width = widgets.IntSlider(
            value=round(high - low), min=10, max=4000, step=10, description="Width (HU)", **labelled
        )
        self.opacity = widgets.FloatSlider(
            value=0.45,
            min=0.0,
            max=1.0,
            step=0.05,
            description="Truth opacity",
            readout_format=".2f",
            **labelled,
        )
        self.show_truth = widgets.Checkbox(
            value=self._truth is not None,
            disabled=self._truth is None,
            description="Truth (filled)",
            **labelled,
        )
        names = list(self._predictions)
        self.prediction = widgets.Dropdown(
            options=[NO_PREDICTION, *names],
            value=names[0] if names else NO_PREDICTION,
            disabled=not names,
            description="Outlines",
            tooltip="prediction drawn as outlines",
            **labelled,
        )
        self.organs = {
            organ.name: widgets.Checkbox(
                value=True,
                description_allow_html=True,
                description=f'<span style="color:{organ.color}">&#9632;</span> {organ.title}',
                **labelled,
            )
            for organ in self._spec.organs
        }
        self.plane.observe(self._plane_changed, "value")
        self.zoom.observe(self._zoom_changed, "value")
        self.preset.observe(self._preset_changed, "value")
        for control in (self.centre, self.width):
            control.observe(self._window_changed, "value")
        self.slice.observe(self._slice_changed, "value")
        for control in (self.opacity, self.show_truth, self.prediction, *self.organs.values()):
            control.observe(self._changed, "value")
        self.image = widgets.Image(
            format="png",
            layout=widgets.Layout(width=f"{round(PICTURE_IN * 100)}px", object_fit="contain"),
        )
        self._status = widgets.HTML()
        controls = widgets.VBox(
            [
                self.plane,
                self.slice,
                self.zoom,
                self.preset,
                self.centre,
                self.width,
                self.show_truth,
                self.opacity,
                self.prediction,
                *self.organs.values(),
                self._status,
            ],
            layout=widgets.Layout(width=f"{CONTROLS_PX}px", margin="2px 0 0 12px"),
        )
        self.widget = widgets.HBox(
            [self.image, controls], layout=widgets.Layout(flex_flow="row wrap")
        )

    @contextmanager
    def _no_redraw(self) -> Iterator[None]:
        """Set controls without their effects: one redraw at the end is enough."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _changed(self, _change: object = None) -> None:
        if not self._quiet:
            self._redraw()

    def _slice_changed(self, _change: object) -> None:
        if not self._quiet:
            self._voxel[get_plane(self.plane.value).axis] = self.slice.value
            self._redraw()

    def _plane_changed(self, _change: object) -> None:
        axis = get_plane(self.plane.value).axis
        with self._no_redraw():  # a new range moves the slider's value
            self.slice.max = self._volume.shape[axis] - 1
            self.slice.value = self._voxel[axis]
        self._zoom_changed()

    def _zoom_changed(self, _change: object = None) -> None:
        self._place_plane()
        self._redraw()

    def _preset_changed(self, _change: object) -> None:
        if self._quiet or self.preset.value == CUSTOM_WINDOW:
            return
        low, high = self._spec.window_hu
        network = (round((low + high) / 2), round(high - low))
        with self._no_redraw():
            self.centre.value, self.width.value = CT_WINDOWS.get(self.preset.value, network)
        self._redraw()

    def _window_changed(self, _change: object) -> None:
        if self._quiet:
            return
        with self._no_redraw():
            self.preset.value = CUSTOM_WINDOW
        self._redraw()

    # ----- picture

    def _place_plane(self) -> None:
        self._picture.place(get_plane(self.plane.value), self._boxes[self.zoom.value])

    def _window(self) -> tuple[float, float]:
        half = self.width.value / 2
        return self.centre.value - half, self.centre.value + half

    def _redraw(self) -> None:
        plane, index = get_plane(self.plane.value), self.slice.value
        self.image.value = self._picture.show(
            index,
            self._window(),
            filled=self._truth if self.show_truth.value else None,
            opacity=self.opacity.value,
            outlined=self._predictions.get(self.prediction.value),
            shown={o.label for o in self._spec.organs if self.organs[o.name].value},
        )
        depth = (index + 0.5) * self._spacing[plane.axis]
        edge = ("inferior", "anterior", "right")[plane.axis]
        last = self._volume.shape[plane.axis] - 1
        self._status.value = (
            f"{plane.name.capitalize()} slice {index} of 0..{last},<br>{depth:.1f} mm from the "
            f"volume's {edge} edge"
        )

    # ----- static fallback

    def static_figure(self) -> Figure:
        """Return a figure of the current place in three planes, for pages without a kernel.

        With predictions it compares truth and predictions, otherwise it shows the truth alone.
        """
        view: dict[str, Any] = {
            "spacing_mm": self._spacing,
            "spec": self._spec,
            "index": self._voxel,
            "window_hu": self._window(),
            "title": "Static view of the slice browser",
        }
        if self._truth is not None and self._predictions:
            return show_comparison(self._volume, self._truth, self._predictions, **view)
        labels = self._truth
        if labels is None:
            labels = next(iter(self._predictions.values()), None)
        return show_planes(self._volume, labels, **view)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Offer the live widget and a static PNG; each page shows the richest it understands."""
        bundle = dict(self.widget._repr_mimebundle_(**kwargs) or {})
        buffer = io.BytesIO()
        self.static_figure().savefig(buffer, format="png")
        bundle["image/png"] = base64.b64encode(buffer.getvalue()).decode("ascii")
        bundle["text/plain"] = (
            f"SliceBrowser of a {self._volume.shape} volume (run the cell to use it)"
        )
        return bundle
