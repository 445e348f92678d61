"""The names of a data set's parts, and the order of its patients."""

from __future__ import annotations

import re

SPLITS = ("train", "validation", "test")
PHANTOM_MARKER = "phantom.json"


def natural_key(case: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts pt_2 before pt_10."""
    words = re.findall(r"\d+|\D+", case)
    return [(word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words]


def split_order(split: str, case: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """Sort key that puts the patients of a split together, in natural order."""
    return SPLITS.index(split), natural_key(case)
