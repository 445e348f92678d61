"""Instance normalisation with the ReLU behind it on rows ``(B, D, H, W, C)``, as Triton kernels.

PyTorch normalises contiguous volumes: rows would be copied there and back, or normalised one sample
a call. Here all samples go through two kernels forward and two backward, and every map is read as
often as it must: once for its moments and once to normalise.

Sums over a sample are taken in two stages without atomics: programs add up their share, and who
needs the total adds the shares in a fixed order. The same input gives the same bits.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 2048  # elements that a program works on at a time
_SHARES = 256  # of a sample, at most: each is one program
_SIZES = ("voxels", "share", "shares")


@triton.jit
def _read(x_ptr, sample, first, last, voxels, C: tl.constexpr, ROWS: tl.constexpr):
    """Read up to `ROWS` rows of a sample from `first` on as float32, with offsets and mask."""
    row = first + tl.arange(0, ROWS)[:, None]
    offset = (sample * voxels + row) * C + tl.arange(0, C)[None, :]
    mask = (row < last) & (offset >= 0)
    return tl.load(x_ptr + offset, mask=mask, other=0.0).to(tl.float32), offset, mask


@triton.jit
def _totals(shares_ptr, sample, shares, C: tl.constexpr, SHARES: tl.constexpr):
    """Add up a sample's shares, ``(shares, 2, C)``; return both sums, ``(1, C)``."""
    share = tl.arange(0, SHARES)[:, None]
    place = ((sample * shares + share) * 2) * C + tl.arange(0, C)[None, :]
    mask = (share < shares) & (place >= 0)
    first = tl.sum(tl.load(shares_ptr + place, mask=mask, other=0.0), axis=0)
    second = tl.sum(tl.load(shares_ptr + place + C, mask=mask, other=0.0), axis=0)
    return first[None, :], second[None, :]


@triton.jit
def _store_share(shares_ptr, sample, shares, first, second, C: tl.constexpr):
    place = ((sample * shares + tl.program_id(0)) * 2) * C + tl.arange(0, C)
    tl.store(shares_ptr + place, tl.sum(first, axis=0))
    tl.store(shares_ptr + place + C, tl.sum(second, axis=0))


@triton.jit(do_not_specialize=_SIZES)
def _moments(
    x_ptr, shares_ptr, voxels, share, shares, C: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Sums of a share's values and squares, counted from the sample's first row.

    Counted from a value of the same map, the squares stay small where the mean is large.
    """
    sample = tl.program_id(1).to(tl.int64)
    start = tl.program_id(0) * share
    last = min(start + share, voxels)
    pivot = tl.load(x_ptr + sample * voxels * C + tl.arange(0, C)[None, :]).to(tl.float32)
    first = tl.zeros([ROWS, C], tl.float32)
    second = tl.zeros([ROWS, C], tl.float32)
    for row in range(start, last, ROWS):
        value, _, mask = _read(x_ptr, sample, row, last, voxels, C, ROWS)
        value = tl.where(mask, value - pivot, 0.0)
        first += value
        second += value * value
    _store_share(shares_ptr, sample, shares, first, second, C)


@triton.jit(do_not_specialize=_SIZES)
def _normalise(
    x_ptr, shares_ptr, weight_ptr, bias_ptr, y_ptr, moments_ptr, eps, voxels, share, shares,
    C: tl.constexpr, ROWS: tl.constexpr, SHARES: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Normalise a share of a sample, and let the first one store mean and 1 / deviation."""
    sample = tl.program_id(1).to(tl.int64)
    start = tl.program_id(0) * share
    last = min(start + share, voxels)
    channel = tl.arange(0, C)[None, :]
    first, second = _totals(shares_ptr, sample, shares, C, SHARES)
    shift = first / voxels
    variance = tl.maximum(second / voxels - shift * shift, 0.0)
    mean = shift + tl.load(x_ptr + sample * voxels * C + channel).to(tl.float32)
    scale = 1 / tl.sqrt(variance + eps)
    if tl.program_id(0) == 0:
        tl.store(moments_ptr + sample * 2 * C + channel, mean)
        tl.store(moments_ptr + (sample * 2 + 1) * C + channel, scale)
    weight = tl.load(weight_ptr + channel).to(tl.float32)
    bias = tl.load(bias_ptr + channel).to(tl.float32)
    for row in range(start, last, ROWS):
        value, offset, mask = _read(x_ptr, sample, row, last, voxels, C, ROWS)
        value = (value - mean) * scale * weight + bias
        if RELU:
            value = tl.maximum(value, 0.0)
        tl.store(y_ptr + offset, value.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _read_gradient(
    x_ptr, g_ptr, mean, scale, weight, bias, sample, row, last, voxels,
    C: tl.constexpr, ROWS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Return normalised values and the gradient before the ReLU, with their place."""
    value, offset, mask = _read(x_ptr, sample, row, last, voxels, C, ROWS)
    gradient = tl.load(g_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    value = (value - mean) * scale
    if RELU:
        gradient = tl.where(value * weight + bias > 0, gradient, 0.0)
    return value, gradient, offset, mask


@triton.jit(do_not_specialize=_SIZES)
def _gradient_sums(
    x_ptr, g_ptr, weight_ptr, bias_ptr, moments_ptr, shares_ptr, voxels, share, shares,
    C: tl.constexpr, ROWS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Sums of the gradient, and of the gradient times the normalised value, over a share."""
    sample = tl.program_id(1).to(tl.int64)
    start = tl.program_id(0) * share
    last = min(start + share, voxels)
    channel = tl.arange(0, C)[None, :]
    mean = tl.load(moments_ptr + sample * 2 * C + channel)
    scale = tl.load(moments_ptr + (sample * 2 + 1) * C + channel)
    weight = tl.load(weight_ptr + channel).to(tl.float32)
    bias = tl.load(bias_ptr + channel).to(tl.float32)
    first = tl.zeros([ROWS, C], tl.float32)
    second = tl.zeros([ROWS, C], tl.float32)
    for row in range(start, last, ROWS):
        value, gradient, _, _ = _read_gradient(
            x_ptr, g_ptr, mean, scale, weight, bias, sample, row, last, voxels, C, ROWS, RELU
        )
        first += gradient
        second += gradient * value
    _store_share(shares_ptr, sample, shares, first, second, C)


@triton.jit(do_not_specialize=_SIZES)
def _input_gradient(
    x_ptr, g_ptr, weight_ptr, bias_ptr, moments_ptr, shares_ptr, dx_ptr, voxels, share, shares,
    C: tl.constexpr, ROWS: tl.constexpr, SHARES: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    sample = tl.program_id(1).to(tl.int64)
    start = tl.program_id(0) * share
    last = min(start + share, voxels)
    channel = tl.arange(0, C)[None, :]
    first, second = _totals(shares_ptr, sample, shares, C, SHARES)
    mean = tl.load(moments_ptr + sample * 2 * C + channel)
    scale = tl.load(moments_ptr + (sample * 2 + 1) * C + channel)
    weight = tl.load(weight_ptr + channel).to(tl.float32)
    bias = tl.load(bias_ptr + channel).to(tl.float32)
    for row in range(start, last, ROWS):
        value, gradient, offset, mask = _read_gradient(
            x_ptr, g_ptr, mean, scale, weight, bias, sample, row, last, voxels, C, ROWS, RELU
        )
        gradient = (gradient - first / voxels - value * (second / voxels)) * scale * weight
        tl.store(dx_ptr + offset, gradient.to(dx_ptr.dtype.element_ty), mask=mask)


def _shares(rows: Tensor) -> tuple[tuple[int, int], tuple[int, int, int], dict[str, int]]:
    """Return the grid, ``(voxels, share, shares)`` and the sizes that kernels are compiled for."""
    batch, *sides, channels = rows.shape
    voxels = sides[0] * sides[1] * sides[2]
    tile = max(_TILE // channels, 1)
    share = triton.cdiv(triton.cdiv(voxels, _SHARES), tile) * tile
    shares = triton.cdiv(voxels, share)
    return (shares, batch), (voxels, share, shares), {"C": channels, "ROWS": tile}


@torch.library.custom_op("oarfuse::instance_norm", mutates_args=())
def _instance_norm(
    rows: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool
) -> tuple[Tensor, Tensor]:
    """Return the normalised rows, and ``(B, 2, C)`` mean and 1 / deviation, for the gradient."""
    grid, sizes, constants = _shares(rows)
    channels = rows.shape[-1]
    shares = rows.new_empty(grid[1], grid[0], 2, channels, dtype=torch.float32)
    output = torch.empty_like(rows)
    moments = rows.new_empty(grid[1], 2, channels, dtype=torch.float32)
    _moments[grid](rows, shares, *sizes, **constants)
    _normalise[grid](
        rows, shares, weight, bias, output, moments, eps, *sizes,
        **constants, SHARES=triton.next_power_of_2(grid[0]), RELU=relu,
    )  # fmt: skip
    return output, moments


@_instance_norm.register_fake
def _(rows: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool) -> tuple[Tensor, Tensor]:
    moments = rows.new_empty(rows.shape[0], 2, rows.shape[-1], dtype=torch.float32)
    return torch.empty_like(rows), moments


@torch.library.custom_op("oarfuse::instance_norm_backward", mutates_args=())
def _instance_norm_backward(
    gradient: Tensor, rows: Tensor, weight: Tensor, bias: Tensor, moments: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the rows, and ``(2, C)`` those of bias and weight."""
    grid, sizes, constants = _shares(rows)
    shares = rows.new_empty(grid[1], grid[0], 2, rows.shape[-1], dtype=torch.float32)
    output = torch.empty_like(rows)
    source = (rows, gradient, weight, bias, moments, shares)
    _gradient_sums[grid](*source, *sizes, **constants, RELU=relu)
    _input_gradient[grid](
        *source, output, *sizes, **constants, SHARES=triton.next_power_of_2(grid[0]), RELU=relu
    )
    return output, shares.sum(dim=(0, 1))


@_instance_norm_backward.register_fake
def _(
    gradient: Tensor, rows: Tensor, weight: Tensor, bias: Tensor, moments: Tensor, relu: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows), rows.new_empty(2, rows.shape[-1], dtype=torch.float32)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    rows, weight, bias, _, relu = inputs
    ctx.save_for_backward(rows, weight, bias, output[1])
    ctx.relu = relu
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    rows, weight, bias, moments = ctx.saved_tensors
    found, sums = _instance_norm_backward(
        gradient.contiguous(), rows, weight, bias, moments, ctx.relu
    )
    return found, sums[1].to(weight.dtype), sums[0].to(bias.dtype), None, None


_instance_norm.register_autograd(_backward, setup_context=_save)


def instance_norm(rows: Tensor, weight: Tensor, bias: Tensor, *, eps: float, relu: bool) -> Tensor:
    """Normalise contiguous rows ``(B, D, H, W, C)`` per sample and channel, C a power of two."""
    output: Tensor = _instance_norm(rows, weight, bias, eps, relu)[0]
    return output
