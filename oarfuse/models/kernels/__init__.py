"""The few operations for which PyTorch's own choice of kernel is slow, or wrong.

`backend` has the table of which kernel runs where; `layers` wraps them up as PyTorch's layers.
Volumes are ``(B, C, D, H, W)`` in ``channels_last_3d`` memory; their *rows* are the contiguous view
``(B, D, H, W, C)``.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from oarfuse.models.kernels import cpu

Backend = Literal["cpu", "triton", "torch"]


def to_rows(volume: Tensor) -> Tensor:
    """View ``(B, C, D, H, W)`` as contiguous rows ``(B, D, H, W, C)``, copying if it must."""
    return volume.permute(0, 2, 3, 4, 1).contiguous()


def to_volume(rows: Tensor) -> Tensor:
    """View rows ``(B, D, H, W, C)`` as ``(B, C, D, H, W)`` in ``channels_last_3d`` memory."""
    return rows.permute(0, 4, 1, 2, 3)


def channels_last(volume: Tensor) -> Tensor:
    """Return ``(B, C, D, H, W)`` in ``channels_last_3d`` memory, marked as such even for C = 1.

    With one channel both layouts are the same bytes, and PyTorch takes the strides for the default
    one; every later layer would then leave channels-last memory.
    """
    rows = to_rows(volume)
    if volume.shape[1] == 1:
        # A new last axis has stride 1. Strides given as numbers (`as_strided`) would stay those of
        # the example's sides in a network that `torch.jit.trace` recorded.
        rows = rows.squeeze(-1).unsqueeze(-1)
    return to_volume(rows)


def backend(device: torch.device, channels: int) -> Backend:
    """Return which column of this table serves maps of so many channels on a device.

    =============================== ===================== ==================== ====================
    operation                       ``"cpu"``             ``"triton"``         ``"torch"``
    =============================== ===================== ==================== ====================
    `depthwise_conv3d`              `cpu`: own gradients  `depthwise`, 3x3x3   PyTorch, contiguous
    `instance_norm` (and ReLU)      batch norm by sample  `norm`               batch norm by sample
    `linear`: 1x1x1 of rows         convolution           matrix product       matrix product
    `layers.TrustedConv3d`          float32 if thin       contiguous [1]_      contiguous [1]_
    decoder's joined convolution    a sum of two          concatenation        concatenation
    `layers.QuickConvTranspose3d`   own bias gradient     PyTorch              PyTorch
    sum of gated levels (`fast`)    matrix products       broadcast            broadcast
    =============================== ===================== ==================== ====================

    .. [1] if it is depth-wise and on a GPU

    The last two columns differ in the first two rows only, so the others ask whether the device is
    a CPU and never try Triton.
    """
    if device.type == "cpu":
        return "cpu"
    power_of_two = channels > 0 and channels & (channels - 1) == 0
    if device.type == "cuda" and power_of_two and triton_works(device.index or 0):
        return "triton"
    return "torch"


@torch.compiler.assume_constant_result
@cache
def triton_works(index: int = 0) -> bool:
    """Whether Triton is installed and compiles and runs a kernel on this GPU; tried once."""
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        return False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            from oarfuse.models.kernels import depthwise

            rows = torch.ones(1, 2, 2, 2, 16, device=f"cuda:{index}", requires_grad=True)
            taps = torch.ones(16, 1, 3, 3, 3, device=rows.device, requires_grad=True)
            depthwise.depthwise_conv3d(rows, taps, None, 1).sum().backward()
            return taps.grad is not None and float(taps.grad.sum()) == 16 * 64
    except Exception as error:  # a missing compiler, driver or header: whatever Triton meets
        reason = " ".join(str(error).split())[:200]
        warnings.warn(
            f"Triton does not run on this GPU ({reason}): PyTorch's slower kernels serve instead.",
            stacklevel=2,
        )
        return False


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply rows by ``weight`` (C_out, C_in) and add `bias`: a 1x1x1 convolution.

    A CPU finds the gradients of weight and bias, sums over every voxel, four times as fast through
    the convolution's kernels as through those of `torch.nn.functional.linear`.
    """
    if rows.device.type != "cpu":
        return F.linear(rows, weight, bias)
    return to_rows(F.conv3d(to_volume(rows), weight[..., None, None, None], bias))


def depthwise_conv3d(
    rows: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1
) -> Tensor:
    """Convolve each channel of rows with its own kernel, padded by half of it with zeros.

    Parameters
    ----------
    rows
        ``(B, D, H, W, C)``, contiguous.
    weight, bias
        ``(C, 1, k, k, k)`` with k odd, and ``(C,)``.
    stride
        Of all three axes.
    """
    chosen = backend(rows.device, rows.shape[-1])
    if rows.device.type != "meta" and torch.is_autocast_enabled(rows.device.type):
        dtype = torch.get_autocast_dtype(rows.device.type)
        rows = rows.to(dtype)
        if chosen != "triton":  # which takes its products in float32
            weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
    if chosen == "cpu":
        return cpu.depthwise_conv3d(rows, weight, bias, stride)
    small = rows[0].numel() < 2**31  # the kernels count a sample's elements in 32 bits
    if chosen == "triton" and small and weight.shape[-1] == 3 and stride in (1, 2):
        from oarfuse.models.kernels import depthwise

        output: Tensor = depthwise.depthwise_conv3d(rows, weight, bias, stride)
        return output
    # In channels-last memory PyTorch would take cuDNN's kernels, whose gradients are 30 times
    # slower than those of its own for contiguous memory.
    volume = to_volume(rows).contiguous()
    padding = weight.shape[-1] // 2
    return to_rows(F.conv3d(volume, weight, bias, stride, padding, groups=volume.shape[1]))


def instance_norm(
    volume: Tensor, weight: Tensor, bias: Tensor, *, eps: float, relu: bool = False
) -> Tensor:
    """Normalise ``(B, C, D, H, W)`` per sample and channel, in channels-last memory throughout."""
    if backend(volume.device, volume.shape[1]) == "triton":
        from oarfuse.models.kernels import norm

        return to_volume(norm.instance_norm(to_rows(volume), weight, bias, eps=eps, relu=relu))
    # For one sample, instance and batch normalisation are the same sum, and PyTorch's batch
    # normalisation has kernels for channels-last memory while its instance normalisation copies
    # the volume to the default layout first.
    cudnn = torch.backends.cudnn.enabled
    normalised = [
        # Not F.batch_norm: it refuses one voxel, the bottleneck of a 16^3 volume.
        torch.batch_norm(sample, weight, bias, None, None, True, 0.0, eps, cudnn)
        for sample in volume.split(1)
    ]
    output = torch.cat(normalised) if len(normalised) > 1 else normalised[0]
    return output.relu_() if relu else output
