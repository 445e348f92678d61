"""Which patients have which organs, and which of them lie outside the dose mask."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from oarfuse.data import open_source, organ_files, outside_dose_mask, public_organ_files
from oarfuse.data.openkbp.download import SELECTED
from oarfuse.data.openkbp.source import ORGAN_FILES, Patient

TSV = Path(__file__).parents[4] / "shared/data/open-kbp-files.tsv"


def patient(case: str, split: str, lacking: str = "") -> Patient:
    stems = ["ct", *(file for organ, file in ORGAN_FILES.items() if organ != lacking)]
    return Patient(case, split, {stem: f"{stem}.csv" for stem in stems})


def test_patients_are_counted_by_split_and_organs() -> None:
    found = organ_files(
        [
            patient("pt_3", "test"),
            patient("pt_1", "train", lacking="mandible"),
            patient("pt_2", "train"),
            patient("pt_4", "train", lacking="mandible"),
        ]
    )
    assert list(found.columns) == ["split", *ORGAN_FILES, "organs", "patients"]
    assert found[["split", "mandible", "organs", "patients"]].to_numpy().tolist() == [
        ["train", True, 5, 1],
        ["train", False, 4, 2],
        ["test", True, 5, 1],
    ]


def test_the_public_data_set_has_188_complete_patients_of_340() -> None:
    found = public_organ_files()
    assert found["patients"].sum() == 340
    assert found.groupby("split")["patients"].sum().to_dict() == {
        "train": 200,
        "validation": 40,
        "test": 100,
    }
    complete = found[found["organs"] == 5].set_index("split")["patients"].to_dict()
    assert complete == SELECTED
    assert sum(complete.values()) == 188
    assert found.attrs["source"].startswith("https://github.com/ababier/open-kbp")


@pytest.mark.skipif(not TSV.exists(), reason="the list of all OpenKBP files is not here")
def test_the_stored_counts_are_those_of_the_full_file_list() -> None:
    listed = pd.read_csv(TSV, sep="\t")
    patients = [
        Patient(row.patient, row.split, {stem: "" for stem in row.csv_files.split(",")})
        for row in listed.itertuples()
    ]
    stored = public_organ_files()
    stored.attrs = {}
    pd.testing.assert_frame_equal(organ_files(patients), stored)


def test_voxels_outside_the_dose_mask_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "provided-data" / "train-pats"
    for case, stems in (
        ("pt_1", [*ORGAN_FILES.values(), "possible_dose_mask"]),
        ("pt_2", [*ORGAN_FILES.values()]),  # has no mask: cannot be measured
        ("pt_3", ["Brainstem", "possible_dose_mask"]),
    ):
        (folder / case).mkdir(parents=True)
        for stem in stems:
            voxels = {"Brainstem": (5, 6, 7, 8), "possible_dose_mask": (4, 5, 6, 99)}.get(
                stem, (6,)
            )
            rows = "".join(f"{voxel},\n" for voxel in voxels)
            (folder / case / f"{stem}.csv").write_text(",data\n" + rows)
    with open_source(tmp_path) as source:
        found = outside_dose_mask(source, workers=1)
    assert list(found.index) == ["pt_1"]
    assert found.loc["pt_1", ["brainstem", "brainstem_outside"]].tolist() == [4, 2]
    assert found.loc["pt_1", ["mandible", "mandible_outside"]].tolist() == [1, 0]
