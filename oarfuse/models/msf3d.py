"""3D-MSF: the same encoder and decoder around a densely connected fusion block (Section II-B)."""

from __future__ import annotations

from torch import Tensor, nn

from oarfuse.models.dense_fuse import DenseFuse
from oarfuse.models.fast import FastDenseFuse
from oarfuse.models.focal_fuse import Pooling
from oarfuse.models.layers import (
    Block,
    Decoder,
    Encoder,
    channels_last,
    check_volume,
    choose_block,
)


class MSF3D(nn.Module):
    """The paper's convolutional multi-scale fusion network.

    Parameters
    ----------
    in_channels, num_classes
        Channels of the CT (1) and of the logits (organs and background).
    width
        Channels of the first encoder block (16 in the paper); each further block doubles them.
    block
        ``"fast"`` or ``"readable"``: the same parameters and results (`oarfuse.models.fast`).
    dense_layers, pooling, down_kernel
        See `oarfuse.models.dense_fuse.DenseFuse`.
    deep_supervision
        In training mode return a list: the logits at full, half and quarter resolution, for
        `oarfuse.losses.deep_supervision_loss`. Not in the paper.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 6,
        *,
        width: int = 16,
        block: Block = "fast",
        dense_layers: int = 2,
        pooling: Pooling = "avg",
        down_kernel: int = 3,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        channels = tuple(width * 2**index for index in range(5))
        self.in_channels = in_channels
        self.encoder = Encoder(in_channels, channels)
        self.fuse = choose_block(block, fast=FastDenseFuse, readable=DenseFuse)(
            channels[:4], dense_layers=dense_layers, pooling=pooling, down_kernel=down_kernel
        )
        self.decoder = Decoder(num_classes, channels, deep_supervision)

    def forward(self, volume: Tensor) -> Tensor | list[Tensor]:
        """Return logits ``(B, num_classes, D, H, W)`` for a CT ``(B, in_channels, D, H, W)``."""
        check_volume(volume, self.in_channels)
        *features, bottleneck = self.encoder(channels_last(volume))
        return self.decoder(self.fuse(features), bottleneck)
