"""Prediction: on the CT's own grid whatever its orientation and spacing; weights files; the CLI."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from torch import Tensor, nn

from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest
from oarfuse.errors import OarfuseError
from oarfuse.inference import predict_labels
from oarfuse.other_grids import sides_to_work_on
from oarfuse.prediction import predict_file
from oarfuse.weights import (
    ModelInfo,
    find_weights,
    load_weights,
    pretrained_names,
    read_info,
    save_weights,
)

INFO = ModelInfo(
    model="oarfocalfusenet",
    options={"width": 2},
    dataset="openkbp",
    window_hu=(-160.0, 400.0),
    patch_size=(32, 32, 32),
    spacing_mm=(3.0, 4.0, 4.0),
    spacing_range_mm=((2.5, 3.5, 3.5), (3.0, 5.4, 5.4)),
    phantom=True,
)


class ByIntensity(nn.Module):
    """A stand-in whose answer is known: class 5 where the CT is dense, 1 in soft tissue."""

    def forward(self, volume: Tensor) -> Tensor:
        dense, soft = volume > 0.9, (volume > 0.3) & (volume <= 0.9)
        classes = [~dense & ~soft, soft, *3 * [torch.zeros_like(dense)], dense]
        return 10 * torch.cat(classes, dim=1).float()  # (B, 6, D, H, W)


class Sided(nn.Module):
    """Calls the left half of a window (low W) right parotid and the other left parotid."""

    def forward(self, volume: Tensor) -> Tensor:
        logits = torch.zeros(volume.shape[0], 6, *volume.shape[2:])
        half = volume.shape[-1] // 2
        logits[:, 3, ..., :half] = 5
        logits[:, 4, ..., half:] = 5
        return logits


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_weights(path, INFO.build().state_dict(), INFO)
    return path


def test_cropping_to_the_body_changes_nothing_of_the_result() -> None:
    random = np.random.default_rng(0)
    image = np.full((40, 50, 60), -1000, dtype=np.int16)
    image[10:30, 12:40, 9:44] = random.integers(-200, 900, (20, 28, 35))
    labels = predict_labels(ByIntensity(), image, INFO, device="cpu", precision="32-true")
    scaled = (np.clip(image, -160, 400) + 160) / 560
    expected = np.where(scaled > 0.9, 5, np.where(scaled > 0.3, 1, 0))
    assert np.array_equal(labels, expected)


def test_mirrored_averaging_swaps_the_paired_organs() -> None:
    image = np.full((32, 32, 32), 50, dtype=np.int16)
    plain = predict_labels(Sided(), image, INFO, device="cpu")
    averaged = predict_labels(Sided(), image, INFO, device="cpu", mirror=True)
    # The stand-in is mirror-symmetric once the labels are swapped, so averaging must agree.
    assert set(np.unique(plain)) == {3, 4}
    assert np.array_equal(plain, averaged)


def test_one_window_where_the_volume_fits() -> None:
    class Counting(ByIntensity):
        calls = 0

        def forward(self, volume: Tensor) -> Tensor:
            Counting.calls += 1
            return super().forward(volume)

    predict_labels(Counting(), np.full((20, 32, 8), 50, dtype=np.int16), INFO, device="cpu")
    assert Counting.calls == 1


def reoriented(image: nib.Nifti1Image, codes: str) -> nib.Nifti1Image:
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(tuple(codes)))
    return image.as_reoriented(turn)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRP", "AIL"])
def test_orientation_of_the_file_does_not_matter(
    phantom: Path, weights: Path, tmp_path: Path, codes: str
) -> None:
    case = load_manifest(phantom).split("test")[0]
    original = nib.Nifti1Image.from_filename(case.image_path)
    turned = reoriented(original, codes)
    nib.save(turned, tmp_path / "turned.nii.gz")
    predict_file(weights, case.image_path, tmp_path / "a.nii.gz", device="cpu")
    predict_file(weights, tmp_path / "turned.nii.gz", tmp_path / "b.nii.gz", device="cpu")
    first, second = (nib.Nifti1Image.from_filename(tmp_path / f"{n}.nii.gz") for n in "ab")
    np.testing.assert_allclose(second.affine, turned.affine)
    assert second.shape == turned.shape
    back = reoriented(second, "".join(nib.aff2axcodes(first.affine)))
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(first.dataobj))
    assert np.asarray(first.dataobj).any()


def test_foreign_spacing_is_resampled_and_put_back(
    phantom: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oarfuse.prediction as prediction

    monkeypatch.setattr(prediction, "load_weights", lambda _: (ByIntensity(), INFO))
    case = load_manifest(phantom).split("test")[0]
    volume = load_case(case)
    original = nib.Nifti1Image.from_filename(case.image_path)
    data = np.asarray(original.dataobj)
    fine = nib.Nifti1Image(  # twice as fine along the first two axes
        data.repeat(2, axis=0).repeat(2, axis=1), original.affine @ np.diag([0.5, 0.5, 1, 1])
    )
    nib.save(fine, tmp_path / "fine.nii.gz")
    predict_file(
        weights, tmp_path / "fine.nii.gz", tmp_path / "labels.nii.gz",
        largest_component=False, device="cpu",
    )  # fmt: skip
    written = nib.Nifti1Image.from_filename(tmp_path / "labels.nii.gz")
    assert written.shape == fine.shape
    np.testing.assert_allclose(written.affine, fine.affine)
    labels = np.asarray(written.dataobj)
    coarse = predict_labels(ByIntensity(), volume.image, INFO, device="cpu")
    dense_mm3 = (coarse == 5).sum() * np.prod(volume.spacing_mm)
    again_mm3 = (labels == 5).sum() * np.prod(np.abs(np.linalg.det(fine.affine[:3, :3])))
    assert again_mm3 == pytest.approx(dense_mm3, rel=0.15)


def test_what_the_zoom_of_training_showed_is_not_foreign() -> None:
    augmented = replace(INFO, training={"config": {"augment": True}})
    for info, spacing_mm, sides in (
        (INFO, (3.1, 4.0, 5.6), (10, 20, 20)),
        (INFO, (3.1, 4.0, 6.0), (10, 20, 30)),  # 6.0 is over 5.4 * 1.05, the median is 4.0
        (augmented, (3.1, 4.0, 6.0), (10, 20, 20)),
        (augmented, (3.1, 4.0, 6.4), (10, 20, 32)),
        (augmented, (2.0, 4.0, 4.0), (7, 20, 20)),
    ):
        assert sides_to_work_on((10, 20, 20), spacing_mm, info) == sides, spacing_mm


def test_no_patient_of_the_kit_is_foreign_to_its_weights() -> None:
    """So that `predict` gives the very labels that `evaluate` scores."""
    for name in pretrained_names():
        info = read_info(find_weights(name))
        for case in load_manifest("sample").cases:
            assert sides_to_work_on(case.shape, case.spacing_mm, info) == case.shape, case.case


def test_weights_round_trip(weights: Path) -> None:
    model, info = load_weights(weights)
    assert info == INFO
    assert read_info(weights) == INFO
    assert not model.training
    torch.manual_seed(0)
    for name, value in INFO.build().state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_half_precision_weights_load_as_float32(tmp_path: Path) -> None:
    state = INFO.build().state_dict()
    save_weights(tmp_path / "half.safetensors", state, INFO, half=True)
    model, _ = load_weights(tmp_path / "half.safetensors")
    for name, value in model.state_dict().items():
        assert value.dtype == state[name].dtype
        torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-6)


def test_bad_weights_get_one_sentence(tmp_path: Path, weights: Path) -> None:
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(pickle.dumps({"weight": [1, 2, 3]}))
    with pytest.raises(OarfuseError, match=r"pickled.safetensors is not a readable safetensors"):
        load_weights(pickled)
    with pytest.raises(OarfuseError, match="There is no"):
        load_weights(tmp_path / "absent.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(OarfuseError, match=r"cut.safetensors is not a readable"):
        load_weights(cut)


def test_predict_command(phantom: Path, weights: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    case = load_manifest(phantom).split("test")[0]
    output = tmp_path / "labels.nii.gz"
    command = ["predict", "--weights", str(weights), "--input", str(case.image_path)]
    assert main([*command, "--output", str(output), "--device", "cpu"]) == 0
    assert nib.Nifti1Image.from_filename(output).shape == (128, 128, 128)
    assert main([*command, "--output", str(tmp_path / "labels.png")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("oarfuse: error: ")
    assert said.count("\n") == 1


def test_train_and_evaluate_commands(phantom: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    run = tmp_path / "run"
    train = ["train", "--data", str(phantom), "--model", "msf3d", "--output", str(run)]
    sizes = ["--patch-size", "32", "32", "32", "--batch-size", "1", "--steps", "2"]
    options = ["--model-options", '{"width": 2}', "--workers", "0", "--accelerator", "cpu"]
    assert main(train + sizes + options) == 0
    evaluate = ["evaluate", "--weights", str(run / "weights.safetensors"), "--data", str(phantom)]
    assert main([*evaluate, "--split", "test", "--output", str(tmp_path / "scores")]) == 0
    header = (tmp_path / "scores" / "metrics.csv").read_text().splitlines()[0]
    assert header == "case,organ,dsc,hd_vox,hd_mm,hd95_vox,hd95_mm,asd_vox,asd_mm,missed"
    assert "0.7995" not in capsys.readouterr().out  # the paper's figure never beside a phantom
