"""CT series read from folders: values and places right, whichever way the patient lies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from oarfuse.data import NiftiVolume, read_nifti, write_labels_like
from oarfuse.dicom import check_has_uids, read_series
from oarfuse.dicom.sniff import holds_dicom
from oarfuse.errors import OarfuseError
from tests.dicom.made_series import LYING, body, write_series

REAL = Path(
    os.environ.get("OARFUSE_CT_DICOM")
    or Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "ct_dicom"
)


def by_simpleitk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def assert_as_simpleitk(volume: NiftiVolume, folder: Path) -> None:
    """The same voxels in the same places as SimpleITK has them."""
    theirs = by_simpleitk(folder)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(theirs.GetDirection(), (3, 3)) * theirs.GetSpacing()
    affine[:3, 3] = theirs.GetOrigin()
    affine[:2] *= -1
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    turned = sitk.DICOMOrient(theirs, "LPS")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(turned), volume.array)
    np.testing.assert_allclose(volume.spacing_mm, turned.GetSpacing()[::-1], rtol=1e-6)


@pytest.mark.parametrize("lying", LYING)
def test_voxels_and_places_are_those_of_simpleitk(tmp_path: Path, lying: str) -> None:
    write_series(tmp_path, orientation=LYING[lying])
    volume, headers = read_series(tmp_path)
    assert volume.array.dtype == np.int16 and volume.array.flags["C_CONTIGUOUS"]
    assert_as_simpleitk(volume, tmp_path)
    np.testing.assert_allclose(
        headers.planes.origins @ np.diag([-1, -1, 1]),
        [(volume.affine @ (0, 0, k, 1))[:3] for k in range(len(headers.instance_uids))],
        atol=1e-6,
    )


def test_axial_series_is_read_by_hand(tmp_path: Path) -> None:
    made = write_series(tmp_path, spacing=(3, 1.5, 1.25), origin=(-120.5, -90.25, 411.5))
    volume, headers = read_series(tmp_path)
    np.testing.assert_array_equal(volume.array, made.hu)
    assert volume.spacing_mm == pytest.approx((3, 1.5, 1.25))
    # Column 2, row 3, slice 4: 2.5 mm to the left, 4.5 mm back, 12 mm up; in RAS.
    place = volume.affine @ (2, 3, 4, 1)
    np.testing.assert_allclose(place[:3], (120.5 - 2.5, 90.25 - 4.5, 411.5 + 12))
    assert headers.first.PatientName == "Müller^Erika"
    assert len(set(headers.instance_uids)) == 6


def test_order_comes_from_the_places_alone(tmp_path: Path) -> None:
    """Neither file names nor instance numbers say where a slice lies."""

    def shuffle(slice_: Dataset, number: int) -> None:
        slice_.InstanceNumber = (number * 5) % 6

    made = write_series(tmp_path / "made", change=shuffle)
    folder = tmp_path / "renamed"
    folder.mkdir()
    for number, path in enumerate(sorted(made.folder.iterdir())):
        shutil.copy(path, folder / f"{'badcfe'[number]}.img.{number}")
    np.testing.assert_array_equal(read_series(folder)[0].array, made.hu)


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    made = write_series(tmp_path)

    def scout(slice_: Dataset, _: int) -> None:
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path, change=scout, name="scout{}")  # a series of its own

    def alien(slice_: Dataset, _: int) -> None:
        slice_.SOPClassUID, slice_.Modality = RTStructureSetStorage, "RTSTRUCT"
        slice_.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage

    write_series(tmp_path, body((1, 4, 4)), change=alien, name="plan{}.dcm")
    (tmp_path / "notes.txt").write_text("a file\n")
    (tmp_path / "empty").touch()
    (tmp_path / "._IM001").write_bytes(b"\0" * 4096)
    (tmp_path / "inside").mkdir()
    write_series(tmp_path / "inside")
    volume, _ = read_series(tmp_path)
    np.testing.assert_array_equal(volume.array, made.hu)


def test_one_of_several_series_is_chosen(tmp_path: Path) -> None:
    write_series(tmp_path, name="a{}")
    other = write_series(tmp_path, body((4, 24, 30)), name="b{}")
    uid = pydicom.dcmread(tmp_path / "b0").SeriesInstanceUID
    np.testing.assert_array_equal(read_series(tmp_path, series_uid=uid)[0].array, other.hu)


SYNTAXES = {
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
    "deflated": gdcm.TransferSyntax.DeflatedExplicitVRLittleEndian,
    "implicit": gdcm.TransferSyntax.ImplicitVRLittleEndian,
    "big endian": gdcm.TransferSyntax.ExplicitVRBigEndian,
}


def transfer(path: Path, syntax: int) -> None:
    """Rewrite a file in another transfer syntax."""
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [False, True])
def test_transfer_syntaxes(tmp_path: Path, syntax: str, signed: bool) -> None:
    kind: dict[str, Any] = {"intercept": 0, "PixelRepresentation": 1} if signed else {}
    made = write_series(tmp_path, **kind)
    for path in tmp_path.iterdir():
        transfer(path, SYNTAXES[syntax])
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.name
    np.testing.assert_array_equal(read_series(tmp_path)[0].array, made.hu)


def test_files_without_preamble(tmp_path: Path) -> None:
    made = write_series(tmp_path)
    for path in tmp_path.iterdir():
        transfer(path, SYNTAXES["implicit"])
        dataset = pydicom.dcmread(path)
        del dataset.file_meta, dataset.preamble
        dataset.save_as(path, implicit_vr=True, little_endian=True, overwrite=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert holds_dicom(tmp_path)
    np.testing.assert_array_equal(read_series(tmp_path)[0].array, made.hu)


def test_each_slice_is_rescaled_by_its_own_slope(tmp_path: Path) -> None:
    def rescale(slice_: Dataset, number: int) -> None:
        stored = np.frombuffer(slice_.PixelData, "<u2").astype(int) - 1024
        slope, intercept = (2, -2000) if number % 2 else (1, -1024)
        slice_.RescaleSlope, slice_.RescaleIntercept = slope, intercept
        slice_.PixelData = ((stored - intercept) // slope).astype("<u2").tobytes()

    made = write_series(tmp_path, change=rescale)
    array = read_series(tmp_path)[0].array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array[::2], made.hu[::2])
    np.testing.assert_array_equal(array[1::2], made.hu[1::2] // 2 * 2)


def test_fractions_become_float32(tmp_path: Path) -> None:
    made = write_series(tmp_path, slope=0.3, intercept=-1024.5)
    array = read_series(tmp_path)[0].array
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, made.hu, atol=0.16)


def test_bits_beside_the_value_are_left_out(tmp_path: Path) -> None:
    """Old scanners put an overlay into the upper bits of the 16."""

    def overlay(slice_: Dataset, _: int) -> None:
        stored = np.frombuffer(slice_.PixelData, "<u2") | 0x8000
        slice_.PixelData = stored.astype("<u2").tobytes()

    made = write_series(tmp_path, change=overlay, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_series(tmp_path)[0].array, made.hu)


def test_rounded_places_make_an_even_grid(tmp_path: Path) -> None:
    """Slices of 0.625 mm whose places were written with one decimal: within the tolerance."""

    def rounded(slice_: Dataset, _: int) -> None:
        x, y, z = slice_.ImagePositionPatient
        slice_.ImagePositionPatient = [x, y, f"{float(z):.1f}"]

    write_series(tmp_path, body((9, 24, 30)), spacing=(0.625, 1, 1), change=rounded)
    assert read_series(tmp_path)[0].spacing_mm[0] == pytest.approx(0.625, abs=0.01)


def test_labels_go_into_a_nifti_on_the_series_grid(tmp_path: Path) -> None:
    for lying, orientation in LYING.items():
        write_series(tmp_path / lying, orientation=orientation)
        volume, _ = read_series(tmp_path / lying)
        labels = (volume.array > 300).astype(np.uint8)
        path = tmp_path / f"{lying}.nii.gz"
        write_labels_like(path, labels, volume)
        back = read_nifti(path)  # refuses a file that is not in mm, or contradicts itself
        np.testing.assert_array_equal(back.array, labels)
        np.testing.assert_allclose(back.affine, volume.affine, atol=1e-4)


def test_blanked_class_and_uids_are_read(tmp_path: Path) -> None:
    """An anonymiser emptied them in the data set; the meta information still has its two."""
    made = write_series(tmp_path)
    uids = []
    for path in sorted(tmp_path.iterdir()):
        dataset = pydicom.dcmread(path)
        uids.append(str(dataset.SOPInstanceUID))
        for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            setattr(dataset, keyword, "")
        dataset.save_as(path)
    volume, headers = read_series(tmp_path)
    np.testing.assert_array_equal(volume.array, made.hu)
    assert list(headers.instance_uids) == uids


def test_a_folder_is_told_from_one_of_cases(tmp_path: Path) -> None:
    assert not holds_dicom(tmp_path) and not holds_dicom(tmp_path / "nowhere")
    (tmp_path / "case.nii.gz").write_bytes(b"\x1f\x8b" + b"\0" * 500)
    write_series(tmp_path / "series")
    assert not holds_dicom(tmp_path) and holds_dicom(tmp_path / "series")


@pytest.mark.skipif(
    not REAL.is_dir(), reason="needs a real CT series: set OARFUSE_CT_DICOM to its folder"
)
def test_a_real_compressed_series_is_read_as_simpleitk_does() -> None:
    volume, headers = read_series(REAL)
    assert volume.array.shape == (20, 512, 512)
    assert headers.first.file_meta.TransferSyntaxUID.is_compressed
    assert_as_simpleitk(volume, REAL)
    with pytest.raises(OarfuseError, match="lacks the StudyInstanceUID"):
        check_has_uids(volume, headers)  # its anonymiser emptied them
