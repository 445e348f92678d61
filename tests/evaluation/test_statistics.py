"""Summaries and statistics by hand, and bad tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

from oarfuse.errors import OarfuseError
from oarfuse.evaluation.statistics import (
    COLUMNS,
    MEAN,
    holm,
    load_metrics,
    mean_interval,
    paired_differences,
    summarise,
)


def scores(dsc: dict[tuple[str, str], float], missed: tuple = ()) -> pd.DataFrame:
    """A table of scores; every distance is 10 * (1 - DSC)."""
    rows = []
    for (case, organ), value in dsc.items():
        distance = 10 * (1 - value)
        rows.append([case, organ, value, *[distance] * 6, (case, organ) in missed])
    return pd.DataFrame(rows, columns=list(COLUMNS))


TWO = scores({("a", "liver"): 0.9, ("a", "spleen"): 0.5, ("b", "liver"): 0.7, ("b", "spleen"): 0.0},
             missed=(("b", "spleen"),))  # fmt: skip


def test_summary_by_hand() -> None:
    table = summarise(TWO)
    assert list(table.index) == ["liver", "spleen", MEAN]
    np.testing.assert_allclose(table["dsc"], [0.8, 0.25, 0.525])
    np.testing.assert_allclose(table["hd_mm"], [2.0, 7.5, 4.75])
    assert table["cases"].tolist() == [2, 2, 2]
    assert table["missed"].tolist() == [0, 1, 1]


def test_absent_organs_are_left_out_and_the_organs_weigh_alike() -> None:
    # liver: 0.6 and 0.8; spleen only in one case: 0.4. Organs: 0.7 and 0.4, mean 0.55 (not 0.6).
    frame = scores({("a", "liver"): 0.6, ("b", "liver"): 0.8, ("a", "spleen"): 0.4,
                    ("b", "spleen"): math.nan})  # fmt: skip
    table = summarise(frame)
    np.testing.assert_allclose(table["dsc"], [0.7, 0.4, 0.55])
    assert table["cases"].tolist() == [2, 1, 2]
    mean, low, high = mean_interval(frame)
    assert mean == pytest.approx(0.55)
    assert low <= mean <= high


def test_interval_covers_what_resampling_can_give() -> None:
    mean, low, high = mean_interval(TWO, seed=1)
    assert mean == pytest.approx(0.525)
    assert low == pytest.approx(0.35) and high == pytest.approx(0.7)  # only b, only a
    assert mean_interval(TWO, seed=1) == mean_interval(TWO, seed=1)
    _, narrow_low, narrow_high = mean_interval(TWO, confidence=0.4)
    assert low <= narrow_low <= narrow_high <= high


def many(shift: float, seed: int = 0, cases: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = {
        (f"pt_{case}", organ): float(0.7 + 0.1 * rng.random() + shift * (1 + 0.1 * rng.random()))
        for case in range(cases)
        for organ in ("liver", "spleen")
    }
    return scores(values)


def test_paired_differences() -> None:
    reference, better = many(0.0), many(0.05)
    table = paired_differences(reference, {"better": better, "same": reference})
    assert table["organ"].tolist() == ["liver", "spleen", MEAN] * 2
    assert table["cases"].eq(12).all()
    rows = table[table["method"] == "better"]
    assert rows["difference"].between(0.05, 0.055).all()
    assert (rows["low"] > 0).all() and (rows["low"] <= rows["difference"]).all()
    assert (rows["difference"] <= rows["high"]).all()
    # All 12 differences are positive: the exact two-sided p is 2 / 2^12.
    assert rows["p"].tolist() == pytest.approx([2 / 2**12] * 3)
    assert rows["p_holm"].tolist() == pytest.approx([6 * 2 / 2**12] * 3)
    same = table[table["method"] == "same"]
    assert same["difference"].eq(0).all() and same["p"].eq(1).all() and same["p_holm"].eq(1).all()


def test_holm_by_hand_and_by_statsmodels() -> None:
    # Sorted: 0.01 * 3, 0.03 * 2, then 0.04 * 1, which may not fall below 0.06.
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    p = np.random.default_rng(0).choice([0.0, 0.001, 0.01, 0.2, 1.0], size=40)  # with ties
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_pairs_go_by_patient_and_not_by_row() -> None:
    reference, other = many(0.0), many(0.02, seed=3)
    shuffled = other.sample(frac=1, random_state=0)
    columns = ["difference", "low", "high", "p"]
    one = paired_differences(reference, {"x": other}, metrics=("dsc", "hd_mm"))
    two = paired_differences(reference, {"x": shuffled}, metrics=("dsc", "hd_mm"))
    pd.testing.assert_frame_equal(one[columns], two[columns])
    liver = [frame[frame["organ"] == "liver"]["dsc"].to_numpy() for frame in (reference, other)]
    assert one.loc[0, "p"] == pytest.approx(wilcoxon(liver[1], liver[0]).pvalue)
    assert one.loc[0, "difference"] == pytest.approx((liver[1] - liver[0]).mean())


def test_comparisons_need_the_same_patients() -> None:
    with pytest.raises(OarfuseError, match="other cases or organs"):
        paired_differences(many(0.0), {"x": many(0.0, cases=11)})
    with pytest.raises(OarfuseError, match="no column 'volume'"):
        paired_differences(many(0.0), {"x": many(0.0)}, metrics=("volume",))
    with pytest.raises(OarfuseError, match="at least one"):
        paired_differences(many(0.0), {})


def test_a_written_table_comes_back(tmp_path: Path) -> None:
    frame = pd.concat([TWO, scores({("c", "liver"): math.nan})], ignore_index=True)
    frame.to_csv(tmp_path / "metrics.csv", index=False)
    pd.testing.assert_frame_equal(load_metrics(tmp_path / "metrics.csv"), frame, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="missed"), "has the columns"),
        (lambda frame: frame.iloc[:0], "has no rows"),
        (lambda frame: pd.concat([frame, frame]), "scores liver of a twice"),
        (lambda frame: frame.assign(dsc=1.5), "impossible values under dsc"),
        (lambda frame: frame.assign(hd_mm=-1.0), "impossible values under hd_mm"),
        (lambda frame: frame.assign(hd_mm=math.inf), "impossible values under hd_mm"),
        (lambda frame: frame.assign(asd_mm="far"), "text under asd_mm"),
        (lambda frame: frame.assign(missed="perhaps"), "under missed"),
        (lambda frame: frame.assign(hd95_mm=math.nan), "scored in part"),
        (lambda frame: frame.assign(case=math.nan), "without case"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    path = tmp_path / "metrics.csv"
    change(TWO).to_csv(path, index=False)
    with pytest.raises(OarfuseError, match=message) as caught:
        load_metrics(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="oarfuse evaluate"):
        load_metrics(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    for name in ("empty.csv", "binary.csv"):
        with pytest.raises(OarfuseError, match=name):
            load_metrics(tmp_path / name)
