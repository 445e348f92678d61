"""Label maps as contours in an RTSTRUCT that opens beside its CT series, and back."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    CTImageStorage,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

from oarfuse.data.nifti import NiftiVolume, in_file_order
from oarfuse.dicom.contours import Polygon, mask_to_polygons, polygons_to_mask
from oarfuse.dicom.folder import DAMAGED, damaged, one_sentence, read_file
from oarfuse.dicom.grid import LPS_TO_RAS, Planes, in_spl_order
from oarfuse.dicom.series import SeriesHeaders
from oarfuse.errors import OarfuseError
from oarfuse.files import atomic_path
from oarfuse.organs import DatasetSpec, Organ

MAKER = "oarfuse"
SEG = ".seg.dcm"  # ends the name of a DICOM SEG; any other .dcm is an RTSTRUCT
WARNING = "Not for clinical use, made by oarfuse"
# Retired from the standard, but what the reference to a study has to name.
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"
# Said about the patient and the study in the words of the series; empty where it is silent.
_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    "PositionReferenceIndicator",
)
# Said only where the series says it.
_OPTIONAL = (
    *("SpecificCharacterSet", "IssuerOfPatientID", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "PatientAge", "PatientSize", "PatientWeight"),
    *("StudyDescription", "TimezoneOffsetFromUTC"),
)
_POINTS = Tag("ContourData")
# How far from a slice its contours may lie, in the share of the slices' distance.
_OFF_PLANE = 0.25
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def write_rtstruct(
    path: str | Path,
    labels_spl: NDArray[Any],
    volume: NiftiVolume,
    headers: SeriesHeaders,
    spec: DatasetSpec,
    *,
    note: str = "",
) -> None:
    """Write a label map as the contours of an RTSTRUCT that belongs to the series.

    Each organ with voxels becomes a region with its title and colour, outlined on the slices' own
    planes (`oarfuse.dicom.contours.mask_to_polygons` tells how holes are cut out). Its number is
    the organ's label value. Organs without voxels are left out, and the description names them.
    Patient and study are the series'; the object has a series and a UID of its own, is unapproved,
    and says that it is not for clinical use.

    Parameters
    ----------
    path
        Ends in ``.dcm``; written atomically.
    labels_spl
        (D, H, W) label values of `spec`, axes as in ``volume.array``.
    volume, headers
        What `oarfuse.dicom.read_series` returned.
    spec
        Names, labels and colours of the organs.
    note
        A warning or remark for the description.

    Raises
    ------
    OarfuseError
        If the file is there and somebody else's, the labels do not fit the series or `spec`, there
        is no organ at all, or the series lacks a UID by which contours refer to it.
    """
    path = Path(path)
    check_can_write(path, labels_spl, volume, headers, spec)
    found = set(np.unique(labels_spl).tolist())
    organs = [organ for organ in spec.organs if organ.label in found]
    dataset = _general(headers)
    missing = ", ".join(organ.title for organ in spec.organs if organ.label not in found)
    said = [f"{WARNING} {version(MAKER)}", note, missing and f"Without voxels: {missing}"]
    dataset.StructureSetDescription = _ascii(". ".join(filter(None, said)) + ".", 1024)
    dataset.ReferencedFrameOfReferenceSequence = [_reference(headers)]
    stored = in_file_order(labels_spl, volume.affine)  # (column, row, slice)
    dataset.StructureSetROISequence = [_region(organ, headers) for organ in organs]
    dataset.ROIContourSequence = [_outlined(organ, stored, headers) for organ in organs]
    dataset.RTROIObservationsSequence = [_observation(organ) for organ in organs]
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


@one_sentence()
def check_is_ours(path: str | Path) -> None:
    """Raise `OarfuseError` if `path` cannot be ours, or holds a file of somebody else's.

    A name that ends in ``.seg.dcm`` is a SEG's, another one in ``.dcm`` an RTSTRUCT's.
    """
    path = Path(path)
    if path.suffix.lower() != ".dcm":
        raise OarfuseError(f"{path} is no name for an RTSTRUCT: end it with .dcm.")
    if not path.is_file():
        return
    seg = path.name.lower().endswith(SEG)
    storage = SegmentationStorage if seg else RTStructureSetStorage
    try:
        there = read_file(path, pixels=False)
        ours = there.SOPClassUID == storage and there.get("Manufacturer") == MAKER
    except OarfuseError:
        ours = False
    if not ours:
        raise OarfuseError(
            f"{path} is there already and not {'a SEG' if seg else 'an RTSTRUCT'} of this kit: "
            "choose another output file."
        )


def check_can_write(
    path: Path,
    labels_spl: NDArray[Any],
    volume: NiftiVolume,
    headers: SeriesHeaders,
    spec: DatasetSpec,
) -> None:
    """Raise `OarfuseError` unless `path` is ours and labels fit the series and `spec`."""
    check_is_ours(path)
    check_has_uids(volume, headers)
    if labels_spl.shape != volume.array.shape:
        raise OarfuseError(
            f"The labels have the shape {labels_spl.shape}, but {volume.path} has "
            f"{volume.array.shape} (D, H, W): predict on that CT again."
        )
    found = set(np.unique(labels_spl).tolist()) - {0}
    unknown = found - {organ.label for organ in spec.organs}
    if unknown:
        raise OarfuseError(
            f"The labels hold {sorted(unknown)}, which {spec.title} does not know: "
            "name the data set that they belong to."
        )
    if not found:
        raise OarfuseError(
            f"The labels of {volume.path} hold no organ, so that {path} would have no contours: "
            "look at the CT, or write the labels as NIfTI."
        )


def check_has_uids(volume: NiftiVolume, headers: SeriesHeaders) -> None:
    """Raise `OarfuseError` unless contours can refer to the series; ask before the work."""
    missing = [keyword for keyword in _UIDS if not headers.first.get(keyword)]
    if not missing and len(set(headers.instance_uids) - {""}) < len(headers.instance_uids):
        missing = ["SOPInstanceUID of each slice"]
    if missing:
        raise OarfuseError(
            f"{volume.path} lacks the {missing[0]}, by which contours refer to their series "
            "(blanked to hide the patient?): write the labels as NIfTI, or give the series with "
            "its UIDs."
        )


def _general(headers: SeriesHeaders) -> Dataset:
    """The modules about patient, study, series, equipment and approval."""
    source, now = headers.first, datetime.now()
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    # With explicit types a contour could not be longer than 64 KiB of text.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for keyword in _REQUIRED:
        setattr(dataset, keyword, None)
    for keyword in (*_REQUIRED, *_OPTIONAL):
        if keyword in source:
            dataset.add(source[keyword])  # as it is: a faulty date is not ours to refuse
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid(prefix=None)
    dataset.StudyInstanceUID = source.StudyInstanceUID
    dataset.SeriesInstanceUID = generate_uid(prefix=None)
    dataset.FrameOfReferenceUID = source.FrameOfReferenceUID
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "RTSTRUCT", None, "1"
    dataset.SeriesDescription = WARNING
    dataset.OperatorsName = None
    dataset.Manufacturer = dataset.ManufacturerModelName = MAKER
    dataset.SoftwareVersions = version(MAKER)
    dataset.StructureSetLabel, dataset.StructureSetName = MAKER, WARNING
    for what in ("InstanceCreation", "Series", "StructureSet"):
        setattr(dataset, f"{what}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{what}Time", now.strftime("%H%M%S"))
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _reference(headers: SeriesHeaders) -> Dataset:
    """The frame of reference, and within it the study, the series and each of its slices."""
    series = Dataset()
    series.SeriesInstanceUID = headers.first.SeriesInstanceUID
    series.ContourImageSequence = [_image(uid) for uid in headers.instance_uids]
    study = Dataset()
    study.ReferencedSOPClassUID = _DETACHED_STUDY
    study.ReferencedSOPInstanceUID = headers.first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = headers.first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(instance_uid: str) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, instance_uid
    return image


def _region(organ: Organ, headers: SeriesHeaders) -> Dataset:
    region = Dataset()
    region.ROINumber, region.ROIName = organ.label, organ.title
    region.ReferencedFrameOfReferenceUID = headers.first.FrameOfReferenceUID
    region.ROIDescription = WARNING
    region.ROIGenerationAlgorithm = "AUTOMATIC"
    region.ROIGenerationDescription = f"{MAKER} {version(MAKER)}"
    return region


def _observation(organ: Organ) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = organ.label
    observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN", None
    return observation


def _outlined(organ: Organ, stored: NDArray[Any], headers: SeriesHeaders) -> Dataset:
    """All contours of an organ; `stored` is (column, row, slice)."""
    outlined = Dataset()
    outlined.ReferencedROINumber = organ.label
    outlined.ROIDisplayColor = [int(organ.color[start : start + 2], 16) for start in (1, 3, 5)]
    contours: list[Dataset] = []
    for index, uid in enumerate(headers.instance_uids):
        for polygon in mask_to_polygons((stored[:, :, index] == organ.label).T):
            contour = Dataset()
            contour.ContourImageSequence = [_image(uid)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(polygon)
            contour.ContourNumber = len(contours) + 1
            _set_points(contour, _to_patient(polygon, headers.planes, index))
            contours.append(contour)
    outlined.ContourSequence = contours
    return outlined


def _to_patient(polygon: NDArray[np.float64], planes: Planes, index: int) -> NDArray[np.float64]:
    """Turn (column, row) on one slice into places in mm, LPS; (points, 3)."""
    inside = np.stack([planes.along_columns, planes.along_rows])  # (2, 3)
    return planes.origins[index] + polygon @ inside


@one_sentence()
def read_rtstruct_masks(path: str | Path, volume: NiftiVolume) -> NDArray[np.uint8]:
    """Read the contours of an RTSTRUCT as a label map on the grid of a series.

    A voxel has the number of the region whose contours on its slice go around its middle; of two
    regions that overlap, the later one counts. Holes may be keyholes or contours inside others.

    Parameters
    ----------
    path
        An RTSTRUCT whose region numbers lie within 1..255, as `write_rtstruct`'s do.
    volume
        What `oarfuse.dicom.read_series` returned for the series.

    Returns
    -------
    ndarray
        (D, H, W) region numbers, axes as in ``volume.array``.

    Raises
    ------
    OarfuseError
        If the file is missing, damaged or no RTSTRUCT, or a contour does not lie on a slice.
    """
    path = Path(path)
    if not path.is_file():
        raise OarfuseError(f"There is no {path}: give the path of an RTSTRUCT.")
    dataset = read_file(path, pixels=False)
    if dataset.SOPClassUID != RTStructureSetStorage:
        raise OarfuseError(f"{path} is no RTSTRUCT ({dataset.SOPClassUID.name}): give one.")
    columns, rows, slices = in_file_order(volume.array, volume.affine).shape
    stored = np.zeros((columns, rows, slices), np.uint8)
    try:
        for region in dataset.ROIContourSequence:
            number = int(region.ReferencedROINumber)
            if not 1 <= number <= 255:
                raise OarfuseError(f"{path} has a region number {number}: renumber it to 1..255.")
            for index, polygons in _by_slice(path, region, volume, slices).items():
                stored[:, :, index][polygons_to_mask(polygons, (rows, columns)).T] = number
    except OarfuseError:
        raise
    except DAMAGED as error:
        raise damaged(path, error) from error
    return in_spl_order(stored, volume.affine).copy(order="C")


def _by_slice(
    path: Path, region: Dataset, volume: NiftiVolume, slices: int
) -> dict[int, list[Polygon]]:
    """A region's contours as (column, row), by the number of the slice that they lie on."""
    inverse = np.linalg.inv(LPS_TO_RAS @ volume.affine)
    found: dict[int, list[Polygon]] = {}
    for contour in region.get("ContourSequence") or ():
        points = _points_of(contour)
        places = points @ inverse[:3, :3].T + inverse[:3, 3]  # (points, 3): column, row, slice
        index = round(float(places[0, 2]))
        if not 0 <= index < slices or np.abs(places[:, 2] - index).max() > _OFF_PLANE:
            raise OarfuseError(
                f"{path} has a contour that lies on no slice of {volume.path}: give the series "
                "that it was drawn on."
            )
        found.setdefault(index, []).append(places[:, :2])
    return found


def _set_points(contour: Dataset, points: NDArray[np.float64]) -> None:
    """Put places in mm, (points, 3), into a contour: as text, with 4 decimals.

    As bytes: pydicom would check each number on its own, which takes half of the time.
    """
    text = "\\".join(f"{value:.4f}" for value in points.ravel().tolist()).encode()
    text += b" " * (len(text) % 2)
    contour[_POINTS] = RawDataElement(_POINTS, "DS", len(text), text, 0, True, True)


def _points_of(contour: Dataset) -> NDArray[np.float64]:
    """The places of a contour in mm, (points, 3); from the bytes, as `_set_points`."""
    text = contour.get_item(_POINTS).value
    if isinstance(text, bytes):
        text = text.rstrip(b" \0").split(b"\\")
    return np.asarray(text, np.float64).reshape(-1, 3)


def _ascii(text: str, length: int) -> str:
    """Keep a text within what every character set and the field can hold."""
    return text.encode("ascii", "replace").decode()[:length]
