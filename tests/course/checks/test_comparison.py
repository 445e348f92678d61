"""Notebook 06's checks: the right answer passes, the usual wrong one gets its hint."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test, wilcoxon
from statsmodels.stats.multitest import multipletests

from oarfuse.course.checks.comparison import (
    check_06_flip,
    check_06_holm,
    check_06_lowest,
    check_06_paired,
    check_06_row,
)
from oarfuse.paper.printed import paper_table, table_consistency


def test_the_right_answers_are_what_the_package_computes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_06_holm(multipletests([0.01, 0.04, 0.03], method="holm")[1])
    a, b = np.array([0.90, 0.70, 0.80, 0.60]), np.array([0.88, 0.67, 0.79, 0.58])
    assert check_06_paired((b - a).mean(), wilcoxon(np.arange(1, 5)).pvalue)
    table = table_consistency()
    assert check_06_row(table.loc[~table["agrees"], "method"].item())
    assert check_06_lowest(paper_table("I")["hd"].idxmin())

    def mean(differences: np.ndarray, axis: int) -> np.ndarray:
        return differences.mean(axis=axis)

    assert check_06_flip(
        lambda d: permutation_test((d,), mean, permutation_type="samples", n_resamples=2000).pvalue
    )
    assert "Not yet" not in capsys.readouterr().out


def flipped(differences: np.ndarray, compare: Callable[..., Any]) -> float:
    """The share of all patterns of signs whose mean compares so with the real one."""
    signs = np.array(list(product((-1, 1), repeat=len(differences))))
    means = (signs * differences).mean(axis=1)
    return float(compare(means, differences.mean() - 1e-12).mean())


@pytest.mark.parametrize(
    ("check", "answer", "hint"),
    [
        (check_06_holm, ([0.03, 0.12, 0.09],), "Bonferroni"),
        (check_06_holm, ([0.03, 0.04, 0.06],), "carry on"),
        (check_06_holm, ([0.01, 0.04, 0.03],), "not corrected"),
        (check_06_holm, ([0.03, 0.06, 0.04],), "Sort by p first"),
        (check_06_holm, (0.03,), "let no value"),
        (check_06_paired, (0.02, 0.125), "B minus A"),
        (check_06_paired, (0.5, 0.125), "patient by patient"),
        (check_06_paired, (-0.02, 0.0625), "other end"),
        (check_06_paired, (-0.02, 0.01), "patterns of signs"),
        (check_06_row, ("TransUNet",), "eight organs"),
        (check_06_lowest, ("OARFocalFuseNet",), "abstract"),
        (check_06_lowest, ("UNETR",), "lower is better"),
        (check_06_flip, (lambda d: flipped(d, np.greater_equal),), "both ends"),
        (check_06_flip, (lambda d: 2 * flipped(d, np.greater_equal),), "B minus A"),
        (check_06_flip, (lambda d: wilcoxon(d).pvalue,), "of ranks"),
        (check_06_flip, (lambda d: 0.5,), "each sign"),
    ],
)
def test_the_usual_wrong_answers_get_their_hint(
    check: Callable[..., bool], answer: Any, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*answer) is False
    assert hint in capsys.readouterr().out
