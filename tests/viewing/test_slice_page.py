"""The slice browser without a kernel: self-contained HTML that a real browser can use."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import slice_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SPACING = (3.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A CT (16, 20, 24), a brainstem in slices 5 to 9, a prediction one voxel to the left."""
    rng = np.random.default_rng(0)
    image = np.full((16, 20, 24), -1000, np.int16)
    image[:, 2:18, 2:22] = rng.integers(-100, 300, (16, 16, 20))
    truth = np.zeros(image.shape, np.uint8)
    truth[5:10, 8:12, 10:14] = 1
    return image, truth, np.roll(truth, 1, axis=2)


def figures(page: str) -> list[str]:
    return re.findall(r"<figure.*?</figure>", page, re.DOTALL)


def test_the_page_needs_nothing_else_and_holds_one_ct_picture_a_slice(
    head: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, truth, prediction = head
    page = slice_page(image, SPACING, OPENKBP, truth, prediction, title="A <head>").data
    assert page == slice_page(image, SPACING, OPENKBP, truth, prediction, title="A <head>").data
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in page and "<script" not in page and "url(" not in page
    assert "A &lt;head&gt;" in page and "Brainstem" in page and "Mandible" not in page
    slices = figures(page)
    assert len(slices) == 9  # five of the organ and two beyond on either side
    assert [figure.count('class="ct"') for figure in slices] == [1] * 9
    assert [" hidden" in figure.split(">")[0] for figure in slices].count(False) == 1
    (slider,) = re.findall(r'<input type="range"[^>]*>', page)
    assert 'min="0" max="8"' in slider and "oninput=" in slider
    assert page.count("<button") == 2 and page.count('type="checkbox"') == 2


def test_pictures_are_the_slices_and_outlines_run_along_voxels(
    head: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, truth, prediction = head
    page = slice_page(
        image, SPACING, OPENKBP, truth, prediction, crop="none", window_hu=(0, 255)
    ).data
    (shown,) = [figure for figure in figures(page) if "Axial slice 5 of 0 to 15" in figure]
    source = re.findall(r'class="ct"[^>]*src="data:image/png;base64,([^"]*)"', shown)[0]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    np.testing.assert_array_equal(pixels, np.clip(image[5], 0, 255))
    (way,) = re.findall(r'<path d="([^"]*)"', shown)
    assert way.count("M") == 16  # a square of 4 x 4 voxels
    starts = {tuple(map(int, pair)) for pair in re.findall(r"M(\d+) (\d+)[hv]1", way)}
    assert min(starts) == (11, 8) and max(starts) == (15, 11)
    empty = next(figure for figure in figures(page) if "slice 3 of" in figure)
    assert "<path" not in empty


def test_superior_is_on_top_and_letters_stand_at_their_edges(
    head: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, truth, _ = head
    page = slice_page(
        image, SPACING, OPENKBP, truth, plane="coronal", crop="none", window_hu=(0, 255)
    ).data
    shown = next(figure for figure in figures(page) if "Coronal slice 9 of" in figure)
    source = re.findall(r'class="ct"[^>]*src="data:image/png;base64,([^"]*)"', shown)[0]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    np.testing.assert_array_equal(pixels, np.clip(image[::-1, 9], 0, 255))
    marks = re.findall(r'<span class="at (\w+)">([A-Z])<', shown)
    assert marks == [("left", "R"), ("right", "L"), ("top", "S"), ("bottom", "I")]
    assert page.count('type="checkbox"') == 1  # no prediction, nothing to switch


def test_a_heavy_page_leaves_out_slices_but_not_the_one_it_opens_at() -> None:
    image = np.random.default_rng(1).integers(-160, 400, (40, 64, 64)).astype(np.int16)
    truth = np.zeros(image.shape, np.uint8)
    truth[5:35, 20:40, 20:40] = 2
    truth[17, 10:50, 10:50] = 2
    whole = slice_page(image, SPACING, OPENKBP, truth, crop="none").data
    page = slice_page(image, SPACING, OPENKBP, truth, crop="none", limit_bytes=100_000).data
    assert len(page) <= 100_000 < len(whole)
    assert len(figures(page)) < len(figures(whole)) == 34
    (seen,) = [figure for figure in figures(page) if " hidden" not in figure.split(">")[0]]
    assert "slice 17 of" in seen
    with pytest.raises(OarfuseError, match="smaller volume"):
        slice_page(image, SPACING, OPENKBP, truth, crop="none", limit_bytes=5_000)


def test_a_ct_alone_can_be_browsed_and_mistakes_are_named(
    head: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    image, truth, _ = head
    page = slice_page(image, SPACING, OPENKBP, crop="none").data
    assert len(figures(page)) == 16 and "checkbox" not in page
    with pytest.raises(OarfuseError, match="no plane"):
        slice_page(image, SPACING, OPENKBP, truth, plane="oblique")
    with pytest.raises(OarfuseError, match="prediction"):
        slice_page(image, SPACING, OPENKBP, truth, truth[1:])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_moving_the_slider_changes_the_picture(
    head: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    image, truth, prediction = head
    two = [slice_page(image, SPACING, OPENKBP, truth, prediction).data for _ in range(2)]
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><body>{''.join(two)}</body>", encoding="utf-8")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(path.as_uri())
        one, other = page.locator(".oarfuse-slices").all()
        frame = one.locator("figure:visible > div")
        before, beside = frame.screenshot(), other.screenshot()
        one.locator("input[type=range]").focus()
        page.keyboard.press("ArrowRight")
        assert frame.count() == 1
        moved = frame.screenshot()
        assert moved != before
        one.get_by_label("Previous slice").click()
        assert frame.screenshot() == before
        one.get_by_text("prediction (outlines)").click()
        assert frame.screenshot() != before
        assert other.screenshot() == beside  # two on one page leave each other alone
        browser.close()
