"""Prepared folders small enough to train, kill and evaluate on in a second."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from oarfuse.data import Manifest
from oarfuse.data.prepare import Header, Job, PatientData, prepare_cases
from oarfuse.organs import OPENKBP

SIDE = 32
SPACING_MM = 4.0


def small_patient(seed: int) -> PatientData:
    """A body of noise with five bright blocks, each an organ."""
    random = np.random.default_rng(seed)
    image = np.full((SIDE,) * 3, -1024, np.int16)
    image[2:-2, 2:-2, 2:-2] = random.normal(0, 60, (SIDE - 4,) * 3).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    for organ in OPENKBP.organs:
        corner = random.integers(3, SIDE - 9, 3)
        block = tuple(slice(first, first + 6) for first in corner)
        label[block] = organ.label
        image[block] = 80 * organ.label
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    return PatientData(image, label, affine, overlap_voxels=0, overlaps={})


def write_small_data(
    folder: Path, *, train: int = 2, validation: int = 1, test: int = 0
) -> Manifest:
    """Prepare that many patients of 32 x 32 x 32 voxels as a phantom in OpenKBP's classes."""
    splits = ["train"] * train + ["validation"] * validation + ["test"] * test
    jobs = [
        Job(f"pt_{number}", split, partial(str, number), partial(small_patient, number))
        for number, split in enumerate(splits, start=1)
    ]
    header = Header(OPENKBP, True, "small", "folders", tuple(o.name for o in OPENKBP.organs))
    return prepare_cases(folder, header, jobs, [], workers=1, progress=False)
