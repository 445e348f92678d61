"""Folds: every patient validates once, nothing is copied, and a folder keeps its fold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest, make_fold
from oarfuse.data.folds import fewer_validation
from oarfuse.data.manifest import MANIFEST
from oarfuse.errors import OarfuseError
from tests.helpers.small_data import write_small_data


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    write_small_data(tmp_path / "prepared", train=5, validation=2, test=1)
    return tmp_path / "prepared"


def names(folder: Path, split: str) -> set[str]:
    return {case.case for case in load_manifest(folder).split(split)}


def test_each_patient_validates_in_exactly_one_fold(prepared: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"fold{number}" for number in (1, 2, 3)]
    for number, folder in enumerate(folders, start=1):
        make_fold(prepared, folder, fold=number, folds=3)
    everybody = names(prepared, "train") | names(prepared, "validation")
    validated = [names(folder, "validation") for folder in folders]
    assert sorted(len(fold) for fold in validated) == [2, 2, 3]
    assert set.union(*validated) == everybody
    for folder, fold in zip(folders, validated, strict=True):
        assert names(folder, "train") == everybody - fold
        assert names(folder, "test") == names(prepared, "test")


def test_fold_shows_the_prepared_images_and_moves_with_them(prepared: Path, tmp_path: Path) -> None:
    made = make_fold(prepared, tmp_path / "folds/1of2", fold=1, folds=2)
    assert made.split_rule == "folders, fold 1 of 2 (seed 0)"
    assert (made.phantom, made.complete) == (True, True)
    (tmp_path / "moved").mkdir()
    shutil.move(prepared, tmp_path / "moved")
    shutil.move(tmp_path / "folds", tmp_path / "moved")
    moved = load_manifest(tmp_path / "moved/folds/1of2")
    assert all(load_case(case).label.any() for case in moved.cases)


def test_seed_decides_and_repeating_changes_nothing(prepared: Path, tmp_path: Path) -> None:
    first = make_fold(prepared, tmp_path / "a", fold=1, folds=2)
    content = (tmp_path / "a" / MANIFEST).read_text()
    make_fold(prepared, tmp_path / "a", fold=1, folds=2)
    assert (tmp_path / "a" / MANIFEST).read_text() == content
    others = [make_fold(prepared, tmp_path / f"s{n}", fold=1, folds=2, seed=n) for n in range(1, 5)]
    assert any(other.split("validation") != first.split("validation") for other in others)


def test_command_counts_the_patients(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fold", "--data", str(prepared), "--output", str(tmp_path / "f"), "--fold", "2"]
    assert main([*words, "--folds", "7"]) == 0
    assert capsys.readouterr().out.endswith("6 train, 1 validation, 1 test; 0 skipped.\n")


@pytest.mark.parametrize(("fold", "folds"), [(0, 3), (4, 3), (1, 1), (1, 8)])
def test_numbers_that_make_no_sense(prepared: Path, tmp_path: Path, fold: int, folds: int) -> None:
    with pytest.raises(OarfuseError, match="cannot be made of 7 patients"):
        make_fold(prepared, tmp_path / "f", fold=fold, folds=folds)
    assert not (tmp_path / "f").exists()


def test_unfinished_preparation_is_refused(prepared: Path, tmp_path: Path) -> None:
    content = json.loads((prepared / MANIFEST).read_text())
    (prepared / MANIFEST).write_text(json.dumps(content | {"complete": False}))
    with pytest.raises(OarfuseError, match="is not complete"):
        make_fold(prepared, tmp_path / "f", fold=1, folds=2)


def test_folder_of_another_fold_is_kept(prepared: Path, tmp_path: Path) -> None:
    make_fold(prepared, tmp_path / "f", fold=1, folds=2)
    before = (tmp_path / "f" / MANIFEST).read_text()
    with pytest.raises(OarfuseError, match="holds another split"):
        make_fold(prepared, tmp_path / "f", fold=2, folds=2)
    assert (tmp_path / "f" / MANIFEST).read_text() == before


def test_prepared_folder_is_never_turned_into_a_fold(prepared: Path) -> None:
    before = (prepared / MANIFEST).read_text()
    for output in (prepared, prepared / "images", prepared / "../prepared/labels"):
        with pytest.raises(OarfuseError, match="is read by this command"):
            make_fold(prepared, output, fold=1, folds=2)
    assert not (prepared / "images" / MANIFEST).exists()
    assert (prepared / MANIFEST).read_text() == before


def test_foreign_images_are_kept(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "f/images").mkdir(parents=True)
    with pytest.raises(OarfuseError, match="holds other images"):
        make_fold(prepared, tmp_path / "f", fold=1, folds=2)


def test_disk_without_links(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(OarfuseError, match="cannot become a link"):
        make_fold(prepared, tmp_path / "f", fold=1, folds=2)
    assert not (tmp_path / "f" / MANIFEST).exists()


def test_fewer_patients_validate_and_all_train(prepared: Path, tmp_path: Path) -> None:
    made = fewer_validation(prepared, tmp_path / "few", 1)
    assert made.split("train") and names(tmp_path / "few", "train") == names(prepared, "train")
    assert names(tmp_path / "few", "validation") < names(prepared, "validation")
    assert made.split("test") == () and made.split_rule == "folders, 1 of 2 validation patients"
    assert all(load_case(case).label.any() for case in made.cases)
    assert len(fewer_validation(prepared, tmp_path / "few", 2).split("validation")) == 2
    with pytest.raises(OarfuseError, match="2 validation patients, not 3: choose 1 to 2"):
        fewer_validation(prepared, tmp_path / "few", 3)
