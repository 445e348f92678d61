"""A fusion of one's own is one class; the rest of the network stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse import build_model
from oarfuse.errors import OarfuseError
from oarfuse.models.focal_fuse import FocalFuse, FocalFuseOptions
from oarfuse.models.fusion_net import FusionNet
from oarfuse.models.oarfocalfusenet import OARFocalFuseNet


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


def test_the_options_go_through_whole_or_one_by_one() -> None:
    options = FocalFuseOptions(focal_levels=3, gates=False, pooling="max")
    block = FocalFuse((4, 8, 16, 32), options)
    assert block.options == options
    assert FocalFuse((4, 8, 16, 32), options, gates=True).options.gates
    ours = OARFocalFuseNet(width=4, focal_levels=3, gates=False, pooling="max")
    assert isinstance(ours.fuse, FocalFuse) and ours.fuse.options == options
    block.load_state_dict(ours.fuse.state_dict())
    with pytest.raises(TypeError, match="levels"):
        FocalFuse(levels=3)


def test_the_block_can_be_lifted_without_the_heavy_libraries() -> None:
    heavy = {"monai", "timm", "lightning_fabric", "pandas", "nibabel"}
    code = f"import sys, oarfuse.models.focal_fuse; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
