"""Notebook 01: right answers pass, usual wrong ones get their hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oarfuse.course.checks import data

VOXEL = (64, 40, 100)
FLAT = (64 * 128 + 40) * 128 + 100


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "extra"),
    [
        (data.check_01_flat_index, (VOXEL,)),
        (data.check_01_turned, (VOXEL,)),
        (data.check_01_volume, (500, (2.5, 4.0, 4.0))),
        (data.check_01_sides, ()),
        (data.check_01_ceiling, (560, 40)),
    ],
)
def test_no_answer_is_no_failure(
    check: Callable[..., bool], extra: tuple, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(None, *extra) is False
    assert said(capsys) == "not answered yet\n"


def test_flat_index(capsys: pytest.CaptureFixture[str]) -> None:
    numpy_flat: Any = np.int64(FLAT)
    assert data.check_01_flat_index(FLAT, VOXEL)
    assert data.check_01_flat_index(numpy_flat, VOXEL)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (64 + 128 * 40 + 128 * 128 * 100, "C order"),
        (FLAT + 1, "from 0"),
        (7, "equation (D1)"),
        ("many", "equation (D1)"),
    ):
        assert not data.check_01_flat_index(wrong, VOXEL)
        assert hint in said(capsys)


def test_turned(capsys: pytest.CaptureFixture[str]) -> None:
    row: Any = np.array([27, 64, 40])
    assert data.check_01_turned((27, 64, 40), VOXEL)
    assert data.check_01_turned(row, VOXEL)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        ((100, 64, 40), "other way"),
        ((28, 64, 40), "127"),
        (VOXEL, "S, P, L"),
        ((40, 64, 27), "each stored axis"),
        (27, "each stored axis"),
    ):
        assert not data.check_01_turned(wrong, VOXEL)
        assert hint in said(capsys)


def test_volume(capsys: pytest.CaptureFixture[str]) -> None:
    spacing = (2.5, 4.0, 4.0)
    assert data.check_01_volume(20.0, 500, spacing)
    assert data.check_01_volume(20.05, 500, spacing)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (20000.0, "mm³"),
        (500, "counted voxels"),
        (0.5, "counted voxels"),
        (8.0, "three sides"),
        (5.0, "three sides"),
        (3.0, "a box"),
    ):
        assert not data.check_01_volume(wrong, 500, spacing)
        assert hint in said(capsys)


def test_sides(capsys: pytest.CaptureFixture[str]) -> None:
    def places(label: np.ndarray) -> list[float]:
        return [float(np.argwhere(label == value)[:, 2].mean()) for value in (3, 4)]

    def right(label: np.ndarray) -> bool:
        first, second = places(label)
        return first < second

    assert data.check_01_sides(right)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (lambda label: not right(label), "smaller index"),
        (lambda label: places(label)[0] < 20 < places(label)[1], "in the middle"),
        (lambda label: True, "swapped"),
        (lambda label: False, "mean position"),
        (lambda label: label.no_such_thing, "AttributeError"),
        (3, "TypeError"),
    ):
        assert not data.check_01_sides(wrong)
        assert hint in said(capsys)


def test_ceiling(capsys: pytest.CaptureFixture[str]) -> None:
    assert data.check_01_ceiling(2 * 520 / 1080, 560, 40)
    assert data.check_01_ceiling(0.963, 560, 40)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in ((520 / 560, "recall"), (520 / 1080, "factor 2"), (0.5, "How large")):
        assert not data.check_01_ceiling(wrong, 560, 40)
        assert hint in said(capsys)
