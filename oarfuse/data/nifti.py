"""NIfTI in and out: whatever the orientation, inside it is superior-posterior-left."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import NDArray

from oarfuse.data.grids import Affine, difference, voxel_sizes
from oarfuse.data.headers import checked_affine, damaged, parse_image
from oarfuse.data.plausible import hu_problem
from oarfuse.errors import OarfuseError
from oarfuse.files import atomic_path

NIFTI_ENDS = (".nii", ".nii.gz")
_SPL = axcodes2ornt(("S", "P", "L"))


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
    affine: Affine
    header: nib.Nifti1Header
    path: Path

    @property
    def array_affine(self) -> Affine:
        """(4, 4), from the voxel indices of `array` to mm in RAS+."""
        turn = _to_spl(self.affine)
        stored = [self.array.shape[int(axis)] for axis in turn[:, 0]]
        return self.affine @ inv_ornt_aff(turn, stored)


def read_nifti(path: str | Path) -> NiftiVolume:
    """Read a 3D NIfTI (1 or 2, plain or gzipped) of any orientation.

    Oblique volumes are turned by whole axes to the nearest superior-posterior-left order; no
    voxel is resampled. Left-handed axes are as good as right-handed ones, because the affine alone
    says where a voxel lies. Without a stated unit the sizes are in mm.

    Raises
    ------
    OarfuseError
        If the file is missing or damaged, not three-dimensional, not numeric, holds NaN or
        infinity, or lacks a usable orientation or voxel size. Also if its header contradicts
        itself, since other programs would then see other places: sform and qform that put a corner
        more than `oarfuse.data.grids.TOLERANCE` of a voxel apart, voxel sizes that differ from the
        affine's by 1 % or are outside of `oarfuse.data.headers.SPACING_LIMITS_MM`, another unit
        than mm, sheared axes, or voxels that go on after the last one.
    """
    path = Path(path)
    return parse_nifti(_read(path), path)


def parse_nifti(data: bytes, path: Path) -> NiftiVolume:
    """As `read_nifti`, for a file that has been read already; errors call it `path`."""
    image = parse_image(data, path)
    shape = image.shape
    if len(shape) > 3 and set(shape[3:]) == {1}:
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        raise OarfuseError(
            f"{path} has the shape {image.shape}: give one volume with three dimensions."
        )
    affine = checked_affine(path, image)
    if image.get_data_dtype().kind not in "iuf":
        raise OarfuseError(
            f"{path} holds {image.get_data_dtype()} voxels: give integers or real numbers."
        )
    try:
        stored = np.asanyarray(image.dataobj).reshape(shape, order="F")
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error) as error:
        raise damaged(path, error) from error
    if stored.dtype.kind == "f":
        stored = stored.astype(np.float32, copy=False)
        if not np.isfinite(stored).all():
            raise OarfuseError(f"{path} holds NaN or infinite voxels: replace them by numbers.")
    turned = apply_orientation(stored, _to_spl(affine))
    depth, height, width = voxel_sizes(affine)[spl_order(affine)].tolist()
    # Copied in any case: a turned axis of one voxel is contiguous for NumPy, but not for PyTorch.
    return NiftiVolume(turned.copy(order="C"), (depth, height, width), affine, image.header, path)


def read_ct(path: str | Path) -> NiftiVolume:
    """Read a CT: as `read_nifti`, and its values must look like Hounsfield units.

    Every CT holds air (about -1000 HU), soft tissue (about 0) and bone, in shares that
    `oarfuse.data.plausible.hu_problem` knows; other values mean that the file was windowed,
    normalised, stored with an offset, or is a label map.

    Returns
    -------
    `NiftiVolume` whose array is int16 HU, or float32 where the file holds fractions.
    """
    return as_ct(read_nifti(path))


def as_ct(volume: NiftiVolume) -> NiftiVolume:
    """Check that a volume holds Hounsfield units, as `read_ct` does."""
    problem = hu_problem(volume.array)
    if problem:
        raise OarfuseError(
            f"{volume.path} {problem}: give the CT itself, without window, offset or normalisation."
        )
    if volume.array.dtype.kind == "f" and not (volume.array == np.rint(volume.array)).all():
        return volume
    return replace(volume, array=volume.array.astype(np.int16, copy=False))


def labels_image(labels_spl: NDArray[Any], like: NiftiVolume, *, note: str = "") -> nib.Nifti1Image:
    """Return a label map as an image on the grid, orientation and affine of `like`'s file.

    Parameters
    ----------
    labels_spl
        (D, H, W) label values 0..255, axes as in ``like.array``.
    like
        What `read_nifti` returned for the CT.
    note
        Up to 79 characters for the header's ``descrip``, where a viewer shows them.

    Raises
    ------
    OarfuseError
        If the shape differs from the CT's.
    """
    if labels_spl.shape != like.array.shape:
        raise OarfuseError(
            f"The labels have the shape {labels_spl.shape}, but {like.path} has "
            f"{like.array.shape} (D, H, W): predict on that CT again."
        )
    stored = in_file_order(labels_spl.astype(np.uint8, copy=False), like.affine)
    header = like.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    if note:
        header["descrip"] = note.encode("ascii", "replace")[:79]
    header["cal_min"], header["cal_max"] = 0, 0  # the CT's display window does not suit labels
    return _class_of(header)(stored, like.affine, header)


def write_labels_like(
    path: str | Path, labels_spl: NDArray[Any], like: NiftiVolume, *, note: str = ""
) -> None:
    """Write the image that `labels_image` makes to a ``.nii`` or ``.nii.gz`` file, atomically.

    Raises
    ------
    OarfuseError
        If the shape differs from the CT's, or the file cannot be written.
    """
    path = Path(path)
    check_nifti_name(path)
    write_image(path, labels_image(labels_spl, like, note=note))


def case_name(path: Path) -> str:
    """Return a NIfTI file's name without its ending, which may be in upper case."""
    end = next((end for end in NIFTI_ENDS[::-1] if path.name.lower().endswith(end)), "")
    return path.name[: len(path.name) - len(end)]


def nifti_cases(folder: str | Path) -> dict[str, Path]:
    """Return the NIfTI files of a folder by case, whatever case their endings' letters are in.

    What macOS adds to foreign disks (``._name``) is left out.

    Raises
    ------
    OarfuseError
        If the folder cannot be read, or results of two files would have one name.
    """
    found: dict[str, Path] = {}
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise OarfuseError(
            f"{folder} cannot be read ({error.strerror or error}): give a folder of NIfTI files."
        ) from error
    for path in paths:
        named = path.name.lower().endswith(NIFTI_ENDS) and not path.name.startswith("._")
        if named and not path.is_dir():
            add_case(found, case_name(path), path)
    return found


def add_case(cases: dict[str, Path], name: str, path: Path) -> None:
    """Add a file to its folder's cases, or refuse one whose results would replace another's.

    Names that differ by the ending or by upper case alone are one name on many disks.
    """
    for other in cases:
        if other.casefold() == name.casefold():
            raise OarfuseError(
                f"{path} and {cases[other]} have one name, so that their results would too: "
                "rename one."
            )
    cases[name] = path


def check_nifti_name(path: Path) -> None:
    """Raise `OarfuseError` unless a file to write is called ``.nii`` or ``.nii.gz``."""
    if not path.name.endswith(NIFTI_ENDS):
        raise OarfuseError(f"{path} is no NIfTI name: end it with .nii.gz or .nii.")


def require_same_grid(
    found: NiftiVolume, shape: tuple[int, ...], affine: Affine, *, of: str, remedy: str
) -> None:
    """Refuse a file whose voxels lie elsewhere than those of the image it belongs to.

    Whole turns of the axes have been undone by reading, exactly.

    Parameters
    ----------
    found
        What `read_nifti` returned for the file.
    shape, affine
        The image's ``array.shape`` and ``array_affine``.
    of, remedy
        How the sentence calls the image ("its image"), and what it advises.

    Raises
    ------
    OarfuseError
        If the shapes differ, or a corner voxel lands more than `oarfuse.data.grids.TOLERANCE` of
        the image's smallest voxel side away.
    """
    problem = difference(found.array.shape, found.array_affine, shape, affine, of=of)
    if problem:
        raise OarfuseError(f"{found.path} {problem}: {remedy}.")


def in_file_order(array_spl: NDArray[Any], affine: Affine) -> NDArray[Any]:
    """Turn a (D, H, W) array back to the axes of the file whose affine is given."""
    return apply_orientation(array_spl, ornt_transform(_SPL, io_orientation(affine)))


def spl_order(affine: Affine) -> NDArray[np.intp]:
    """Return which axes of a file run along the body's superior, posterior and left."""
    return np.argsort(_to_spl(affine)[:, 0])


def _to_spl(affine: Affine) -> NDArray[np.float64]:
    """What nibabel does to a file's axes so that they run to superior, posterior, left."""
    return ornt_transform(io_orientation(affine), _SPL)


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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise OarfuseError(f"There is no {path}: give the path of a NIfTI file.") from None
    except OSError as error:
        raise OarfuseError(
            f"Cannot read {path} ({error.strerror or error}): give a readable NIfTI file."
        ) from error
