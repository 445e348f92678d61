"""Trainings that continue others, what their weights record, and the half-precision export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from oarfuse.cli import main
from oarfuse.config import TrainConfig
from oarfuse.data import leaking_slices, load_manifest
from oarfuse.data.ct import AIR_HU, blank_cut_slices, cut_slices
from oarfuse.data.manifest import Case, Volume, load_case
from oarfuse.data.patches import PatchDataset
from oarfuse.errors import OarfuseError
from oarfuse.inference import predict_labels
from oarfuse.organs import OPENKBP
from oarfuse.runs import RunFolder, RunState, export_weights
from oarfuse.training import train
from oarfuse.viewing.plots.training_parts import plot_parts
from oarfuse.weights import load_weights, read_info, save_weights, training_stages
from tests.helpers.small_data import write_small_data
from tests.test_training import tensors, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_small_data(folder)
    return folder


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(data, tmp_path_factory.mktemp("first"), steps=5), progress=False)


def annealing(data: Path, output: Path, init: Path) -> TrainConfig:
    config = tiny(data, output, steps=10)
    return replace(
        config, init=str(init), validate_every=10, min_lr=5e-5, max_lr=5e-4, cycle_steps=10
    )


def test_annealing_starts_from_the_weights_at_its_own_rates(
    data: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = annealing(data, tmp_path / "annealed", first / "weights.safetensors")
    rates: list[float] = []
    log = RunFolder.log

    def keep(self: RunFolder, state: RunState, figures: Sequence[Mapping[str, float]]) -> None:
        rates.extend(row["lr"] for row in figures)
        log(self, state, figures)

    monkeypatch.setattr(RunFolder, "log", keep)
    run = train(config, progress=False)
    assert rates[0] == pytest.approx(5e-5) and rates[5] == pytest.approx(5e-4)
    assert max(rates) == rates[5] and rates[-1] < 2e-4
    before = tensors(first / "weights.safetensors")
    after = tensors(run / "weights.safetensors")
    # Adam moves a number by about its rate a step: all of them stay below the sum of the rates.
    for name, value in before.items():
        assert (after[name] - value).abs().max() < 3 * sum(rates)
    assert any(not torch.equal(after[name], value) for name, value in before.items())


def test_weights_carry_the_record_of_every_stage(data: Path, first: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    start.write_bytes((first / "weights.safetensors").read_bytes())
    config = annealing(data, tmp_path / "second", start)
    train(replace(config, steps=2), progress=False)
    start.unlink()  # a resumed run needs it no more, and a publication may replace it
    second = train(config, progress=False)
    third = train(
        replace(config, output=str(tmp_path / "third"), init=str(second / "weights.safetensors")),
        progress=False,
    )
    stages = training_stages(read_info(third / "weights.safetensors").training)
    own = [read_info(run / "weights.safetensors").training for run in (first, second, third)]
    for name in ("step", "minutes", "validation_dsc", "seed", "commit", "config"):
        assert [stage[name] for stage in stages] == [record[name] for record in own]
    assert stages[0]["step"] == 5 and stages[1]["step"] in (2, 10)
    assert [stage["config"]["max_lr"] for stage in stages] == [0.003, 5e-4, 5e-4]
    names = [None, "start.safetensors", "weights.safetensors"]
    assert [stage["config"]["init"] for stage in stages] == names
    assert all("earlier" not in stage for stage in stages)
    assert not any({"data", "output"} & set(stage["config"]) for stage in stages)


def test_log_shows_the_share_of_the_processor(first: Path, data: Path, tmp_path: Path) -> None:
    log = pd.read_csv(train(tiny(data, tmp_path, steps=10), progress=False) / "log.csv")
    row = log.iloc[0]
    assert 0 < row["cpu"] < 16 * row["seconds"]
    assert row["load"] >= 0


def test_export_halves_the_best_weights(first: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    assert main(["export", "--run", str(first), "--output", str(path)]) == 0
    whole, half = tensors(first / "weights.safetensors"), tensors(path)
    assert whole.keys() == half.keys()
    for name, value in whole.items():
        assert half[name].dtype == torch.float16
        torch.testing.assert_close(half[name].float(), value, rtol=1e-3, atol=1e-6)
    assert read_info(path) == read_info(first / "weights.safetensors")


def test_export_of_the_newest_state_lets_a_training_go_on(data: Path, tmp_path: Path) -> None:
    config = tiny(data, tmp_path / "run", steps=6)
    run = train(replace(config, validate_every=3, steps=4), progress=False)
    best = tensors(run / "weights.safetensors")
    # the run goes on beyond its last validation: two more steps, then a kill
    checkpoint = RunFolder.checkpoint

    class Killed(Exception):
        pass

    def then_killed(self: RunFolder, *parts: object) -> None:
        checkpoint(self, *parts)  # type: ignore[arg-type]
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "checkpoint", then_killed)
        with pytest.raises(Killed):
            train(replace(config, validate_every=3, steps=100, checkpoint_every=5), progress=False)
    latest = export_weights(run, tmp_path / "latest.safetensors", latest=True)
    (stage,) = training_stages(read_info(latest).training)
    assert (stage["step"], stage["validation_dsc"]) == (5, None)
    assert any(not torch.equal(best[name].half(), value) for name, value in tensors(latest).items())
    average = tensors(run / "checkpoint.safetensors")
    for name, value in tensors(latest).items():
        assert torch.equal(value, average[f"average.module.{name}"].half())
    on = train(annealing(data, tmp_path / "elsewhere", latest), progress=False)
    stages = training_stages(read_info(on / "weights.safetensors").training)
    assert [stage["step"] for stage in stages] == [5, 10]


def test_export_needs_a_validated_run(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"There is no .*weights\.safetensors"):
        export_weights(tmp_path, tmp_path / "out.safetensors")


def test_numbers_beyond_half_precision_are_refused(first: Path, tmp_path: Path) -> None:
    model, info = load_weights(first / "weights.safetensors")
    state = model.state_dict()
    name = next(iter(state))
    state[name] = torch.full_like(state[name], 70_000.0)
    with pytest.raises(OarfuseError, match="not finite in half precision"):
        save_weights(tmp_path / "half.safetensors", state, info, half=True)
    assert not list(tmp_path.iterdir())


def test_cut_slices_are_found_without_labels() -> None:
    """A cord runs through all 12 slices; of the lowest 4 the CT was kept only inside of it."""
    label = np.zeros((12, 40, 40), np.uint8)
    label[:, 10:15, 10:15] = 2  # 25 of 1600 voxels of a slice
    image = np.zeros(label.shape, np.int16)
    assert not cut_slices(image).any()
    image[:4][label[:4] == 0] = AIR_HU
    assert list(cut_slices(image)) == [True] * 4 + [False] * 8
    assert list(cut_slices(image)) == list(leaking_slices(image, label))
    image[0] = AIR_HU  # no CT at all gives nothing away
    assert list(cut_slices(image)) == [False] + [True] * 3 + [False] * 8
    blanked = blank_cut_slices(image)
    assert (blanked[:4] == AIR_HU).all() and (blanked[4:] == image[4:]).all()
    assert not cut_slices(np.full_like(image, AIR_HU)).any()


def cut(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Cut the CT of the lowest 8 slices away but inside the organ that fills most of them."""
    most = np.bincount(label[:8].ravel())[1:].argmax() + 1
    image = image.copy()
    image[:8][label[:8] != most] = AIR_HU
    return image


class Tissue(nn.Module):
    """Class 1 where there is tissue: what it finds depends on the voxel alone."""

    def forward(self, volume: Tensor) -> Tensor:
        logits = torch.zeros(volume.shape[0], 6, *volume.shape[2:])
        logits[:, 1] = volume[:, 0] - 0.2
        return logits  # (B, 6, D, H, W)


def test_training_and_prediction_both_empty_cut_slices(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(data)

    def load_cut(case: Case) -> Volume:
        volume = load_case(case)
        return replace(volume, image=cut(volume.image, volume.label))

    monkeypatch.setattr("oarfuse.data.patches.load_case", load_cut)
    patches = PatchDataset(
        manifest.cases, OPENKBP, (32, 32, 32), length=4, seed=0, augment=False, blank_leaking=True
    )
    for case, cached in zip(manifest.cases, patches.cached, strict=True):
        emptied = cut_slices(cut(load_case(case).image, load_case(case).label))
        assert emptied.any() and not emptied[8:].any()
        assert (cached.image[emptied] == AIR_HU).all() and not cached.label[emptied].any()
        assert cached.label[~emptied].any()

    options = ["--model-options", '{"width": 2}', "--patch-size", "32", "32", "32"]
    options += ["--steps", "1", "--workers", "0", "--accelerator", "cpu", "--blank-leaking"]
    arguments = ["train", "--data", str(data), "--model", "oarfocalfusenet"]
    assert main([*arguments, "--output", str(tmp_path), *options]) == 0
    info = load_weights(tmp_path / "weights.safetensors")[1]
    assert info.blank_leaking
    model = Tissue()
    volume = load_case(manifest.cases[0])
    image = cut(volume.image, volume.label)
    seen = predict_labels(model, image, info)
    assert (seen == predict_labels(model, blank_cut_slices(image), info)).all()
    plain = replace(info, blank_leaking=False)
    assert (seen != predict_labels(model, image, plain)).any()


def test_curve_of_two_stages_is_one_axis_of_minutes() -> None:
    one = pd.DataFrame({"minutes": [10.0, 20.0, 30.0], "val_dsc": [0.5, 0.7, 0.69]})
    two = pd.DataFrame({"minutes": [10.0, 20.0], "val_dsc": [0.72, 0.75]})
    figure = plot_parts([("first", one, 20.0), ("second", two, 20.0)])
    (axes,) = [axes for axes in figure.axes if axes.lines]
    curves = [line for line in axes.lines if line.get_gid() != "kept"]
    assert [np.asarray(line.get_xdata()).tolist() for line in curves] == [[10, 20, 30], [30, 40]]
    rings = [line for line in axes.lines if line.get_gid() == "kept"]
    assert [(*np.asarray(r.get_xdata()), *np.asarray(r.get_ydata())) for r in rings] == [
        (20, 0.7),
        (40, 0.75),
    ]
    with pytest.raises(OarfuseError, match="no validation"):
        plot_parts([("log", pd.DataFrame({"step": [1]}), 1.0)])
