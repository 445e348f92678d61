"""NIfTI in and out: whatever the orientation, inside it is superior-posterior-left."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    io_orientation,
    ornt_transform,
)
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from oarfuse.errors import OarfuseError
from oarfuse.files import atomic_path

_SPL = axcodes2ornt(("S", "P", "L"))
_NIBABEL_ERRORS = (ImageFileError, HeaderDataError, WrapStructError)
_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class NiftiVolume:
    """A volume with its axes turned to superior, posterior, left.

    Attributes
    ----------
    array
        (D, H, W), contiguous. Whole numbers keep the file's type; scaled ones become float32.
    spacing_mm
        Voxel size along (D, H, W).
    affine
        (4, 4), from the voxel indices of the file (not of `array`) to mm in RAS+.
    header
        The file's header, to write a label map on the same grid.
    path
        Where it came from.
    """

    array: NDArray[Any]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    header: nib.Nifti1Header
    path: Path


def read_nifti(path: str | Path) -> NiftiVolume:
    """Read a 3D NIfTI (1 or 2, plain or gzipped) of any orientation.

    Oblique volumes are turned by whole axes to the nearest superior-posterior-left order; no
    voxel is resampled.

    Raises
    ------
    OarfuseError
        If the file is missing or damaged, not three-dimensional, not numeric, holds NaN or
        infinity, or lacks a usable orientation or voxel size.
    """
    path = Path(path)
    return parse_nifti(_read(path), path)


def parse_nifti(data: bytes, path: Path) -> NiftiVolume:
    """As `read_nifti`, for a file that has been read already; errors call it `path`."""
    image = _parse(data, path)
    shape = image.shape
    if len(shape) > 3 and set(shape[3:]) == {1}:
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        raise OarfuseError(
            f"{path} has the shape {image.shape}: give one volume with three dimensions."
        )
    affine = _checked_affine(path, image)
    if image.get_data_dtype().kind not in "iuf":
        raise OarfuseError(
            f"{path} holds {image.get_data_dtype()} voxels: give integers or real numbers."
        )
    try:
        stored = np.asanyarray(image.dataobj).reshape(shape, order="F")
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise _damaged(path, error) from error
    if stored.dtype.kind == "f":
        stored = stored.astype(np.float32, copy=False)
        if not np.isfinite(stored).all():
            raise OarfuseError(f"{path} holds NaN or infinite voxels: replace them by numbers.")
    turned = apply_orientation(stored, ornt_transform(io_orientation(affine), _SPL))
    sizes = _in_spl_order(np.linalg.norm(affine[:3, :3], axis=0), affine)
    # Copied in any case: a turned axis of one voxel is contiguous for NumPy, but not for PyTorch.
    return NiftiVolume(turned.copy(order="C"), sizes, affine, image.header, path)


def read_ct(path: str | Path) -> NiftiVolume:
    """Read a CT: as `read_nifti`, and its values must look like Hounsfield units.

    Every CT holds air (about -1000 HU) and something denser than water; other values mean that
    the file was windowed, normalised, stored with an offset, or is a label map.

    Returns
    -------
    `NiftiVolume` whose array is int16 HU, or float32 where the file holds fractions.
    """
    return as_ct(read_nifti(path))


def as_ct(volume: NiftiVolume) -> NiftiVolume:
    """Check that a volume holds Hounsfield units, as `read_ct` does."""
    path = volume.path
    low, high = float(volume.array.min()), float(volume.array.max())
    if low > -200 or high < 0 or low < -32768 or high > 32767:
        raise OarfuseError(
            f"{path} holds values from {low:g} to {high:g}, which are no CT's Hounsfield units "
            "(air -1000, water 0): give the CT itself, without window, offset or normalisation."
        )
    if volume.array.dtype.kind == "f" and not (volume.array == np.rint(volume.array)).all():
        return volume
    return NiftiVolume(
        volume.array.astype(np.int16, copy=False),
        volume.spacing_mm,
        volume.affine,
        volume.header,
        volume.path,
    )


def write_labels_like(path: str | Path, labels_spl: NDArray[Any], like: NiftiVolume) -> None:
    """Write a label map on the grid, orientation and affine of the file that `like` came from.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``; written atomically.
    labels_spl
        (D, H, W) label values 0..255, axes as in ``like.array``.
    like
        What `read_nifti` returned for the CT.

    Raises
    ------
    OarfuseError
        If the shape differs from the CT's, or the file cannot be written.
    """
    path = Path(path)
    if not path.name.endswith(_SUFFIXES):
        raise OarfuseError(f"{path} is no NIfTI name: end it with .nii.gz or .nii.")
    if labels_spl.shape != like.array.shape:
        raise OarfuseError(
            f"The labels have the shape {labels_spl.shape}, but {like.path} has "
            f"{like.array.shape} (D, H, W): predict on that CT again."
        )
    stored = in_file_order(labels_spl.astype(np.uint8, copy=False), like.affine)
    header = like.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0  # the CT's display window does not suit labels
    write_image(path, _class_of(header)(stored, like.affine, header))


def in_file_order(array_spl: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Turn a (D, H, W) array back to the axes of the file whose affine is given."""
    return apply_orientation(array_spl, ornt_transform(_SPL, io_orientation(affine)))


def write_image(path: Path, image: nib.Nifti1Image) -> None:
    """Write a nibabel image atomically, gzipped (level 1, no time stamp) if the name says so.

    Level 1 takes a third of the default level's time for a file 6 % larger; without the time
    stamp equal content gives equal bytes.
    """
    data = image.to_bytes()
    if path.name.endswith(".gz"):
        data = gzip.compress(data, compresslevel=1, mtime=0)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _class_of(header: nib.Nifti1Header) -> type[nib.Nifti1Image]:
    """The nibabel image class that belongs to a header."""
    return nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image


def _in_spl_order(
    sizes: NDArray[np.float64], affine: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Put one number per stored axis into the order superior, posterior, left."""
    order = np.empty(3)
    for axis, target in enumerate(ornt_transform(io_orientation(affine), _SPL)[:, 0]):
        order[int(target)] = sizes[axis]
    return float(order[0]), float(order[1]), float(order[2])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise OarfuseError(f"There is no {path}: give the path of a NIfTI file.") from None
    except OSError as error:
        raise OarfuseError(
            f"Cannot read {path} ({error.strerror or error}): give a readable NIfTI file."
        ) from error


def _parse(data: bytes, path: Path) -> nib.Nifti1Image:
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        second = data[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # NIfTI-2's header size, 540
        kind = nib.Nifti2Image if second else nib.Nifti1Image
        image = kind.from_bytes(data)
        stored = kind.header_class(data[: kind.header_class.sizeof_hdr], check=False)
    except (OSError, EOFError, ValueError, zlib.error, *_NIBABEL_ERRORS) as error:
        raise _damaged(path, error) from error
    # nibabel puts 1 mm in place of a size of 0, and only the sform could do without.
    if not stored["sform_code"] and not (stored["pixdim"][1:4] > 0).all():
        raise _bad_spacing(path, stored["pixdim"][1:4])
    return image


def _bad_spacing(path: Path, sizes: NDArray[Any]) -> OarfuseError:
    words = ", ".join(f"{float(size):g}" for size in sizes)
    return OarfuseError(f"{path} has voxel sizes {words} mm: export it with its true spacing.")


def _damaged(path: Path, error: Exception) -> OarfuseError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return OarfuseError(f"{path} is damaged or no NIfTI ({reason}): copy or export the file again.")


def _checked_affine(path: Path, image: nib.Nifti1Image) -> NDArray[np.float64]:
    header = image.header
    if not header["sform_code"] and not header["qform_code"]:
        raise OarfuseError(
            f"{path} does not say which way the patient lies (sform and qform codes are 0): "
            "export it with its orientation."
        )
    affine = np.asarray(image.affine, np.float64)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or (sizes <= 0).any():
        raise _bad_spacing(path, sizes)
    if np.linalg.matrix_rank(affine[:3, :3] / sizes) < 3 or np.isnan(io_orientation(affine)).any():
        raise OarfuseError(
            f"{path} has an affine that flattens the volume: export it with its orientation."
        )
    return affine
