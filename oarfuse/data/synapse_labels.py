"""The Synapse challenge's label values: whether a file holds them, and TransUNet's classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.nifti import NiftiVolume
from oarfuse.data.plausible import Place, place_problem
from oarfuse.errors import OarfuseError
from oarfuse.organs import SYNAPSE

# The challenge's label values; TransUNet keeps eight of the thirteen organs.
CHALLENGE_LABELS = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "portal_and_splenic_vein": 10,
    "pancreas": 11,
    "right_adrenal_gland": 12,
    "left_adrenal_gland": 13,
}
# Each of the 30 patients has these; the challenge says that a gallbladder or a right kidney may be
# missing. TransUNet's own classes end at 8, and so lack the last.
ALWAYS = ("spleen", "left_kidney", "liver", "stomach", "aorta", "pancreas")
# From here on an organ is judged by its size, position and HU; below, it is a test's or a crumb.
LEAST_ML = 20.0
# Medians of both are 30 to 250 HU, with fat in a liver down to about -20.
HU_INSIDE = (-100.0, 400.0)
PLACES = (
    Place("liver", "right", "spleen"),
    Place("right_kidney", "right", "left_kidney"),
    Place("esophagus", "above", "left_kidney"),
    Place("stomach", "front", "aorta"),
)
_REMEDY = "give the challenge's own labels (0 to 13), unchanged"


def check_challenge_labels(image: NiftiVolume, label: NiftiVolume) -> None:
    """Refuse labels that are not in the challenge's coding, or do not lie on their organs.

    TransUNet's eight classes, TotalSegmentator's, AMOS's and FLARE's values lie within 0 to 13 too
    and mean other organs. What tells: which values there are, that the liver is the largest organ
    and an adrenal gland no larger than the pancreas, where the organs lie, and the CT inside them.

    Parameters
    ----------
    image, label
        On the same grid; the image in HU.

    Raises
    ------
    OarfuseError
        Names the label file, what it holds, and what to give instead.
    """
    problem = _problem(image, label)
    if problem:
        raise OarfuseError(f"{label.path} {problem}: {_REMEDY}.")


def to_classes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map the challenge's label values, already checked, to TransUNet's eight classes."""
    table = np.zeros(max(CHALLENGE_LABELS.values()) + 1, np.uint8)
    for organ in SYNAPSE.organs:
        table[CHALLENGE_LABELS[organ.name]] = organ.label
    return table[values.astype(np.uint8, copy=False)]


def _problem(image: NiftiVolume, label: NiftiVolume) -> str | None:
    values, highest = label.array, max(CHALLENGE_LABELS.values())
    whole = values.dtype.kind in "iu" or bool((values == np.rint(values)).all())
    if not whole or values.min() < 0 or values.max() > highest:
        return f"holds values other than 0 to {highest}"
    values = values.astype(np.uint8, copy=False)
    counts = np.bincount(values.reshape(-1), minlength=highest + 1)
    voxels = {organ: int(counts[value]) for organ, value in CHALLENGE_LABELS.items()}
    if not any(voxels[organ.name] for organ in SYNAPSE.organs):
        return "holds none of the 8 organs"
    if not counts[len(SYNAPSE.organs) + 1 :].any():
        return (
            f"holds no value above {np.flatnonzero(counts).max()}, as TransUNet's own classes do, "
            "which number the organs otherwise"
        )
    lacking = [organ for organ in ALWAYS if not voxels[organ]]
    if lacking:
        words = " and no ".join(f"{_name(organ)} ({CHALLENGE_LABELS[organ]})" for organ in lacking)
        return f"holds no {words}, which each patient of the challenge has"
    ml = {organ: count * float(np.prod(label.spacing_mm)) / 1000 for organ, count in voxels.items()}
    return (
        _size_problem(voxels, ml)
        or place_problem(values, label.array_affine, CHALLENGE_LABELS, PLACES)
        or _hu_problem(image, values, ml)
    )


def _size_problem(voxels: dict[str, int], ml: dict[str, float]) -> str | None:
    largest = max(voxels, key=lambda organ: voxels[organ])
    # Without a sensible scale only a gross difference counts.
    by_far = ml[largest] >= LEAST_ML or voxels[largest] >= max(100, 4 * voxels["liver"])
    if largest != "liver" and by_far:
        return (
            f"has more of {_name(largest)} ({CHALLENGE_LABELS[largest]}, {voxels[largest]} voxels) "
            f"than of the liver ({CHALLENGE_LABELS['liver']}, {voxels['liver']} voxels), the "
            "largest organ by far, so the values mean other organs"
        )
    for organ in ("right_adrenal_gland", "left_adrenal_gland"):
        if ml[organ] > max(LEAST_ML, ml["pancreas"]):
            return (
                f"has {ml[organ]:.0f} ml of {_name(organ)} ({CHALLENGE_LABELS[organ]}) and "
                f"{ml['pancreas']:.0f} ml of pancreas, so the values mean other organs"
            )
    return None


def _hu_problem(image: NiftiVolume, values: NDArray[np.uint8], ml: dict[str, float]) -> str | None:
    low, high = HU_INSIDE
    for organ in ("liver", "spleen"):
        if ml[organ] < LEAST_ML:
            continue
        median = float(np.median(image.array[values == CHALLENGE_LABELS[organ]]))
        if not low <= median <= high:
            return f"puts the {_name(organ)} where the CT has {median:.0f} HU, beside the organ"
    return None


def _name(organ: str) -> str:
    return organ.replace("_", " ")
