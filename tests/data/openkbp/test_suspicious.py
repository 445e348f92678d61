"""The list of contours that a person should look at, and the audit in a few lines."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from oarfuse.data import (
    audit,
    audit_facts,
    load_manifest,
    public_audit_facts,
    public_cohort,
    public_outside_dose_mask,
    suspicious_contours,
)
from oarfuse.data.openkbp.cohort import cohort
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


def test_equal_patients_give_an_empty_list_with_its_columns() -> None:
    listed = suspicious_contours(ordinary(), OPENKBP)
    assert list(listed.columns) == ["case", "split", "organ", "finding", "volume_ml"]
    assert listed.empty
    assert suspicious_contours(ordinary(spec=SYNAPSE), SYNAPSE).empty  # has no pairs


def test_too_large_and_too_small_are_found_and_the_furthest_comes_first() -> None:
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


def test_volumes_count_and_not_voxels() -> None:
    frame = ordinary()
    frame.loc["pt_1", "spacing_d"] = 0.5
    for organ in OPENKBP.organs:  # four times the voxels, each a quarter of the size
        frame.loc["pt_1", f"voxels_{organ.name}"] = 800
    assert found(frame) == []


def test_sides_that_differ_are_found_on_both_sides() -> None:
    frame = ordinary()
    frame.loc["pt_3", "voxels_left_parotid"] = 100
    frame.loc["pt_3", "voxels_right_parotid"] = 400
    assert found(frame) == [
        ("pt_3", "right_parotid", "4.00 times the other side"),
        ("pt_3", "left_parotid", "0.25 times the other side"),
    ]


def test_pieces_are_found() -> None:
    frame = ordinary()
    frame.loc["pt_4", "components_mandible"] = 3
    assert found(frame) == [("pt_4", "mandible", "3 pieces")]


def test_facts_sum_up_an_audit() -> None:
    frame = ordinary(4).assign(
        overlap_voxels=[0, 3, 7, 0],
        extent_d=[90, 91, 92, 93],
        extent_h=[40, 30, 30, 30],
        extent_w=20,
        leaking_slices=[0, 2, 3, 20],
        leaking_share=[0.0, 0.01, 0.05, 0.15],
        hu_max=[3071, 3072, 1000, 1000],
    )
    frame.loc["pt_4", ["components_mandible", "voxels_mandible"]] = [2, 900]
    facts = audit_facts(frame, OPENKBP)
    assert facts["cases"] == "4"
    assert facts["voxel in plane (mm)"] == "5.00 to 5.00, median 5.00"
    assert facts["Mandible (voxels)"] == "200 to 900, median 200"
    assert facts["largest box around all organs (voxels)"] == "93 x 40 x 20 (D x H x W)"
    assert facts["cases with voxels that two organs claim"] == "2 of 4"
    assert facts["most such voxels in a case"] == "7"
    assert facts["cases with 3 leaking slices or more"] == "2 of 4"
    assert facts["share of their organ voxels in leaking slices"] == (
        "10.0% on average, 15.0% at most"
    )
    assert facts["organs in several pieces"] == "Mandible 1"
    assert facts["contours of suspicious size"] == "1"
    assert facts["cases with CT above 3071 HU"] == "1 of 4"
    nothing = audit_facts(frame.assign(leaking_slices=0, **{"components_mandible": 1}), OPENKBP)
    assert nothing["share of their organ voxels in leaking slices"] == "none"
    assert nothing["organs in several pieces"] == "none"
    assert list(public_audit_facts()) == list(facts)


def test_a_cohort_by_hand() -> None:
    frame = ordinary(5)
    frame.loc["pt_1", ["spacing_h", "spacing_w"]] = 4.0
    frame["voxels_mandible"] = [250, 200, 300, 400, 1000]
    found = cohort(frame)
    assert found.patients == 5
    assert found.volumes_ml["mandible"] == (8.0, 10.0, 15.0, 20.0, 50.0)
    assert found.voxels_mm == ((4.0, 2.0, 1), (5.0, 2.0, 4))


def test_the_public_cohort_is_whole_and_agrees_with_the_facts() -> None:
    public = public_cohort()
    assert sum(count for *_, count in public.voxels_mm) == public.patients == 133
    assert list(public.volumes_ml) == [organ.name for organ in OPENKBP.organs]
    assert all(list(spread) == sorted(spread) for spread in public.volumes_ml.values())
    sides = [in_plane for in_plane, *_ in public.voxels_mm]
    assert public_audit_facts()["voxel in plane (mm)"].startswith(
        f"{min(sides):.2f} to {max(sides):.2f}"
    )
    assert list(public_outside_dose_mask()) == list(public.volumes_ml)


PREPARED = Path(os.environ.get("OARFUSE_OPENKBP_PREPARED", "no folder is named"))


@pytest.mark.skipif(
    not PREPARED.is_dir(),
    reason="set OARFUSE_OPENKBP_PREPARED to the folder of the 133 prepared patients",
)
def test_the_stored_facts_are_those_of_the_real_patients() -> None:
    manifest = load_manifest(PREPARED)
    frame = audit(manifest)
    known = frame[frame["split"] != "test"]
    assert audit_facts(known, manifest.spec) == public_audit_facts()
    assert cohort(known) == public_cohort()
