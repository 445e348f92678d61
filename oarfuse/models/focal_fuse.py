"""The focal-fuse block, written as the paper's equations read (Section II-A2, Fig. 1b and 1c).

This is the block to learn from. `oarfuse.models.fast` computes the same numbers from the same
parameters in a fraction of the time.

Streams are numbered 1..4 as in the paper: stream ``a`` has ``C_a`` channels at ``1 / 2**(a - 1)``
of the input's resolution. A "Linear" layer on a volume is a 1x1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.encoder_decoder import STREAMS
from oarfuse.models.kernels.layers import TrustedConv3d

Pooling = Literal["avg", "max"]


@dataclass(frozen=True, kw_only=True)
class ExchangeOptions:
    """How the streams exchange maps, where the paper leaves it open.

    Attributes
    ----------
    pooling
        ``"avg"`` or ``"max"``: what follows the strided convolution on the way down.
    down_kernel
        Kernel of that convolution, 3 or 5.
    """

    pooling: Pooling = "avg"
    down_kernel: int = 3

    def __post_init__(self) -> None:
        if self.pooling not in ("avg", "max"):
            raise OarfuseError(f"pooling is {self.pooling!r}: choose 'avg' or 'max'.")
        if self.down_kernel not in (3, 5):
            raise OarfuseError(f"down_kernel is {self.down_kernel!r}: choose 3 or 5.")


@dataclass(frozen=True, kw_only=True)
class FocalFuseOptions(ExchangeOptions):
    """The focal-fuse block's options, `ExchangeOptions` included.

    Attributes
    ----------
    focal_levels
        N in 1..4: how often the streams exchange maps. The paper never states it.
    exchange, gates, global_context
        Switches for ablations: the cross-scale exchange, the gates of Eq. 3 (without them every
        level counts the same), and level N+1, the global average pool.

    Raises
    ------
    OarfuseError
        If a value is out of range.
    """

    focal_levels: int = 2
    exchange: bool = True
    gates: bool = True
    global_context: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.focal_levels not in (1, 2, 3, 4):
            raise OarfuseError(f"focal_levels is {self.focal_levels!r}: choose 1, 2, 3 or 4.")


@dataclass
class FocalFuseMaps:
    """What happens inside a focal-fuse block; each dictionary is keyed by the stream's number.

    Attributes
    ----------
    levels
        ``[F[a,0], F[a,1], .., F[a,N]]``, each ``(B, C_a, D_a, H_a, W_a)`` (Eq. 1 and 2).
    global_context
        Global average pool of ``F[a,N]``, ``(B, C_a, 1, 1, 1)``.
    gates
        ``G[a]``, ``(B, N+1, D_a, H_a, W_a)`` (Eq. 3): one map for each level, the global one last.
    modulators
        The gated sum after its linear layer, ``(B, C_a, D_a, H_a, W_a)`` (Eq. 4).
    outputs
        ``Y[a]``, ``(B, C_a, D_a, H_a, W_a)`` (Eq. 5); float32 if the other maps are float16.
    """

    levels: dict[int, list[Tensor]] = field(default_factory=dict)
    global_context: dict[int, Tensor] = field(default_factory=dict)
    gates: dict[int, Tensor] = field(default_factory=dict)
    modulators: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)


def modulate(modulator: Tensor, query: Tensor) -> Tensor:
    """Return their product, two maps ``(B, C_a, D_a, H_a, W_a)`` or their rows (Eq. 5).

    Nothing bounds it: with the published weights it reaches 67,000 on a real patient, and float16
    ends at 65,504. The product of float16 maps is therefore float32.
    """
    if modulator.dtype == torch.float16:
        modulator = modulator.float()
    return modulator * query


class Resample(nn.Module):
    """Carry the maps of stream `source` to the resolution of stream `target`, channel by channel.

    From high to low resolution: one depth-wise convolution of stride 2, then pooling for what
    remains. From low to high: one depth-wise transposed convolution of stride 2, then trilinear
    interpolation for what remains (the paper says bicubic, which is defined for images only).

    Parameters
    ----------
    channels
        Channels of the source stream; they do not change.
    source, target
        Stream numbers in 1..4, different from each other.
    pooling, down_kernel
        See `ExchangeOptions`.
    """

    def __init__(
        self,
        channels: int,
        source: int,
        target: int,
        pooling: Pooling = "avg",
        down_kernel: int = 3,
    ) -> None:
        super().__init__()
        self.downwards = target > source
        self.factor = 2 ** (abs(target - source) - 1)  # what the strided convolution leaves to do
        self.pooling = pooling
        if self.downwards:
            self.conv: nn.Conv3d | nn.ConvTranspose3d = TrustedConv3d(
                channels, channels, down_kernel, stride=2, padding=down_kernel // 2, groups=channels
            )
        else:
            self.conv = nn.ConvTranspose3d(channels, channels, 2, stride=2, groups=channels)

    def forward(self, features: Tensor) -> Tensor:
        resampled = self.conv(features)  # (B, C, D/2, H/2, W/2) or (B, C, 2D, 2H, 2W)
        if self.factor == 1:
            return resampled
        if not self.downwards:
            return F.interpolate(resampled, scale_factor=self.factor, mode="trilinear")
        pool = F.avg_pool3d if self.pooling == "avg" else F.max_pool3d
        return pool(resampled, self.factor)


class CrossScaleMix(nn.Module):
    """1x1x1 convolution over a stream's own maps and the other streams' resampled maps.

    Parameters
    ----------
    channels
        ``(C_1, C_2, C_3, C_4)``.
    stream
        The stream ``a`` that this layer belongs to.
    options
        How the other streams' maps are resampled.
    own_inputs
        How many maps of the own stream are concatenated (1 in the focal-fuse block; in 3D-MSF's
        dense block one more for each layer).
    exchange
        Whether the other streams take part; without them the four streams stay separate.
    """

    def __init__(
        self,
        channels: Sequence[int],
        stream: int,
        options: ExchangeOptions,
        *,
        own_inputs: int = 1,
        exchange: bool = True,
    ) -> None:
        super().__init__()
        self.stream = stream
        others = [other for other in STREAMS if other != stream] if exchange else []
        self.resample = nn.ModuleDict()
        for b in others:
            self.resample[str(b)] = Resample(
                channels[b - 1], b, stream, options.pooling, options.down_kernel
            )
        width = channels[stream - 1]
        total = own_inputs * width + sum(channels[other - 1] for other in others)
        self.mix = nn.Conv3d(total, width, kernel_size=1)

    def forward(self, own: Sequence[Tensor], newest: Mapping[int, Tensor]) -> Tensor:
        """Mix the maps `own` of this stream with the `newest` maps of the others."""
        parts = list(own)
        for other, resample in self.resample.items():
            parts.append(resample(newest[int(other)]))
        return self.mix(torch.cat(parts, dim=1))  # (B, up to 240, D_a, H_a, W_a) -> (B, C_a, ..)


class FocalLevel(nn.Module):
    """``F[a,l] = GELU(DWConv3(Conv1(F[a,l-1], F[b,l-1], F[c,l-1], F[d,l-1])))`` (Eq. 2)."""

    def __init__(self, channels: Sequence[int], stream: int, options: FocalFuseOptions) -> None:
        super().__init__()
        width = channels[stream - 1]
        self.fuse = CrossScaleMix(channels, stream, options, exchange=options.exchange)
        self.depthwise = TrustedConv3d(width, width, kernel_size=3, padding=1, groups=width)

    def forward(self, previous: Mapping[int, Tensor]) -> Tensor:
        """Return ``F[a,l]`` from ``{b: F[b,l-1]}`` of all four streams."""
        mixed = self.fuse([previous[self.fuse.stream]], previous)
        return F.gelu(self.depthwise(mixed))


class FocalStream(nn.Module):
    """The layers of one resolution stream ``a``: projection, focal levels, gates, modulation."""

    def __init__(self, channels: Sequence[int], stream: int, options: FocalFuseOptions) -> None:
        super().__init__()
        width = channels[stream - 1]
        self.project = nn.Conv3d(width, width, kernel_size=1)  # Eq. 1
        self.levels = nn.ModuleList(
            FocalLevel(channels, stream, options) for _ in range(options.focal_levels)
        )
        count = options.focal_levels + int(options.global_context)
        self.gate = nn.Conv3d(width, count, kernel_size=1) if options.gates else None  # Eq. 3
        self.modulate = nn.Conv3d(width, width, kernel_size=1)  # the linear layer after Eq. 4
        self.query = nn.Conv3d(width, width, kernel_size=1)  # Linear(I[a]) in Eq. 5


class FocalFuse(nn.Module):
    """Multi-scale fusion with focal modulation over four resolution streams (Eq. 1 to 5).

    Parameters
    ----------
    channels
        ``(C_1, C_2, C_3, C_4)``.
    options
        The block's options; the defaults when omitted.
    **changes
        Single options that differ from them, by the names of `FocalFuseOptions`'s attributes.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 128),
        options: FocalFuseOptions | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        self.options = replace(options or FocalFuseOptions(), **changes)
        self.focal_levels = self.options.focal_levels
        self.streams = nn.ModuleList(FocalStream(channels, a, self.options) for a in STREAMS)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return ``[Y1, .., Y4]`` for ``[I1, .., I4]``, each ``(B, C_a, D_a, H_a, W_a)``."""
        outputs = self.maps(features).outputs
        return [outputs[stream] for stream in STREAMS]

    def by_number(self) -> dict[int, FocalStream]:
        """Return the streams by their numbers 1 to 4."""
        return dict(zip(STREAMS, cast(Iterable[FocalStream], self.streams), strict=True))

    def maps(self, features: Sequence[Tensor]) -> FocalFuseMaps:
        """Return every map of the block, for looking at; `forward` returns the outputs alone."""
        maps = FocalFuseMaps()
        streams = self.by_number()
        inputs = dict(zip(STREAMS, features, strict=True))

        newest = {a: stream.project(inputs[a]) for a, stream in streams.items()}  # Eq. 1
        maps.levels = {a: [newest[a]] for a in STREAMS}
        for level in range(self.focal_levels):
            # Every stream reads the previous level of all streams, so they advance together.
            newest = {a: stream.levels[level](newest) for a, stream in streams.items()}  # Eq. 2
            for a in STREAMS:
                maps.levels[a].append(newest[a])

        for a, stream in streams.items():
            contexts = maps.levels[a][1:]
            if self.options.global_context:
                maps.global_context[a] = newest[a].mean(dim=(2, 3, 4), keepdim=True)
                contexts = [*contexts, maps.global_context[a]]
            if stream.gate is not None:
                maps.gates[a] = stream.gate(maps.levels[a][0])  # (B, N+1, D_a, H_a, W_a), Eq. 3
                contexts = [
                    context * maps.gates[a][:, level : level + 1]
                    for level, context in enumerate(contexts)
                ]
            gathered = torch.stack(torch.broadcast_tensors(*contexts)).sum(dim=0)  # Eq. 4
            maps.modulators[a] = stream.modulate(gathered)
            maps.outputs[a] = modulate(maps.modulators[a], stream.query(inputs[a]))  # Eq. 5
        return maps
