"""The ledger for readers: ten decisive entries as cards, all others folded.

The cards' texts are in ``oarfuse/resources/ledger_cards.json``: what the paper prints at that
place, in its own words, and why we chose what the ledger's entry of the same point says. Numbers
on a card are the entry's own measurements.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from oarfuse.extras import require
from oarfuse.paper.ledger import LEDGER, MEASURED, Entry, ledger_frame, load_ledger

if TYPE_CHECKING:
    from IPython.display import HTML

COLUMNS = ("where", "why_open", "default", "options", "effect", "evidence")
_NUMBERS = {"seconds": "s a step"} | MEASURED


@cache
def _texts() -> tuple[dict[str, str], ...]:
    path = LEDGER.with_name("ledger_cards.json")
    return tuple(json.loads(path.read_text(encoding="utf-8")))


def decisive_points() -> list[str]:
    """Return the points of the ledger that have a card, in the cards' order."""
    return [text["point"] for text in _texts()]


def ledger_cards() -> HTML:
    """Return the decisive entries as cards: printed, our choice, why, and what it moves."""
    entries = {entry["point"]: entry for entry in load_ledger()}
    cards = [_card(number, text, entries[text["point"]]) for number, text in enumerate(_texts(), 1)]
    return _html(cards)


def folded_ledger(entries: Sequence[Entry]) -> HTML:
    """Return entries as one folded line each; opened, it shows every field of `ledger_frame`."""
    rows = []
    for row in ledger_frame(entries).to_dict("records"):
        fields = "".join(
            f"<dt><em>{name.replace('_', ' ').capitalize()}</em></dt>"
            f"<dd>{html.escape(str(row[name]))}</dd>"
            for name in COLUMNS
        )
        rows.append(
            f"<details><summary><strong>{html.escape(row['point'])}</strong>: "
            f"{html.escape(row['default'])}</summary><dl>{fields}</dl></details>"
        )
    return _html(rows)


def _html(parts: Sequence[str]) -> HTML:
    require("The ledger as a page", "notebooks", "IPython")
    from IPython.display import HTML

    return HTML("\n".join(parts))


def _card(number: int, text: Mapping[str, str], entry: Entry) -> str:
    printed = html.escape(text["printed"])
    if not printed.startswith("Nothing"):
        printed = f"<q>{printed}</q>"
    chosen = f"{html.escape(entry['default'])}. <em>Other choices:</em> " + html.escape(
        "; ".join(entry["options"])
    )
    moves = html.escape(text["moves"]) + _measured(entry["effect"])
    fields = {"The paper prints": printed, "We chose": chosen, "Why": html.escape(text["why"]),
              "What it moves": moves}  # fmt: skip
    parts = "".join(
        f"<dt><strong>{name}</strong></dt><dd>{said}</dd>" for name, said in fields.items()
    )
    point, where = html.escape(entry["point"]), html.escape(entry["where"])
    return (
        '<div style="border:1px solid #8A8A8A;border-radius:8px;padding:4px 16px;margin:10px 0">'
        f"<h4>{number}. {point} <small>({where})</small></h4><dl>{parts}</dl></div>"
    )


def _measured(effect: Mapping[str, Any]) -> str:
    """Return an entry's scores and seconds as a small table with its source, or nothing."""
    if not effect["score"]:
        return ""
    frame = pd.DataFrame(effect["score"]["rows"]).set_index("value")
    if effect["speed"]:
        frame = frame.join(pd.DataFrame(effect["speed"]["rows"]).set_index("value"))
    frame = frame.rename(columns=_NUMBERS).rename_axis(None)
    frame.index = [str(value) for value in frame.index]
    table = frame.to_html(border=0, justify="right")
    return f"{table}<small>{html.escape(effect['score']['how'])}</small>"
