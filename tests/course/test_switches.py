"""Switches: their cost, their time, short runs, and what counts as an effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from oarfuse import build_model
from oarfuse.course.switches import (
    SWITCHES,
    false_alarms,
    seed_effects,
    short_runs,
    switch_sizes,
    switch_times,
)
from oarfuse.data import prepare_openkbp
from oarfuse.errors import OarfuseError
from oarfuse.phantom import make_phantom
from oarfuse.viewing.plots.switches import plot_switches

TWO = {"default": {}, "no gates": {"gates": False}}


def test_every_switch_builds_and_the_default_comes_first() -> None:
    sizes = switch_sizes(size=(32, 32, 32))
    assert list(sizes.index) == list(SWITCHES)
    assert sizes.index[0] == "default"
    assert sizes.loc["default", "parameters"] == 6_100_850
    counted = sum(p.numel() for p in build_model("oarfocalfusenet", exchange=False).parameters())
    assert sizes.loc["no exchange", "parameters"] == counted
    assert sizes.loc["4 levels", "gflop"] > sizes.loc["3 levels", "gflop"]


def test_times_have_a_row_for_each_switch() -> None:
    times = switch_times(TWO, (16, 16, 16), repeats=1, width=4)
    assert list(times.index) == list(TWO)
    assert (times["median"] > 0).all()


def test_short_runs_are_repeatable_and_not_run_twice(tmp_path: Path) -> None:
    source = make_phantom(tmp_path / "source", train=1, validation=0, test=0)
    prepare_openkbp(source, tmp_path / "data", progress=False)
    # float32: the bfloat16 weight gradient of a convolution over two slices is wrong in oneDNN
    recipe: dict[str, Any] = {"seeds": (0, 1), "width": 2, "steps": 10, "patch_size": (16, 16, 16)}
    recipe |= {"batch_size": 1, "workers": 0, "precision": "32-true"}
    first = short_runs(tmp_path / "data", tmp_path / "a", TWO, **recipe)
    assert list(first.columns) == ["switch", "seed", "loss"]
    assert len(first) == 4
    assert first["loss"].nunique() == 4
    stamp = (tmp_path / "a" / "no-gates-1" / "log.csv").read_text(encoding="utf-8")
    again = short_runs(tmp_path / "data", tmp_path / "a", TWO, **recipe)
    pd.testing.assert_frame_equal(first, again)
    assert (tmp_path / "a" / "no-gates-1" / "log.csv").read_text(encoding="utf-8") == stamp
    with pytest.raises(OarfuseError, match="at least two"):
        short_runs(tmp_path / "data", tmp_path / "a", TWO, **(recipe | {"seeds": (0, 0)}))
    with pytest.raises(OarfuseError, match="every 10 steps"):
        short_runs(tmp_path / "data", tmp_path / "b", TWO, **(recipe | {"steps": 9}))


def runs() -> pd.DataFrame:
    losses = {"default": (1.0, 1.2), "worse": (1.5, 1.6), "near": (1.05, 1.25), "mixed": (0.5, 1.3)}
    rows = [
        {"switch": name, "seed": seed, "loss": value}
        for name, pair in losses.items()
        for seed, value in enumerate(pair)
    ]
    return pd.DataFrame(rows)


def test_an_effect_must_exceed_the_seeds() -> None:
    effects = seed_effects(runs())
    assert list(effects.index) == ["worse", "near", "mixed"]  # in the order of the runs
    assert effects.loc["worse", "difference"] == pytest.approx(0.45)
    assert effects.loc["worse", "least"] == pytest.approx(0.4)
    assert effects["spread"].tolist() == pytest.approx([0.2, 0.2, 0.8])
    # near: both seeds agree but differ by less than the seeds do; mixed: the seeds disagree
    assert effects["beyond_spread"].tolist() == [True, False, False]
    with pytest.raises(OarfuseError, match="no runs named 'base'"):
        seed_effects(runs(), "base")


def test_the_rule_is_wrong_as_often_as_its_own_function_says() -> None:
    assert false_alarms(2) == pytest.approx(0.216, abs=0.003)
    assert false_alarms(3) == pytest.approx(0.049, abs=0.002)
    rng = np.random.default_rng(1)
    flagged = []
    for _ in range(300):
        rows = [("default", s, rng.normal()) for s in range(2)]
        rows += [("nothing", s, rng.normal()) for s in range(2)]
        effects = seed_effects(pd.DataFrame(rows, columns=["switch", "seed", "loss"]))
        flagged.append(effects.loc["nothing", "beyond_spread"])
    assert np.mean(flagged) == pytest.approx(0.216, abs=0.07)


def test_the_figure_has_a_panel_for_each_quantity_and_a_dot_for_each_run() -> None:
    table = pd.DataFrame(
        {"size": [4.0, 2.0, 5.0, 1.0]}, index=["default", "worse", "near", "mixed"]
    )
    figure = plot_switches(table, runs=runs(), titles=["Size", "Loss"], caption="Made up.")
    left, right = figure.axes
    assert left.get_title() == "Size"
    assert [label.get_text() for label in left.get_yticklabels()] == list(table.index)
    dots = [np.asarray(line.get_xdata()) for line in right.lines if line.get_marker() == "o"]
    assert sum(len(values) for values in dots) == 8
    with pytest.raises(OarfuseError, match="one for each panel"):
        plot_switches(table, titles=["Size", "Loss"])
    with pytest.raises(OarfuseError, match="one for each panel"):
        plot_switches(table.iloc[:0])
