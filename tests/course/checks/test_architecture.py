"""Notebook 02's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from oarfuse.course.checks import architecture as checks


def right_modulator(levels: Any, context: Any, gates: Any) -> Any:
    return sum(m * gates[:, i : i + 1] for i, m in enumerate([*levels, context]))


def right_fold(up: Any, mix: Any) -> Any:
    return torch.einsum("bzyx,ab->bazyx", up[:, 0], mix[:, :, 0, 0, 0])


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (checks.check_02_reach, 9),
        (checks.check_02_dense_inputs, 304),
        (checks.check_02_modulator, right_modulator),
        (checks.check_02_commutes, ["trilinear interpolation", "average pooling"]),
        (checks.check_02_fold, right_fold),
    ],
)
def test_the_right_answer_passes(check: Any, answer: Any, capsys: Any) -> None:
    assert check(answer) is True
    assert capsys.readouterr().out.startswith("Correct.")
    assert check(None) is False
    assert capsys.readouterr().out == "not answered yet\n"


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (checks.check_02_reach, 13, "three voxels a level"),
        (checks.check_02_reach, 12, "three voxels a level"),
        (checks.check_02_reach, 8, "in the middle"),
        (checks.check_02_reach, "many", "on each side"),
        (checks.check_02_dense_inputs, 240, "its own maps"),
        (checks.check_02_dense_inputs, 720, "newest map"),
        (checks.check_02_dense_inputs, 3, "Eq. 7"),
        (checks.check_02_modulator, lambda f, c, g: right_modulator(f, 0 * c, g), "missing"),
        (checks.check_02_modulator, lambda f, c, g: right_modulator(f, c, g * g), "twice"),
        (checks.check_02_modulator, lambda f, c, g: sum(f) + c, "Where are the gates"),
        (checks.check_02_modulator, lambda f, c, g: right_modulator(f, c, -g), "gates[:, l-1:l]"),
        (checks.check_02_modulator, lambda f, c, g: g, "Return a map of"),
        (checks.check_02_modulator, lambda f, c, g: f[9], "IndexError"),
        (checks.check_02_commutes, ["average pooling", "max pooling"], "two voxels"),
        (checks.check_02_commutes, ["average pooling", "GELU"], "GELU"),
        (checks.check_02_commutes, ["average pooling"], "missing"),
        (checks.check_02_commutes, ["bicubic"], "copy the words"),
        (checks.check_02_commutes, "average pooling", "missing"),
        (checks.check_02_fold, lambda up, mix: right_fold(up, mix).transpose(0, 1), "first"),
        (checks.check_02_fold, lambda up, mix: right_fold(up, mix).flip(2), "up[b, 0, z, y, x]"),
        (checks.check_02_fold, lambda up, mix: up @ mix, "Error"),
        (checks.check_02_fold, lambda up, mix: None, "NoneType"),
    ],
)
def test_the_usual_wrong_answer_gets_its_hint(
    check: Any, answer: Any, hint: str, capsys: Any
) -> None:
    assert check(answer) is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet.")
    assert hint in said
    assert said.count("\n") == 1
