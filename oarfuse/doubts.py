"""What should make somebody look twice at predicted labels, said in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.grids import obliquity
from oarfuse.data.nifti import NiftiVolume
from oarfuse.organs import DatasetSpec
from oarfuse.weights import ModelInfo

# A CT turned further than this (degrees) gets a warning: augmentation showed the networks less.
MOST_OBLIQUE = 15.0
# An organ this many times smaller or larger than any in the data set is no such organ.
BEYOND_SEEN = 2.0
# So many times a spacing that was trained on is far from it.
FAR = 1.5


def volumes_ml(
    labels: NDArray[np.uint8], spacing_mm: Sequence[float], spec: DatasetSpec
) -> dict[str, float]:
    """Return each organ's volume in ml, by its name, from labels (D, H, W)."""
    counts = np.bincount(labels.ravel(), minlength=spec.num_classes)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return {organ.name: float(counts[organ.label]) * voxel_ml for organ in spec.organs}


def is_far(spacing_mm: Sequence[float], info: ModelInfo) -> bool:
    """Whether a spacing (D, H, W) in mm is far from all that a network was trained on."""
    bounds = zip(spacing_mm, *info.spacing_range_mm, strict=True)
    return any(not low / FAR <= size <= high * FAR for size, low, high in bounds)


def about_the_ct(ct: NiftiVolume, info: ModelInfo) -> dict[str, str]:
    """Return what is unusual in a CT for these weights: a note for a header to its sentence."""
    found = {}
    angle = obliquity(ct.affine)
    if angle > MOST_OBLIQUE:
        found[f"CT turned by {angle:.0f} degrees"] = (
            f"{ct.path} is turned by {angle:.0f} degrees against the patient's axes, further than "
            "the networks know: look at the labels, or resample the CT to straight axes first."
        )
    if np.array_equal(np.abs(ct.affine), np.eye(4)):
        found["CT has no affine of its own"] = (
            f"{ct.path} has voxels of 1 x 1 x 1 mm that begin at the origin, as programs write it "
            "that know neither spacing nor directions: if the CT has others, its sides may be "
            "exchanged, so export it anew."
        )
    if is_far(ct.spacing_mm, info):
        here = " x ".join(f"{size:.2f}" for size in ct.spacing_mm)
        known = " x ".join(
            f"{low:.2f}..{high:.2f}" for low, high in zip(*info.spacing_range_mm, strict=True)
        )
        found["CT resampled"] = (
            f"{ct.path} has voxels of {here} mm, far from the training data's {known}: it is "
            "resampled for the network and its labels back, so look at thin organs."
        )
    return found


def about_the_labels(
    labels: NDArray[np.uint8], ct: NiftiVolume, spec: DatasetSpec
) -> dict[str, str]:
    """Return what is unusual in predicted labels (D, H, W): a note for a header to its sentence."""
    volumes = volumes_ml(labels, ct.spacing_mm, spec)
    empty = [organ.title.lower() for organ in spec.organs if not volumes[organ.name]]
    found = {}
    if empty:
        found["organs empty"] = (
            f"{ct.path}: no voxel of {', '.join(empty)} was found: look whether the CT shows it."
        )
    for organ in spec.organs:
        if organ.seen_ml is None or not volumes[organ.name]:
            continue
        low, high = organ.seen_ml
        if not low / BEYOND_SEEN <= volumes[organ.name] <= high * BEYOND_SEEN:
            found["sizes unusual"] = (
                f"{ct.path}: a {organ.title.lower()} of {volumes[organ.name]:.1f} ml, where the "
                f"patients of {spec.title} have {low:g} to {high:g}: look whether the CT is whole "
                "and of this region of the body."
            )
    return found
