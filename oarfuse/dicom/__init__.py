"""DICOM in and out: CT series from a folder, contours as an RTSTRUCT beside them.

Needs the extra: ``pip install 'oarfuse[dicom]'``. Names are imported when they are first used, so
that there is one sentence without it; `oarfuse.dicom.sniff.holds_dicom` does without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oarfuse.extras import require

if TYPE_CHECKING:
    from oarfuse.dicom.rtstruct import (
        check_has_uids,
        check_is_ours,
        read_rtstruct_masks,
        write_rtstruct,
    )
    from oarfuse.dicom.series import SeriesHeaders, read_series

_HOMES = {
    "SeriesHeaders": "series",
    "check_has_uids": "rtstruct",
    "check_is_ours": "rtstruct",
    "read_rtstruct_masks": "rtstruct",
    "read_series": "series",
    "write_rtstruct": "rtstruct",
}
# What the extra installs, by the names that Python imports.
_EXTRA = ("contourpy", "gdcm", "pydicom")

__all__ = [
    "SeriesHeaders",
    "check_has_uids",
    "check_is_ours",
    "read_rtstruct_masks",
    "read_series",
    "write_rtstruct",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("DICOM", "dicom", *_EXTRA)
    return getattr(import_module(f"oarfuse.dicom.{_HOMES[name]}"), name)
