"""Label maps that this kit wrote: marked in their header, so that no others are overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.nifti import NiftiVolume, check_nifti_name, read_nifti, write_labels_like
from oarfuse.errors import OarfuseError

MARK = "oarfuse labels"  # in the header's field for a description


def write_labels(
    path: str | Path, labels_spl: NDArray[np.uint8], like: NiftiVolume, *, note: str = ""
) -> None:
    """Write labels on the grid of `like`, see `oarfuse.data.write_labels_like`; mark them."""
    write_labels_like(path, labels_spl, like, note=marked(note))


def marked(note: str = "") -> str:
    """Return a note for a header that also tells whose labels these are."""
    return f"{MARK}: {note}" if note else MARK


def check_is_ours(path: str | Path) -> None:
    """Raise `OarfuseError` if `path` cannot be a label map, or holds a file of somebody else's."""
    path = Path(path)
    check_nifti_name(path)
    if not path.is_file():
        return
    try:
        ours = bytes(read_nifti(path).header["descrip"]).startswith(MARK.encode())
    except OarfuseError:
        ours = False
    if not ours:
        raise OarfuseError(
            f"{path} is there already and not a label map of this kit: choose another output file."
        )
