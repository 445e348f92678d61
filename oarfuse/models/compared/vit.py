"""The transformer encoders of TransUNet's family: ViT-B/16 and R50-ViT-B/16, from timm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from oarfuse.errors import OarfuseError
from oarfuse.models._timm import create_encoder

PURE = "vit_base_patch16_224.orig_in21k"
HYBRID = "vit_base_r50_s16_224.orig_in21k"
# ResNetV2-50 before the tokens: channels at 1/8, 1/4 and 1/2 of the slice's sides.
HYBRID_SKIPS = (512, 256, 64)


class TokenEncoder(nn.Module):
    """Turn a slice into a map of tokens, one for each 16 x 16 pixels.

    As in TransUNet there is no class token, and no ImageNet normalisation of the input. Slices of
    other sizes than ``img_size`` get the position embedding interpolated (timm's bicubic).

    Parameters
    ----------
    hybrid : bool
        False: ViT-B/16 cuts the slice into 16 x 16 patches. True: a ResNetV2-50 of (3, 4, 9)
        blocks comes first, and each pixel of its 1/16 map becomes a token.
    in_channels : int
        Channels of the slice. (TransUNet repeats one channel three times, which is the same as
        a one-channel filter that is the sum of three; here the filter has the right number.)
    img_size : int
        Side in pixels for which position embeddings are learned, a multiple of 16.
    width, depth, heads, mlp_ratio
        Size of the transformer: ViT-B by default, with inner width ``mlp_ratio * width``.
    dropout : float
        After the position embedding and inside each layer, in 0..1.
    pretrained : bool
        Start from ImageNet-21k weights (needs internet); only with the default size.

    Raises
    ------
    OarfuseError
        If ``img_size`` does not divide by 16, the heads do not divide the width, or weights are
        asked for that do not exist or cannot be fetched.
    """

    def __init__(
        self,
        *,
        hybrid: bool,
        in_channels: int = 1,
        img_size: int = 224,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if img_size < 16 or img_size % 16:
            raise OarfuseError(f"img_size={img_size} is no multiple of 16: use 224 or another.")
        if width % heads:
            raise OarfuseError(
                f"width={width} cannot be shared among heads={heads}: choose a width that the "
                "number of heads divides."
            )
        if pretrained and (width, depth, heads, mlp_ratio) != (768, 12, 12, 4.0):
            raise OarfuseError(
                "pretrained weights exist for ViT-B only: leave width, depth, heads and "
                "mlp_ratio at their defaults."
            )
        self.hybrid = hybrid
        self.width = width
        self.skip_channels = HYBRID_SKIPS if hybrid else ()
        name = HYBRID if hybrid else PURE
        shape: dict[str, Any] = {"in_chans": in_channels, "img_size": img_size, "num_classes": 0}
        self.vit = create_encoder(
            name,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            pos_drop_rate=dropout,
            proj_drop_rate=dropout,
            class_token=False,
            global_pool="",
            dynamic_img_size=True,
            **shape,
        )
        if pretrained:
            trained = create_encoder(name, pretrained=True, **shape)
            self.vit.load_state_dict(without_class_token(trained.state_dict()))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Encode slices.

        Parameters
        ----------
        image : torch.Tensor
            (N, C, H, W), H and W multiples of 16.

        Returns
        -------
        tokens : torch.Tensor
            (N, width, H/16, W/16), after the last normalisation.
        skips : list of torch.Tensor
            Empty without the ResNet; with it (N, 512, H/8, W/8), (N, 256, H/4, W/4) and
            (N, 64, H/2, W/2), coarse to fine.
        """
        skips: list[torch.Tensor] = []
        if self.hybrid:
            tokens, skips = self._hybrid_tokens(image)
        else:
            tokens = self.vit.forward_features(image)  # (N, H/16 * W/16, width)
        grid = (image.shape[2] // 16, image.shape[3] // 16)
        return tokens.transpose(1, 2).unflatten(2, grid), skips

    def _hybrid_tokens(self, image: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """timm's ``forward_features``, spelled out to keep the ResNet's intermediate maps."""
        vit = self.vit
        features, skips = vit.patch_embed.backbone.forward_intermediates(image, indices=[0, 1, 2])
        tokens = vit.patch_embed.proj(features)  # (N, width, H/16, W/16)
        tokens = vit._pos_embed(tokens.permute(0, 2, 3, 1))  # (N, H/16 * W/16, width)
        tokens = vit.blocks(vit.norm_pre(vit.patch_drop(tokens)))
        return vit.norm(tokens), skips[::-1]


def without_class_token(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a timm ViT's weights for the same network without its class token.

    The class token and its position embedding, the first of them, are left out; everything else
    is shared with the input.
    """
    kept = {key: value for key, value in weights.items() if key != "cls_token"}
    kept["pos_embed"] = weights["pos_embed"][:, 1:]
    return kept
