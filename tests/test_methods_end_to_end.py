"""Every method by its name: trains two steps, predicts and is scored through the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.data import load_manifest, prepare_synapse
from oarfuse.data.splits import PHANTOM_MARKER
from oarfuse.evaluation.statistics import load_metrics
from oarfuse.models import model_names
from oarfuse.organs import SYNAPSE
from oarfuse.phantom.abdomen import draw_abdomen, write_patient

VIT = {"img_size": 64, "width": 24, "depth": 2, "heads": 2}
# The smallest that each network allows; V-Net, DARR and the ResNets have one size.
SMALL: dict[str, dict[str, Any]] = {
    "oarfocalfusenet": {"width": 2},
    "msf3d": {"width": 2},
    "unet3d": {"features": [2, 2, 4, 4, 8]},
    "attunet": {"channels": [2, 2, 4]},
    "dynunet": {"filters": [2, 4, 8]},
    "unetr": {
        "patch_size": [32, 64, 64],
        "feature_size": 2,
        "hidden_size": 12,
        "mlp_dim": 12,
        "num_heads": 2,
    },
    "swinunetr": {"feature_size": 12},
    "vnet": {},
    "darr": {},
    "r50_unet": {"decoder_channels": [16, 8, 8, 4, 4]},
    "r50_attnunet": {"decoder_channels": [16, 8, 8, 4, 4]},
    "vit_none": VIT,
    "vit_cup": VIT,
    "r50_vit_cup": VIT,
    "transunet": VIT,
}
OWN_WAY = {  # what only some methods can do at prediction
    "darr": ["--adapt", "1"],
    "transunet": ["--slices", "64"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training and one test abdomen, thinned to every second voxel: (24, 64, 64)."""
    folder = tmp_path_factory.mktemp("small")
    for number in (5, 8):
        drawn = draw_abdomen(np.random.default_rng((0, number)))
        depth, height, width = drawn.spacing_mm
        thinned = replace(
            drawn,
            ct=drawn.ct[::2, ::2, ::2],
            label=drawn.label[::2, ::2, ::2],
            spacing_mm=(2 * depth, 2 * height, 2 * width),
        )
        write_patient(folder / "Training", number, thinned)
    (folder / PHANTOM_MARKER).write_text("{}")
    prepare_synapse(folder, folder / "prepared", workers=1, progress=False)
    return folder / "prepared"


def test_every_name_is_covered() -> None:
    assert set(SMALL) == set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_method_trains_predicts_and_is_scored(name: str, data: Path, tmp_path: Path) -> None:
    run, scores, labels = tmp_path / "run", tmp_path / "scores", tmp_path / "labels.nii.gz"
    small = ["--model-options", json.dumps(SMALL[name]), "--patch-size", "32", "64", "64"]
    steps = ["--steps", "2", "--batch-size", "1", "--workers", "0", "--no-augment"]
    where = ["--accelerator", "cpu", "--precision", "32-true"]
    common = ["--data", str(data), "--model", name, "--output", str(run)]
    assert main(["train", *common, *small, *steps, *where]) == 0
    weights = run / "weights.safetensors"
    more = ["--device", "cpu", *OWN_WAY.get(name, [])]
    scored = ["--weights", str(weights), "--data", str(data), "--split", "test"]
    assert main(["evaluate", *scored, "--output", str(scores), *more]) == 0
    table = load_metrics(scores / "metrics.csv")
    assert list(table["organ"]) == [organ.name for organ in SYNAPSE.organs]
    summary = json.loads((scores / "summary.json").read_text())
    assert summary["model"] == name and summary["kind"] == "phantom"
    assert (scores / "metrics_transunet.csv").is_file()
    if "--slices" not in more:
        image = load_manifest(data).split("test")[0].image_path
        files = ["--weights", str(weights), "--input", str(image), "--output", str(labels)]
        assert main(["predict", *files, *more]) == 0
        shapes = [nib.Nifti1Image.from_filename(path).shape for path in (labels, image)]
        assert shapes[0] == shapes[1]
    for big in run.glob("*.safetensors"):  # up to half a gigabyte each
        big.unlink()
