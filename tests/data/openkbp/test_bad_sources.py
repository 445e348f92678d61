"""Sources that cannot be prepared at all: each stops at once with one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from oarfuse.data import Manifest, prepare_openkbp
from oarfuse.errors import OarfuseError
from tests.helpers.openkbp_files import patient_files, three_patients, write_source, zip_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "open-kbp", three_patients())


def prepare(source: Path, output: Path, **options: Any) -> Manifest:
    return prepare_openkbp(source, output, progress=False, **options)


def test_source_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"no source at .*nowhere"):
        prepare(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x03\x04" + b"\0" * 200])
def test_file_that_is_no_zip(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "kbp.zip").write_bytes(data)
    with pytest.raises(OarfuseError, match=r"kbp\.zip is no readable ZIP"):
        prepare(tmp_path / "kbp.zip", tmp_path / "out")


def test_truncated_zip(source: Path, tmp_path: Path) -> None:
    path = zip_source(source, tmp_path / "kbp.zip")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(OarfuseError, match=r"kbp\.zip is no readable ZIP"):
        prepare(path, tmp_path / "out")


@pytest.mark.parametrize(
    "member",
    [
        "../escape.csv",
        "open-kbp-master/../../escape.csv",
        "/etc/escape.csv",
        "C:/escape.csv",
        "..\\escape.csv",
        "\\escape.csv",
    ],
)
def test_zip_that_escapes_its_folder(source: Path, tmp_path: Path, member: str) -> None:
    path = zip_source(source, tmp_path / "kbp.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, "x")
    with pytest.raises(OarfuseError, match="leaves the archive's own folder"):
        prepare(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zip_with_a_member_twice(source: Path, tmp_path: Path) -> None:
    path = zip_source(source, tmp_path / "kbp.zip")
    name = "open-kbp-master/provided-data/train-pats/pt_2/ct.csv"
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, "x")
    with pytest.raises(OarfuseError, match=r"pt_2/ct\.csv twice"):
        prepare(path, tmp_path / "out")


def test_encrypted_zip(source: Path, tmp_path: Path) -> None:
    path = zip_source(source, tmp_path / "kbp.zip")
    data = bytearray(path.read_bytes())
    place = 0
    while (place := data.find(b"PK\x01\x02", place)) >= 0:  # set the flag in each directory entry
        data[place + 8] |= 1
        place += 4
    path.write_bytes(data)
    with pytest.raises(OarfuseError, match=r"cannot be unpacked|encrypted"):
        prepare(path, tmp_path / "out")


def test_folder_without_patients(tmp_path: Path) -> None:
    (tmp_path / "source/provided-data").mkdir(parents=True)
    with pytest.raises(OarfuseError, match=r"no provided-data with train-pats"):
        prepare(tmp_path / "source", tmp_path / "out")


def test_zip_without_patients(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "kbp.zip", "w") as archive:
        archive.writestr("README.md", "nothing here")
    with pytest.raises(OarfuseError, match=r"no provided-data with train-pats"):
        prepare(tmp_path / "kbp.zip", tmp_path / "out")


def test_two_data_sets_in_one_zip(source: Path, tmp_path: Path) -> None:
    path = zip_source(source, tmp_path / "kbp.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/provided-data/train-pats/pt_1/ct.csv", "x")
    with pytest.raises(OarfuseError, match="several data sets"):
        prepare(path, tmp_path / "out")


def test_patient_in_two_splits(tmp_path: Path) -> None:
    patients = {"train/pt_1": patient_files(), "test/pt_1": patient_files()}
    with pytest.raises(OarfuseError, match="pt_1 in both train-pats and test-pats"):
        prepare(write_source(tmp_path / "kbp", patients), tmp_path / "out")


def test_no_patient_with_all_organs(tmp_path: Path) -> None:
    files = patient_files()
    del files["Brainstem"]
    with pytest.raises(OarfuseError, match=r"No patient in .* has all five organs"):
        prepare(write_source(tmp_path / "kbp", {"train/pt_1": files}), tmp_path / "out")


def test_unknown_split_rule_and_useless_workers(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="choose one of folders, lexicographic"):
        prepare(source, tmp_path / "out", split_rule="random")
    with pytest.raises(OarfuseError, match="0 workers"):
        prepare(source, tmp_path / "out", workers=0)
