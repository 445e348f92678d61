"""Training: the rate, the patches, learning, resuming, refusing."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from oarfuse.config import TrainConfig, load_config
from oarfuse.data import load_manifest
from oarfuse.data.augment import mirror
from oarfuse.data.ct import body_box, scale_window
from oarfuse.data.patches import PatchDataset, StepSampler
from oarfuse.errors import OarfuseError
from oarfuse.losses import deep_supervision_loss, dice_cross_entropy
from oarfuse.models import build_model
from oarfuse.organs import OPENKBP
from oarfuse.runs import RunFolder, RunState
from oarfuse.training import cyclic_rate, train
from oarfuse.weights import load_weights
from tests.helpers.patches import augment_patch


def tiny(data: Path, output: Path, **changes: Any) -> TrainConfig:
    options: dict[str, Any] = dict(
        data=str(data),
        output=str(output),
        model_options={"width": 2},
        patch_size=(32, 32, 32),
        batch_size=1,
        steps=6,
        cycle_steps=4,
        validate_every=6,
        checkpoint_every=2,
        workers=0,
        precision="32-true",
        accelerator="cpu",
    )
    return TrainConfig(**{**options, **changes})


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_cyclic_rate_equals_pytorchs() -> None:
    config = TrainConfig(data="d", output="o", cycle_steps=8)
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    schedule = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.0005, 0.003, step_size_up=4, cycle_momentum=False
    )
    for step in range(20):
        assert cyclic_rate(step, config) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [cyclic_rate(step, config) for step in (0, 4, 8)] == [0.0005, 0.003, 0.0005]


def test_run_folder_holds_all_to_repeat_it(phantom: Path, tmp_path: Path) -> None:
    config = tiny(phantom, tmp_path / "run", steps=20, validate_every=10)
    run = train(config, progress=False)
    assert load_config(run / "config.json") == config
    (session,) = json.loads((run / "environment.json").read_text())
    assert session["device"] == "cpu"
    assert session["versions"]["torch"] == metadata.version("torch")
    log = pd.read_csv(run / "log.csv")
    assert list(log["step"]) == [10, 20]
    assert np.isfinite(log[["loss", "lr", "wait", "seconds"]]).all().all()
    validation = pd.read_csv(run / "validation.csv")
    assert list(validation["step"]) == [10, 20]
    assert {f"dsc_{organ.name}" for organ in OPENKBP.organs} <= set(validation)
    assert list((run / "tensorboard").glob("events*"))
    model, info = load_weights(run / "weights.safetensors")
    assert info.phantom
    assert info.training["validation_dsc"] == pytest.approx(validation["val_dsc"].max(), abs=1e-6)
    assert not any(parameter.isnan().any() for parameter in model.parameters())


def test_loss_falls_when_one_patient_is_learned_by_heart(phantom: Path, tmp_path: Path) -> None:
    config = tiny(phantom, tmp_path, steps=40, model_options={"width": 4}, augment=False)
    config = replace(config, validate_every=40, ema_decay=0.5, max_lr=0.01, min_lr=0.005)
    train(config, progress=False)
    loss = pd.read_csv(tmp_path / "log.csv")["loss"]
    assert loss.iloc[-1] < 0.8 * loss.iloc[0]


def test_interrupted_run_ends_with_identical_weights(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tiny(phantom, tmp_path / "whole"), progress=False)
    log = RunFolder.log

    def stop_at_step_5(self: RunFolder, state: RunState, figures: Any) -> None:
        if state.step == 5:
            raise KeyboardInterrupt
        log(self, state, figures)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "log", stop_at_step_5)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(phantom, tmp_path / "parts"), progress=False)
    parts = train(tiny(phantom, tmp_path / "parts"), progress=False)
    for name in ("checkpoint.safetensors", "weights.safetensors"):
        reference, resumed = tensors(whole / name), tensors(parts / name)
        assert reference.keys() == resumed.keys()
        assert all(torch.equal(reference[key], resumed[key]) for key in reference)
    assert len(json.loads((parts / "environment.json").read_text())) == 2


@pytest.mark.parametrize("model", ["oarfocalfusenet", "msf3d"])
def test_deep_supervision_trains_its_heads_and_predicts_without_them(
    phantom: Path, tmp_path: Path, model: str
) -> None:
    options = {"width": 2, "deep_supervision": True}
    config = tiny(phantom, tmp_path / "run", model=model, model_options=options, steps=2)
    run = train(config, progress=False)
    trained, _ = load_weights(run / "weights.safetensors")
    torch.manual_seed(config.seed)
    before = build_model(model, **options).state_dict()
    for name, tensor in trained.state_dict().items():
        if "head" in name:
            assert not torch.equal(tensor, before[name]), name
    volume = torch.randn(1, 1, 32, 32, 32)
    plain = build_model(model, width=2)
    plain.load_state_dict(trained.state_dict(), strict=False)
    torch.testing.assert_close(trained.eval()(volume), plain(volume))
    full, half, quarter = trained.train()(volume)
    torch.testing.assert_close(full, plain(volume))
    assert half.shape == (1, 6, 16, 16, 16)
    assert quarter.shape == (1, 6, 8, 8, 8)


def test_deep_supervision_is_the_weighted_mean_over_scales() -> None:
    torch.manual_seed(0)
    label = torch.randint(0, 3, (1, 1, 2, 2, 2)).repeat_interleave(4, 2)
    label = label.repeat_interleave(4, 3).repeat_interleave(4, 4)  # each 4^3 block of one class
    scales = [torch.randn(1, 3, side, side, side) for side in (8, 4, 2)]
    single = dice_cross_entropy()
    expected = sum(
        weight * single(logits, label[..., ::step, ::step, ::step]) / 7
        for weight, logits, step in zip((4, 2, 1), scales, (1, 2, 4), strict=True)
    )
    loss = deep_supervision_loss()
    torch.testing.assert_close(loss(scales, label.float()), expected)
    torch.testing.assert_close(loss(scales[0], label.float()), single(scales[0], label))


def test_finished_run_does_nothing_more(phantom: Path, tmp_path: Path) -> None:
    run = train(tiny(phantom, tmp_path), progress=False)
    before = (run / "weights.safetensors").stat().st_mtime_ns
    train(tiny(phantom, tmp_path), progress=False)
    assert (run / "weights.safetensors").stat().st_mtime_ns == before


def test_time_budget_ends_a_run(phantom: Path, tmp_path: Path) -> None:
    run = train(tiny(phantom, tmp_path, steps=1000, minutes=0.001), progress=False)
    assert load_weights(run / "weights.safetensors")[1].training["step"] < 1000
    done = tensors(run / "checkpoint.safetensors")
    train(tiny(phantom, tmp_path, steps=1000, minutes=0.001), progress=False)
    again = tensors(run / "checkpoint.safetensors")
    assert all(torch.equal(done[name], again[name]) for name in done), "not one step more"


def test_other_options_in_the_same_folder_are_refused(phantom: Path, tmp_path: Path) -> None:
    train(tiny(phantom, tmp_path), progress=False)
    with pytest.raises(OarfuseError, match="holds a run with seed 0, not 1"):
        train(tiny(phantom, tmp_path, seed=1), progress=False)


def test_two_runs_in_one_folder_are_refused(phantom: Path, tmp_path: Path) -> None:
    config = tiny(phantom, tmp_path)
    with RunFolder(config), pytest.raises(OarfuseError, match="Another process is training"):
        train(config, progress=False)


def test_weights_of_another_architecture_are_refused(phantom: Path, tmp_path: Path) -> None:
    run = train(tiny(phantom, tmp_path / "a", steps=1), progress=False)
    other = tiny(
        phantom,
        tmp_path / "b",
        init=str(run / "weights.safetensors"),
        model_options={"width": 4},
    )
    with pytest.raises(OarfuseError, match="another architecture"):
        train(other, progress=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"min_lr": 0.01, "max_lr": 0.001}, "in this order"),
        ({"patch_size": (32, 32)}, "three sides"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"precision": "8-bit"}, "precision"),
        ({"minutes": 0}, "minutes"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OarfuseError, match=said):
        tiny(Path("d"), Path("o"), **changes)


def patches(phantom: Path, **changes: Any) -> PatchDataset:
    options: dict[str, Any] = dict(length=50, seed=5, augment=True)
    cases = load_manifest(phantom).split("train")
    return PatchDataset(cases, OPENKBP, (32, 24, 40), **{**options, **changes})


def test_patch_depends_on_seed_and_index_only(phantom: Path) -> None:
    first, again, other = patches(phantom), patches(phantom), patches(phantom, seed=6)
    first[3]  # drawing one patch must not change another
    for key in ("image", "label"):
        assert torch.equal(first[7][key], again[7][key])
    assert not torch.equal(first[7]["image"], other[7]["image"])


@pytest.mark.parametrize("augment", [True, False])
def test_patches_have_shape_range_and_organs(phantom: Path, augment: bool) -> None:
    dataset = patches(phantom, augment=augment)
    drawn = [dataset[index] for index in range(40)]
    for patch in drawn:
        assert patch["image"].shape == patch["label"].shape == (1, 32, 24, 40)
        assert patch["image"].dtype == torch.float32
        assert patch["label"].dtype == torch.int64
        assert patch["image"].min() >= 0 and patch["image"].max() <= 1
    seen = {int(value) for patch in drawn for value in patch["label"].unique()}
    assert seen == set(range(6))
    assert np.mean([bool(patch["label"].any()) for patch in drawn]) > 0.8


def test_strength_scales_the_augmentation() -> None:
    sides = (48, 48, 48)
    radius = np.sqrt(sum((axis - 23.5) ** 2 for axis in np.ogrid[:48, :48, :48]))
    ball = torch.from_numpy((radius < 12).astype(np.uint8))
    hu = 100 * ball.short()

    def sizes(strength: float) -> list[float]:
        """Volume of the ball after each of 40 augmentations, relative to before."""
        cases = [np.random.default_rng(seed) for seed in range(40)]
        drawn = [augment_patch(hu, ball, OPENKBP, sides, random, strength) for random in cases]
        return [(patch["label"] > 0).sum().item() / ball.sum().item() for patch in drawn]

    assert sizes(0.001) == pytest.approx([1] * 40, abs=0.03)
    weak, strong = sizes(1.0), sizes(2.0)
    # a zoom of each axis by at most 15 %, and by at most 30 %
    assert 0.83**3 < min(weak) < 0.9 and 1.1 < max(weak) < 1.2**3
    assert 0.66**3 < min(strong) < min(weak) and max(weak) < max(strong) < 1.45**3


def test_mirroring_swaps_the_parotids() -> None:
    image = torch.arange(4.0).view(1, 1, 1, 4)
    label = torch.tensor([[[[3, 1, 0, 4]]]], dtype=torch.uint8)
    turned, swapped = mirror(image, label, OPENKBP)
    assert turned.flatten().tolist() == [3, 2, 1, 0]
    # what was the left parotid (4) at the right end is the right parotid (3) at the left end
    assert swapped.flatten().tolist() == [3, 0, 1, 4]


def test_window_and_body_box() -> None:
    hu = torch.tensor([-1024, -160, 120, 400, 3000], dtype=torch.int16)
    assert scale_window(hu, (-160.0, 400.0)).tolist() == [0, 0, 0.5, 1, 1]
    image = np.full((4, 5, 6), -1000, dtype=np.int16)
    assert body_box(image) == (slice(0, 4), slice(0, 5), slice(0, 6))
    image[1:3, 2, 3:5] = 40
    assert body_box(image) == (slice(1, 3), slice(2, 3), slice(3, 5))


def test_sampler_shares_a_step_among_processes() -> None:
    alone = list(StepSampler(1, 3, batch_size=4))
    parts = [list(StepSampler(1, 3, batch_size=2, rank=rank, processes=2)) for rank in (0, 1)]
    assert alone == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert [a + b for a, b in zip(*parts, strict=True)] == alone
