"""Small CT series, written with pydicom, that lie in space as the tests want them to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Change = Callable[[Dataset, int], None]


def turned(degrees: float) -> tuple[float, ...]:
    """Head first, supine, and turned in the plane of the slices: rows are no longer level."""
    angle = np.radians(degrees)
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return (cosine, sine, 0.0, -sine, cosine, 0.0)


# Directions of a row and of a column (LPS), by the way in which the patient lies.
LYING: dict[str, tuple[float, ...]] = {
    "head first, supine": (1, 0, 0, 0, 1, 0),
    "feet first, supine": (-1, 0, 0, 0, 1, 0),
    "head first, prone": (-1, 0, 0, 0, -1, 0),
    "feet first, prone": (1, 0, 0, 0, -1, 0),
    "turned by 20 degrees": turned(20),
    "coronal": (1, 0, 0, 0, 0, -1),
}


def body(shape: tuple[int, int, int] = (6, 24, 30)) -> NDArray[np.int16]:
    """A round body with a bone in it and noise, in HU; (slice, row, column)."""
    _, rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    away = np.hypot((y - rows / 2) / (rows / 2.4), (x - columns / 2) / (columns / 2.4))
    plane = np.select([away < 0.2, away < 1], [700, 40], -1000)
    noise = np.random.default_rng(0).integers(-20, 20, shape)
    return (plane + noise).astype(np.int16)


@dataclass(frozen=True)
class Made:
    """A series on disk: its folder, and what was written, (slice, row, column)."""

    folder: Path
    hu: NDArray[Any]


def write_series(
    folder: Path,
    hu: NDArray[Any] | None = None,
    *,
    orientation: Sequence[float] = LYING["head first, supine"],
    spacing: tuple[float, float, float] = (3.0, 1.5, 1.25),
    origin: Sequence[float] = (-120.5, -90.25, 411.5),
    intercept: float = -1024,
    slope: float = 1,
    change: Change | None = None,
    name: str = "IM{:03}",
    **fields: Any,
) -> Made:
    """Write a CT series, one file a slice, whose slices go along their normal.

    `spacing` is (slices, rows, columns) in mm, `fields` replace header fields, and `change` is
    called with each slice's data set and its number before that is written.
    """
    hu = body() if hu is None else hu
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    study, series, frame = (generate_uid() for _ in range(3))
    for number, plane in enumerate(hu):
        slice_ = Dataset()
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.SpecificCharacterSet = "ISO_IR 192"
        slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
        slice_.StudyDate, slice_.StudyTime, slice_.Modality = "20260102", "101500", "CT"
        slice_.Manufacturer, slice_.SeriesDescription = "Test scanner", "Head 3.0"
        slice_.AccessionNumber, slice_.ReferringPhysicianName = "A1", "Doe^Jane"
        slice_.PatientName, slice_.PatientID = "Müller^Erika", "P-17"
        slice_.PatientBirthDate, slice_.PatientSex = "19700101", "F"
        slice_.StudyID, slice_.StudyDescription = "S1", "Planning"
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
        slice_.FrameOfReferenceUID, slice_.PositionReferenceIndicator = frame, ""
        slice_.InstanceNumber = number + 1
        slice_.ImageOrientationPatient = [f"{value:.10g}"[:16] for value in orientation]
        place = np.asarray(origin) + number * spacing[0] * normal
        slice_.ImagePositionPatient = [f"{value:.10g}"[:16] for value in place]
        slice_.PixelSpacing = [spacing[1], spacing[2]]
        slice_.SliceThickness = spacing[0]
        slice_.Rows, slice_.Columns = plane.shape
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
        slice_.PixelRepresentation = 0
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.RescaleType = slope, intercept, "HU"
        stored = np.rint((plane - intercept) / slope).astype("<u2")
        slice_.PixelData = stored.tobytes()
        for keyword, value in fields.items():
            setattr(slice_, keyword, value)
        if change is not None:
            change(slice_, number)
        slice_.save_as(folder / name.format(number), enforce_file_format=True)
    return Made(folder, hu)
