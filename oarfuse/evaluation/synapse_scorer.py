"""TransUNet's scorer of the Synapse data, rule for rule, to stand beside the correct one.

Table II copies its baselines from TransUNet's table, so figures that are to be compared with it
must follow TransUNet's published test script (Chen et al. 2021). For each volume and class, in
voxels:

=========================  =================  =====================================
truth and prediction       TransUNet's rule   ours (`oarfuse.metrics`)
=========================  =================  =====================================
both have the organ        Dice, HD95         Dice, HD95
predicted in vain          Dice 1, HD95 0     Dice 0, the volume's diagonal
missed                     Dice 0, HD95 0     Dice 0, the volume's diagonal
absent from both           Dice 0, HD95 0     not scored
=========================  =================  =====================================

Its HD95 is the percentile of both directions' distances pooled, as in medpy; ours is the larger
of the two directions' percentiles. Means are over all volumes of a class, then over the classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from oarfuse.evaluation.statistics import MEAN
from oarfuse.metrics import dice, distance_sets, organ_masks
from oarfuse.organs import DatasetSpec

COLUMNS = ("case", "organ", "dsc", "hd95_vox", "rule")
BOTH, IN_VAIN, MISSED, ABSENT = "both", "in vain", "missed", "absent"


@dataclass(frozen=True)
class TransUNetScore:
    """One class of one volume.

    Attributes
    ----------
    dsc
        0..1.
    hd95_vox
        Voxels.
    rule
        Which row of the module's table applied: ``both``, ``in vain``, ``missed``, ``absent``.
    """

    dsc: float
    hd95_vox: float
    rule: str


def transunet_scores(
    prediction: np.ndarray, truth: np.ndarray, labels: Iterable[int]
) -> dict[int, TransUNetScore]:
    """Score a volume as TransUNet's test script does.

    Parameters
    ----------
    prediction, truth
        (D, H, W) integer label volumes on the same grid.
    labels
        The label values to score.

    Raises
    ------
    OarfuseError
        If the shapes differ.
    """
    return {
        label: _score(of_prediction, of_truth)
        for label, of_prediction, of_truth in organ_masks(prediction, truth, list(labels))
    }


def _score(prediction: np.ndarray, truth: np.ndarray) -> TransUNetScore:
    predicted, true = int(prediction.sum()), int(truth.sum())
    if predicted and true:
        pooled = np.concatenate(distance_sets(prediction, truth))
        return TransUNetScore(dice(prediction, truth), float(np.percentile(pooled, 95)), BOTH)
    if predicted:
        return TransUNetScore(1.0, 0.0, IN_VAIN)
    return TransUNetScore(0.0, 0.0, MISSED if true else ABSENT)


def transunet_rows(
    prediction: np.ndarray, truth: np.ndarray, spec: DatasetSpec, case: str
) -> list[dict[str, Any]]:
    """Return the rows of metrics_transunet.csv for one case, with the keys `COLUMNS`."""
    scores = transunet_scores(prediction, truth, [organ.label for organ in spec.organs])
    return [
        {"case": case, "organ": organ.name, **vars(scores[organ.label])} for organ in spec.organs
    ]


def summarise_transunet(rows: pd.DataFrame, ours: pd.DataFrame) -> dict[str, Any]:
    """Return TransUNet's means, and how far they lie from ours.

    Parameters
    ----------
    rows
        The rows of metrics_transunet.csv.
    ours
        Our means of the same predictions, from `oarfuse.evaluation.statistics.summarise`.

    Returns
    -------
    dict
        ``means``: DSC and HD95 (voxels) by organ, and under ``mean`` over the organs;
        ``dsc_moves_by`` and ``hd95_vox_moves_by``: TransUNet's mean minus ours; ``rules``: how
        often each rule applied.
    """
    means = rows.groupby("organ", sort=False)[["dsc", "hd95_vox"]].mean()
    means.loc[MEAN] = means.mean()
    moves = means.loc[MEAN] - ours.loc[MEAN, ["dsc", "hd95_vox"]].astype(float)
    counts = rows["rule"].value_counts()
    return {
        "means": means.to_dict(orient="index"),
        "dsc_moves_by": float(moves["dsc"]),
        "hd95_vox_moves_by": float(moves["hd95_vox"]),
        "rules": {rule: int(counts.get(rule, 0)) for rule in (BOTH, IN_VAIN, MISSED, ABSENT)},
    }


def transunet_markdown(summary: dict[str, Any], ours: pd.DataFrame, spec: DatasetSpec) -> list[str]:
    """Return the lines of summary.md that set the two scorers side by side."""
    names = [MEAN, *(organ.name for organ in spec.organs)]
    titles = ["mean", *(organ.title for organ in spec.organs)]
    table = {"TransUNet's": summary["means"], "ours": ours.to_dict(orient="index")}
    rules = summary["rules"]
    lines = [
        "",
        "## TransUNet's scorer beside ours",
        "",
        "| scorer, raw prediction | " + " | ".join(titles) + " |",
        "|---|" + "---:|" * len(titles),
    ]
    for key, title, digits in (("dsc", "DSC", 4), ("hd95_vox", "HD95 (voxels)", 2)):
        for whose, means in table.items():
            values = [means.get(name, {}).get(key, np.nan) for name in names]
            cells = ["-" if np.isnan(value) else f"{value:.{digits}f}" for value in values]
            lines.append(f"| {title}, {whose} | " + " | ".join(cells) + " |")
    return [
        *lines,
        "",
        "TransUNet's published script counts an organ that was predicted although the truth has "
        f"none as DSC 1 and HD95 0 (here {rules[IN_VAIN]} times), one absent from both as DSC 0 "
        f"and HD95 0 ({rules[ABSENT]} times), and a missed one as HD95 0 ({rules[MISSED]} times). "
        f"That moves the mean DSC by {summary['dsc_moves_by']:+.4f} and the mean HD95 by "
        f"{summary['hd95_vox_moves_by']:+.2f} voxels from ours.",
    ]
