"""Prediction of files, series, folders and images; what is said when labels deserve a look."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pytest
from highdicom.seg import segread
from numpy.typing import NDArray

import oarfuse
from oarfuse.cli import main
from oarfuse.data.nifti import read_ct
from oarfuse.dicom import read_rtstruct_masks, read_series
from oarfuse.doubts import about_the_ct, about_the_labels, volumes_ml
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP, SYNAPSE
from oarfuse.prediction import cases_of, predict_file, predict_folder
from oarfuse.weights import save_weights
from tests.dicom.made_series import write_series
from tests.helpers.faults import INFO, ct


def write_ct(folder: Path) -> Path:
    path = folder / "ct.nii.gz"
    nib.Nifti1Image(ct(), np.diag([4.0, 4, 4, 1])).to_filename(path)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    return tmp_path / "w.safetensors"


def thirds(
    model: Any, image: NDArray[np.int16], spacing: Any, info: Any, **options: Any
) -> NDArray[np.uint8]:
    """In the place of a network: three boxes."""
    labels = np.zeros(image.shape, np.uint8)
    for value, part in enumerate(np.array_split(np.arange(image.shape[2]), 5)[1:4], start=1):
        labels[1:-1, 4:-4, part] = value
    return labels


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oarfuse.prediction.predict_any_spacing", thirds)


@pytest.mark.filterwarnings("ignore")
def test_image_in_memory_is_the_file(weights: Path, tmp_path: Path) -> None:
    path = write_ct(tmp_path)
    image = nib.Nifti1Image.from_filename(path)
    before = weights.read_bytes(), np.asarray(image.dataobj).copy()
    by_path = oarfuse.predict(path, weights, device="cpu")
    by_image = oarfuse.predict(image, weights, device="cpu")
    assert np.array_equal(np.asarray(by_path.dataobj), np.asarray(by_image.dataobj))
    assert np.allclose(by_image.affine, image.affine) and by_image.shape == image.shape
    assert by_image.get_data_dtype() == np.uint8
    assert b"not for clinical use" in bytes(by_image.header["descrip"])
    assert weights.read_bytes() == before[0]
    assert np.array_equal(np.asarray(image.dataobj), before[1])
    predict_file(weights, path, tmp_path / "out.nii.gz", device="cpu")
    written = nib.Nifti1Image.from_filename(tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), np.asarray(by_path.dataobj))


def test_what_is_no_image_is_named(weights: Path) -> None:
    with pytest.raises(OarfuseError, match="image is a ndarray: give the path"):
        oarfuse.predict(np.zeros((4, 4, 4)), weights)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("boxes")
def test_series_in_and_every_form_out(weights: Path, tmp_path: Path) -> None:
    made = write_series(tmp_path / "series")
    for end in ("nii.gz", "seg.nrrd", "seg.dcm", "dcm"):
        words = ["predict", "--weights", str(weights), "--input", str(made.folder)]
        assert main([*words, "--output", str(tmp_path / f"out.{end}"), "--device", "cpu"]) == 0
    volume, _ = read_series(made.folder)
    expected = thirds(None, volume.array, None, None)
    assert np.array_equal(read_ct_labels(tmp_path / "out.nii.gz"), expected)
    assert np.array_equal(read_rtstruct_masks(tmp_path / "out.dcm", volume), expected)
    stored = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "out.nii.gz").dataobj)
    assert np.array_equal(nrrd.read(str(tmp_path / "out.seg.nrrd"))[0], stored)
    assert segread(tmp_path / "out.seg.dcm").number_of_segments == 5
    assert main([*words, "--output", str(tmp_path / "out.dcm")]) == 0  # its own is replaced


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("boxes")
def test_a_file_for_each_organ(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--weights", str(weights), "--input", str(write_ct(tmp_path))]
    words += ["--output", str(tmp_path / "all.nii.gz"), "--organ-files", str(tmp_path / "organs")]
    assert main(words) == 0 and main(words) == 0  # its own are replaced
    labels = read_ct_labels(tmp_path / "all.nii.gz")
    files = {path.name for path in (tmp_path / "organs").iterdir()}
    assert files == {f"{organ.name}.nii.gz" for organ in OPENKBP.organs}
    for organ in OPENKBP.organs:
        mask = read_ct_labels(tmp_path / "organs" / f"{organ.name}.nii.gz")
        assert np.array_equal(mask, labels == organ.label)
    nib.Nifti1Image(ct(), np.eye(4)).to_filename(tmp_path / "organs/mandible.nii.gz")
    (tmp_path / "all.nii.gz").unlink()
    assert main(words) == 2
    assert "mandible.nii.gz is there already" in capsys.readouterr().err
    assert not (tmp_path / "all.nii.gz").exists()


def read_ct_labels(path: Path) -> NDArray[Any]:
    from oarfuse.data import read_nifti

    return read_nifti(path).array


def test_contours_need_a_series(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--weights", str(weights), "--input", str(write_ct(tmp_path))]
    assert main([*words, "--output", str(tmp_path / "out.dcm")]) == 2
    assert "is no DICOM series" in capsys.readouterr().err
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("boxes")
def test_a_folder_of_cases(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases"
    write_series(cases / "by_dicom")
    write_ct(tmp_path).rename(cases / "by_nifti.nii.gz")
    (cases / "notes.txt").write_text("nothing to do with it")
    assert list(cases_of(cases)) == ["by_dicom", "by_nifti"]
    words = ["predict", "--weights", str(weights), "--input", str(cases), "--volumes"]
    assert main([*words, "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("case,organ,ml\nby_dicom,brainstem,")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "by_dicom.nii.gz",
        "by_nifti.nii.gz",
    ]
    (cases / "a_bad.nii").write_bytes(b"nothing")
    with pytest.raises(OarfuseError, match=r"1 of 3 cases failed.*a_bad\.nii"):
        predict_folder(weights, cases, tmp_path / "again", device="cpu")
    assert len(list((tmp_path / "again").iterdir())) == 2
    (tmp_path / "third").mkdir()
    nib.Nifti1Image(ct(), np.eye(4)).to_filename(tmp_path / "third/by_nifti.nii.gz")
    with pytest.raises(OarfuseError, match=r"by_nifti\.nii\.gz is there already"):
        predict_folder(weights, cases, tmp_path / "third", device="cpu")
    assert len(list((tmp_path / "third").iterdir())) == 1  # found before the first case


def test_an_empty_folder_and_two_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="holds no CT"):
        cases_of(tmp_path)
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).touch()
    with pytest.raises(OarfuseError, match="have one name"):
        cases_of(tmp_path)


# --- what deserves a look ------------------------------------------------------------------------


def test_volumes_by_hand() -> None:
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[:2, :5, :] = 1  # 100 voxels of 2 x 2 x 2.5 mm: 1 ml
    volumes = volumes_ml(labels, (2.0, 2.0, 2.5), OPENKBP)
    assert volumes["brainstem"] == pytest.approx(1.0) and volumes["mandible"] == 0


def test_empty_and_foreign_organs_are_named(tmp_path: Path) -> None:
    volume = replace(read_ct(write_ct(tmp_path)), spacing_mm=(2.0, 4.0, 4.0))
    labels = np.zeros((100, 20, 100), np.uint8)
    for value in range(1, 6):
        labels[:, :10, value * 15 : value * 15 + 2] = value  # 2000 voxels of 0.032 ml: 64 ml
    said = about_the_labels(labels, volume, OPENKBP)
    assert said == {}  # 64 ml is within twice of what any of the five organs has
    labels[labels == 5] = 0
    labels[0, 0, 75] = 5
    labels[labels == 3] = 0
    said = about_the_labels(labels, volume, OPENKBP)
    assert "no voxel of right parotid" in said["organs empty"]
    assert "a mandible of 0.0 ml, where the patients of OpenKBP have 29.1" in said["sizes unusual"]
    assert about_the_labels(labels, volume, SYNAPSE).keys() == {"organs empty"}  # no sizes known


def test_foreign_spacing_is_said(tmp_path: Path) -> None:
    volume = read_ct(write_ct(tmp_path))
    known = replace(INFO, spacing_range_mm=(volume.spacing_mm, volume.spacing_mm))
    assert about_the_ct(volume, known) == {}
    near = replace(volume, spacing_mm=(5.0, 5.0, 5.0))
    assert about_the_ct(near, known) == {}
    finer = replace(volume, spacing_mm=(4.0, 4.0, 1.0))
    assert "far from the training data's" in about_the_ct(finer, known)["CT resampled"]


def test_the_abdomen_given_to_head_and_neck_weights_is_doubted() -> None:
    from oarfuse.sample import abdomen_sample, openkbp_sample

    with pytest.warns(UserWarning, match="of this region of the body"):
        oarfuse.predict(abdomen_sample()[0], device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        oarfuse.predict(openkbp_sample() / "images" / "pt_201.nii.gz", device="cpu")
