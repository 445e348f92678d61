"""How far a focal level sees: the theory as intervals, the measurement as gradients.

An interval is ``(first, last)``, both included, along one axis. All three axes behave alike.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.encoder_decoder import STREAMS
from oarfuse.models.kernels.layers import InstanceNorm

Interval = tuple[int, int]
Module = TypeVar("Module", bound=nn.Module)


def level_field(
    stream: int, level: int, voxel: int, *, exchange: bool = True, down_kernel: int = 3
) -> dict[int, Interval]:
    """Which voxels of each encoder map ``I[b]`` one voxel of ``F[stream, level]`` depends on.

    Follows Eq. 2 backwards, level by level: the depth-wise 3x3x3 convolution asks for one voxel
    more on each side; every stream's part of that comes through its resampling.

    Parameters
    ----------
    stream, level
        The map ``F[a,l]``; level 0 is the projection ``F[a,0]``, which sees its own voxel only.
    voxel
        Index along the axis, on the grid of `stream`.
    exchange, down_kernel
        The block's options, see `oarfuse.models.focal_fuse.FocalFuse`. Average pooling is taken
        for granted; under max pooling the interval is an upper bound.

    Returns
    -------
    dict
        Stream ``b`` to an interval on its own grid; it may reach over the volume's edge, see
        `clip`. Without exchange the own stream is the only key.

    Raises
    ------
    OarfuseError
        If the stream or the level does not exist.
    """
    if stream not in STREAMS or level < 0:
        raise OarfuseError(f"There is no F[{stream},{level}]: streams are 1 to 4, levels from 0.")
    needed: dict[int, Interval] = {stream: (voxel, voxel)}
    for _ in range(level):
        earlier: dict[int, Interval] = {}
        for target, (first, last) in needed.items():
            for source in STREAMS if exchange else (target,):
                reached = _before_resampling((first - 1, last + 1), source, target, down_kernel)
                earlier[source] = _hull(earlier.get(source), reached)
        needed = earlier
    return needed


def encoder_field(stream: int, interval: Interval) -> Interval:
    """Which voxels of the CT an interval of the encoder map ``I[stream]`` depends on.

    Two 3x3x3 convolutions in each block ask for two voxels more on each side; each pooling between
    the blocks doubles. Normalisation is left out: its mean and variance see the whole volume.
    """
    first, last = interval
    for block in range(stream, 0, -1):
        first, last = first - 2, last + 2
        if block > 1:
            first, last = 2 * first, 2 * last + 1
    return first, last


def ct_field(
    stream: int, level: int, voxel: int, *, exchange: bool = True, down_kernel: int = 3
) -> Interval:
    """Which voxels of the CT one voxel of ``F[stream, level]`` depends on, normalisation aside."""
    field = level_field(stream, level, voxel, exchange=exchange, down_kernel=down_kernel)
    whole: Interval | None = None
    for source, interval in field.items():
        whole = _hull(whole, encoder_field(source, interval))
    assert whole is not None  # the own stream is always there
    return whole


def clip(interval: Interval, size: int) -> Interval:
    """Cut an interval at the edges of an axis of `size` voxels."""
    return max(interval[0], 0), min(interval[1], size - 1)


def gradient_boxes(output: Tensor, inputs: Sequence[Tensor]) -> list[tuple[Interval, ...] | None]:
    """Measure which part of each input an output depends on, as boxes of non-zero gradient.

    Parameters
    ----------
    output
        One number, or a few that are summed: for instance all channels of one voxel. Use float64:
        in float32 the far end of a long chain of layers may round to zero.
    inputs
        Maps ``(1, C, D, H, W)`` that require gradients.

    Returns
    -------
    list
        For each input its intervals along D, H and W, or None where no gradient arrives.
    """
    gradients = torch.autograd.grad(output.sum(), inputs, retain_graph=True, allow_unused=True)
    boxes: list[tuple[Interval, ...] | None] = []
    for gradient in gradients:
        if gradient is None or not gradient.any():
            boxes.append(None)
            continue
        touched = gradient.ne(0).any(dim=1)[0].nonzero()  # (voxels, 3)
        boxes.append(
            tuple((int(line.min()), int(line.max())) for line in touched.unbind(1))  # D, H, W
        )
    return boxes


def without_normalisation(module: Module) -> Module:
    """Return a copy whose instance normalisations do nothing, for measuring how far layers see.

    A normalisation's mean and variance pass a little gradient to every voxel of the volume, so
    with them each receptive field is the whole volume.
    """
    bare = copy.deepcopy(module)
    for parent in list(bare.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, InstanceNorm):
                setattr(parent, name, nn.Identity())
    return bare


def _hull(one: Interval | None, other: Interval) -> Interval:
    return other if one is None else (min(one[0], other[0]), max(one[1], other[1]))


def _before_resampling(interval: Interval, source: int, target: int, kernel: int) -> Interval:
    """Follow `oarfuse.models.focal_fuse.Resample` backwards, from target to source voxels."""
    first, last = interval
    if source < target:  # downwards: a strided convolution, then pooling
        factor = 2 ** (target - source - 1)
        first, last = first * factor, last * factor + factor - 1
        return 2 * first - kernel // 2, 2 * last + kernel // 2
    if source > target:  # upwards: a transposed convolution without overlap, then interpolation
        factor = 2 ** (source - target - 1)
        if factor > 1:  # between the two samples around the voxel's centre
            first = (2 * first + 1 - factor) // (2 * factor)
            last = (2 * last + 1 - factor) // (2 * factor) + 1
        return first // 2, last // 2
    return interval
