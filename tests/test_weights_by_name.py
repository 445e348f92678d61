"""Weights that come with the package: by name, from a wheel, with the scores that are published."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import oarfuse
from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest, prepare_openkbp, read_nifti
from oarfuse.errors import OarfuseError
from oarfuse.files import sha256
from oarfuse.inference import predict_labels
from oarfuse.metrics import dice
from oarfuse.weights import find_weights, read_info
from tests.helpers.openkbp_files import needs_real_data, real_data

ROOT = Path(__file__).parents[1]
NAMES = oarfuse.pretrained_names()


def test_there_is_a_name_for_each_published_file() -> None:
    assert "oarfocalfusenet-openkbp" in NAMES
    assert sorted(path.stem for path in (ROOT / "weights").glob("*.safetensors")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_published_file_is_small_and_its_page_and_configuration_are_true(name: str) -> None:
    path = find_weights(name)
    assert path.stat().st_size <= 15e6
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert about["sha256"] == sha256(path)
    info = read_info(path)
    assert not info.phantom
    assert (about["model"], about["options"]) == (info.model, info.options)
    assert about["stages"][-1]["config"]["model"] == info.model
    summary = json.loads((ROOT / about["results"] / "summary.json").read_text(encoding="utf-8"))
    assert summary["weights"]["sha256"] == about["sha256"], "the scores are of other weights"
    assert summary["kind"] == "full run" and summary["split"] == "validation"
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "Not for clinical use" in card and "bootstrap interval" in card


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OarfuseError, match=r"no weights 'unet'.*oarfocalfusenet-openkbp"):
        oarfuse.load_pretrained("unet")
    with pytest.raises(OarfuseError, match="no weights 'unet'"):
        find_weights("unet")
    assert find_weights("missing.safetensors") == Path("missing.safetensors")


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(b"")
    assert find_weights(NAMES[0]) == Path(NAMES[0])


def test_phantom_is_segmented_by_name(phantom: Path, tmp_path: Path) -> None:
    """A phantom is drawn like a patient: the mandible must be found, no more is asked."""
    case = load_manifest(phantom).split("validation")[0]
    output = tmp_path / "labels.nii.gz"
    arguments = ["--input", str(case.image_path), "--output", str(output)]
    assert main(["predict", "--weights", "oarfocalfusenet-openkbp", *arguments]) == 0
    labels, volume = read_nifti(output).array, load_case(case)
    assert labels.shape == volume.image.shape
    assert set(np.unique(labels)) <= set(range(6))
    assert dice(labels == 5, volume.label == 5) > 0.3


@needs_real_data
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-openkbp")])
def test_three_patients_score_what_is_published(name: str, tmp_path: Path) -> None:
    model, info = oarfuse.load_pretrained(name)
    about = json.loads(find_weights(name).with_suffix(".json").read_text(encoding="utf-8"))
    published = pd.read_csv(ROOT / about["results"] / "metrics.csv", dtype={"case": str})
    published = published.set_index(["case", "organ"])["dsc"]
    names = list(published.index.unique("case")[:3])
    _few_patients(real_data(), names, tmp_path / "source")
    manifest = prepare_openkbp(tmp_path / "source", tmp_path / "data", workers=1, progress=False)
    cases = manifest.split("validation")
    assert [case.case for case in cases] == names
    for case in cases:
        volume = load_case(case)
        labels = predict_labels(model, volume.image, info, mirror=about["mirror"])
        for organ in info.spec.organs:
            dsc = dice(labels == organ.label, volume.label == organ.label)
            # not exactly, because a processor without bfloat16 computes in single precision
            assert dsc == pytest.approx(published[case.case, organ.name], abs=0.01)


def _few_patients(real: Path, names: list[str], folder: Path) -> None:
    patients = [f"validation-pats/{name}/" for name in names]
    if real.is_dir():
        for patient in patients:
            (found,) = real.rglob(patient)
            shutil.copytree(found, folder / "provided-data" / patient)
        return
    with zipfile.ZipFile(real) as archive:
        for name in archive.namelist():
            if any(patient in name for patient in patients) and not name.endswith("/"):
                archive.extract(name, folder)
