"""Notebooks in a real browser: JupyterLab in headless Chromium, with a live kernel.

The test works on copies in a temporary folder and on a server of its own, with its own
configuration, so that it neither sees nor changes what the user has.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from oarfuse.organs import OPENKBP

playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: pip install oarfuse[browser]"
)

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# No sandbox, because CI runs as root; the rest keeps Chromium from calling home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000  # ms; generous, because a busy machine starts kernels slowly

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

BROWSE = """
from oarfuse.data import load_case, load_manifest
from oarfuse.viewing import SliceBrowser

manifest = load_manifest({folder!r})
volume = load_case(manifest.split("test")[0])
SliceBrowser(volume.image, volume.spacing_mm, manifest.spec, volume.label)
"""
ADDRESS = "runtime_dir/jpserver-*.json"
SETTINGS: dict[str, dict[str, Any]] = {
    # all cells exist in the page, also those out of sight
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def wait_until(done: Callable[[], Any], what: str, seconds: float = PATIENCE / 1000) -> Any:
    """Poll until `done` answers with something true, and return that."""
    end = time.monotonic() + seconds
    while not (answer := done()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, phantom: Path) -> Iterator[tuple[str, str]]:
    """A JupyterLab server on a folder of notebooks; gives its address and token."""
    home = tmp_path_factory.mktemp("jupyter")
    served = home / "served"
    served.mkdir()
    for lesson in LESSONS:
        shutil.copy(lesson, served)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(BROWSE.format(folder=str(phantom)).strip())],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, served / "browse.ipynb")
    places = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    environment = {
        **os.environ,
        **{f"JUPYTER_{place}": str(home / place.lower()) for place in places},
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    token = secrets.token_hex(16)
    with open(home / "log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
             "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={served}",
             f"--IdentityProvider.token={token}"],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        # The server writes its address, with the port that it got, once it listens.
        def written() -> str:
            assert server.poll() is None, (home / "log").read_text(encoding="utf-8")[-2000:]
            text = "".join(p.read_text(encoding="utf-8") for p in home.glob(ADDRESS)).strip()
            return text if text.endswith("}") else ""  # not in the middle of its writing

        address = wait_until(written, "JupyterLab listened")
        url = json.loads(address)["url"].rstrip("/")
        yield url, token
        stop = urllib.request.Request(
            f"{url}/api/shutdown", method="POST", headers={"Authorization": f"token {token}"}
        )
        urllib.request.urlopen(stop, timeout=30).close()  # ends the kernels as well
        server.wait(timeout=30)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture(scope="module")
def page(lab: tuple[str, str]) -> Iterator[Any]:
    """An empty browser tab."""
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = chromium.new_page(viewport={"width": 1280, "height": 960})
        tab.set_default_timeout(PATIENCE)
        yield tab
        chromium.close()


def open_notebook(page: Any, lab: tuple[str, str], name: str) -> Any:
    """Open a notebook in JupyterLab and return its panel, once its cells are there."""
    url, token = lab
    page.goto(f"{url}/lab/tree/{name}?token={token}&reset")
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    panel.locator(".jp-Cell").first.wait_for()
    return panel


def picture(panel: Any) -> bytes:
    """Return the bytes of the browser's picture, as the page shows it now."""
    encoded = panel.locator("img.widget-image").evaluate(
        """async (img) => {
            const bytes = new Uint8Array(await (await fetch(img.src)).arrayBuffer());
            return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
        }"""
    )
    return base64.b64decode(encoded)


def changed_picture(panel: Any, before: bytes) -> bytes:
    def changed() -> bytes | None:
        try:
            now = picture(panel)
        except playwright_api.Error:  # replaced between reading its address and its bytes
            return None
        return now if now != before else None

    return wait_until(changed, "the picture changed")


def pixels_of(png: bytes, color: str) -> int:
    values = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255
    chroma = values - values.mean(-1, keepdims=True)
    wanted = np.array(to_rgb(color)) - np.mean(to_rgb(color))
    cosine = (chroma @ wanted) / (np.linalg.norm(chroma, axis=-1) * np.linalg.norm(wanted) + 1e-9)
    return int(((cosine > 0.97) & (np.linalg.norm(chroma, axis=-1) > 0.1)).sum())


def test_slice_and_organ_change_the_picture(page: Any, lab: tuple[str, str]) -> None:
    panel = open_notebook(page, lab, "browse.ipynb")
    page.get_by_text("| Idle").wait_for()  # run any earlier, JupyterLab would ask for a kernel
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    panel.locator("img.widget-image").wait_for()
    first = picture(panel)
    assert Image.open(io.BytesIO(first)).format == "PNG"

    handle = panel.locator(".widget-slider", has_text="Slice").locator(".noUi-handle")
    place = int(float(handle.get_attribute("aria-valuenow")))
    handle.focus()
    handle.press("ArrowRight")
    second = changed_picture(panel, first)
    panel.get_by_text(f"Axial slice {place + 1} of").wait_for()

    handle.press("ArrowLeft")
    again = changed_picture(panel, second)
    assert again == first

    spinal_cord = OPENKBP.organs[1]
    assert pixels_of(first, spinal_cord.color) > 50
    panel.get_by_label(spinal_cord.title).uncheck()
    without = changed_picture(panel, first)
    assert pixels_of(without, spinal_cord.color) == 0
    others = [o for o in OPENKBP.organs if o is not spinal_cord]
    assert [pixels_of(without, o.color) for o in others] == [
        pixels_of(first, o.color) for o in others
    ]


@pytest.mark.parametrize("lesson", [pytest.param(path, id=path.stem) for path in LESSONS])
def test_committed_notebook_shows_figures_and_formulas_before_it_is_run(
    page: Any, lab: tuple[str, str], lesson: Path
) -> None:
    panel = open_notebook(page, lab, lesson.name)
    stored = nbformat.read(lesson, as_version=4)
    outputs = [o for cell in stored.cells for o in cell.get("outputs", [])]
    wanted = sum("image/png" in output.get("data", {}) for output in outputs)
    assert wanted > 0
    figures = panel.locator(".jp-OutputArea-output img")
    wait_until(lambda: figures.count() >= wanted, "all figures were there")
    wait_until(
        lambda: figures.evaluate_all("all => all.every((img) => img.naturalWidth > 0)"),
        "all figures were drawn",
    )
    formulas = sum("$" in cell.source for cell in stored.cells if cell.cell_type == "markdown")
    rendered = panel.locator(".jp-MarkdownOutput mjx-container")
    wait_until(lambda: rendered.count() >= formulas, "the formulas were set")
    assert panel.locator("mjx-merror, .MathJax_Error").count() == 0
