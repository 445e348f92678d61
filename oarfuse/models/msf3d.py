"""3D-MSF: the same encoder and decoder around a densely connected fusion block (Section II-B)."""

from __future__ import annotations

from functools import partial

from oarfuse.models.dense_fuse import DenseFuse
from oarfuse.models.fast import FastDenseFuse
from oarfuse.models.focal_fuse import Pooling
from oarfuse.models.fusion_net import Block, FusionNet, choose_block


class MSF3D(FusionNet):
    """The paper's convolutional multi-scale fusion network.

    Parameters
    ----------
    in_channels, num_classes, width, deep_supervision
        See `oarfuse.models.fusion_net.FusionNet`.
    block
        ``"fast"`` or ``"readable"``: the same parameters and results (`oarfuse.models.fast`).
    dense_layers, pooling, down_kernel
        See `oarfuse.models.dense_fuse.DenseFuse`.
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
        kind = choose_block(block, fast=FastDenseFuse, readable=DenseFuse)
        super().__init__(
            partial(kind, dense_layers=dense_layers, pooling=pooling, down_kernel=down_kernel),
            in_channels,
            num_classes,
            width=width,
            deep_supervision=deep_supervision,
        )
