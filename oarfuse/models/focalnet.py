"""The 2D block that the focal-fuse block grew from: FocalNet's focal modulation, as timm has it.

Yang, Li, Dai, Gao: Focal Modulation Networks, NeurIPS 2022 (arXiv 2203.11926).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models._timm import load_timm
from oarfuse.models.focal_fuse import FocalLevel, FocalStream


def as_focalnet(stream: FocalStream) -> nn.Module:
    """Return timm's `FocalModulation` with the weights of one stream, for volumes one voxel deep.

    On such a volume a 3x3x3 kernel that is padded meets data in its middle plane only, so that
    plane is the 2D kernel. FocalNet computes query, first context and gates with one linear layer
    of its input; the focal-fuse block computes the gates from the projection, so their matrices
    are multiplied. Two details of FocalNet have no counterpart and are switched off: the GELU on
    the global context and the projection at the end.

    Parameters
    ----------
    stream
        Of a `FocalFuse` block without exchange, with gates and global context. FocalNet mixes no
        channels between its levels and gives its depth-wise convolutions no bias: here too every
        mix must be the identity, and the biases of mix and depth-wise convolution zero.

    Returns
    -------
    nn.Module
        Maps ``(B, C, H, W)`` to ``(B, C, H, W)``.

    Raises
    ------
    OarfuseError
        If the stream does what FocalNet does not, or timm is missing.
    """
    load_timm()
    from timm.models.focalnet import FocalModulation

    focal_levels = [cast(FocalLevel, level) for level in stream.levels]
    levels, width = len(focal_levels), stream.project.in_channels
    if stream.gate is None or stream.gate.out_channels != levels + 1:
        raise OarfuseError("FocalNet has gates and a global level: build the block with both.")
    for level in focal_levels:
        _check_level(level, width)
    block: Any = FocalModulation(width, focal_window=3, focal_level=levels, focal_factor=0)
    block.act = nn.Identity()
    project, query, gate = (_matrix(conv) for conv in (stream.project, stream.query, stream.gate))
    with torch.no_grad():
        block.f.weight[..., 0, 0] = torch.cat((query[0], project[0], gate[0] @ project[0]))
        block.f.bias[:] = torch.cat((query[1], project[1], gate[0] @ project[1] + gate[1]))
        block.h.weight[..., 0, 0], block.h.bias[:] = _matrix(stream.modulate)
        block.proj.weight[..., 0, 0], block.proj.bias[:] = torch.eye(width), 0
        for layer, level in zip(block.focal_layers, focal_levels, strict=True):
            layer[0].weight[:] = level.depthwise.weight[:, :, 1]  # the kernel's middle plane
    return block


def _matrix(conv: nn.Conv3d) -> tuple[Tensor, Tensor]:
    """Return matrix (C_out, C_in) and bias of a 1x1x1 convolution."""
    assert conv.bias is not None
    return conv.weight.flatten(1), conv.bias


def _check_level(level: FocalLevel, width: int) -> None:
    weight, bias = _matrix(level.fuse.mix)
    mixes = weight.shape[1] != width or not torch.equal(weight, torch.eye(width))
    if mixes or bias.any() or cast(Tensor, level.depthwise.bias).any():
        raise OarfuseError(
            "FocalNet does not mix channels between levels and has no depth-wise bias: build the "
            "block without exchange, set each mix to the identity and these biases to zero."
        )
