"""Notebook 01: right answers pass, usual wrong ones get their hint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from oarfuse.course.checks import data

VOXEL = (64, 40, 100)
FLAT = (64 * 128 + 40) * 128 + 100
TABLE = pd.DataFrame(
    {
        "voxels_right_parotid": [136, 500, 2033, 1391, 900],
        "voxels_left_parotid": [298, 501, 2107, 950, 600],
    },
    index=["pt_1", "pt_2", "pt_128", "pt_224", "pt_209"],
)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


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


def read(rows: list[bytes]) -> np.ndarray:
    stored = np.zeros(128**3, bool)
    stored[[int(row.strip(b",")) for row in rows]] = True
    return stored.reshape(128, 128, 128)


def test_reader(capsys: pytest.CaptureFixture[str]) -> None:
    def right(data: bytes) -> np.ndarray:
        return read(data.splitlines()[1:]).transpose(2, 0, 1)[::-1]

    assert data.check_01_reader(right)
    assert data.check_01_reader(lambda given: right(given).astype(np.uint8))
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (lambda given: right(given)[::-1], "other way"),
        (lambda given: read(given.splitlines()[1:]), "S, P, L"),
        (lambda given: read(given.splitlines()[1:]).T, "C order"),
        (lambda given: right(given).ravel(), "(2097152,)"),
        (lambda given: right(b"\n".join(given.splitlines()[1:])), "header"),
        (lambda given: right(given)[:, ::-1], "each stored axis"),
        (lambda given: int(given), "ValueError"),
        (3, "TypeError"),
    ):
        assert not data.check_01_reader(wrong)
        assert hint in said(capsys)


def test_odd_contour(capsys: pytest.CaptureFixture[str]) -> None:
    assert data.check_01_odd("pt_1", TABLE)
    assert data.check_01_odd("PT_1 ", TABLE)
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        ("pt_2", "alike"),
        ("pt_128", "are large"),
        ("pt_224", "how many times"),
        ("pt_209", "one side"),
        ("pt_7", "Divide"),
        (1, "Divide"),
    ):
        assert not data.check_01_odd(wrong, TABLE)
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
