"""Depth-wise 3D convolution on rows ``(B, D, H, W, C)`` and its gradients, as PyTorch operators.

`oarfuse.models.kernels.depthwise_triton` has the kernels. As operators with shapes and gradients of
their own, ``torch.compile`` and ``torch.export`` see through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from oarfuse.models.kernels import depthwise_triton

# Elements of a tile, and the warps that share it: two elements a thread, so that the 27 taps of two
# channels and all sums stay in registers and enough warps are there to hide how long reading takes.
_TILE = 512
_WARPS = 8
# Enough programs to fill a large GPU several times; more would each do too little.
_PROGRAMS = 1024


def _grid(
    batch: int, sides: Sequence[int], channels: int, *, rows_a_thread: int, least_planes: int
) -> tuple[tuple[int, int, int], dict[str, int]]:
    """Share a map of `sides` (D, H, W) out among programs; return the grid and its arguments."""
    depth, height, width = sides
    block = max(128, channels)
    rows = max(_TILE // block, 1)
    tiles = triton.cdiv(width * channels, block), triton.cdiv(height, rows * rows_a_thread)
    chunks = max(_PROGRAMS // (tiles[0] * tiles[1] * batch), 1)
    planes = min(max(triton.cdiv(depth, chunks), least_planes), depth)
    chunks = triton.cdiv(depth, planes)
    arguments = {
        "planes": planes,
        "chunks": chunks,
        "C": channels,
        "B_ROWS": rows,
        "BLOCK": block,
        "num_warps": _WARPS,
    }
    return (*tiles, batch * chunks), arguments


def _taps(weight: Tensor) -> Tensor:
    """Return ``(C, 1, 3, 3, 3)`` as ``(27, C)`` float32."""
    return weight.flatten(1).t().float().contiguous()


@torch.library.custom_op("oarfuse::depthwise_conv3d", mutates_args=())
def depthwise_conv3d(rows: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve rows ``(B, D, H, W, C)`` channel by channel with 3x3x3 taps and zero padding of 1.

    Parameters
    ----------
    rows
        Contiguous; C a power of two.
    weight, bias
        ``(C, 1, 3, 3, 3)`` and ``(C,)`` or None.
    stride
        1 or 2.
    """
    batch, *sides, channels = rows.shape
    taps = _taps(weight)
    has_bias = bias is not None
    output = _empty_output(rows, weight, bias, stride)
    source = (rows, taps, bias if has_bias else taps, output)
    grid, arguments = _grid(
        batch, output.shape[1:4], channels, rows_a_thread=3 - stride, least_planes=4
    )
    if stride == 1:
        depthwise_triton.convolve[grid](*source, *sides, HAS_BIAS=has_bias, **arguments)
    else:
        depthwise_triton.halve[grid](
            *source, *sides, *output.shape[1:4], HAS_BIAS=has_bias, **arguments
        )
    return output


@depthwise_conv3d.register_fake
def _empty_output(rows: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    batch, *sides, channels = rows.shape
    sides = sides if stride == 1 else [(side + 1) // 2 for side in sides]
    return rows.new_empty(batch, *sides, channels)


@torch.library.custom_op("oarfuse::depthwise_conv3d_input_gradient", mutates_args=())
def depthwise_conv3d_input_gradient(
    gradient: Tensor, weight: Tensor, sides: list[int], stride: int
) -> Tensor:
    """Return the gradient of `depthwise_conv3d`'s rows, ``(B, *sides, C)``."""
    batch, *out_sides, channels = gradient.shape
    taps = _taps(weight)
    output = gradient.new_empty(batch, *sides, channels)
    grid, arguments = _grid(batch, out_sides, channels, rows_a_thread=3 - stride, least_planes=4)
    if stride == 1:
        taps = taps.flip(0)
        source = (gradient, taps, taps, output)
        depthwise_triton.convolve[grid](*source, *sides, HAS_BIAS=False, **arguments)
    else:
        depthwise_triton.double[grid](gradient, taps, output, *sides, *out_sides, **arguments)
    return output


@depthwise_conv3d_input_gradient.register_fake
def _(gradient: Tensor, weight: Tensor, sides: list[int], stride: int) -> Tensor:
    return gradient.new_empty(gradient.shape[0], *sides, gradient.shape[-1])


@torch.library.custom_op("oarfuse::depthwise_conv3d_tap_gradient", mutates_args=())
def depthwise_conv3d_tap_gradient(gradient: Tensor, rows: Tensor, stride: int) -> Tensor:
    """Return ``(28, C)`` float32: the gradient of the 27 taps and, last, of the bias."""
    batch, *sides, channels = rows.shape
    out_sides = gradient.shape[1:4]
    # Adding up over positions costs a program as much as some 20 planes: fewer, longer walks.
    grid, arguments = _grid(batch, out_sides, channels, rows_a_thread=3 - stride, least_planes=16)
    sums = rows.new_empty(grid[0] * grid[1] * grid[2], 28, channels, dtype=torch.float32)
    if stride == 1:
        depthwise_triton.tap_gradient[grid](rows, gradient, sums, *sides, **arguments)
    else:
        depthwise_triton.tap_gradient_halved[grid](
            rows, gradient, sums, *sides, *out_sides, **arguments
        )
    return sums.sum(dim=0)


@depthwise_conv3d_tap_gradient.register_fake
def _(gradient: Tensor, rows: Tensor, stride: int) -> Tensor:
    return rows.new_empty(28, rows.shape[-1], dtype=torch.float32)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    rows, weight, bias, stride = inputs
    ctx.save_for_backward(rows, weight)
    ctx.stride, ctx.bias_dtype = stride, None if bias is None else bias.dtype


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    rows, weight = ctx.saved_tensors
    gradient = gradient.contiguous()
    rows_gradient = weight_gradient = bias_gradient = None
    if ctx.needs_input_grad[0]:
        rows_gradient = depthwise_conv3d_input_gradient(
            gradient, weight, list(rows.shape[1:4]), ctx.stride
        )
    if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
        sums = depthwise_conv3d_tap_gradient(gradient, rows, ctx.stride)
        weight_gradient = sums[:27].t().reshape(weight.shape).to(weight.dtype)
        bias_gradient = None if ctx.bias_dtype is None else sums[27].to(ctx.bias_dtype)
    return rows_gradient, weight_gradient, bias_gradient, None


depthwise_conv3d.register_autograd(_backward, setup_context=_save)
