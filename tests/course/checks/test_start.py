"""Notebook 00: right answers pass, usual wrong ones get their hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oarfuse import build_model
from oarfuse.course.checks import start


@pytest.mark.parametrize(
    ("check", "extra"),
    [
        (start.check_00_label, (3,)),
        (start.check_00_split, ()),
        (start.check_00_parameters, ("msf3d",)),
    ],
)
def test_no_answer_is_no_failure(
    check: Callable[..., bool], extra: tuple, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(None, *extra) is False
    assert capsys.readouterr().out == "not answered yet\n"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("spinal_cord", "background"), ("parotid", "side"), ("liver", "spec.classes")],
)
def test_label(wrong: Any, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.check_00_label("Right parotid", 3)
    assert start.check_00_label("right_parotid", 3)
    assert not start.check_00_label(wrong, 3)
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"), [("test", "once"), ("train", "by heart"), ("all", "one of")]
)
def test_split(wrong: Any, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.check_00_split("Validation")
    assert not start.check_00_split(wrong)
    assert hint in capsys.readouterr().out


def test_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    right = sum(parameter.numel() for parameter in build_model("msf3d").parameters())
    assert start.check_00_parameters(right, "msf3d")
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (right / 1e6, "millions"),
        (right / 1e3, "thousands"),
        (7, "numel"),
        ("x", "numel"),
    ):
        assert not start.check_00_parameters(wrong, "msf3d")
        assert hint in capsys.readouterr().out
