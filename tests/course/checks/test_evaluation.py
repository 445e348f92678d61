"""Notebook 04's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from oarfuse.course.checks.evaluation import (
    check_04_bootstrap,
    check_04_dice,
    check_04_directions,
    check_04_missed,
    check_04_patients,
    check_04_units,
)
from oarfuse.evaluation.statistics import mean_interval
from oarfuse.metrics import case_metrics, distance_sets


def test_the_right_answers_are_what_the_package_computes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    square = np.zeros((8, 8), np.uint8)
    square[2:6, 1:5] = 1
    assert check_04_dice(case_metrics(np.roll(square, 1, 1), square, [1], (1, 1))[1].dsc)

    truth = np.zeros((3, 12), bool)
    truth[1, 1:11] = True
    prediction = truth.copy()
    prediction[1, 8:] = False
    forth, back = distance_sets(prediction, truth)
    assert check_04_directions(forth.max(), back.max(), max(forth.max(), back.max()))

    from_here, to_there = np.zeros((4, 3), bool), np.zeros((4, 3), bool)
    from_here[0, 0] = to_there[3, 0] = to_there[0, 2] = True
    vox, mm = (distance_sets(from_here, to_there, s)[0][0] for s in (None, (2.5, 4.0)))
    assert check_04_units(vox, mm)
    assert check_04_missed(float(np.mean([0.9, 0.8, 0.0])))
    fewest = next(n for n in range(2, 20) if wilcoxon(np.arange(1, n + 1)).pvalue < 0.05)
    assert check_04_patients(fewest)

    def interval(scores: np.ndarray) -> tuple[float, float]:
        wide = [(f"pt_{p}", o, dsc) for p, row in enumerate(scores) for o, dsc in enumerate(row)]
        return mean_interval(pd.DataFrame(wide, columns=["case", "organ", "dsc"]))[1:]

    assert check_04_bootstrap(interval)
    assert "Not yet" not in capsys.readouterr().out


def bootstrap(scores: np.ndarray, *, organs: bool = False, replace: bool = True) -> np.ndarray:
    """The means of 4000 draws of whole patients, or of single organs."""
    rng = np.random.default_rng(0)
    rows = scores.reshape(-1, 1) if organs else scores
    drawn = [rng.choice(len(rows), len(rows), replace=replace) for _ in range(4000)]
    return rows[np.array(drawn)].mean(axis=(1, 2))


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (check_04_dice, (0.6,), "intersection over union"),
        (check_04_dice, (0.375,), "counts twice"),
        (check_04_dice, (0.9,), "double them"),
        (check_04_directions, (3, 0, 3), "exchanged"),
        (check_04_directions, (1, 3, 3), "one pixel thick"),
        (check_04_directions, (0, 4, 4), "last pixel"),
        (check_04_directions, (0, 3, 0), "left out"),
        (check_04_directions, (0, 3, 1.5), "Not the mean"),
        (check_04_directions, (0, 3, 9), "two directions"),
        (check_04_units, (3, 7.5), "every step counts 1"),
        (check_04_units, (2, 8), "Search again"),
        (check_04_units, (2, 6.5), "no factor"),
        (check_04_units, (2, 1), "own spacing"),
        (check_04_missed, (0.85,), "dropped the patient"),
        (check_04_missed, (0.5,), "overlaps with nothing"),
        (check_04_patients, (5,), "both ends"),
        (check_04_patients, (2,), "which n"),
        (check_04_bootstrap, (lambda s: s.mean(),), "two numbers"),
        (check_04_bootstrap, (lambda s: np.percentile(bootstrap(s), [97.5, 2.5]),), "comes first"),
        (check_04_bootstrap, (lambda s: np.percentile(s, [2.5, 97.5]),), "single patients spread"),
        (check_04_bootstrap, (lambda s: np.percentile(bootstrap(s), [5, 95]),), "which share"),
        (check_04_bootstrap, (lambda s: np.percentile(bootstrap(s), [2.5, 90]),), "percentiles"),
        (
            check_04_bootstrap,
            (lambda s: np.percentile(bootstrap(s, organs=True), [2.5, 97.5]),),
            "single organs",
        ),
        (
            check_04_bootstrap,
            (lambda s: np.percentile(bootstrap(s, replace=False), [2.5, 97.5]),),
            "with replacement",
        ),
    ],
)
def test_the_usual_wrong_answers_get_their_hint(
    check: Callable[..., bool], answer: Any, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*answer) is False
    assert hint in capsys.readouterr().out
