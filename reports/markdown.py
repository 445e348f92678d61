"""Tables in Markdown, and how their figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def table(heads: Sequence[object], rows: Iterable[Iterable[object]], align: str = "l") -> str:
    """Return a table of the cells' texts.

    `align` has ``l`` (left) or ``r`` (right) for the first columns; the others hold figures.
    """
    rule = "".join("---|" if side == "l" else "---:|" for side in align.ljust(len(heads), "r"))
    return "\n".join([_row(heads), f"|{rule}", *map(_row, rows)])


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def dsc_hd_asd(mean: Mapping[str, float]) -> list[str]:
    """Return DSC, and HD and ASD in voxels, of one row of `summary.json`'s means."""
    return [f"{mean['dsc']:.4f}", f"{mean['hd_vox']:.2f}", f"{mean['asd_vox']:.3f}"]
