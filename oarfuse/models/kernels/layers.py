"""PyTorch's layers with the kernels of this folder: the same parameters, state dict and results."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.models.kernels import instance_norm
from oarfuse.models.kernels.cpu import BiasGradient


class TrustedConv3d(nn.Conv3d):
    """3D convolution whose results and gradients can be trusted.

    On a CPU, PyTorch's bfloat16 convolution reads memory that nobody wrote where the map is less
    deep than the kernel: mostly in the kernel's gradient, for one input channel in the result too
    (seen with PyTorch 2.13 and oneDNN's AVX-512 kernels; only along D, never H or W). Such maps are
    small, so they are convolved in float32.

    On a GPU, a depth-wise convolution in channels-last memory would go to cuDNN, whose gradients
    are 30 times slower than those of PyTorch's own kernel for contiguous memory.
    """

    def trusts(self, volume: Tensor) -> bool:
        """Whether PyTorch convolves `volume` rightly in this precision and on its device."""
        in_float32 = self.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        # The sides come last: `torch.export` would hold the network to what was asked of them.
        return volume.device.type != "cpu" or in_float32 or volume.shape[2] >= self.kernel_size[0]

    def forward(self, volume: Tensor) -> Tensor:
        if volume.device.type == "cuda" and self.groups == self.in_channels > 1:
            volume = volume.contiguous()
        if self.trusts(volume):
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


class QuickConvTranspose3d(nn.ConvTranspose3d):
    """3D transposed convolution with a bias, whose gradient a CPU takes as the plain sum it is.

    PyTorch's own would take longer than all other gradients of the layer together.
    """

    def forward(self, volume: Tensor, output_size: list[int] | None = None) -> Tensor:
        if volume.device.type != "cpu" or self.bias is None or output_size is not None:
            return super().forward(volume, output_size)
        padding = cast(tuple[int, ...], self.padding)  # a word is for other convolutions
        result = F.conv_transpose3d(
            volume,
            self.weight,
            self.bias.detach(),
            self.stride,
            padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )
        return cast(Tensor, BiasGradient.apply(result, self.bias))


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that keeps ``channels_last_3d`` memory."""

    def forward(self, volume: Tensor) -> Tensor:
        return instance_norm(volume, self.weight, self.bias, eps=self.eps)


class MaxPool(nn.MaxPool3d):
    """Maximum pooling in the map's own precision; autocast would convert it to float32 on a CPU."""

    def forward(self, volume: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(volume)

    def _get_name(self) -> str:
        return "MaxPool3d"
