"""Tables of scores: reading them, means, intervals, paired tests.

How means are taken, everywhere in the kit: first over the cases of each organ, then over the
organs. An organ that neither truth nor prediction holds is a row of NaN and is left out; a missed
organ stays in with DSC 0 and the volume's diagonal as its distances, and is counted besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from oarfuse.errors import OarfuseError

METRIC_COLUMNS = ("dsc", "hd_vox", "hd_mm", "hd95_vox", "hd95_mm", "asd_vox", "asd_mm")
COLUMNS = ("case", "organ", *METRIC_COLUMNS, "missed")
MORE_COLUMNS = (
    *("case", "organ", "variant"),
    *METRIC_COLUMNS,
    *("assd_vox", "assd_mm", "surface_dice_2mm", "missed"),
)
_KEYS = ("case", "organ", "variant")
MEAN = "mean"  # the name of the row over all organs


def load_metrics(path: str | Path, columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Read and check a metrics.csv; with `MORE_COLUMNS`, a metrics_more.csv.

    Returns
    -------
    pandas.DataFrame
        One row per case and organ (and variant) with these columns; distances in voxels or mm as
        their names say, `missed` as bool.

    Raises
    ------
    OarfuseError
        If the file is missing, is not such a table, or holds impossible values.
    """
    path = Path(path)
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(_KEYS, str))
    except FileNotFoundError:
        raise OarfuseError(f"There is no {path}: run `oarfuse evaluate` first.") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise OarfuseError(f"{path} is not a readable CSV ({reason}): evaluate again.") from error
    if list(frame.columns) != list(columns):
        raise OarfuseError(
            f"{path} has the columns {', '.join(map(str, frame.columns))} instead of "
            f"{', '.join(columns)}: give a metrics.csv that `oarfuse evaluate` wrote."
        )
    if frame.empty:
        raise OarfuseError(f"{path} has no rows: evaluate again.")
    keys = [name for name in columns if name in _KEYS]
    scores = [name for name in columns if name not in (*_KEYS, "missed")]
    problem = _problem(frame, keys, scores)
    if problem:
        raise OarfuseError(f"{path} {problem}: evaluate again.")
    return frame.astype({"missed": bool} | dict.fromkeys(scores, float))


def _problem(frame: pd.DataFrame, keys: list[str], scores: list[str]) -> str | None:
    if frame[keys].isna().any(axis=None):
        return "has a row without case or organ"
    twice = frame.duplicated(keys)
    if twice.any():
        row = frame[twice].iloc[0]
        return f"scores {row['organ']} of {row['case']} twice"
    if frame["missed"].dtype != bool:
        return "has values other than True and False under missed"
    for column in scores:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            return f"has text under {column}"
        high = 1.0 if column in ("dsc", "surface_dice_2mm") else np.inf
        values = frame[column].dropna()
        if not (values.between(0, high) & np.isfinite(values)).all():
            return f"has impossible values under {column}"
    if (frame[scores].isna().sum(axis=1) % len(scores)).any():
        return "has rows that are scored in part"
    return None


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the means per organ, and over the organs.

    Parameters
    ----------
    frame
        Rows of cases and organs, as `load_metrics` returns them (more metric columns are fine).

    Returns
    -------
    pandas.DataFrame
        One row per organ in the frame's order and a last row `mean`, the mean of the organs'
        means. Columns: every metric, then `cases` (scored ones; in the last row the number of
        different cases) and `missed` (how many; in the last row their sum).
    """
    metrics = [name for name in frame.columns if name not in ("case", "organ", "missed")]
    groups = frame.groupby("organ", sort=False)
    summary = groups[metrics].mean()
    summary.loc[MEAN] = summary.mean()
    scored = frame[frame["dsc"].notna()]
    cases = scored.groupby("organ")["case"].nunique().reindex(summary.index, fill_value=0)
    missed = groups["missed"].sum().reindex(summary.index, fill_value=0)
    cases[MEAN], missed[MEAN] = scored["case"].nunique(), frame["missed"].sum()
    return summary.assign(cases=cases.astype(int), missed=missed.astype(int))


def mean_interval(
    frame: pd.DataFrame,
    metric: str = "dsc",
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the mean over organs of a metric and its bootstrap interval over patients.

    Whole patients are drawn with replacement, because the organs of one patient are not
    independent; the interval is that of the percentiles.

    Returns
    -------
    mean, low, high
        In the metric's unit.
    """
    table = frame.pivot(index="case", columns="organ", values=metric).to_numpy()  # (cases, organs)
    draws = np.random.default_rng(seed).integers(len(table), size=(resamples, len(table)))
    # How often each patient is drawn; a matrix product then sums over the drawn patients.
    counts = np.stack([np.bincount(draw, minlength=len(table)) for draw in draws])
    scored = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        organs = (counts @ np.nan_to_num(table)) / (counts @ scored)
        mean = (np.nansum(table, axis=0) / scored.sum(axis=0))[scored.any(axis=0)].mean()
    low, high = _percentiles(np.nanmean(organs[:, scored.any(axis=0)], axis=1), confidence)
    return float(mean), low, high


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def paired_differences(
    reference: pd.DataFrame,
    others: Mapping[str, pd.DataFrame],
    *,
    metrics: Sequence[str] = ("dsc",),
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare methods patient by patient with a reference method.

    Parameters
    ----------
    reference
        The scores of the method to compare with, as `load_metrics` returns them.
    others
        Name to scores of each other method, on the same cases and organs.
    metrics
        Columns to compare.

    Returns
    -------
    pandas.DataFrame
        One row per other method, metric and organ, with `mean` (each patient's mean over the
        organs) as the last organ: ``method, metric, organ, cases, reference, other,
        difference, low, high, p, p_holm``. `difference` is the mean of other minus reference over
        the cases that both score, `low` and `high` bound it (percentile bootstrap over cases),
        `p` is from the two-sided Wilcoxon signed-rank test (1 if no case differs), and `p_holm`
        is Holm's correction over all rows of this table: they are the family, so show them all.

    Raises
    ------
    OarfuseError
        If the cases or organs differ.
    """
    rows: list[dict[str, Any]] = []
    for method, other in others.items():
        for metric in metrics:
            ours, theirs = _per_patient(reference, metric), _per_patient(other, metric)
            if set(ours.index) != set(theirs.index) or set(ours.columns) != set(theirs.columns):
                raise OarfuseError(
                    f"{method} was scored on other cases or organs than the reference: "
                    "evaluate both on the same split of the same prepared folder."
                )
            for organ in ours.columns:
                pairs = pd.DataFrame({"reference": ours[organ], "other": theirs[organ]}).dropna()
                difference = (pairs["other"] - pairs["reference"]).to_numpy()
                if not len(difference):
                    continue
                rng = np.random.default_rng(seed)
                draws = rng.integers(len(difference), size=(resamples, len(difference)))
                low, high = _percentiles(difference[draws].mean(axis=1), confidence)
                rows.append(
                    {
                        "method": method,
                        "metric": metric,
                        "organ": organ,
                        "cases": len(pairs),
                        "reference": pairs["reference"].mean(),
                        "other": pairs["other"].mean(),
                        "difference": difference.mean(),
                        "low": low,
                        "high": high,
                        "p": float(wilcoxon(difference).pvalue) if difference.any() else 1.0,
                    }
                )
    if not rows:
        raise OarfuseError("There is nothing to compare: give at least one other method.")
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p values for their number as Holm (1979) does.

    The smallest of n is multiplied by n, the next by n - 1 and so on; none may fall below the one
    before it, nor rise above 1. The order of the result is that of the argument.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected


def _per_patient(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    if metric not in frame.columns:
        raise OarfuseError(f"There is no column {metric!r} in the scores: choose another metric.")
    table = frame.pivot(index="case", columns="organ", values=metric)
    table = table[list(dict.fromkeys(frame["organ"]))]  # pivot sorts; keep the frame's order
    return table.assign(**{MEAN: table.mean(axis=1)})
