"""The ledger's cards: ten decisive points, each an entry of the ledger with its own numbers."""

from __future__ import annotations

import re

from oarfuse.paper.cards import decisive_points, folded_ledger, ledger_cards
from oarfuse.paper.ledger import load_ledger


def test_ten_points_of_the_ledger_have_a_card() -> None:
    points = decisive_points()
    assert len(points) == len(set(points)) == 10
    assert set(points) <= {entry["point"] for entry in load_ledger()}


def test_a_card_says_what_is_printed_chosen_why_and_what_it_moves() -> None:
    page = ledger_cards().data
    cards = page.split('<div style="border')[1:]
    assert len(cards) == 10
    for card in cards:
        fields = re.findall(r"<dt><strong>(.*?)</strong>", card)
        assert fields == ["The paper prints", "We chose", "Why", "What it moves"]
        assert "<dd></dd>" not in card
    assert "<q>For N focal levels" in cards[0]
    entry = next(e for e in load_ledger() if e["point"] == "Number of focal levels N")
    for row in entry["effect"]["score"]["rows"]:
        assert f"<td>{row['dsc']:.4f}</td>" in cards[0]
    assert "Other choices:" in cards[0] and "<q>Nothing" not in page


def test_measured_numbers_stand_on_cards_alone() -> None:
    """A number typed into a card's text would grow old: measurements come from the entry."""
    from oarfuse.paper.cards import _texts

    for text in _texts():
        assert not re.search(r"\d\.\d{2,}", text["why"] + text["moves"])


def test_the_rest_is_folded_and_nothing_is_lost() -> None:
    entries = load_ledger()
    page = folded_ledger(entries).data
    assert page.count("<details>") == page.count("</details>") == len(entries)
    assert page.count("<dt>") == 6 * len(entries)
    assert "<details open" not in page
