"""Paths, archives, consoles and machines as people have them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.config import TrainConfig
from oarfuse.data import prepare_openkbp
from oarfuse.data.containers import walk
from oarfuse.errors import OarfuseError
from oarfuse.training import train
from oarfuse.weights import save_weights
from tests.helpers.faults import INFO, ct
from tests.helpers.openkbp_files import patient_files, write_source
from tests.helpers.small_data import write_small_data
from tests.helpers.synapse_files import prepare, write
from tests.test_interruption import SIZES


@pytest.fixture
def abdomen(tmp_path: Path) -> Path:
    for number in (5, 10):
        write(tmp_path / "Raw Data é/Training", number)
    return tmp_path / "Raw Data é"


def cases(manifest: Any) -> list[str]:
    return [case.case for case in manifest.cases]


# --- links, archives and names -------------------------------------------------------------------


def test_folders_behind_links(abdomen: Path, tmp_path: Path) -> None:
    other_disk = tmp_path / "other disk"
    other_disk.mkdir()
    for name in ("img", "label"):
        (abdomen / "Training" / name).rename(other_disk / name)
        (abdomen / "Training" / name).symlink_to(other_disk / name)
    (abdomen / "Training/circle").symlink_to("..")
    (abdomen / "Training/gone").symlink_to("nowhere")
    assert cases(prepare(abdomen, tmp_path / "out")) == ["case0005", "case0010"]
    assert len(list(walk(abdomen))) == 5  # four files and the link to nowhere


def test_patients_behind_links_and_in_nested_folders(tmp_path: Path) -> None:
    source = write_source(tmp_path / "kbp", {"train/pt_1": patient_files()})
    deep = tmp_path / "open-kbp-master (1)/open-kbp-master/open-kbp/data"
    (deep / "train-pats").mkdir(parents=True)
    (deep / "train-pats/pt_1").symlink_to(source / "provided-data/train-pats/pt_1")
    (deep / "train-pats/.DS_Store").write_bytes(b"Bud1")
    (deep / "train-pats/pt_1/._ct.csv").write_bytes(b"Mac OS X")
    top = tmp_path / "open-kbp-master (1)"
    assert cases(prepare_openkbp(top, tmp_path / "out", progress=False)) == ["pt_1"]


def test_upper_case_names(abdomen: Path, tmp_path: Path) -> None:
    training = abdomen / "Training"
    for path in [*training.glob("*/*.gz")]:
        path.rename(path.with_name(path.name.upper()))
    (training / "img").rename(training / "IMG")
    assert cases(prepare(abdomen, tmp_path / "out")) == ["case0005", "case0010"]


@pytest.mark.parametrize("maker", ["macos", "windows"])
def test_archives_of_other_systems(abdomen: Path, tmp_path: Path, maker: str) -> None:
    path = tmp_path / "Raw Data.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in abdomen.rglob("*.gz"):
            name = member.relative_to(tmp_path).as_posix()
            if maker == "windows":
                information = zipfile.ZipInfo("x")
                information.filename = name.replace("/", "\\")  # as old .NET programs write it
                file.writestr(information, member.read_bytes())
                continue
            file.write(member, name)
            folder, last = name.rsplit("/", 1)
            file.writestr(f"__MACOSX/{folder}/._{last}", b"Mac OS X")
            file.writestr(f"{folder}/._{last}", b"Mac OS X")
        if maker == "macos":
            file.writestr(".DS_Store", b"Bud1")
    assert cases(prepare(path, tmp_path / "out")) == ["case0005", "case0010"]


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--minutes", "nan"], "minutes is nan"),
        (["--minutes", "inf"], "minutes is inf"),
        (["--minutes", "-5"], "minutes is -5"),
        (["--max-lr", "inf"], "learning rates"),
        (["--min-lr", "nan"], "learning rates"),
        (["--ema-decay", "nan"], "ema_decay is nan"),
        (["--augment-strength", "nan"], "augment_strength is nan"),
        (["--augment-strength", "inf"], "augment_strength is inf"),
        (["--seed", "12345678901234567890"], "seed is 12345678901234567890"),
        (["--seed", "-1"], "seed is -1"),
        (["--steps", "1" + "0" * 20], "steps is 1000"),
        (["--workers", "100000"], "workers is 100000"),
        (["--patch-size", "16", "16", "-16"], "patch_size is -16"),
        (["--patch-size", "1024", "64", "64"], "patch_size is 1024"),
        (["--data", ""], "What follows --data is empty"),
        (["--init="], "What follows --init is empty"),
    ],
)
def test_numbers_are_refused_before_anything_is_read(
    tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "nowhere", "--model", "msf3d", "--output", str(tmp_path / "run")]
    assert main([*words, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--workers", "1000"], "workers is 1000, but this machine lends"),
        (["--devices", "1000"], "devices is 1000, but this machine lends"),
        (["--accelerator", "tpu"], "Cannot train on 1 devices of kind 'tpu'"),
    ],
)
def test_more_than_the_machine_has(
    tmp_path: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small_data(tmp_path / "data", train=1, validation=0)
    words = ["train", "--data", str(tmp_path / "data"), "--model", "msf3d"]
    assert main([*words, "--output", str(tmp_path / "run"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--steps", "1e3"], "invalid int value: '1e3'; see oarfuse train --help"),
        (["fold", "--fold", "one"], "invalid int value: 'one'"),
        (["train", "--model-options", '{"width": 2, "width": 4}'], "each name once"),
        (["predict", "--input", "-ct.nii.gz"], "--input: expected one argument"),
        (["nothing"], "invalid choice: 'nothing'"),
    ],
)
def test_mistakes_in_words_take_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


# --- machines and consoles -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
        "dataloader's workers are out of shared memory.\nPlease try to raise your limit.",
        "unable to write to file </torch_7_1>: No space left on device (28)",
        "received 0 items of ancdata",
    ],
)
def test_workers_without_shared_memory(
    tmp_path: Path, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loader:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            pass

        def __iter__(self) -> Any:
            raise RuntimeError(message)

    monkeypatch.setattr("oarfuse.data.feeding.DataLoader", Loader)
    write_small_data(tmp_path / "data")
    config = TrainConfig(str(tmp_path / "data"), str(tmp_path / "run"), **{**SIZES, "workers": 1})
    with pytest.raises(OarfuseError, match="train with --workers 0, or give the container") as said:
        train(config, progress=False)
    assert "\n" not in str(said.value)


def oarfuse(*words: object, coding: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oarfuse.cli", *map(str, words)],
        env=os.environ | {"PYTHONIOENCODING": coding},
        capture_output=True,
        encoding=coding,
        timeout=240,
    )


@pytest.fixture
def predicting(tmp_path: Path) -> list[object]:
    folder = tmp_path / "Patient é 漢"
    folder.mkdir()
    save_weights(folder / "w.safetensors", INFO.build().state_dict(), INFO)
    nib.save(nib.Nifti1Image(ct(), np.diag([4.0, 4, 4, 1])), folder / "ct.nii.gz")
    words = ["predict", "--weights", folder / "w.safetensors", "--input", folder / "ct.nii.gz"]
    return [*words, "--output", folder / "labels.nii.gz"]


@pytest.mark.parametrize("coding", ["ascii", "cp1252"])
def test_a_console_without_unicode(predicting: list[object], coding: str) -> None:
    told = oarfuse(*predicting, coding=coding)
    assert (told.returncode, told.stderr) == (0, "")
    assert "\\u6f22" in told.stdout
    told = oarfuse(*predicting[:-1], f"{predicting[2]}/漢.nii.gz", coding=coding)
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("where", "code"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 2)])
def test_streams_that_are_closed_or_full(predicting: list[object], where: str, code: int) -> None:
    """Programs with a window have no streams; the labels are written in any case."""
    words = shlex.join([sys.executable, "-m", "oarfuse.cli", *map(str, predicting)])
    told = subprocess.run(
        f"{words} {where}", shell=True, capture_output=True, text=True, timeout=240
    )
    assert told.returncode == code
    assert Path(str(predicting[-1])).exists()
    assert "Traceback" not in told.stderr
    assert code == 0 or "Cannot write what this command says (No space left" in told.stderr


NOBODY = """
import pwd, runpy, sys
def getpwuid(number):
    raise KeyError("getpwuid(): uid not found: 54321")
pwd.getpwuid = getpwuid
sys.argv[0] = "oarfuse"
runpy.run_module("oarfuse.cli", run_name="__main__")
"""


@pytest.mark.parametrize("home", [{}, {"HOME": "/proc/nonexistent"}])
def test_no_home_and_no_user(predicting: list[object], home: dict[str, str]) -> None:
    """As in a container that runs under a number to which nobody has given a name."""
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "USER", "LOGNAME")}
    command = [sys.executable, "-c", NOBODY, *map(str, predicting)]
    told = subprocess.run(command, env=kept | home, capture_output=True, text=True, timeout=240)
    assert (told.returncode, told.stdout) == (0, f"{predicting[-1]}\n")
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 2, "The memory does not suffice"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "The memory"),
        (PermissionError(13, "Permission denied", "/x/ct.nii"), 2, "Cannot use /x/ct.nii (Perm"),
    ],
)
def test_what_a_machine_refuses_is_said(
    error: Exception,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("oarfuse.prediction.predict_file", fail)
    assert main(["predict", "--weights", "w", "--input", "i", "--output", "o"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"oarfuse: error: {says}")
