"""The patients that come with the kit: whole, licensed, none of the test patients, as prepared."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from oarfuse.data import load_case, load_manifest, prepare_openkbp, read_ct, read_nifti
from oarfuse.data.manifest import load_whole_manifest
from oarfuse.data.openkbp.source import open_source
from oarfuse.files import sha256
from oarfuse.organs import SYNAPSE
from oarfuse.sample import HERE, abdomen_sample, openkbp_sample, openkbp_source
from tests.helpers.openkbp_files import needs_real_data, real_data

README = (HERE / "README.md").read_text(encoding="utf-8")


def test_readme_lists_every_file_with_its_checksum() -> None:
    listed = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", README, re.MULTILINE))
    there = [p for p in HERE.rglob("*") if p.suffix in (".gz", ".zip", ".json")]
    assert {p.relative_to(HERE).as_posix(): sha256(p) for p in there} == {
        name: checksum for checksum, name in listed.items()
    }


def test_readme_names_licences_and_citations() -> None:
    for words in ("MIT License", "Aaron Babier", "2011.14076", "Apache-2.0", "Wasserthal"):
        assert words in README
    assert "Apache License" in (HERE / "abdomen" / "LICENSE-APACHE-2.0.txt").read_text("utf-8")


def test_split_and_no_test_patient() -> None:
    manifest = load_whole_manifest(openkbp_sample())
    assert not manifest.phantom and manifest.complete
    splits = {name: manifest.split(name) for name in ("train", "validation", "test")}
    assert {name: len(cases) for name, cases in splits.items()} == {
        "train": 6,
        "validation": 20,
        "test": 0,
    }
    # In the data set's own numbering pt_1 to pt_200 train, up to pt_240 validate, the rest test.
    assert all(int(case.case.removeprefix("pt_")) <= 200 for case in splits["train"])
    assert all(201 <= int(case.case.removeprefix("pt_")) <= 240 for case in splits["validation"])
    assert all(case.case in README for case in splits["train"])


def test_csv_patient_is_the_prepared_one(tmp_path: Path) -> None:
    manifest = prepare_openkbp(openkbp_source(), tmp_path, workers=1, progress=False)
    (case,) = manifest.cases
    assert dict(case.sha256) == dict(load_manifest(openkbp_sample()).case("pt_1").sha256)
    with open_source(openkbp_source()) as source:
        assert "possible_dose_mask" in source.patients[0].files


def test_abdomen_is_a_ct_with_eight_organs() -> None:
    ct_path, labels_path = abdomen_sample()
    ct, labels = read_ct(ct_path), read_nifti(labels_path)
    assert ct.array.shape == labels.array.shape
    assert ct.spacing_mm == pytest.approx((3, 3, 3))
    assert np.allclose(ct.affine, labels.affine)
    assert set(np.unique(labels.array)) == {0, *(organ.label for organ in SYNAPSE.organs)}
    assert b"TotalSegmentator" in bytes(labels.header["descrip"])
    place = {o.name: np.argwhere(labels.array == o.label).mean(axis=0) for o in SYNAPSE.organs}
    assert place["liver"][2] < place["aorta"][2] < place["spleen"][2]  # W points left


@needs_real_data
def test_sample_is_what_the_archive_gives(tmp_path: Path) -> None:
    whole = prepare_openkbp(real_data(), tmp_path, progress=False)
    for case in load_manifest(openkbp_sample()).cases:
        found = whole.case(case.case)
        assert found.split == case.split and dict(found.sha256) == dict(case.sha256)
    assert {c.case for c in whole.split("validation")} == {
        c.case for c in load_manifest(openkbp_sample()).split("validation")
    }
    assert load_case(whole.cases[0]).label.max() == 5
