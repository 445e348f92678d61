"""The committed experiments under equal budgets, as notebook 07 reads them: effects and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from oarfuse.errors import OarfuseError
from oarfuse.evaluation import Evaluation
from oarfuse.evaluation.statistics import MEAN, paired_differences


def seed_band(scores: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return where the score of one more seed of the same training falls, with `confidence`.

    The prediction interval of a normal distribution whose mean and spread are both estimated from
    `scores`: mean ± t s sqrt(1 + 1/n) with n - 1 degrees of freedom.

    Raises
    ------
    OarfuseError
        If there are fewer than two scores.
    """
    count = len(scores)
    if count < 2:
        raise OarfuseError(f"{count} score says nothing about chance: give those of two seeds.")
    t = stats.t.ppf(0.5 + confidence / 2, count - 1)
    reach = float(t * np.std(scores, ddof=1) * np.sqrt(1 + 1 / count))
    return float(np.mean(scores)) - reach, float(np.mean(scores)) + reach


def seed_effect_table(
    seeds: Sequence[str | Path], changed: Mapping[str, str | Path]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare runs with something changed with the unchanged training's mean over its seeds.

    Parameters
    ----------
    seeds
        Folders of the unchanged training's runs, one a seed, each with the ``metrics.csv`` that
        `oarfuse evaluate` wrote.
    changed
        Name to folder of each changed run.

    Returns
    -------
    effects, chance
        `effects` has a row a changed run: ``steps, dsc, difference, low, high`` and ``beyond``,
        whether the difference lies outside of `seed_band`. The difference is of DSC (mean over
        organs), each patient's own from the same patient's mean over the seeds; low and high bound
        its mean over these patients (95 % bootstrap) and know nothing of seeds.
        `chance` has the same columns for each seed, and its attribute ``attrs["band"]`` is
        `seed_band` of the seeds, less their mean.
    """
    frames = {Path(folder).name: Evaluation.load(folder, "raw").metrics for folder in seeds}
    pooled = pd.concat(frames.values())
    unchanged = pooled.groupby(["case", "organ"], sort=False)["dsc"].mean().reset_index()
    others = {name: Evaluation.load(folder, "raw").metrics for name, folder in changed.items()}
    table = paired_differences(unchanged, frames | others)
    table = table[table["organ"] == MEAN].set_index("method")
    table = table.rename(columns={"other": "dsc"})[["dsc", "difference", "low", "high"]]
    folders = {Path(folder).name: folder for folder in seeds} | dict(changed)
    last = [pd.read_csv(Path(folders[name]) / "validation.csv").iloc[-1] for name in table.index]
    table.insert(0, "steps", [int(row["step"]) for row in last])
    chance, effects = table.loc[list(frames)].copy(), table.loc[list(others)].copy()
    low, high = seed_band(list(chance["dsc"] - chance["dsc"].mean()))
    chance.attrs["band"] = (low, high)
    effects["beyond"] = ~effects["difference"].between(low, high)
    chance["beyond"] = False
    return effects, chance
