"""The five comparison methods of Table I, as MONAI implements them.

The paper names UNet-3D [3], AttUNet [12], DynUNet [13], UNETR [6] and SwinUNETR [5] and gives no
size for any of them. The names are those of MONAI's classes, so MONAI's networks are used here,
each set up as its own paper describes it; where that paper leaves room, the width follows the
paper's own encoder (16 channels, doubling). Every such choice is an entry of the ledger
(``oarfuse/resources/ledger.json``).

========== ======================================= ============ ==================================
name       default                                 parameters   published
========== ======================================= ============ ==================================
unet3d     16, 32, 64, 128, 256 channels            5.66 M      5.88 M (Oktay et al., their 3D
                                                                U-Net of these widths); 19.07 M
                                                                (Cicek et al., 32 to 512)
attunet    16, 32, 64, 128, 256 channels            5.91 M      6.40 M (Oktay et al.)
dynunet    16, 32, 64, 128, 256 channels            5.65 M      none: sized per data set
unetr      ViT-B/16, feature size 16               92.78 M      92.6 M
swinunetr  feature size 48                         62.19 M      62.2 M
========== ======================================= ============ ==================================

(Parameters with one input channel and six classes.) Every builder returns a module that takes
(B, in_channels, D, H, W) of any size (see `oarfuse.models.compared.anysize.AnySize`) and gives
logits (B, num_classes, D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import UNETR, AttentionUnet, BasicUNet, DynUNet, SwinUNETR
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models.compared.anysize import AnySize

PAPER_WIDTHS = (16, 32, 64, 128, 256)


def unet3d(
    *,
    in_channels: int = 1,
    num_classes: int = 6,
    features: Sequence[int] = PAPER_WIDTHS,
    norm: str = "instance",
    dropout: float = 0.0,
) -> AnySize:
    """3D U-Net (Cicek et al., MICCAI 2016): MONAI's ``BasicUNet``.

    Two 3x3x3 convolutions a level, max pooling, 2x2x2 transposed convolutions and concatenated
    skips, as in the 3D U-Net; MONAI's own ``UNet`` is residual with strided convolutions and so
    is further from the cited paper. Differences that remain: padded convolutions, leaky ReLU,
    four poolings where the 3D U-Net has three, and instance instead of batch normalisation
    (patches come one or two at a time). ``features=(32, 64, 128, 256, 512)`` has the widths of
    the 3D U-Net.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    features : sequence of 5 int
        Channels of the five levels, full resolution first.
    norm : {"instance", "batch"}
        Normalisation after each convolution.
    dropout : float
        Dropout probability in 0..1.

    Raises
    ------
    OarfuseError
        If ``features`` has not five entries or ``norm`` is unknown.
    """
    if len(features) != 5:
        raise OarfuseError(
            f"unet3d has five levels and features={list(features)} names {len(features)}: "
            "give five channel counts."
        )
    if norm not in ("instance", "batch"):
        raise OarfuseError(f"unet3d knows no norm {norm!r}: choose 'instance' or 'batch'.")
    network = BasicUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=num_classes,
        features=(*features, features[0]),  # the sixth is the width before the head
        norm=(norm, {"affine": True}),
        dropout=dropout,
    )
    return AnySize(network, multiple=16)


def attunet(
    *,
    in_channels: int = 1,
    num_classes: int = 6,
    channels: Sequence[int] = PAPER_WIDTHS,
    dropout: float = 0.0,
) -> AnySize:
    """Attention U-Net (Oktay et al., MIDL 2018): MONAI's ``AttentionUnet``.

    The widths are those of the authors' own 3D experiments. MONAI's version differs from the
    paper: the gate works at the skip's resolution instead of the coarser one, the decoder merges
    with one convolution instead of two, halving is done by strided convolution, and there is no
    deep supervision. It normalises per batch, and MONAI offers no other choice.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    channels : sequence of int
        Channels of the levels, full resolution first; each further level halves the sides.
    dropout : float
        Dropout probability in 0..1.

    Raises
    ------
    OarfuseError
        If fewer than two levels are asked for.
    """
    levels = _checked_levels("attunet", channels)
    network = AttentionUnet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=num_classes,
        channels=tuple(channels),
        strides=(2,) * (levels - 1),
        dropout=dropout,
    )
    return AnySize(network, multiple=2 ** (levels - 1))


def dynunet(
    *,
    in_channels: int = 1,
    num_classes: int = 6,
    filters: Sequence[int] = PAPER_WIDTHS,
    res_block: bool = False,
    dropout: float | None = None,
) -> AnySize:
    """MONAI's ``DynUNet``, the network class that is modelled on nnU-Net's.

    This is not nnU-Net. nnU-Net (Isensee et al., Nature Methods 2021, the paper's [13]) is a
    method that derives resampling, patch size, depth, kernel sizes, training schedule,
    augmentation, post-processing and ensembling from the data set; only its network topology is
    here, with isotropic 3x3x3 kernels, stride 2 throughout and no deep supervision. nnU-Net's
    own full-resolution network starts at 32 channels: ``filters=(32, 64, 128, 256, 320)``.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    filters : sequence of at least 3 int
        Channels of the levels, full resolution first; each further level halves the sides.
    res_block : bool
        Residual instead of plain convolution blocks.
    dropout : float, optional
        Dropout probability in 0..1.

    Raises
    ------
    OarfuseError
        If fewer than three levels are asked for.
    """
    levels = _checked_levels("dynunet", filters, least=3)
    network = DynUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=num_classes,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=tuple(filters),
        dropout=dropout,
        res_block=res_block,
    )
    # MONAI registers every layer a second time in a chain of skips. As a plain attribute the chain
    # still runs, and each weight has one name: files of tensors refuse to hold one under two.
    chain = network.skip_layers
    del network.skip_layers
    object.__setattr__(network, "skip_layers", chain)
    return AnySize(network, multiple=2 ** (levels - 1))


class AnyGridUNETR(UNETR):
    """MONAI's ``UNETR``, freed from the one input size it is built for.

    At that size the logits are MONAI's. At another one the learned position embedding is
    interpolated (trilinear) to the new grid of 16^3-voxel tokens; MONAI's class would raise.
    MONAI's transformer blocks carry a normalisation for cross-attention that a ViT never calls:
    it is dropped, so that every parameter is trained and counted (18,432 fewer).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for block in self.vit.blocks:
            block.norm_cross_attn = nn.Identity()

    def forward(self, x_in: torch.Tensor) -> torch.Tensor:
        """Logits (B, num_classes, D, H, W) of a (B, C, D, H, W) volume; sides divide by 16."""
        grid = tuple(side // 16 for side in x_in.shape[2:])
        tokens, hidden = self._encode(x_in, grid)

        def volume(sequence: torch.Tensor) -> torch.Tensor:
            # (B, tokens, width) -> (B, width, D/16, H/16, W/16)
            return sequence.transpose(1, 2).unflatten(2, grid)

        skip4 = self.encoder4(volume(hidden[9]))
        skip3 = self.encoder3(volume(hidden[6]))
        skip2 = self.encoder2(volume(hidden[3]))
        x = self.decoder5(volume(tokens), skip4)
        x = self.decoder4(x, skip3)
        x = self.decoder3(x, skip2)
        return self.out(self.decoder2(x, self.encoder1(x_in)))

    def _encode(
        self, x_in: torch.Tensor, grid: tuple[int, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Tokens after the last layer (normalised) and after each layer (not normalised)."""
        embedding = self.vit.patch_embedding
        position: torch.Tensor = embedding.position_embeddings  # (1, tokens, width)
        if grid != self.feat_size:
            position = position.transpose(1, 2).unflatten(2, self.feat_size)
            position = F.interpolate(position, size=grid, mode="trilinear", align_corners=False)
            position = position.flatten(2).transpose(1, 2)
        x = embedding.patch_embeddings(x_in).flatten(2).transpose(1, 2) + position
        x = embedding.dropout(x)
        hidden = []
        for block in self.vit.blocks:
            x = block(x)
            hidden.append(x)
        return self.vit.norm(x), hidden


def unetr(
    *,
    in_channels: int = 1,
    num_classes: int = 6,
    patch_size: Sequence[int] | int = 96,
    feature_size: int = 16,
    hidden_size: int = 768,
    mlp_dim: int = 3072,
    num_heads: int = 12,
    dropout: float = 0.0,
) -> AnySize:
    """UNETR (Hatamizadeh et al., WACV 2022): MONAI's, with ViT-B/16 as published.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    patch_size : int or sequence of 3 int
        Sides (D, H, W) in voxels of the patches it will be trained on, multiples of 16: they fix
        the number of learned position embeddings. Other sizes are accepted at run time, with the
        embedding interpolated.
    feature_size : int
        Channels at full resolution.
    hidden_size, mlp_dim, num_heads : int
        Width, inner width and attention heads of the 12 transformer layers.
    dropout : float
        Dropout probability in 0..1.

    Raises
    ------
    OarfuseError
        If a side of ``patch_size`` does not divide by 16 or the heads do not divide the width.
    """
    sides = (patch_size,) * 3 if isinstance(patch_size, int) else tuple(patch_size)
    if len(sides) != 3 or any(side < 16 or side % 16 for side in sides):
        raise OarfuseError(
            f"unetr cuts its patch into 16-voxel cubes and patch_size={list(sides)} does not "
            "allow it: give three multiples of 16."
        )
    if hidden_size % num_heads:
        raise OarfuseError(
            f"unetr cannot share hidden_size={hidden_size} among num_heads={num_heads}: "
            "choose a width that the number of heads divides."
        )
    network = AnyGridUNETR(
        in_channels=in_channels,
        out_channels=num_classes,
        img_size=sides,
        feature_size=feature_size,
        hidden_size=hidden_size,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        dropout_rate=dropout,
    )
    return AnySize(network, multiple=16)


def swinunetr(
    *,
    in_channels: int = 1,
    num_classes: int = 6,
    feature_size: int = 48,
    dropout: float = 0.0,
    use_checkpoint: bool = False,
) -> AnySize:
    """Swin UNETR (Hatamizadeh et al., BrainLes 2021): MONAI's, first version.

    Patch 2, window 7, two blocks in each of four stages, heads 3, 6, 12, 24.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels in and classes out.
    feature_size : int
        Channels of the first stage, a multiple of 12: 48 as published (62.2 M parameters), 24
        for a network of 15.7 M.
    dropout : float
        Dropout probability in 0..1.
    use_checkpoint : bool
        Recompute activations in the backward pass: less memory, about a third more work.

    Raises
    ------
    OarfuseError
        If ``feature_size`` does not divide by 12.
    """
    if feature_size < 12 or feature_size % 12:
        raise OarfuseError(
            f"swinunetr needs a feature_size that divides by 12 and got {feature_size}: "
            "use 24, or 48 as published."
        )
    # MONAI reads the drop-path rates out of a tensor, which has no values on the meta device.
    with torch.device("cpu"):
        network = SwinUNETR(
            in_channels=in_channels,
            out_channels=num_classes,
            feature_size=feature_size,
            drop_rate=dropout,
            use_checkpoint=use_checkpoint,
        )
    return AnySize(network, multiple=32)


def _checked_levels(name: str, widths: Sequence[int], least: int = 2) -> int:
    if len(widths) < least:
        raise OarfuseError(
            f"{name} needs at least {least} levels and got {list(widths)}: add channel counts."
        )
    return len(widths)
