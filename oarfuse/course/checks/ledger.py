"""Checks for notebook 07: the paper's tables, the price of a switch, chance, and a ledger entry."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from oarfuse.course.checks.common import close, report, unanswered
from oarfuse.models import build_model
from oarfuse.models.cost import count_parameters
from oarfuse.paper.ledger import load_ledger, problems
from oarfuse.paper.printed import paper_table


def check_07_lowest_hd(answer: str | None) -> bool:
    """The method with the lowest mean HD in Table I."""
    if unanswered(answer):
        return False
    column = paper_table("I")["hd"]
    if answer == "OARFocalFuseNet":
        hint = "That is what the abstract suggests. Sort the column `hd` of Table I."
    elif answer in column.index:
        hint = "Lower is better for a distance: sort the column the other way round."
    else:
        hint = f"Give a name of the table: {', '.join(column.index)}."
    return report(answer == column.idxmin(), hint, "A claim is checked in the table, not above it.")


def check_07_exchange(answer: object) -> bool:
    """How many parameters the default network loses without the cross-scale exchange."""
    if unanswered(answer):
        return False
    with torch.device("meta"):
        full = build_model("oarfocalfusenet")
        alone = build_model("oarfocalfusenet", exchange=False)
    saved = count_parameters(full) - count_parameters(alone)
    resampling = sum(p.numel() for name, p in full.named_parameters() if ".resample." in name)
    if close(answer, resampling, 0):
        hint = "Those are the resampling convolutions. What else gets smaller when nothing arrives?"
    elif close(answer, -saved, 0):
        hint = "The size is right, the sign is not: count what is saved."
    elif close(answer, saved / 2, 0):
        hint = "That is one level. How many does the default have?"
    elif close(answer, count_parameters(alone), 0):
        hint = "That is the size of the network without exchange: subtract."
    else:
        hint = "Build both networks and subtract their `count_parameters`."
    return report(close(answer, saved, 0), hint, "Most of it is in the mixes, not in resampling.")


# Made-up losses of two seeds, for exercise 3.
MADE_UP = {"default": (1.40, 1.52), "A": (1.43, 1.56), "B": (1.71, 1.80), "C": (1.20, 1.60)}


def check_07_chance(answer: Collection[str] | None) -> bool:
    """Which of A, B and C differ from the default by more than chance, by the rule of thumb."""
    if unanswered(answer):
        return False
    given = set() if answer is None else set(answer)
    if "C" in given:
        hint = "Look at C seed by seed: is it better or worse than the default?"
    elif "A" in given:
        hint = "Both seeds of A are worse, but by more than what two seeds of one network differ?"
    else:
        hint = (
            "For each, take the differences seed by seed and hold them against the seeds' spread."
        )
    return report(given == {"B"}, hint, "Both seeds agree, and the effect exceeds their spread.")


def check_07_entry(entry: Mapping[str, Any] | None) -> bool:
    """A new ledger entry: in the form of the schema, new, and with evidence."""
    if unanswered(entry):
        return False
    assert entry is not None
    found = problems([entry])
    if found:
        return report(False, found[0])
    known = {old["point"].lower() for old in load_ledger()}
    if entry["point"].lower() in known:
        return report(False, "This point is in the ledger already: find one that is not.")
    vague = re.fullmatch(r"\W*(none|obvious|trust me|common sense|todo|tbd|\?+|-+)\W*",
                         entry["evidence"].strip(), re.IGNORECASE)  # fmt: skip
    if vague:
        return report(False, "Evidence is what a sceptic could look up: a test, a count, a source.")
    return report(True, "", "A decision with its reason, its alternatives and its evidence.")
