"""The theory of receptive fields, by hand and against gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oarfuse.errors import OarfuseError
from oarfuse.models.encoder_decoder import STREAMS, Encoder
from oarfuse.models.focal_fuse import FocalFuse
from oarfuse.models.receptive_field import (
    clip,
    ct_field,
    encoder_field,
    gradient_boxes,
    level_field,
    without_normalisation,
)

CHANNELS = (2, 4, 8, 16)
SIDES = (32, 48, 64)


def maps(sides: tuple[int, ...] = SIDES) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(
            1, c, *(s // 2**a for s in sides), generator=random, dtype=torch.float64
        ).requires_grad_()
        for a, c in enumerate(CHANNELS)
    ]


def test_by_hand_one_level() -> None:
    """F[1,1] at voxel 20: the kernel reads 19..21 of the mixed maps of stream 1."""
    assert level_field(1, 1, 20) == {
        1: (19, 21),
        2: (9, 10),  # transposed convolution alone: 19 // 2, 21 // 2
        3: (4, 5),  # interpolated from the samples 9..11 at half resolution: 9 // 2, 11 // 2
        4: (2, 2),  # interpolated by 4 from the samples 4..5: (19.5 / 4 - 0.5, 21.5 / 4 - 0.5)
    }


def test_by_hand_downwards() -> None:
    """F[3,1] at voxel 5 reads 4..6: in stream 1 pooled pairs 8..13, then 2 i - 1 .. 2 i + 1."""
    field = level_field(3, 1, 5)
    assert field[3] == (4, 6)
    assert field[2] == (7, 13)
    assert field[1] == (15, 27)
    assert level_field(3, 1, 5, down_kernel=5)[2] == (6, 14)


def test_without_exchange_a_level_adds_two_voxels() -> None:
    for level in range(5):
        assert level_field(2, level, 9, exchange=False) == {2: (9 - level, 9 + level)}


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("stream", STREAMS)
def test_gradients_agree_with_the_theory(stream: int, exchange: bool, level: int) -> None:
    torch.manual_seed(1)
    block = FocalFuse(CHANNELS, focal_levels=level, exchange=exchange).double()
    inputs = maps()
    output = block.maps(inputs).levels[stream][level]
    for place in ((0.5, 0.5, 0.5), (0.3, 0.0, 0.99)):  # the centre, and at an edge
        voxel = [int(share * side) for share, side in zip(place, output.shape[2:], strict=True)]
        boxes = gradient_boxes(output[0, :, voxel[0], voxel[1], voxel[2]], inputs)
        for source, box in zip(STREAMS, boxes, strict=True):
            expected = []
            for index, size in zip(voxel, inputs[source - 1].shape[2:], strict=True):
                field = level_field(stream, level, index, exchange=exchange)
                if source in field:
                    expected.append(clip(field[source], size))
            assert box == (tuple(expected) or None)


def test_encoder_field_by_hand() -> None:
    # Sizes for one voxel: 5; 2 * 5 + 4 = 14; 2 * 14 + 4 = 32; 68 (and 140 at the bottleneck).
    sizes = []
    for stream in range(1, 6):
        first, last = encoder_field(stream, (10, 10))
        sizes.append(last - first + 1)
    assert sizes == [5, 14, 32, 68, 140]


def test_ct_field_against_gradients_without_normalisation() -> None:
    torch.manual_seed(2)
    encoder = Encoder(1, (2, 4, 8, 16, 32))
    bare = without_normalisation(encoder).double()
    assert any(isinstance(m, nn.InstanceNorm3d) for m in encoder.modules())
    assert not any(isinstance(m, nn.InstanceNorm3d) for m in bare.modules())
    block = FocalFuse(CHANNELS, focal_levels=1).double()
    volume = torch.randn(1, 1, 16, 16, 128, dtype=torch.float64).requires_grad_()
    output = block.maps(bare(volume)[:4]).levels[1][1]
    (box,) = gradient_boxes(output[0, :, 8, 8, 64], [volume])
    assert box is not None
    assert box[2] == clip(ct_field(1, 1, 64), 128)
    near = encoder.double()(volume)[0][..., 7:9, 7:9, 60:68]
    (whole,) = gradient_boxes(near, [volume])
    assert whole == ((0, 15), (0, 15), (0, 127))  # with normalisation: everything


def test_no_gradient_is_none() -> None:
    x, y = (torch.ones(1, 1, 2, 2, 2, requires_grad=True) for _ in range(2))
    assert gradient_boxes((x * 2)[0, 0, 1, 0, 1], [x, y]) == [((1, 1), (0, 0), (1, 1)), None]


@pytest.mark.parametrize(("stream", "level"), [(0, 1), (5, 1), (1, -1)])
def test_a_level_that_is_not_there(stream: int, level: int) -> None:
    with pytest.raises(OarfuseError, match="streams are 1 to 4"):
        level_field(stream, level, 3)
