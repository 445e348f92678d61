"""OARFocalFuseNet: encoder, focal-fuse block, decoder (Section II-A, Fig. 1a)."""

from __future__ import annotations

from torch import Tensor, nn

from oarfuse.models.fast import FastFocalFuse
from oarfuse.models.focal_fuse import FocalFuse, FocalFuseMaps, Pooling
from oarfuse.models.layers import (
    Block,
    Decoder,
    Encoder,
    channels_last,
    check_volume,
    choose_block,
)


class OARFocalFuseNet(nn.Module):
    """The paper's proposed network.

    Parameters
    ----------
    in_channels, num_classes
        Channels of the CT (1) and of the logits (organs and background).
    width
        Channels of the first encoder block (16 in the paper); each further block doubles them.
    block
        ``"fast"`` or ``"readable"``: the same parameters and results (`oarfuse.models.fast`).
    focal_levels, exchange, gates, global_context, pooling, down_kernel
        The focal-fuse block's options: see `oarfuse.models.focal_fuse.FocalFuse`.
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
        focal_levels: int = 2,
        exchange: bool = True,
        gates: bool = True,
        global_context: bool = True,
        pooling: Pooling = "avg",
        down_kernel: int = 3,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        channels = tuple(width * 2**index for index in range(5))
        self.in_channels = in_channels
        self.encoder = Encoder(in_channels, channels)
        self.fuse = choose_block(block, fast=FastFocalFuse, readable=FocalFuse)(
            channels[:4],
            focal_levels=focal_levels,
            exchange=exchange,
            gates=gates,
            global_context=global_context,
            pooling=pooling,
            down_kernel=down_kernel,
        )
        self.decoder = Decoder(num_classes, channels, deep_supervision)

    def forward(
        self, volume: Tensor, return_intermediates: bool = False
    ) -> Tensor | list[Tensor] | tuple[Tensor | list[Tensor], FocalFuseMaps]:
        """Return logits ``(B, num_classes, D, H, W)`` for a CT ``(B, in_channels, D, H, W)``.

        With `return_intermediates` also return the focal-fuse block's levels, gates, modulators
        and outputs (`FocalFuseMaps`).

        Raises
        ------
        OarfuseError
            If the shape is wrong or a side does not divide by 16.
        """
        check_volume(volume, self.in_channels)
        *features, bottleneck = self.encoder(channels_last(volume))
        if return_intermediates:
            maps = self.fuse.maps(features)
            return self.decoder(list(maps.outputs.values()), bottleneck), maps
        return self.decoder(self.fuse(features), bottleneck)
