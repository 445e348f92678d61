"""Checks for notebook 07: the paper's tables, the price of a switch, chance, and a ledger entry."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from oarfuse.course.checks.common import exercise, number_hint
from oarfuse.models import build_model
from oarfuse.models.cost import count_parameters
from oarfuse.paper.ledger import load_ledger, problems
from oarfuse.paper.printed import paper_table


@exercise("A claim is checked in the table, not above it.")
def check_07_lowest_hd(answer: str | None) -> str:
    """The method with the lowest mean HD in Table I."""
    column = paper_table("I")["hd"]
    if answer == column.idxmin():
        return ""
    if answer == "OARFocalFuseNet":
        return "That is what the abstract suggests. Sort the column `hd` of Table I."
    if answer in column.index:
        return "Lower is better for a distance: sort the column the other way round."
    return f"Give a name of the table: {', '.join(column.index)}."


@exercise("Most of it is in the mixes, not in resampling.")
def check_07_exchange(answer: object) -> str:
    """How many parameters the default network loses without the cross-scale exchange."""
    with torch.device("meta"):
        full = build_model("oarfocalfusenet")
        alone = build_model("oarfocalfusenet", exchange=False)
    saved = count_parameters(full) - count_parameters(alone)
    resampling = sum(p.numel() for name, p in full.named_parameters() if ".resample." in name)
    resampled = (
        "Those are the resampling convolutions. What else gets smaller when nothing arrives?"
    )
    hints = {
        resampling: resampled,
        -saved: "The size is right, the sign is not: count what is saved.",
        saved / 2: "That is one level. How many does the default have?",
        count_parameters(alone): "That is the size of the network without exchange: subtract.",
        None: "Build both networks and subtract their `count_parameters`.",
    }
    return number_hint(answer, saved, 0, hints)


# Made-up losses of two seeds, for exercise 3.
MADE_UP = {"default": (1.40, 1.52), "A": (1.43, 1.56), "B": (1.71, 1.80), "C": (1.20, 1.60)}


@exercise("Both seeds agree, and the effect exceeds their spread.")
def check_07_chance(answer: Collection[str] | None) -> str:
    """Which of A, B and C differ from the default by more than chance, by the rule of thumb."""
    given = set() if answer is None else set(answer)
    if given == {"B"}:
        return ""
    if "C" in given:
        return "Look at C seed by seed: is it better or worse than the default?"
    if "A" in given:
        return "Both seeds of A are worse, but by more than what two seeds of one network differ?"
    return "For each, take the differences seed by seed and hold them against the seeds' spread."


@exercise("A decision with its reason, its alternatives and its evidence.")
def check_07_entry(entry: Mapping[str, Any] | None) -> str:
    """A new ledger entry: in the form of the schema, new, and with evidence."""
    assert entry is not None
    found = problems([entry])
    if found:
        return found[0]
    known = {old["point"].lower() for old in load_ledger()}
    if entry["point"].lower() in known:
        return "This point is in the ledger already: find one that is not."
    vague = re.fullmatch(r"\W*(none|obvious|trust me|common sense|todo|tbd|\?+|-+)\W*",
                         entry["evidence"].strip(), re.IGNORECASE)  # fmt: skip
    if vague:
        return "Evidence is what a sceptic could look up: a test, a count, a source."
    return ""
