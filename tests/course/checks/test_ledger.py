"""Notebook 07's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

from typing import Any

import pytest

from oarfuse.course.checks import ledger as checks
from oarfuse.paper.ledger import load_ledger


def entry(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "point": "Epsilon of the Dice loss",
        "area": "training",
        "method": ["all"],
        "where": "Section III-A",
        "why_open": "Not stated.",
        "default": "1e-5",
        "options": ["none"],
        "switch": None,
        "effect": {
            "note": "Steadies the loss where a class is absent.",
            "size": None,
            "speed": None,
            "score": None,
            "unmeasured": "Not measured.",
        },
        "evidence": "MONAI's default, in its source.",
    }
    return base | changes


# By hand, for one level: resampling 28 C_b downwards and 9 C_b upwards, 9,824 in all, and the mix's
# columns of the other streams, sum of C_a (240 - C_a) = 35,840. Two levels: 91,328.
@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (checks.check_07_not_highest, ["spinal_cord", "brainstem"]),
        (checks.check_07_factor, 2.43),
        (checks.check_07_exchange, 91_328),
        (checks.check_07_chance, ["B"]),
        (checks.check_07_entry, entry()),
    ],
)
def test_the_right_answer_passes(check: Any, answer: Any, capsys: Any) -> None:
    assert check(answer) is True
    assert capsys.readouterr().out.startswith("Correct.")


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (checks.check_07_not_highest, 2, "a list of the organs"),
        (checks.check_07_not_highest, ["mean"], "organs alone"),
        (checks.check_07_not_highest, ["right_parotid", "left_parotid", "mandible"], "*is*"),
        (checks.check_07_not_highest, ["spinal_cord"], "another one"),
        (checks.check_07_not_highest, ["spinal_cord", "brainstem", "mandible"], "all rows"),
        (checks.check_07_factor, 1, "rule as it stands"),
        (checks.check_07_factor, 7.4, "default's spread alone"),
        (checks.check_07_factor, 3.5, "2.5 %"),
        (checks.check_07_factor, 12.7, "Student's t"),
        (checks.check_07_factor, "large", "quantile"),
        (checks.check_07_exchange, 19_648, "resampling convolutions"),
        (checks.check_07_exchange, 45_664, "one level"),
        (checks.check_07_exchange, -91_328, "sign"),
        (checks.check_07_exchange, "few", "Build both"),
        (checks.check_07_chance, ["A", "B"], "two seeds of one network"),
        (checks.check_07_chance, ["B", "C"], "seed by seed"),
        (checks.check_07_chance, [], "the seeds' spread"),
        (checks.check_07_entry, entry(options="none"), "is not of type 'array'"),
        (checks.check_07_entry, entry(evidence="obvious"), "sceptic"),
        (checks.check_07_entry, entry(method=["u-net"]), "no model"),
    ],
)
def test_the_usual_wrong_answer_gets_its_hint(
    check: Any, answer: Any, hint: str, capsys: Any
) -> None:
    assert check(answer) is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet.")
    assert hint in said


def test_a_known_point_is_not_new(capsys: Any) -> None:
    assert checks.check_07_entry(load_ledger()[0]) is False
    assert "already" in capsys.readouterr().out
