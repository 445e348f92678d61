"""DARR of Table II: a V-Net that also solves a jigsaw of its input, and adapts by it.

Fu et al., "Domain Adaptive Relational Reasoning for 3D Multi-Organ Segmentation", MICCAI 2020,
arXiv 2005.09120. No code is public. The abstract fixes the ideas: (1) organs keep their places
relative to each other, so the network learns their relations by recovering a CT from its shuffled
patches, jointly with segmentation; (2) a super-resolution network, trained jointly, brings images
of different scanners to one standard resolution; (3) at test time the jigsaw alone, which needs no
labels, adapts the network to each image. Only that much could be consulted here, so everything
below is a decision of ours, listed in the ledger (``oarfuse/resources/ledger.json``):

- Puzzle: the volume is cut into ``grid ** 3`` equal tiles, shuffled and put together again, and the
  V-Net's encoder sees the shuffled volume as a whole. ``grid`` is 2, so that tile borders fall on
  voxel borders of the 1/16 bottleneck for patches whose sides divide by 32.
- Answer: for every place, which tile lies there (``grid ** 3`` classes). The head pools the
  bottleneck once a tile and joins all tiles in one linear layer: relations, not single tiles.
- Loss: cross-entropy, averaged over places. Any permutation may come up, the identity too.
- Super-resolution: three 3x3x3 convolutions that add a correction to the image, trained with mean
  squared error to restore an image that was halved and zoomed back. Segmentation and jigsaw work
  on its output.
- Total loss: segmentation + 0.1 jigsaw + 0.1 super-resolution.
- Adaptation: ten steps of Adam on the jigsaw loss of the one image. The encoder and the
  jigsaw head move; the super-resolution network, the decoder and all batch normalisation
  statistics stay.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models.compared.anysize import AnySize
from oarfuse.models.compared.vnet import make_vnet

VNET_STRIDE = 16


def shuffle_tiles(volume: torch.Tensor, permutations: torch.Tensor, grid: int) -> torch.Tensor:
    """Cut volumes into ``grid ** 3`` tiles and put them together in another order.

    Parameters
    ----------
    volume : torch.Tensor
        (B, C, D, H, W); the sides divide by ``grid``.
    permutations : torch.Tensor
        (B, grid^3), int64: place k (counted along W first, then H, then D) of volume b gets the
        tile that was at place ``permutations[b, k]``. ``permutations.argsort(1)`` undoes it.
    grid : int
        Tiles along each axis.

    Returns
    -------
    torch.Tensor
        (B, C, D, H, W), shuffled.

    Raises
    ------
    OarfuseError
        If a side does not divide by ``grid``.
    """
    if any(side % grid for side in volume.shape[2:]):
        raise OarfuseError(
            f"a volume of {tuple(volume.shape[2:])} voxels cannot be cut into {grid} equal tiles "
            "along each axis: crop it first."
        )
    d, h, w = (side // grid for side in volume.shape[2:])
    tiles = volume.unflatten(4, (grid, w)).unflatten(3, (grid, h)).unflatten(2, (grid, d))
    # (B, C, gD, d, gH, h, gW, w) -> (B, gD * gH * gW, C, d, h, w)
    tiles = tiles.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(1, 3)
    rows = torch.arange(len(tiles), device=tiles.device).unsqueeze(1)
    tiles = tiles[rows, permutations].unflatten(1, (grid, grid, grid))
    # (B, gD, gH, gW, C, d, h, w) -> (B, C, D, H, W)
    return tiles.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(volume.shape)


def random_permutations(count: int, tiles: int, generator: torch.Generator | None) -> torch.Tensor:
    """(count, tiles) int64, each row an independent uniform permutation of 0..tiles-1."""
    return torch.rand(count, tiles, generator=generator).argsort(dim=1)


class SuperResolution(nn.Module):
    """Add to an image the detail that three 3x3x3 convolutions predict; the size stays."""

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        last = nn.Conv3d(width, channels, kernel_size=3, padding=1)
        for parameter in last.parameters():
            nn.init.normal_(parameter, std=1e-3)  # begins close to "change nothing"
        self.detail = nn.Sequential(
            nn.Conv3d(channels, width, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, width, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) -> (B, C, D, H, W)."""
        return image + self.detail(image)


def make_jigsaw_head(channels: int, grid: int, width: int = 64) -> nn.Sequential:
    """Encoder map (B, channels, d, h, w) -> scores (B, places, tiles), both ``grid ** 3``."""
    tiles = grid**3
    return nn.Sequential(
        nn.Conv3d(channels, width, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool3d(grid),
        nn.Flatten(),
        nn.Linear(width * tiles, tiles * tiles),
        nn.Unflatten(1, (tiles, tiles)),
    )


class DARRNetwork(nn.Module):
    """The three parts of DARR on volumes whose sides divide by 16."""

    def __init__(self, in_channels: int, num_classes: int, grid: int, dropout: float) -> None:
        super().__init__()
        self.super_resolution = SuperResolution(in_channels)
        self.vnet = make_vnet(in_channels=in_channels, num_classes=num_classes, dropout=dropout)
        self.jigsaw_head = make_jigsaw_head(channels=256, grid=grid)

    @property
    def encoder(self) -> tuple[nn.Module, ...]:
        """The V-Net's parts from its input to the 1/16 bottleneck."""
        v = self.vnet
        return v.in_tr, v.down_tr32, v.down_tr64, v.down_tr128, v.down_tr256

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Segmentation logits (B, num_classes, D, H, W)."""
        return self.vnet(self.super_resolution(volume))

    def solve(self, shuffled: torch.Tensor) -> torch.Tensor:
        """Scores (B, places, tiles): which tile lies at each place of a shuffled volume."""
        for part in self.encoder:
            shuffled = part(shuffled)
        return self.jigsaw_head(shuffled)


class DARR(AnySize):
    """DARR as decided in this module's docstring: logits for volumes of any size.

    A training step adds :meth:`auxiliary_loss` to the segmentation loss; :func:`adapt` fits a
    copy to one test image.

    Parameters
    ----------
    in_channels : int
        Channels in: a divisor of 16.
    num_classes : int
        Classes out.
    grid : int
        Tiles of the jigsaw along each axis, 2 or more.
    jigsaw_weight, super_resolution_weight : float
        Weights of the two auxiliary losses beside a segmentation loss of weight 1.
    dropout : float
        As in :func:`oarfuse.models.compared.vnet.vnet`.

    Raises
    ------
    OarfuseError
        If an option is out of range.
    """

    network: DARRNetwork

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 9,
        grid: int = 2,
        jigsaw_weight: float = 0.1,
        super_resolution_weight: float = 0.1,
        dropout: float = 0.0,
    ) -> None:
        if grid < 2:
            raise OarfuseError(f"a jigsaw of grid={grid} has one tile: use 2 or more.")
        if jigsaw_weight < 0 or super_resolution_weight < 0:
            raise OarfuseError("a loss weight of darr is negative: use 0 to switch the loss off.")
        super().__init__(DARRNetwork(in_channels, num_classes, grid, dropout), VNET_STRIDE)
        self.grid = grid
        self.jigsaw_weight = jigsaw_weight
        self.super_resolution_weight = super_resolution_weight

    def jigsaw_loss(self, volume: torch.Tensor, permutations: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy (nats) of naming the tile at every place of the shuffled volume.

        Parameters
        ----------
        volume : torch.Tensor
            (B, C, D, H, W), before super-resolution. The far ends are cropped until every side
            divides by 16 * grid.
        permutations : torch.Tensor
            (B, grid^3), see :func:`shuffle_tiles`.

        Raises
        ------
        OarfuseError
            If a side is shorter than 16 * grid voxels.
        """
        unit = VNET_STRIDE * self.grid
        if any(side < unit for side in volume.shape[2:]):
            raise OarfuseError(
                f"a volume of {tuple(volume.shape[2:])} voxels is too small for darr's jigsaw: "
                f"every side needs at least {unit}."
            )
        d, h, w = (side - side % unit for side in volume.shape[2:])
        image = self.network.super_resolution(volume[:, :, :d, :h, :w])
        permutations = permutations.to(volume.device)
        scores = self.network.solve(shuffle_tiles(image, permutations, self.grid))
        return F.cross_entropy(scores.flatten(0, 1), permutations.flatten())

    def super_resolution_loss(self, volume: torch.Tensor) -> torch.Tensor:
        """Mean squared error of restoring the volume after halving it and zooming it back."""
        size = volume.shape[2:]
        halved = F.avg_pool3d(volume, kernel_size=2, ceil_mode=True)
        blurred = F.interpolate(halved, size=size, mode="trilinear", align_corners=False)
        return F.mse_loss(self.network.super_resolution(blurred), volume)

    def auxiliary_loss(
        self, volume: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """The two weighted label-free losses of a training batch (B, C, D, H, W).

        Parameters
        ----------
        volume : torch.Tensor
            The training images.
        generator : torch.Generator, optional
            Source of the permutations; torch's global one by default.
        """
        permutations = random_permutations(len(volume), self.grid**3, generator)
        return self.jigsaw_weight * self.jigsaw_loss(
            volume, permutations
        ) + self.super_resolution_weight * self.super_resolution_loss(volume)


def adapt(
    model: DARR,
    image: torch.Tensor,
    *,
    steps: int = 10,
    lr: float = 1e-4,
    puzzles: int = 4,
    seed: int = 0,
) -> DARR:
    """Fit a copy of the model to one test image by its jigsaw; no label is used.

    Each step shuffles the image ``puzzles`` times and lowers the mean jigsaw loss, so that the
    encoder learns to recognise the places of *this* scanner's anatomy; the decoder then reads
    better features. Batch normalisation keeps the statistics of training, since one image says
    little about them.

    Parameters
    ----------
    model : DARR
        The trained model. It is not changed.
    image : torch.Tensor
        (1, C, D, H, W), prepared as for training; every side at least 16 * grid.
    steps : int
        Gradient steps; 0 returns a plain copy.
    lr : float
        Learning rate of Adam.
    puzzles : int
        Permutations a step.
    seed : int
        Seed of the permutations.

    Returns
    -------
    DARR
        An adapted copy, in evaluation mode, on the device of ``model``.

    Raises
    ------
    OarfuseError
        If ``steps``, ``lr`` or ``puzzles`` is out of range, there is not exactly one image, or
        it is too small.
    """
    if steps < 0 or lr <= 0 or puzzles < 1:
        raise OarfuseError(
            f"adaptation with steps={steps}, lr={lr}, puzzles={puzzles} is impossible: give "
            "steps >= 0, lr > 0 and puzzles >= 1."
        )
    if image.dim() != 5 or len(image) != 1:
        raise OarfuseError(
            f"adaptation fits one image (1, C, D, H, W) and got {tuple(image.shape)}: "
            "adapt a copy for each image."
        )
    generator = torch.Generator().manual_seed(seed)
    # Inference code may run without gradients: adaptation is training and needs them.
    with torch.inference_mode(False), torch.enable_grad():
        adapted = copy.deepcopy(model).eval()
        batch = image.clone().expand(puzzles, -1, -1, -1, -1)
        network = adapted.network
        parts = (*network.encoder, network.jigsaw_head)
        moving = [parameter for part in parts for parameter in part.parameters()]
        optimizer = torch.optim.Adam(moving, lr=lr)
        for _ in range(steps):
            permutations = random_permutations(puzzles, adapted.grid**3, generator)
            optimizer.zero_grad()
            # Only the moving parts get gradients: the rest of the copy stays as trained.
            adapted.jigsaw_loss(batch, permutations).backward(inputs=moving)
            optimizer.step()
        optimizer.zero_grad()
    return adapted
