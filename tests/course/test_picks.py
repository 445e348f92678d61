"""Which patients notebook 05 shows, and its table of errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oarfuse.course import picks
from oarfuse.course.picks import best_median_worst, course_scores, organ_errors, rank_cases
from oarfuse.organs import OPENKBP
from oarfuse.sample import openkbp_sample
from oarfuse.weights import find_weights

COMMITTED = Path(__file__).parents[2] / "results" / "openkbp" / "oarfocalfusenet"


def test_published_weights_are_ranked_by_their_committed_scores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*args: object, **options: object) -> None:
        raise AssertionError(f"predicted again: {args}")

    monkeypatch.setattr(picks, "evaluate", refused)
    weights = find_weights("oarfocalfusenet-openkbp")
    found = course_scores(COMMITTED, weights, openkbp_sample(), tmp_path)
    ranked = rank_cases(found)
    assert len(ranked) == 20
    chosen = best_median_worst(found)
    scores = [round(ranked[chosen[rank]], 3) for rank in ("Best", "Median", "Worst")]
    assert chosen == {"Best": "pt_220", "Median": "pt_222", "Worst": "pt_219"}
    assert scores == [0.875, 0.802, 0.728]


def test_other_weights_are_scored_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def score(*args: object, **options: object) -> None:
        asked.append(args)
        shutil.copytree(COMMITTED, tmp_path / "new", dirs_exist_ok=True)

    monkeypatch.setattr(picks, "evaluate", score)
    weights = find_weights("msf3d-openkbp")
    for folder in (COMMITTED, tmp_path / "nothing"):
        frame = course_scores(folder, weights, openkbp_sample(), tmp_path / "new")
        assert len(frame) == 100
    assert asked == [(weights, openkbp_sample(), "validation", tmp_path / "new")] * 2


def test_the_median_of_an_even_number_is_the_lower_middle_one() -> None:
    scores = {"a": 0.9, "b": 0.5, "c": 0.7, "d": 0.6}
    frame = pd.DataFrame([{"case": name, "dsc": dsc} for name, dsc in scores.items()])
    assert best_median_worst(frame) == {"Best": "a", "Median": "d", "Worst": "b"}


def test_errors_by_hand() -> None:
    truth, prediction = np.zeros((2, 9, 9, 9), np.uint8)
    truth[2:7, 2:7, 2:7] = 1  # 125 voxels
    prediction[2:7, 2:7, 3:7] = 1  # one layer lost: 25, all in the band
    prediction[0, 0, 0] = 1  # one stray voxel
    prediction[8, 8, 8] = 4  # an organ that is not there
    table = organ_errors(truth, prediction, OPENKBP)
    assert list(table.index) == ["Brainstem", "Left parotid"]
    assert table.loc["Brainstem", ["right", "missed", "extra", "far"]].tolist() == [100, 25, 1, 1]
    assert table.loc["Brainstem", "dsc"] == pytest.approx(200 / 226)
    assert table.loc["Left parotid", "dsc"] == 0
