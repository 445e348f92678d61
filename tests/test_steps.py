"""How a step runs, its clock, its rate, and what is said when numbers stop being finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from oarfuse import steps as steps_module
from oarfuse.config import TrainConfig
from oarfuse.errors import OarfuseError
from oarfuse.runs import CHECKPOINT, VALIDATION, RunState
from oarfuse.steps import TrainStep, choose_mode
from oarfuse.training import Clock, cosine_rate, learning_rate, train
from tests.helpers.small_data import write_small_data

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def test_auto_records_where_a_graph_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "triton_works", lambda index: True)
    assert choose_mode("auto", CUDA, "bf16-mixed", 1) == "graph"
    assert choose_mode("auto", CUDA, "32-true", 1) == "graph"
    assert choose_mode("auto", CUDA, "16-mixed", 1) == "eager"  # the host decides whether to step
    assert choose_mode("auto", CUDA, "bf16-mixed", 2) == "eager"  # processes talk in between
    assert choose_mode("auto", CPU, "32-true", 1) == "eager"
    assert choose_mode("compiled", CUDA, "bf16-mixed", 1) == "compiled"
    monkeypatch.setattr(steps_module, "triton_works", lambda index: False)
    assert choose_mode("auto", CUDA, "bf16-mixed", 1) == "eager"
    assert choose_mode("graph", CUDA, "bf16-mixed", 1) == "graph"


def test_a_mode_that_cannot_be_had_is_said_and_left() -> None:
    with pytest.warns(UserWarning, match="compile='graph' needs one CUDA GPU"):
        assert choose_mode("graph", CPU, "32-true", 1) == "eager"


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(data="d", output="o", **changes)


def test_cosine_rate_rises_then_falls_to_its_end() -> None:
    recipe = config(schedule="cosine", min_lr=1e-5, max_lr=0.002)
    assert cosine_rate(0, recipe) == pytest.approx(1e-5)
    assert cosine_rate(0.025, recipe) == pytest.approx((1e-5 + 0.002) / 2)
    assert cosine_rate(0.05, recipe) == pytest.approx(0.002)
    assert cosine_rate(0.525, recipe) == pytest.approx((1e-5 + 0.002) / 2)  # half of the fall
    assert cosine_rate(1, recipe) == pytest.approx(1e-5)
    rates = [cosine_rate(share / 100, recipe) for share in range(5, 101)]
    assert rates == sorted(rates, reverse=True)


def test_cosine_follows_whichever_budget_will_end_first() -> None:
    recipe = config(schedule="cosine", steps=100, minutes=10.0)
    by_steps = learning_rate(RunState(step=50, seconds=60), recipe)
    assert by_steps == pytest.approx(cosine_rate(0.5, recipe))
    by_minutes = learning_rate(RunState(step=50, seconds=480), recipe)
    assert by_minutes == pytest.approx(cosine_rate(0.8, recipe))
    overtime = learning_rate(RunState(step=50, seconds=700), recipe)
    assert overtime == pytest.approx(recipe.min_lr)


@pytest.mark.parametrize(
    ("name", "value"), [("schedule", "linear"), ("compile", "yes"), ("precision", "8-bit")]
)
def test_unknown_choices_are_refused_with_the_known_ones(name: str, value: str) -> None:
    with pytest.raises(OarfuseError, match=f"{name} is '{value}': choose one of "):
        config(**{name: value})


def test_clock_shares_the_time_among_steps_and_knows_waits() -> None:
    clock = Clock(CPU)
    clock.start()
    for loss in (2.0, 1.0):
        clock.fed()
        clock.stepped(torch.tensor(loss), rate=0.5)
    assert clock.is_full(1)  # on a CPU every step is read
    first, second = clock.read()
    assert (first["loss"], second["loss"]) == (2.0, 1.0)
    assert first["lr"] == 0.5 and first["seconds"] == second["seconds"] > 0
    assert 0 <= first["wait"] <= 2 * first["seconds"]


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small_data(tmp_path / "data")
    recipe = TrainConfig(
        data=str(tmp_path / "data"),
        output=str(tmp_path / "run"),
        model_options={"width": 2},
        patch_size=(16, 16, 32),
        batch_size=1,
        steps=6,
        checkpoint_every=2,
        workers=0,
        precision="32-true",
    )
    run = TrainStep.__call__

    def diverge(self: TrainStep, image: Tensor, label: Tensor, rate: float) -> Tensor:
        loss = run(self, image, label, rate)
        return loss * math.nan if self._done == 4 else loss

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", diverge)
        with pytest.raises(OarfuseError, match="loss is not a finite number any more"):
            train(recipe, progress=False)
    assert (tmp_path / "run" / CHECKPOINT).exists()
    train(recipe, progress=False)  # goes on from step 2
    assert pd.read_csv(tmp_path / "run" / VALIDATION)["step"].tolist() == [6]


def test_float16_without_a_gpu_is_refused(tmp_path: Path) -> None:
    write_small_data(tmp_path)
    recipe = TrainConfig(
        data=str(tmp_path), output=str(tmp_path / "run"), precision="16-mixed", accelerator="cpu"
    )
    with pytest.raises(OarfuseError, match="16-mixed needs a CUDA GPU"):
        train(recipe, progress=False)


class Scaled:
    """Stands for Fabric's float16 plugin."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def state_dict(self) -> dict[str, float]:
        return {"scale": self.scale}


def test_skipped_steps_are_counted_by_what_adam_took(monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    network = nn.Conv3d(1, 2, 1)

    def loss_function(logits: Tensor, label: Tensor) -> Tensor:
        return (logits - label).square().mean()

    step = TrainStep(fabric, network, loss_function, ema_decay=0.5, mode="eager")
    step.setup()
    rows = [{"loss": 1.0}, {"loss": 1.0}, {"loss": 1.0}, {"loss": 1.0}]
    assert step.tell_skipped(rows) == rows and step.scaling() == {}  # not float16
    monkeypatch.setattr(step, "scaling", Scaled(1024.0).state_dict)
    for _ in range(3):  # of four
        step(torch.rand(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2).long(), 1e-3)
    assert [row["skipped"] for row in step.tell_skipped(rows)] == [0.25] * 4
    monkeypatch.setattr(step, "scaling", Scaled(0.5).state_dict)
    with pytest.raises(OarfuseError, match="however small the loss is scaled"):
        step.tell_skipped(rows)
