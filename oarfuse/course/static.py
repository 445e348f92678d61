"""Executed notebooks for pages without a kernel: pictures in the place of widgets.

    python -m oarfuse.course.static notebooks/05_qualitative.ipynb

A widget's output holds a picture beside it (see `SliceBrowser`). JupyterLab and nbconvert prefer
the widget, which is dead without its kernel, and in HTML it needs scripts from the internet.
"""

from __future__ import annotations

import sys
from pathlib import Path

from oarfuse.extras import require
from oarfuse.files import write_text

WIDGET = "application/vnd.jupyter.widget-view+json"


def keep_pictures(path: str | Path) -> int:
    """Take the widgets out of an executed notebook where a picture is there; return how many.

    The stored state of the widgets goes as well. What is run again shows the widget again.
    """
    require("Reading notebooks", "notebooks", "nbformat")
    import nbformat

    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    outputs = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if WIDGET in output.get("data", {}) and "image/png" in output["data"]
    ]
    for data in outputs:
        del data[WIDGET]
    if outputs:
        notebook.metadata.pop("widgets", None)
        write_text(path, nbformat.writes(notebook) + "\n")
    return len(outputs)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {keep_pictures(name)} widgets left out")
