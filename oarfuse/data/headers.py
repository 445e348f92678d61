"""The header of a NIfTI file: whether it says one thing about where its voxels lie."""

from __future__ import annotations

import gzip
import logging
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from oarfuse.data.grids import Affine, corners_apart, difference, is_sheared, voxel_sizes
from oarfuse.errors import OarfuseError

_NIBABEL_ERRORS = (ImageFileError, HeaderDataError, WrapStructError)
# What xyzt_units says of space; a file that says nothing (0, the most common) is in mm.
_UNITS = {0: "mm", 1: "m", 2: "mm", 3: "micrometres"}
# Smallest and largest side of a voxel: anything else is another unit or a typing mistake.
SPACING_LIMITS_MM = (0.05, 20.0)
# The header writes voxel sizes twice; programs round them differently.
_SIZE_TOLERANCE = 0.01
# The first four bytes: a header's size, of NIfTI-1 and NIfTI-2, in either order of bytes.
_FIRST = {size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")}


class _Quiet(threading.local):
    """Whether this thread wants nibabel silent: a faulty file gets one sentence, and ours."""

    on = False

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.on


_QUIET = _Quiet()
imageglobals.logger.addFilter(_QUIET.filter)


@contextmanager
def _quiet() -> Iterator[None]:
    _QUIET.on = True
    try:
        yield
    finally:
        _QUIET.on = False


def parse_image(data: bytes, path: Path) -> nib.Nifti1Image:
    """Return the image in the bytes of a file, gzipped or not, whatever the file is called.

    Raises
    ------
    OarfuseError
        If it is damaged or no NIfTI, or its header contradicts itself without regard to the affine.
    """
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if data[4:] and data[:4] not in _FIRST:
            raise ValueError("it begins like another kind of file, whatever its name says")
        second = data[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # NIfTI-2's header size, 540
        kind = nib.Nifti2Image if second else nib.Nifti1Image
        with _quiet():
            image = kind.from_bytes(data)
            stored = kind.header_class(data[: kind.header_class.sizeof_hdr], check=False)
    except (OSError, EOFError, ValueError, zlib.error, *_NIBABEL_ERRORS) as error:
        raise damaged(path, error) from error
    first = kind.header_class.single_vox_offset
    if not bytes(stored["magic"]).startswith(b"n+") or not stored["vox_offset"] >= first:
        raise OarfuseError(
            f"{path} has the header of a pair (.hdr and .img) or one whose voxels begin inside "
            "of it: export it as one .nii file."
        )
    # As stored: nibabel puts 1 mm in place of a size of 0, and drops a minus.
    sizes = stored["pixdim"][1:4]
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise _bad_spacing(path, sizes)
    unit = _UNITS.get(int(stored["xyzt_units"]) & 7, "an unknown unit")
    if unit != "mm":
        raise OarfuseError(f"{path} says that its places are in {unit}: export it in mm.")
    plane = int(np.prod([max(int(side), 1) for side in stored["dim"][1:3]]))
    end = int(stored["vox_offset"]) + int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    if len(data) - end >= plane * image.get_data_dtype().itemsize:
        raise OarfuseError(
            f"{path} goes on for {len(data) - end} bytes after the last voxel that its header "
            "tells of, so its shape or type of voxels is not what it says: export it again."
        )
    return image


def _bad_spacing(path: Path, sizes: NDArray[Any]) -> OarfuseError:
    return OarfuseError(
        f"{path} has voxel sizes {_words(sizes)} mm: export it with its true spacing."
    )


def _words(sizes: NDArray[Any]) -> str:
    return ", ".join(f"{float(size):g}" for size in sizes)


def damaged(path: Path, error: Exception) -> OarfuseError:
    """The error for a file that cannot be read to its end."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return OarfuseError(f"{path} is damaged or no NIfTI ({reason}): copy or export the file again.")


def checked_affine(path: Path, image: nib.Nifti1Image) -> Affine:
    """Return an image's affine (4, 4), or raise `OarfuseError` if its header contradicts it."""
    header = image.header
    if not header["sform_code"] and not header["qform_code"]:
        raise OarfuseError(
            f"{path} does not say which way the patient lies (sform and qform codes are 0): "
            "export it with its orientation."
        )
    affine = np.asarray(image.affine, np.float64)
    sizes = voxel_sizes(affine)
    if not np.isfinite(affine).all() or (sizes <= 0).any():
        raise _bad_spacing(path, sizes)
    if np.linalg.matrix_rank(affine[:3, :3] / sizes) < 3 or np.isnan(io_orientation(affine)).any():
        raise OarfuseError(
            f"{path} has an affine that flattens the volume: export it with its orientation."
        )
    shape = image.shape[:3]
    if is_sheared(shape, affine):
        raise OarfuseError(
            f"{path} has axes that are not at right angles (a tilted gantry?): "
            "resample it onto a rectangular grid, as dcm2niix does for its _Tilt file."
        )
    if not np.allclose(header["pixdim"][1:4], sizes, rtol=_SIZE_TOLERANCE):
        raise OarfuseError(
            f"{path} has voxel sizes {_words(header['pixdim'][1:4])} mm in its header and "
            f"{_words(sizes)} mm in its sform: export it again, so that both agree."
        )
    low, high = SPACING_LIMITS_MM
    if sizes.min() < low or sizes.max() > high:
        raise _bad_spacing(path, sizes)
    _check_both_forms(path, image, affine)
    return affine


def _check_both_forms(path: Path, image: nib.Nifti1Image, affine: Affine) -> None:
    """Refuse a file whose sform and qform disagree: programs choose differently between them."""
    if not image.header["sform_code"] or not image.header["qform_code"]:
        return
    try:
        other = np.asarray(image.header.get_qform(), np.float64)
    except (ValueError, *_NIBABEL_ERRORS) as error:
        raise damaged(path, error) from error
    if not np.isfinite(other).all():
        raise damaged(path, ValueError("its qform is no number"))
    problem = difference(image.shape[:3], other, image.shape[:3], affine, of="its sform")
    if problem:
        axes = ["".join(nib.aff2axcodes(form)) for form in (affine, other)]
        raise OarfuseError(
            f"{path} has an sform ({axes[0]}) and a qform ({axes[1]}) that put its voxels "
            f"{corners_apart(image.shape[:3], other, affine):.1f} mm apart: find out which is "
            "true, for instance from the DICOM files, and set both to it."
        )
