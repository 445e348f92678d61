"""Whom weights know: scores of such patients are said to be too good, and the record says it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oarfuse.data import make_fold
from oarfuse.data.manifest import checksums
from oarfuse.data.nnunet import to_nnunet
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import evaluate
from oarfuse.evaluation.paper_tables import find_evaluations
from oarfuse.runs import ENVIRONMENT
from oarfuse.weights import save_weights
from tests.helpers.faults import INFO
from tests.helpers.small_data import write_small_data
from tests.test_faults_going_on import run

KNOWN = "its weights know patients whom it scores"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_small_data(tmp_path / "data", train=3, validation=1)
    return tmp_path / "data"


def warnings_of(summary: Path) -> list[str]:
    return json.loads(summary.read_text())["warnings"]


def test_scores_of_known_patients_are_said_to_be_too_good(data: Path, tmp_path: Path) -> None:
    for fold in (1, 2):
        make_fold(data, tmp_path / f"fold_{fold}", fold=fold, folds=2)
    first = run(tmp_path / "fold_1", tmp_path / "first") / "weights.safetensors"
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    evaluate(first, tmp_path / "fold_1", "validation", tmp_path / "own", **options)
    assert warnings_of(tmp_path / "own/summary.json") == []
    with pytest.warns(UserWarning, match="learnt from 2 of these 2 validation patients"):
        evaluate(first, tmp_path / "fold_2", "validation", tmp_path / "other", **options)
    (said,) = warnings_of(tmp_path / "other/summary.json")
    assert said in (tmp_path / "other/summary.md").read_text()
    for name, left_out in (("own", False), ("other", True)):
        path = tmp_path / name / "summary.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "full run"}))
        reasons = find_evaluations([tmp_path / name])[1]
        assert reasons == ({tmp_path / name: KNOWN} if left_out else {})
    assert "patients" not in json.loads((tmp_path / "other/summary.json").read_text())["model_info"]

    with pytest.warns(UserWarning, match=r"first/weights\.safetensors learnt from 2 of these 2"):
        second = run(tmp_path / "fold_2", tmp_path / "second", init=str(first))
    first.unlink()  # what it knew is remembered, also when the run goes on
    with pytest.warns(UserWarning, match="that this run began with learnt from 2 of these 2"):
        run(tmp_path / "fold_2", tmp_path / "second", init=str(first), steps=4)
    sessions = json.loads((second / ENVIRONMENT).read_text())
    assert all("learnt from 2 of these 2" in session["warnings"][0] for session in sessions)
    with pytest.warns(UserWarning, match="learnt from 2 of these 2"):
        weights = second / "weights.safetensors"
        evaluate(weights, tmp_path / "fold_2", "validation", tmp_path / "leak", **options)


def test_patients_who_selected_the_weights_do_not_test_them(data: Path, tmp_path: Path) -> None:
    weights = run(data, tmp_path / "run") / "weights.safetensors"
    manifest = json.loads((data / "manifest.json").read_text())
    for entry in manifest["cases"]:
        entry["split"] = "test"
    (data / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning) as said:
        evaluate(weights, data, "test", tmp_path / "scores", device="cpu", progress=False)
    learnt, selected = (str(one.message) for one in said)
    assert "learnt from 3 of these 4 test patients" in learnt
    assert "were selected on 1 of these 4 test patients" in selected


def test_weights_without_a_record_are_doubted_on_a_fold(data: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    make_fold(data, tmp_path / "fold", fold=1, folds=2)
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    evaluate(tmp_path / "w.safetensors", data, "validation", tmp_path / "own", **options)
    assert warnings_of(tmp_path / "own/summary.json") == []
    with pytest.warns(UserWarning, match="do not tell which patients they learnt from"):
        evaluate(
            tmp_path / "w.safetensors", tmp_path / "fold", "validation", tmp_path / "o", **options
        )


def test_one_patient_under_two_names_is_found(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / "images/pt_2.nii.gz", data / "images/pt_4.nii.gz")
    with pytest.warns(UserWarning, match=r"This run learnt from 1 of these 1 .* \(pt_4\)"):
        out = run(data, tmp_path / "run")
    (session,) = json.loads((out / ENVIRONMENT).read_text())
    assert any("This run learnt from 1" in said for said in session["warnings"])


def test_a_fold_whose_data_moved_says_where_it_looked(data: Path, tmp_path: Path) -> None:
    fold = make_fold(data, tmp_path / "fold", fold=1, folds=2)
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(OarfuseError, match=r"fold/images leads to \.\./data/images, which is gone"):
        checksums(fold.cases)


def test_a_label_that_was_edited_is_no_longer_what_was_converted(
    data: Path, tmp_path: Path
) -> None:
    """The copies would be kept, and scores be taken against them."""
    for _ in range(2):
        to_nnunet(data, tmp_path / "nnunet")
    shutil.copy(data / "labels/pt_2.nii.gz", data / "labels/pt_1.nii.gz")
    with (
        pytest.warns(UserWarning, match="changed after the preparation"),
        pytest.raises(OarfuseError, match="other files of theirs"),
    ):
        to_nnunet(data, tmp_path / "nnunet")


def test_scores_at_a_foreign_spacing_are_doubted(data: Path, tmp_path: Path) -> None:
    info = replace(INFO, spacing_range_mm=((1.0, 1, 1), (2.0, 1, 1)))
    save_weights(tmp_path / "w.safetensors", info.build().state_dict(), info)
    with pytest.warns(UserWarning, match=r"1 of 1 patients \(pt_4\) have voxels far from"):
        evaluate(
            tmp_path / "w.safetensors", data, "validation", tmp_path / "scores", device="cpu",
            progress=False,
        )  # fmt: skip
    assert "have voxels far from" in (tmp_path / "scores/summary.md").read_text()
