"""The five methods of Table I: sizes, shapes, gradients, parity with MONAI, bad options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets import UNETR, AttentionUnet, BasicUNet, DynUNet, SwinUNETR

from oarfuse.errors import OarfuseError
from oarfuse.models.compared import table1
from oarfuse.models.compared.anysize import AnySize
from tests.helpers.gradients import assert_every_parameter_trains

SMALL: dict[str, dict[str, Any]] = {
    "unet3d": {"features": (4, 4, 8, 8, 8)},
    "attunet": {"channels": (4, 4, 8, 8, 8)},
    "dynunet": {"filters": (4, 4, 8, 8, 8)},
    "unetr": {
        "patch_size": 32,
        "hidden_size": 24,
        "mlp_dim": 48,
        "num_heads": 2,
        "feature_size": 4,
    },
    "swinunetr": {"feature_size": 12},
}
CANCELLED_BIASES = {"unet3d": 18, "attunet": 30}  # of convolutions that a normalisation follows


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_gives_logits_on_the_grid_of_a_non_cubic_volume_and_trains_every_parameter(
    name: str,
) -> None:
    torch.manual_seed(0)
    model = getattr(table1, name)(in_channels=2, num_classes=3, **SMALL[name]).double()
    logits = model(torch.randn(2, 2, 32, 48, 40, dtype=torch.float64))
    assert logits.shape == (2, 3, 32, 48, 40)
    logits.square().mean().backward()
    assert_every_parameter_trains(model, CANCELLED_BIASES.get(name, 0))


@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("unet3d", {}, 5.658966),
        ("attunet", {}, 5.909198),
        ("dynunet", {}, 5.646230),
        ("unetr", {}, 92.783910),
        ("swinunetr", {}, 62.186904),
        ("swinunetr", {"feature_size": 24}, 15.703104),
    ],
)
def test_default_sizes(name: str, options: dict[str, Any], millions: float) -> None:
    with torch.device("meta"):
        model = getattr(table1, name)(**options)
    assert parameters(model) == round(millions * 1e6)


@pytest.mark.parametrize(("name", "published"), [("unetr", 92.6e6), ("swinunetr", 62.2e6)])
def test_size_is_within_two_percent_of_the_published_one(name: str, published: float) -> None:
    with torch.device("meta"):
        model = getattr(table1, name)()
    assert parameters(model) == pytest.approx(published, rel=0.02)


def test_equals_the_plain_monai_network_with_the_same_weights() -> None:
    torch.manual_seed(0)
    volume = torch.randn(1, 1, 32, 32, 64)
    options: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 6}
    plain = {
        "unet3d": BasicUNet(features=(4, 4, 8, 8, 8, 4), **options),
        "dynunet": DynUNet(
            kernel_size=[3] * 5,
            strides=[1, 2, 2, 2, 2],
            upsample_kernel_size=[2] * 4,
            filters=[4, 4, 8, 8, 8],
            **options,
        ),
        "attunet": AttentionUnet(
            channels=SMALL["attunet"]["channels"], strides=(2,) * 4, **options
        ),
        "swinunetr": SwinUNETR(feature_size=12, **options),
    }
    for name, network in plain.items():
        ours = getattr(table1, name)(**SMALL[name]).eval()
        # MONAI's DynUNet lists every layer a second time under "skip_layers"; ours lists it once.
        state = network.state_dict()
        once = {key: state[key] for key in state if not key.startswith("skip_layers.")}
        ours.network.load_state_dict(once)
        with torch.no_grad():
            torch.testing.assert_close(ours(volume), network.eval()(volume))


def test_unetr_is_monais_at_its_own_size_and_takes_others() -> None:
    torch.manual_seed(0)
    network = UNETR(
        in_channels=1,
        out_channels=6,
        img_size=(32, 48, 32),
        feature_size=4,
        hidden_size=24,
        mlp_dim=48,
        num_heads=2,
    ).eval()
    ours = table1.unetr(**{**SMALL["unetr"], "patch_size": (32, 48, 32)}).eval()
    extra = ours.network.load_state_dict(network.state_dict(), strict=False)
    assert extra.missing_keys == []
    assert all("norm_cross_attn" in key for key in extra.unexpected_keys)
    own_size, other_size = torch.randn(1, 1, 32, 48, 32), torch.randn(1, 1, 48, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(own_size), network(own_size))
        assert ours(other_size).shape == (1, 6, 48, 32, 64)


def test_unetr_position_embedding_keeps_a_linear_ramp_when_interpolated() -> None:
    """Trilinear interpolation of a ramp along D is that ramp, away from the clamped ends."""
    unetr = table1.unetr(**{**SMALL["unetr"], "patch_size": (64, 32, 32)})
    model: Any = unetr.network.eval()
    embedding = model.vit.patch_embedding
    ramp = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 24, 4, 2, 2)  # grid (4, 2, 2)
    with torch.no_grad():
        for parameter in embedding.patch_embeddings.parameters():
            parameter.zero_()
        embedding.position_embeddings.copy_(ramp.flatten(2).transpose(1, 2))
        model.vit.blocks = torch.nn.ModuleList()
        model.vit.norm = torch.nn.Identity()
        tokens, _ = model._encode(torch.zeros(1, 1, 128, 32, 32), (8, 2, 2))
    along_d = tokens.transpose(1, 2).unflatten(2, (8, 2, 2))[0, 0, :, 0, 0]
    expected = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    torch.testing.assert_close(along_d, expected)


def test_padding_repeats_the_border_and_is_cropped_away() -> None:
    seen = []

    class Probe(torch.nn.Module):
        def forward(self, volume: torch.Tensor) -> torch.Tensor:
            seen.append(volume)
            return volume

    volume = torch.arange(17.0 * 3 * 5).view(1, 1, 17, 3, 5)
    logits = AnySize(Probe(), multiple=4)(volume)
    assert seen[0].shape == (1, 1, 20, 4, 8)
    assert torch.equal(seen[0][0, 0, 17:, :3, :5], volume[0, 0, 16:].expand(3, 3, 5))
    assert torch.equal(logits, volume)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("unet3d", {"features": (4, 8)}, "five"),
        ("unet3d", {"norm": "layer"}, "instance"),
        ("attunet", {"channels": (4,)}, "levels"),
        ("dynunet", {"filters": (4, 8)}, "levels"),
        ("unetr", {"patch_size": (96, 96)}, "multiples of 16"),
        ("unetr", {"patch_size": 90}, "multiples of 16"),
        ("unetr", {"num_heads": 5}, "num_heads"),
        ("swinunetr", {"feature_size": 20}, "12"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OarfuseError, match=words):
        getattr(table1, name)(**options)


def test_input_that_cannot_be_segmented_is_named() -> None:
    model = table1.dynunet(**SMALL["dynunet"])
    with pytest.raises(OarfuseError, match="batch or channel"):
        model(torch.zeros(1, 32, 32, 32))
    with pytest.raises(OarfuseError, match="above 16"):
        model(torch.zeros(1, 1, 16, 16, 16))
