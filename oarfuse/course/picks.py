"""Notebook 05's patients: ranked by scores of all, and what is wrong in one of them, by organ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from oarfuse.data import load_manifest
from oarfuse.evaluation import Evaluation, evaluate
from oarfuse.files import sha256
from oarfuse.metrics import dice
from oarfuse.organs import DatasetSpec


def course_scores(
    folder: str | Path, weights: str | Path, data: str | Path, output: str | Path
) -> pd.DataFrame:
    """Return these weights' scores on the validation patients of a prepared folder, as predicted.

    Those of `folder` are taken if its summary names these very weights (by their checksum) and its
    cases are the prepared folder's. Otherwise all validation patients are predicted and scored
    now, into ``output``. Columns: `oarfuse.evaluation.statistics.COLUMNS`.
    """
    if (Path(folder) / "summary.json").exists():
        found = Evaluation.load(folder, "raw")
        cases = {case.case for case in load_manifest(data).split("validation")}
        same = found.summary.get("weights", {}).get("sha256") == sha256(weights)
        if same and set(found.metrics["case"]) == cases:
            return found.metrics
    evaluate(weights, data, "validation", output, progress=False)
    return Evaluation.load(output, "raw").metrics


def rank_cases(metrics: pd.DataFrame) -> pd.Series:
    """Return each case's mean DSC over its organs, the lowest first (index: the cases)."""
    return metrics.groupby("case")["dsc"].mean().sort_values(kind="stable")


def best_median_worst(metrics: pd.DataFrame) -> dict[str, str]:
    """Return ``{"Best": case, "Median": case, "Worst": case}`` by the mean DSC over the organs.

    Of an even number of cases the median is the lower one of the two in the middle: a rule that
    has to choose chooses against the method.
    """
    ranked = list(rank_cases(metrics).index)
    return {"Best": ranked[-1], "Median": ranked[(len(ranked) - 1) // 2], "Worst": ranked[0]}


def organ_errors(truth: np.ndarray, prediction: np.ndarray, spec: DatasetSpec) -> pd.DataFrame:
    """Count what is right and wrong in each organ, in voxels.

    Parameters
    ----------
    truth, prediction
        Label maps (D, H, W) on one grid.

    Returns
    -------
    pandas.DataFrame
        One row an organ (index: its title) that either map holds: ``right``; ``missed``, in the
        truth alone; ``extra``, in the prediction alone; ``far``, how many of the wrong ones lie
        outside of the band of one voxel on either side of this organ's true surface (face to
        face); ``dsc``.
    """
    rows = {}
    for organ in spec.organs:
        true, drawn = truth == organ.label, prediction == organ.label
        if not (true.any() or drawn.any()):
            continue
        band = ndimage.binary_dilation(true) & ~ndimage.binary_erosion(true)
        rows[organ.title] = {
            "right": int((true & drawn).sum()),
            "missed": int((true & ~drawn).sum()),
            "extra": int((drawn & ~true).sum()),
            "far": int(((true != drawn) & ~band).sum()),
            "dsc": dice(drawn, true),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
