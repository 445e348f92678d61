"""Let a network with a fixed stride segment volumes of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models.kernels.layers import trust_gradients


def pad_far_ends(volume: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Continue the last axes up to `sides` with their last voxel; the near ends stay in place.

    Parameters
    ----------
    volume : torch.Tensor
        (B, C, D, H, W) or (N, C, H, W).
    sides : sequence of int
        Wanted D, H, W or H, W; none smaller than there.
    """
    missing = [want - side for want, side in zip(sides, volume.shape[2:], strict=True)]
    if not any(missing):
        return volume
    # F.pad counts from the last axis: (W before, W after, H before, H after, ...).
    return F.pad(volume, [n for far in reversed(missing) for n in (0, far)], mode="replicate")


def check_axes(volume: torch.Tensor) -> None:
    """Raise `OarfuseError` unless the volume has the five axes (B, C, D, H, W)."""
    if volume.dim() != 5:
        raise OarfuseError(
            f"the model takes a volume (B, C, D, H, W) and got {tuple(volume.shape)}: "
            "add the missing batch or channel axis."
        )


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
        """Logits (B, num_classes, D, H, W) of a (B, C, D, H, W) volume.

        Raises
        ------
        OarfuseError
            If the input is not five-dimensional, or so small that a single voxel would be left
            at the deepest level, where instance normalisation has nothing to average over.
        """
        check_axes(volume)
        size = volume.shape[2:]
        if all(side <= self.multiple for side in size):
            raise OarfuseError(
                f"a volume of {tuple(size)} voxels leaves one voxel at the deepest level: "
                f"use a patch with at least one side above {self.multiple}."
            )
        multiples = [side + -side % self.multiple for side in size]
        logits = self.network(pad_far_ends(volume, multiples))
        return logits[:, :, : size[0], : size[1], : size[2]]
