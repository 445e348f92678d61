"""OARFocalFuseNet: encoder, focal-fuse block, decoder (Section II-A, Fig. 1a)."""

from __future__ import annotations

from functools import partial
from typing import cast

from torch import Tensor

from oarfuse.models.fast import FastFocalFuse
from oarfuse.models.focal_fuse import FocalFuse, FocalFuseMaps, FocalFuseOptions, Pooling
from oarfuse.models.fusion_net import Block, FusionNet, choose_block


class OARFocalFuseNet(FusionNet):
    """The paper's proposed network.

    Parameters
    ----------
    in_channels, num_classes, width, deep_supervision
        See `oarfuse.models.fusion_net.FusionNet`.
    block
        ``"fast"`` or ``"readable"``: the same parameters and results (`oarfuse.models.fast`).
    focal_levels, exchange, gates, global_context, pooling, down_kernel
        See `oarfuse.models.focal_fuse.FocalFuseOptions`.
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
        options = FocalFuseOptions(
            focal_levels=focal_levels,
            exchange=exchange,
            gates=gates,
            global_context=global_context,
            pooling=pooling,
            down_kernel=down_kernel,
        )
        super().__init__(
            partial(choose_block(block, fast=FastFocalFuse, readable=FocalFuse), options=options),
            in_channels,
            num_classes,
            width=width,
            deep_supervision=deep_supervision,
        )

    def forward(  # type: ignore[override]  # with maps only for those who ask
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
        if not return_intermediates:
            return super().forward(volume)
        features, bottleneck = self.encode(volume)
        maps = cast(FocalFuse, self.fuse).maps(features)
        return self.decoder(list(maps.outputs.values()), bottleneck), maps
