"""TransUNet and its ablations (Chen et al., 2021, arXiv 2102.04306), slice by slice.

=========== ==================== ====================================== ==========
name        encoder              decoder                                parameters
=========== ==================== ====================================== ==========
vit_none    ViT-B/16             none: 1x1 convolution, 16-fold zoom      85.4 M
vit_cup     ViT-B/16             cascaded upsampler                       91.3 M
r50_vit_cup ResNetV2-50, ViT-B   cascaded upsampler                      103.8 M
transunet   ResNetV2-50, ViT-B   cascaded upsampler with three skips     105.3 M
=========== ==================== ====================================== ==========

(One input channel, nine classes.) Every builder
returns a module that takes (B, in_channels, D, H, W) and gives logits (B, num_classes, D, H, W);
see :class:`oarfuse.models.compared.slicewise.SliceWise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.models.compared.vit import TokenEncoder


def conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution without bias, batch normalisation, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UpBlock(nn.Module):
    """Double the size (bilinear), append the skip, convolve twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_bn_relu(in_channels + skip_channels, out_channels),
            conv_bn_relu(out_channels, out_channels),
        )

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """(N, in, H, W) and optionally (N, skip, 2H, 2W) -> (N, out, 2H, 2W)."""
        # Corners aligned, as nn.UpsamplingBilinear2d in the authors' code.
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.convs(x)


class CascadedUpsampler(nn.Module):
    """TransUNet's decoder (CUP): 1/16 of the slice to full size in four doublings.

    Parameters
    ----------
    in_channels : int
        Width of the tokens; a convolution brings them to 512 first.
    skip_channels : sequence of int
        Channels of the skips, coarse to fine; empty for none.
    channels : sequence of 4 int
        Channels after each doubling.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: Sequence[int] = (),
        channels: Sequence[int] = (256, 128, 64, 16),
    ) -> None:
        super().__init__()
        self.first = conv_bn_relu(in_channels, 512)
        inputs = (512, *channels[:-1])
        skips = (*skip_channels, *(0 for _ in channels))
        self.blocks = nn.ModuleList(
            UpBlock(inputs[step], skips[step], channels[step]) for step in range(len(channels))
        )
        self.out_channels = channels[-1]

    def forward(self, tokens: torch.Tensor, skips: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """(N, width, H/16, W/16) and skips, coarse to fine -> (N, channels[-1], H, W)."""
        x = self.first(tokens)
        for step, block in enumerate(self.blocks):
            x = block(x, skips[step] if step < len(skips) else None)
        return x


class ViTNone(nn.Module):
    """ViT without a decoder: classes by a 1x1 convolution on the tokens, zoomed 16 times."""

    def __init__(self, encoder: TokenEncoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Conv2d(encoder.width, num_classes, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes, H, W) of slices (N, C, H, W)."""
        tokens, _ = self.encoder(image)
        return F.interpolate(
            self.head(tokens), size=image.shape[2:], mode="bilinear", align_corners=True
        )


class ViTCUP(nn.Module):
    """A token encoder, the cascaded upsampler and a 3x3 head; TransUNet when it has skips."""

    def __init__(self, encoder: TokenEncoder, num_classes: int, skips: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.skips = skips
        self.decoder = CascadedUpsampler(encoder.width, encoder.skip_channels if skips else ())
        self.head = nn.Conv2d(self.decoder.out_channels, num_classes, kernel_size=3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes, H, W) of slices (N, C, H, W)."""
        tokens, skips = self.encoder(image)
        return self.head(self.decoder(tokens, skips if self.skips else ()))


def _builder(
    name: str, summary: str, *, hybrid: bool, network: Callable[[TokenEncoder, int], nn.Module]
) -> Callable[..., SliceWise]:
    """One of the four builders: they share every option and differ in encoder and decoder."""

    def build(
        *,
        in_channels: int = 1,
        num_classes: int = 9,
        img_size: int = 224,
        resize: bool = False,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        pretrained: bool = False,
    ) -> SliceWise:
        encoder = TokenEncoder(
            hybrid=hybrid,
            in_channels=in_channels,
            img_size=img_size,
            width=width,
            depth=depth,
            heads=heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            pretrained=pretrained,
        )
        return SliceWise(network(encoder, num_classes), 16, img_size if resize else None)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = summary + _OPTIONS
    return build


_OPTIONS = """

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    img_size : int
        Side in pixels for which position embeddings are learned, a multiple of 16.
    resize : bool
        Zoom every slice to ``img_size`` and the logits back, TransUNet's protocol. By default
        slices keep their size and the position embedding is interpolated instead.
    width, depth, heads, mlp_ratio, dropout, pretrained
        See :class:`oarfuse.models.compared.vit.TokenEncoder`.

    Raises
    ------
    OarfuseError
        If an option is out of range or the weights cannot be fetched.
    """

vit_none = _builder(
    "vit_none",
    "ViT with no decoder (\"None\"): the tokens' class scores are zoomed to the slice's size.",
    hybrid=False,
    network=ViTNone,
)
vit_cup = _builder(
    "vit_cup",
    "ViT with the cascaded upsampler and no skips.",
    hybrid=False,
    network=partial(ViTCUP, skips=False),
)
r50_vit_cup = _builder(
    "r50_vit_cup",
    "ResNetV2-50 and ViT with the cascaded upsampler and no skips.",
    hybrid=True,
    network=partial(ViTCUP, skips=False),
)
transunet = _builder(
    "transunet",
    "TransUNet: r50_vit_cup with skips of 512, 256 and 64 channels from the ResNet.",
    hybrid=True,
    network=partial(ViTCUP, skips=True),
)
