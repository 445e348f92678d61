"""What the notebooks say of themselves, for the lecturers' page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reports.markdown import table


def times_table(notebooks: Iterable[Path]) -> str:
    """Return a table of each notebook's own sentences on time and hardware."""
    rows = []
    for path in sorted(notebooks):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        first = "".join(cells[0]["source"])
        title = re.search(r"^# (.+)$", first, re.MULTILINE)
        time = re.search(r"\*\*Time\.\*\*\s+(.+?)(?:\n\n|\Z)", first, re.DOTALL)
        if title is None or time is None:
            raise SystemExit(f"{path}: its first cell lacks a title or a paragraph **Time.**")
        exercises = sum(
            len(re.findall(r"^check_\d\d_\w+\(", "".join(cell["source"]), re.MULTILINE))
            for cell in cells
            if cell["cell_type"] == "code"
        )
        sentences = " ".join(time[1].split())
        rows.append([f"[{title[1]}](notebooks/{path.name})", sentences, exercises])
    return table(["notebook", "time and hardware, in its own words", "exercises"], rows, "ll")


def slides_table(decks: Mapping[str, Sequence[object]]) -> str:
    """Return a table of the decks; their pages are no pages of Sphinx's, so links are HTML."""
    rows = [
        [f'<a href="slides/{name}.html">{name.replace("_", " ")}</a>', len(slides) + 1]
        for name, slides in decks.items()
    ]
    return table(["deck", "slides"], rows)
