"""Slides from the notebooks' committed cells, shown by reveal.js from files that lie in the site.

``book/slides.yml`` lists each deck's slides. A slide shows cells: the pictures and tables of a code
cell, or a section of a text cell. What the notebook says right below a code cell becomes the
speaker's notes (key S), so that the slide itself stays short.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import yaml
from nbconvert.filters import highlight, markdown2html

from oarfuse.errors import OarfuseError
from reports.results import ROOT

LIST = ROOT / "book" / "slides.yml"
_PAGE = ROOT / "book" / "slides" / "deck.html"
_REVEAL = ("LICENSE", "dist/reveal.css", "dist/reveal.js", "dist/reset.css", "plugin/notes")
Cell = dict[str, Any]


def decks() -> dict[str, list[dict[str, Any]]]:
    """Return the slides of each deck, by the name of its notebook."""
    return yaml.safe_load(LIST.read_text(encoding="utf-8"))


def write_slides(folder: Path) -> None:
    """Write a page for each deck, and reveal.js beside them."""
    import sphinx_revealjs

    packed = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs"
    for name in _REVEAL:
        path, target = packed / name, folder / "reveal" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    for name in decks():
        (folder / f"{name}.html").write_text(deck(name), encoding="utf-8")


def deck(name: str) -> str:
    """Return the page with the slides of one notebook.

    Raises
    ------
    OarfuseError
        If the list names a cell or a heading that the notebook does not have.
    """
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = notebook["cells"]
    title = _text(cells[0]).splitlines()[0].removeprefix("# ")
    opening = re.search(r"\*\*Aim\.\*\*.+?(?=\n\n\*\*|\Z)", _text(cells[0]), re.DOTALL)
    slides = [_section(f"<h1>{escape(title)}</h1>", _markdown(opening[0] if opening else ""))]
    for slide in decks()[name]:
        shown = [_show(cells, name, entry) for entry in slide["show"]]
        notes = "".join(_reading(cells, name, entry) for entry in slide["show"])
        slides.append(_section(f"<h2>{escape(slide['title'])}</h2>", "".join(shown), notes))
    page = _PAGE.read_text(encoding="utf-8")
    return page.replace("{title}", escape(title)).replace("{slides}", "\n".join(slides))


def _section(head: str, body: str, notes: str = "") -> str:
    aside = f'<aside class="notes">{notes}</aside>' if notes else ""
    return f'<section>{head}<div class="fit">{body}</div>{aside}</section>'


def _find(cells: list[Cell], name: str, wanted: str) -> int:
    found = [number for number, cell in enumerate(cells) if cell.get("id") == wanted]
    if not found:
        raise OarfuseError(f"{LIST.name}: {name}.ipynb has no cell {wanted!r}: mend the list.")
    return found[0]


def _show(cells: list[Cell], name: str, entry: str) -> str:
    """Return one entry of a slide: ``cell``, ``cell#heading`` or ``cell+code``."""
    wanted, _, heading = entry.removesuffix("+code").partition("#")
    cell = cells[_find(cells, name, wanted)]
    if cell["cell_type"] == "markdown":
        return _markdown(_below(_text(cell), heading, f"{name}.ipynb, cell {wanted}"))
    code = (
        highlight.Highlight2HTML(pygments_lexer="ipython3")(_text(cell))
        if (entry.endswith("+code"))
        else ""
    )
    return code + "".join(_outputs(cell))


def _below(text: str, heading: str, place: str) -> str:
    """Return what stands below a heading, up to the next one; without a heading all but titles."""
    if not heading:
        return re.sub(r"^#+ .*$", "", text, flags=re.MULTILINE)
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in sections:
        raise OarfuseError(f"{LIST.name}: {place} has no heading {heading!r}: mend the list.")
    return sections[heading]


def _outputs(cell: Cell) -> Iterable[str]:
    """Give a cell's outputs, each in the richest form that a page can show."""
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "text/html" in data:
            yield "".join(data["text/html"])
        elif "image/png" in data:
            yield f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
        elif "".join(output.get("text", "")).strip():
            yield f"<pre>{escape(''.join(output['text']))}</pre>"


def _reading(cells: list[Cell], name: str, entry: str) -> str:
    """Return what the notebook says below a code cell: how to read what it shows."""
    number = _find(cells, name, entry.removesuffix("+code").partition("#")[0])
    after = cells[number + 1] if number + 1 < len(cells) else None
    if cells[number]["cell_type"] != "code" or after is None or after["cell_type"] != "markdown":
        return ""
    return _markdown(re.split(r"^#", _text(after), maxsplit=1, flags=re.MULTILINE)[0])


def _markdown(text: str) -> str:
    """Return Markdown as HTML, links as their text: a slide is no place to leave from."""
    return re.sub(r"</?a\b[^>]*>", "", markdown2html(text))


def _text(cell: Cell) -> str:
    return "".join(cell["source"])
