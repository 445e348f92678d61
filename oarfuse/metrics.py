"""How well a segmentation agrees with the truth: DSC, Hausdorff and surface distances.

Libraries differ in these numbers because they differ in five choices. Ours are:

surface
    The voxels of a mask that its 6-neighbour erosion removes (4-neighbour in 2D), represented by
    their centres; outside the volume is background. MONAI and SciPy do the same.
unit
    Every distance is given in voxels (spacing 1) and in mm. The two are separate searches: on an
    anisotropic grid the nearest voxel in mm is not the nearest one in voxels.
direction
    HD is the larger of the two directions, HD95 the larger of the two directions' 95th
    percentiles, ASD is directed (prediction to truth), ASSD is the mean over the surface voxels
    of both directions pooled.
percentile
    Linear interpolation between order statistics, NumPy's default.
empty masks
    An organ that the truth has and the prediction misses gets DSC 0, surface Dice 0 and, as every
    distance, the diagonal of the whole volume, which no distance in it can exceed. So does an
    organ that was predicted although the truth has none. An organ in neither is not scored (NaN).
    A missed organ therefore never makes a mean look better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from oarfuse.errors import OarfuseError

# A distance that equals the tolerance of the surface Dice must count as inside it even when the
# spacing has no exact binary form: 3 * 0.1 mm is not 0.3 mm in floating point.
_TOLERANCE_SLACK = 1e-9


@dataclass(frozen=True)
class OrganMetrics:
    """The scores of one organ of one case; the module's docstring defines them.

    Attributes
    ----------
    dsc, surface_dice
        Between 0 and 1, higher is better; NaN if neither mask has the organ.
    hd_vox, hd95_vox, asd_vox, assd_vox
        In voxels, lower is better; NaN if neither mask has the organ.
    hd_mm, hd95_mm, asd_mm, assd_mm
        The same in mm.
    missed
        The truth has the organ and the prediction has not one voxel of it.
    """

    dsc: float
    hd_vox: float
    hd_mm: float
    hd95_vox: float
    hd95_mm: float
    asd_vox: float
    asd_mm: float
    assd_vox: float
    assd_mm: float
    surface_dice: float
    missed: bool


def case_metrics(
    prediction: np.ndarray,
    truth: np.ndarray,
    labels: Iterable[int],
    spacing_mm: Sequence[float],
    *,
    tolerance_mm: float = 2.0,
) -> dict[int, OrganMetrics]:
    """Score every organ of a case.

    The volume is read once to find the organs' boxes. Everything after that happens inside each
    organ's box, and distances are searched only from surface voxels that do not already lie on
    the other surface, so the cost grows with the organs and not with the volume.

    Parameters
    ----------
    prediction, truth
        Label volumes of the same shape, (D, H, W) or (H, W), integer or bool.
    labels
        The label values to score, all positive.
    spacing_mm
        Voxel size along each axis, in the arrays' axis order, in mm.
    tolerance_mm
        The surface Dice counts surface voxels at most this far from the other surface.

    Returns
    -------
    dict
        Label value to `OrganMetrics`, in the order of `labels`.

    Raises
    ------
    OarfuseError
        If the shapes differ, the arrays are not 2D or 3D or hold floating-point numbers, the
        spacing does not fit or is not positive, a label is not positive, or the tolerance is
        negative.
    """
    prediction, truth = _as_labels(prediction, "prediction"), _as_labels(truth, "truth")
    spacing = _checked_spacing(prediction, truth, spacing_mm)
    labels = [int(label) for label in labels]
    if any(label < 1 for label in labels):
        raise OarfuseError(f"Labels {labels} cannot be scored: give positive label values only.")
    if not tolerance_mm >= 0:
        raise OarfuseError(f"tolerance_mm is {tolerance_mm}: give a distance of at least 0 mm.")
    diagonals = {
        "vox": math.hypot(*truth.shape),
        "mm": math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True))),
    }
    return {
        label: _organ_metrics(of_prediction, of_truth, spacing, tolerance_mm, diagonals)
        for label, of_prediction, of_truth in organ_masks(prediction, truth, labels)
    }


def organ_masks(
    prediction: np.ndarray, truth: np.ndarray, labels: Sequence[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield every label with its masks in prediction and truth, both cut to the box around both.

    Parameters
    ----------
    prediction, truth
        Integer label volumes of the same shape, (D, H, W) or (H, W).
    labels
        Positive label values. The masks of one that neither volume holds have no voxels.

    Raises
    ------
    OarfuseError
        If the shapes differ.
    """
    _check_same_shape(prediction, truth)
    region = _box_of_any(prediction, truth)
    volumes = prediction[region], truth[region]
    boxes = [find_objects(volume, max_label=max(labels, default=1)) for volume in volumes]
    for label in labels:
        found = [box[label - 1] for box in boxes if box[label - 1] is not None]
        around = tuple(
            slice(min(side.start for side in sides), max(side.stop for side in sides))
            for sides in zip(*found, strict=True)
        )
        box = around or (slice(0),) * truth.ndim
        yield label, volumes[0][box] == label, volumes[1][box] == label


def distance_sets(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two sets of surface distances that every distance metric is made of.

    With ``a, b = distance_sets(...)``: HD is ``max(a.max(), b.max())``, HD95 is
    ``max(np.percentile(a, 95), np.percentile(b, 95))``, ASD is ``a.mean()`` and ASSD is
    ``np.concatenate([a, b]).mean()``.

    Parameters
    ----------
    prediction, truth
        Masks of the same shape, (D, H, W) or (H, W); any non-zero voxel belongs to the mask.
    spacing_mm
        Voxel size along each axis in mm; without it the distances are in voxels.

    Returns
    -------
    prediction_to_truth, truth_to_prediction
        For each surface voxel of the first mask, in C order of the array, the distance from its
        centre to the nearest surface voxel of the second; float64.

    Raises
    ------
    OarfuseError
        If a mask is empty (there is no distance then), or as `case_metrics` does.
    """
    prediction, truth = _as_labels(prediction, "prediction"), _as_labels(truth, "truth")
    spacing = _checked_spacing(
        prediction, truth, (1.0,) * prediction.ndim if spacing_mm is None else spacing_mm
    )
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if not mask.any():
            raise OarfuseError(f"The {name} mask is empty: a distance needs voxels in both masks.")
    region = _box_of_any(prediction, truth)
    return _surface_distances(prediction[region] != 0, truth[region] != 0, [spacing])[0]


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the surface voxels of a bool mask: those that its 6-neighbour erosion removes.

    A voxel stays inside only if it and all its face neighbours belong to the mask. What lies
    beyond the array counts as background, so voxels on the array's border are surface.
    """
    core = (slice(1, -1),) * mask.ndim
    padded = np.zeros([n + 2 for n in mask.shape], dtype=bool)
    padded[core] = mask
    eroded = mask.copy()
    for axis in range(mask.ndim):
        for neighbours in (slice(None, -2), slice(2, None)):
            eroded &= padded[(*core[:axis], neighbours, *core[axis + 1 :])]
    return mask & ~eroded


def _surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacings: Sequence[Sequence[float]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (prediction to truth, truth to prediction) of two bool masks for each spacing."""
    surface_p, surface_t = surface(prediction), surface(truth)
    index_p, index_t = np.nonzero(surface_p), np.nonzero(surface_t)
    points_p = np.stack(index_p, axis=1).astype(np.float64)  # (n, ndim)
    points_t = np.stack(index_t, axis=1).astype(np.float64)
    # Where the surfaces coincide the distance is 0 in every unit: only the rest is searched.
    apart_p, apart_t = ~surface_t[index_p], ~surface_p[index_t]
    return [
        (
            _nearest(points_p * spacing, points_t * spacing, apart_p),
            _nearest(points_t * spacing, points_p * spacing, apart_t),
        )
        for spacing in spacings
    ]


def _nearest(points: np.ndarray, others: np.ndarray, apart: np.ndarray) -> np.ndarray:
    # benchmarks/metrics.py: on organ surfaces this search beats the exact distance transforms of
    # SciPy and `edt`, which fill the whole box, and it is exact in float64.
    distances = np.zeros(len(points))
    if apart.any():
        distances[apart] = cKDTree(others, balanced_tree=False).query(points[apart])[0]
    return distances


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the DSC of two masks, ``2 |P and T| / (|P| + |T|)``; nan if both are empty.

    Parameters
    ----------
    prediction, truth
        Boolean masks on one grid, of any number of axes.
    """
    volume = int(np.count_nonzero(prediction)) + int(np.count_nonzero(truth))
    return 2.0 * int(np.count_nonzero(prediction & truth)) / volume if volume else math.nan


def _organ_metrics(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: tuple[float, ...],
    tolerance_mm: float,
    diagonals: Mapping[str, float],
) -> OrganMetrics:
    """Score two bool masks; `diagonals` are what a missed organ gets, by unit."""
    in_prediction, in_truth = bool(prediction.any()), bool(truth.any())
    dsc = surface_dice = dice(prediction, truth)  # 0 if one mask is empty, NaN if both are
    if in_prediction and in_truth:
        spacings = [(1.0,) * truth.ndim, spacing]
        cubic = len(set(spacing)) == 1  # the same neighbours in mm, so no second search
        in_voxels, *rest = _surface_distances(prediction, truth, spacings[: 1 if cubic else 2])
        in_mm = rest[0] if rest else (in_voxels[0] * spacing[0], in_voxels[1] * spacing[0])
        distances = _summarise("vox", *in_voxels) | _summarise("mm", *in_mm)
        pooled = np.concatenate(in_mm)
        within = pooled <= tolerance_mm * (1 + _TOLERANCE_SLACK)
        surface_dice = int(np.count_nonzero(within)) / pooled.size
    else:
        distances = {
            f"{name}_{unit}": diagonal if in_prediction or in_truth else math.nan
            for unit, diagonal in diagonals.items()
            for name in ("hd", "hd95", "asd", "assd")
        }
    missed = in_truth and not in_prediction
    return OrganMetrics(dsc=dsc, surface_dice=surface_dice, missed=missed, **distances)


def _summarise(unit: str, to_truth: np.ndarray, to_prediction: np.ndarray) -> dict[str, float]:
    hd95 = max(np.percentile(to_truth, 95), np.percentile(to_prediction, 95))
    assd = (to_truth.sum() + to_prediction.sum()) / (to_truth.size + to_prediction.size)
    return {
        f"hd_{unit}": float(max(to_truth.max(), to_prediction.max())),
        f"hd95_{unit}": float(hd95),
        f"asd_{unit}": float(to_truth.mean()),
        f"assd_{unit}": float(assd),
    }


def _as_labels(array: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "biu":
        raise OarfuseError(
            f"The {name} holds {array.dtype} values: give a label volume of integers "
            "(the argmax of the network's output)."
        )
    # A bool mask is a label volume that holds 1; find_objects wants it as an integer.
    return array.view(np.uint8) if array.dtype == bool else array


def _check_same_shape(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape:
        raise OarfuseError(
            f"The prediction has the shape {prediction.shape} and the truth {truth.shape}: "
            "bring both onto the same grid first."
        )


def _checked_spacing(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]
) -> tuple[float, ...]:
    _check_same_shape(prediction, truth)
    if truth.ndim not in (2, 3) or truth.size == 0:
        raise OarfuseError(
            f"Label arrays of the shape {truth.shape} cannot be scored: give (D, H, W) or (H, W)."
        )
    spacing = tuple(float(size) for size in spacing_mm)
    if len(spacing) != truth.ndim or not all(0 < size < math.inf for size in spacing):
        raise OarfuseError(
            f"The spacing {spacing} does not fit: give {truth.ndim} positive numbers in mm, "
            "in the order of the axes."
        )
    return spacing


def _box_of_any(prediction: np.ndarray, truth: np.ndarray) -> tuple[slice, ...]:
    """Return the box around everything that either array marks (an empty one if nothing is)."""
    box: list[slice] = []
    # `any` over whole planes runs at memory speed, unlike a search of the volume for each label.
    for axis in range(truth.ndim):
        crop = tuple(box)
        others = tuple(other for other in range(truth.ndim) if other != axis)
        used = prediction[crop].any(axis=others) | truth[crop].any(axis=others)
        marked = np.flatnonzero(used)
        box.append(slice(marked[0], marked[-1] + 1) if marked.size else slice(0, 0))
    return tuple(box)
