"""Label maps as a DICOM SEG that belongs to its CT series: voxels and not contours."""

from __future__ import annotations

from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from oarfuse.data.nifti import NiftiVolume, in_file_order
from oarfuse.dicom.rtstruct import MAKER, WARNING, check_can_write
from oarfuse.dicom.series import SeriesHeaders
from oarfuse.files import atomic_path
from oarfuse.organs import DatasetSpec, Organ

# What SNOMED CT calls each organ; sides are in the segment's label.
_TYPES = {
    "brainstem": codes.SCT.BrainStem,
    "spinal_cord": codes.SCT.SpinalCord,
    "right_parotid": codes.SCT.ParotidGland,
    "left_parotid": codes.SCT.ParotidGland,
    "mandible": codes.SCT.Mandible,
    "aorta": codes.SCT.Aorta,
    "gallbladder": codes.SCT.Gallbladder,
    "left_kidney": codes.SCT.Kidney,
    "right_kidney": codes.SCT.Kidney,
    "liver": codes.SCT.Liver,
    "pancreas": codes.SCT.Pancreas,
    "spleen": codes.SCT.Spleen,
    "stomach": codes.SCT.Stomach,
}
_SHORT = 64  # letters of a description that viewers show


def write_seg(
    path: str | Path,
    labels_spl: NDArray[Any],
    volume: NiftiVolume,
    headers: SeriesHeaders,
    spec: DatasetSpec,
    *,
    note: str = "",
) -> None:
    """Write a label map as a binary DICOM SEG, one segment an organ, on the series' own grid.

    Segments have the organ's title, colour and SNOMED code, and its label value as their number;
    organs without voxels are segments without frames.

    Parameters
    ----------
    path
        Ends in ``.seg.dcm``; written atomically.
    labels_spl, volume, headers, spec, note
        As for `oarfuse.dicom.write_rtstruct`.

    Raises
    ------
    OarfuseError
        As `oarfuse.dicom.write_rtstruct`.
    """
    path = Path(path)
    check_can_write(path, labels_spl, volume, headers, spec)
    stored = in_file_order(labels_spl, volume.affine)  # (column, row, slice)
    segmentation = Segmentation(
        source_images=[_slice(headers, index) for index in range(len(headers.instance_uids))],
        pixel_array=np.ascontiguousarray(stored.transpose(2, 1, 0), dtype=np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[_segment(organ) for organ in spec.organs],
        series_instance_uid=generate_uid(prefix=None),
        series_number=1,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions=version(MAKER),
        device_serial_number="0",
        content_description=f"{WARNING}. {note}".strip(" .")[:_SHORT],
        content_label=MAKER.upper(),
        series_description=WARNING[:_SHORT],
    )
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary, enforce_file_format=True)


def _slice(headers: SeriesHeaders, index: int) -> Dataset:
    """Return the header of one slice; all but its place and UID it shares with the first."""
    header = deepcopy(headers.first)
    header.SOPInstanceUID = headers.instance_uids[index]
    place = headers.planes.origins[index]
    header.ImagePositionPatient = [f"{value:.10g}"[:16] for value in place]
    return header


def _segment(organ: Organ) -> SegmentDescription:
    return SegmentDescription(
        segment_number=organ.label,
        segment_label=organ.title,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=_TYPES[organ.name],
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MAKER, version=version(MAKER), family=codes.DCM.ArtificialIntelligence
        ),
        display_color=CIELabColor.from_rgb(*bytes.fromhex(organ.color[1:])),
    )
