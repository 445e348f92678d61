"""The fast blocks give the readable blocks' values and gradients from the same state dict."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oarfuse.models.dense_fuse import DenseFuse
from oarfuse.models.fast import (
    FastDenseFuse,
    FastFocalFuse,
    add_interpolated,
    depthwise_conv3d,
    to_rows,
    to_volume,
)
from oarfuse.models.focal_fuse import FocalFuse

CHANNELS = (16, 32, 64, 128)


def relative(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the largest reference value."""
    return float((ours - reference).abs().max() / (reference.abs().max() + 1e-12))


def results(block: nn.Module, sides: tuple[int, ...], batch: int) -> dict[str, Tensor]:
    """Outputs, input gradients and parameter gradients for fixed random maps, in float64.

    In float32 a unit that lies on ReLU's zero to rounding may fall on either side of it.
    """
    block.double()
    random = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(batch, c, *(s // 2**a for s in sides), generator=random)
        .double()
        .requires_grad_()
        for a, c in enumerate(CHANNELS)
    ]
    outputs = block(maps)
    weights = [torch.randn(y.shape, generator=random) for y in outputs]
    sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)).backward()
    found = {f"Y{a}": y.detach() for a, y in enumerate(outputs, 1)}
    found |= {f"dI{a}": map_.grad for a, map_ in enumerate(maps, 1)}
    return found | {name: p.grad for name, p in block.named_parameters()}


def assert_equal_blocks(
    readable: nn.Module, fast: nn.Module, sides: tuple[int, ...], batch: int = 1
) -> None:
    fast.load_state_dict(readable.state_dict())
    reference, ours = results(readable, sides, batch), results(fast, sides, batch)
    assert reference.keys() == ours.keys()
    worst = {name: relative(ours[name], reference[name]) for name in reference}
    assert {name: value for name, value in worst.items() if value > 1e-6} == {}


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_focal_fuse(levels: int, pooling: str) -> None:
    torch.manual_seed(levels)
    options: dict[str, Any] = {"focal_levels": levels, "pooling": pooling}
    # 24 and 40 leave odd sides (3 and 5) in stream 4
    assert_equal_blocks(FocalFuse(**options), FastFocalFuse(**options), (16, 24, 40))


@pytest.mark.parametrize(
    "options",
    [
        {"exchange": False},
        {"gates": False},
        {"global_context": False},
        {"gates": False, "global_context": False},
        {"down_kernel": 5},
    ],
)
def test_focal_fuse_options(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    assert_equal_blocks(FocalFuse(**options), FastFocalFuse(**options), (16, 8, 24), batch=2)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("layers", [1, 3])
def test_dense_fuse(layers: int, pooling: str) -> None:
    torch.manual_seed(layers)
    options: dict[str, Any] = {"dense_layers": layers, "pooling": pooling}
    assert_equal_blocks(DenseFuse(**options), FastDenseFuse(**options), (16, 24, 40), batch=2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("channels", [3, 16, 48])
def test_depthwise_gradients(channels: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv: Any = nn.Conv3d(
        channels, channels, kernel, stride=stride, padding=kernel // 2, groups=channels
    )
    volume = torch.randn(2, channels, 6, 8, 10)
    found = []
    for function in (conv, lambda x: depthwise_conv3d(x, conv)):
        conv.zero_grad()
        x = volume.clone().requires_grad_()
        y = function(x)
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        found.append((y.detach(), x.grad, conv.weight.grad.clone(), conv.bias.grad.clone()))
    for reference, ours in zip(*found, strict=True):
        assert relative(ours, reference) < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    "sides", [(1, 1, 1), (1, 2, 3), (2, 4, 4), (2, 2, 2), (4, 2, 4), (3, 5, 7)]
)
def test_bfloat16_depthwise_gradients_of_thin_maps(
    sides: tuple[int, int, int], kernel: int, stride: int
) -> None:
    torch.manual_seed(0)
    conv: Any = nn.Conv3d(16, 16, kernel, stride=stride, padding=kernel // 2, groups=16)
    with torch.no_grad():  # both precisions start from the same numbers
        conv.weight.copy_(conv.weight.bfloat16())
    volume = torch.randn(2, 16, *sides).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    found = []
    for function in (conv, lambda x: depthwise_conv3d(x, conv)):
        conv.zero_grad()
        rough = function is not conv
        with torch.autocast("cpu", torch.bfloat16, enabled=rough):
            y = function(volume if rough else volume.float())
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
        (y.float() * weights).sum().backward()
        found.append(conv.weight.grad.clone())
    assert relative(found[1], found[0]) < 0.02


@pytest.mark.parametrize("factor", [2, 4])
def test_interpolation_as_matrices(factor: int) -> None:
    volume = torch.randn(2, 3, 2, 5, 4)
    total = torch.randn(2, 3, 2 * factor, 5 * factor, 4 * factor)
    reference = total + nn.functional.interpolate(volume, scale_factor=factor, mode="trilinear")
    ours = add_interpolated(to_rows(total), to_rows(volume), factor)
    torch.testing.assert_close(to_volume(ours), reference, rtol=1e-5, atol=1e-5)


def test_autocast_stays_close_and_keeps_the_memory_layout() -> None:
    torch.manual_seed(0)
    block = FastFocalFuse()
    maps = [torch.randn(1, c, *(s // 2**a for s in (16, 16, 32))) for a, c in enumerate(CHANNELS)]
    exact = [y.detach() for y in block(maps)]
    with torch.autocast("cpu", torch.bfloat16):
        rough = block(maps)
    for reference, ours in zip(exact, rough, strict=True):
        assert ours.dtype == torch.bfloat16
        assert ours.is_contiguous(memory_format=torch.channels_last_3d)
        assert float((ours.detach() - reference).norm() / reference.norm()) < 0.03


def test_other_devices_take_pytorchs_own_depthwise_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The CPU-only gradient is never dispatched elsewhere (the meta device stands for a GPU)."""
    from oarfuse.models.kernels import cpu

    def forbidden(*_: object) -> Tensor:
        raise AssertionError("CPU path taken")

    monkeypatch.setattr(cpu._DepthwiseConv3d, "apply", forbidden)
    with torch.device("meta"):
        block = FastFocalFuse()
        maps = [
            torch.empty(1, c, *(s // 2**a for s in (16, 16, 32))) for a, c in enumerate(CHANNELS)
        ]
        assert block(maps)[0].shape == (1, 16, 16, 16, 32)
    with pytest.raises(AssertionError, match="CPU path"):
        depthwise_conv3d(torch.zeros(1, 4, 4, 4, 4), nn.Conv3d(4, 4, 3, padding=1, groups=4))


def test_training_works_after_predicting_at_the_same_size() -> None:
    block = FastFocalFuse(focal_levels=1)
    maps = [torch.randn(1, c, *(s // 2**a for s in (8, 56, 72))) for a, c in enumerate(CHANNELS)]
    with torch.inference_mode():  # the first call at this size fills the cache of matrices
        block(maps)
    sum(y.sum() for y in block(maps)).backward()
    assert block.by_number()[4].project.weight.grad is not None
