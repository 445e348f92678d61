"""Encoder and decoder that both proposed networks share (Section II-A of the paper, Fig. 1a).

Streams are numbered as in the paper: stream ``a`` in 1..4 has ``1 / 2**(a - 1)`` of the input's
resolution. All maps are ``(B, C, D, H, W)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.kernels import instance_norm

STREAMS = (1, 2, 3, 4)
Block = Literal["fast", "readable"]
# Largest input of a decoder's convolution in float16, which ends at 65,504. Its output is at most
# 342 times that with the published weights (the largest sum of a kernel's absolute values).
HALF_LIMIT = 128.0


def choose_block(block: str, *, fast: type[nn.Module], readable: type[nn.Module]) -> Any:
    """Return the class for ``block="fast"`` or ``"readable"``; `OarfuseError` for another word."""
    if block not in ("fast", "readable"):
        raise OarfuseError(f"block is {block!r}: choose 'fast' or 'readable'.")
    return fast if block == "fast" else readable


def check_volume(volume: Tensor, in_channels: int, divisor: int = 16) -> None:
    """Raise `OarfuseError` unless `volume` is ``(B, in_channels, D, H, W)`` and sides divide."""
    if volume.ndim != 5 or volume.shape[1] != in_channels:
        raise OarfuseError(
            f"The network takes (B, {in_channels}, D, H, W), not {tuple(volume.shape)}: "
            f"add the batch and channel axes, or build it with another in_channels."
        )
    if any(side == 0 or side % divisor for side in volume.shape[2:]):
        raise OarfuseError(
            f"The volume's sides are {tuple(volume.shape[2:])}, but each must divide by {divisor}: "
            f"pad or crop it, for instance with monai.transforms.DivisiblePad(k={divisor})."
        )


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that keeps ``channels_last_3d`` memory.

    Same parameters and results as `torch.nn.InstanceNorm3d`; `oarfuse.models.kernels` says how.
    """

    def forward(self, volume: Tensor) -> Tensor:
        return instance_norm(volume, self.weight, self.bias, eps=self.eps)


def channels_last(volume: Tensor) -> Tensor:
    """Return ``(B, C, D, H, W)`` in ``channels_last_3d`` memory, marked as such even for C = 1.

    With one channel both layouts are the same bytes, and PyTorch takes the strides for the default
    one; every later layer would then leave channels-last memory.
    """
    rows = volume.permute(0, 2, 3, 4, 1).contiguous()
    if volume.shape[1] == 1:
        # A new last axis has stride 1. Strides given as numbers (`as_strided`) would stay those of
        # the example's sides in a network that `torch.jit.trace` recorded.
        rows = rows.squeeze(-1).unsqueeze(-1)
    return rows.permute(0, 4, 1, 2, 3)


class TrustedConv3d(nn.Conv3d):
    """3D convolution whose results and gradients can be trusted.

    On a CPU, PyTorch's bfloat16 convolution reads memory that nobody wrote where the map is less
    deep than the kernel: mostly in the kernel's gradient, for one input channel in the result too
    (seen with PyTorch 2.13 and oneDNN's AVX-512 kernels; only along D, never H or W). Such maps are
    small, so they are convolved in float32.

    On a GPU, a depth-wise convolution in channels-last memory would go to cuDNN, whose gradients
    are 30 times slower than those of PyTorch's own kernel for contiguous memory.
    """

    def forward(self, volume: Tensor) -> Tensor:
        if volume.device.type == "cuda" and self.groups == self.in_channels > 1:
            volume = volume.contiguous()
        if volume.device.type != "cpu" or volume.shape[2] >= self.kernel_size[0]:
            return super().forward(volume)
        with torch.autocast("cpu", enabled=False):
            return super().forward(volume.to(self.weight.dtype))

    def _get_name(self) -> str:
        return "Conv3d"  # printed networks show what is computed, not how


def trust_gradients(network: nn.Module) -> None:
    """Turn every plain `torch.nn.Conv3d` of another library's network into a `TrustedConv3d`."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = TrustedConv3d  # same parameters and names


class Conv3x3x3(TrustedConv3d):
    """3x3x3 convolution of stride 1 without a bias. Keeps the sides."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


class _BiasGradient(torch.autograd.Function):
    """Pass a volume on unchanged, and give the bias that is already in it its gradient."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, bias: Tensor) -> Tensor:
        return volume.view_as(volume)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient.sum(dim=(0, 2, 3, 4), dtype=torch.float32)


class UpConv(nn.ConvTranspose3d):
    """3x3x3 transposed convolution of stride 2 that doubles each side exactly.

    Kernel and stride are the paper's; the paddings are what doubling needs. On a CPU the gradient
    of the bias, a plain sum, would take longer than all other gradients of the layer together.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1
        )

    def forward(self, volume: Tensor, output_size: list[int] | None = None) -> Tensor:
        if volume.device.type != "cpu" or self.bias is None:
            return super().forward(volume, output_size)
        doubled = F.conv_transpose3d(
            volume, self.weight, self.bias.detach(), stride=2, padding=1, output_padding=1
        )
        return cast(Tensor, _BiasGradient.apply(doubled, self.bias))


class ConvNormReLU(nn.Sequential):
    """3x3x3 convolution of stride 1, instance normalisation, ReLU. Keeps the sides.

    The convolution has no bias, because the normalisation would subtract it again.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            Conv3x3x3(in_channels, out_channels),
            InstanceNorm(out_channels, affine=True),
            nn.ReLU(inplace=True),
        )

    def forward(self, volume: Tensor) -> Tensor:
        conv, norm, relu = self
        volume = conv(volume)
        if not isinstance(norm, InstanceNorm):  # a comparison has put PyTorch's own in its place
            return relu(norm(volume))
        return instance_norm(volume, norm.weight, norm.bias, eps=norm.eps, relu=True)


class Encoder(nn.Module):
    """Four blocks of two convolutions with pooling between them, and a fifth as the bottleneck.

    Parameters
    ----------
    in_channels
        Channels of the input volume.
    channels
        Channels of the five blocks; the paper starts with 16 and doubles.
    """

    def __init__(
        self, in_channels: int = 1, channels: Sequence[int] = (16, 32, 64, 128, 256)
    ) -> None:
        super().__init__()
        widths = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvNormReLU(previous, width), ConvNormReLU(width, width))
            for previous, width in pairwise(widths)
        )
        self.pool = nn.MaxPool3d(kernel_size=2)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return ``[I1, .., I5]``; ``I[a]`` is ``(B, C_a, ..)`` with sides over ``2**(a-1)``."""
        maps = [self.blocks[0](volume)]  # (B, 16, D, H, W)
        for block in self.blocks[1:]:
            maps.append(block(self.pool(maps[-1])))  # (B, 2 C, D/2, H/2, W/2)
        return maps


def into_half_range(volume: Tensor) -> Tensor:
    """Return `volume` in float16, each sample shrunk to at most `HALF_LIMIT` if it exceeds that.

    For a convolution without bias that instance normalisation follows: the normalisation undoes
    any factor, so the result stays, and no gradient need pass through the factor. Only ``eps``
    weighs more: a channel loses a hundredth if it deviates by 1 / 6,000 of the largest input.
    """
    largest = volume.detach().abs().amax(dim=(1, 2, 3, 4), keepdim=True).float()  # (B, 1, 1, 1, 1)
    return (volume * (HALF_LIMIT / largest.clamp(min=HALF_LIMIT))).half()


class DecoderBlock(nn.Module):
    """``D[x] = ReLU(Norm(Conv3(ConvT(D[x+1]) concat Y[x])))``: Eq. 6, x falling from 4 to 1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = UpConv(in_channels, out_channels)
        self.conv = ConvNormReLU(2 * out_channels, out_channels)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        upscaled = self.up(below)  # (B, 2 C, D/2, H/2, W/2) -> (B, C, D, H, W)
        both = torch.cat((upscaled, skip), dim=1)
        if upscaled.dtype == torch.float16:
            both = into_half_range(both)
        return self.conv(both)  # (B, 2 C, D, H, W) -> (B, C, D, H, W)


class Decoder(nn.Module):
    """Four decoder blocks from the bottleneck up, and a 1x1x1 head with one channel a class.

    With `deep_supervision`, which is not in the paper, D2 and D3 have such heads too, and in
    training mode the result is a list: the logits at full, half and quarter resolution.
    """

    def __init__(
        self,
        num_classes: int,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        # blocks[0] is x = 1, at full resolution.
        self.blocks = nn.ModuleList(
            DecoderBlock(below, width) for width, below in pairwise(channels)
        )
        self.head = nn.Conv3d(channels[0], num_classes, kernel_size=1)
        self.side_heads = nn.ModuleList(
            nn.Conv3d(width, num_classes, kernel_size=1)
            for width in (channels[1:3] if deep_supervision else ())
        )

    def forward(self, skips: Sequence[Tensor], bottleneck: Tensor) -> Tensor | list[Tensor]:
        """Return logits ``(B, num_classes, D, H, W)`` from ``[Y1, Y2, Y3, Y4]`` and ``I5``."""
        decoded = [bottleneck]  # then D4, D3, D2, D1
        for block, skip in zip(reversed(self.blocks), reversed(skips), strict=True):
            decoded.append(block(decoded[-1], skip))
        logits = self.head(decoded[-1])
        if not (self.training and self.side_heads):
            return logits
        sides = zip(self.side_heads, decoded[-2::-1], strict=False)  # D2, D3; the rest has none
        return [logits, *(head(coarse) for head, coarse in sides)]
