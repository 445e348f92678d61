"""What notebooks read: a phantom where that was asked for, and never in the place of patients."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from oarfuse import weights as weights_module
from oarfuse.course import material as embedded
from oarfuse.course.material import course_data, course_source, course_weights
from oarfuse.data import load_manifest
from oarfuse.errors import OarfuseError
from oarfuse.runs import WEIGHTS


def test_a_missing_folder_for_patients_is_not_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "openkbp" / "prepared"
    with pytest.raises(
        OarfuseError, match=r"openkbp.prepared holds no prepared data: run notebook"
    ):
        course_data(folder)
    with pytest.raises(
        OarfuseError, match=r"openkbp.prepared is a folder for patients: set source"
    ):
        course_source(None, folder)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_phantom_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(folder: Path) -> Path:
        drawn.append(folder)
        return folder

    monkeypatch.setattr(embedded, "phantom_data", draw)
    monkeypatch.setattr(embedded, "phantom_source", lambda folder: Path(folder).parent / "source")
    folder = tmp_path / "phantom" / "prepared"
    assert course_data(str(folder)) == folder and drawn == [folder]
    assert course_source(None, folder) == tmp_path / "phantom" / "source"
    assert course_source("a.zip", folder) == Path("a.zip")


def test_prepared_data_is_left_as_it_is(phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "anything" / "prepared"
    shutil.copytree(phantom, folder)
    assert course_data(folder) == folder


def test_no_minute_of_training_passes_for_a_result_on_patients(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "phantom_weights", lambda run, data: Path(run) / "trained")
    run = tmp_path / "run"
    assert course_weights(run, phantom) == run / "trained"

    patients = dataclasses.replace(load_manifest(phantom), phantom=False)
    monkeypatch.setattr(embedded, "load_manifest", lambda folder: patients)
    monkeypatch.setattr(weights_module, "_FOLDERS", (tmp_path,))
    with pytest.raises(OarfuseError, match="and none come with the kit for OpenKBP"):
        course_weights(run, phantom)
    published = tmp_path / "oarfocalfusenet-openkbp.safetensors"
    published.touch()
    published.with_suffix(".json").touch()
    assert course_weights(run, phantom) == published
    run.mkdir()
    (run / WEIGHTS).touch()
    assert course_weights(run, phantom) == run / WEIGHTS


def test_the_default_is_real_patients(tmp_path: Path) -> None:
    manifest = load_manifest(course_data("sample"))
    assert not manifest.phantom and len(manifest.split("validation")) == 20
    assert course_source(None, "sample").suffix == ".zip"
    assert course_weights(tmp_path / "run", "sample").name == "oarfocalfusenet-openkbp.safetensors"
