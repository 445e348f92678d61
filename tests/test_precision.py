"""Half precision: what could exceed float16's range does not, and scores that do are an error."""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oarfuse
from oarfuse.cli import main
from oarfuse.config import PRECISIONS, TrainConfig
from oarfuse.data import load_case, load_manifest, prepare_openkbp
from oarfuse.devices import choose_precision
from oarfuse.errors import OarfuseError
from oarfuse.inference import predict_labels, predict_slices
from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.models.encoder_decoder import HALF_LIMIT, DecoderBlock, into_half_range
from oarfuse.models.fast import FastFocalFuse, _global_context
from oarfuse.models.focal_fuse import FocalFuse, modulate
from oarfuse.training import validate
from oarfuse.weights import ModelInfo, save_weights
from tests.helpers.openkbp_files import needs_real_data, real_data

PATIENTS = ("pt_1", "pt_201")
AGREEMENT = 0.995  # of float16's and float32's labels, on voxels that either calls an organ
INFO = ModelInfo(
    model="oarfocalfusenet",
    options={"width": 2},
    dataset="openkbp",
    window_hu=(-160.0, 400.0),
    patch_size=(16, 16, 16),
    spacing_mm=(3.0, 4.0, 4.0),
    spacing_range_mm=((2.5, 3.5, 3.5), (3.0, 5.4, 5.4)),
    phantom=True,
)


def half() -> torch.autocast:
    return torch.autocast("cpu", torch.float16)


def relative(ours: Tensor, reference: Tensor) -> float:
    return float((ours.detach().float() - reference.detach()).norm() / reference.detach().norm())


class Scores(nn.Module):
    """A stand-in that scores the first organ `value` and everything else 0; `None` is a bug."""

    def __init__(self, value: float | None) -> None:
        super().__init__()
        self.value = value
        self.inner = nn.Sequential(nn.Dropout())
        self.anywhere = nn.Parameter(torch.zeros(1))

    def forward(self, volume: Tensor) -> Tensor:
        logits = torch.zeros(volume.shape[0], 6, *volume.shape[2:])
        if self.value is None:
            raise KeyError("a bug of the network")
        logits[:, 1] = self.value
        return logits


@pytest.mark.parametrize(("native", "expected"), [(False, "16-mixed"), (True, "bf16-mixed")])
def test_emulated_bfloat16_is_not_chosen(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return including_emulation or native  # a T4 says yes unless asked about its hardware

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert choose_precision("auto", "cuda") == expected


@pytest.mark.parametrize("sides", [(1, 1, 1), (2, 3, 5), (32, 32, 32), (32, 64, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_mean_of_a_volume_has_no_sum_that_overflows(
    sides: tuple[int, int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    rows = (60 + torch.randn(2, *sides, 4)).to(dtype)  # 131,072 voxels: the sum is 7.9 million
    expected = rows.double().mean(dim=(1, 2, 3))
    rounding = {torch.float32: 1e-4, torch.bfloat16: 2**-8, torch.float16: 2**-10}[dtype]
    torch.testing.assert_close(_global_context(rows).double(), expected, rtol=rounding, atol=0)


def test_the_product_of_modulator_and_query_leaves_float16() -> None:
    large = torch.full((1, 1, 1, 1, 1), 300.0)
    assert modulate(large.half(), large.half()).item() == 90_000
    assert modulate(large.bfloat16(), large.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", [FocalFuse, FastFocalFuse])
def test_focal_fuse_of_large_maps(kind: type[FocalFuse]) -> None:
    torch.manual_seed(0)
    block = kind((4, 8, 16, 32))
    maps = [
        90 * (1 + torch.randn(1, 4 * 2**a, *(side // 2**a for side in (32, 32, 32))))
        for a in range(4)
    ]
    exact = block(maps)
    largest = max(float(y.detach().abs().max()) for y in exact)
    assert 65_504 < largest < 1_000_000  # the product alone leaves the range, not its factors
    with half():
        rough = block(maps)
    for reference, ours in zip(exact, rough, strict=True):
        assert relative(ours, reference) < 0.01


def decoder_inputs(largest: float) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    skip = torch.randn(2, 8, 8, 8, 8, generator=random)
    skip[1] *= largest / skip[1].abs().max()
    return torch.randn(2, 16, 4, 4, 4, generator=random), skip


@pytest.mark.parametrize("largest", [60_000.0, 1_000_000.0])
def test_decoder_block_of_large_skips(largest: float) -> None:
    torch.manual_seed(0)
    block: Any = DecoderBlock(16, 8)
    with torch.no_grad():
        block.conv[0].weight.mul_(10)
    below, skip = decoder_inputs(largest)
    weights = torch.randn(2, 8, 8, 8, 8)
    found = []
    for rough in (False, True):
        block.zero_grad()
        source = skip.clone().requires_grad_()
        with torch.autocast("cpu", torch.float16, enabled=rough):
            result = block(below, source)
        (result.float() * weights).sum().backward()
        assert source.grad is not None
        found.append([result, source.grad[0], source.grad[1], block.conv[0].weight.grad.clone()])
    with half():
        assert not block.conv[0](torch.cat((skip, skip), dim=1)).isfinite().all()
    assert relative(found[1][0], found[0][0]) < 0.002
    for reference, ours in zip(*found, strict=True):
        # One of 4,096 voxels whose sign rounding turns, and the ReLU with it, makes 0.02.
        assert relative(ours, reference) < 0.05


def test_only_samples_out_of_range_are_shrunk() -> None:
    volume = torch.stack([torch.full((4, 2, 2, 2), HALF_LIMIT), torch.full((4, 2, 2, 2), 1e6)])
    shrunk = into_half_range(volume.contiguous(memory_format=torch.channels_last_3d))
    assert shrunk.is_contiguous(memory_format=torch.channels_last_3d)
    assert shrunk.dtype == torch.float16
    assert (shrunk == HALF_LIMIT).all()
    assert not into_half_range(volume * float("inf")).isfinite().any()  # never hidden
    assert not into_half_range(torch.zeros(1, 1, 1, 1, 1)).any()


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Two real CTs, cut to one window around the organs: (96, 64, 64) HU."""
    folder, source = tmp_path_factory.mktemp("two"), real_data()
    if source.is_dir():
        for case in PATIENTS:
            (found,) = source.rglob(f"*-pats/{case}")
            target = folder / "source" / "provided-data" / found.parent.name / case
            target.parent.mkdir(parents=True)
            target.symlink_to(found)
    else:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if any(f"-pats/{case}/" in name for case in PATIENTS) and not name.endswith("/"):
                    archive.extract(name, folder / "source")
    prepare_openkbp(folder / "source", folder / "data", workers=1, progress=False)
    windows = []
    for case in PATIENTS:
        volume = load_case(load_manifest(folder / "data").case(case))
        middle = np.argwhere(volume.label).mean(axis=0).round().astype(int)
        d, h, w = (
            slice(start, start + side)
            for start, side in zip(
                (middle - (48, 32, 32)).clip(0, np.array(volume.image.shape) - (96, 64, 64)),
                (96, 64, 64),
                strict=True,
            )
        )
        windows.append(volume.image[d, h, w])
    return windows


@needs_real_data
@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_fp16_supported(),
    reason="this CPU has no float16 convolutions, and emulated ones take minutes",
)
@pytest.mark.parametrize("name", ["oarfocalfusenet-openkbp", "msf3d-openkbp"])
def test_float16_agrees_with_float32_on_real_patients(
    name: str, patients: list[np.ndarray]
) -> None:
    model, info = oarfuse.load_pretrained(name)
    for image in patients:
        exact, rough = (
            predict_labels(model, image, info, device="cpu", precision=precision)
            for precision in ("32-true", "16-mixed")
        )
        organ = (exact > 0) | (rough > 0)
        assert organ.sum() > 1000
        assert (exact == rough)[organ].mean() >= AGREEMENT


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("precision", "remedy"),
    [
        ("16-mixed", "choose the precision 32-true or bf16-mixed."),
        ("bf16-mixed", "the weights or the CT are damaged"),
        ("32-true", "the weights or the CT are damaged"),
    ],
)
def test_scores_that_are_not_finite(precision: str, remedy: str, value: float) -> None:
    image = np.full((16, 16, 16), 50, dtype=np.int16)
    options: dict[str, Any] = {"device": "cpu", "precision": precision}
    for predict, model in (
        (predict_labels, Scores(value)),
        (predict_slices, SliceWise(Scores(value), 16)),
    ):
        more = (16,) if predict is predict_slices else ()
        with pytest.raises(OarfuseError) as caught:
            predict(model, image, INFO, *more, **options)
        said = str(caught.value)
        assert f"are not finite in {precision} precision: " in said
        assert remedy in said
        assert said.count(".") == 1


def test_validation_refuses_them_too(phantom: Path, tmp_path: Path) -> None:
    config = TrainConfig(str(phantom), str(tmp_path), precision="32-true")
    cases = load_manifest(phantom).split("validation")
    with pytest.raises(OarfuseError, match="not finite"):
        validate(Scores(float("nan")), cases, INFO, config)


@pytest.mark.parametrize("value", [1.0, float("nan"), None])
def test_the_callers_model_stays_as_it_was(value: float | None) -> None:
    image = np.full((16, 16, 16), 50, dtype=np.int16)
    for predict, model in (
        (predict_labels, Scores(value)),
        (predict_slices, SliceWise(Scores(value), 16)),
    ):
        model.train()
        frozen = [module for module in model.modules() if isinstance(module, nn.Sequential)]
        for module in frozen:
            module.eval()
        before = {module: module.training for module in model.modules()}
        assert set(before.values()) == {True, False}
        more = (16,) if predict is predict_slices else ()
        try:
            predict(model, image, INFO, *more, device="cpu", precision="32-true")
        except (OarfuseError, KeyError) as error:
            assert value != 1
            assert isinstance(error, KeyError) == (value is None)
        assert {module: module.training for module in model.modules()} == before


@pytest.mark.parametrize("value", [1.0, None])
def test_the_model_goes_back_to_its_device(value: float | None) -> None:
    class Elsewhere(Scores):
        def __init__(self) -> None:
            super().__init__(value)
            self.anywhere = nn.Parameter(torch.zeros(1, device="meta"))  # stands for a GPU
            self.places: list[str] = []

        def to(self, device: torch.device) -> Elsewhere:  # type: ignore[override]
            self.places.append(torch.device(device).type)
            return self

    model = Elsewhere()
    with contextlib.nullcontext() if value else pytest.raises(KeyError):
        predict_labels(model, np.full((16, 16, 16), 50, dtype=np.int16), INFO, device="cpu")
    assert model.places == ["cpu", "meta"]


def test_precision_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def record(*_: object, precision: str, **__: object) -> Path:
        seen.append(precision)
        return tmp_path

    monkeypatch.setattr("oarfuse.prediction.predict_file", record)
    monkeypatch.setattr("oarfuse.evaluation.evaluate", record)
    (tmp_path / "summary.md").write_text("")
    predict = ["predict", "--weights", "a", "--input", "b", "--output", "c"]
    evaluate = ["evaluate", "--weights", "a", "--data", "b", "--output", str(tmp_path)]
    for command in (predict, evaluate):
        seen.clear()
        assert main(command) == 0
        for precision in PRECISIONS:
            assert main([*command, "--precision", precision]) == 0
        assert seen == ["auto", *PRECISIONS]
        with pytest.raises(SystemExit) as caught:
            main([*command, "--precision", "half"])
        assert caught.value.code == 2
        assert "invalid choice: 'half'" in capsys.readouterr().err


def test_damaged_weights_write_no_label_map(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = dataclasses.replace(INFO, patch_size=(64, 64, 64))
    state = info.build().state_dict()
    state["decoder.head.bias"][2] = float("nan")
    save_weights(tmp_path / "weights.safetensors", state, info)
    image = load_manifest(phantom).split("test")[0].image_path
    output = tmp_path / "labels.nii.gz"
    command = ["predict", "--weights", str(tmp_path / "weights.safetensors"), "--device", "cpu"]
    command += ["--input", str(image), "--output", str(output), "--precision", "32-true"]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("oarfuse: error: The network's scores are not finite in 32-true")
    assert said.count("\n") == 1
    assert not output.exists()
