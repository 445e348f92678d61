"""Two label files, or two folders of them, scored without a prepared folder."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from oarfuse.cli import main
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import Evaluation
from oarfuse.evaluation import score as score_labels
from oarfuse.evaluation.statistics import MEAN, MORE_COLUMNS, summarise
from tests.evaluation.test_scoring import SPACING, SPL, make_folder, score, volume, write_nifti


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Truth and prediction of two patients; the second prediction is moved by a voxel."""
    for name, shift in (("pt_0", 0), ("pt_1", 1)):
        write_nifti(tmp_path / "truth" / f"{name}.nii.gz", volume())
        write_nifti(tmp_path / "prediction" / f"{name}.nii.gz", volume(shift))
    return tmp_path / "truth", tmp_path / "prediction"


def test_folders_score_as_the_raw_variant_of_a_prepared_folder(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    data = make_folder(tmp_path / "data", cases=2)
    expected = score(folders[1], data, tmp_path / "out").metrics
    expected = expected[expected["variant"] == "raw"].drop(columns="variant")
    found = score_labels(*folders, "openkbp")
    assert list(found.columns) == [name for name in MORE_COLUMNS if name != "variant"]
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))
    assert summarise(found).loc[MEAN, "cases"] == 2


def test_two_files_of_other_orientation_and_kind(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    truth = folders[0] / "pt_1.nii.gz"
    turned = nib.as_closest_canonical(nib.load(folders[1] / "pt_1.nii.gz"))
    other = tmp_path / "floats.nii"
    nib.save(nib.Nifti1Image(turned.get_fdata().astype(np.float32), turned.affine), other)
    found = score_labels(truth, other, "openkbp")
    assert found["case"].eq("pt_1").all()
    assert found["dsc"].eq(0.75).all()  # blocks four voxels wide, moved by one
    assert found["hd_mm"].eq(SPACING[2]).all() and found["hd_vox"].eq(1).all()


def test_what_cannot_be_scored_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    truth, prediction = folders
    with pytest.raises(OarfuseError, match="no data set named 'abdomen'"):
        score_labels(truth, prediction, "abdomen")
    with pytest.raises(OarfuseError, match="one is a folder"):
        score_labels(truth, prediction / "pt_0.nii.gz", "openkbp")
    with pytest.raises(OarfuseError, match="There is no"):
        score_labels(truth / "pt_9.nii.gz", prediction / "pt_0.nii.gz", "openkbp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OarfuseError, match="no label files"):
        score_labels(tmp_path / "empty", prediction, "openkbp")
    with pytest.raises(OarfuseError, match=r"There is no .*pt_0\.nii\.gz"):
        score_labels(truth, tmp_path / "empty", "openkbp")


@pytest.mark.parametrize(
    ("side", "array", "message"),
    [
        ("prediction", volume()[:-1], "resample"),
        ("prediction", volume() + np.uint8(3), "prediction.*labels 0 to 5"),
        ("truth", volume() + np.uint8(3), "truth.*labels 0 to 5"),
        ("truth", volume().astype(np.float32) + 0.25, "truth.*fractions"),
    ],
)
def test_bad_files_are_named(
    folders: tuple[Path, Path], side: str, array: np.ndarray, message: str
) -> None:
    nib.save(nib.Nifti1Image(array, SPL), folders[0].parent / side / "pt_1.nii.gz")
    with pytest.raises(OarfuseError, match=message) as caught:
        score_labels(*folders, "openkbp")
    assert "pt_1.nii.gz" in str(caught.value)


def test_score_writes_what_evaluate_writes(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, prediction = folders
    words = ["score", "--truth", str(truth), "--prediction", str(prediction)]
    words += ["--dataset", "openkbp", "--output", str(tmp_path / "scores")]
    assert main(words) == 0
    found = Evaluation.load(tmp_path / "scores")
    assert set(found.metrics["variant"]) == {"raw", "largest_component"}
    raw = found.metrics[found.metrics["variant"] == "raw"].drop(columns="variant")
    pd.testing.assert_frame_equal(
        raw.reset_index(drop=True), score_labels(truth, prediction, "openkbp")
    )
    assert found.kind == "label files" and found.summary["paper"] is None
    assert "| raw | label files |" in capsys.readouterr().out
    assert main(words) == 0  # the same files again
    other = sorted(prediction.glob("*.nii.gz"))[0]
    image = nib.Nifti1Image.from_filename(other)
    empty = np.zeros(image.shape, np.uint8)
    nib.Nifti1Image(empty, image.affine).to_filename(other)
    assert main(words) == 2
    assert "differs in predictions_sha256" in capsys.readouterr().err
