"""A CT series in a folder, read as a volume in Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray

from oarfuse.data.grids import Affine, voxel_sizes
from oarfuse.data.nifti import NiftiVolume, as_ct
from oarfuse.dicom.folder import DAMAGED, Slice, ct_slices, damaged, one_sentence, read_file
from oarfuse.dicom.grid import Planes, in_order, in_spl_order, numbers
from oarfuse.errors import OarfuseError


@dataclass(frozen=True)
class SeriesHeaders:
    """What an object that refers to the series must repeat.

    Attributes
    ----------
    first
        Header of the first slice, without pixels: the patient, the study, the series.
    instance_uids
        SOP instance UID of each slice, in the volume's stored order.
    planes
        Where the slices lie.
    """

    first: pydicom.Dataset
    instance_uids: tuple[str, ...]
    planes: Planes


@one_sentence()
def read_series(
    folder: str | Path, *, series_uid: str | None = None
) -> tuple[NiftiVolume, SeriesHeaders]:
    """Read the CT series of a folder: files of any name, compressed or not, in any order.

    Other files, localizers (scout views) and folders inside the folder are passed over. The volume
    is stored as (column, row, slice), slices sorted along their normal; `NiftiVolume.affine`
    belongs to that order, `NiftiVolume.array` is turned to superior, posterior, left, and
    `NiftiVolume.header` serves to write a NIfTI label map on the series' own grid.

    Parameters
    ----------
    folder
        Where the slices lie.
    series_uid
        Chooses one of several CT series by its SeriesInstanceUID.

    Returns
    -------
    volume, headers
        int16 HU, or float32 where the rescaled values are fractions; and what
        `oarfuse.dicom.write_rtstruct` needs.

    Raises
    ------
    OarfuseError
        If there is no such folder, no CT in it, or several series and no choice; if a file is
        damaged, cut short or not a slice of a rectangular, even grid (`oarfuse.dicom.grid` says
        within which tolerance: missing or repeated slices, a tilted gantry); if it is an enhanced
        CT; or if its values are no Hounsfield units.
    """
    folder = Path(folder)
    slices, planes = in_order(folder, ct_slices(folder, series_uid))
    for one in slices:
        _check_values(one)
    affine = planes.affine
    array = _hounsfield(slices)  # (slice, row, column)
    turned = in_spl_order(array.transpose(2, 1, 0), affine).copy(order="C")
    header = _nifti_header(array.shape[::-1], array.dtype, affine)
    volume = NiftiVolume(turned, (1.0, 1.0, 1.0), affine, header, folder)
    d, h, w = (float(size) for size in voxel_sizes(volume.array_affine))
    volume = replace(volume, spacing_mm=(d, h, w))
    uids = tuple(str(one.header.SOPInstanceUID) for one in slices)
    return as_ct(volume), SeriesHeaders(slices[0].header, uids, planes)


def _check_values(one: Slice) -> None:
    """Refuse a slice whose stored numbers cannot be turned into Hounsfield units."""
    header = one.header
    kind = header.get("PhotometricInterpretation")
    if header.get("SamplesPerPixel") != 1 or kind != "MONOCHROME2":
        raise OarfuseError(
            f"{one.path} holds a picture ({kind}) and no CT values: export the CT itself."
        )
    unit = str(header.get("RescaleType") or "HU").strip()
    if unit != "HU":
        raise OarfuseError(
            f"{one.path} holds values in {unit!r} and not in HU (RescaleType): give a series in "
            "Hounsfield units."
        )
    if numbers(one, "RescaleSlope", 1)[0] == 0:
        raise OarfuseError(f"{one.path} has a RescaleSlope of 0: export the series again.")
    numbers(one, "RescaleIntercept", 1)


def _hounsfield(slices: list[Slice]) -> NDArray[Any]:
    """Read the pixels of ordered slices; (slice, row, column), int16 or float32 HU."""
    rescaling = np.array(
        [[numbers(s, f"Rescale{part}", 1)[0] for part in ("Slope", "Intercept")] for s in slices]
    )
    whole = (rescaling == np.rint(rescaling)).all()
    shape = (int(slices[0].header.Rows), int(slices[0].header.Columns))
    volume = np.empty((len(slices), *shape), np.int16 if whole else np.float32)
    limits = np.iinfo(np.int16)
    for plane, one, (slope, intercept) in zip(volume, slices, rescaling, strict=True):
        stored = _pixels(one, shape)
        if not whole:
            plane[:] = stored * slope + intercept
            continue
        values = stored.astype(np.int64) * int(slope) + int(intercept)
        if values.min() < limits.min or values.max() > limits.max:
            raise OarfuseError(
                f"{one.path} holds values from {values.min()} to {values.max()}, which are no "
                "Hounsfield units: export the series again."
            )
        plane[:] = values
    return volume


def _pixels(one: Slice, shape: tuple[int, int]) -> NDArray[Any]:
    """Read and decompress the pixels of one file, (row, column), as they are stored."""
    dataset = read_file(one.path, pixels=True)
    try:
        pixels = dataset.pixel_array
    except DAMAGED as error:
        raise damaged(one.path, error) from error
    if pixels.shape != shape:
        raise damaged(one.path, ValueError(f"it holds {pixels.shape} pixels, not {shape}"))
    return pixels


def _nifti_header(shape: tuple[int, ...], dtype: np.dtype[Any], affine: Affine) -> nib.Nifti1Header:
    """The header that a NIfTI file of the series would have."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_zooms(voxel_sizes(affine))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    return header
