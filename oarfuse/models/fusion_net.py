"""Encoder, fusion block, decoder: what both proposed networks are (Section II-A, Fig. 1a)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.encoder_decoder import Decoder, Encoder
from oarfuse.models.kernels import channels_last

Block = Literal["fast", "readable"]
Kind = TypeVar("Kind", bound=nn.Module)


class FusionNet(nn.Module):
    """A network whose four encoder maps pass through a fusion block on their way to the decoder.

    Another fusion is one class: it takes the channels ``(C_1, .., C_4)`` when it is made, and
    ``[I1, .., I4]`` when it is called, each ``(B, C_a, D_a, H_a, W_a)`` with
    ``D_a = D / 2**(a - 1)``; it returns ``[Y1, .., Y4]`` of the same shapes. For instance
    ``FusionNet(NoFusion)`` with a class whose `forward` returns its input is the plain U-Net of
    this encoder and decoder.

    Parameters
    ----------
    fuse_block
        Makes the fusion block from the four channel counts.
    in_channels, num_classes
        Channels of the CT (1) and of the logits (organs and background).
    width
        Channels of the first encoder block (16 in the paper); each further block doubles them.
    deep_supervision
        In training mode return a list: the logits at full, half and quarter resolution, for
        `oarfuse.losses.deep_supervision_loss`. Not in the paper.
    """

    def __init__(
        self,
        fuse_block: Callable[[tuple[int, ...]], nn.Module],
        in_channels: int = 1,
        num_classes: int = 6,
        *,
        width: int = 16,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        channels = tuple(width * 2**index for index in range(5))
        self.in_channels = in_channels
        self.encoder = Encoder(in_channels, channels)
        self.fuse = fuse_block(channels[:4])
        self.decoder = Decoder(num_classes, channels, deep_supervision)

    def encode(self, volume: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return ``[I1, .., I4]`` and the bottleneck ``I5`` of a CT ``(B, in_channels, D, H, W)``.

        Raises
        ------
        OarfuseError
            If the shape is wrong or a side does not divide by 16.
        """
        check_volume(volume, self.in_channels)
        *features, bottleneck = self.encoder(channels_last(volume))
        return features, bottleneck

    def forward(self, volume: Tensor) -> Tensor | list[Tensor]:
        """Return logits ``(B, num_classes, D, H, W)`` for a CT ``(B, in_channels, D, H, W)``."""
        features, bottleneck = self.encode(volume)
        logits: Tensor | list[Tensor] = self.decoder(self.fuse(features), bottleneck)
        return logits


def choose_block(block: Block, *, fast: type[Kind], readable: type[Kind]) -> type[Kind]:
    """Return the class for ``block="fast"`` or ``"readable"``; `OarfuseError` for another word."""
    if block not in ("fast", "readable"):
        raise OarfuseError(f"block is {block!r}: choose 'fast' or 'readable'.")
    return fast if block == "fast" else readable


def check_volume(volume: Tensor, in_channels: int, divisor: int = 16) -> None:
    """Raise `OarfuseError` unless `volume` is ``(B, in_channels, D, H, W)`` and sides divide."""
    if volume.ndim != 5 or volume.shape[1] != in_channels:
        raise OarfuseError(
            f"The network takes (B, {in_channels}, D, H, W), not {tuple(volume.shape)}: "
            f"add the batch and channel axes, or build it with another in_channels."
        )
    if any(side == 0 or side % divisor for side in volume.shape[2:]):
        raise OarfuseError(
            f"The volume's sides are {tuple(volume.shape[2:])}, but each must divide by {divisor}: "
            f"pad or crop it, for instance with monai.transforms.DivisiblePad(k={divisor})."
        )
