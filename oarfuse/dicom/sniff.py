"""Whether files are DICOM, told by their first bytes alone: without pydicom, and quickly."""

from __future__ import annotations

from pathlib import Path

# Where the preamble is left out, a data set begins with group 0002 or 0008, in little endian, and
# an element that is there in every file: the length or the version of the group, the character
# set, the image type or the class of the object.
_BARE = tuple(
    group + element
    for group, elements in (
        (b"\x02\0", (b"\0\0", b"\1\0", b"\2\0")),
        (b"\x08\0", (b"\0\0", b"\1\0", b"\5\0", b"\x08\0", b"\x16\0")),
    )
    for element in elements
)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, with the preamble or without it."""
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or start.startswith(_BARE)


def holds_dicom(folder: str | Path) -> bool:
    """Whether a DICOM file lies in a folder: such a folder is a series, not one of cases.

    Needs no extra, so that a folder of NIfTI files is told from a series without it. Folders inside
    the folder are not entered; False also for what is no folder or cannot be read.
    """
    try:
        return any(path.is_file() and is_dicom(path) for path in sorted(Path(folder).iterdir()))
    except OSError:
        return False
