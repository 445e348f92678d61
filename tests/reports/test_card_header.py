"""The header of the model cards is YAML, and its figures are those of the result files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from oarfuse.organs import get_spec

ROOT = Path(__file__).parents[2]
CARDS = sorted((ROOT / "weights").glob("*.md"), key=lambda path: path.stem)


def test_every_published_file_has_a_card() -> None:
    assert [card.stem for card in CARDS] == sorted(
        path.stem for path in ROOT.glob("weights/*.safetensors")
    )


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_the_header_says_what_the_summary_says(card: Path) -> None:
    before, header, text = card.read_text(encoding="utf-8").split("---\n", 2)
    assert before == "" and text.startswith("\n# ")
    found = yaml.safe_load(header)
    assert (found["license"], found["library_name"]) == ("mit", "oarfuse")
    assert found["pipeline_tag"] == "image-segmentation"

    about = json.loads(card.with_suffix(".json").read_text(encoding="utf-8"))
    summary = json.loads((ROOT / about["results"] / "summary.json").read_text(encoding="utf-8"))
    assert found["datasets"] == [about["dataset"]]
    (model,) = found["model-index"]
    assert model["name"] == card.stem
    (result,) = model["results"]
    assert result["dataset"]["split"] == summary["split"]
    assert f"{summary['cases']} {summary['split']} patients" in result["dataset"]["name"]
    assert {score["type"] for score in result["metrics"]} == set(found["metrics"])

    value = {score["name"]: score["value"] for score in result["metrics"]}
    means = summary["means"]
    raw, largest = means["raw"]["mean"], means["largest_component"]["mean"]
    expected = {
        "DSC, mean, raw": (raw["dsc"], 5e-5),
        "HD (voxels), mean, raw": (raw["hd_vox"], 5e-3),
        "HD95 (mm), mean, raw": (raw["hd95_mm"], 0.05),
        "ASD (voxels), mean, raw": (raw["asd_vox"], 5e-4),
        "DSC, mean, largest component": (largest["dsc"], 5e-5),
        "HD (voxels), mean, largest component": (largest["hd_vox"], 5e-3),
        "HD95 (mm), mean, largest component": (largest["hd95_mm"], 0.05),
        "ASD (voxels), mean, largest component": (largest["asd_vox"], 5e-4),
    }
    for organ in get_spec(about["dataset"]).organs:
        expected[f"DSC, {organ.title}, raw"] = (means["raw"][organ.name]["dsc"], 5e-5)
    assert value.keys() == expected.keys()
    for name, (figure, half) in expected.items():
        assert value[name] == pytest.approx(figure, abs=half * 1.001, rel=0), name
