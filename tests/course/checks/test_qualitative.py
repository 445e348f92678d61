"""Notebook 05: right answers pass, usual wrong ones get their hint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from oarfuse.course.checks import qualitative as checks


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def maps() -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4, 4), np.uint8)
    truth[1:4, :2] = prediction[1:4, :2] = 2
    prediction[2, 0, :] = 0
    prediction[3] = 0
    return truth, prediction


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
    def nearest(scores: Mapping[str, float]) -> str:
        mean = float(np.mean(list(scores.values())))
        return min(scores, key=lambda case: abs(scores[case] - mean))

    def at(place: Callable[[int], int]) -> Callable[[Mapping[str, float]], str]:
        return lambda scores: sorted(scores, key=lambda case: scores[case])[place(len(scores))]

    assert checks.check_05_median(at(lambda n: (n - 1) // 2))
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        ("pt_1", "function itself"),
        (nearest, "nearest to the mean"),
        (at(lambda n: n // 2), "lower one"),
        (at(lambda n: -1), "in the middle"),
        (lambda scores: list(scores)[(len(scores) - 1) // 2], "as it was written"),
        (lambda scores: float(np.median(list(scores.values()))), "name of a case"),
    ):
        assert not checks.check_05_median(wrong)
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


def test_two_faces(capsys: pytest.CaptureFixture[str]) -> None:
    truth = np.zeros((9, 10, 10), np.uint8)
    truth[1:5] = 2  # 400 voxels
    truth[5:8, 0, :2] = 2  # and three slices of two each
    forged = truth.copy()
    forged[5:8] = 0
    assert checks.check_05_two_faces(forged, truth, 2)
    capsys.readouterr()
    stray = truth.copy()
    stray[[0, 8], 0, 0] = 2
    large, two = truth.copy(), truth.copy()
    large[1:4] = 0
    two[5:7] = 0
    wrong: Any
    for wrong, hint in (
        (truth, "0 of the truth's slices"),
        (two, "2 of the truth's slices"),
        (large, "fewer voxels"),
        (truth * 0, "DSC is 0.000"),
        (0.95, "truth's grid"),
    ):
        assert not checks.check_05_two_faces(wrong, truth, 2)
        assert hint in said(capsys)
    assert not checks.check_05_two_faces(stray, truth, 2, slices=2)
    assert "no such organ" in said(capsys)
