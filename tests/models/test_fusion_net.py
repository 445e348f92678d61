"""A fusion of one's own is one class; the rest of the network stays."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse import build_model
from oarfuse.errors import OarfuseError
from oarfuse.models.focal_fuse import FocalFuse, FocalFuseOptions
from oarfuse.models.fusion_net import FusionNet


class AddFromBelow(nn.Module):
    """What a student might try first: each stream adds the one below, brought to its size."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.mix = nn.ModuleList(
            nn.Conv3d(2 * width, width, kernel_size=1) for width in channels[:3]
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        below = [F.interpolate(mix(lower), scale_factor=2, mode="trilinear")
                 for mix, lower in zip(self.mix, features[1:], strict=True)]  # fmt: skip
        return [own + other for own, other in zip(features, below, strict=False)] + [features[3]]


def test_a_student_swaps_the_fusion_by_writing_one_class() -> None:
    torch.manual_seed(0)
    network = FusionNet(AddFromBelow, in_channels=1, num_classes=6, width=4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    volume = torch.rand(1, 1, 32, 16, 16)
    label = (volume[:, 0] > 0.5).long()
    losses = []
    for _ in range(8):
        logits = network(volume)
        assert logits.shape == (1, 6, 32, 16, 16)
        loss = F.cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(weight.grad is not None for weight in network.fuse.parameters())


def test_the_proposed_network_is_a_fusion_net_with_the_focal_block() -> None:
    torch.manual_seed(0)
    ours = build_model("oarfocalfusenet", width=4, block="readable", focal_levels=1)
    assert isinstance(ours, FusionNet)
    same = FusionNet(lambda channels: FocalFuse(channels, focal_levels=1), width=4)
    same.load_state_dict(ours.state_dict())
    volume = torch.rand(1, 1, 16, 16, 32)
    assert torch.equal(same(volume), ours(volume))


@pytest.mark.parametrize(
    ("name", "value"), [("focal_levels", 5), ("pooling", "median"), ("down_kernel", 4)]
)
def test_options_out_of_range_are_refused_where_they_are_made(name: str, value: object) -> None:
    with pytest.raises(OarfuseError, match=f"{name} is "):
        FocalFuseOptions(**{name: value})  # type: ignore[arg-type]
