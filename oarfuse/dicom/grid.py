"""Where the slices of a series lie: their order, and the affine of the volume that they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from oarfuse.data.grids import Affine, is_sheared, voxel_sizes
from oarfuse.data.headers import SPACING_LIMITS_MM
from oarfuse.dicom.folder import Slice
from oarfuse.errors import OarfuseError

# A slice may lie so far from its place on an even grid: in the share of the slices' distance along
# their normal, and of the smaller pixel side across. Rounded headers stay below, a missing slice
# or another reconstruction is above.
TOLERANCE = 0.1
_SAME_PLACE_MM = 0.01
# Direction cosines that differ by more than this move the far corner of a slice by 0.05 mm.
_SAME_DIRECTION = 1e-4
_UNIT_LENGTH = 1e-3

# DICOM's axes point left, posterior, superior; the kit's affines right, anterior, superior.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Planes:
    """The planes of a series in order, in the patient's coordinates (LPS, mm).

    Attributes
    ----------
    origins
        (slices, 3), the middle of each slice's first pixel.
    along_columns, along_rows
        (3,), from one pixel to its neighbour in the next column, and in the next row.
    """

    origins: NDArray[np.float64]
    along_columns: NDArray[np.float64]
    along_rows: NDArray[np.float64]

    @property
    def affine(self) -> Affine:
        """(4, 4), from (column, row, slice) to mm in RAS+."""
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = self.along_columns, self.along_rows
        affine[:3, 2] = (self.origins[-1] - self.origins[0]) / (len(self.origins) - 1)
        affine[:3, 3] = self.origins[0]
        return LPS_TO_RAS @ affine


def in_order(folder: Path, slices: list[Slice]) -> tuple[list[Slice], Planes]:
    """Sort slices along their normal, and make sure that they fill a rectangular grid.

    The normal is the cross product of a row's and a column's direction, so that the axes (column,
    row, slice) are right-handed whichever way the patient lies.

    Raises
    ------
    OarfuseError
        If a header lacks its place; slices differ in size, spacing or direction; there is only
        one; two lie in the same place; one lies further than `TOLERANCE` from its place on the
        even grid; or the gantry was tilted, so that the grid is sheared.
    """
    if len(slices) == 1:
        raise OarfuseError(f"{folder} holds one slice only: give the folder of the whole series.")
    first = slices[0]
    for one in slices[1:]:
        _require_alike(first, one)
    across, down = np.split(numbers(first, "ImageOrientationPatient", 6), 2)
    lengths = np.linalg.norm([across, down], axis=1)
    if not np.allclose(lengths, 1, atol=_UNIT_LENGTH) or abs(across @ down) > _UNIT_LENGTH:
        raise OarfuseError(
            f"{first.path} has an orientation that is no pair of directions at right angles: "
            "export the series again."
        )
    across, down = across / lengths[0], down / lengths[1]
    between_rows, between_columns = numbers(first, "PixelSpacing", 2)
    places = np.stack([numbers(one, "ImagePositionPatient", 3) for one in slices])
    heights = places @ np.cross(across, down)
    order = np.argsort(heights, kind="stable")
    ordered = [slices[index] for index in order]
    planes = Planes(places[order], across * between_columns, down * between_rows)
    _check_heights(folder, ordered, heights[order])
    _check_columns(folder, ordered, planes, np.cross(across, down))
    sizes = voxel_sizes(planes.affine)
    if sizes.min() < SPACING_LIMITS_MM[0] or sizes.max() > SPACING_LIMITS_MM[1]:
        raise OarfuseError(
            f"{folder} has voxel sizes {', '.join(f'{size:g}' for size in sizes)} mm: export the "
            "series with its true spacing."
        )
    return ordered, planes


def in_spl_order(stored: NDArray[Any], affine: Affine) -> NDArray[Any]:
    """Turn a (column, row, slice) array to superior, posterior, left: (D, H, W), not copied."""
    spl = axcodes2ornt(("S", "P", "L"))
    return np.asarray(apply_orientation(stored, ornt_transform(io_orientation(affine), spl)))


def numbers(one: Slice, keyword: str, count: int) -> NDArray[np.float64]:
    """Return the numbers of one header field, or raise `OarfuseError` if they are not there."""
    try:
        values = np.atleast_1d(np.asarray(one.header.get(keyword), np.float64))
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise OarfuseError(
            f"{one.path} does not say its {keyword}, without which no CT can be placed or read: "
            "export the series again."
        )
    return values


def _require_alike(first: Slice, one: Slice) -> None:
    """Refuse two slices of one series that do not fit on each other."""
    for keyword, count, tolerance, what in (
        ("Rows", 1, 0.0, "number of rows"),
        ("Columns", 1, 0.0, "number of columns"),
        ("PixelSpacing", 2, _SAME_DIRECTION, "pixel spacing"),
        ("ImageOrientationPatient", 6, _SAME_DIRECTION, "orientation"),
    ):
        mine, theirs = numbers(one, keyword, count), numbers(first, keyword, count)
        if np.abs(mine - theirs).max() > tolerance:
            raise OarfuseError(
                f"{one.path} has another {what} ({_words(mine)}) than {first.path.name} "
                f"({_words(theirs)}): move slices that do not belong to the CT elsewhere."
            )
    frames = {str(s.header.get("FrameOfReferenceUID", "")) for s in (one, first)}
    if len(frames) > 1:
        raise OarfuseError(
            f"{one.path} has another frame of reference than {first.path.name}, so that their "
            "places cannot be compared: move slices that do not belong to the CT elsewhere."
        )


def _check_heights(folder: Path, slices: list[Slice], heights: NDArray[np.float64]) -> None:
    """Refuse slices in the same place, missing ones, and uneven distances."""
    gaps = np.diff(heights)
    closest = int(gaps.argmin())
    if gaps[closest] < _SAME_PLACE_MM:
        two = f"{slices[closest].path} and {slices[closest + 1].path.name}"
        uids = {str(s.header.get("SOPInstanceUID")) for s in slices[closest : closest + 2]}
        if len(uids) == 1:
            raise OarfuseError(f"{two} are the same slice twice: remove one of them.")
        raise OarfuseError(
            f"{two} lie in the same place, as in a series of several phases or reconstructions: "
            "leave the slices of one of them in the folder."
        )
    even = np.linspace(heights[0], heights[-1], len(heights))
    mean = even[1] - even[0]
    if np.abs(heights - even).max() <= TOLERANCE * mean:
        return
    usual = float(np.median(gaps))
    worst = int(np.abs(gaps - usual).argmax())
    two = f"{slices[worst].path.name} and {slices[worst + 1].path.name}"
    if gaps[worst] > 1.5 * usual:
        raise OarfuseError(
            f"{folder} lacks slices: {two} lie {gaps[worst]:g} mm apart, where others lie "
            f"{usual:g} mm apart: copy or export the whole series again."
        )
    raise OarfuseError(
        f"{folder} has uneven distances between its slices ({gaps.min():g} to {gaps.max():g} mm; "
        f"{two} are furthest from the usual {usual:g} mm): reconstruct it with even ones, or leave "
        "the slices of one part in the folder."
    )


def _check_columns(
    folder: Path, slices: list[Slice], planes: Planes, normal: NDArray[np.float64]
) -> None:
    """Refuse slices that lie beside one another, and grids that a tilted gantry sheared."""
    affine = planes.affine
    even = np.linspace(planes.origins[0], planes.origins[-1], len(slices))
    off = planes.origins - even
    off -= np.outer(off @ normal, normal)
    beside = np.linalg.norm(off, axis=1)
    worst = int(beside.argmax())
    if beside[worst] > TOLERANCE * voxel_sizes(affine)[:2].min():
        raise OarfuseError(
            f"{slices[worst].path} lies {beside[worst]:.2g} mm beside the line of its neighbours: "
            "move slices of another reconstruction elsewhere, or export the series again."
        )
    header = slices[0].header
    if is_sheared((int(header.Columns), int(header.Rows), len(slices)), affine):
        step = planes.origins[-1] - planes.origins[0]
        angle = np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1)))
        raise OarfuseError(
            f"{folder} was taken with a gantry tilted by {angle:.1f} degrees: resample it onto a "
            "rectangular grid, as dcm2niix does for its _Tilt file."
        )


def _words(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in values)
