"""Quick gradients on a CPU: of the depth-wise 3D convolution, and of a bias.

PyTorch's depth-wise convolution runs forward at the speed of memory, but its CPU gradients are 20
to 100 times slower. The gradient of the input is itself a depth-wise convolution with the flipped
kernel. The gradient of the kernel is taken one slice of the kernel at a time, each a depth-wise
*2D* convolution's, for which there are quick CPU kernels.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def _depthwise_weight_gradient(
    gradient: Tensor, volume: Tensor, weight: Tensor, stride: int
) -> tuple[Tensor, Tensor]:
    """Return the gradients ``(C, 1, k, k, k)`` and ``(C,)`` of a depth-wise kernel and its bias.

    `gradient` is that of the output, ``(B, C, D', H', W')``; both maps are in channels-last memory.
    The middle slices of the kernel meet every output slice, so their call gives the bias's too.
    """
    channels, kernel, depth = weight.shape[0], weight.shape[-1], volume.shape[2]
    found = torch.zeros(kernel, channels, 1, kernel, kernel, device=volume.device)
    bias = torch.zeros(channels, device=volume.device)
    for index in range(kernel):
        # This slice of the kernel ties output slice z to input slice stride * z + offset.
        offset = index - kernel // 2
        start = -(min(offset, 0) // stride)
        stop = min(gradient.shape[2], (depth - 1 - offset) // stride + 1)
        if start >= stop:
            continue
        first, last = stride * start + offset, stride * (stop - 1) + offset
        for sample, source in zip(gradient, volume, strict=True):  # (C, D, H, W)
            _, of_taps, of_bias = torch.ops.aten.convolution_backward(
                sample[:, start:stop].transpose(0, 1),  # (D, C, H, W): slices as a batch
                source[:, first : last + 1 : stride].transpose(0, 1),
                weight[:, :, 0],
                [channels],
                [stride] * 2,
                [kernel // 2] * 2,
                [1] * 2,
                False,
                [0] * 2,
                channels,
                [False, True, offset == 0],
            )
            found[index] += of_taps
            if offset == 0:
                bias += of_bias
    return found.movedim(0, 2).to(weight.dtype), bias.to(weight.dtype)


class _DepthwiseConv3d(torch.autograd.Function):
    """Depth-wise 3D convolution (odd kernel, padding half of it) with quick CPU gradients."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(volume, weight)
        ctx.stride = stride
        padding = weight.shape[-1] // 2
        return F.conv3d(volume, weight, bias, stride, padding, groups=volume.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        volume, weight = ctx.saved_tensors
        channels, kernel, stride = volume.shape[1], weight.shape[-1], ctx.stride
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        volume_gradient = None
        if ctx.needs_input_grad[0]:
            spread = gradient
            if stride > 1:  # zeros between the samples undo the stride
                spread = torch.zeros_like(volume, memory_format=torch.channels_last_3d)
                spread[:, :, ::stride, ::stride, ::stride] = gradient
            volume_gradient = F.conv3d(
                spread, weight.flip(2, 3, 4), padding=kernel // 2, groups=channels
            )
        of_weight: tuple[Tensor | None, Tensor | None] = (None, None)
        if any(ctx.needs_input_grad[1:3]):
            of_weight = _depthwise_weight_gradient(gradient, volume, weight, stride)
        return volume_gradient, *of_weight, None


def depthwise_conv3d(rows: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Convolve rows ``(B, D, H, W, C)``; see `oarfuse.models.kernels.depthwise_conv3d`."""
    volume = rows.permute(0, 4, 1, 2, 3)  # channels-last
    output = cast(Tensor, _DepthwiseConv3d.apply(volume, weight, bias, stride))
    return output.permute(0, 2, 3, 4, 1).contiguous()


class BiasGradient(torch.autograd.Function):
    """Pass a volume on unchanged, and give the bias that is already in it its gradient."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, bias: Tensor) -> Tensor:
        return volume.view_as(volume)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient.sum(dim=(0, 2, 3, 4), dtype=torch.float32)
