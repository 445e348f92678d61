"""Phantoms: drawn patients in the data sets' own file formats.

`make_phantom` is imported when it is first used, so that the command line knows the sizes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarfuse.phantom.sizes import COURSE_SIZES, SIZES

if TYPE_CHECKING:
    from oarfuse.phantom.patients import make_phantom

__all__ = ["COURSE_SIZES", "SIZES", "make_phantom"]


def __getattr__(name: str) -> Any:
    if name != "make_phantom":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from oarfuse.phantom.patients import make_phantom

    return make_phantom
