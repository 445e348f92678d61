"""Whether values can be what a reader takes them for: Hounsfield units, organs in their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# A histogram needs no more voxels than that; of larger volumes every n-th one is counted.
_ENOUGH = 2**21


def hu_problem(values: NDArray[Any]) -> str | None:
    """Say why values cannot be a CT's Hounsfield units, or return None if they can.

    Judged by the histogram, because padding gives any image a low minimum. The two most frequent
    values below -500 (a scanner's and an exporter's padding) count in the first line alone. Of the
    rest, in the 133 OpenKBP training and validation patients, an abdominal CT and the phantoms:

    ============================================== ============= ==============
    share of voxels                                found         refused
    ============================================== ============= ==============
    below -700: air, lungs                         1.4 % or more below 0.2 %
    -200 to 200: soft tissue                       23 % or more  below 8 %
    above 300: bone                                1.0 % or more below 0.005 %
    824 to 1224: soft tissue with 1024 added       up to 3.6 %   above 5 % and twice the next line
    -1100 to -300: air that is no padding          2.2 % or more
    below -1200: 1024 taken off twice, or scaled   none          above 10 %
    ============================================== ============= ==============

    Parameters
    ----------
    values
        Any shape; finite.

    Returns
    -------
    str or None
        Goes on after a file's name: "holds values from 0 to 255, which are no CT's ...".
    """
    low, high = float(values.min()), float(values.max())
    flat = values.reshape(-1) if values.flags["C_CONTIGUOUS"] else values.ravel(order="K")
    step = -(-flat.size // _ENOUGH) | 1  # odd: a power of two would only meet some columns
    some = flat[::step]

    def share(least: float, most: float) -> float:
        return float(np.count_nonzero((some >= least) & (some < most))) / some.size

    reason = None
    if low > -200 or high < 0 or low < -32768 or high > 32767:
        reason = "values"
    else:
        padding = _most_frequent_below(some, -500)
        rest = max(1.0 - sum(padding.values()), 1e-9)
        air = share(-1100, -300) - sum(padding[v] for v in padding if v >= -1100)
        below = share(-np.inf, -1200) - sum(padding[v] for v in padding if v < -1200)
        tissue, shifted = share(-200, 200), share(824, 1224)
        if share(-np.inf, -700) < 0.002:
            reason = "hardly any air"
        elif below > 0.10 * rest:
            reason = "much that is thinner than air"
        elif shifted > max(0.05 * rest, 2 * air):
            reason = "soft tissue about 1000 too high"
        elif tissue < 0.08 * rest:
            reason = "hardly any soft tissue"
        elif share(300, np.inf) < 0.00005:
            reason = "no bone"
    if reason is None:
        return None
    seen = "" if reason == "values" else f" with {reason}"
    return (
        f"holds values from {low:g} to {high:g}{seen}, which are no CT's Hounsfield units "
        "(air -1000, water 0)"
    )


def _most_frequent_below(values: NDArray[Any], limit: float) -> dict[int, float]:
    """Return the two most frequent whole values below a limit, with their shares of all values."""
    below = np.rint(values[values < limit]).astype(np.int32)
    if not below.size:
        return {}
    counts = np.bincount(below - below.min())
    frequent = np.argsort(counts)[-2:]
    return {int(v + below.min()): float(counts[v]) / values.size for v in frequent if counts[v]}


@dataclass(frozen=True)
class Place:
    """One organ lies further to one side than another, by the middle of its voxels.

    `margin_mm` is how far the other way it must lie before that is an error: more than any real
    patient, or a contour that stops early, could be.
    """

    organ: str
    side: Literal["left", "right", "front", "back", "above", "below"]
    other: str
    margin_mm: float = 20.0


# Index into (right, anterior, superior), the sign that leads to that side, and how it is said.
_SIDES = {
    "right": (0, 1, "to the right of"),
    "left": (0, -1, "to the left of"),
    "front": (1, 1, "in front of"),
    "back": (1, -1, "behind"),
    "above": (2, 1, "above"),
    "below": (2, -1, "below"),
}


def place_problem(
    labels: NDArray[Any],
    affine: NDArray[np.float64],
    values: Mapping[str, int],
    places: Sequence[Place],
) -> str | None:
    """Say which organ lies on the wrong side of another, or return None if none does.

    Finds labels of exchanged organs, and images whose header exchanges the sides.

    Parameters
    ----------
    labels
        Label values, whole numbers from 0.
    affine
        (4, 4), indices of `labels` to mm in RAS+.
    values
        Organ name to label value.
    places
        What must hold. A rule about an organ without voxels is passed over.
    """
    middles = _middles_mm(labels, affine)
    for rule in places:
        one, other = (middles.get(values[organ]) for organ in (rule.organ, rule.other))
        if one is None or other is None:
            continue
        axis, sign, where = _SIDES[rule.side]
        off = sign * float(other[axis] - one[axis])
        if off > rule.margin_mm:
            organ, other_organ = (name.replace("_", " ") for name in (rule.organ, rule.other))
            return (
                f"has the {organ} {off:.0f} mm on the wrong side of the {other_organ} "
                f"(it lies {where} it in every patient)"
            )
    return None


def _middles_mm(
    labels: NDArray[Any], affine: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """Return the mean place in mm, RAS+, of each label value above 0."""
    places = np.nonzero(labels)
    found = labels[places].astype(np.intp)
    counts = np.bincount(found)
    sums = np.stack([np.bincount(found, weights=along) for along in places], axis=1)
    return {
        int(value): affine[:3, :3] @ (sums[value] / counts[value]) + affine[:3, 3]
        for value in np.flatnonzero(counts)
    }
