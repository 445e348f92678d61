"""Small patients in the Synapse challenge's layout, and their preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from oarfuse.data import Manifest, prepare_synapse

AFFINE = np.array([[-0.75, 0, 0, 90], [0, 0.75, 0, -80], [0, 0, 3, -40], [0, 0, 0, 1.0]])


def write(
    training: Path,
    number: int,
    *,
    image: np.ndarray | None = None,
    label: np.ndarray | None = None,
    affine: np.ndarray = AFFINE,
    label_affine: np.ndarray | None = None,
) -> None:
    """Write one patient of the challenge; by default with each of the 14 values somewhere."""
    random = np.random.default_rng(number)
    if image is None:
        image = random.integers(-1024, 1500, (9, 8, 7)).astype(np.int16)
    if label is None:
        label = random.integers(0, 14, image.shape).astype(np.uint8)
    for stem, array, place in (("img", image, affine), ("label", label, label_affine)):
        (training / stem).mkdir(parents=True, exist_ok=True)
        nifti = nib.Nifti1Image(array, affine if place is None else place)
        nifti.to_filename(training / stem / f"{stem}{number:04d}.nii.gz")


def prepare(source: Path, output: Path, **options: Any) -> Manifest:
    return prepare_synapse(source, output, workers=1, progress=False, **options)
