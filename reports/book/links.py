"""Links of the repository's pages, as the book needs them.

A page keeps its place in the tree, so most links hold as they are. A module becomes its page of the
API, and a file that is not in the book becomes a link into the repository, or its bare text as long
as nobody has said where the repository lives.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from reports.results import ROOT

COLAB = "https://colab.research.google.com"
_INSTEAD = {
    "CITATION.cff": "papers.md",
    "oarfuse/resources/ledger.json": "ledger.md",
    "weights": "weights.md",
}
PICTURES = {".png", ".jpg", ".svg"}
# Code is left alone: fenced blocks first, then what stands between backticks.
_CODE = re.compile(r"(```.*?```|~~~.*?~~~|`[^`\n]*`)", re.DOTALL)
# In a table or in the text of a link a code span may stand for the whole text.
_LINK = re.compile(r"(!?)\[((?:[^\[\]\n]|\n(?!\n))*)\]\(([^)\s]+)\)")
_BADGES = re.compile(r"<!-- begin: badges -->.*?<!-- end: badges -->\n*", re.DOTALL)
_MARKED = re.compile(r"\x00(\d+)\x00")


def repository() -> str | None:
    """Return the repository's address, ``[project.urls] Repository`` in pyproject.toml, or None.

    Colab's links, badges and buttons to the source are made from it; without it there are none.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository")
    return address.rstrip("/") if address else None


def colab_link(notebook: str, address: str) -> str | None:
    """Return where Colab opens a notebook of a repository on GitHub; None for one elsewhere."""
    match = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", address)
    return f"{COLAB}/github/{match[1]}/blob/main/{notebook}" if match else None


def rewrite(text: str, page: str, book: Collection[str], address: str | None) -> str:
    """Return a page's Markdown with links that hold in the book.

    Parameters
    ----------
    text
        The page as it is in the repository.
    page
        Its path there.
    book
        Paths of all pages that the book takes from the repository.
    address
        The repository's, see `repository`.
    """
    text = _BADGES.sub("", text)  # their pictures lie elsewhere
    # Code spans are set aside, not cut out: a link's text may hold one.
    spans: list[str] = []

    def set_aside(match: re.Match[str]) -> str:
        spans.append(match[0])
        return f"\x00{len(spans) - 1}\x00"

    def put_back(match: re.Match[str]) -> str:
        return spans[int(match[1])]

    replaced = _LINK.sub(_replacer(page, book, address), _CODE.sub(set_aside, text))
    return _MARKED.sub(put_back, replaced)


def _replacer(
    page: str, book: Collection[str], address: str | None
) -> Callable[[re.Match[str]], str]:
    here = posixpath.dirname(page)

    def replace(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        if re.match(r"[a-z]+:|#", target):  # elsewhere, or on this page
            return match[0]
        name, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(here, name))
        if picture or path in book:
            return match[0]
        inside = _page_instead_of(path)
        if inside:
            return f"[{label}]({posixpath.relpath(inside, here or '.')})"
        # Solutions are for those who have the kit; the book never leads to them.
        if address and "solutions" not in PurePosixPath(path).parts:
            return f"[{label}]({address}/blob/main/{path}{f'#{anchor}' if anchor else ''})"
        return label

    return replace


def _page_instead_of(path: str) -> str | None:
    """Return the page of the book that says what a file of the repository says."""
    file = PurePosixPath(path)
    if path in _INSTEAD:
        return _INSTEAD[path]
    if file.suffix == ".py" and file.parts[0] == "oarfuse":
        parts = file.with_suffix("").parts
        return f"api/{'.'.join(parts[:-1] if file.name == '__init__.py' else parts)}.rst"
    return None


def pictures(text: str, page: str) -> set[str]:
    """Return the paths of the pictures that a page of the repository shows."""
    here = posixpath.dirname(page)
    plain = _CODE.sub("", text)
    found = {match[3] for match in _LINK.finditer(plain)}
    return {
        posixpath.normpath(posixpath.join(here, target))
        for target in found
        if PurePosixPath(target).suffix in PICTURES and not re.match(r"[a-z]+:", target)
    }
