"""Phantoms: drawn patients in the data sets' own file formats.

`make_phantom` is imported when it is first used, so that the command line knows the sizes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oarfuse.phantom.patients import make_phantom

# How many patients are drawn for each split, by `make_phantom` and `oarfuse phantom`.
SIZES = {"train": 6, "validation": 2, "test": 2}
# The same for the phantom that notebooks and `make reproduce` share.
COURSE_SIZES = SIZES | {"train": 8}

__all__ = ["COURSE_SIZES", "SIZES", "make_phantom"]


def __getattr__(name: str) -> Any:
    if name != "make_phantom":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from oarfuse.phantom.patients import make_phantom

    return make_phantom
