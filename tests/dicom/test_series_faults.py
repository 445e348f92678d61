"""Series that cannot be read rightly: one sentence that names the folder or file, and a remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    JPEG2000Lossless,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from oarfuse.dicom import read_series
from oarfuse.errors import OarfuseError
from tests.dicom.made_series import LYING, Change, body, turned, write_series
from tests.dicom.test_series import SYNTAXES, transfer


def fails(folder: Path, *words: str, **options: str) -> str:
    """Read, and return the one sentence, which holds each of the words."""
    with pytest.raises(OarfuseError) as caught:
        read_series(folder, **options)
    said = str(caught.value)
    for word in words:
        assert re.search(word, said), (word, said)
    assert said.endswith(".") and "\n" not in said and str(folder) in said
    return said


def put(**fields: Any) -> Change:
    """Set fields of the third slice."""

    def change(slice_: Dataset, number: int) -> None:
        if number == 2:
            for keyword, value in fields.items():
                setattr(slice_, keyword, value)

    return change


def moved(number: int, by: tuple[float, float, float]) -> Change:
    """Move one slice by so many mm."""

    def change(slice_: Dataset, index: int) -> None:
        if index == number:
            place = np.array(slice_.ImagePositionPatient, float) + by
            slice_.ImagePositionPatient = place.tolist()

    return change


def test_no_such_folder(tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "There is no", "give the folder")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    made = write_series(tmp_path)
    fails(made.folder / "IM000", "is a file")


def test_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"\x1f\x8b" * 100)
    write_series(tmp_path / "below")
    fails(tmp_path, "holds no DICOM files", "not one above it")


def test_several_series_are_listed(tmp_path: Path) -> None:
    write_series(tmp_path, name="a{}", SeriesDescription="Bone")
    write_series(tmp_path, body((4, 24, 30)), name="b{}", SeriesDescription="Soft")
    uids = [pydicom.dcmread(tmp_path / name).SeriesInstanceUID for name in ("a0", "b0")]
    listed = (f"{uids[0]} \\(Bone, 6 slices\\)", f"{uids[1]} \\(Soft, 4 slices\\)")
    fails(tmp_path, "holds 2 CT series", "choose one by its UID", *listed)
    fails(tmp_path, "holds no CT series 1.2.3", *listed, series_uid="1.2.3")


def test_other_modality(tmp_path: Path) -> None:
    def other(slice_: Dataset, _: int) -> None:
        slice_.SOPClassUID, slice_.Modality = MRImageStorage, "MR"

    write_series(tmp_path, change=other)
    fails(tmp_path, r"holds no CT but MR \(MR Image Storage\)")


def test_screen_shots_of_a_ct_are_no_ct(tmp_path: Path) -> None:
    write_series(tmp_path, SOPClassUID=SecondaryCaptureImageStorage)
    fails(tmp_path, "holds no CT but CT .Secondary Capture")


def test_localizers_only(tmp_path: Path) -> None:
    write_series(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    fails(tmp_path, "localizers .scout views. only")


@pytest.mark.parametrize(
    "fields", [{"SOPClassUID": EnhancedCTImageStorage}, {"NumberOfFrames": 6}], ids=str
)
def test_many_slices_in_one_file(tmp_path: Path, fields: dict[str, Any]) -> None:
    write_series(tmp_path, body((1, 24, 30)), **fields)
    fails(tmp_path, "enhanced CT", "dcm2niix")


def test_one_slice(tmp_path: Path) -> None:
    write_series(tmp_path, body((1, 24, 30)))
    fails(tmp_path, "one slice only")


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("lost", [1, 3, 4])
def test_missing_slice(tmp_path: Path, lying: str, lost: int) -> None:
    write_series(tmp_path, orientation=LYING[lying])
    (tmp_path / f"IM{lost:03}").unlink()
    fails(tmp_path, "lacks slices", f"IM{lost - 1:03} and IM{lost + 1:03}", "6 mm", "3 mm")


def test_one_missing_slice_of_many(tmp_path: Path) -> None:
    write_series(tmp_path, body((60, 24, 30)), spacing=(2.5, 1, 1))
    (tmp_path / "IM030").unlink()
    fails(tmp_path, "lacks slices", "IM029 and IM031 lie 5 mm apart, where others lie 2.5 mm")


def test_uneven_distances(tmp_path: Path) -> None:
    write_series(tmp_path, change=moved(3, (0, 0, 1.2)))
    fails(tmp_path, "uneven distances", "1.8 to 4.2 mm")


def test_distances_within_the_tolerance(tmp_path: Path) -> None:
    write_series(tmp_path, change=moved(3, (0, 0, 0.29)))
    read_series(tmp_path)
    write_series(tmp_path, change=moved(3, (0, 0, 0.31)))
    fails(tmp_path, "uneven distances")


def test_two_slices_in_one_place(tmp_path: Path) -> None:
    write_series(tmp_path, change=moved(3, (0, 0, -3)))
    fails(tmp_path, "IM002 and IM003 lie in the same place", "several phases")


def test_one_slice_twice(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "copy").write_bytes((tmp_path / "IM002").read_bytes())
    fails(tmp_path, "IM002 and copy are the same slice twice", "remove one")


@pytest.mark.parametrize("lying", LYING)
def test_tilted_gantry(tmp_path: Path, lying: str) -> None:
    down = np.array(LYING[lying][3:])

    def tilt(slice_: Dataset, number: int) -> None:
        place = np.array(slice_.ImagePositionPatient, float) + down * number * 3 * np.tan(0.2)
        slice_.ImagePositionPatient = [f"{value:.8g}" for value in place]

    write_series(tmp_path, orientation=LYING[lying], change=tilt)
    fails(tmp_path, "gantry tilted by 11.5 degrees", "dcm2niix")


def test_a_slice_beside_the_others(tmp_path: Path) -> None:
    write_series(tmp_path, change=moved(3, (4, 0, 0)))
    fails(tmp_path, "IM003 lies 4 mm beside")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"ImageOrientationPatient": list(turned(1))}, "another orientation"),
        ({"PixelSpacing": [1.5, 1.3]}, "another pixel spacing"),
        ({"Rows": 25}, "another number of rows"),
        ({"Columns": 31}, "another number of columns"),
        ({"FrameOfReferenceUID": generate_uid()}, "another frame of reference"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_slices_that_do_not_fit(tmp_path: Path, fields: dict[str, Any], word: str) -> None:
    write_series(tmp_path, change=put(**fields))
    fails(tmp_path, word, "IM002", "IM000")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"PixelSpacing": [1.0]}, "PixelSpacing"),
        ({"RescaleSlope": None}, "RescaleSlope"),
        ({"RescaleIntercept": None}, "RescaleIntercept"),
        ({"RescaleSlope": 0}, "RescaleSlope of 0"),
        ({"RescaleType": "US"}, "'US' and not in HU"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"RescaleSlope": 40}, "no Hounsfield units"),
    ],
    ids=str,
)
def test_headers_that_say_too_little(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    write_series(tmp_path, change=put(**fields))
    fails(tmp_path, words, "IM002")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0.5, 0.8, 0]}, "no pair of directions"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "no pair of directions"),
        ({"PixelSpacing": [0.001, 0.001]}, "voxel sizes 0.001, 0.001, 3 mm"),
    ],
    ids=str,
)
def test_places_that_cannot_be(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    write_series(tmp_path, **fields)
    fails(tmp_path, words)


def test_values_that_are_no_hounsfield_units(tmp_path: Path) -> None:
    write_series(tmp_path, body() + 1024, intercept=0)
    fails(tmp_path, "no CT's Hounsfield units")


@pytest.mark.parametrize("syntax", ["implicit", "JPEG 2000", "JPEG lossless", "RLE"])
def test_cut_files_are_never_read_as_whole(tmp_path: Path, syntax: str) -> None:
    """Cut anywhere, a slice is refused or, without its last padding, read as it was."""
    made = write_series(tmp_path, body((3, 24, 30)))
    path = tmp_path / "IM000"
    transfer(path, SYNTAXES[syntax])
    whole = path.read_bytes()
    pixels = whole.index(b"\xe0\x7f\x10\x00")
    cuts = np.linspace(133, len(whole) - 1, 25).astype(int)
    for cut in sorted({*cuts.tolist(), pixels, pixels + 10, len(whole) - 5, len(whole) - 1}):
        path.write_bytes(whole[:cut])
        try:
            array = read_series(tmp_path)[0].array
        except OarfuseError as error:
            assert str(path) in str(error), cut
        else:
            assert cut > len(whole) - 9, cut
            np.testing.assert_array_equal(array, made.hu)


def test_nonsense_in_place_of_compressed_pixels(tmp_path: Path) -> None:
    write_series(tmp_path)
    dataset = pydicom.dcmread(tmp_path / "IM002")
    dataset.PixelData = pydicom.encaps.encapsulate([b"no picture " * 9])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(tmp_path / "IM002")
    fails(tmp_path, "IM002 is damaged or cut short")


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path)

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("oarfuse.dicom.folder.is_dicom", refuse)
    fails(tmp_path, "Cannot read .*IM000 .Permission denied")
