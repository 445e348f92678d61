"""The GPU's kernels without a GPU: under Triton's interpreter, against PyTorch."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed, so its kernels cannot run")
if torch.cuda.is_available():  # conftest.py turns the interpreter on where there is no GPU
    pytest.skip("test_gpu.py runs the kernels on this GPU", allow_module_level=True)


@pytest.fixture(scope="module")
def depthwise() -> ModuleType:
    return importlib.import_module("oarfuse.models.kernels.depthwise")


@pytest.fixture(scope="module")
def norm() -> ModuleType:
    return importlib.import_module("oarfuse.models.kernels.norm")


def error(found: Tensor, expected: Tensor) -> float:
    difference = (found.double() - expected.double()).norm()
    return float(difference.detach() / expected.detach().double().norm().clamp(min=1e-6))


def volume_of(rows: Tensor) -> Tensor:
    return rows.permute(0, 4, 1, 2, 3)


# Odd sides, a side of one, more channels than a tile's line, and each type.
CASES = [
    ((2, 5, 6, 7), 4, torch.float32),
    ((1, 1, 3, 2), 16, torch.float32),
    ((1, 3, 2, 3), 128, torch.float32),
    ((2, 4, 5, 6), 16, torch.bfloat16),
    ((2, 4, 5, 6), 16, torch.float16),
]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("sides", "channels", "dtype"), CASES)
def test_depthwise_equals_pytorch_in_values_and_gradients(
    depthwise: ModuleType, sides: tuple[int, ...], channels: int, dtype: torch.dtype, stride: int
) -> None:
    torch.manual_seed(0)
    rows = torch.randn(*sides, channels).to(dtype).requires_grad_()
    taps = torch.randn(channels, 1, 3, 3, 3, requires_grad=True)
    bias = torch.randn(channels, requires_grad=True)
    output = depthwise.depthwise_conv3d(rows, taps, bias, stride)
    gradient = torch.randn_like(output)
    found = torch.autograd.grad(output, (rows, taps, bias), gradient)

    volume = volume_of(rows.detach().double()).contiguous().requires_grad_()
    expected = F.conv3d(volume, taps.double(), bias.double(), stride, 1, groups=channels)
    gradients = torch.autograd.grad(expected, (volume, taps, bias), volume_of(gradient.double()))
    tolerance = 1e-6 if dtype == torch.float32 else 5e-3
    assert output.dtype == found[0].dtype == dtype
    assert error(volume_of(output), expected) < tolerance
    assert error(volume_of(found[0]), gradients[0]) < tolerance
    # Taps and bias are summed in float32 from the very numbers that PyTorch got.
    assert error(found[1], gradients[1]) < 1e-5
    assert error(found[2], gradients[2]) < 1e-5


def test_depthwise_without_a_bias_and_by_hand(depthwise: ModuleType) -> None:
    """One voxel in the middle comes out as the taps, reversed along each axis."""
    rows = torch.zeros(1, 3, 3, 3, 4)
    rows[0, 1, 1, 1] = 1
    taps = torch.arange(4 * 27.0).reshape(4, 1, 3, 3, 3)
    output = depthwise.depthwise_conv3d(rows, taps, None, 1)
    assert torch.equal(volume_of(output)[0], taps[:, 0].flip(1, 2, 3))
    halved = depthwise.depthwise_conv3d(rows, taps, None, 2)  # voxels 0 and 2 of each axis
    assert torch.equal(volume_of(halved)[0], taps[:, 0].flip(1, 2, 3)[:, ::2, ::2, ::2])


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("sides", "channels", "dtype"), CASES)
def test_instance_norm_equals_pytorch_far_from_zero(
    norm: ModuleType, sides: tuple[int, ...], channels: int, dtype: torch.dtype, relu: bool
) -> None:
    torch.manual_seed(0)
    far = 50 * torch.randn(channels)  # where a plain sum of squares would cancel
    rows = (3 * torch.randn(*sides, channels) + far).to(dtype).requires_grad_()
    weight, bias = (torch.randn(channels, requires_grad=True) for _ in range(2))
    output = norm.instance_norm(rows, weight, bias, eps=1e-5, relu=relu)
    gradient = torch.randn_like(output)
    found = torch.autograd.grad(output, (rows, weight, bias), gradient)

    values = rows.detach().double().requires_grad_()  # the definition, in double precision
    variance, mean = torch.var_mean(values, dim=(1, 2, 3), keepdim=True, correction=0)
    expected = (values - mean) / (variance + 1e-5).sqrt() * weight + bias
    expected = expected.relu() if relu else expected
    gradients = torch.autograd.grad(expected, (values, weight, bias), gradient.double())
    tolerance = 2e-6 if dtype == torch.float32 else 5e-3
    assert error(output, expected) < tolerance
    assert error(found[0], gradients[0]) < tolerance
    assert error(found[1], gradients[1]) < 1e-5
    assert error(found[2], gradients[2]) < 1e-5


def test_instance_norm_of_one_voxel_is_the_bias(norm: ModuleType) -> None:
    """The bottleneck of a 16^3 volume, which PyTorch's instance norm refuses."""
    rows, weight = torch.randn(2, 1, 1, 1, 16), torch.ones(16)
    bias = torch.randn(16)
    output = norm.instance_norm(rows, weight, bias, eps=1e-5, relu=False)
    assert torch.equal(output, bias.expand_as(output))


@pytest.mark.parametrize("stride", [1, 2])
def test_operators_tell_shapes_and_gradients_to_pytorchs_compiler(
    depthwise: ModuleType, norm: ModuleType, stride: int
) -> None:
    rows = torch.randn(1, 3, 2, 3, 16, requires_grad=True)
    taps = torch.randn(16, 1, 3, 3, 3, requires_grad=True)
    bias = torch.randn(16, requires_grad=True)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(depthwise.depthwise_conv3d, (rows, taps, bias, stride), test_utils=checks)
    weight = torch.randn(16, requires_grad=True)
    torch.library.opcheck(norm._instance_norm, (rows, weight, bias, 1e-5, True), test_utils=checks)
