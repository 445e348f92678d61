"""3D-MSF's densely connected fusion block, written as Eq. 7 reads (Section II-B)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.encoder_decoder import STREAMS
from oarfuse.models.focal_fuse import CrossScaleMix, ExchangeOptions, Pooling
from oarfuse.models.kernels.layers import TrustedConv3d


class DenseLayer(nn.Module):
    """One layer of one stream's dense block (Eq. 7).

    The paper writes a depth-wise 3x3x3 convolution of the concatenation. A depth-wise convolution
    cannot change the number of channels, so, as in Eq. 2, a 1x1x1 convolution first mixes the
    concatenation to ``C_a`` channels; a ReLU follows.
    """

    def __init__(
        self, channels: Sequence[int], stream: int, own_inputs: int, options: ExchangeOptions
    ) -> None:
        super().__init__()
        width = channels[stream - 1]
        self.fuse = CrossScaleMix(channels, stream, options, own_inputs=own_inputs)
        self.depthwise = TrustedConv3d(width, width, kernel_size=3, padding=1, groups=width)

    def forward(self, own: Sequence[Tensor], newest: dict[int, Tensor]) -> Tensor:
        return F.relu(self.depthwise(self.fuse(own, newest)))


class DenseFuse(nn.Module):
    """Four dense blocks, one a stream, that exchange their newest maps after every layer.

    Layer ``l`` of stream ``a`` reads all earlier layers of its own stream, ``I[a,0] .. I[a,l-1]``,
    and the newest layer ``I[b,l-1]`` of the other three. The last layer of each stream goes to the
    decoder.

    Parameters
    ----------
    channels
        ``(C_1, C_2, C_3, C_4)``; every layer of stream ``a`` gives ``C_a`` channels.
    dense_layers
        Layers of each dense block, 1..5. The paper does not state it.
    pooling, down_kernel
        See `oarfuse.models.focal_fuse.ExchangeOptions`.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 128),
        *,
        dense_layers: int = 2,
        pooling: Pooling = "avg",
        down_kernel: int = 3,
    ) -> None:
        super().__init__()
        if dense_layers not in (1, 2, 3, 4, 5):
            raise OarfuseError(f"dense_layers is {dense_layers!r}: choose 1 to 5.")
        options = ExchangeOptions(pooling=pooling, down_kernel=down_kernel)
        # layers[l][a - 1]
        self.layers = nn.ModuleList(
            nn.ModuleList(DenseLayer(channels, stream, earlier, options) for stream in STREAMS)
            for earlier in range(1, dense_layers + 1)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return ``[Y1, .., Y4]`` for ``[I1, .., I4]``, each ``(B, C_a, D_a, H_a, W_a)``."""
        history = {a: [feature] for a, feature in zip(STREAMS, features, strict=True)}
        for layer in self.layers:
            newest = {a: maps[-1] for a, maps in history.items()}
            for a, dense in zip(STREAMS, cast(Iterable[DenseLayer], layer), strict=True):
                history[a].append(dense(history[a], newest))
        return [history[a][-1] for a in STREAMS]
