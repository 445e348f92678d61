"""Committed experiments: effects against the mean over seeds, and the band of one more seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from oarfuse.course.experiments import seed_band, seed_effect_table
from oarfuse.errors import OarfuseError
from oarfuse.viewing.plots.forest import plot_forest

RESULTS = Path(__file__).parents[2] / "results" / "openkbp" / "experiments"


def test_one_more_seed_falls_into_the_band_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 4))
    inside = [low <= row[3] <= high for row in draws for low, high in [seed_band(row[:3])]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
    low, high = seed_band([1.0, 2.0, 3.0])
    assert (low + high) / 2 == pytest.approx(2)
    assert high - 2 == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(4 / 3))
    with pytest.raises(OarfuseError, match="two seeds"):
        seed_band([0.7])


def test_committed_ablations_against_three_seeds() -> None:
    seeds = [RESULTS / "seeds" / f"seed{seed}-oarfocalfusenet" for seed in range(3)]
    changed = {
        name: RESULTS / "ablations" / f"ablation-{name}" for name in ("4-levels", "no-gates")
    }
    effects, chance = seed_effect_table(seeds, changed)
    assert chance["dsc"].round(4).tolist() == [0.7521, 0.7645, 0.7640]  # as the experiments' page
    assert chance["difference"].sum() == pytest.approx(0, abs=1e-12)
    assert effects["dsc"].round(4).tolist() == [0.7129, 0.7721]
    assert effects["steps"].tolist() == [464, 702]
    mean = chance["dsc"].mean()
    assert effects["difference"].tolist() == pytest.approx([0.7129 - mean, 0.7721 - mean], abs=1e-4)
    assert (
        (effects["low"] < effects["difference"]) & (effects["difference"] < effects["high"])
    ).all()
    low, high = chance.attrs["band"]
    assert high == -low == pytest.approx(0.035, abs=0.001)
    assert effects["beyond"].tolist() == [True, False]


def test_the_forest_fills_what_lies_outside_of_the_band() -> None:
    seeds = [RESULTS / "seeds" / f"seed{seed}-oarfocalfusenet" for seed in range(3)]
    changed = {
        name: RESULTS / "ablations" / f"ablation-{name}" for name in ("4-levels", "no-gates")
    }
    effects, chance = seed_effect_table(seeds, changed)
    figure = plot_forest(effects, chance, band=chance.attrs["band"], caption="Made up.")
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["unchanged, 3 seeds", "4-levels", "no-gates"]
    dots = [line.get_gid() for line in axes.lines if line.get_gid() in ("filled", "open")]
    assert dots == ["filled", "open"]
    cut = plot_forest(effects, chance, band=chance.attrs["band"], limits=(-0.04, 0.04))
    assert [text.get_text() for text in cut.axes[0].texts] == ["-0.047"]
    with pytest.raises(OarfuseError, match="no effect"):
        plot_forest(effects.iloc[:0], chance, band=(0, 1))
