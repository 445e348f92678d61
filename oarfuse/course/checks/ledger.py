"""Checks for notebook 07: the paper's tables, the price of a switch, chance, and a ledger entry."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from oarfuse.course.checks.common import close, exercise, number_hint
from oarfuse.models import build_model
from oarfuse.models.cost import count_parameters
from oarfuse.organs import OPENKBP
from oarfuse.paper.ledger import load_ledger, problems
from oarfuse.paper.printed import paper_table


@exercise("The best mean is not the best everywhere.")
def check_07_not_highest(answer: Collection[str]) -> str:
    """The organs of Table I in which OARFocalFuseNet does not have the highest DSC."""
    table = paper_table("I")
    organs = [organ.name for organ in OPENKBP.organs]
    right = {name for name in organs if table[name].idxmax() != "OARFocalFuseNet"}
    if isinstance(answer, (int, str)):
        return "Give a list of the organs' names, as the table's columns write them."
    given = set(answer)
    if given == right:
        return ""
    if given - set(organs):
        return f"Give names of organs alone, of these: {', '.join(organs)}."
    if given == set(organs) - right:
        return "Those are the organs in which it *is* the best: give the others."
    if given < right:
        return "There is another one: look for each organ's best method, column by column."
    return "In one of these it has the highest DSC: compare with all rows, not with one rival."


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
    """Which of A, B and C differ from the default by more than the spread, by the rule of thumb."""
    given = set() if answer is None else set(answer)
    if given == {"B"}:
        return ""
    if "C" in given:
        return "Look at C seed by seed: is it better or worse than the default?"
    if "A" in given:
        return "Both seeds of A are worse, but by more than what two seeds of one network differ?"
    return "For each, take the differences seed by seed and hold them against the seeds' spread."


# The usual slips, as NumPy gives them for two seeds; with many trials they lie within 2 %.
FACTORS = {
    1.0: "That is the rule as it stands, or three seeds. With two it flags far too many.",
    7.36: "You took the default's spread alone. The rule takes the larger one of the two.",
    3.51: "That leaves 2.5 %. The rule looks at the size of the difference, on both sides at once.",
    12.71: "That is Student's t. Simulate this rule: its yardstick is a range, no standard error.",
}


@exercise("Two seeds can keep an error rate too. It is dear, and now you know the price.")
def check_07_factor(answer: float) -> str:
    """How many times the spread flags 5 % of switches that do nothing, with two seeds."""
    if close(answer, 2.43, 0.06):
        return ""
    for wrong, hint in FACTORS.items():
        if close(answer, wrong, 0.025 * wrong):
            return hint
    return "Draw default and switch from one distribution, and take the 95 % quantile of the ratio."


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
