"""Files that are not what they are called, and label maps of other programs, by their values."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from oarfuse.cli import main
from oarfuse.data import read_ct, read_nifti
from oarfuse.doubts import about_the_ct
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import score_predictions
from oarfuse.evaluation.labels import score, score_files
from oarfuse.prediction import cases_of, predict_file
from oarfuse.weights import save_weights
from tests.helpers.faults import INFO, ct
from tests.helpers.small_data import write_small_data

AFFINE = np.diag([4.0, 4, 4, 1])


def nifti_bytes(array: np.ndarray, *, slope: float = np.nan, inter: float = 0) -> bytes:
    """A file whose voxels are stored as given, whatever its scale says."""
    header = nib.Nifti1Image(array, AFFINE, dtype=array.dtype).header.copy()
    header["scl_slope"], header["scl_inter"] = slope, inter
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + bytes(4) + array.tobytes(order="F")


def mgz(folder: Path) -> bytes:
    nib.save(nib.MGHImage(ct(), AFFINE), folder / "a.mgz")
    return (folder / "a.mgz").read_bytes()


@pytest.mark.parametrize(
    "make",
    [
        mgz,
        lambda folder: gzip.compress(gzip.compress(nifti_bytes(ct()))),
        lambda folder: b"NRRD0004\ntype: short\n\n" + ct().tobytes(),
        lambda folder: b"ObjectType = Image\nNDims = 3\n" + ct().tobytes(),
        lambda folder: b"PK\x03\x04" + ct().tobytes(),
        lambda folder: b"<!DOCTYPE html>" + b" " * 400,
    ],
    ids=["mgz", "gzipped twice", "nrrd", "mha", "zip", "a page that says not found"],
)
def test_another_kind_of_file_is_named_so(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(make(tmp_path))
    with pytest.raises(OarfuseError, match=r"ct\.nii\.gz is damaged or no NIfTI \(it begins like"):
        read_nifti(path)


@pytest.mark.parametrize("end", [".nii", ".nii.gz", ".NII.GZ", ".img"])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_content_and_not_the_name_says_what_is_gzipped(
    tmp_path: Path, end: str, zipped: bool
) -> None:
    content = nifti_bytes(ct())
    (tmp_path / f"ct{end}").write_bytes(gzip.compress(content) if zipped else content)
    assert np.array_equal(np.sort(read_nifti(tmp_path / f"ct{end}").array, axis=None),
                          np.sort(ct(), axis=None))  # fmt: skip


# --- labels by their values ----------------------------------------------------------------------


@pytest.fixture
def truth(tmp_path: Path) -> np.ndarray:
    labels = np.zeros((8, 9, 10), np.uint8)
    for value in range(1, 6):
        labels[value, 2:6, 2:7] = value
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "truth.nii.gz")
    return labels


@pytest.mark.parametrize(
    ("store", "slope", "inter"),
    [
        (lambda labels: labels * 2, 0.5, 0),
        (lambda labels: labels * 51, 1 / 51, 0),
        (lambda labels: labels.astype(np.int16) - 1, 1, 1),
        (lambda labels: labels, 0, 7),  # a slope of 0: neither counts, says the standard
        (lambda labels: np.where(labels, labels - 1e-9, 0), np.nan, 0),  # as a 32-bit number whole
        (lambda labels: labels.astype(np.int64), np.nan, 0),
        (lambda labels: labels.astype(">i4"), np.nan, 0),
    ],
)
def test_labels_that_are_stored_otherwise_are_the_same(
    tmp_path: Path,
    truth: np.ndarray,
    store: Callable[[np.ndarray], np.ndarray],
    slope: float,
    inter: float,
) -> None:
    stored = store(truth)
    stored = stored.astype(stored.dtype.newbyteorder("<"))
    (tmp_path / "other.nii").write_bytes(nifti_bytes(stored, slope=slope, inter=inter))
    rows = score(tmp_path / "truth.nii.gz", tmp_path / "other.nii", "openkbp")
    assert rows["dsc"].eq(1).all()


@pytest.mark.parametrize(
    ("store", "slope", "says"),
    [
        (lambda labels: labels, 2, "labels from 0 to 10"),
        (lambda labels: np.where(labels == 3, 2.9999, labels).astype(np.float32), 1, "fractions"),
        (lambda labels: labels.astype(np.uint16) + 256 * (labels == 3), 1, "labels from 0 to 259"),
        (lambda labels: -labels.astype(np.int16), 1, "labels from -5 to 0"),
        (lambda labels: np.where(labels == 3, np.nan, labels), 1, "NaN"),
        (lambda labels: np.stack([labels == value for value in range(6)], -1) * 1, 1, "the shape"),
    ],
)
def test_labels_that_are_none_are_not_scored(
    tmp_path: Path,
    truth: np.ndarray,
    store: Callable[[np.ndarray], np.ndarray],
    slope: float,
    says: str,
) -> None:
    (tmp_path / "other.nii").write_bytes(nifti_bytes(store(truth), slope=slope))
    with pytest.raises(OarfuseError, match=says):
        score(tmp_path / "truth.nii.gz", tmp_path / "other.nii", "openkbp")


def test_a_doubtful_truth_is_said(tmp_path: Path) -> None:
    """Parotids exchanged, and the truth given as its own prediction: DSC 1, and a word."""
    labels = np.zeros((40, 20, 20), np.uint8)  # to the right, anterior, superior
    labels[2:8, 8:12, 8:12], labels[32:38, 8:12, 8:12] = 3, 4
    affine = np.diag([3.0, 3, 3, 1])
    for name, values in {"exchanged": labels, "right": np.choose(labels, [0, 1, 2, 4, 3])}.items():
        nib.save(nib.Nifti1Image(values.astype(np.uint8), affine), tmp_path / f"{name}.nii.gz")
    sides = "on the wrong side of the left parotid"
    for truth, found, says in (
        ("exchanged", "right", [sides]),
        ("right", "right", ["is the truth itself"]),
        ("right", "exchanged", []),
    ):
        out = tmp_path / f"{truth}_{found}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            files = (tmp_path / f"{truth}.nii.gz", tmp_path / f"{found}.nii.gz")
            summary = score_files(*files, "openkbp", out).summary
        said = [str(one.message) for one in caught]
        assert summary["warnings"] == said and len(said) == len(says)
        assert all(word in sentence for word, sentence in zip(says, said, strict=True))


# --- folders of files ----------------------------------------------------------------------------


def test_names_of_other_systems_in_folders(tmp_path: Path, truth: np.ndarray) -> None:
    for name in ("truth", "found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "._pt_1.nii.gz").write_bytes(b"of macOS")
        (tmp_path / name / ".DS_Store").write_bytes(b"of macOS")
    content = (tmp_path / "truth.nii.gz").read_bytes()
    (tmp_path / "truth/pt_1.NII.GZ").write_bytes(content)
    (tmp_path / "found/pt_1.nii").write_bytes(gzip.decompress(content))
    rows = score(tmp_path / "truth", tmp_path / "found", "openkbp")
    assert set(rows["case"]) == {"pt_1"} and rows["dsc"].eq(1).all()
    assert cases_of(tmp_path / "truth") == {"pt_1": tmp_path / "truth/pt_1.NII.GZ"}

    (tmp_path / "found/PT_1.nii.gz").write_bytes(content)
    for use in (cases_of, lambda folder: score(tmp_path / "truth", folder, "openkbp")):
        with pytest.raises(OarfuseError, match="have one name"):
            use(tmp_path / "found")


def test_predictions_of_a_split_may_be_plain_files(tmp_path: Path) -> None:
    (case,) = write_small_data(tmp_path / "data", train=0, validation=1).cases
    (tmp_path / "found").mkdir()
    (tmp_path / "found/pt_1.nii").write_bytes(gzip.decompress(case.label_path.read_bytes()))
    result = score_predictions(
        tmp_path / "found", tmp_path / "data", "validation", tmp_path / "out",
        method="other", progress=False,
    )  # fmt: skip
    assert result.summary["means"]["raw"]["mean"]["dsc"] == 1


@pytest.mark.parametrize("forms", [(1, 0), (0, 1), (1, 1), (2, 1)])
def test_labels_lie_on_the_ct_for_every_program(tmp_path: Path, forms: tuple[int, int]) -> None:
    """Two readers, one by the sform and one by the qform, put labels where they put the CT."""
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    affine = np.diag([-3.9123457, 4.1, 3.7, 1])
    affine[:3, 3] = (101.25, -77.3, 1234.5678)
    image = nib.Nifti1Image(ct(), affine)
    image.set_sform(affine, forms[0])
    image.set_qform(affine, forms[1])
    nib.save(image, tmp_path / "ct.nii.gz")
    predict_file(
        tmp_path / "w.safetensors", tmp_path / "ct.nii.gz", tmp_path / "labels.nii", device="cpu"
    )
    before, after = (read_nifti(tmp_path / name).header for name in ("ct.nii.gz", "labels.nii"))
    for field in ("pixdim", "sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x"):
        assert np.array_equal(before[field], after[field]), field
    one, other = (sitk.ReadImage(str(tmp_path / name)) for name in ("ct.nii.gz", "labels.nii"))
    for get in (sitk.Image.GetOrigin, sitk.Image.GetSpacing, sitk.Image.GetDirection):
        assert get(one) == get(other)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
def test_an_affine_that_says_nothing_is_doubted(
    tmp_path: Path, signs: tuple[int, int, int]
) -> None:
    """What nibabel's and ITK's users get who make an image of an array alone."""
    nib.save(nib.Nifti1Image(ct(), np.diag([*signs, 1])), tmp_path / "ct.nii.gz")
    found = about_the_ct(read_ct(tmp_path / "ct.nii.gz"), INFO)
    assert "its sides may be exchanged" in found["CT has no affine of its own"]
    moved = np.diag([*signs, 1.0])
    moved[0, 3] = 5
    nib.save(nib.Nifti1Image(ct(), moved), tmp_path / "ct.nii.gz")
    assert about_the_ct(read_ct(tmp_path / "ct.nii.gz"), INFO).keys() == {"CT resampled"}


def test_a_series_is_chosen_in_a_dicom_folder_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    (tmp_path / "cases").mkdir()
    nib.save(nib.Nifti1Image(ct(), AFFINE), tmp_path / "cases/ct.nii.gz")
    for source in ("cases", "cases/ct.nii.gz"):
        words = ["--weights", f"{tmp_path}/w.safetensors", "--input", f"{tmp_path}/{source}"]
        words += ["--output", f"{tmp_path}/out.nii.gz", "--device", "cpu", "--series", "1.2.3"]
        assert main(["predict", *words]) == 2
        assert "leave --series out" in capsys.readouterr().err


def test_an_mr_is_refused_before_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("oarfuse.inference.predict_labels", lambda *a, **k: pytest.fail("late"))
    save_weights(tmp_path / "w.safetensors", INFO.build().state_dict(), INFO)
    random = np.random.default_rng(0)
    mr = np.abs(random.normal(300, 200, (16, 16, 16))).astype(np.int16)
    nib.save(nib.Nifti1Image(mr, AFFINE), tmp_path / "mr.nii.gz")
    words = ["--weights", f"{tmp_path}/w.safetensors", "--input", f"{tmp_path}/mr.nii.gz"]
    assert main(["predict", *words, "--output", f"{tmp_path}/labels.nii.gz"]) == 2
    assert "no CT's Hounsfield units" in capsys.readouterr().err
