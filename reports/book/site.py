"""The book: the committed notebooks, the pages of the repository and the API as one static site.

`build` lays out Sphinx's sources in a folder beside the site, in the repository's own tree, so that
links between pages stay as they are, and then lets Sphinx write the site. No notebook is executed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from oarfuse.paper.ledger import load_ledger
from reports.book.api import write_reference
from reports.book.ledger_page import ledger_page
from reports.book.lessons import slides_table, times_table
from reports.book.links import pictures, repository, rewrite
from reports.book.slides import decks, write_slides
from reports.results import ROOT

BOOK = ROOT / "book"
# What the book takes from the repository beside the notebooks; never notebooks/solutions.
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "oarfuse/sample/README.md",
    "results/README.md",
    "results/openkbp/experiments/README.md",
    "results/openkbp/gpu/README.md",
    "weights/*.md",
    "workflow/README.md",
)
NOTEBOOKS = "notebooks/[0-9]*.ipynb"
_MATHJAX = ("MathJax.js", "LICENSE", "config", "extensions", "fonts", "jax")  # English alone


def build(output: Path) -> int:
    """Build the site; return Sphinx's exit status, which is not 0 if there was any warning."""
    from sphinx.cmd.build import build_main

    source, cache = (output.with_name(f"{output.name}-{part}") for part in ("source", "cache"))
    for folder in (output, source, cache):  # a page that is gone must not stay in the site
        shutil.rmtree(folder, ignore_errors=True)
    lay_out(source)
    return build_main(
        ["-b", "html", "-W", "--keep-going", "-q", "-d", str(cache), str(source), str(output)]
    )


def lay_out(source: Path) -> None:
    """Write everything that Sphinx reads into a new folder."""
    shutil.copytree(BOOK, source)
    taken = sorted(path for pattern in (*PAGES, NOTEBOOKS) for path in ROOT.glob(pattern))
    names = [path.relative_to(ROOT).as_posix() for path in taken]
    book, address = {*names, "index.md", "ledger.md", "lecturers.md", "papers.md"}, repository()
    shown: set[str] = set()
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".ipynb"):
            text = _notebook(text, name, book, address)
        else:
            shown |= pictures(text, name)
            text = rewrite(text, name, book, address)
        _write(source / name, text)
    for name in shown:
        _write(source / name, (ROOT / name).read_bytes())
    _write(source / "ledger.md", ledger_page(load_ledger()))
    _write(source / "times.txt", times_table(ROOT.glob(NOTEBOOKS)))
    _write(source / "slides.txt", slides_table(decks()))
    write_reference(source / "api")
    write_slides(source / "extra" / "slides")
    _copy_mathjax(source / "_static" / "mathjax")


def _notebook(text: str, name: str, book: set[str], address: str | None) -> str:
    """Return a notebook whose links hold, with the cell that installs the kit folded."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = rewrite("".join(cell["source"]), name, book, address)
        tags = cell["metadata"].get("tags", [])
        if "setup" in tags:
            tags.append("hide-cell")
    # The setup cell has IPython's %cd, which a plain lexer takes for an error.
    notebook["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return json.dumps(notebook)


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _copy_mathjax(target: Path) -> None:
    """Copy the MathJax that Jupyter packs, so that formulas need no network."""
    import jupyter_server_mathjax

    static = Path(jupyter_server_mathjax.__file__).parent / "static"
    target.mkdir(parents=True)
    for name in _MATHJAX:
        path = static / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target / name)
