"""DICOM in and out: CT series from a folder, organs as an RTSTRUCT or a SEG beside them.

Needs the extra: ``pip install 'oarfuse[dicom]'``. Names are imported when they are first used, so
that there is one sentence without it; `oarfuse.dicom.sniff.holds_dicom` does without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oarfuse.extras import require

if TYPE_CHECKING:
    from oarfuse.dicom.rtstruct import (
        SEG,
        check_has_uids,
        check_is_ours,
        read_rtstruct_masks,
        write_rtstruct,
    )
    from oarfuse.dicom.seg import write_seg
    from oarfuse.dicom.series import SeriesHeaders, read_series

_HOMES = {
    "SEG": "rtstruct",
    "SeriesHeaders": "series",
    "check_has_uids": "rtstruct",
    "check_is_ours": "rtstruct",
    "read_rtstruct_masks": "rtstruct",
    "read_series": "series",
    "write_rtstruct": "rtstruct",
    "write_seg": "seg",
}
# What the extra installs, by the names that Python imports.
_EXTRA = ("contourpy", "gdcm", "highdicom", "pydicom")

__all__ = [
    "SEG",
    "SeriesHeaders",
    "check_has_uids",
    "check_is_ours",
    "read_rtstruct_masks",
    "read_series",
    "write_rtstruct",
    "write_seg",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("DICOM", "dicom", *_EXTRA)
    return getattr(import_module(f"oarfuse.dicom.{_HOMES[name]}"), name)
