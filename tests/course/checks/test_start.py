"""Notebook 00: right answers pass, usual wrong ones get their hint."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from oarfuse import build_model
from oarfuse.course.checks import start


def test_voxels(capsys: pytest.CaptureFixture[str]) -> None:
    label = np.repeat(np.arange(6, dtype=np.uint8), [50, 1, 2, 3, 4, 5])
    assert start.check_00_voxels(4, label, "left_parotid")
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (3, "background"),
        (16, "once"),
        (15, "together"),
        (7, "label value"),
        ("many", "label value"),
    ):
        assert not start.check_00_voxels(wrong, label, "left_parotid")
        assert hint in capsys.readouterr().out


def test_second_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    scores = pd.DataFrame({"dsc": [0.6, 0.8], "hd_vox": [3.0, 5.0]})
    asked: list[tuple[str, str]] = []

    def predict(image: str, weights: str) -> nib.Nifti1Image:
        asked.append((image, weights))
        return labels

    monkeypatch.setattr(start, "predict", predict)
    monkeypatch.setattr(start, "score", lambda *given: scores)

    def check(answer: Any) -> bool:
        return start.check_00_second(answer, "ct.nii.gz", "truth.nii.gz", "msf3d-openkbp", 0.5)

    assert not check(None) and asked == []  # who has not answered does not wait
    assert check(0.7) and asked == [("ct.nii.gz", "msf3d-openkbp")]
    assert check(np.float64(0.7004))
    capsys.readouterr()
    wrong: Any
    for wrong, hint in (
        (0.5, "first network"),
        (70, "per cent"),
        (4.0, "distance"),
        (0.1, "msf3d-openkbp"),
        ("good", "msf3d-openkbp"),
    ):
        assert not check(wrong)
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
