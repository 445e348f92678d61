"""Let a network with a fixed stride segment volumes of any size."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models.kernels.layers import trust_gradients


class AnySize(nn.Module):
    """Pad each side up to a multiple of the network's total stride, and crop the logits back.

    The padding repeats the last voxel and sits at the far end of each axis, so a volume whose
    sides divide by ``multiple`` goes through untouched and gives exactly the wrapped network's
    logits.

    Parameters
    ----------
    network : nn.Module
        Maps (B, C, D, H, W) to logits (B, num_classes, D, H, W) when D, H and W divide by
        ``multiple``.
    multiple : int
        The network's total stride: 16 for four halvings, 32 for five.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        trust_gradients(network)
        self.network = network
        self.multiple = multiple

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Segment a volume.

        Parameters
        ----------
        volume : torch.Tensor
            (B, C, D, H, W), any D, H, W that are not all within one multiple.

        Returns
        -------
        torch.Tensor
            Logits (B, num_classes, D, H, W) on the grid of the input.

        Raises
        ------
        OarfuseError
            If the input is not five-dimensional, or so small that a single voxel would be left
            at the deepest level, where instance normalisation has nothing to average over.
        """
        if volume.dim() != 5:
            raise OarfuseError(
                f"the model takes a volume (B, C, D, H, W) and got {tuple(volume.shape)}: "
                "add the missing batch or channel axis."
            )
        size = volume.shape[2:]
        if all(side <= self.multiple for side in size):
            raise OarfuseError(
                f"a volume of {tuple(size)} voxels leaves one voxel at the deepest level: "
                f"use a patch with at least one side above {self.multiple}."
            )
        missing = [-side % self.multiple for side in size]
        if any(missing):
            # F.pad counts from the last axis: (W before, W after, H before, H after, ...).
            volume = F.pad(volume, [0, missing[2], 0, missing[1], 0, missing[0]], mode="replicate")
        logits = self.network(volume)
        return logits[:, :, : size[0], : size[1], : size[2]]
