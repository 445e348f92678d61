"""Notebook 03's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from oarfuse.config import TrainConfig
from oarfuse.course.checks.training import (
    PROBABILITIES,
    TRUTH,
    check_03_absent,
    check_03_devices,
    check_03_loss,
    check_03_mirror,
    check_03_rate,
)
from oarfuse.data.augment import mirror
from oarfuse.losses import dice_cross_entropy
from oarfuse.organs import OPENKBP
from oarfuse.training import cyclic_rate

CHECKS = {
    check_03_loss: 2,
    check_03_rate: 1,
    check_03_mirror: 1,
    check_03_devices: 2,
    check_03_absent: 1,
}


@pytest.mark.parametrize("check", CHECKS)
def test_an_open_exercise_is_no_failure(
    check: Callable[..., bool], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*[None] * CHECKS[check]) is False
    assert capsys.readouterr().out == "not answered yet\n"


def test_the_right_answers_are_what_the_package_computes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    p, truth = torch.tensor(PROBABILITIES), torch.tensor(TRUTH)
    logits = torch.stack([1 - p, p]).log().reshape(1, 2, 1, 1, 4)
    loss = dice_cross_entropy()
    label = truth.reshape(1, 1, 1, 1, 4)
    whole = loss(logits, label).item()
    entropy = torch.nn.functional.cross_entropy(logits, label[:, 0]).item()
    assert check_03_loss(whole - entropy, entropy)

    assert check_03_rate(cyclic_rate(700, TrainConfig(data="d", output="o")))

    row = torch.tensor([3, 3, 0, 1, 0, 4]).reshape(1, 1, 1, 6)
    assert check_03_mirror(mirror(row, row, OPENKBP)[1].flatten().tolist())
    assert check_03_devices(8, 1000)
    assert check_03_absent(1 - 1e-5 / (1000 * 0.01 + 1e-5))
    assert "Not yet" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (check_03_loss, (1 - 2 * 1.1 / 3.6, 0.51), "background is one too"),
        (check_03_loss, ((2.2 / 3.6 + 3 / 4.4) / 2, 0.51), "must fall"),
        (check_03_loss, (0.9, 0.51), "per class"),
        (check_03_loss, (0.3535, 4 * 0.5108), "not their sum"),
        (check_03_loss, (0.3535, 0.3568), "with 1 - p"),
        (check_03_loss, (0.3535, 9.0), "true class"),
        (check_03_rate, (0.002,), "whole cycle"),
        (check_03_rate, (0.0015,), "half a cycle"),
        (check_03_rate, (0.001,), "lower end"),
        (check_03_rate, ("fast",), "distance from"),
        (check_03_mirror, ([4, 0, 1, 0, 3, 3],), "right parotid"),
        (check_03_mirror, ([4, 4, 0, 1, 0, 3],), "turned around"),
        (check_03_mirror, (7,), "six label values"),
        (check_03_devices, (2, 4000), "each device"),
        (check_03_devices, (8, 4000), "one device's"),
        (check_03_devices, (8, 500), "divide"),
        (check_03_absent, (0.0,), "one minus"),
        (check_03_absent, (1e-6,), "one minus it"),
        (check_03_absent, (0.5,), "Epsilon"),
    ],
)
def test_the_usual_wrong_answers_get_their_hint(
    check: Callable[..., bool], answer: Any, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*answer) is False
    assert hint in capsys.readouterr().out


def test_halves_of_the_loss_by_hand() -> None:
    entropy = -(math.log(0.8) + math.log(0.3) + math.log(0.6) + math.log(0.9)) / 4
    assert entropy == pytest.approx(0.5108, abs=5e-4)
