"""Real patients, where they are at hand: selection, orientation, losslessness."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from oarfuse.data import (
    Manifest,
    audit,
    load_case,
    outside_dose_mask,
    prepare_openkbp,
    public_outside_dose_mask,
)
from oarfuse.data.openkbp.prepare import select_patients
from oarfuse.data.openkbp.source import ORGAN_FILES, Patient, open_source
from oarfuse.data.splits import natural_key
from tests.helpers.openkbp_files import needs_real_data, real_data

pytestmark = needs_real_data

# Spread over both splits: a scan cut to the planned region, coarse and fine spacing, metal.
CASES = ("pt_1", "pt_2", "pt_33", "pt_90", "pt_201", "pt_236")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a handful of the real patients, and one that lacks an organ."""
    folder = tmp_path_factory.mktemp("real") / "open-kbp"
    with open_source(real_data()) as source:
        for patient in source.patients:
            if patient.case in (*CASES, "pt_3"):
                target = folder / f"provided-data/{patient.split}-pats/{patient.case}"
                target.mkdir(parents=True)
                for stem in patient.files:
                    (target / f"{stem}.csv").write_bytes(source.read(patient, stem))
    return folder


@pytest.fixture(scope="module")
def manifest(few: Path) -> Manifest:
    return prepare_openkbp(few, few.parent / "out", progress=False)


def test_selection_of_the_whole_data_set() -> None:
    """188 of 340, from the public list of files (kept beside the data, not in the package)."""
    listing = real_data().parent / "open-kbp-files.tsv"
    if not listing.exists():
        pytest.skip("open-kbp-files.tsv does not lie beside the data")
    with open(listing, newline="") as file:
        patients = [
            Patient(row["patient"], row["split"], dict.fromkeys(row["csv_files"].split(","), ""))
            for row in csv.DictReader(file, delimiter="\t")
        ]
    assert len(patients) == 340
    selected, skipped = select_patients(patients)
    assert Counter(p.split for p in selected) == {"train": 113, "validation": 20, "test": 55}
    assert len(skipped) == 152 and all(entry.reason.startswith("has no ") for entry in skipped)


def test_selection_from_the_archive_at_hand() -> None:
    with open_source(real_data()) as source:
        selected, skipped = select_patients(source.patients)
    counts = Counter(patient.split for patient in selected)
    assert (counts["train"], counts["validation"]) == (113, 20)
    assert not {entry.case for entry in skipped} & {patient.case for patient in selected}


def test_the_handful(manifest: Manifest) -> None:
    assert {case.case for case in manifest.cases} == set(CASES)
    assert [entry.reason for entry in manifest.skipped] == ["has no Mandible"]
    names = [case.case for case in manifest.split("train")]
    assert names == sorted(names, key=natural_key)


def test_hu_and_masks_are_lossless(manifest: Manifest, few: Path) -> None:
    """Against NumPy's own text reader, and with nibabel reading the files."""
    for case in manifest.cases:
        folder = few / f"provided-data/{case.split}-pats/{case.case}"
        table = np.loadtxt(io.StringIO((folder / "ct.csv").read_text()), delimiter=",", skiprows=1)
        expected = np.full(128**3, -1024.0)
        expected[table[:, 0].astype(int)] = table[:, 1] - 1024
        stored = np.asarray(nib.Nifti1Image.from_filename(case.image_path).dataobj)
        np.testing.assert_array_equal(stored.reshape(-1), expected)
        label = np.asarray(nib.Nifti1Image.from_filename(case.label_path).dataobj).reshape(-1)
        for organ in manifest.spec.organs:
            rows = (folder / f"{ORGAN_FILES[organ.name]}.csv").read_text().split("\n")[1:-1]
            drawn = np.array([int(row.rstrip(",")) for row in rows])
            assert (label[drawn] > 0).all()
            kept = label[drawn] == organ.label
            assert kept.sum() == (label == organ.label).sum() == case.voxels[organ.name]
            assert (~kept).sum() <= case.overlap_voxels


def test_patients_are_upright_and_not_mirrored(manifest: Manifest) -> None:
    for case in manifest.cases:
        volume = load_case(case)
        superior, posterior, left = (
            {
                o.name: ndimage.center_of_mass(volume.label == o.label)[axis]
                for o in manifest.spec.organs
            }
            for axis in range(3)
        )
        assert superior["brainstem"] > superior["spinal_cord"]
        assert superior["brainstem"] > superior["mandible"]
        assert posterior["mandible"] < posterior["right_parotid"] < posterior["spinal_cord"] + 8
        assert posterior["mandible"] < posterior["spinal_cord"]
        assert left["right_parotid"] < left["brainstem"] < left["left_parotid"]
        # The same through the file's own affine, in mm right, anterior, superior.
        image = nib.Nifti1Image.from_filename(case.label_path)
        stored = np.asarray(image.dataobj)
        world = {
            o.name: image.affine @ (*ndimage.center_of_mass(stored == o.label), 1)
            for o in manifest.spec.organs
        }
        assert world["right_parotid"][0] > world["left_parotid"][0] + 60
        assert world["mandible"][1] > world["spinal_cord"][1] + 20
        assert world["brainstem"][2] > world["spinal_cord"][2] + 20


def test_organs_have_the_hu_of_their_tissue(manifest: Manifest) -> None:
    """A wrong axis order would put organs into air: their CT says that they sit right."""
    for case in manifest.cases:
        volume = load_case(case)
        median = {
            o.name: np.median(volume.image[volume.label == o.label]) for o in manifest.spec.organs
        }
        assert median["mandible"] > 300
        for soft in ("brainstem", "spinal_cord"):
            assert -50 < median[soft] < 150


def test_audit_finds_the_leak(manifest: Manifest) -> None:
    table = audit(manifest)
    assert table.loc["pt_33", "leaking_slices"] > 20  # its scan ends below the brainstem's top
    assert (table.leaking_share < 0.4).all()
    assert table.hu_max.max() <= 32767


def test_stored_shares_outside_the_dose_mask() -> None:
    with open_source(real_data()) as source:
        counts = outside_dose_mask(source).sum()
    for organ, share in public_outside_dose_mask().items():
        assert counts[f"{organ}_outside"] / counts[organ] == pytest.approx(share, abs=5e-5)
