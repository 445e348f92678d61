"""Synapse multi-organ CT: from the challenge's own download to a prepared folder.

The data are the 30 labelled abdominal CTs of "Multi-Atlas Labeling Beyond the Cranial Vault"
(MICCAI 2015). Nobody may pass them on: every user downloads ``RawData.zip`` with an account.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from oarfuse.data.containers import Container, check_size, open_container, several
from oarfuse.data.manifest import Manifest, Skipped
from oarfuse.data.nifti import NIFTI_ENDS, as_ct, in_file_order, parse_nifti, require_same_grid
from oarfuse.data.prepare import Header, Job, PatientData, fingerprint, prepare_cases
from oarfuse.data.splits import PHANTOM_MARKER
from oarfuse.data.synapse_labels import check_challenge_labels, to_classes
from oarfuse.errors import OarfuseError
from oarfuse.organs import SYNAPSE

# TransUNet's lists, each in its own order.
TRAIN = (5, 6, 7, 9, 10, 21, 23, 24, 26, 27, 28, 30, 31, 33, 34, 37, 39, 40)
TEST = (8, 22, 38, 36, 32, 2, 29, 3, 1, 4, 25, 35)
SPLIT_RULE = "transunet"
WHERE = (
    "RawData.zip of the abdomen challenge at https://www.synapse.org/Synapse:syn3193805 "
    "(it needs a free account there, and joining the challenge)"
)
# 512 x 512 x 198 voxels of 8 bytes stay below it; far above that, a file is a trap.
MAX_BYTES = 1_000_000_000

_FILE = re.compile(
    r"(?P<root>(?:[^/]+/)*?)(?P<folder>img|label)/(?P<stem>img|label)(?P<number>\d{4})\.nii(?:\.gz)?",
    re.IGNORECASE,
)


def prepare_synapse(
    source: str | Path,
    output: str | Path,
    *,
    validation: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Prepare the Synapse multi-organ data as TransUNet splits and labels them.

    Writes the layout of `oarfuse.data.prepare_openkbp`. Images keep every voxel and HU value, on
    their own grid: the window of -125 to 275 HU belongs to the data set's `DatasetSpec` and is
    applied when a network reads the image. Labels are mapped from the challenge's 13 organs to
    TransUNet's 8; the other five become background.

    Parameters
    ----------
    source
        ``RawData.zip``, or its unpacked folder, or any folder above or below that holds
        ``img/imgNNNN.nii.gz`` beside ``label/labelNNNN.nii.gz``. A ZIP is not unpacked to disk.
    output
        The folder to write. A rerun does only what is missing, damaged or changed.
    validation
        How many of the 18 training patients to hold out for validation: the last ones in
        TransUNet's list that the source has. TransUNet, and with it Table II, has no validation
        split; with 0, the default, training keeps the last weights instead of the best ones.
    workers, progress
        See `oarfuse.data.prepare.prepare_cases`.

    Returns
    -------
    The manifest. Patients of the 30 that the source lacks are listed in ``skipped``.

    Raises
    ------
    OarfuseError
        At once, if the source holds no such patients, is a renumbered copy, or the output cannot
        be written. At the end, naming them, if patients were damaged: the others stay.
    """
    files = _open(Path(source))
    try:
        patients = _find_patients(files)
        splits = _splits(list(patients), validation)
        phantom = _is_phantom(files)
        jobs = [
            Job(
                case=_case(number),
                split=split,
                fingerprint=partial(_fingerprint, files, patients[number]),
                load=partial(_load, files, patients[number]),
            )
            for number, split in splits.items()
        ]
        skipped = [] if phantom else _absent(patients)
        rule = f"{SPLIT_RULE}, {validation} held out" if validation else SPLIT_RULE
        header = Header(SYNAPSE, phantom, files.name, rule, overlap_priority=())
        return prepare_cases(
            output, header, jobs, skipped, workers=workers, progress=progress, source=source
        )
    finally:
        files.close()


@dataclass(frozen=True)
class _Patient:
    """Paths of one patient's image and label inside the source; None for a file it lacks."""

    number: int
    image: str | None
    label: str | None


def _open(source: Path) -> Container:
    if not source.exists():
        raise OarfuseError(f"There is no source at {source}: download {WHERE} and give its path.")
    return open_container(source)


def _is_phantom(files: Container) -> bool:
    """Whether the source is the kit's own phantom, or a folder inside of it."""
    above = files.path.resolve().parents[:2]
    return files.has(PHANTOM_MARKER) or any((place / PHANTOM_MARKER).is_file() for place in above)


def _find_patients(files: Container) -> dict[int, _Patient]:
    """Return the patients by number, in the order of TransUNet's lists."""
    found: dict[int, dict[str, str]] = {}
    roots = set()
    for name in files.files(NIFTI_ENDS):
        match = _FILE.fullmatch(name)
        if match is None or match["folder"].lower() != match["stem"].lower():
            continue
        stem, number = match["stem"].lower(), int(match["number"])
        if 11 <= number <= 20:
            raise OarfuseError(
                f"{files.path} holds {stem}{number:04d}, which the challenge does not "
                "have, so it is a renumbered copy whose patients would land in the wrong split: "
                f"download {WHERE} instead."
            )
        if number not in TRAIN + TEST:
            continue  # the challenge's own test images, which have no public labels
        roots.add(match["root"])
        if stem in found.setdefault(number, {}):
            raise several(files.path, {match["root"], found[number][stem]})
        found[number][stem] = name
    if not found:
        raise OarfuseError(
            f"{files.path} holds no img/imgNNNN.nii.gz beside label/labelNNNN.nii.gz of the "
            f"challenge's 30 patients: download {WHERE} and give the ZIP or its RawData folder."
        )
    if len(roots) > 1:
        raise several(files.path, roots)
    return {
        number: _Patient(number, found[number].get("img"), found[number].get("label"))
        for number in TRAIN + TEST
        if number in found
    }


def _splits(numbers: list[int], validation: int) -> dict[int, str]:
    train = [number for number in numbers if number in TRAIN]
    if not 0 <= validation <= max(len(train) - 1, 0):
        raise OarfuseError(
            f"validation is {validation}: of {len(train)} training patients, hold out 0 to "
            f"{max(len(train) - 1, 0)}."
        )
    held_out = train[len(train) - validation :]
    return {
        number: "validation" if number in held_out else "train" if number in train else "test"
        for number in numbers
    }


def _case(number: int) -> str:
    return f"case{number:04d}"


def _absent(patients: dict[int, _Patient]) -> list[Skipped]:
    return [
        Skipped(_case(number), split, "is not in the source", damaged=False)
        for split, numbers in (("train", TRAIN), ("test", TEST))
        for number in numbers
        if number not in patients
    ]


def _members(files: Container, patient: _Patient) -> list[tuple[str, str]]:
    """Return (path in the source, name for messages) of image and label, checked."""
    members = []
    for stem, name in (("img", patient.image), ("label", patient.label)):
        label = f"{stem}/{stem}{patient.number:04d}.nii.gz"
        if name is None:
            raise OarfuseError(f"{label} is missing in {files.name}: download it again.")
        check_size(name, files.size(name), MAX_BYTES, "Synapse")
        members.append((name, name))
    return members


def _fingerprint(files: Container, patient: _Patient) -> str:
    return fingerprint(f"{files.checksum(*member):08x}" for member in _members(files, patient))


def _load(files: Container, patient: _Patient) -> PatientData:
    image_member, label_member = _members(files, patient)
    image = as_ct(parse_nifti(files.read(*image_member), Path(image_member[1])))
    if image.array.dtype != np.int16:
        raise OarfuseError(
            f"{image.path} holds fractions of HU, which the challenge's images do not: "
            "give the original download."
        )
    label = parse_nifti(files.read(*label_member), Path(label_member[1]))
    require_same_grid(
        label,
        image.array.shape,
        image.array_affine,
        of="its image",
        remedy="give the original download",
    )
    check_challenge_labels(image, label)
    return PatientData(
        in_file_order(image.array, image.affine),
        in_file_order(to_classes(label.array), image.affine),
        image.affine,
        overlap_voxels=0,
        overlaps={},
    )
