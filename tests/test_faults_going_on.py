"""A command that is given again goes on with its own work only, and says what it does."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.config import TrainConfig
from oarfuse.data import load_manifest, make_fold
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import evaluate, score_predictions
from oarfuse.inference import check_options
from oarfuse.interruption import Stopped
from oarfuse.patients import PATIENTS
from oarfuse.runs import CHECKPOINT, ENVIRONMENT, read_curves
from oarfuse.training import train
from oarfuse.weights import save_weights
from tests.helpers.faults import INFO
from tests.helpers.small_data import write_small_data
from tests.test_interruption import SIZES, assert_same_end


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_small_data(tmp_path / "data", train=3, validation=1)
    return tmp_path / "data"


def run(data: Path, output: Path, **changes: Any) -> Path:
    sizes = {**SIZES, "steps": 2, "validate_every": 2, **changes}
    return train(TrainConfig(str(data), str(output), **sizes), progress=False)


# --- a run belongs to its patients ---------------------------------------------------------------


@pytest.mark.parametrize("remembered", [True, False])
def test_another_fold_is_refused_but_by_old_runs(
    data: Path, tmp_path: Path, remembered: bool
) -> None:
    for fold in (1, 2):
        make_fold(data, tmp_path / f"fold_{fold}", fold=fold, folds=2)
    out = run(tmp_path / "fold_1", tmp_path / "run")
    before = (out / CHECKPOINT).read_bytes()
    if remembered:
        for steps in (2, 4):  # also a finished run must not pass for the other fold's
            with pytest.raises(OarfuseError, match="other patients or another split"):
                run(tmp_path / "fold_2", out, steps=steps)
        assert (out / CHECKPOINT).read_bytes() == before
        assert str(tmp_path / "fold_1") in (out / "config.json").read_text()
        (tmp_path / "fold_1").rename(tmp_path / "moved")
        run(tmp_path / "moved", out, steps=4)
    else:
        (out / PATIENTS).unlink()
        run(tmp_path / "fold_1", out, steps=4)
        assert (out / PATIENTS).exists()


def test_a_changed_label_is_another_patient(data: Path, tmp_path: Path) -> None:
    out = run(data, tmp_path / "run")
    change_label(data)
    with (
        pytest.warns(UserWarning, match="changed after the preparation"),
        pytest.raises(OarfuseError, match=r"other files of the same patients \(pt_4 differs\)"),
    ):
        run(data, out, steps=4)
    with pytest.warns(UserWarning, match="changed after the preparation"):
        new = run(data, tmp_path / "new")
    (session,) = json.loads((new / ENVIRONMENT).read_text())
    assert "labels/pt_4.nii.gz changed" in session["warnings"][0]


@pytest.mark.parametrize("remembered", [True, False])
def test_another_data_set_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, remembered: bool
) -> None:
    from tests.helpers.synapse_files import prepare, write

    for number in (5, 10):
        write(tmp_path / "RawData/Training", number)
    prepare(tmp_path / "RawData", tmp_path / "abdomen")
    out = run(data, tmp_path / "run")
    if not remembered:
        (out / PATIENTS).unlink()
    with pytest.raises(OarfuseError, match="the data set openkbp, not synapse"):
        run(tmp_path / "abdomen", out, steps=4)


def test_nothing_is_made_of_a_part(data: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, INFO.build().state_dict(), INFO)
    content = json.loads((data / "manifest.json").read_text())
    lost = {"case": "pt_9", "split": "train", "reason": "is damaged.", "damaged": True}
    for change in ({"complete": False}, {"skipped": [lost]}):
        (data / "manifest.json").write_text(json.dumps(content | change))
        load_manifest(data)  # to look at, it is good enough
        for make in (
            lambda: run(data, tmp_path / "run"),
            lambda: evaluate(weights, data, "validation", tmp_path / "e"),
            lambda: score_predictions(data, data, "validation", tmp_path / "e", method="m"),
            lambda: make_fold(data, tmp_path / "fold", fold=1, folds=2),
        ):
            with pytest.raises(OarfuseError, match="is not complete"):
                make()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "w.safetensors"}


# --- evaluating again ----------------------------------------------------------------------------


def change_label(data: Path) -> None:
    path = data / "labels/pt_4.nii.gz"
    image = nib.Nifti1Image.from_filename(path)
    array = np.asarray(image.dataobj).copy()
    array[array == 1] = 0
    nib.save(nib.Nifti1Image(array, image.affine, image.header), path)


def test_evaluating_again_writes_predictions_and_sees_changed_files(
    data: Path, tmp_path: Path
) -> None:
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    arguments = (tmp_path / "w.safetensors", data, "validation", tmp_path / "out")
    first = evaluate(*arguments, progress=False)
    saved = tmp_path / "out/predictions/pt_4.nii.gz"
    assert not saved.exists()
    second = evaluate(*arguments, progress=False, save_predictions=True)
    assert second.metrics.equals(first.metrics)
    labels = saved.read_bytes()
    saved.unlink()
    evaluate(*arguments, progress=False, save_predictions=True)
    assert saved.read_bytes() == labels
    saved.write_bytes(b"corrected by hand")
    with pytest.raises(OarfuseError, match="was changed after this evaluation wrote it"):
        evaluate(*arguments, progress=False, save_predictions=True)
    assert saved.read_bytes() == b"corrected by hand"

    stored = json.loads((tmp_path / "out/cases/pt_4.json").read_text())
    for broken in ([1], stored | {"rows": []}, stored | {"rows": [{}, *stored["rows"][1:]]}):
        (tmp_path / "out/cases/pt_4.json").write_text(json.dumps(broken))
        assert evaluate(*arguments, progress=False).metrics.equals(first.metrics)
    change_label(data)
    with (
        pytest.warns(UserWarning, match="changed after the preparation"),
        pytest.raises(OarfuseError, match="differs in data_sha256"),
    ):
        evaluate(*arguments, progress=False)
    with pytest.warns(UserWarning, match="changed after the preparation"):
        result = evaluate(*arguments[:3], tmp_path / "new", progress=False)
    assert "pt_4" in result.summary["warnings"][0]
    assert "**Warning**" in (tmp_path / "new/summary.md").read_text()


# --- options that weights cannot honour ----------------------------------------------------------


def test_mirroring_needs_a_network_that_knows_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = INFO.build()
    assert check_options(model, INFO, mirror=True) == []
    plain = replace(INFO, training={"config": {"augment": False}})
    (said,) = check_options(model, plain, mirror=True)
    with pytest.raises(OarfuseError, match="Left and right are not alike"):
        check_options(model, replace(INFO, dataset="synapse"), mirror=True)

    save_weights(tmp_path / "w.safetensors", model.state_dict(), plain)
    words = ["evaluate", "--weights", f"{tmp_path}/w.safetensors", "--data", str(data)]
    assert main([*words, "--output", f"{tmp_path}/out", "--mirror"]) == 0
    shown = capsys.readouterr()
    assert f"oarfuse: warning: {said}\n" in shown.err and said in shown.out
    assert json.loads((tmp_path / "out/summary.json").read_text())["warnings"] == [said]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--adapt", "3"], "cannot adapt"),
        (["--adapt", "-1"], "--adapt is -1"),
        (["--slices", "224"], "segments volumes and not slices"),
        (["--slices", "0"], "segments volumes and not slices"),
    ],
)
def test_refused_options_leave_no_folder(
    data: Path, tmp_path: Path, option: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    words = ["evaluate", "--weights", f"{tmp_path}/w.safetensors", "--data", str(data)]
    assert main([*words, "--output", f"{tmp_path}/out", *option]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- Ctrl-C --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C interrupt, also if the tests run in the background of a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_training_keeps_its_last_step(
    data: Path, tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    sizes = {**SIZES, "steps": 12, "validate_every": 12, "checkpoint_every": 500}
    sizes["workers"] = workers
    whole = train(TrainConfig(str(data), str(tmp_path / "whole"), **sizes), progress=False)
    config = TrainConfig(str(data), str(tmp_path / "run"), **sizes)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    def signal_all(folder: Path) -> None:
        """As a terminal and a batch system do: the workers get it too, and first."""
        for process in [*(child.pid for child in multiprocessing.active_children()), os.getpid()]:
            assert process is not None
            os.kill(process, number)

    with pytest.raises(Stopped, match="after step 10; the same command goes on from there"):
        train(config, progress=False, watch=signal_all)
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    assert list(read_curves(config.output)["step"]) == [10]
    train(config, progress=False)
    assert_same_end(whole, tmp_path / "run")


def test_a_second_ctrl_c_does_not_wait(data: Path, tmp_path: Path) -> None:
    sizes = {**SIZES, "steps": 12, "checkpoint_every": 500}

    def twice(folder: Path) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(TrainConfig(str(data), str(tmp_path / "run"), **sizes), progress=False, watch=twice)
    assert not isinstance(caught.value, Stopped)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", "there is no checkpoint yet, so that the same command starts anew"),
        ("train with one", "the same command goes on from the run's last checkpoint"),
        ("predict", "the same command starts anew"),
        ("evaluate", "the same command goes on from here"),
    ],
)
def test_what_is_said_is_true(
    tmp_path: Path,
    command: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def terminate(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    for place in ("training.train", "prediction.predict_file", "evaluation.evaluate"):
        monkeypatch.setattr(f"oarfuse.{place}", terminate)
    if command == "train with one":
        (tmp_path / CHECKPOINT).touch()
    words = {
        "train": ["--data", "d", "--model", "m", "--output", str(tmp_path)],
        "predict": ["--weights", "w", "--input", "i", "--output", "o"],
        "evaluate": ["--weights", "w", "--data", "d", "--output", "o"],
    }
    name = command.split()[0]
    assert main([name, *words[name]]) == 130
    assert capsys.readouterr().err == f"oarfuse: stopped; {says}.\n"


# --- what a run folder lost ---------------------------------------------------------------------


def test_weights_whose_checkpoints_are_gone_are_kept(data: Path, tmp_path: Path) -> None:
    out = run(data, tmp_path / "run")
    trained = (out / "weights.safetensors").read_bytes()
    for path in out.glob("checkpoint*"):
        path.unlink()
    with pytest.warns(UserWarning, match="had no checkpoint to go on from"):
        run(data, out)
    assert (out / "weights.earlier.safetensors").read_bytes() == trained
    assert "no checkpoint" in json.loads((out / ENVIRONMENT).read_text())[-1]["warnings"][0]
    for path in out.glob("checkpoint*"):
        path.unlink()
    with pytest.raises(OarfuseError, match="move the weights away"):
        run(data, out)
    assert (out / "weights.earlier.safetensors").read_bytes() == trained


def test_weights_never_stand_without_a_checkpoint(data: Path, tmp_path: Path) -> None:
    def look(folder: Path) -> None:
        seen.append((folder / "weights.safetensors").exists() <= (folder / CHECKPOINT).exists())

    seen: list[bool] = []
    sizes = {**SIZES, "validate_every": 2, "checkpoint_every": 1000}
    train(TrainConfig(str(data), str(tmp_path / "run"), **sizes), progress=False, watch=look)
    assert seen and all(seen)


@pytest.mark.parametrize("sides", [(17, 16, 16), (1, 1, 1)])
def test_a_patch_that_does_not_fit_leaves_no_folder(
    data: Path, tmp_path: Path, sides: tuple[int, int, int]
) -> None:
    with pytest.raises(OarfuseError, match=r"cannot take patches of .* give another --patch-size"):
        run(data, tmp_path / "run", patch_size=sides)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (ENVIRONMENT, "{"),
        (ENVIRONMENT, '"x"'),
        ("log.csv", "junk\n1"),
        ("validation.csv", ""),
        (PATIENTS, '{"cases": 1}'),
        ("config.json", "[]"),
    ],
)
def test_damaged_records_of_a_run_are_named(
    data: Path, tmp_path: Path, name: str, content: str
) -> None:
    out = run(data, tmp_path / "run")
    checkpoint = (out / CHECKPOINT).read_bytes()
    (out / name).write_text(content)
    with pytest.raises(OarfuseError, match=rf"{name} is (damaged|not a run's configuration)"):
        run(data, out, steps=4)
    assert (out / CHECKPOINT).read_bytes() == checkpoint


def test_a_finished_run_that_lost_its_weights_says_so(data: Path, tmp_path: Path) -> None:
    out = run(data, tmp_path / "run")
    (out / "weights.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"without weights\.safetensors: give more --steps"):
        run(data, out)
    run(data, out, steps=4)
    assert (out / "weights.safetensors").exists()
