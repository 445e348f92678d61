"""V-Net of Table II (Milletari et al., 3DV 2016), as MONAI implements it."""

from __future__ import annotations

from monai.networks.nets import VNet

from oarfuse.errors import OarfuseError
from oarfuse.models.compared.anysize import AnySize


def make_vnet(*, in_channels: int, num_classes: int, dropout: float) -> VNet:
    """MONAI's ``VNet`` with the paper's PReLU; (B, C, D, H, W), sides multiples of 16.

    Raises
    ------
    OarfuseError
        If 16 does not divide by ``in_channels``: V-Net adds its input, repeated to 16 channels,
        to the first convolution's output.
    """
    if 16 % in_channels:
        raise OarfuseError(
            f"V-Net repeats its input to 16 channels and cannot do so with {in_channels}: "
            "use 1, 2, 4, 8 or 16 channels."
        )
    network = VNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=num_classes,
        act="prelu",
        dropout_prob_down=dropout,
        dropout_prob_up=(dropout, dropout),
    )
    # MONAI fixes these two at one half, whatever its arguments say.
    network.up_tr64.dropout2.p = dropout
    network.up_tr32.dropout2.p = dropout
    return network


def vnet(*, in_channels: int = 1, num_classes: int = 9, dropout: float = 0.0) -> AnySize:
    """V-Net: residual blocks of 5x5x5 convolutions, 16 to 256 channels, 45.6 M parameters.

    MONAI's version adds batch normalisation after every convolution, which the paper has not;
    the paper has no dropout, so it is off by default.

    Parameters
    ----------
    in_channels : int
        Channels in: a divisor of 16.
    num_classes : int
        Classes out.
    dropout : float
        Probability in 0..1 of dropping whole channels in the two deepest levels and the skips.

    Returns
    -------
    AnySize
        Logits (B, num_classes, D, H, W) of volumes (B, in_channels, D, H, W) of any size.

    Raises
    ------
    OarfuseError
        If 16 does not divide by ``in_channels``.
    """
    network = make_vnet(in_channels=in_channels, num_classes=num_classes, dropout=dropout)
    return AnySize(network, multiple=16)
