"""The spread of OpenKBP's public patients in a few numbers, to lay a sample over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from oarfuse.organs import OPENKBP, DatasetSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cohort:
    """How large the organs and voxels of many patients are.

    Attributes
    ----------
    patients
        How many there are.
    volumes_ml
        Organ name to minimum, quartile, median, quartile and maximum of its volume in ml.
    voxels_mm
        (in plane, between slices, patients): the sides of a voxel in mm and how many have it.
    """

    patients: int
    volumes_ml: Mapping[str, tuple[float, ...]]
    voxels_mm: tuple[tuple[float, float, int], ...]


def cohort(frame: pd.DataFrame, spec: DatasetSpec = OPENKBP) -> Cohort:
    """Sum up what `oarfuse.data.audit` returns; ml to 2 digits, mm to 3."""
    ml = frame["spacing_d"] * frame["spacing_h"] * frame["spacing_w"] / 1000
    volumes = {
        organ.name: tuple(
            round(float(value), 2)
            for value in (frame[f"voxels_{organ.name}"] * ml).quantile([0, 0.25, 0.5, 0.75, 1])
        )
        for organ in spec.organs
    }
    counts = frame[["spacing_h", "spacing_d"]].round(3).value_counts(sort=False)
    voxels = tuple(sorted((float(h), float(d), int(count)) for (h, d), count in counts.items()))
    return Cohort(len(frame), volumes, voxels)


def public_cohort() -> Cohort:
    """Return the `cohort` of OpenKBP's 133 training and validation patients."""
    stored = _stored()
    return Cohort(
        int(stored["facts"]["cases"]),
        {name: tuple(values) for name, values in stored["volumes_ml"].items()},
        tuple((h, d, count) for h, d, count in stored["voxels_mm"]),
    )


def public_outside_dose_mask() -> dict[str, float]:
    """Return the share of each organ's voxels outside ``possible_dose_mask`` in these patients.

    All voxels of the 133 together, as counted by `oarfuse.data.outside_dose_mask`.
    """
    return dict(_stored()["outside_dose_mask"])


def _stored() -> dict[str, Any]:
    text = resources.files("oarfuse").joinpath("resources/openkbp_audit.json")
    return dict(json.loads(text.read_text("utf-8")))
