"""What only a GPU can show: `pytest -m gpu` where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from oarfuse import build_model, load_pretrained
from oarfuse.cli import main
from oarfuse.config import StepMode, TrainConfig
from oarfuse.data.feeding import ResidentPatches
from oarfuse.data.manifest import load_manifest
from oarfuse.data.patches import PatchDataset
from oarfuse.losses import deep_supervision_loss
from oarfuse.models import kernels
from oarfuse.models.fast import FastDenseFuse, FastFocalFuse
from oarfuse.runs import read_curves
from oarfuse.steps import TrainStep
from oarfuse.training import train
from oarfuse.weights import load_weights, pretrained_names
from tests.helpers.small_data import write_small_data

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here"),
]
CUDA = torch.device("cuda")


def error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("sides", "channels"),
    [((2, 32, 40, 24), 16), ((1, 33, 31, 17), 32), ((3, 24, 16, 15), 64), ((2, 12, 8, 8), 128)],
)
def test_depthwise_equals_pytorch(
    sides: tuple[int, ...], channels: int, dtype: torch.dtype, stride: int
) -> None:
    assert kernels.backend(CUDA, channels) == "triton"
    torch.manual_seed(0)
    rows = torch.randn(*sides, channels, device=CUDA).to(dtype).requires_grad_()
    taps = torch.randn(channels, 1, 3, 3, 3, device=CUDA, requires_grad=True)
    bias = torch.randn(channels, device=CUDA, requires_grad=True)
    output = kernels.depthwise_conv3d(rows, taps, bias, stride=stride)
    gradient = torch.randn_like(output)
    found = torch.autograd.grad(output, (rows, taps, bias), gradient)
    volume = rows.detach().double().permute(0, 4, 1, 2, 3).contiguous().requires_grad_()
    expected = F.conv3d(volume, taps.double(), bias.double(), stride, 1, groups=channels)
    wanted = torch.autograd.grad(
        expected, (volume, taps, bias), gradient.double().permute(0, 4, 1, 2, 3).contiguous()
    )
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    assert error(output, expected.permute(0, 2, 3, 4, 1)) < tolerance
    assert error(found[0], wanted[0].permute(0, 2, 3, 4, 1)) < tolerance
    assert error(found[1], wanted[1]) < 1e-4
    assert error(found[2], wanted[2]) < 1e-4


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("sides", "channels"), [((2, 48, 64, 64), 16), ((3, 6, 5, 4), 256)])
def test_instance_norm_equals_its_definition(
    sides: tuple[int, ...], channels: int, dtype: torch.dtype, relu: bool
) -> None:
    torch.manual_seed(0)
    rows = (3 * torch.randn(*sides, channels, device=CUDA) + 5).to(dtype)
    volume = rows.permute(0, 4, 1, 2, 3).requires_grad_()
    weight, bias = (torch.randn(channels, device=CUDA, requires_grad=True) for _ in range(2))
    output = kernels.instance_norm(volume, weight, bias, eps=1e-5, relu=relu)
    gradient = torch.randn_like(output)
    found = torch.autograd.grad(output, (volume, weight, bias), gradient)
    values = volume.detach().double().requires_grad_()
    variance, mean = torch.var_mean(values, dim=(2, 3, 4), keepdim=True, correction=0)
    scale, shift = (vector.double().view(-1, 1, 1, 1) for vector in (weight, bias))
    expected = (values - mean) / (variance + 1e-5).sqrt() * scale + shift
    expected = expected.relu() if relu else expected
    wanted = torch.autograd.grad(expected, (values, weight, bias), gradient.double())
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    assert error(output, expected) < tolerance
    # Rounding moves a few of millions of values across the ReLU's zero, each with its gradient.
    at_zero = 2e-3 if relu else 0.0
    assert error(found[0], wanted[0]) < tolerance + at_zero
    for ours, theirs in zip(found[1:], wanted[1:], strict=True):  # sums of either sign
        assert error(ours, theirs) < 10 * tolerance + at_zero


@pytest.mark.parametrize("name", ["oarfocalfusenet", "msf3d"])
def test_fast_block_on_a_gpu_equals_the_readable_one_on_a_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    readable = build_model(name, block="readable")
    fast = build_model(name)
    fast.load_state_dict(readable.state_dict())
    volume = torch.rand(2, 1, 32, 16, 48)
    expected = readable(volume)
    expected.square().mean().backward()
    fast.to(CUDA)
    found = fast(volume.to(CUDA))
    found.square().mean().backward()
    assert error(found.cpu(), expected) < 1e-4
    # Rounding also moves values across a ReLU's zero or to another maximum of a pool: on a CPU
    # gradients of the two blocks differ by up to 1 % for that reason alone.
    wanted = {k: v.grad for k, v in readable.named_parameters() if v.grad is not None}
    largest = max(float(gradient.norm()) for gradient in wanted.values())
    found = {k: v.grad.cpu() for k, v in fast.named_parameters() if v.grad is not None}
    wrong = {
        key: (float((found[key] - gradient).norm()), float(gradient.norm()))
        for key, gradient in wanted.items()
        if (found[key] - gradient).norm() > 0.05 * gradient.norm() + 1e-4 * largest
    }
    assert not wrong


@pytest.mark.parametrize("block", [FastFocalFuse, FastDenseFuse])
def test_fast_blocks_on_a_gpu_equal_those_on_a_cpu(block: type[nn.Module]) -> None:
    """Without pools or normalisation; the dense block's ReLUs alone can still flip."""
    torch.manual_seed(0)
    fuse = block()
    maps = [torch.randn(2, 16 * 2**a, *(s // 2**a for s in (16, 32, 24))) for a in range(4)]

    def run(device: str) -> list[Tensor]:
        inputs = [x.to(device).requires_grad_() for x in maps]
        outputs = fuse.to(device)(inputs)
        total = sum(y.square().sum() for y in outputs)
        found = torch.autograd.grad(total, [*inputs, *fuse.parameters()])
        return [x.detach().cpu() for x in (*outputs, *found)]

    for ours, theirs in zip(run("cuda"), run("cpu"), strict=True):
        assert error(ours, theirs) < 5e-3


def steps(name: str, mode: StepMode, count: int, precision: Any = "32-true") -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = build_model(name).to(CUDA)
    fabric = Fabric(accelerator="cuda", devices=1, precision=precision)
    step = TrainStep(fabric, network, deep_supervision_loss(), ema_decay=0.9, mode=mode)
    step.setup()
    random = torch.Generator(CUDA).manual_seed(1)
    losses = []
    for number in range(count):
        image = torch.rand(2, 1, 32, 32, 16, device=CUDA, generator=random)
        label = torch.randint(0, 6, image.shape, device=CUDA, generator=random)
        losses.append(step(image, label, 1e-3 + 1e-4 * number))
    assert int(step.average.n_averaged) == count
    return {
        **{f"average.{key}": value for key, value in step.average.module.state_dict().items()},
        **network.state_dict(),
        "losses": torch.stack(losses),
    }


@pytest.mark.parametrize("name", ["oarfocalfusenet", "msf3d"])
def test_a_recorded_step_gives_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    eager, graph = (steps(name, mode, 7) for mode in ("eager", "graph"))
    assert graph["losses"][-1] < graph["losses"][0]
    assert all(torch.equal(graph[key], value) for key, value in eager.items())


@pytest.mark.parametrize("name", ["dynunet", "attunet"])
def test_other_networks_can_be_recorded(name: str) -> None:
    torch.manual_seed(0)
    network = build_model(name).to(CUDA)
    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    step = TrainStep(fabric, network, deep_supervision_loss(), ema_decay=0.9, mode="graph")
    step.setup()
    image = torch.rand(2, 1, 32, 32, 32, device=CUDA)
    label = (image > 0.5).long()
    losses = [float(step(image, label, 1e-3)) for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]


def test_volumes_on_the_gpu_give_the_patches_of_the_cpu(tmp_path: Path) -> None:
    write_small_data(tmp_path)
    manifest = load_manifest(tmp_path)
    patches = PatchDataset(
        manifest.split("train"), manifest.spec, (32, 24, 16), length=40, seed=2, augment=True
    )
    batch = ResidentPatches(patches, CUDA).batch(range(40))
    same = 0
    for index in range(40):
        expected = patches[index]
        difference = (batch["image"][index].cpu() - expected["image"]).abs()
        same += bool(difference.max() < 1e-3)  # noise is drawn by each device for itself
        different = (batch["label"][index].cpu() != expected["label"]).float().mean()
        assert different < 1e-3  # a place half-way between two voxels
    assert same >= 20


def test_training_on_a_gpu_resumes_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    write_small_data(tmp_path / "data")
    options: dict[str, Any] = {
        "data": str(tmp_path / "data"),
        "patch_size": (32, 32, 16),
        "validate_every": 100,
        "checkpoint_every": 10,
        "schedule": "cosine",
        "minutes": 5.0,
    }
    whole = train(TrainConfig(**options, output=str(tmp_path / "whole"), steps=20), progress=False)
    parts = tmp_path / "parts"
    train(TrainConfig(**options, output=str(parts), steps=10), progress=False)
    train(TrainConfig(**options, output=str(parts), steps=20), progress=False)
    assert read_curves(parts)["step"].tolist()[:2] == [10, 20]
    assert read_curves(whole)["loss"].iloc[0] > read_curves(whole)["loss"].iloc[1]
    assert load_weights(parts / "weights.safetensors")[1].training["step"] == 20


@pytest.mark.parametrize("name", pretrained_names())
def test_published_weights_are_finite_in_every_precision(name: str) -> None:
    model = load_pretrained(name)[0].to(CUDA)
    torch.manual_seed(0)
    volume = F.avg_pool3d(torch.rand(1, 1, 102, 70, 70, device=CUDA), 7, 1)  # smooth, as tissue
    with torch.inference_mode():
        exact = model(volume).argmax(dim=1)
        for dtype in (torch.float16, torch.bfloat16):
            with torch.autocast("cuda", dtype):
                scores = model(volume)
            assert scores.isfinite().all()
            assert (scores.argmax(dim=1) == exact).float().mean() > 0.99


def test_doctor_finds_the_stored_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert "cuda:0, fast block, 32-true: logits off by" in capsys.readouterr().out
