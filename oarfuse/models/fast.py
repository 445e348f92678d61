"""The fusion blocks again, with the same parameters and the same numbers in a fraction of the time.

Three observations carry this module; notebook 02 derives them step by step.

1. *Mix before resampling.* A 1x1x1 convolution of a concatenation is the sum of 1x1x1 convolutions
   of its parts, and it commutes with average pooling and with interpolation. So each source is
   mixed at its own small resolution and then added; the 240-channel concatenation never exists.
   The transposed convolution (kernel 2, stride 2, no overlap) and the mix that follows it are one
   matrix product.
2. *Rows of channels.* In ``channels_last_3d`` memory a volume is a matrix with one row a voxel, and
   a 1x1x1 convolution is a matrix product with it. Interpolation is a product with a small matrix
   along each axis. Multiplying by a one-channel gate needs a broadcast, which is slow on a CPU; a
   matrix product can give the gate already repeated over the channels.
3. *Depth-wise gradients.* PyTorch's own take 20 to 100 times longer than they must, on a CPU and on
   a GPU. `oarfuse.models.kernels` has quick ones for both.

Functions work on *rows*: ``(B, D, H, W, C)``, contiguous, the view of a channels-last volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.models.dense_fuse import DenseFuse, DenseLayer
from oarfuse.models.encoder_decoder import STREAMS
from oarfuse.models.focal_fuse import (
    CrossScaleMix,
    FocalFuse,
    FocalLevel,
    FocalStream,
    Resample,
    modulate,
)
from oarfuse.models.kernels import depthwise_conv3d as convolve_rows
from oarfuse.models.kernels import linear, to_rows, to_volume


def _apply(rows: Tensor, conv: nn.Conv3d) -> Tensor:
    return linear(rows, conv.weight.flatten(1), conv.bias)


def depthwise_conv3d(volume: Tensor, conv: nn.Conv3d) -> Tensor:
    """Apply a depth-wise `conv` to ``(B, C, D, H, W)``: same values, quick gradients."""
    return to_volume(_convolve(to_rows(volume), conv))


def _convolve(rows: Tensor, conv: nn.Conv3d) -> Tensor:
    return convolve_rows(rows, conv.weight, conv.bias, stride=conv.stride[0])


@lru_cache(maxsize=64)
def _cached_interpolation(
    size: int, factor: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # A matrix first made while predicting must serve training too: no inference-mode tensor.
    with torch.inference_mode(False):
        return _interpolation(size, factor, dtype, device)


def _interpolation(size: int, factor: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return ``(factor * size, size)``: linear interpolation of one axis as a matrix.

    Place i lies at (i + 1/2) / factor - 1/2 between two voxels, or on the first or last one.
    """
    place = ((torch.arange(factor * size, device=device) + 0.5) / factor - 0.5).clamp(0, size - 1)
    voxel = torch.arange(size, device=device)
    return (1 - (place[:, None] - voxel).abs()).clamp(min=0).to(dtype)


def add_interpolated(total: Tensor, rows: Tensor, factor: int) -> Tensor:
    """Return ``total + trilinear(rows)``; `rows` is `factor` times smaller along D, H and W."""
    batch, depth, height, width, channels = rows.shape
    # While compiling a side may be a symbol, and making the matrix is compiled away.
    make = _interpolation if torch.compiler.is_compiling() else _cached_interpolation

    def along(size: int) -> Tensor:
        return make(size, factor, rows.dtype, rows.device)

    # The smallest tensors first; the last product, along D, adds to the total as it writes.
    # All sizes are spelled out: for -1, `torch.export` with symbols for sides would divide them.
    wide = factor * width * channels
    large = factor * height * wide
    rows = along(width) @ rows.reshape(batch * depth * height, width, channels)
    rows = along(height) @ rows.reshape(batch * depth, height, wide)
    summed = torch.baddbmm(
        total.reshape(batch, factor * depth, large),
        along(depth).expand(batch, -1, -1),
        rows.reshape(batch, depth, large),
    )
    return summed.view(total.shape)


def _add_from_below(total: Tensor, rows: Tensor, resample: Resample, mix: Tensor) -> Tensor:
    """Add a lower-resolution source: transposed convolution and mix as one product, interpolate.

    `rows` is ``(B, d, h, w, C_b)``, `mix` the ``(C_a, C_b)`` part of the 1x1x1 convolution, and
    `total` ``(B, D, H, W, C_a)``.
    """
    batch, depth, height, width, _ = rows.shape
    conv = resample.conv
    # (C_b, 2, 2, 2, C_a): what each source channel adds to each of its eight children
    weight = torch.einsum("bzyx,ab->bzyxa", conv.weight[:, 0], mix)
    if torch.compiler.is_exporting():  # with symbols for sides, views would take it minutes
        kernel = weight.permute(0, 4, 1, 2, 3)
        small = to_rows(F.conv_transpose3d(to_volume(rows), kernel, stride=2))
    else:
        children = linear(rows, weight.flatten(1).t())  # (B, d, h, w, 8 C_a)
        children = children.view(batch, depth, height, width, 2, 2, 2, mix.shape[0])
        children = children.permute(0, 1, 4, 2, 5, 3, 6, 7)  # (B, d, 2, h, 2, w, 2, C_a)
        if resample.factor == 1:
            return (total.view(children.shape) + children).view(total.shape)
        small = children.reshape(batch, 2 * depth, 2 * height, 2 * width, mix.shape[0])
    return (
        total + small if resample.factor == 1 else add_interpolated(total, small, resample.factor)
    )


def _pool(rows: Tensor, factor: int, pooling: str) -> Tensor:
    """Pool rows ``(B, D, H, W, C)``; the average over views, which also runs in bfloat16."""
    if pooling == "max":
        return to_rows(F.max_pool3d(to_volume(rows), factor))
    if torch.compiler.is_exporting():  # see `_add_from_below`
        return to_rows(F.avg_pool3d(to_volume(rows), factor))
    for axis in (1, 2, 3):  # one axis at a time is many times quicker than all at once
        rows = rows.unflatten(axis, (rows.shape[axis] // factor, factor)).mean(dim=axis + 1)
    return rows


def cross_scale_mix(
    fuse: CrossScaleMix, own: Sequence[Tensor], newest: Mapping[int, Tensor]
) -> Tensor:
    """Compute `CrossScaleMix.forward` on rows without concatenating or resampling wide maps."""
    width = fuse.mix.out_channels
    weight = fuse.mix.weight.flatten(1)  # (C_a, own and other channels)
    bias = cast(Tensor, fuse.mix.bias)
    resamples = cast(Mapping[str, Resample], fuse.resample)
    parts = weight.split([width] * len(own) + [newest[int(b)].shape[-1] for b in resamples], 1)
    own_weights, other_weights = parts[: len(own)], parts[len(own) :]
    for mix, resample in zip(other_weights, resamples.values(), strict=True):
        if not resample.downwards:  # a bias passes through interpolation as it is
            bias = bias + mix @ cast(Tensor, resample.conv.bias)

    total = linear(own[0], own_weights[0], bias)
    for rows, mix in zip(own[1:], own_weights[1:], strict=True):
        total = total + linear(rows, mix)
    for (other, resample), mix in zip(resamples.items(), other_weights, strict=True):
        source = newest[int(other)]
        if resample.downwards:
            small = _convolve(source, cast(nn.Conv3d, resample.conv))
            if resample.factor > 1:
                small = _pool(small, resample.factor, resample.pooling)
            total = total + linear(small, mix)
        else:
            total = _add_from_below(total, source, resample, mix)
    return total


def _gated_sum(
    stream: FocalStream, first: Tensor, contexts: Sequence[Tensor], with_global: bool
) -> Tensor:
    """Return the sum over levels of ``F[a,l] * G[a,l]`` (Eq. 4) on rows, the global level last."""
    if stream.gate is None:
        total = contexts[0]
        for context in contexts[1:]:
            total = total + context
        return total + _global_context(contexts[-1])[:, None, None, None] if with_global else total
    weights = stream.gate.weight.flatten(1)  # (N+1, C_a)
    biases = cast(Tensor, stream.gate.bias)  # (N+1,)
    if first.device.type in ("cpu", "meta"):  # costs are counted on "meta", as those of a CPU
        return _gated_sum_by_products(weights, biases, first, contexts, with_global)
    gates = linear(first, weights, biases).split(1, dim=-1)  # N+1 times (B, D, H, W, 1), Eq. 3
    total = gates[0] * contexts[0]
    for gate, context in zip(gates[1:], contexts[1:], strict=False):
        total = torch.addcmul(total, gate, context)
    if with_global:
        average = contexts[-1].mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float32)
        total = torch.addcmul(total, gates[-1], average.to(total.dtype))
    return total


def _gated_sum_by_products(
    weights: Tensor,
    biases: Tensor,
    first: Tensor,
    contexts: Sequence[Tensor],
    with_global: bool,
) -> Tensor:
    """`_gated_sum` without broadcasts, which are slow on a CPU."""
    channels = first.shape[-1]

    def gate(level: int) -> Tensor:
        # The gate's weights repeated: the product gives the gate repeated over the channels.
        return linear(first, weights[level].expand(channels, -1), biases[level].expand(channels))

    total = gate(0) * contexts[0]
    for level, context in enumerate(contexts[1:], start=1):
        total = total + gate(level) * context  # backward through `addcmul` makes two more products
    if not with_global:
        return total
    # The global level is one vector g a volume: g * (F0 . w + b) is a product with (g w^T).
    context = _global_context(contexts[-1]).to(weights.dtype)  # (B, C_a)
    gated = [
        linear(rows, vector[:, None] * weights[-1], vector * biases[-1])
        for rows, vector in zip(first.split(1), context, strict=True)
    ]
    return total + (torch.cat(gated) if len(gated) > 1 else gated[0])


def _global_context(rows: Tensor) -> Tensor:
    """Average rows over the volume: ``(B, D, H, W, C) -> (B, C)``, as a product with a constant.

    A plain sum over a volume exceeds what float16 holds, 65,504. The constant is a power of two,
    so that no digit is lost: about 1 / voxels, but at least float16's smallest normal number.
    """
    if torch.compiler.is_compiling():  # where the number of voxels may be a symbol
        return rows.mean(dim=(1, 2, 3), dtype=torch.float32)
    flat = rows.flatten(1, 3)  # (B, D H W, C)
    voxels = flat.shape[1]
    # `torch.jit.trace` has a tensor there and keeps the share: any power of two is right.
    share = 2.0 ** -min(14, int(voxels).bit_length() - 1)
    shares = flat.new_full((flat.shape[0], 1, voxels), share)
    return (shares @ flat)[:, 0].float() / (voxels * share)


class FastFocalFuse(FocalFuse):
    """`FocalFuse` with the same parameters, state dict and results, made for speed and memory."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return ``[Y1, Y2, Y3, Y4]``, each ``(B, C_a, D_a, H_a, W_a)`` in channels-last memory."""
        inputs = {a: to_rows(feature) for a, feature in zip(STREAMS, features, strict=True)}
        streams = self.by_number()
        first = {a: _apply(inputs[a], stream.project) for a, stream in streams.items()}  # Eq. 1
        history = [first]
        for level in range(self.focal_levels):  # Eq. 2
            newest = {}
            for a, stream in streams.items():
                layer = cast(FocalLevel, stream.levels[level])
                mixed = cross_scale_mix(layer.fuse, [history[-1][a]], history[-1])
                newest[a] = F.gelu(_convolve(mixed, layer.depthwise))
            history.append(newest)
        outputs = []
        for a, stream in streams.items():
            contexts = [level[a] for level in history[1:]]
            # Eq. 3 and 4
            gathered = _gated_sum(stream, first[a], contexts, self.options.global_context)
            modulator = _apply(gathered, stream.modulate)
            outputs.append(to_volume(modulate(modulator, _apply(inputs[a], stream.query))))  # Eq. 5
        return outputs


class FastDenseFuse(DenseFuse):
    """`DenseFuse` with the same parameters, state dict and results, made for speed and memory."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return ``[Y1, Y2, Y3, Y4]``, each ``(B, C_a, D_a, H_a, W_a)`` in channels-last memory."""
        history = {a: [to_rows(feature)] for a, feature in zip(STREAMS, features, strict=True)}
        for layer in self.layers:
            newest = {a: maps[-1] for a, maps in history.items()}
            for a, dense in zip(STREAMS, cast(Iterable[DenseLayer], layer), strict=True):
                mixed = cross_scale_mix(dense.fuse, history[a], newest)
                history[a].append(F.relu(_convolve(mixed, dense.depthwise)))
        return [to_volume(history[a][-1]) for a in STREAMS]
