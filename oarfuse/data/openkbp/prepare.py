"""OpenKBP: from the public archive's sparse CSV files to a prepared folder of NIfTI files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.ct import AIR_HU
from oarfuse.data.manifest import Manifest, Skipped
from oarfuse.data.openkbp.source import ORGAN_FILES, STEMS, Patient, Source, open_source
from oarfuse.data.openkbp.sparse_csv import (
    CT_OFFSET,
    SHAPE,
    VOXELS,
    bad_file,
    read_ct,
    read_mask,
    read_spacing,
)
from oarfuse.data.plausible import Place, hu_problem, place_problem
from oarfuse.data.prepare import (
    Header,
    Job,
    PatientData,
    claim_voxels,
    fingerprint,
    prepare_cases,
)
from oarfuse.data.splits import SPLITS
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP

# Who owns a voxel that two organs claim: the organ that is smaller in the data set (medians of the
# 133 training and validation patients: 544, 551, 560, 571 and 1358 voxels), because a voxel weighs
# more there. In these patients only cord and brainstem, and a parotid and the mandible, ever meet.
OVERLAP_PRIORITY = ("spinal_cord", "brainstem", "right_parotid", "left_parotid", "mandible")
# What holds in each patient by 45 mm or more (133 patients), so that exchanged files are found.
PLACES = (
    Place("right_parotid", "right", "left_parotid"),
    Place("brainstem", "above", "spinal_cord"),
    Place("mandible", "front", "brainstem"),
)
# The median CT inside of a mandible: 378 HU or more in these patients.
LEAST_BONE_HU, LEAST_BONE_ML = 100, 10
# A CT has 57,000 voxels or more; below this its histogram says nothing.
LEAST_CT_VOXELS = 1000
_VALUES = {organ.name: organ.label for organ in OPENKBP.organs}
SPLIT_RULES = ("folders", "lexicographic")


def prepare_openkbp(
    source: str | Path,
    output: str | Path,
    *,
    split_rule: str = "folders",
    workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Prepare the OpenKBP patients that have all five organs at risk.

    Writes ``images/<case>.nii.gz`` (int16 HU, -1024 where there is no CT),
    ``labels/<case>.nii.gz`` (uint8) and ``manifest.json`` below `output`. Voxels keep the order of
    the CSV files (axes posterior, left, inferior) and their values; the affine says where they
    lie. The data set does not tell where the scanner's origin was: the volume's centre is put at 0.

    Parameters
    ----------
    source
        A clone or folder of the data set, its ``provided-data``, or GitHub's ZIP of it, whole or in
        part. A ZIP is not unpacked to disk.
    output
        The folder to write. A rerun does only what is missing, damaged or changed.
    split_rule
        ``folders``: the data set's own train, validation and test folders (113/20/55 of the whole
        data set). ``lexicographic``: all selected patients in lexicographic order of their folder
        names, the first 70 % for training, the next 15 % for validation, the rest for testing
        (132/28/28), as in the public script of Isler et al. 2022. That script loses one patient
        and puts another into both validation and test; here each patient is in exactly one split.
        The rule divides the patients it is given, so it needs the whole data set.
    workers, progress
        See `oarfuse.data.prepare.prepare_cases`; `progress` shows a bar on standard error.

    Returns
    -------
    The manifest. Patients that lack an organ are listed in ``skipped`` with the reason.

    Raises
    ------
    OarfuseError
        At once, if the source holds no such patients or the output cannot be written. At the end,
        naming them, if patients were damaged: the others are finished by then and stay.
    """
    if split_rule not in SPLIT_RULES:
        raise OarfuseError(
            f"There is no split rule {split_rule!r}: choose one of {', '.join(SPLIT_RULES)}."
        )
    with open_source(source) as patients:
        complete, skipped = select_patients(patients.patients)
        if not complete:
            raise OarfuseError(
                f"No patient in {source} has all five organs: give a part of OpenKBP that has "
                "Brainstem, SpinalCord, RightParotid, LeftParotid and Mandible files."
            )
        splits = _splits(complete, split_rule)
        jobs = [
            Job(
                case=patient.case,
                split=splits[patient.case],
                fingerprint=partial(_fingerprint, patients, patient),
                load=partial(_load, patients, patient),
            )
            for patient in complete
        ]
        header = Header(OPENKBP, patients.phantom, patients.name, split_rule, OVERLAP_PRIORITY)
        return prepare_cases(
            output, header, jobs, skipped, workers=workers, progress=progress, source=source
        )


def select_patients(patients: Sequence[Patient]) -> tuple[list[Patient], list[Skipped]]:
    """Part the patients into those with all five organ files, and the others with the reason."""
    complete, skipped = [], []
    for patient in patients:
        lacking = [file for file in ORGAN_FILES.values() if file not in patient.files]
        if lacking:
            reason = f"has no {', '.join(lacking)}"
            skipped.append(Skipped(patient.case, patient.split, reason, damaged=False))
        else:
            complete.append(patient)
    return complete, skipped


def openkbp_affine(spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Affine of a volume in the data set's axis order, with the volume's centre at 0 mm.

    Parameters
    ----------
    spacing
        mm along the stored axes: anterior to posterior, right to left, superior to inferior.

    Returns
    -------
    (4, 4), stored indices to mm in RAS+ (right, anterior, superior).
    """
    matrix = np.zeros((3, 3))
    matrix[1, 0] = -spacing[0]  # the first axis runs to posterior: -A
    matrix[0, 1] = -spacing[1]  # the second to the patient's left: -R
    matrix[2, 2] = -spacing[2]  # the third to inferior: -S
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -matrix @ ((np.array(SHAPE) - 1) / 2)
    return affine


def _splits(patients: Sequence[Patient], rule: str) -> dict[str, str]:
    if rule == "folders":
        return {patient.case: patient.split for patient in patients}
    names = sorted(patient.case for patient in patients)
    train, validation = round(0.70 * len(names)), round(0.15 * len(names))
    bounds = (0, train, train + validation, len(names))
    return {
        name: split
        for split, start, stop in zip(SPLITS, bounds, bounds[1:], strict=False)
        for name in names[start:stop]
    }


def _fingerprint(source: Source, patient: Patient) -> str:
    for stem in STEMS:
        if stem not in patient.files:
            raise bad_file(patient.label(stem), "is missing")
    return fingerprint(f"{stem}:{source.checksum(patient, stem):08x}" for stem in STEMS)


def _load(source: Source, patient: Patient) -> PatientData:
    def read(stem: str) -> tuple[bytes, str]:
        return source.read(patient, stem), patient.label(stem)

    spacing = read_spacing(*read("voxel_dimensions"))
    indices, hu = read_ct(*read("ct"))
    problem = hu_problem(hu) if hu.size >= LEAST_CT_VOXELS else None
    if problem:
        raise bad_file(patient.label("ct"), f"less {CT_OFFSET} {problem}")
    image = np.full(VOXELS, AIR_HU, np.int16)
    image[_column_major(indices)] = hu
    label = np.zeros(VOXELS, np.uint8)
    masks = {organ: _column_major(read_mask(*read(file))) for organ, file in ORGAN_FILES.items()}
    overlap_voxels, overlaps = claim_voxels(masks, OPENKBP, OVERLAP_PRIORITY, label)
    affine = openkbp_affine(spacing)
    problem = place_problem(label.reshape(SHAPE, order="F"), affine, _VALUES, PLACES)
    problem = problem or _bone_problem(image, label, spacing)
    if problem:
        raise bad_file(f"{patient.split}-pats/{patient.case}", problem)
    return PatientData(
        image.reshape(SHAPE, order="F"),
        label.reshape(SHAPE, order="F"),
        affine,
        overlap_voxels,
        overlaps,
    )


def _bone_problem(
    image: NDArray[np.int16], label: NDArray[np.uint8], spacing: tuple[float, float, float]
) -> str | None:
    """Say that the mandible lies on no bone, if it does: CT and masks do not belong together."""
    inside = image[label == _VALUES["mandible"]]
    inside = inside[inside > AIR_HU]
    if inside.size * float(np.prod(spacing)) / 1000 < LEAST_BONE_ML:
        return None
    median = float(np.median(inside))
    if median >= LEAST_BONE_HU:
        return None
    return f"has {median:.0f} HU inside of the mandible, where bone belongs"


def _column_major(indices: NDArray[np.int32]) -> NDArray[np.int32]:
    """Turn C-order indices into those of NIfTI's order, in which the first axis runs fastest.

    Filling the volume in the order in which the file wants it saves a transposition.
    """
    plane, row, column = indices >> 14, (indices >> 7) & 127, indices & 127
    return (column << 14) | (row << 7) | plane
