"""`kill -9` and full disks: what was finished stays, a rerun goes on, and ends the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open

from oarfuse.config import TrainConfig
from oarfuse.data import load_case, load_manifest, prepare_openkbp
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import evaluate
from oarfuse.runs import CHECKPOINT, PREVIOUS, WEIGHTS, RunFolder
from oarfuse.training import train
from oarfuse.weights import load_weights
from tests.helpers.openkbp_files import patient_files, write_source
from tests.helpers.small_data import write_small_data

KILLS = 20 if os.environ.get("OARFUSE_NIGHT") else 3
# Importing PyTorch takes seconds; a fork server does it once for all processes that are killed.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["oarfuse.training", "oarfuse.evaluation", "oarfuse.data.openkbp.prepare"]
)


SIZES: dict[str, Any] = dict(
    model_options={"width": 2},
    patch_size=(32, 16, 16),
    batch_size=1,
    steps=8,
    cycle_steps=4,
    validate_every=4,
    checkpoint_every=2,
    workers=0,
    precision="32-true",
    accelerator="cpu",
)


def one_thread(call: Callable[..., Any], *arguments: Any) -> None:
    torch.set_num_threads(1)
    call(*arguments, progress=False)


def nothing(progress: bool) -> None:
    """Start a process, and with it the fork server."""


def start(call: Callable[..., Any], *arguments: Any) -> Any:
    process = CONTEXT.Process(target=one_thread, args=(call, *arguments))
    process.start()
    return process


def run_and_kill(
    call: Callable[..., Any], *arguments: Any, seconds: float, check: Callable[[], None]
) -> None:
    """Start `call` again and again, kill it after a random time, check what is left; then finish.

    `seconds` is what the whole call takes. Of the kills, some may come too late, but not all.
    """
    dice = random.Random(KILLS)
    killed = 0
    for _ in range(KILLS):
        process = start(call, *arguments)
        process.join(dice.uniform(0.1, 0.5) * seconds)
        process.kill()
        process.join()
        killed += process.exitcode == -9
        check()
    assert killed
    process = start(call, *arguments)
    process.join()
    assert process.exitcode == 0
    check()


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    start(nothing).join()  # the fork server's imports do not count
    begun = time.monotonic()
    process = start(call, *arguments)
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - begun


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def assert_same_end(one: Path, other: Path) -> None:
    for name in (CHECKPOINT, WEIGHTS):
        reference, found = tensors(one / name), tensors(other / name)
        assert reference.keys() == found.keys()
        assert all(torch.equal(reference[key], found[key]) for key in reference)
    scores = [pd.read_csv(run / "validation.csv").drop(columns="minutes") for run in (one, other)]
    pd.testing.assert_frame_equal(*scores)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_small_data(folder, train=2, validation=6)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, float]:
    """A run that nobody interrupted, and the seconds that it took."""
    config = TrainConfig(str(data), str(tmp_path_factory.mktemp("whole")), **SIZES)
    return config, timed(train, config)


def again(config: TrainConfig, output: Path) -> TrainConfig:
    return TrainConfig(config.data, str(output), **SIZES)


@pytest.fixture
def halted(whole: tuple[TrainConfig, float], tmp_path: Path) -> TrainConfig:
    """A run of which the two newest checkpoints, at steps 4 and 6, are there."""
    config = again(whole[0], tmp_path / "run")
    reached = []

    class Halt(Exception):
        pass

    checkpoint = RunFolder.checkpoint

    def stop_after_step_6(self: RunFolder, *parts: Any) -> None:
        checkpoint(self, *parts)
        reached.append(parts[3].step)
        if reached[-1] == 6:
            raise Halt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "checkpoint", stop_after_step_6)
        with pytest.raises(Halt):
            train(config, progress=False)
    assert reached == [2, 4, 6]
    return config


def test_killed_training_ends_bit_identical(
    whole: tuple[TrainConfig, float], tmp_path: Path
) -> None:
    config, seconds = whole
    run = tmp_path / "killed"

    def check() -> None:
        checkpoints = [run / name for name in (CHECKPOINT, PREVIOUS) if (run / name).exists()]
        for path in checkpoints:
            assert tensors(path)
        if (run / WEIGHTS).exists():
            load_weights(run / WEIGHTS)
            assert checkpoints  # written before the first validation
        if (run / "config.json").exists():
            json.loads((run / "config.json").read_text())

    run_and_kill(train, again(config, run), seconds=seconds, check=check)
    assert_same_end(Path(config.output), run)
    assert not list(run.glob(".*.partial*"))


def test_kill_between_the_two_renames_of_a_checkpoint(
    whole: tuple[TrainConfig, float], halted: TrainConfig
) -> None:
    run = Path(halted.output)
    os.replace(run / CHECKPOINT, run / PREVIOUS)
    train(halted, progress=False)
    assert_same_end(Path(whole[0].output), run)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_damaged_checkpoint_gives_way_to_the_one_before(
    whole: tuple[TrainConfig, float], halted: TrainConfig, damage: str
) -> None:
    newest = Path(halted.output) / CHECKPOINT
    content = newest.read_bytes()
    newest.write_bytes({"cut": content[:-1000], "empty": b"", "text": b"no tensors"}[damage])
    with pytest.warns(UserWarning, match="Going on from the one before"):
        train(halted, progress=False)
    assert_same_end(Path(whole[0].output), newest.parent)


def test_nothing_is_overwritten_when_no_checkpoint_is_readable(halted: TrainConfig) -> None:
    run = Path(halted.output)
    for name in (CHECKPOINT, PREVIOUS):
        (run / name).write_bytes(b"damaged")
    with pytest.raises(OarfuseError, match=r"checkpoint\.safetensors is not a readable"):
        train(halted, progress=False)
    assert (run / CHECKPOINT).read_bytes() == b"damaged"


def test_killed_run_frees_its_folder_at_once(data: Path, tmp_path: Path) -> None:
    """Worker processes outlive the killed one for seconds; they must not hold its lock."""
    config = TrainConfig(str(data), str(tmp_path), **{**SIZES, "workers": 1, "steps": 10_000})
    process = start(train, config)
    while not (tmp_path / CHECKPOINT).exists():
        assert process.is_alive()
        time.sleep(0.02)
    with pytest.raises(OarfuseError, match="Another process is training into"):
        train(config, progress=False)
    process.kill()
    process.join()
    short = TrainConfig(str(data), str(tmp_path), **{**SIZES, "steps": 1})
    train(short, progress=False)


def test_killed_preparation_goes_on(tmp_path: Path) -> None:
    patients = {f"train/pt_{n}": patient_files(n) for n in range(1, 9)}
    source, out = write_source(tmp_path / "kbp", patients), tmp_path / "out"
    seconds = timed(prepare_openkbp, source, tmp_path / "reference")

    def check() -> None:
        if (out / "manifest.json").exists():
            for case in load_manifest(out).cases:
                assert load_case(case).label.any()

    run_and_kill(prepare_openkbp, source, out, seconds=seconds, check=check)
    assert load_manifest(out).complete
    for file in (tmp_path / "reference").rglob("*.*"):
        if file.name != ".lock":
            assert (
                out / file.relative_to(tmp_path / "reference")
            ).read_bytes() == file.read_bytes()
    assert not list(out.rglob("*.partial*"))


def test_killed_evaluation_goes_on(
    data: Path, whole: tuple[TrainConfig, float], tmp_path: Path
) -> None:
    weights, out = Path(whole[0].output) / WEIGHTS, tmp_path / "out"
    seconds = timed(evaluate, weights, data, "validation", tmp_path / "reference")
    finished: dict[Path, int] = {}

    def check() -> None:
        for path in (out / "cases").glob("*.json"):
            if ".partial" not in path.name:
                assert json.loads(path.read_text())["rows"]
                assert finished.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns

    run_and_kill(evaluate, weights, data, "validation", out, seconds=seconds, check=check)
    for name in ("metrics.csv", "metrics_more.csv"):
        assert (out / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()
    assert len(finished) == 6
    assert not list(out.rglob("*.partial*"))


def test_second_evaluation_into_a_folder_is_refused(
    data: Path, whole: tuple[TrainConfig, float], tmp_path: Path
) -> None:
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(OarfuseError, match="Another process is evaluating into"),
    ):
        evaluate(Path(whole[0].output) / WEIGHTS, data, "validation", tmp_path, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, where there is the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system to fill it")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_full_disk_keeps_the_checkpoint(whole: tuple[TrainConfig, float], small_disk: Path) -> None:
    run = small_disk / "run"
    config = again(whole[0], run)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 4_000_000)  # three checkpoints of 1.7 MB do not fit beside it
    with pytest.raises(OarfuseError, match="No space is left on the disk for") as caught:
        train(config, progress=False)
    assert "\n" not in str(caught.value)
    assert tensors(run / CHECKPOINT)
    assert not list(run.glob(".*.partial*"))
    filler.unlink()
    train(config, progress=False)
    assert_same_end(Path(whole[0].output), run)


def test_full_disk_without_root(halted: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    kept = tensors(Path(halted.output) / CHECKPOINT)
    monkeypatch.setattr("oarfuse.weights.save_file", full)
    with pytest.raises(OarfuseError, match="No space is left on the disk for"):
        train(halted, progress=False)
    found = tensors(Path(halted.output) / CHECKPOINT)
    assert all(torch.equal(kept[key], found[key]) for key in kept)
