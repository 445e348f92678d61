"""TransUNet's scorer: its rules by hand, where it parts from ours, and its slices."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from torch import nn

from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest, prepare_synapse, read_nifti, write_labels_like
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import Evaluation, evaluate, score_predictions
from oarfuse.evaluation.paper_tables import describe
from oarfuse.evaluation.synapse_scorer import transunet_scores
from oarfuse.inference import adapt_to_image, predict_labels, predict_slices
from oarfuse.metrics import case_metrics
from oarfuse.models import build_model
from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.phantom import make_phantom
from oarfuse.weights import ModelInfo, save_weights


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared abdominal phantom: 1 training and 2 test patients."""
    folder = tmp_path_factory.mktemp("synapse")
    source = make_phantom(folder / "s", dataset="synapse", train=1, validation=0, test=2, seed=1)
    prepare_synapse(source, folder / "p", workers=1, progress=False)
    return folder / "p"


def info(model: str, **options: Any) -> ModelInfo:
    return ModelInfo(
        model=model,
        options=options,
        dataset="synapse",
        window_hu=(-125.0, 275.0),
        patch_size=(32, 32, 32),
        spacing_mm=(5.0, 3.0, 3.0),
        spacing_range_mm=((4.0, 2.0, 2.0), (6.0, 4.0, 4.0)),
        phantom=True,
    )


def test_four_rules_where_the_two_scorers_part() -> None:
    truth, prediction = np.zeros((2, 10, 10), np.uint8)[:, None].repeat(3, axis=1)
    truth[:, 2:5, 2:5] = prediction[:, 2:5, 3:6] = 1  # both
    prediction[0, 8, 8] = 2  # in vain
    truth[0, 8, 1] = 3  # missed; 4 is absent from both
    theirs = transunet_scores(prediction, truth, (1, 2, 3, 4))
    ours = case_metrics(prediction, truth, (1, 2, 3, 4), (1, 1, 1))
    diagonal = math.sqrt(3**2 + 10**2 + 10**2)
    assert theirs[1].dsc == ours[1].dsc == pytest.approx(2 * 18 / (27 + 27))
    assert theirs[1].hd95_vox == ours[1].hd95_vox == 1
    found = {label: (score.dsc, score.hd95_vox, score.rule) for label, score in theirs.items()}
    assert found[2] == (1, 0, "in vain")
    assert found[3] == (0, 0, "missed")
    assert found[4] == (0, 0, "absent")
    assert (ours[2].dsc, ours[2].hd95_vox) == pytest.approx((0, diagonal))
    assert (ours[3].dsc, ours[3].hd95_vox) == pytest.approx((0, diagonal))
    assert math.isnan(ours[4].dsc) and math.isnan(ours[4].hd95_vox)


def test_a_lone_voxel_at_each_end_is_scored_across_the_whole_volume() -> None:
    """Each label is scored in its own box, which must reach over both masks."""
    truth, prediction = np.zeros((2, 5, 40, 30), np.uint8)
    prediction[0, 0, 0] = truth[4, 39, 29] = 2
    scores = transunet_scores(prediction, truth, (1, 2))
    assert scores[2].hd95_vox == pytest.approx(math.hypot(4, 39, 29)) and scores[2].dsc == 0
    assert scores[1].rule == "absent"
    with pytest.raises(OarfuseError, match="same grid"):
        transunet_scores(prediction, truth[:1], (1,))


def medpy_like(prediction: np.ndarray, truth: np.ndarray) -> float:
    """HD95 by the other way: distance transforms of eroded masks, both directions pooled."""
    border = [mask ^ ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    away = [ndimage.distance_transform_edt(~mask) for mask in border]
    return float(np.percentile(np.hstack([away[1][border[0]], away[0][border[1]]]), 95))


@pytest.mark.parametrize("seed", range(5))
def test_hd95_pools_both_directions(seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = [ndimage.gaussian_filter(random.standard_normal((12, 16, 14)), 2) > 0.05 for _ in "ab"]
    score = transunet_scores(masks[0].astype(np.uint8), masks[1].astype(np.uint8), (1,))[1]
    assert score.hd95_vox == pytest.approx(medpy_like(*masks))
    ours = case_metrics(masks[0], masks[1], (1,), (1, 1, 1))[1]
    assert score.dsc == pytest.approx(ours.dsc)
    assert score.hd95_vox <= ours.hd95_vox + 1e-9  # the larger direction is never below the pool


def without_gallbladder(data: Path, folder: Path) -> Path:
    """The same folder, in which the first test patient's truth has no gallbladder."""
    shutil.copytree(data, folder)
    case = load_manifest(folder).split("test")[0]
    label = read_nifti(case.label_path)
    write_labels_like(case.label_path, np.where(label.array == 2, 0, label.array), label)
    return folder


@pytest.mark.parametrize("in_vain", [True, False])
def test_how_far_the_mean_moves(data: Path, tmp_path: Path, in_vain: bool) -> None:
    """Two patients, else perfect: ours and TransUNet's turn round when an organ is absent."""
    folder = without_gallbladder(data, tmp_path / "data")
    for case in load_manifest(folder).split("test"):
        volume = load_case(case)
        labels = volume.label.copy()
        if in_vain and not (labels == 2).any():
            labels[0, 0, 0] = 2
        write_labels_like(
            tmp_path / "predictions" / f"{case.case}.nii.gz", labels, read_nifti(case.image_path)
        )
    result = score_predictions(
        tmp_path / "predictions", folder, "test", tmp_path / "out", method="m", progress=False
    )
    theirs, ours = result.summary["transunet"], result.summary["means"]["raw"]["mean"]
    # 8 organs of 2 patients; only the first one's gallbladder is in question: 1 of 16.
    assert theirs["means"]["mean"]["dsc"] == pytest.approx(1 if in_vain else 15 / 16)
    assert ours["dsc"] == pytest.approx(15 / 16 if in_vain else 1)
    assert theirs["dsc_moves_by"] == pytest.approx(1 / 16 if in_vain else -1 / 16)
    assert theirs["means"]["mean"]["hd95_vox"] == 0
    diagonal = math.hypot(48, 128, 128)
    assert theirs["hd95_vox_moves_by"] == pytest.approx(-diagonal / 16 if in_vain else 0)
    assert theirs["rules"] == {"both": 15, "in vain": in_vain, "missed": 0, "absent": not in_vain}
    table = pd.read_csv(tmp_path / "out" / "metrics_transunet.csv")
    assert list(table.columns) == ["case", "organ", "dsc", "hd95_vox", "rule"]
    assert len(table) == 16
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "TransUNet's scorer beside ours" in text
    assert f"the mean DSC by {'+' if in_vain else '-'}0.0625" in text
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["transunet"] == theirs
    run = Evaluation.load(tmp_path / "out", "raw")
    scored = describe([run])["mean DSC by TransUNet's scorer"]
    assert scored.tolist() == ["1.0000" if in_vain else "0.9375"]


class Thresholds(nn.Module):
    """A 2D stand-in: class 1 where the zoomed slice is bright."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bright = (image > 0.5).float()
        return torch.cat([1 - bright, bright], dim=1)  # (N, 2, H, W)


def test_slices_are_zoomed_there_and_back_as_published() -> None:
    random = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.standard_normal((3, 40, 56)), (0, 3, 3))
    hu = (75 + 2000 * smooth).astype(np.int16)
    found = predict_slices(SliceWise(Thresholds(), 16), hu, info("r50_unet"), 32, device="cpu")
    for slice_hu, labels in zip(hu, found, strict=True):
        scaled = np.clip((slice_hu.astype(np.float32) + 125) / 400, 0, 1)
        small = ndimage.zoom(scaled, (32 / 40, 32 / 56), order=3) > 0.5
        assert np.array_equal(
            labels, ndimage.zoom(small.astype(np.uint8), (40 / 32, 56 / 32), order=0)
        )
    assert found.shape == hu.shape and 0.2 < found.mean() < 0.8


def test_windows_of_a_2d_network_overlap_in_the_slice_only() -> None:
    """Each slice is segmented once a place, and overlap in depth would not change the result."""
    torch.manual_seed(0)
    hu = np.random.default_rng(0).integers(-125, 275, (64, 32, 48)).astype(np.int16)
    network = nn.Conv2d(1, 9, kernel_size=5, padding=2)
    seen = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal seen
        seen += len(inputs[0])

    network.register_forward_hook(count)
    found = predict_labels(SliceWise(network, 1), hu, info("r50_unet"), device="cpu")
    assert seen == 64 * 2  # two windows of 32 pixels across 48
    parts = [
        predict_labels(SliceWise(network, 1), part, info("r50_unet"), device="cpu")
        for part in (hu[:32], hu[32:])
    ]
    assert np.array_equal(found, np.concatenate(parts))


def test_slices_are_for_2d_networks_and_fitting_sides() -> None:
    hu = np.zeros((2, 40, 40), np.int16)
    with pytest.raises(OarfuseError, match="vnet segments volumes and not slices"):
        predict_slices(build_model("vnet", 1, 9), hu, info("vnet"))
    with pytest.raises(OarfuseError, match="choose a multiple of 16"):
        predict_slices(SliceWise(Thresholds(), 16), hu, info("r50_unet"), 100)


def test_adaptation_moves_darr_and_is_refused_elsewhere(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    description, model = info("darr"), build_model("darr", 1, 9)
    volume = torch.rand(1, 1, 20, 40, 48)  # lower than a patch: continued
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = adapt_to_image(model.eval(), volume, description, steps=1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    moved = {
        name.split(".")[1]
        for name, value in adapted.state_dict().items()
        if not torch.equal(before[name], value)
    }
    assert moved == {"vnet", "jigsaw_head"}
    weights = tmp_path / "w.safetensors"
    save_weights(weights, build_model("msf3d", 1, 9, width=2).state_dict(), info("msf3d", width=2))
    image = load_manifest(data).cases[0].image_path
    common = ["--weights", str(weights), "--input", str(image), "--output", str(tmp_path / "l.nii")]
    assert main(["predict", *common, "--adapt", "2"]) == 2
    said = capsys.readouterr().err
    assert "msf3d cannot adapt to an image" in said and said.count("\n") == 1
    with pytest.raises(OarfuseError, match="neither mirrored nor adapted"):
        evaluate(weights, data, "test", tmp_path / "e", slice_side=224, mirror=True)
