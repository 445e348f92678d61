"""The list of contours that a person should look at."""

from __future__ import annotations

import pandas as pd

from oarfuse.data import suspicious_contours
from oarfuse.organs import OPENKBP, SYNAPSE, DatasetSpec


def ordinary(patients: int = 7, spec: DatasetSpec = OPENKBP) -> pd.DataFrame:
    rows = [
        {"case": f"pt_{number}", "split": "train", "spacing_d": 2.0, "spacing_h": 5.0}
        | {"spacing_w": 5.0}
        | {f"voxels_{organ.name}": 200 for organ in spec.organs}
        | {f"components_{organ.name}": 1 for organ in spec.organs}
        for number in range(1, patients + 1)
    ]
    return pd.DataFrame(rows).set_index("case")


def found(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    listed = suspicious_contours(frame, OPENKBP)
    return [(row.case, row.organ, row.finding) for row in listed.itertuples()]


def test_equal_patients_give_an_empty_list_with_its_columns():
    listed = suspicious_contours(ordinary(), OPENKBP)
    assert list(listed.columns) == ["case", "split", "organ", "finding", "volume_ml"]
    assert listed.empty
    assert suspicious_contours(ordinary(spec=SYNAPSE), SYNAPSE).empty  # has no pairs


def test_too_large_and_too_small_are_found_and_the_furthest_comes_first():
    frame = ordinary()
    frame.loc["pt_2", "voxels_spinal_cord"] = 600
    frame.loc["pt_5", "voxels_spinal_cord"] = 40
    frame.loc["pt_6", "voxels_spinal_cord"] = 480  # 2.4 times: still ordinary
    assert found(frame) == [
        ("pt_5", "spinal_cord", "0.20 times the median volume"),
        ("pt_2", "spinal_cord", "3.00 times the median volume"),
    ]
    listed = suspicious_contours(frame, OPENKBP)
    assert listed["volume_ml"].tolist() == [2.0, 30.0]


def test_volumes_count_and_not_voxels():
    frame = ordinary()
    frame.loc["pt_1", "spacing_d"] = 0.5
    for organ in OPENKBP.organs:  # four times the voxels, each a quarter of the size
        frame.loc["pt_1", f"voxels_{organ.name}"] = 800
    assert found(frame) == []


def test_sides_that_differ_are_found_on_both_sides():
    frame = ordinary()
    frame.loc["pt_3", "voxels_left_parotid"] = 100
    frame.loc["pt_3", "voxels_right_parotid"] = 400
    assert found(frame) == [
        ("pt_3", "right_parotid", "4.00 times the other side"),
        ("pt_3", "left_parotid", "0.25 times the other side"),
    ]


def test_pieces_are_found():
    frame = ordinary()
    frame.loc["pt_4", "components_mandible"] = 3
    assert found(frame) == [("pt_4", "mandible", "3 pieces")]
