"""Notebook 05: right answers pass, usual wrong ones get their hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oarfuse.course.checks import qualitative as checks

SCORES = {"pt_1": 0.80, "pt_2": 0.83, "pt_3": 0.30, "pt_4": 0.70, "pt_5": 0.82}
EVEN = {"pt_1": 0.80, "pt_2": 0.90, "pt_3": 0.10, "pt_4": 0.70}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def maps() -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4, 4), np.uint8)
    truth[1:4, :2] = prediction[1:4, :2] = 2
    prediction[2, 0, :] = 0
    prediction[3] = 0
    return truth, prediction


@pytest.mark.parametrize(
    ("check", "extra"),
    [
        (checks.check_05_which_side, ()),
        (checks.check_05_error_counts, (500, 60, 40)),
        (checks.check_05_median, (SCORES,)),
        (checks.check_05_worst_slice, (*maps(), 2)),
        (checks.check_05_two_slices, ()),
    ],
)
def test_no_answer_is_no_failure(
    check: Callable[..., bool], extra: tuple, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(None, *extra) is False
    assert said(capsys) == "not answered yet\n"


def test_which_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.check_05_which_side(" Right ")
    wrong: Any
    for wrong, hint in (("left", "letters"), ("up", "'left' or 'right'")):
        assert not checks.check_05_which_side(wrong)
        assert hint in said(capsys)


def test_error_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.check_05_error_counts(2 * 440 / (500 + 480), 500, 60, 40)
    assert checks.check_05_error_counts(0.898, 500, 60, 40)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (0.88, "recall"),
        (440 / 540, "Jaccard"),
        (0.80, "share of errors"),
        (0.5, "minus missed"),
    ):
        assert not checks.check_05_error_counts(wrong, 500, 60, 40)
        assert hint in said(capsys)


def test_median(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.check_05_median("pt_1", SCORES)
    assert checks.check_05_median("pt_4", EVEN)
    capsys.readouterr()
    for wrong, scores, hint in (
        ("pt_4", SCORES, "nearest to the mean"),
        ("pt_2", SCORES, "in the middle"),
        ("pt_9", SCORES, "name of a case"),
        ("pt_1", EVEN, "lower one"),
    ):
        assert not checks.check_05_median(wrong, scores)
        assert hint in said(capsys)


def test_worst_slice(capsys: pytest.CaptureFixture[str]) -> None:
    truth, prediction = maps()
    numpy_index: Any = np.int64(3)
    assert checks.check_05_worst_slice(3, truth, prediction, 2)
    assert checks.check_05_worst_slice(numpy_index, truth, prediction, 2)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (0, "nan"),
        (1, "kindest"),
        (2, "better than another"),
        (7, "from 0 to 4"),
        ("three", "from 0 to 4"),
    ):
        assert not checks.check_05_worst_slice(wrong, truth, prediction, 2)
        assert hint in said(capsys)


def test_two_slices(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.check_05_two_slices(2 * 90 / (100 + 100))
    capsys.readouterr()
    wrong: Any
    for wrong, hint in ((0.5, "mean of the two"), (90 / 110, "union"), (0.7, "both slices")):
        assert not checks.check_05_two_slices(wrong)
        assert hint in said(capsys)
