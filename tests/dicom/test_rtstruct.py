"""RTSTRUCT: the organs come back from their contours, and the object belongs to its series."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

import oarfuse
from oarfuse.data import NiftiVolume
from oarfuse.dicom import (
    SeriesHeaders,
    check_is_ours,
    read_rtstruct_masks,
    read_series,
    write_rtstruct,
)
from oarfuse.errors import OarfuseError
from oarfuse.metrics import dice
from oarfuse.organs import OPENKBP, SYNAPSE
from tests.dicom.made_series import LYING, body, write_series

SHAPE = (7, 40, 48)  # slices, rows, columns

# Attributes that must have a value (type 1) or at least be there (type 2), of the IOD's mandatory
# modules and of those that we write (PS3.3, A.19.3 and the modules' tables), by where they are.
TYPE_1: dict[tuple[str, ...], str] = {
    (): "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality StructureSetLabel "
    "FrameOfReferenceUID ApprovalStatus StructureSetROISequence ROIContourSequence "
    "RTROIObservationsSequence",
    ("ReferencedFrameOfReferenceSequence",): "FrameOfReferenceUID",
    (
        "ReferencedFrameOfReferenceSequence",
        "RTReferencedStudySequence",
    ): "ReferencedSOPClassUID ReferencedSOPInstanceUID RTReferencedSeriesSequence",
    (
        "ReferencedFrameOfReferenceSequence",
        "RTReferencedStudySequence",
        "RTReferencedSeriesSequence",
    ): "SeriesInstanceUID ContourImageSequence",
    ("StructureSetROISequence",): "ROINumber ReferencedFrameOfReferenceUID",
    ("ROIContourSequence",): "ReferencedROINumber ROIDisplayColor",
    (
        "ROIContourSequence",
        "ContourSequence",
    ): "ContourGeometricType NumberOfContourPoints ContourData ContourImageSequence",
    (
        "ROIContourSequence",
        "ContourSequence",
        "ContourImageSequence",
    ): "ReferencedSOPClassUID ReferencedSOPInstanceUID",
    ("RTROIObservationsSequence",): "ObservationNumber ReferencedROINumber",
}
TYPE_2: dict[tuple[str, ...], str] = {
    (): "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime "
    "ReferringPhysicianName StudyID AccessionNumber SeriesNumber OperatorsName Manufacturer "
    "PositionReferenceIndicator StructureSetDate StructureSetTime",
    ("StructureSetROISequence",): "ROIName ROIGenerationAlgorithm",
    ("RTROIObservationsSequence",): "RTROIInterpretedType ROIInterpreter",
}


def items(dataset: Dataset, place: tuple[str, ...]) -> list[Dataset]:
    """The data sets at a place, which leads through sequences."""
    if not place:
        return [dataset]
    return [deep for item in dataset[place[0]].value for deep in items(item, place[1:])]


def organs(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.uint8]:
    """Five organs, (slice, row, column): thin, hollow, in pieces, at the border, of one voxel."""
    labels = np.zeros(shape, np.uint8)
    y, x = np.mgrid[: shape[1], : shape[2]]
    away = np.hypot((y - 18) / 1.3, x - 22)
    labels[1:6, (away < 12) & (away > 5)] = 1  # a ring with a core of another organ
    labels[2:5, away < 3] = 2
    labels[:, 3, 2:30] = 3  # one voxel thick
    labels[:, 4, 5:30:2] = 3
    labels[0, -1, -1] = labels[-1, 0, 0] = labels[3, 36, 30] = 4  # at the border, and alone
    labels[2:6, 34:40, 40:48] = 5
    labels[4, 36:38, 43:45] = 0  # a hole in one slice
    return labels


def made(folder: Path, **options: Any) -> tuple[NiftiVolume, SeriesHeaders, NDArray[np.uint8]]:
    """A series, and labels in the same places whichever way the patient lies."""
    write_series(folder, body(SHAPE), **options)
    volume, headers = read_series(folder)
    size = tuple(np.array(volume.array.shape)[list(order_of(volume))].tolist())
    assert size == SHAPE
    labels = organs().transpose(np.argsort(order_of(volume)))
    return volume, headers, np.ascontiguousarray(labels)


def order_of(volume: NiftiVolume) -> tuple[int, int, int]:
    """Which axes of the volume are slices, rows and columns."""
    codes = np.abs(volume.affine[:3, :3]).argmax(axis=0)  # of (column, row, slice): x, y or z
    in_spl = {2: 0, 1: 1, 0: 2}
    column, row, slice_ = (in_spl[int(code)] for code in codes)
    return slice_, row, column


@pytest.mark.parametrize("lying", LYING)
def test_organs_come_back(tmp_path: Path, lying: str) -> None:
    volume, headers, labels = made(tmp_path / "ct", orientation=LYING[lying])
    write_rtstruct(tmp_path / "out.dcm", labels, volume, headers, OPENKBP)
    back = read_rtstruct_masks(tmp_path / "out.dcm", volume)
    for organ in OPENKBP.organs:
        assert dice(back == organ.label, labels == organ.label) >= 0.98, organ.title
    np.testing.assert_array_equal(back, labels)


@pytest.mark.parametrize("lying", LYING)
def test_points_lie_on_the_slice_that_they_name(tmp_path: Path, lying: str) -> None:
    """By the headers of the files alone: on the plane, and within it halfway between pixels."""
    volume, headers, labels = made(tmp_path / "ct", orientation=LYING[lying])
    write_rtstruct(tmp_path / "out.dcm", labels, volume, headers, OPENKBP)
    slices = {}
    for path in (tmp_path / "ct").iterdir():
        header = pydicom.dcmread(path)
        slices[header.SOPInstanceUID] = header
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    seen = set()
    for contour in items(dataset, ("ROIContourSequence", "ContourSequence")):
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        (image,) = contour.ContourImageSequence
        header = slices[image.ReferencedSOPInstanceUID]
        assert image.ReferencedSOPClassUID == header.SOPClassUID
        row, column = np.split(np.array(header.ImageOrientationPatient, float), 2)
        away = points - np.array(header.ImagePositionPatient, float)
        np.testing.assert_allclose(away @ np.cross(row, column), 0, atol=1e-3)
        places = np.stack([away @ row, away @ column], axis=1) / header.PixelSpacing[::-1]
        np.testing.assert_allclose((places * 2) % 1 % 0.999, 0, atol=2e-3)
        assert (places > -0.51).all() and (places < (SHAPE[2] - 0.49, SHAPE[1] - 0.49)).all()
        seen.add(image.ReferencedSOPInstanceUID)
    assert seen == set(slices)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    volume, headers, labels = made(tmp_path / "ct")
    labels[labels == 5] = 0
    write_rtstruct(tmp_path / "out.dcm", labels, volume, headers, OPENKBP, note="CT is oblique")
    return tmp_path / "ct", tmp_path / "out.dcm"


def test_required_attributes(written: tuple[Path, Path]) -> None:
    dataset = pydicom.dcmread(written[1])
    for place, keywords in TYPE_1.items():
        for item in items(dataset, place):
            empty = [k for k in keywords.split() if k not in item or item[k].is_empty]
            assert empty == [], place
    for place, keywords in TYPE_2.items():
        for item in items(dataset, place):
            assert [k for k in keywords.split() if k not in item] == [], place


def test_it_belongs_to_the_series(written: tuple[Path, Path]) -> None:
    dataset = pydicom.dcmread(written[1])
    headers = [pydicom.dcmread(path) for path in sorted(written[0].iterdir())]
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "SpecificCharacterSet"),
        *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
        *("ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID"),
    ):
        assert dataset[keyword].value == headers[0][keyword].value, keyword
    assert dataset.PatientName == "Müller^Erika"
    assert dataset.SeriesInstanceUID != headers[0].SeriesInstanceUID
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    (study,) = frame.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == headers[0].StudyInstanceUID
    (series,) = study.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
    referenced = [image.ReferencedSOPInstanceUID for image in series.ContourImageSequence]
    assert referenced == [header.SOPInstanceUID for header in headers]
    for region in dataset.StructureSetROISequence:
        assert region.ReferencedFrameOfReferenceUID == headers[0].FrameOfReferenceUID


def test_regions_are_the_organs(written: tuple[Path, Path]) -> None:
    dataset = pydicom.dcmread(written[1])
    regions = {int(r.ROINumber): r for r in dataset.StructureSetROISequence}
    present = [organ for organ in OPENKBP.organs if organ.label != 5]
    assert {n: r.ROIName for n, r in regions.items()} == {o.label: o.title for o in present}
    assert {r.ROIGenerationAlgorithm for r in regions.values()} == {"AUTOMATIC"}
    colours = {
        int(r.ReferencedROINumber): "#{:02X}{:02X}{:02X}".format(*map(int, r.ROIDisplayColor))
        for r in dataset.ROIContourSequence
    }
    assert colours == {o.label: o.color for o in present}
    observed = [int(o.ReferencedROINumber) for o in dataset.RTROIObservationsSequence]
    assert observed == list(regions)
    kinds = items(dataset, ("ROIContourSequence", "ContourSequence"))
    assert {contour.ContourGeometricType for contour in kinds} == {"CLOSED_PLANAR"}


def test_it_says_what_it_is(written: tuple[Path, Path]) -> None:
    dataset = pydicom.dcmread(written[1])
    assert dataset.ApprovalStatus == "UNAPPROVED" and dataset.Modality == "RTSTRUCT"
    for keyword in ("SeriesDescription", "StructureSetName", "StructureSetDescription"):
        assert dataset[keyword].value.startswith("Not for clinical use, made by oarfuse"), keyword
    assert dataset.StructureSetDescription == (
        f"Not for clinical use, made by oarfuse {oarfuse.__version__}. CT is oblique. "
        "Without voxels: Mandible."
    )
    assert dataset.Manufacturer == "oarfuse"
    assert dataset.SoftwareVersions == oarfuse.__version__
    assert len(dataset.StructureSetLabel) <= 16


def test_values_fit_their_fields(written: tuple[Path, Path]) -> None:
    """pydicom checks each value against its representation when it is told to."""
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(written[1])
    strict = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        for element in dataset.iterall():
            assert element.value is not None or element.is_empty
    finally:
        pydicom.config.settings.reading_validation_mode = strict


def test_our_own_file_is_replaced_and_no_other(tmp_path: Path) -> None:
    volume, headers, labels = made(tmp_path / "ct")
    ours = tmp_path / "ct" / "contours.dcm"  # beside the slices, where it does not disturb
    write_rtstruct(ours, labels, volume, headers, OPENKBP)
    first = pydicom.dcmread(ours).SOPInstanceUID
    write_rtstruct(ours, labels, *read_series(tmp_path / "ct"), OPENKBP)
    assert pydicom.dcmread(ours).SOPInstanceUID != first
    assert not [path for path in ours.parent.iterdir() if "partial" in path.name]
    others = pydicom.dcmread(ours)
    others.Manufacturer = "Somebody"
    others.save_as(tmp_path / "others.dcm")
    shutil.copy(tmp_path / "ct" / "IM000", tmp_path / "slice.dcm")
    (tmp_path / "text.dcm").write_text("not DICOM")
    for name in ("others.dcm", "slice.dcm", "text.dcm"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(OarfuseError, match=f"{name} is there already and not an RTSTRUCT"):
            write_rtstruct(tmp_path / name, labels, volume, headers, OPENKBP)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(OarfuseError, match=r"end it with \.dcm"):
        check_is_ours(tmp_path / "out.nii.gz")


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    volume, headers, labels = made(tmp_path / "ct")
    path = tmp_path / "out.dcm"
    with pytest.raises(OarfuseError, match=r"have the shape \(6, 40, 48\)"):
        write_rtstruct(path, labels[1:], volume, headers, OPENKBP)
    with pytest.raises(OarfuseError, match=r"hold \[9\], which OpenKBP does not know"):
        write_rtstruct(path, np.where(labels == 1, 9, labels), volume, headers, OPENKBP)
    with pytest.raises(OarfuseError, match="hold no organ"):
        write_rtstruct(path, np.zeros_like(labels), volume, headers, SYNAPSE)
    assert not path.exists()


@pytest.mark.parametrize(
    "keyword",
    ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"],
)
def test_series_without_uids_have_no_contours(tmp_path: Path, keyword: str) -> None:
    def blank(slice_: Dataset, _: int) -> None:
        setattr(slice_, keyword, "")
        slice_.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")

    volume, headers, labels = made(tmp_path / "ct", change=blank)
    with pytest.raises(OarfuseError, match=f"{keyword}.*write the labels as NIfTI"):
        write_rtstruct(tmp_path / "out.dcm", labels, volume, headers, OPENKBP)


def test_faulty_patient_data_are_copied_as_they_are(tmp_path: Path) -> None:
    def faulty(slice_: Dataset, _: int) -> None:
        with pydicom.config.disable_value_validation():
            slice_.PatientBirthDate, slice_.PatientID = "unknown", "X" * 70
            del slice_.PatientSex

    volume, headers, labels = made(tmp_path / "ct", change=faulty)
    write_rtstruct(tmp_path / "out.dcm", labels, volume, headers, OPENKBP)
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert dataset["PatientID"].value == "X" * 70
    assert dataset["PatientBirthDate"].value == "unknown" and dataset["PatientSex"].is_empty


def test_a_long_contour_is_kept_whole(tmp_path: Path) -> None:
    """More text than the 64 KiB that an element with an explicit type may hold."""
    comb = np.zeros((2, 44, 140), np.uint8)
    comb[:, ::4] = comb[:, 1::2, ::2] = comb[:, :, 0] = 1  # teeth up and down, and one back
    comb[:, 2::4, 1:] = 0
    write_series(tmp_path / "ct", body((2, 44, 140)))
    volume, headers = read_series(tmp_path / "ct")
    write_rtstruct(tmp_path / "out.dcm", comb, volume, headers, OPENKBP)
    longest = max(
        len("\\".join(map(str, contour.ContourData)))
        for contour in items(
            pydicom.dcmread(tmp_path / "out.dcm"), ("ROIContourSequence", "ContourSequence")
        )
    )
    assert longest > 2**16
    np.testing.assert_array_equal(read_rtstruct_masks(tmp_path / "out.dcm", volume), comb)


def test_reading_faults(tmp_path: Path, written: tuple[Path, Path]) -> None:
    volume, _ = read_series(written[0])
    with pytest.raises(OarfuseError, match="There is no"):
        read_rtstruct_masks(tmp_path / "nowhere.dcm", volume)
    with pytest.raises(OarfuseError, match=r"is no RTSTRUCT .CT Image Storage"):
        read_rtstruct_masks(written[0] / "IM000", volume)
    write_series(tmp_path / "other", body(SHAPE), origin=(0, 0, 1.2))
    other, _ = read_series(tmp_path / "other")
    with pytest.raises(OarfuseError, match="lies on no slice of"):
        read_rtstruct_masks(written[1], other)
    dataset = pydicom.dcmread(written[1])
    dataset.ROIContourSequence[0].ReferencedROINumber = 300
    dataset.save_as(tmp_path / "many.dcm")
    with pytest.raises(OarfuseError, match="region number 300"):
        read_rtstruct_masks(tmp_path / "many.dcm", volume)
    del dataset.ROIContourSequence[0].ContourSequence[0].ContourData
    dataset.ROIContourSequence[0].ReferencedROINumber = 1
    dataset.save_as(tmp_path / "cut.dcm")
    with pytest.raises(OarfuseError, match=r"cut\.dcm is damaged"):
        read_rtstruct_masks(tmp_path / "cut.dcm", volume)
