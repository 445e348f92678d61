"""OARFocalFuseNet and 3D-MSF: shapes, parameters, gradients, receptive field, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import oarfuse
from oarfuse.models.encoder_decoder import Conv3x3x3, Head, UpConv
from oarfuse.models.focal_fuse import FocalFuse, Resample
from oarfuse.models.kernels import channels_last
from oarfuse.models.kernels.layers import InstanceNorm, MaxPool, TrustedConv3d

PROPOSED = ("oarfocalfusenet", "msf3d")
SIDES = (16, 32, 48)


def features(sides: tuple[int, int, int] = SIDES, batch: int = 1) -> list[Tensor]:
    """Random encoder maps I1..I4 with the paper's channels."""
    return [torch.randn(batch, 16 * 2**a, *(side // 2**a for side in sides)) for a in range(4)]


@pytest.mark.parametrize("name", PROPOSED)
@pytest.mark.parametrize(("channels", "classes", "batch"), [(1, 6, 1), (2, 9, 2)])
def test_logits_have_the_input_grid(name: str, channels: int, classes: int, batch: int) -> None:
    model = oarfuse.build_model(name, channels, classes, width=4)
    logits = model(torch.randn(batch, channels, *SIDES))
    assert logits.shape == (batch, classes, *SIDES)


@pytest.mark.parametrize("block", ["fast", "readable"])
def test_every_scale_has_its_shape(block: str) -> None:
    model: Any = oarfuse.build_model("oarfocalfusenet", block=block)
    *maps, bottleneck = model.encoder(torch.randn(1, 1, *SIDES))
    fused = model.fuse(maps)
    for a, (encoded, output) in enumerate(zip(maps, fused, strict=True)):
        expected = (1, 16 * 2**a, *(side // 2**a for side in SIDES))
        assert encoded.shape == expected
        assert output.shape == expected
    assert bottleneck.shape == (1, 256, 1, 2, 3)


# Worked out by hand from the paper's channels (16, 32, 64, 128, 256):
# encoder: sum of 27 C_in C_out + 27 C_out^2 + 4 C_out (two affine norms)            = 3,539,504
# decoder: ConvT 27 C_below C + C, conv 27 (2 C) C, norm 2 C for C = 128, 64, 32, 16 = 2,350,080
#          and the head 16 * 6 + 6                                                    = 102
# The fusion blocks hold the rest.
ENCODER = sum(
    27 * i * o + 27 * o * o + 4 * o
    for i, o in zip((1, 16, 32, 64, 128), (16, 32, 64, 128, 256), strict=True)
)
DECODER = sum(27 * 2 * c * c + c + 27 * 2 * c * c + 2 * c for c in (16, 32, 64, 128)) + 16 * 6 + 6


def exchange_parameters(own_inputs: int) -> int:
    """One layer of all four streams: resampling, 1x1x1 mix, depth-wise 3x3x3."""
    channels = (16, 32, 64, 128)
    total = 0
    for a, width in enumerate(channels):
        for b, other in enumerate(channels):
            if b < a:
                total += 27 * other + other  # depth-wise, stride 2, kernel 3
            elif b > a:
                total += 8 * other + other  # depth-wise transposed, stride 2, kernel 2
        inputs = own_inputs * width + sum(channels) - width
        total += inputs * width + width  # mix
        total += 27 * width + width  # depth-wise 3x3x3
    return total


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_parameter_count_of_oarfocalfusenet(levels: int) -> None:
    linear = sum(3 * (c * c + c) for c in (16, 32, 64, 128))  # project, modulate, query
    gates = sum((c + 1) * (levels + 1) for c in (16, 32, 64, 128))
    expected = ENCODER + DECODER + linear + gates + levels * exchange_parameters(1)
    model = oarfuse.build_model("oarfocalfusenet", focal_levels=levels)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_stated_parameter_counts() -> None:
    counts = {
        name: sum(p.numel() for p in oarfuse.build_model(name).parameters()) for name in PROPOSED
    }
    assert counts == {"oarfocalfusenet": 6_100_850, "msf3d": 6_055_878}
    assert counts["msf3d"] == ENCODER + DECODER + exchange_parameters(1) + exchange_parameters(2)


@pytest.mark.parametrize("block", ["fast", "readable"])
@pytest.mark.parametrize("name", PROPOSED)
def test_gradients_reach_every_parameter(name: str, block: str) -> None:
    torch.manual_seed(0)
    model = oarfuse.build_model(name, width=4, block=block)
    model(torch.randn(1, 1, 32, 32, 48)).square().sum().backward()
    dead = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("block", ["fast", "readable"])
def test_gates_and_modulators_on_request(block: str) -> None:
    torch.manual_seed(0)
    model = oarfuse.build_model("oarfocalfusenet", focal_levels=3, block=block).eval()
    volume = torch.randn(1, 1, *SIDES)
    logits, maps = model(volume, return_intermediates=True)
    torch.testing.assert_close(logits, model(volume), rtol=1e-3, atol=1e-4)
    for a in (1, 2, 3, 4):
        sides = tuple(side // 2 ** (a - 1) for side in SIDES)
        channels = 16 * 2 ** (a - 1)
        assert [tuple(level.shape) for level in maps.levels[a]] == 4 * [(1, channels, *sides)]
        assert maps.gates[a].shape == (1, 4, *sides)
        assert maps.global_context[a].shape == (1, channels, 1, 1, 1)
        assert maps.modulators[a].shape == maps.outputs[a].shape == (1, channels, *sides)


def test_no_state_is_left_on_the_modules() -> None:
    model = oarfuse.build_model("oarfocalfusenet", width=4)
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    model(torch.randn(1, 1, 16, 16, 16), return_intermediates=True)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def reach(levels: int, source: int, exchange: bool = True) -> int:
    """How many voxels of I[source] along W one voxel of F[1, levels] depends on."""
    torch.manual_seed(0)
    block = FocalFuse(focal_levels=levels, exchange=exchange)
    maps = [map_.requires_grad_() for map_ in features((32, 32, 64))]
    centre = block.maps(maps).levels[1][levels][..., 16, 16, 32]
    (gradient,) = torch.autograd.grad(centre.sum(), maps[source - 1])
    touched = gradient[0].abs().sum(dim=(0, 1, 2)) > 0
    return int(touched.nonzero().max() - touched.nonzero().min()) + 1


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_receptive_field_grows_by_two_voxels_a_level_without_exchange(levels: int) -> None:
    # A 3x3x3 kernel sees one voxel more on each side: 3, 5, 7, 9.
    assert reach(levels, source=1, exchange=False) == 2 * levels + 1


def test_exchange_widens_the_receptive_field_far_beyond_that() -> None:
    # One focal level: 3 voxels of I1 itself, but at least two of I4, 16 voxels of the CT.
    assert reach(1, source=1) == 3
    assert 8 * reach(1, source=4) >= 16
    assert reach(2, source=4) > reach(1, source=4)


def test_eq_4_and_5_by_hand() -> None:
    """One voxel, known weights: the gates act once and the query multiplies the modulator."""
    block = FocalFuse((1, 1, 1, 1), focal_levels=1, exchange=False)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        stream: Any = block.streams[0]
        stream.project.weight.fill_(2.0)  # F0 = 2 I
        stream.levels[0].fuse.mix.weight.fill_(1.0)
        stream.levels[0].depthwise.weight[..., 1, 1, 1] = 1.0  # F1 = GELU(F0)
        stream.gate.weight[:, 0] = torch.tensor([0.5, -1.0]).view(2, 1, 1, 1)  # G = (F0/2, -F0)
        stream.modulate.weight.fill_(3.0)
        stream.query.weight.fill_(1.0)
        stream.query.bias.fill_(1.0)  # Linear(I) = I + 1
    maps = [torch.full((1, 1, 8, 8, 8), 0.5), *(torch.zeros(1, 1, s, s, s) for s in (4, 2, 1))]
    # F0 = 1; F1 = GELU(1) = 0.8413447 everywhere, and so is its global average.
    # sum = F1 * 0.5 + F1 * (-1) = -0.5 F1; modulator = -1.5 F1; Y = -1.5 F1 * 1.5
    expected = -1.5 * 0.8413447 * 1.5
    torch.testing.assert_close(
        block(maps)[0], torch.full((1, 1, 8, 8, 8), expected), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("source", "target"), [(1, 2), (1, 4), (4, 3), (4, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_resampling_lands_on_the_target_grid(source: int, target: int, pooling: str) -> None:
    resample = Resample(5, source, target, pooling)  # type: ignore[arg-type]
    side = 64 // 2 ** (source - 1)
    wanted = 64 // 2 ** (target - 1)
    assert resample(torch.randn(2, 5, side, side, side)).shape == (2, 5, wanted, wanted, wanted)
    # one strided depth-wise convolution, whatever the distance
    assert [
        m.groups for m in resample.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)
    ] == [5]


def test_instance_norm_equals_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = InstanceNorm(3, affine=True), nn.InstanceNorm3d(3, affine=True)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.normal_()
    theirs.load_state_dict(ours.state_dict())
    volume = 5 + 3 * torch.randn(2, 3, 4, 6, 5)
    results = []
    for norm, layout in ((ours, torch.channels_last_3d), (theirs, torch.contiguous_format)):
        x = volume.clone(memory_format=layout).requires_grad_()
        y = norm(x)
        y.pow(3).sum().backward()
        results.append((y.detach(), x.grad, norm.weight.grad))
    for mine, reference in zip(*results, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-3)


def test_channels_last_holds_for_one_channel() -> None:
    volume = torch.randn(2, 1, 4, 6, 8)
    marked = channels_last(volume)
    assert torch.equal(marked, volume)
    convolved = nn.Conv3d(1, 4, 3)(marked)
    assert convolved.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("block", ["fast", "readable"])
@pytest.mark.parametrize("name", PROPOSED)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_a_traced_network_is_right_at_other_sizes(name: str, block: str) -> None:
    """`torch.jit.trace` keeps whatever is no tensor as it was for its example."""
    torch.manual_seed(0)
    model = oarfuse.build_model(name, width=4, block=block).eval()
    with torch.no_grad():
        traced = torch.jit.trace(model, torch.randn(1, 1, 32, 32, 32), check_trace=False)
        # One with as many voxels as the example: wrong strides would fit it.
        for sides in ((32, 32, 32), (32, 48, 64), (16, 32, 64), (16, 16, 16)):
            volume = torch.randn(1, 1, *sides)
            torch.testing.assert_close(traced(volume), model(volume))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("sides", [(4, 6, 8), (1, 16, 16), (1, 1, 1)])
def test_one_channel_has_the_strides_of_channels_last(
    batch: int, sides: tuple[int, int, int]
) -> None:
    volume = torch.randn(batch, 1, *sides)
    for layout in (volume, volume.contiguous(memory_format=torch.channels_last_3d)):
        marked = channels_last(layout)
        _, height, width = sides
        assert marked.stride()[1:] == (1, height * width, width, 1)
        assert torch.equal(marked, volume)


@pytest.mark.parametrize("name", PROPOSED)
@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 1, 16, 24, 16), "divide by 16"),
        ((1, 1, 0, 16, 16), "divide by 16"),
        ((1, 2, 16, 16, 16), "in_channels"),
        ((16, 16, 16), "batch and channel"),
    ],
)
def test_wrong_shapes_are_refused(name: str, shape: tuple[int, ...], said: str) -> None:
    model = oarfuse.build_model(name, width=4)
    with pytest.raises(oarfuse.OarfuseError, match=said):
        model(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("oarfocalfuse", {}, "choose one of oarfocalfusenet"),
        ("oarfocalfusenet", {"levels": 2}, "focal_levels"),
        ("oarfocalfusenet", {"focal_levels": 5}, "1, 2, 3 or 4"),
        ("oarfocalfusenet", {"pooling": "median"}, "'avg' or 'max'"),
        ("oarfocalfusenet", {"down_kernel": 2}, "3 or 5"),
        ("oarfocalfusenet", {"block": "slow"}, "'fast' or 'readable'"),
        ("oarfocalfusenet", {"num_classes": 0}, "num_classes"),
        ("msf3d", {"dense_layers": 0}, "1 to 5"),
        ("msf3d", {"in_channels": "1"}, "in_channels"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(oarfuse.OarfuseError, match=said):
        oarfuse.build_model(name, **options)  # type: ignore[arg-type]


def test_model_names_start_with_the_proposed_networks() -> None:
    assert oarfuse.model_names()[:2] == PROPOSED


@pytest.mark.parametrize("sides", [(1, 4, 4), (2, 4, 4), (4, 2, 4), (2, 2, 2), (3, 3, 2)])
@pytest.mark.parametrize("channels", [16, 128])
def test_bfloat16_kernel_gradients_of_thin_maps(sides: tuple[int, int, int], channels: int) -> None:
    """PyTorch's own are wrong by 100 % and more where a map is two voxels deep."""
    torch.manual_seed(0)
    assert_close_in_bfloat16(Conv3x3x3(channels, channels), sides)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet3d", {}),
        ("attunet", {}),
        ("dynunet", {}),
        ("unetr", {"patch_size": 32}),
        ("swinunetr", {"feature_size": 12}),
        ("vnet", {}),
        ("darr", {}),
    ],
)
def test_bfloat16_in_networks_of_other_libraries(name: str, options: dict[str, Any]) -> None:
    """All their convolutions are guarded; the widest that keeps its sides is tried on thin maps."""
    model = oarfuse.build_model(name, **options)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv3d)]
    assert {type(conv) for conv in convs} == {TrustedConv3d}
    kept = [conv for conv in convs if conv.stride == (1, 1, 1) and conv.kernel_size[0] > 1]
    widest = max(kept, key=lambda conv: conv.in_channels)
    torch.manual_seed(0)
    for depth in range(1, widest.kernel_size[0] + 1):
        assert_close_in_bfloat16(widest, (depth, 3, 4))


@pytest.mark.parametrize("name", PROPOSED)
def test_bfloat16_in_the_readable_blocks(name: str) -> None:
    """The fast blocks have gradients of their own for the depth-wise convolutions."""
    model = oarfuse.build_model(name, block="readable", width=4, down_kernel=5)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv3d)]
    wide = [conv for conv in convs if conv.kernel_size[0] > 1]
    assert all(isinstance(conv, TrustedConv3d) for conv in wide)
    torch.manual_seed(0)
    for kernel in (3, 5):
        depthwise = next(c for c in wide if c.groups > 1 and c.kernel_size[0] == kernel)
        for depth in range(1, kernel + 1):
            assert_close_in_bfloat16(depthwise, (depth, 4, 6))


def assert_close_in_bfloat16(conv: nn.Conv3d, sides: tuple[int, int, int]) -> None:
    """Compare output and kernel gradient under bfloat16 autocast with those in float32."""
    volume = torch.randn(2, conv.in_channels, *sides).bfloat16()
    outputs = (-(-side // conv.stride[0]) for side in sides)
    weights = torch.randn(2, conv.out_channels, *outputs).bfloat16()
    found = []
    for autocast in (False, True):
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = conv(channels_last(volume.float()))
        (output.float() * weights).sum().backward()
        found.append((output.detach().float(), conv.weight.grad))
    for wanted, got in zip(*found, strict=True):
        assert float((got - wanted).abs().max() / wanted.abs().max()) < 0.02


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (UpConv(6, 4), nn.ConvTranspose3d(6, 4, 3, stride=2, padding=1, output_padding=1)),
        (Head(6, 3), nn.Conv3d(6, 3, kernel_size=1)),
    ],
    ids=["doubling", "head"],
)
def test_layers_have_pytorchs_values_and_gradients(
    ours: UpConv | Head, reference: nn.ConvTranspose3d | nn.Conv3d
) -> None:
    torch.manual_seed(0)
    reference.load_state_dict(ours.state_dict())
    volume = torch.randn(2, 6, 2, 3, 5)
    found = []
    for conv in (ours, reference):
        x = volume.clone().requires_grad_()
        y = conv(x)
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        assert conv.bias is not None
        found.append((y.detach(), x.grad, conv.weight.grad, conv.bias.grad))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("sides", [(4, 3, 5), (2, 4, 4)])
@pytest.mark.parametrize("in_bfloat16", [False, True])
def test_joined_volumes_are_convolved_as_their_concatenation(
    sides: tuple[int, int, int], in_bfloat16: bool
) -> None:
    """Also where a map is so thin that PyTorch's bfloat16 convolution cannot be trusted."""
    torch.manual_seed(0)
    conv = Conv3x3x3(5, 4)
    parts = torch.randn(2, 5, *sides).bfloat16().float().split([2, 3], dim=1)
    found = []
    for joined in (False, True):
        conv.zero_grad()
        inputs = [part.detach().clone().requires_grad_() for part in parts]
        # In bfloat16 the concatenation is the reference in float32.
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16 and joined):
            output = conv(*inputs) if joined else conv(torch.cat(inputs, dim=1))
        (output.float() * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum().backward()
        found.append((output.detach().float(), conv.weight.grad, *(x.grad for x in inputs)))
    for wanted, got in zip(*found, strict=True):
        assert wanted is not None and got is not None
        error = float((got - wanted).abs().max() / wanted.abs().max())
        assert error < (0.02 if in_bfloat16 else 1e-5)


def test_pooling_keeps_the_precision_and_its_gradient() -> None:
    volume = torch.tensor([0.5, 2.0, 1.5, -1.0]).bfloat16().view(1, 1, 1, 2, 2)
    volume = volume.expand(1, 1, 2, 2, 2).clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = MaxPool(kernel_size=2)(volume)
    assert pooled.dtype == torch.bfloat16
    assert pooled.flatten().tolist() == [2.0]
    pooled.sum().backward()
    assert volume.grad is not None
    assert volume.grad.flatten().tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
