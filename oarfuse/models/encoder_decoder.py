"""Encoder and decoder that both proposed networks share (Section II-A of the paper, Fig. 1a).

Streams are numbered as in the paper: stream ``a`` in 1..4 has ``1 / 2**(a - 1)`` of the input's
resolution. All maps are ``(B, C, D, H, W)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.models.kernels import instance_norm, to_rows, to_volume
from oarfuse.models.kernels.layers import InstanceNorm, MaxPool, QuickConvTranspose3d, TrustedConv3d

STREAMS = (1, 2, 3, 4)
# Largest input of a decoder's convolution in float16, which ends at 65,504. Its output is at most
# 342 times that with the published weights (the largest sum of a kernel's absolute values).
HALF_LIMIT = 128.0


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
        self.pool = MaxPool(kernel_size=2)

    def forward(self, volume: Tensor) -> list[Tensor]:
        """Return ``[I1, .., I5]``; ``I[a]`` is ``(B, C_a, ..)`` with sides over ``2**(a-1)``."""
        maps = [self.blocks[0](volume)]  # (B, 16, D, H, W)
        for block in self.blocks[1:]:
            maps.append(block(self.pool(maps[-1])))  # (B, 2 C, D/2, H/2, W/2)
        return maps


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
        self.head = Head(channels[0], num_classes)
        self.side_heads = nn.ModuleList(
            Head(width, num_classes) for width in (channels[1:3] if deep_supervision else ())
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


class DecoderBlock(nn.Module):
    """``D[x] = ReLU(Norm(Conv3(ConvT(D[x+1]) concat Y[x])))``: Eq. 6, x falling from 4 to 1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = UpConv(in_channels, out_channels)
        self.conv = ConvNormReLU(2 * out_channels, out_channels)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        upscaled = self.up(below)  # (B, 2 C, D/2, H/2, W/2) -> (B, C, D, H, W)
        if upscaled.dtype == torch.float16:
            both = torch.cat((upscaled, skip), dim=1)
            return self.conv(into_half_range(both))  # (B, 2 C, D, H, W) -> (B, C, D, H, W)
        return self.conv(upscaled, skip)


class ConvNormReLU(nn.Sequential):
    """3x3x3 convolution of stride 1, instance normalisation, ReLU. Keeps the sides.

    The convolution has no bias, because the normalisation would subtract it again. Several volumes
    count as one, their channels concatenated.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            Conv3x3x3(in_channels, out_channels),
            InstanceNorm(out_channels, affine=True),
            nn.ReLU(inplace=True),
        )

    def forward(self, *volumes: Tensor) -> Tensor:
        conv, norm, relu = self
        volume = conv(*volumes)
        if not isinstance(norm, InstanceNorm):  # a comparison has put PyTorch's own in its place
            return relu(norm(volume))
        return instance_norm(volume, norm.weight, norm.bias, eps=norm.eps, relu=True)


class Conv3x3x3(TrustedConv3d):
    """3x3x3 convolution of stride 1 without a bias, of volumes concatenated. Keeps the sides."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=False)

    def forward(self, *volumes: Tensor) -> Tensor:
        if len(volumes) == 1 or volumes[0].device.type != "cpu" or not self.trusts(volumes[0]):
            return super().forward(torch.cat(volumes, dim=1) if len(volumes) > 1 else volumes[0])
        # Copies to put channels side by side and to part their gradients again would take a CPU
        # longer than a convolution of each and a sum.
        kernels = self.weight.split([volume.shape[1] for volume in volumes], dim=1)
        total = F.conv3d(volumes[0], kernels[0], padding=self.padding)
        for volume, kernel in zip(volumes[1:], kernels[1:], strict=True):
            total = total + F.conv3d(volume, kernel, padding=self.padding)
        return total


class Head(nn.Conv3d):
    """1x1x1 convolution with one output channel a class; a CPU is quickest with a plain product."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, kernel_size=1)

    def forward(self, volume: Tensor) -> Tensor:
        if volume.device.type != "cpu":
            return super().forward(volume)
        return to_volume(F.linear(to_rows(volume), self.weight.flatten(1), self.bias))


class UpConv(QuickConvTranspose3d):
    """3x3x3 transposed convolution of stride 2 that doubles each side exactly.

    Kernel and stride are the paper's; the paddings are what doubling needs.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1
        )


def into_half_range(volume: Tensor) -> Tensor:
    """Return `volume` in float16, each sample shrunk to at most `HALF_LIMIT` if it exceeds that.

    For a convolution without bias that instance normalisation follows: the normalisation undoes
    any factor, so the result stays, and no gradient need pass through the factor. Only ``eps``
    weighs more: a channel loses a hundredth if it deviates by 1 / 6,000 of the largest input.
    """
    largest = volume.detach().abs().amax(dim=(1, 2, 3, 4), keepdim=True).float()  # (B, 1, 1, 1, 1)
    return (volume * (HALF_LIMIT / largest.clamp(min=HALF_LIMIT))).half()
