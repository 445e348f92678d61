"""No command overwrites what it reads or what it did not write; outputs are checked first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from oarfuse.cli import main
from oarfuse.config import TrainConfig
from oarfuse.data import make_fold, prepare_openkbp
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import evaluate
from oarfuse.evaluation.paper_tables import write_tables
from oarfuse.files import atomic_path, sole_writer
from oarfuse.phantom import make_phantom
from oarfuse.runs import RunFolder, export_weights
from oarfuse.weights import save_weights
from tests.helpers.faults import INFO, ct
from tests.helpers.openkbp_files import patient_files, write_source
from tests.helpers.small_data import write_small_data


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A CT, weights, and other files that a user has; a network must never be asked."""
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    nib.save(nib.Nifti1Image(ct(), np.diag([4.0, 4, 4, 1])), tmp_path / "ct.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "by_hand.nii.gz")
    os.link(tmp_path / "ct.nii.gz", tmp_path / "hard.nii.gz")
    (tmp_path / "soft.nii.gz").symlink_to("ct.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "file").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("ct.nii.gz", "is read by this command"),
        ("sub/../ct.nii.gz", "is read by this command"),
        ("hard.nii.gz", "is read by this command"),
        ("soft.nii.gz", "is read by this command"),
        ("w.safetensors", "is read by this command"),
        ("by_hand.nii.gz", "not a label map of this kit"),
        ("folder.nii.gz", "is a folder"),
        ("labels", "end it with .nii.gz"),
        ("labels.png", "end it with .nii.gz"),
        (".", "is a folder"),
        ("file/labels.nii.gz", "Cannot write"),
        ("a" * 250 + ".nii.gz", "Cannot write"),
        ("/proc/nothing/labels.nii.gz", "Cannot write"),
    ],
)
def test_predict_checks_its_output_first(
    place: Path,
    output: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (place / "sub").mkdir()
    before = snapshot(place)
    monkeypatch.setattr("oarfuse.inference.predict_labels", lambda *a, **k: pytest.fail("late"))
    words = ["predict", "--weights", f"{place}/w.safetensors", "--input", f"{place}/ct.nii.gz"]
    assert main([*words, "--output", str(place / output)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert snapshot(place) == before
    assert not list(place.rglob("*.partial*"))


def test_a_name_may_be_as_long_as_the_disk_allows(place: Path) -> None:
    words = ["predict", "--weights", f"{place}/w.safetensors", "--input", f"{place}/ct.nii.gz"]
    longest = f"{place}/{'a' * 248}.nii.gz"
    assert main([*words, "--output", longest, "--device", "cpu"]) == 0
    assert Path(longest).exists()


def test_predict_replaces_its_own_labels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--weights", f"{place}/w.safetensors", "--input", f"{place}/ct.nii.gz"]
    for _ in range(2):
        assert main([*words, "--output", f"{place}/new folder/é.nii.gz", "--device", "cpu"]) == 0
    assert len(list((place / "new folder").iterdir())) == 1


@pytest.mark.parametrize("device", ["cuda:7", "mps", "xpu", "cuda:x", "meta"])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_devices_that_are_not_there(
    place: Path, command: str, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "predict":
        words = ["--input", f"{place}/ct.nii.gz", "--output", f"{place}/out.nii.gz"]
    else:
        write_small_data(place / "data")
        words = ["--data", f"{place}/data", "--output", f"{place}/scores"]
    words += ["--weights", f"{place}/w.safetensors", "--device", device]
    assert main([command, *words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert device in line
    assert not (place / "scores").exists()


def run_folder(folder: Path) -> Path:
    folder.mkdir()
    save_weights(folder / "weights.safetensors", INFO.build().state_dict(), INFO)
    return folder


def foreign_safetensors(path: Path) -> None:
    save_file({"a": torch.zeros(1)}, path)


def published(path: Path) -> None:
    save_weights(path, INFO.build().state_dict(), INFO, half=True)
    path.with_suffix(".json").write_text("{}")


@pytest.mark.parametrize(
    ("name", "there", "says"),
    [
        ("run/weights.safetensors", None, "is read by this command"),
        ("run/../run/weights.safetensors", None, "is read by this command"),
        ("other.safetensors", foreign_safetensors, "not an export"),
        ("other.safetensors", lambda path: path.write_text("notes"), "not an export"),
        ("other.safetensors", published, "not an export"),
        ("other.pt", None, "end it with .safetensors"),
        ("run", None, "is a folder"),
    ],
)
def test_export_keeps_what_is_no_export(
    tmp_path: Path, name: str, there: Callable[[Path], object] | None, says: str
) -> None:
    run = run_folder(tmp_path / "run")
    if there:
        there(tmp_path / name)
    before = snapshot(tmp_path)
    with pytest.raises(OarfuseError, match=says):
        export_weights(run, tmp_path / name)
    assert snapshot(tmp_path) == before
    for _ in range(2):  # its own it replaces
        export_weights(run, tmp_path / "export.safetensors")


@pytest.mark.parametrize("name", ["metrics.csv", "summary.md", "cases/pt_2.json", "predictions/x"])
def test_evaluate_keeps_a_folder_that_is_not_its_own(tmp_path: Path, name: str) -> None:
    write_small_data(tmp_path / "data")
    run = run_folder(tmp_path / "run")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(OarfuseError, match="not this command's own"):
        evaluate(run / "weights.safetensors", tmp_path / "data", "validation", tmp_path / "out")
    assert snapshot(tmp_path / "out") == {name: b"mine"}


def test_evaluate_never_writes_into_the_data(tmp_path: Path) -> None:
    write_small_data(tmp_path / "data")
    run = run_folder(tmp_path / "run")
    before = snapshot(tmp_path)
    with pytest.raises(OarfuseError, match="is read by this command"):
        evaluate(run / "weights.safetensors", tmp_path / "data", "validation", tmp_path / "data/.")
    assert snapshot(tmp_path) == before


def test_a_linked_predictions_folder_keeps_its_labels(tmp_path: Path) -> None:
    write_small_data(tmp_path / "data")
    run = run_folder(tmp_path / "run")
    arguments = (run / "weights.safetensors", tmp_path / "data", "validation", tmp_path / "out")
    evaluate(*arguments, progress=False)
    (tmp_path / "out/predictions").symlink_to("../data/labels")
    before = snapshot(tmp_path / "data")
    with pytest.raises(OarfuseError, match="not a label map of this kit"):
        evaluate(*arguments, progress=False, save_predictions=True)
    assert snapshot(tmp_path / "data") == before


@pytest.mark.parametrize("name", ["weights.safetensors", "log.csv", "tensorboard/events"])
def test_train_keeps_a_folder_that_is_no_run(tmp_path: Path, name: str) -> None:
    manifest = write_small_data(tmp_path / "data")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with (
        pytest.raises(OarfuseError, match=r"but no config\.json"),
        RunFolder(TrainConfig(str(tmp_path / "data"), str(tmp_path / "out")), manifest),
    ):
        pass
    assert snapshot(tmp_path / "out") == {name: b"mine"}


def test_prepare_keeps_images_that_are_not_its_own(tmp_path: Path) -> None:
    source = write_source(tmp_path / "kbp", {"train/pt_1": patient_files()})
    mine = tmp_path / "out/images/pt_1.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(OarfuseError, match=r"holds images/pt_1\.nii\.gz but no manifest"):
        prepare_openkbp(source, tmp_path / "out", progress=False)
    assert snapshot(tmp_path / "out") == {"images/pt_1.nii.gz": b"mine"}
    with pytest.raises(OarfuseError, match="is read by this command"):
        prepare_openkbp(source, source, progress=False)


@pytest.mark.parametrize("name", ["notes.txt", "prepared/manifest.json", "provided-data/a.csv"])
def test_another_phantom_never_takes_the_users_files_with_it(tmp_path: Path, name: str) -> None:
    make_phantom(tmp_path / "p", train=1, validation=0, test=0)
    (tmp_path / "p" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "p" / name).write_text("mine")
    before = snapshot(tmp_path)
    with pytest.raises(OarfuseError, match="beside another phantom"):
        make_phantom(tmp_path / "p", train=1, validation=0, test=0, seed=1)
    assert snapshot(tmp_path) == before
    (tmp_path / "p" / name).unlink()
    if name.startswith("prepared"):
        (tmp_path / "p/prepared").rmdir()
    (tmp_path / "link").symlink_to("p")
    make_phantom(tmp_path / "link", train=1, validation=0, test=0, seed=1)
    assert (tmp_path / "link").is_symlink()
    assert '"seed": 1' in (tmp_path / "p/phantom.json").read_text()


def test_tables_keep_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "table_I.md").write_text("# My own table\n")
    with pytest.raises(OarfuseError, match="not a table of this kit"):
        write_tables([tmp_path], tmp_path)
    assert snapshot(tmp_path) == {"table_I.md": b"# My own table\n"}


def test_what_others_write_is_not_cleared_away(tmp_path: Path) -> None:
    mine = tmp_path / ".notes.partial.txt"
    mine.write_text("mine")
    left = tmp_path / "sub" / ".a-abcd_123.partial.nii.gz"
    left.parent.mkdir()
    left.write_text("of a killed command")
    with atomic_path(tmp_path / "sub/b.json") as writing:
        writing.write_text("of another command")
        with sole_writer(tmp_path, "testing"):
            pass
    assert mine.exists() and not left.exists()
    assert (tmp_path / "sub/b.json").read_text() == "of another command"


def test_seeds_of_a_fold(tmp_path: Path) -> None:
    write_small_data(tmp_path / "data", train=3)
    with pytest.raises(OarfuseError, match="seed is -1"):
        make_fold(tmp_path / "data", tmp_path / "fold", fold=1, folds=2, seed=-1)
