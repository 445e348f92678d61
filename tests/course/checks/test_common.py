"""The helpers that all exercise checks share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest

from oarfuse.course import checks
from oarfuse.course.checks.common import close, report, unanswered

CHECKS = [
    check
    for module in iter_modules(checks.__path__, f"{checks.__name__}.")
    for name, check in vars(import_module(module.name)).items()
    if name.startswith("check_")
]


def test_every_notebook_has_checks() -> None:
    assert {check.__name__[6:8] for check in CHECKS} == {f"{number:02}" for number in range(8)}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_open_exercise_is_no_failure(
    check: Callable[..., bool], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*[None] * len(inspect.signature(check).parameters)) is False
    assert capsys.readouterr().out == "not answered yet\n"


def test_unanswered_speaks_only_for_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert unanswered(None)
    assert unanswered(3, None)
    assert capsys.readouterr().out == "not answered yet\n" * 2
    assert not unanswered(0, "", np.zeros(3))
    assert capsys.readouterr().out == ""


def test_report_prints_one_line_and_returns_a_plain_bool(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(np.bool_(True), "look again", "Remember this.") is True
    assert report(True, "look again") is True
    assert report(False, "look again", "Remember this.") is False
    assert capsys.readouterr().out.splitlines() == [
        "Correct. Remember this.",
        "Correct.",
        "Not yet. look again",
    ]


@pytest.mark.parametrize("wrong", ["three", float("nan"), float("inf"), [1, 2], 3.2, None])
def test_close_is_false_for_what_is_no_number_or_too_far(wrong: Any) -> None:
    assert not close(wrong, 3.0, 0.1)


def test_close_takes_any_kind_of_number() -> None:
    assert close(3, 3.0, 0.0)
    assert close(np.float32(3.05), 3.0, 0.1)
    assert close(np.array([2.95])[0], 3.0, 0.1)
