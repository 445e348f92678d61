"""The slice browser without a browser: every control changes the picture as it should."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import SliceBrowser

SPACING = (3.0, 4.0, 2.0)
SHAPE = (16, 20, 24)
MANDIBLE = OPENKBP.organs[4]


@pytest.fixture
def browser() -> SliceBrowser:
    image = np.full(SHAPE, -1000, np.int16)
    image[2:14, 3:17, 3:21] = 40
    truth = np.zeros(SHAPE, np.uint8)
    truth[4:12, 4:7, 8:16] = MANDIBLE.label
    truth[4:8, 8:12, 4:8] = 3
    moved = np.roll(truth, 3, axis=1)
    return SliceBrowser(image, SPACING, OPENKBP, truth, {"Moved": moved, "Same": truth})


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float) / 255


def has_color(png: bytes, color: str) -> bool:
    return bool((np.abs(pixels(png) - to_rgb(color)).max(axis=-1) < 0.06).any())


def test_the_slider_changes_the_picture_and_back(browser: SliceBrowser) -> None:
    browser.slice.value = 5
    fifth = browser.image.value
    browser.slice.value = 1
    assert browser.image.value != fifth
    browser.slice.value = 5
    assert browser.image.value == fifth


def test_switching_planes_keeps_each_planes_slice(browser: SliceBrowser) -> None:
    browser.slice.value = 6
    browser.plane.value = "coronal"
    assert browser.slice.max == SHAPE[1] - 1
    browser.slice.value = 19
    browser.plane.value = "sagittal"
    assert browser.slice.max == SHAPE[2] - 1
    browser.plane.value = "axial"
    assert (browser.slice.value, browser.slice.max) == (6, SHAPE[0] - 1)
    browser.plane.value = "coronal"
    assert browser.slice.value == 19


def test_whole_slices_have_true_proportions(browser: SliceBrowser) -> None:
    browser.zoom.value = False
    for plane, rows, cols in (("axial", 1, 2), ("coronal", 0, 2), ("sagittal", 0, 1)):
        browser.plane.value = plane
        height, width = pixels(browser.image.value).shape[:2]
        true = SHAPE[rows] * SPACING[rows] / (SHAPE[cols] * SPACING[cols])
        body = pixels(browser.image.value).mean(axis=-1) > 0.1
        tall, wide = body.any(axis=1).sum(), body.any(axis=0).sum()
        assert height / width == pytest.approx(min(true, 1.2), abs=0.01)
        assert tall / wide == pytest.approx(true, rel=0.35)


def test_organ_toggle_hides_that_organ_alone(browser: SliceBrowser) -> None:
    browser.slice.value = 6
    browser.opacity.value = 1.0
    parotid = OPENKBP.organs[2]
    assert has_color(browser.image.value, MANDIBLE.color)
    browser.organs["mandible"].value = False
    assert not has_color(browser.image.value, MANDIBLE.color)
    assert has_color(browser.image.value, parotid.color)


def test_truth_and_prediction_toggles(browser: SliceBrowser) -> None:
    browser.slice.value = 6
    browser.opacity.value = 1.0
    browser.show_truth.value = False
    outlined = browser.image.value
    assert has_color(outlined, MANDIBLE.color), "the prediction's outline stays"
    browser.prediction.value = "Same"
    assert browser.image.value != outlined
    browser.prediction.value = "none"
    assert not has_color(browser.image.value, MANDIBLE.color)


def test_window_presets_and_sliders_follow_each_other(browser: SliceBrowser) -> None:
    start = browser.image.value
    assert (browser.centre.value, browser.width.value) == (120, 560), "the network's own window"
    browser.preset.value = "Bone"
    assert (browser.centre.value, browser.width.value) == (400, 1800)
    assert browser.image.value != start
    browser.width.value = 900
    assert browser.preset.value == "Custom"
    browser.preset.value = "Network input"
    assert browser.image.value == start


def test_a_change_of_plane_redraws_once(
    browser: SliceBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    show = browser._picture.show

    def count(*args: Any, **kwargs: Any) -> bytes:
        drawn.append(args)
        return show(*args, **kwargs)

    monkeypatch.setattr(browser._picture, "show", count)
    browser.plane.value = "sagittal"
    assert len(drawn) == 1


def test_zoom_frames_the_organs() -> None:
    image = np.full((12, 60, 60), 40, np.int16)
    truth = np.zeros(image.shape, np.uint8)
    truth[4:8, 25:35, 25:35] = MANDIBLE.label
    browser = SliceBrowser(image, (4.0, 4.0, 4.0), OPENKBP, truth)

    def share() -> float:
        colored = np.ptp(pixels(browser.image.value), axis=-1) > 0.1
        return float(colored.mean())

    near = share()
    browser.zoom.value = False
    # 10 voxels of 34 (45 mm around, 12 voxels on each side) against 10 of 60 along each side.
    assert near / share() == pytest.approx((60 / 34) ** 2, rel=0.1)


def test_static_pages_get_a_picture_and_live_ones_the_widget(browser: SliceBrowser) -> None:
    bundle = browser._repr_mimebundle_()
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == browser.widget.model_id
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert len(browser.static_figure().axes) == 9, "three planes of truth and two predictions"


def test_a_ct_alone_can_be_browsed() -> None:
    browser = SliceBrowser(np.zeros(SHAPE, np.int16), SPACING, OPENKBP)
    assert browser.show_truth.disabled and browser.prediction.disabled
    assert len(browser.static_figure().axes) == 3
    before = browser.image.value
    browser.preset.value = "Lung"
    assert browser.image.value != before


def test_mistakes_are_named() -> None:
    image, labels = np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8)
    with pytest.raises(OarfuseError, match="image's grid"):
        SliceBrowser(image, SPACING, OPENKBP, labels[1:])
    with pytest.raises(OarfuseError, match="prediction 'A'"):
        SliceBrowser(image, SPACING, OPENKBP, labels, {"A": labels + 9})
    with pytest.raises(OarfuseError, match="another name"):
        SliceBrowser(image, SPACING, OPENKBP, labels, {"none": labels})
