"""A prepared folder for nnU-Net v2: its own check passes, and the split is ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.data import load_manifest, read_nifti
from oarfuse.data.manifest import MANIFEST
from oarfuse.data.nnunet import to_nnunet
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import score


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit's sample patients, written by the command."""
    folder = tmp_path_factory.mktemp("nnunet") / "output"
    assert main(["convert", "nnunet", "--data", "sample", "--output", str(folder)]) == 0
    return folder


def test_nnunets_own_check_passes(output: Path, capfd: pytest.CaptureFixture[str]) -> None:
    integrity = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    integrity.verify_dataset_integrity(str(output / "nnUNet_raw/Dataset501_openkbp"), 1)
    printed = capfd.readouterr().out
    assert "verify_dataset_integrity Done" in printed
    assert "Warning" not in printed and "Error" not in printed


def test_patients_classes_and_split_are_the_prepared_folders(output: Path) -> None:
    sample = load_manifest("sample")
    raw = output / "nnUNet_raw/Dataset501_openkbp"
    (fold,) = json.loads(
        (output / "nnUNet_preprocessed/Dataset501_openkbp/splits_final.json").read_text()
    )
    assert fold["train"] == [case.case for case in sample.split("train")]
    assert fold["val"] == [case.case for case in sample.split("validation")]
    about = json.loads((raw / "dataset.json").read_text())
    assert about["numTraining"] == 26 == len(list((raw / "imagesTr").iterdir()))
    assert list(about["labels"]) == list(sample.spec.classes)
    assert list(about["labels"].values()) == list(range(6))
    first = sample.split("train")[0]
    for copy, path in (("imagesTr/{}_0000", first.image_path), ("labelsTr/{}", first.label_path)):
        written = read_nifti(raw / f"{copy.format(first.case)}.nii.gz")
        assert np.array_equal(written.array, read_nifti(path).array)


def test_predictions_named_as_nnunet_names_them_can_be_scored(output: Path) -> None:
    truth = output / "truth/validation"
    table = score(truth, output / "nnUNet_raw/Dataset501_openkbp/labelsTr", "openkbp")
    assert table["case"].nunique() == 20 and (table["dsc"] == 1).all()


def test_the_same_again_goes_on_and_other_patients_are_refused(
    output: Path, tmp_path: Path
) -> None:
    lost = output / "truth/validation/pt_201.nii.gz"
    lost.unlink()
    to_nnunet("sample", output)
    assert lost.exists()
    with pytest.raises(OarfuseError, match="made from other patients, or under another number"):
        to_nnunet("sample", output, dataset_id=502)
    with pytest.raises(OarfuseError, match="1 to 999, not 1000"):
        to_nnunet("sample", tmp_path / "new", dataset_id=1000)
    (tmp_path / "own/truth").mkdir(parents=True)
    with pytest.raises(OarfuseError, match=r"holds truth but no .* new output folder"):
        to_nnunet("sample", tmp_path / "own")


def test_without_validation_patients_there_is_no_split(tmp_path: Path) -> None:
    content = json.loads((load_manifest("sample").folder / MANIFEST).read_text())
    content["cases"] = [case for case in content["cases"] if case["split"] == "train"]
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(OarfuseError, match="has 6 train and 0 validation patients"):
        to_nnunet(tmp_path, tmp_path / "output")
