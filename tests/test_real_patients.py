"""The whole way in miniature on a handful of real patients: prepare, train, evaluate, a figure."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest, read_nifti
from oarfuse.organs import OPENKBP
from oarfuse.viewing import show_comparison
from tests.helpers.openkbp_files import needs_real_data, real_data

PATIENTS = ("train-pats/pt_1/", "train-pats/pt_2/", "train-pats/pt_3/", "validation-pats/pt_201/")


@pytest.fixture(scope="module")
def handful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source with three training patients and one for validation, cut from the real one."""
    folder = tmp_path_factory.mktemp("handful")
    source = real_data()
    if source.is_dir():
        for patient in PATIENTS:
            (found,) = source.rglob(patient)
            target = folder / "provided-data" / patient
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(found)
        return folder
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            if any(patient in name for patient in PATIENTS) and not name.endswith("/"):
                archive.extract(name, folder)
    return folder


@needs_real_data
def test_miniature_on_real_patients(handful: Path, tmp_path: Path) -> None:
    data, run, scores = tmp_path / "data", tmp_path / "run", tmp_path / "scores"
    prepare = ["prepare", "openkbp", "--source", str(handful), "--output", str(data)]
    assert main(prepare) == 0
    manifest = load_manifest(data)
    assert [case.case for case in manifest.split("train")] == ["pt_1", "pt_2"]
    assert [case.case for case in manifest.split("validation")] == ["pt_201"]
    assert [skipped.case for skipped in manifest.skipped] == ["pt_3"]  # no mandible was drawn
    assert not manifest.phantom

    train = ["train", "--data", str(data), "--model", "oarfocalfusenet", "--output", str(run)]
    sizes = ["--patch-size", "64", "48", "48", "--batch-size", "1", "--steps", "30"]
    sizes += ["--cycle-steps", "20", "--ema-decay", "0.8", "--validate-every", "30"]
    options = ["--model-options", '{"width": 4}', "--workers", "0", "--accelerator", "cpu"]
    assert main(train + sizes + options) == 0
    log = pd.read_csv(run / "log.csv")
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]

    weights = run / "weights.safetensors"
    evaluate = ["evaluate", "--weights", str(weights), "--data", str(data)]
    assert main([*evaluate, "--output", str(scores), "--smoke", "--save-predictions"]) == 0
    frame = pd.read_csv(scores / "metrics.csv")
    assert list(frame["organ"]) == [organ.name for organ in OPENKBP.organs]
    assert frame["dsc"].between(0, 1).all()
    assert (frame["hd_vox"] >= frame["hd95_vox"]).all()
    summary = (scores / "summary.md").read_text(encoding="utf-8")
    assert "smoke run" in summary and "full run" not in summary

    volume = load_case(manifest.case("pt_201"))
    predicted = read_nifti(scores / "predictions" / "pt_201.nii.gz").array
    figure = show_comparison(
        volume.image,
        volume.label,
        {"OARFocalFuseNet": predicted},
        spacing_mm=volume.spacing_mm,
        spec=OPENKBP,
    )
    figure.savefig(tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").stat().st_size > 20_000
