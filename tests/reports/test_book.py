"""The book is built once, read as files, and opened in a browser from a server of its own."""

from __future__ import annotations

import functools
import http.server
import json
import posixpath
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from oarfuse.errors import OarfuseError
from oarfuse.paper.ledger import load_ledger
from reports.book import links, slides
from reports.book.lessons import times_table

ROOT = Path(__file__).parents[2]
LESSONS = sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE = 60_000  # ms


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make book` does it; a warning of Sphinx's fails here."""
    pytest.importorskip("myst_nb", reason="the book's packages are missing: pip install .[book]")
    site = tmp_path_factory.mktemp("build") / "book"
    made = subprocess.run(
        [sys.executable, "-m", "reports.book", "--output", str(site)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "WARNING" not in made.stderr
    return site


class _Page(HTMLParser):
    """What a page links to, what it loads by itself, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(found.get("href", ""))
        elif "src" in found:
            self.loads.append(found["src"])


@pytest.fixture(scope="module")
def pages(book: Path) -> dict[str, _Page]:
    """Every page of the site, read once, by its path in it."""
    return {
        path.relative_to(book).as_posix(): _Page(path)
        for path in sorted(book.rglob("*.html"))
        if "_static" not in path.parts and "reveal" not in path.parts
    }


def test_every_lesson_and_public_module_has_a_page(book: Path, pages: dict[str, _Page]) -> None:
    for lesson in LESSONS:
        assert f"notebooks/{lesson.stem}.html" in pages
        outputs = [
            output
            for cell in json.loads(lesson.read_text(encoding="utf-8"))["cells"]
            for output in cell.get("outputs", [])
        ]
        wanted = sum("image/png" in output.get("data", {}) for output in outputs)
        shown = pages[f"notebooks/{lesson.stem}.html"].loads
        assert sum("_images/" in source for source in shown) == wanted > 0
    expected = {
        f"api/{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}.html"
        for path in (ROOT / "oarfuse").rglob("*.py")
        if not path.name.startswith("_")
    }
    assert expected <= set(pages)
    # what a package imports only when it is used is found under its name in the package
    assert 'href="oarfuse.data.openkbp.prepare.html#' in (book / "api/oarfuse.data.html").read_text(
        encoding="utf-8"
    )


def test_no_solution_is_in_the_book(book: Path) -> None:
    solutions = sorted(ROOT.glob("notebooks/solutions/*.ipynb"))
    assert solutions
    everything = [path for path in book.rglob("*") if path.is_file()]
    assert not [path for path in everything if "solutions" in path.name]
    for path in everything:
        if path.suffix in {".html", ".ipynb", ".md", ".rst"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"href=[\"'][^\"']*solutions", text), path
            assert not re.search(r"\]\([^)]*solutions", text), path
    # nor has the answer of an exercise been copied anywhere
    for solution in solutions:
        answers = [
            "".join(cell["source"])
            for cell in json.loads(solution.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code" and "assert check_" in "".join(cell["source"])
        ]
        assert answers
        lesson = book / "_sources" / "notebooks" / solution.name.replace("_solutions", "")
        given = lesson.read_text(encoding="utf-8")
        assert not [answer for answer in answers if json.dumps(answer)[1:-1] in given]


def test_every_internal_link_leads_somewhere(book: Path, pages: dict[str, _Page]) -> None:
    broken = []
    for name, page in pages.items():
        for link in {*page.links, *page.loads}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not link:
                continue
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
            target = name if not parts.path else path
            anchor = unquote(parts.fragment)
            lost = bool(anchor) and target in pages and anchor not in pages[target].anchors
            if lost or not (book / target).is_file():
                broken.append(f"{name}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(book: Path, pages: dict[str, _Page]) -> None:
    loaded = {source for page in pages.values() for source in page.loads}
    assert loaded
    assert [source for source in loaded if re.match(r"(https?:)?//", source)] == []
    for sheet in book.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import[^;]*//|url\(\s*[\"']?(https?:)?//", text), sheet


def test_without_an_address_nothing_points_to_a_repository(pages: dict[str, _Page]) -> None:
    if links.repository():
        pytest.skip("pyproject.toml names the repository")
    outside = {link for page in pages.values() for link in page.links if "://" in link}
    assert not [link for link in outside if "colab" in link or "/blob/" in link]


def test_colab_links_come_from_the_address() -> None:
    name = "notebooks/05_qualitative.ipynb"
    link = links.colab_link(name, "https://github.com/somebody/oarfuse")
    assert link == f"{links.COLAB}/github/somebody/oarfuse/blob/main/{name}"
    assert links.colab_link(name, "https://example.org/oarfuse") is None


def test_links_are_rewritten_to_what_the_book_has() -> None:
    text = (
        "[a](../README.md#x) [b](solutions/s.ipynb) [`c`](../oarfuse/data/ct.py)\n"
        "[d](../oarfuse/resources/ledger.json) [e](../LICENSE) `[f](gone)` [g](https://e.org)\n"
    )
    page, book = "notebooks/n.ipynb", {"README.md"}
    assert links.rewrite(text, page, book, None) == (
        "[a](../README.md#x) b [`c`](../api/oarfuse.data.ct.rst)\n"
        "[d](../ledger.md) e `[f](gone)` [g](https://e.org)\n"
    )
    there = links.rewrite(text, page, book, "https://example.org/kit")
    assert "[e](https://example.org/kit/blob/main/LICENSE)" in there
    assert "solutions" not in there
    badges = "# T\n\n<!-- begin: badges -->\n![x](https://e.org)\n<!-- end: badges -->\n\nText"
    assert links.rewrite(badges, page, book, None) == "# T\n\nText"


def test_a_slide_that_names_no_cell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for entry, says in (("gone", "no cell 'gone'"), ("nb05-004#Gone", "no heading 'Gone'")):
        monkeypatch.setattr(
            slides,
            "decks",
            lambda entry=entry: {"05_qualitative": [{"title": "", "show": [entry]}]},
        )
        with pytest.raises(OarfuseError, match=says):
            slides.deck("05_qualitative")


def test_each_lesson_tells_its_time_and_has_exercises_and_slides() -> None:
    rows = times_table(LESSONS).splitlines()[2:]
    assert len(rows) == len(LESSONS) == len(slides.decks())
    for row in rows:
        assert int(row.split("|")[-2]) >= 4
        assert re.search(r"core", row)


# In a browser


@pytest.fixture(scope="module")
def address(book: Path) -> Iterator[str]:
    """The site on a local port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(book))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def tab(address: str) -> Iterator[Any]:
    """A tab that refuses whatever is not the site's own."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())
        yield page
        chromium.close()


def test_slider_of_the_slice_browser_changes_the_picture(tab: Any, address: str) -> None:
    tab.goto(f"{address}/notebooks/05_qualitative.html")
    browser = tab.locator(".oarfuse-slices").first
    frame = browser.locator("figure:not([hidden]) .frame")
    frame.scroll_into_view_if_needed()
    before, caption = frame.screenshot(), browser.locator("figure:not([hidden])").inner_text()
    slider = browser.locator("input[type=range]")
    slider.focus()
    slider.press("ArrowRight")
    assert frame.screenshot() != before
    assert browser.locator("figure:not([hidden])").inner_text() != caption
    slider.press("ArrowLeft")
    assert frame.screenshot() == before
    browser.locator("input[type=checkbox]").first.uncheck()
    assert frame.screenshot() != before


def test_search_finds_a_word(tab: Any, address: str) -> None:
    tab.goto(f"{address}/search.html?q=mandible")
    hits = tab.locator("ul.search li a")
    hits.first.wait_for()
    assert any("notebooks/" in (hit.get_attribute("href") or "") for hit in hits.all())


def test_ledger_filter_hides_entries(tab: Any, address: str) -> None:
    tab.goto(f"{address}/ledger.html")
    entries = load_ledger()
    rows = tab.locator("details.ledger-entry:visible")
    assert rows.count() == len(entries)
    tab.locator(".ledger-filter select[name=area]").select_option("data")
    assert rows.count() == sum(entry["area"] == "data" for entry in entries)
    assert not tab.get_by_role("heading", name="Training").is_visible()
    tab.locator(".ledger-filter select[name=area]").select_option("")
    tab.locator(".ledger-filter input[name=measured]").check()
    assert rows.count() == sum(entry["effect"]["score"] is not None for entry in entries)
    tab.locator(".ledger-filter input[name=text]").fill("no such words anywhere")
    assert rows.count() == 0


def test_formulas_are_set_without_the_network(tab: Any, address: str) -> None:
    for lesson in LESSONS:
        tab.goto(f"{address}/notebooks/{lesson.stem}.html")
        wanted = tab.locator(".math").count()
        assert wanted > 0 or "$" not in lesson.read_text(encoding="utf-8")
        if wanted:
            tab.wait_for_function(
                "window.MathJax && MathJax.isReady && MathJax.Hub.queue.pending == 0"
                " && document.querySelectorAll('.math .MathJax').length > 0"
            )
            assert tab.locator(".math .MathJax").count() == wanted, lesson.name
        assert tab.locator(".merror, .MathJax_Error").count() == 0, lesson.name


def test_slides_advance(tab: Any, address: str) -> None:
    tab.goto(f"{address}/slides/05_qualitative.html")
    title = tab.locator("section.present h1, section.present h2")
    assert "Qualitative" in title.inner_text()
    tab.keyboard.press("ArrowRight")
    tab.get_by_role("heading", name="What a picture can show").wait_for()
    assert "What a picture can show" in title.inner_text()
