"""Notebook 02's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from oarfuse.course.checks import architecture as checks
from oarfuse.models.dense_fuse import DenseLayer
from oarfuse.models.focal_fuse import ExchangeOptions, FocalFuse


class Alone(nn.Module):
    """The package's block without exchange, or with a mistake in its place."""

    def __init__(self, channels: Any, mistake: str = "") -> None:
        super().__init__()
        options: dict[str, Any] = {"exchange": mistake in ("exchange", "silent")}
        options["global_context"] = mistake != "context"
        self.block = FocalFuse(channels, focal_levels=1 if mistake == "short" else 2, **options)
        self.silent = mistake == "silent"
        self.order = slice(None, 3) if mistake == "three" else slice(None)

    def forward(self, features: Any) -> Any:
        if not self.silent:
            return self.block(features)[self.order]
        apart = [torch.zeros_like(f) for f in features]
        with torch.no_grad():
            streams: Any = self.block.streams
            for stream in streams:
                for level in stream.levels:
                    level.fuse.mix.weight[:, level.fuse.mix.out_channels :] = 0
        return [self.block([*apart[:a], f, *apart[a + 1 :]])[a] for a, f in enumerate(features)]


def alone(mistake: str = "") -> Any:
    return lambda channels: Alone(channels, mistake)


class Dense(nn.Module):
    """The package's dense layer, or one with a mistake."""

    def __init__(self, channels: Any, a: int, l: int, mistake: str = "") -> None:  # noqa: E741
        super().__init__()
        self.mistake, self.a = mistake, a
        self.layer = DenseLayer(channels, a, 1 if mistake == "history" else l, ExchangeOptions())
        if mistake == "extra":
            self.extra = nn.Conv3d(2, 2, 1)

    def forward(self, own: Any, newest: Any) -> Any:
        if self.mistake == "history":
            own = own[-1:]
        if self.mistake == "others":
            newest = {b: 0 * f for b, f in newest.items()}
        if self.mistake == "relu":
            return self.layer.depthwise(self.layer.fuse(own, newest))
        output = self.layer(own, newest)
        return output[..., :1] if self.mistake == "shape" else output


def dense(mistake: str = "") -> Any:
    return lambda channels, a, layer: Dense(channels, a, layer, mistake)


def right_fold(up: Any, mix: Any) -> Any:
    return torch.einsum("bzyx,ab->bazyx", up[:, 0], mix[:, :, 0, 0, 0])


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (checks.check_02_reach, 16),
        (checks.check_02_alone, alone()),
        (checks.check_02_dense_layer, dense()),
        (checks.check_02_commutes, ["trilinear interpolation", "average pooling"]),
        (checks.check_02_fold, right_fold),
    ],
)
def test_the_right_answer_passes(check: Any, answer: Any, capsys: Any) -> None:
    assert check(answer) is True
    assert capsys.readouterr().out.startswith("Correct.")


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (checks.check_02_reach, 11, "three voxels a level"),
        (checks.check_02_reach, 17, "before any level"),
        (checks.check_02_reach, 33, "two sides"),
        (checks.check_02_reach, "many", "the table"),
        (checks.check_02_alone, alone("exchange"), "still hears stream"),
        (checks.check_02_alone, alone("silent"), "weights for them are left"),
        (checks.check_02_alone, alone("context"), "global context stays"),
        (checks.check_02_alone, alone("short"), "weights too few"),
        (checks.check_02_alone, alone("three"), "four of them"),
        (checks.check_02_alone, lambda channels: nn.Identity(), "global context stays"),
        (checks.check_02_alone, lambda channels: nn.Linear(2, 2), "raises"),
        (checks.check_02_dense_layer, dense("history"), "does a dense layer read"),
        (checks.check_02_dense_layer, dense("others"), "newest map comes along"),
        (checks.check_02_dense_layer, dense("relu"), "a ReLU comes last"),
        (checks.check_02_dense_layer, dense("extra"), "weights, ours"),
        (checks.check_02_dense_layer, dense("shape"), "return one map"),
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
