"""On a volume one voxel deep the focal-fuse block is 2D focal modulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import erf

from oarfuse.errors import OarfuseError
from oarfuse.models.fast import FastFocalFuse
from oarfuse.models.focal_fuse import FocalFuse
from oarfuse.models.focalnet import as_focalnet

CHANNELS = (4, 8, 16, 32)
SIDES = (24, 40)


def images() -> list[torch.Tensor]:
    """Random maps of the four streams, one voxel deep."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, 1, *(s // 2**a for s in SIDES), generator=random)
        for a, c in enumerate(CHANNELS)
    ]


def numbers(conv: Any) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's weight without its unused axes, and its bias, in float64."""
    weight = conv.weight.detach().numpy().astype(float)
    return np.squeeze(weight), conv.bias.detach().numpy().astype(float)


def focal_modulation_2d(image: np.ndarray, stream: Any) -> np.ndarray:
    """Compute focal modulation of one image (C, H, W) with NumPy and SciPy alone."""

    def linear(features: np.ndarray, conv: Any) -> np.ndarray:
        weight, bias = numbers(conv)
        return np.tensordot(weight, features, axes=1) + bias[:, None, None]

    first = linear(image, stream.project)
    gates = linear(first, stream.gate)
    features, gathered = first, np.zeros_like(first)
    for level, gate in zip(stream.levels, gates, strict=False):
        mixed = linear(features, level.fuse.mix)
        kernels, bias = numbers(level.depthwise)  # (C, 3, 3, 3), the middle plane is [:, 1]
        features = np.stack(
            [
                ndimage.correlate(plane, kernel[1], mode="constant") + offset
                for plane, kernel, offset in zip(mixed, kernels, bias, strict=True)
            ]
        )
        features = features * (1 + erf(features / np.sqrt(2))) / 2  # GELU
        gathered += features * gate
    gathered += features.mean(axis=(1, 2), keepdims=True) * gates[-1]
    return linear(gathered, stream.modulate) * linear(image, stream.query)


@pytest.mark.parametrize("block", [FocalFuse, FastFocalFuse])
@pytest.mark.parametrize("levels", [1, 3])
def test_agrees_with_an_independent_2d_computation(block: type[FocalFuse], levels: int) -> None:
    torch.manual_seed(levels)
    fuse = block(CHANNELS, focal_levels=levels, exchange=False)
    inputs = images()
    for stream, image, output in zip(fuse.by_number().values(), inputs, fuse(inputs), strict=True):
        for sample, ours in zip(image, output, strict=True):
            expected = focal_modulation_2d(sample[:, 0].numpy().astype(float), stream)
            np.testing.assert_allclose(ours[:, 0].detach(), expected, rtol=1e-4, atol=1e-5)


def plain_block(levels: int) -> FocalFuse:
    """A block that does no more than FocalNet: no exchange, no mix, no depth-wise bias."""
    torch.manual_seed(levels)
    fuse = FocalFuse(CHANNELS, focal_levels=levels, exchange=False)
    with torch.no_grad():
        for stream in fuse.by_number().values():
            level: Any
            for level in stream.levels:
                mix = level.fuse.mix
                mix.weight[..., 0, 0, 0] = torch.eye(mix.out_channels)
                mix.bias.zero_()
                level.depthwise.bias.zero_()
    return fuse


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_agrees_with_timms_focalnet_block(levels: int) -> None:
    fuse = plain_block(levels)
    inputs = images()
    for stream, image, output in zip(fuse.by_number().values(), inputs, fuse(inputs), strict=True):
        theirs = as_focalnet(stream)(image[:, :, 0])
        torch.testing.assert_close(output[:, :, 0], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"gates": False}, {"global_context": False}, {"exchange": True}, {}]
)
def test_what_focalnet_cannot_do_is_refused(options: dict[str, Any]) -> None:
    options = {"exchange": False} | options
    fuse = FocalFuse(CHANNELS, **options)
    with pytest.raises(OarfuseError, match="FocalNet"):
        as_focalnet(fuse.by_number()[1])
