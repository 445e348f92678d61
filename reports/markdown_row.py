"""One row of a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable


def row(cells: Iterable[object]) -> str:
    """Return ``| a | b |`` for the cells' texts."""
    return "| " + " | ".join(map(str, cells)) + " |"
