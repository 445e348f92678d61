"""The rooms: no import goes up, none goes round, and the checks that say so can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.architecture import (
    ROOMS,
    cycle,
    draw,
    import_graph,
    room_of,
    rooms_graph,
    upward_imports,
)

GRAPH = import_graph()


def test_no_module_imports_itself_through_others() -> None:
    assert cycle(GRAPH) == []


def test_no_room_imports_from_a_higher_one() -> None:
    assert upward_imports(GRAPH) == []


def test_every_module_has_a_room() -> None:
    assert {room_of(module) for module in GRAPH} == set(ROOMS)


def test_the_focal_fuse_block_needs_little() -> None:
    """Who lifts the block takes few files along."""
    needed = {"oarfuse.models.focal_fuse"}
    while more := {t for m in needed for t in GRAPH[m]} - needed:
        needed |= more
    assert all(room_of(module) in ("models", "base") for module in needed)


def test_a_ring_and_an_upward_import_are_found(tmp_path: Path) -> None:
    package = tmp_path / "oarfuse"
    (package / "models").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "errors.py": "def late():\n    from oarfuse.models import block\n",
        "models/__init__.py": "",
        "models/block.py": "import oarfuse.errors\nfrom oarfuse.models.layers import L\n",
        "models/layers.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import oarfuse.models.block\n"
        ),
    }.items():
        (package / name).write_text(text, encoding="utf-8")
    graph = import_graph(package)
    assert graph["oarfuse.models.layers"] == set()
    assert upward_imports(graph) == ["oarfuse.errors -> oarfuse.models.block"]
    assert cycle(graph) == ["oarfuse.errors", "oarfuse.models.block", "oarfuse.errors"]
    with pytest.raises(KeyError, match=r"oarfuse\.attic stands in 0 rooms"):
        room_of("oarfuse.attic")


def test_an_arrow_stands_only_for_what_no_other_arrow_tells() -> None:
    graph = {
        "oarfuse.data": {"oarfuse.errors"},
        "oarfuse.phantom": {"oarfuse.data", "oarfuse.errors"},
    }
    needs = rooms_graph(graph)
    assert needs["phantom"] == {"data"}
    assert needs["data"] == {"base"}


def test_the_picture_names_every_room() -> None:
    said = " ".join(text.get_text() for text in draw(GRAPH).axes[0].texts)
    assert all(room in said for room in ROOMS)
