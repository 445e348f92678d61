"""Notebook 03's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from oarfuse.config import TrainConfig
from oarfuse.course.checks.training import (
    check_03_absent,
    check_03_devices,
    check_03_loss,
    check_03_mirror,
    check_03_rate,
)
from oarfuse.data.augment import mirror
from oarfuse.data.patches import StepSampler
from oarfuse.organs import OPENKBP
from oarfuse.training import cyclic_rate

TRADE = torch.tensor([0, 1, 2, 4, 3, 5])


def per_class(p: Tensor, t: Tensor) -> Tensor:
    return 2 * (p * t).sum(1) / (p.sum(1) + t.sum(1))


def in_turn(label: Tensor) -> Tensor:
    label = label.flip(-1).clone()
    label[label == 3] = 4
    label[label == 4] = 3
    return label


def in_place(label: Tensor) -> Tensor:
    label[label == 3] = 4
    return label


def test_the_right_answers_are_what_the_package_computes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_03_loss(lambda p, t: 1 - per_class(p, t).mean())

    def rate(step: int, cycle: int, least: float, most: float) -> float:
        config = TrainConfig(data="d", output="o", cycle_steps=cycle, min_lr=least, max_lr=most)
        return cyclic_rate(step, config)

    assert check_03_rate(rate)
    assert check_03_mirror(lambda label: mirror(label[None], label[None], OPENKBP)[1][0])

    def share(step: int, batch: int, rank: int, devices: int) -> list[int]:
        return next(iter(StepSampler(step, step + 1, batch, rank, devices)))

    assert check_03_devices(share)
    assert check_03_absent(1 - 1e-5 / (10 + 1e-5), 1 - 1e-5 / (5 + 1e-5))
    assert "Not yet" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (check_03_loss, (0.3535,), "function itself"),
        (check_03_loss, (per_class,), "should return one number"),
        (check_03_loss, (lambda p, t: per_class(p, t).mean(),), "must fall"),
        (check_03_loss, (lambda p, t: 1 - per_class(p, t)[1:].mean(),), "counts as a class"),
        (check_03_loss, (lambda p, t: 1 - 2 * (p * t).sum() / (p.sum() + t.sum()),), "each class"),
        (check_03_loss, (lambda p, t: (1 - per_class(p, t)).sum(),), "not their sum"),
        (
            check_03_loss,
            (lambda p, t: 1 - (2 * (p * t).sum(1) / ((p**2).sum(1) + t.sum(1))).mean(),),
            "squared",
        ),
        (check_03_loss, (lambda p, t: 0.0,), "dim 0"),
        (check_03_rate, (0.0025,), "function itself"),
        (check_03_rate, (lambda s, c, a, b: a + (b - a) * (s % c) / c,), "only climbs"),
        (check_03_rate, (lambda s, c, a, b: b - (b - a) * (s % c) / c,), "lower rate"),
        (check_03_rate, (lambda s, c, a, b: b - (b - a) * abs(s % (2 * c) - c) / c,), "for half"),
        (check_03_rate, (lambda s, c, a, b: b,), "lower rate"),
        (check_03_rate, (lambda s, c, a, b: a,), "distance from"),
        (check_03_rate, (lambda s: s,), "takes step"),
        (check_03_mirror, ([3, 0, 1, 0, 4, 4],), "function itself"),
        (check_03_mirror, (lambda label: label.flip(-1),), "right parotid"),
        (check_03_mirror, (lambda label: TRADE[label],), "turned around"),
        (check_03_mirror, (lambda label: TRADE[label.flip(0)],), "upside down"),
        (check_03_mirror, (lambda label: TRADE[label.flip(1)],), "front to back"),
        (check_03_mirror, (in_turn,), "swallowed"),
        (check_03_mirror, (in_place,), "work on a copy"),
        (check_03_mirror, (lambda label: label[0],), "shape"),
        (check_03_mirror, (lambda label: label,), "Two things"),
        (check_03_devices, ([8, 1000],), "function itself"),
        (check_03_devices, (lambda s, b, r, n: [s * b + i for i in range(b)],), "rank change"),
        (
            check_03_devices,
            (lambda s, b, r, n: [(s + r) * b + i for i in range(b)],),
            "neighbour",
        ),
        (
            check_03_devices,
            (lambda s, b, r, n: [s * n * b + r + i * n for i in range(b)],),
            "before this step",
        ),
        (check_03_devices, (lambda s, b, r, n: s,), "one patch number"),
        (check_03_absent, (0.0, 0.0), "one minus"),
        (check_03_absent, (1e-6, 2e-6), "one minus it"),
        (check_03_absent, (0.5, 0.25), "Epsilon"),
        (check_03_absent, (0.999999, 0.5), "compute it anew"),
    ],
)
def test_the_usual_wrong_answers_get_their_hint(
    check: Callable[..., bool], answer: Any, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*answer) is False
    assert hint in capsys.readouterr().out
