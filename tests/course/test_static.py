"""Executed notebooks keep the picture and lose the widget, so that offline HTML shows it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from oarfuse.course.static import WIDGET, keep_pictures
from oarfuse.organs import OPENKBP
from oarfuse.viewing import SliceBrowser


@pytest.fixture
def executed(tmp_path: Path) -> Path:
    """A notebook as nbclient leaves it: the browser's output and the widget's stored state."""
    label = np.zeros((16, 16, 16), np.uint8)
    label[6:10, 6:10, 6:10] = 1
    browser = SliceBrowser(np.zeros(label.shape, np.int16), (3.0, 4.0, 4.0), OPENKBP, label)
    data = browser._repr_mimebundle_()
    model = data[WIDGET]["model_id"]
    outputs = [
        new_output("execute_result", data=data, execution_count=1),
        new_output("display_data", data={WIDGET: {"model_id": model}, "text/plain": "no picture"}),
        new_output("stream", text="text"),
    ]
    notebook = new_notebook(cells=[new_code_cell("browser", outputs=outputs, execution_count=1)])
    notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {model: {"model_name": "VBoxModel", "state": {}}}
        }
    }
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    return tmp_path / "executed.ipynb"


def shows_picture(path: Path) -> bool:
    page, _ = HTMLExporter().from_filename(str(path))
    return re.search(r"<img[^>]+data:image/png", page) is not None


def test_picture_takes_the_place_of_the_widget(executed: Path) -> None:
    assert not shows_picture(executed)  # nbconvert prefers the widget: why this module exists
    assert keep_pictures(executed) == 1
    notebook = nbformat.read(executed, as_version=4)
    nbformat.validate(notebook)
    with_picture, without, _ = notebook.cells[0].outputs
    assert set(with_picture["data"]) == {"image/png", "text/plain"}
    assert WIDGET in without["data"]  # nothing else could be shown there
    assert "widgets" not in notebook.metadata
    assert shows_picture(executed)


def test_a_second_time_changes_nothing(executed: Path) -> None:
    keep_pictures(executed)
    before = executed.read_bytes()
    assert keep_pictures(executed) == 0
    assert executed.read_bytes() == before
