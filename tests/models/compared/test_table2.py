"""The methods of Table II: shapes, gradients, sizes, parity with timm, jigsaw, adaptation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.networks.nets.resnet import ResNet
from torch import nn

from oarfuse.errors import OarfuseError
from oarfuse.models import _timm as timm_import
from oarfuse.models import build_model
from oarfuse.models.compared.darr import (
    DARR,
    DARRNetwork,
    SuperResolution,
    adapt,
    make_jigsaw_head,
    random_permutations,
    shuffle_tiles,
)
from oarfuse.models.compared.resnet_unet import RESNET50_CHANNELS, AttentionGate
from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.models.compared.transunet import CascadedUpsampler
from oarfuse.models.compared.vit import TokenEncoder, without_class_token
from tests.helpers.gradients import assert_every_parameter_trains

SMALL_VIT: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "img_size": 32}
TWO_D: dict[str, dict[str, Any]] = {
    "r50_unet": {},
    "r50_attnunet": {},
    "vit_none": SMALL_VIT,
    "vit_cup": SMALL_VIT,
    "r50_vit_cup": SMALL_VIT,
    "transunet": SMALL_VIT,
}
# Of convolutions that a normalisation follows.
CANCELLED_BIASES = {"r50_attnunet": 3, "vnet": 4, "darr": 4}


def open_residual_branches(model: nn.Module) -> None:
    """timm starts each residual block's last normalisation at 0: no gradient passes at first."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and not weight.any():
            nn.init.ones_(weight)


@pytest.mark.parametrize("name", TWO_D)
def test_2d_methods_segment_a_non_cubic_volume_and_train_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, in_channels=2, num_classes=3, **TWO_D[name]).double()
    open_residual_branches(model)
    logits = model(torch.randn(2, 2, 2, 48, 40, dtype=torch.float64))
    assert logits.shape == (2, 3, 2, 48, 40)
    logits.square().mean().backward()
    assert_every_parameter_trains(model, CANCELLED_BIASES.get(name, 0))


@pytest.mark.parametrize("name", ["vnet", "darr"])
def test_3d_methods_segment_a_non_cubic_volume_and_train_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=3).double()
    volume = torch.randn(1, 1, 32, 40, 33, dtype=torch.float64)
    logits = model(volume)
    assert logits.shape == (1, 3, 32, 40, 33)
    loss = logits.square().mean()
    if isinstance(model, DARR):
        loss = loss + model.auxiliary_loss(volume)
    loss.backward()
    assert_every_parameter_trains(model, CANCELLED_BIASES[name])


# --- slices -----------------------------------------------------------------------------------


def test_slicewise_equals_a_loop_over_slices_whatever_the_chunk() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(2, 3, kernel_size=3, padding=1)
    volume = torch.randn(2, 2, 5, 16, 24)
    loop = torch.stack(
        [torch.stack([network(v[:, d][None])[0] for d in range(5)], dim=1) for v in volume]
    )
    for slices_at_once in (1, 3, 16):
        model = SliceWise(network, multiple=8, slices_at_once=slices_at_once)
        torch.testing.assert_close(model.eval()(volume), loop)
        torch.testing.assert_close(model.train()(volume), loop)


def test_slicewise_resizes_in_the_slice_only_and_comes_back() -> None:
    seen = []

    class Probe(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(image.shape))
            return image

    ramp = torch.linspace(0, 1, 40).expand(1, 1, 3, 48, 40)
    logits = SliceWise(Probe(), multiple=16, resize_to=64).eval()(ramp)
    assert seen == [(3, 1, 64, 64)]
    assert logits.shape == ramp.shape
    torch.testing.assert_close(logits[..., 4:-4], ramp[..., 4:-4], atol=2e-3, rtol=0)


def test_slicewise_in_training_sees_all_slices_of_the_batch_at_once() -> None:
    norm = nn.BatchNorm2d(1, momentum=1.0)
    volume = torch.randn(2, 1, 20, 8, 8)
    SliceWise(norm, multiple=8, slices_at_once=4).train()(volume)
    torch.testing.assert_close(norm.running_mean, volume.mean().view(1))


# --- transformers -----------------------------------------------------------------------------


@pytest.mark.parametrize("hybrid", [False, True])
def test_tokens_equal_timms_with_the_same_weights(hybrid: bool) -> None:
    torch.manual_seed(0)
    ours = TokenEncoder(hybrid=hybrid, in_channels=3, **SMALL_VIT).eval()
    theirs = timm_import.load_timm().create_model(
        "vit_base_r50_s16_224" if hybrid else "vit_base_patch16_224",
        img_size=32,
        embed_dim=24,
        depth=2,
        num_heads=2,
        num_classes=0,
        class_token=False,
        global_pool="",
    )
    theirs.load_state_dict(ours.vit.state_dict())
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens, _ = ours(image)
        expected = theirs.eval().forward_features(image)  # (N, tokens, width), row by row
    assert tokens.shape == (2, 24, 2, 2)
    torch.testing.assert_close(tokens.flatten(2).transpose(1, 2), expected)


def test_hybrid_skips_have_the_channels_and_sizes_of_the_paper() -> None:
    encoder = TokenEncoder(hybrid=True, **SMALL_VIT).eval()
    with torch.no_grad():
        tokens, skips = encoder(torch.randn(1, 1, 64, 32))
    assert tokens.shape == (1, 24, 4, 2)
    assert [tuple(skip.shape[1:]) for skip in skips] == [(512, 8, 4), (256, 16, 8), (64, 32, 16)]


def test_weights_with_a_class_token_load_without_it() -> None:
    options = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 0}
    trained = timm_import.load_timm().create_model("vit_base_patch16_224", in_chans=1, **options)
    encoder = TokenEncoder(hybrid=False, **SMALL_VIT)
    encoder.vit.load_state_dict(without_class_token(trained.state_dict()))
    torch.testing.assert_close(encoder.vit.pos_embed, trained.pos_embed[:, 1:])


def test_resnet_encoder_equals_monais_with_the_same_weights() -> None:
    """The five maps of the R50 networks' encoder, from another implementation of ResNet-50."""
    torch.manual_seed(0)
    network: Any = build_model("r50_unet", in_channels=2).network
    encoder = network.encoder.eval()
    open_residual_branches(encoder)
    theirs = ResNet(
        "bottleneck",
        [3, 4, 6, 3],
        [64, 128, 256, 512],
        spatial_dims=2,
        n_input_channels=2,
        conv1_t_stride=2,
        bias_downsample=False,
        feed_forward=False,
    ).eval()
    theirs.load_state_dict(encoder.state_dict())
    x = torch.randn(1, 2, 64, 96)
    with torch.no_grad():
        ours = encoder(x)
        expected = [theirs.act(theirs.bn1(theirs.conv1(x)))]
        x = theirs.maxpool(expected[0])
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            x = layer(x)
            expected.append(x)
    assert [tuple(stage.shape[1:]) for stage in ours] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(RESNET50_CHANNELS, (2, 4, 8, 16, 32), strict=True)
    ]
    for stage, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(stage, other)


def test_cascaded_upsampler_multiplies_the_size_by_16() -> None:
    decoder = CascadedUpsampler(24, skip_channels=(5, 3)).eval()
    skips = [torch.randn(1, 5, 4, 6), torch.randn(1, 3, 8, 12)]
    assert decoder(torch.randn(1, 24, 2, 3), skips).shape == (1, 16, 32, 48)


def test_attention_gate_by_hand() -> None:
    """All projections zero but the last bias: one weight, sigmoid(bias), scales the skip."""
    gate: Any = AttentionGate(skip_channels=4, gate_channels=6).eval()
    skip, signal = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)
    nn.init.zeros_(gate.weight.weight)
    nn.init.constant_(gate.weight.bias, math.log(3))
    torch.testing.assert_close(gate.attention(skip, signal), torch.full((1, 1, 8, 8), 0.75))
    nn.init.dirac_(gate.out[0].weight)
    nn.init.zeros_(gate.out[0].bias)
    gate.out[1].eps = 0.0
    torch.testing.assert_close(gate(skip, signal), 0.75 * skip)


def test_weights_that_cannot_be_fetched_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_internet(*args: object, **options: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(timm_import.load_timm(), "create_model", no_internet)
    with pytest.raises(OarfuseError, match="pretrained=False"):
        timm_import.create_encoder("resnet50.tv_in1k", pretrained=True)


# --- V-Net and DARR ---------------------------------------------------------------------------


def test_vnet_without_dropout_is_deterministic_in_training() -> None:
    model = build_model("vnet", num_classes=2)
    assert all(m.p == 0 for m in model.modules() if isinstance(m, nn.Dropout3d))
    model = build_model("vnet", num_classes=2, dropout=0.3)
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout3d)} == {0.3}


def test_two_tiles_swap_by_hand() -> None:
    volume = torch.arange(8.0 * 2 * 2).view(1, 1, 8, 2, 2)
    order = torch.tensor([[4, 1, 2, 3, 0, 5, 6, 7]])  # places 0 and 4: first H, W; both D halves
    shuffled = shuffle_tiles(volume, order, grid=2)
    expected = volume.clone()
    expected[:, :, :4, 0, 0] = volume[:, :, 4:, 0, 0]
    expected[:, :, 4:, 0, 0] = volume[:, :, :4, 0, 0]
    assert torch.equal(shuffled, expected)


@pytest.mark.parametrize(("grid", "size"), [(2, (4, 6, 8)), (3, (6, 9, 3))])
def test_shuffling_round_trip(grid: int, size: tuple[int, int, int]) -> None:
    volume = torch.randn(4, 2, *size)
    permutations = random_permutations(4, grid**3, torch.Generator().manual_seed(1))
    assert torch.equal(permutations.sort(dim=1).values, torch.arange(grid**3).expand(4, -1))
    shuffled = shuffle_tiles(volume, permutations, grid)
    assert not torch.equal(shuffled, volume)
    assert torch.equal(shuffle_tiles(shuffled, permutations.argsort(1), grid), volume)


@pytest.fixture(scope="module")
def scan() -> torch.Tensor:
    """(1, 1, 32, 32, 32): smooth noise, so that every tile looks different."""
    noise = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(noise, scale_factor=4, mode="trilinear")


class TinyNetwork(DARRNetwork):
    """DARR's parts at a size that learns in seconds."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.super_resolution = SuperResolution(1, width=2)
        self.first = nn.Sequential(
            nn.AvgPool3d(4),
            nn.Conv3d(1, 32, kernel_size=4, stride=4),
            nn.BatchNorm3d(32),
            nn.ReLU(),
        )
        self.jigsaw_head = make_jigsaw_head(channels=32, grid=2)
        self.decoder = nn.Conv3d(1, 3, kernel_size=1)

    @property
    def encoder(self) -> tuple[nn.Module, ...]:
        return (self.first,)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.super_resolution(volume))


@pytest.fixture(scope="module")
def darr(scan: torch.Tensor) -> DARR:
    """A tiny DARR that solves the jigsaw of ``scan``."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = DARR(num_classes=3)
    model.network = TinyNetwork()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    batch = scan.expand(4, -1, -1, -1, -1)
    for _ in range(25):
        optimizer.zero_grad()
        model.jigsaw_loss(batch, random_permutations(4, 8, generator)).backward()
        optimizer.step()
    return model.eval()


def test_an_ignorant_head_loses_the_logarithm_of_the_tiles(scan: torch.Tensor) -> None:
    model = DARR(num_classes=3).eval()
    for parameter in model.network.jigsaw_head[4].parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        loss = model.jigsaw_loss(scan, torch.arange(8).unsqueeze(0))
    assert loss.item() == pytest.approx(math.log(8))


def test_super_resolution_loss_is_the_blur_while_nothing_is_added() -> None:
    model = DARR(num_classes=3)
    for parameter in model.network.super_resolution.parameters():
        nn.init.zeros_(parameter)
    assert model.super_resolution_loss(torch.ones(1, 1, 8, 8, 8)).item() == 0
    alternating = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8, 8)
    assert model.super_resolution_loss(alternating).item() == pytest.approx(1.0)


def test_adaptation_lowers_the_jigsaw_loss_and_leaves_the_model_alone(
    darr: DARR, scan: torch.Tensor
) -> None:
    other_scanner = 0.5 * scan + 0.7
    before = {key: value.clone() for key, value in darr.state_dict().items()}
    permutations = random_permutations(4, 8, torch.Generator().manual_seed(9))
    batch = other_scanner.expand(4, -1, -1, -1, -1)
    with torch.inference_mode():
        adapted = adapt(darr, other_scanner, steps=20, lr=3e-3, puzzles=4)
        unadapted_loss = darr.jigsaw_loss(batch, permutations).item()
        adapted_loss = adapted.jigsaw_loss(batch, permutations).item()
    assert adapted_loss < 0.95 * unadapted_loss < math.log(8)  # chance
    assert all(torch.equal(before[key], value) for key, value in darr.state_dict().items())
    assert all(parameter.grad is None for parameter in adapted.parameters())
    fixed = ("super_resolution", "decoder", "running_")
    for key, value in adapted.state_dict().items():
        if any(part in key for part in fixed):
            assert torch.equal(value, before[key]), key


def test_adaptation_repeats_with_its_seed_and_none_is_a_copy(
    darr: DARR, scan: torch.Tensor
) -> None:
    first, second = (adapt(darr, scan, steps=1, puzzles=1, seed=3) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    copied = adapt(darr, scan, steps=0)
    assert copied is not darr
    for a, b in zip(copied.parameters(), darr.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a is not b


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vnet", {"in_channels": 3}, "16 channels"),
        ("darr", {"grid": 1}, "one tile"),
        ("darr", {"jigsaw_weight": -1.0}, "negative"),
        ("r50_unet", {"decoder_channels": (64, 32)}, "five"),
        ("r50_unet", {"resize_to": 100}, "multiple"),
        ("transunet", {"img_size": 100}, "multiple of 16"),
        ("vit_cup", {"heads": 5}, "heads"),
        ("vit_none", {"pretrained": True, "width": 24, "heads": 2}, "ViT-B only"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], words: str) -> None:
    with torch.device("meta"), pytest.raises(OarfuseError, match=words):
        build_model(name, **options)


def test_bad_input_is_named(darr: DARR, scan: torch.Tensor) -> None:
    with pytest.raises(OarfuseError, match="at least 32"):
        darr.jigsaw_loss(scan[:, :, :16], torch.arange(8).unsqueeze(0))
    with pytest.raises(OarfuseError, match="copy for each image"):
        adapt(darr, scan.expand(2, -1, -1, -1, -1))
    with pytest.raises(OarfuseError, match="steps >= 0"):
        adapt(darr, scan, steps=-1)
    with pytest.raises(OarfuseError, match="equal tiles"):
        shuffle_tiles(scan, torch.arange(27).unsqueeze(0), grid=3)
    with pytest.raises(OarfuseError, match="batch or channel"):
        SliceWise(nn.Identity(), multiple=16)(torch.zeros(1, 32, 32))
    with pytest.raises(OarfuseError, match="at least 1"):
        SliceWise(nn.Identity(), multiple=16, slices_at_once=0)
