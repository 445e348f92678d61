"""R50 U-Net and R50 AttnUNet of Table II: a ResNet-50 encoder (timm), slice by slice.

TransUNet's authors, whose table the paper extends, say only that ResNet-50 replaces the encoders
of U-Net and Attention U-Net. Decided here: all four ResNet stages (the deepest map is 1/32 of the
slice), the upsampling blocks of :mod:`oarfuse.models.compared.transunet` with 256, 128, 64, 32, 16
channels, skips at 1/16, 1/8, 1/4 and 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models._timm import create_encoder
from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.models.compared.transunet import UpBlock

RESNET50 = "resnet50.tv_in1k"
# Channels of ResNet-50 at 1/2, 1/4, 1/8, 1/16 and 1/32.
RESNET50_CHANNELS = (64, 256, 512, 1024, 2048)


class AttentionGate(nn.Module):
    """Additive attention gate of Attention U-Net (Oktay et al., 2018), in 2D.

    The skip is halved to the resolution of the gating signal, both are projected and added, and a
    sigmoid gives one weight in 0..1 a pixel, which is zoomed back and scales the skip.
    """

    def __init__(self, skip_channels: int, gate_channels: int) -> None:
        super().__init__()
        inner = skip_channels // 2
        self.from_skip = nn.Conv2d(skip_channels, inner, kernel_size=2, stride=2, bias=False)
        self.from_gate = nn.Conv2d(gate_channels, inner, kernel_size=1)
        self.weight = nn.Conv2d(inner, 1, kernel_size=1)
        self.out = nn.Sequential(
            nn.Conv2d(skip_channels, skip_channels, kernel_size=1),
            nn.BatchNorm2d(skip_channels),
        )

    def attention(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Weights (N, 1, 2H, 2W) for a skip (N, C, 2H, 2W) under a gate (N, G, H, W)."""
        scores = self.weight(torch.relu(self.from_skip(skip) + self.from_gate(gate)))
        return F.interpolate(
            torch.sigmoid(scores), size=skip.shape[2:], mode="bilinear", align_corners=False
        )

    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """The gated skip (N, C, 2H, 2W)."""
        return self.out(skip * self.attention(skip, gate))


class ResNetUNet(nn.Module):
    """U-Net on a ResNet-50, with or without attention gates on its skips.

    The finest skip is never gated: Oktay et al. leave it out, because the first layer's features
    do not yet represent the input in a high-dimensional space.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        decoder_channels: Sequence[int],
        attention: bool,
        pretrained: bool,
    ) -> None:
        super().__init__()
        if len(decoder_channels) != 5:
            raise OarfuseError(
                f"the decoder doubles the size five times and decoder_channels="
                f"{list(decoder_channels)} names {len(decoder_channels)}: give five."
            )
        self.encoder = create_encoder(
            RESNET50, pretrained=pretrained, features_only=True, in_chans=in_channels
        )
        skips = (*RESNET50_CHANNELS[-2::-1], 0)  # 1024, 512, 256, 64, none
        inputs = (RESNET50_CHANNELS[-1], *decoder_channels[:-1])
        self.blocks = nn.ModuleList(
            UpBlock(inputs[step], skips[step], decoder_channels[step]) for step in range(5)
        )
        self.gates = nn.ModuleList(
            AttentionGate(skips[step], inputs[step]) for step in range(3 if attention else 0)
        )
        self.head = nn.Conv2d(decoder_channels[-1], num_classes, kernel_size=3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes, H, W) of slices (N, C, H, W); H and W divide by 32."""
        *skips, x = self.encoder(image)  # 64 at 1/2, 256, 512, 1024 at 1/16; x: 2048 at 1/32
        for step, block in enumerate(self.blocks):
            skip = skips[-1 - step] if step < len(skips) else None
            if step < len(self.gates):
                skip = self.gates[step](skip, x)
            x = block(x, skip)
        return self.head(x)


def _builder(name: str, summary: str, *, attention: bool) -> Callable[..., SliceWise]:
    """One of the two builders: they differ in the gates on the skips alone."""

    def build(
        *,
        in_channels: int = 1,
        num_classes: int = 9,
        resize_to: int | None = None,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        pretrained: bool = False,
    ) -> SliceWise:
        network = ResNetUNet(
            in_channels=in_channels,
            num_classes=num_classes,
            decoder_channels=decoder_channels,
            attention=attention,
            pretrained=pretrained,
        )
        return SliceWise(network, 32, resize_to)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = summary + _OPTIONS
    return build


_OPTIONS = """

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    resize_to : int, optional
        Side in pixels to which every slice is zoomed and the logits back (TransUNet: 224), a
        multiple of 32. By default slices keep their size.
    decoder_channels : sequence of 5 int
        Channels after each doubling.
    pretrained : bool
        Start the encoder from ImageNet-1k weights (needs internet).

    Raises
    ------
    OarfuseError
        If an option is out of range or the weights cannot be fetched.
    """

r50_unet = _builder(
    "r50_unet", "U-Net with a ResNet-50 encoder, 32.5 M parameters.", attention=False
)
# The gating signal of each skip is the decoder's map one level below.
r50_attnunet = _builder(
    "r50_attnunet",
    "Attention U-Net with a ResNet-50 encoder: its skips at 1/16, 1/8 and 1/4 are gated.",
    attention=True,
)
