"""Which files of a folder are DICOM, which of them are slices of a CT, and which series to take."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from oarfuse.dicom.sniff import is_dicom
from oarfuse.errors import OarfuseError

_SEVERAL_SLICES_A_FILE = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
_CT = (CTImageStorage, *_SEVERAL_SLICES_A_FILE)
# What pydicom raises, by the place where it stumbles over a damaged file.
DAMAGED = (
    AttributeError,
    EOFError,
    InvalidDicomError,
    KeyError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Keep pydicom's warnings about a faulty file back: it gets one sentence, and ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")
        yield


@dataclass(frozen=True)
class Slice:
    """One file of a series: its path, and its header without the pixels."""

    path: Path
    header: pydicom.Dataset


def ct_slices(folder: Path, series_uid: str | None) -> list[Slice]:
    """Return the slices of the folder's CT series, in the order of their file names.

    Localizers (scout views) and files that are no CT slice are passed over. Folders inside the
    folder are not entered.

    Raises
    ------
    OarfuseError
        If there is no such folder or no CT in it, if there are several series and none is chosen
        by `series_uid`, if a DICOM file cannot be read, or if one file holds several slices.
    """
    found = _read_headers(folder)
    slices = [s for s in found if _is_ct(s.header)]
    series: dict[str, list[Slice]] = {}
    for one in slices:
        if not _is_localizer(one.header):
            series.setdefault(str(one.header.get("SeriesInstanceUID", "")), []).append(one)
    if not series:
        if slices:
            raise OarfuseError(
                f"{folder} holds localizers (scout views) only: give the folder of the CT's slices."
            )
        kinds = sorted({_kind(s.header) for s in found})
        raise OarfuseError(
            f"{folder} holds no CT but {', '.join(kinds)}: give the folder of a CT series."
        )
    if series_uid is not None and series_uid not in series:
        raise OarfuseError(
            f"{folder} holds no CT series {series_uid}: choose one of {_listed(series)}."
        )
    if series_uid is None and len(series) > 1:
        raise OarfuseError(
            f"{folder} holds {len(series)} CT series: choose one by its UID, or move it to a "
            f"folder of its own, of {_listed(series)}."
        )
    chosen = series[series_uid] if series_uid is not None else next(iter(series.values()))
    for one in chosen:
        several = int(one.header.get("NumberOfFrames") or 1) > 1
        if several or one.header.SOPClassUID in _SEVERAL_SLICES_A_FILE:
            raise OarfuseError(
                f"{one.path} is an enhanced CT (many slices in one file), which this kit does not "
                "read: export it as one file a slice, or convert it to NIfTI with dcm2niix."
            )
    return chosen


def _read_headers(folder: Path) -> list[Slice]:
    """Read the header of each DICOM file in a folder, but not of indices (DICOMDIR)."""
    if folder.is_file():
        raise OarfuseError(f"{folder} is a file: give the folder in which the CT's slices lie.")
    if not folder.is_dir():
        raise OarfuseError(f"There is no {folder}: give the folder in which the CT's slices lie.")
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        headers = [Slice(path, read_file(path, pixels=False)) for path in files if is_dicom(path)]
    except OSError as error:
        raise OarfuseError(
            f"Cannot read {error.filename or folder} ({error.strerror or error}): "
            "give a folder that you can read."
        ) from error
    found = [s for s in headers if s.header.SOPClassUID != MediaStorageDirectoryStorage]
    if not found:
        raise OarfuseError(
            f"{folder} holds no DICOM files: give the folder in which the CT's slices themselves "
            "lie, not one above it."
        )
    return found


def read_file(path: Path, *, pixels: bool) -> pydicom.Dataset:
    """Read one DICOM file, with or without its pixels.

    The preamble and the meta information after it may be left out, as some programs do. Where the
    file's class and its own UID were blanked, they are taken from the meta information.
    """
    try:
        # `force`: what is no DICOM at all gets its sentence below.
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
    except DAMAGED as error:
        raise damaged(path, error) from error
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit = dataset.original_encoding[0]
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = plain
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            meta = dataset.file_meta.get(f"MediaStorage{keyword}")
            setattr(dataset, keyword, pydicom.uid.UID(meta or ""))
    if not dataset.SOPClassUID:
        raise damaged(path, ValueError("it does not say what it is"))
    # pydicom says nothing where a file ends early, and such a slice must not be passed over.
    last = "Rows" if dataset.SOPClassUID in _CT else "SeriesInstanceUID"
    if last not in dataset and dataset.SOPClassUID != MediaStorageDirectoryStorage:
        raise damaged(path, ValueError("it ends within its header"))
    return dataset


def damaged(path: Path, error: Exception) -> OarfuseError:
    """The sentence about a file that cannot be read."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return OarfuseError(f"{path} is damaged or cut short ({reason}): copy or export it again.")


def _is_ct(header: pydicom.Dataset) -> bool:
    return header.SOPClassUID in _CT and header.get("Modality") == "CT"


def _is_localizer(header: pydicom.Dataset) -> bool:
    kind = header.get("ImageType") or ()
    return "LOCALIZER" in ([kind] if isinstance(kind, str) else kind)


def _kind(header: pydicom.Dataset) -> str:
    return f"{header.get('Modality') or 'files without a modality'} ({header.SOPClassUID.name})"


def _listed(series: dict[str, list[Slice]]) -> str:
    return "; ".join(_described(uid, slices) for uid, slices in series.items())


def _described(uid: str, slices: Iterable[Slice]) -> str:
    slices = list(slices)
    title = slices[0].header.get("SeriesDescription") or "without description"
    return (
        f"{uid or 'one without UID'} ({title}, {len(slices)} slice{'s' if len(slices) > 1 else ''})"
    )
