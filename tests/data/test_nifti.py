"""NIfTI in every orientation: read as superior-posterior-left, written back on its own grid."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import aff2axcodes, axcodes2ornt, inv_ornt_aff, ornt_transform

from oarfuse.data import read_ct, read_nifti, write_labels_like
from oarfuse.errors import OarfuseError

# Every way in which three axes can name the patient's directions: 6 orders x 8 signs.
ORIENTATIONS = [
    "".join(codes)
    for order in itertools.permutations((("S", "I"), ("P", "A"), ("L", "R")))
    for codes in itertools.product(*order)
]
Sizes = tuple[float, float, float]


def affine_of(codes: str, shape: tuple[int, ...], sizes: Sizes) -> np.ndarray:
    """Affine of a volume with these axis directions; `sizes` are in superior-posterior-left."""
    target = axcodes2ornt(tuple("SPL"))
    base = np.zeros((4, 4))
    base[2, 0], base[1, 1], base[0, 2], base[3, 3] = sizes[0], -sizes[1], -sizes[2], 1
    base[:3, 3] = (10, -20, 30)
    turn = ornt_transform(target, axcodes2ornt(tuple(codes)))
    return base @ inv_ornt_aff(turn, shape)


def save(path: Path, spl: np.ndarray, codes: str = "PLI", sizes: Sizes = (3.0, 2.0, 1.5)) -> Path:
    """Store a (D, H, W) array with another axis order; the voxels stay where they were."""
    target, wanted = axcodes2ornt(tuple("SPL")), axcodes2ornt(tuple(codes))
    stored = nib.orientations.apply_orientation(spl, ornt_transform(target, wanted))
    affine = affine_of(codes, spl.shape, sizes)
    image = nib.Nifti1Image(stored, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    assert "".join(aff2axcodes(affine)) == codes
    nib.save(image, path)
    return path


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 2000, (5, 6, 7)).astype(np.int16)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_all_48_orientations_read_alike_and_labels_go_back(
    tmp_path: Path, hu: np.ndarray, codes: str
) -> None:
    path = save(tmp_path / "ct.nii.gz", hu, codes)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.array, hu)
    assert volume.array.dtype == np.int16 and volume.array.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 2.0, 1.5), rtol=1e-6)
    labels = (hu > 500).astype(np.uint8) * 5
    write_labels_like(tmp_path / "labels.nii.gz", labels, volume)
    written, original = (
        nib.Nifti1Image.from_filename(tmp_path / "labels.nii.gz"),
        nib.Nifti1Image.from_filename(path),
    )
    np.testing.assert_array_equal(written.affine, original.affine)
    assert written.get_data_dtype() == np.uint8
    stored = np.asarray(original.dataobj)
    np.testing.assert_array_equal(np.asarray(written.dataobj), (stored > 500) * 5)
    np.testing.assert_array_equal(read_nifti(tmp_path / "labels.nii.gz").array, labels)


def test_oblique_volume_is_turned_by_whole_axes(tmp_path: Path, hu: np.ndarray) -> None:
    angle = np.radians(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = save(tmp_path / "ct.nii", hu)
    image = nib.Nifti1Image.from_filename(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).copy(), tilt @ image.affine), path)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.array, hu)
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 2.0, 1.5), rtol=1e-6)


def test_simpleitk_sees_the_same_volume(tmp_path: Path, hu: np.ndarray) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is a development dependency")
    volume = read_nifti(save(tmp_path / "ct.nii.gz", hu, "PLI"))
    image = sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "ct.nii.gz")), "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.array)
    np.testing.assert_allclose(image.GetSpacing()[::-1], volume.spacing_mm, rtol=1e-6)


def test_nifti2_big_endian_and_trailing_axis(tmp_path: Path, hu: np.ndarray) -> None:
    affine = np.diag([1.5, 2, 3, 1])
    nib.save(nib.Nifti2Image(hu, affine), tmp_path / "two.nii.gz")
    assert read_nifti(tmp_path / "two.nii.gz").array.shape == (7, 6, 5)
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(hu[..., None], affine, header), tmp_path / "big.nii")
    volume = read_nifti(tmp_path / "big.nii")
    np.testing.assert_array_equal(volume.array, read_nifti(tmp_path / "two.nii.gz").array)
    write_labels_like(tmp_path / "labels.nii", np.ones((7, 6, 5), np.uint8), volume)
    assert nib.Nifti1Image.from_filename(tmp_path / "labels.nii").shape == (5, 6, 7)


def test_scaled_hu_become_whole_numbers_again(tmp_path: Path, hu: np.ndarray) -> None:
    image = nib.Nifti1Image((hu + 1024).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(1, -1024)
    path = tmp_path / "scaled.nii"
    data = image.to_bytes()
    path.write_bytes(data)
    volume = read_ct(path)
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(np.sort(volume.array, axis=None), np.sort(hu, axis=None))


def raw(tmp_path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path = tmp_path / "bad.nii.gz"
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def with_header(tmp_path: Path, **fields: object) -> Path:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    for name, value in fields.items():
        image.header[name] = value
    path = tmp_path / "bad.nii"
    # Written by hand: nibabel would mend the header.
    path.write_bytes(image.header.binaryblock + b"\0" * 4 + bytes(128))
    return path


def no_orientation(tmp_path: Path) -> Path:
    return with_header(tmp_path, sform_code=0, qform_code=0, vox_offset=352)


def zero_spacing(tmp_path: Path) -> Path:
    return with_header(
        tmp_path, sform_code=0, qform_code=1, pixdim=[1, 1, 1, 0, 0, 0, 0, 0], vox_offset=352
    )


def flat_affine(tmp_path: Path) -> Path:
    return with_header(
        tmp_path,
        sform_code=1,
        srow_x=[1, 0, 0, 0],
        srow_y=[0, 1, 1, 0],
        srow_z=[0, 0, 0, 0],
        vox_offset=352,
    )


def nan_affine(tmp_path: Path) -> Path:
    return with_header(tmp_path, sform_code=1, srow_x=[np.nan, 0, 0, 0], vox_offset=352)


def no_file(tmp_path: Path) -> Path:
    return tmp_path / "bad.nii.gz"


def a_folder(tmp_path: Path) -> Path:
    (tmp_path / "bad.nii.gz").mkdir()
    return tmp_path / "bad.nii.gz"


def of_bytes(data: bytes) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        (tmp_path / "bad.nii.gz").write_bytes(data)
        return tmp_path / "bad.nii.gz"

    return make


def cut(share: float, unzipped: bool) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        path = raw(tmp_path, np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16))
        data = path.read_bytes()
        data = gzip.decompress(data) if unzipped else data
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return make


def of_array(array: np.ndarray) -> Callable[[Path], Path]:
    return lambda tmp_path: raw(tmp_path, array)


FAULTS = {
    "missing": (no_file, "There is no"),
    "folder": (a_folder, "Cannot read"),
    "empty": (of_bytes(b""), "damaged or no NIfTI"),
    "text": (of_bytes(b"this is a text file, not an image " * 20), "damaged or no NIfTI"),
    "gzipped text": (of_bytes(gzip.compress(b"text " * 100)), "damaged or no NIfTI"),
    "cut gzip": (cut(0.7, unzipped=False), "damaged or no NIfTI"),
    "cut voxels": (cut(0.7, unzipped=True), "damaged or no NIfTI"),
    "cut header": (cut(0.1, unzipped=True), "damaged or no NIfTI"),
    "4D": (of_array(np.zeros((4, 4, 4, 2), np.int16)), "three dimensions"),
    "2D": (of_array(np.zeros((4, 4), np.int16)), "three dimensions"),
    "NaN": (of_array(np.full((4, 4, 4), np.nan, np.float32)), "NaN or infinite"),
    "infinite": (of_array(np.full((4, 4, 4), np.inf, np.float32)), "NaN or infinite"),
    "complex": (of_array(np.zeros((4, 4, 4), np.complex64)), "integers or real numbers"),
    "colour": (
        of_array(np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "integers or real numbers",
    ),
    "no orientation": (no_orientation, "which way the patient lies"),
    "zero spacing": (zero_spacing, "true spacing"),
    "flat affine": (flat_affine, "affine|spacing"),
    "NaN affine": (nan_affine, "true spacing|damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_gets_one_sentence_with_the_file(tmp_path: Path, fault: str) -> None:
    make, expected = FAULTS[fault]
    path = make(tmp_path)
    with pytest.raises(OarfuseError, match=expected) as caught:
        read_nifti(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 4095), (0, 5), (-1, 1), (-150, 250), (-100_000, 3000)]
)
def test_values_that_are_no_hu_are_refused(tmp_path: Path, low: int, high: int) -> None:
    array = np.full((4, 4, 4), low, np.float32)
    array[0] = high
    with pytest.raises(OarfuseError, match="no CT's Hounsfield units"):
        read_ct(raw(tmp_path, array))


def test_labels_must_fit_the_ct(tmp_path: Path, hu: np.ndarray) -> None:
    volume = read_nifti(save(tmp_path / "ct.nii.gz", hu))
    with pytest.raises(OarfuseError, match=r"shape \(5, 6, 8\)"):
        write_labels_like(tmp_path / "labels.nii.gz", np.zeros((5, 6, 8), np.uint8), volume)
    with pytest.raises(OarfuseError, match=r"end it with \.nii\.gz"):
        write_labels_like(tmp_path / "labels.png", np.zeros((5, 6, 7), np.uint8), volume)
