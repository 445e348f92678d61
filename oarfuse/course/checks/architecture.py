"""Checks for notebook 02: the focal-fuse block, its reach, 3D-MSF, and the fast block's algebra."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oarfuse.course.checks.common import exercise, number_hint
from oarfuse.models.dense_fuse import DenseLayer
from oarfuse.models.encoder_decoder import STREAMS
from oarfuse.models.focal_fuse import ExchangeOptions, FocalFuse

_COMMUTES = {"average pooling", "trilinear interpolation"}
_NOT = {"max pooling", "GELU", "instance normalisation"}


Features = Sequence[Tensor]
Newest = Mapping[int, Tensor]


@exercise("2 l + 1 = 33: what one exchange gives, kernels of 3 alone earn in sixteen levels.")
def check_02_reach(answer: object) -> str:
    """Levels without exchange until stream 1 sees as much of I_1 as F[1,2] does with it."""
    hints: dict[int | None, str] = {
        **dict.fromkeys(
            (11, 10),
            "That adds three voxels a level. Draw a row of voxels: how many new ones does a "
            "kernel of width 3 reach beyond what was seen before?",
        ),
        17: "F[1,0] sees one voxel before any level has begun.",
        **dict.fromkeys((32, 33), "A kernel reaches one voxel further on each of two sides."),
        None: "Read the voxels of F[1,2] from the table, then ask what one level alone adds.",
    }
    return number_hint(answer, 16, 0, hints)


@exercise("Four streams, each alone, and not one weight for the others.")
def check_02_alone(answer: Callable[[Sequence[int]], nn.Module] | None) -> str:
    """A focal-fuse block of two levels whose streams do not exchange maps.

    Called with ``(C_1, .., C_4)`` it gives a module that takes ``[I_1, .., I_4]`` and returns
    ``[Y_1, .., Y_4]``, with the weights of ``FocalFuse(channels, exchange=False)``.
    """
    assert answer is not None
    channels = (2, 3, 4, 5)
    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(1, c, *(side >> a for side in (16, 24, 16)), generator=generator)
        for a, c in enumerate(channels)
    ]
    try:
        block = answer(channels)
        outputs = _run(block, features)
    except Exception as error:  # whatever a reader's class raises is theirs to read
        return _raised(error)
    if [o.shape for o in outputs] != [f.shape for f in features]:
        return "Each Y_a has the shape of its I_a, and there are four of them."
    for b, changed in enumerate(features):
        other = [*features[:b], changed + 1, *features[b + 1 :]]
        for a, (before, after) in enumerate(zip(outputs, _run(block, other), strict=True)):
            if a != b and not torch.equal(before, after):
                return (
                    f"Stream {a + 1} still hears stream {b + 1}: its output changes with I_{b + 1}."
                )
    corner = [f.clone() for f in features]
    corner[0][..., 0, 0, 0] += 5  # outside of what two kernels of 3 see from the middle
    if torch.equal(_run(block, corner)[0][..., 8, 12, 8], outputs[0][..., 8, 12, 8]):
        return "A far voxel of its own stream has no say any more. The global context stays."
    excess = _size(block) - _size(FocalFuse(channels, exchange=False))
    if excess > 0:
        return f"The others are silent, but {excess} weights for them are left: where do they sit?"
    if excess < 0:
        return (
            f"{-excess} weights too few. Only the others go: projection, mix (C_a channels), "
            f"depth-wise convolution, gates, modulator and query stay, on two levels."
        )
    return ""


@exercise("The whole history of its own stream, and of the others the newest map.")
def check_02_dense_layer(
    answer: Callable[[Sequence[int], int, int], nn.Module] | None,
) -> str:
    """A class for layer l of 3D-MSF's dense block in stream a (Eq. 7), with its mix and ReLU.

    Called with ``(channels, a, l)``. Its module takes ``[I_{a,0}, .., I_{a,l-1}]`` and
    ``{b: I_{b,l-1}}`` of all four streams, and returns ``I_{a,l}``.
    """
    assert answer is not None
    channels, a, l = (3, 4, 5, 6), 2, 3  # noqa: E741
    generator = torch.Generator().manual_seed(0)
    newest = {
        b: torch.randn(1, c, *[16 >> (b - 1)] * 3, generator=generator)
        for b, c in zip(STREAMS, channels, strict=True)
    }
    own = [torch.randn(newest[a].shape, generator=generator) for _ in range(l - 1)] + [newest[a]]

    def run(own: Features, newest: Newest) -> Tensor:
        with torch.no_grad():
            given = layer(list(own), dict(newest))
        if not isinstance(given, Tensor) or given.shape != own[0].shape:
            raise ValueError(f"return one map of {tuple(own[0].shape)}")
        return given

    try:
        layer = answer(channels, a, l)
        output = run(own, newest)
        silent = [
            f"I_{{{a},{place}}}"
            for place in range(l)
            if torch.equal(output, run([*own[:place], own[place] + 9, *own[place + 1 :]], newest))
        ]
        deaf = [b for b in STREAMS if b != a]
        deaf = [b for b in deaf if torch.equal(output, run(own, {**newest, b: newest[b] + 9}))]
    except Exception as error:  # see check_02_alone
        return _raised(error)
    if silent:
        return f"{silent[0]} has no say. Which of its own maps does a dense layer read?"
    if deaf:
        return f"Stream {deaf[0]} has no say: its newest map comes along, resampled."
    if output.min() < 0:
        return "Something is below zero: a ReLU comes last."
    wanted = _size(DenseLayer(channels, a, l, ExchangeOptions()))
    if (given := _size(layer)) != wanted:
        return (
            f"It has {given} weights, ours {wanted}: one Resample for each other stream, a "
            f"1x1x1 mix of all maps to C_a channels, then a depth-wise kernel of 3."
        )
    return ""


@exercise("Linear, and the same in each channel: then the order is free.")
def check_02_commutes(answer: Collection[str] | None) -> str:
    """Which operations may change places with a 1x1x1 convolution without bias."""
    given = set() if isinstance(answer, str) or answer is None else set(answer)
    unknown = given - _COMMUTES - _NOT
    if unknown:
        return f"{sorted(map(str, unknown))[0]!r} is not in the list: copy the words from it."
    if "max pooling" in given:
        return "The largest of sums is not the sum of the largest. Try max pooling on two voxels."
    if given & _NOT:
        return f"Is {sorted(given & _NOT)[0]} a linear map that treats each channel alike?"
    if given != _COMMUTES:
        return "At least one is missing: which of them only add multiples of voxels of one channel?"
    return ""


@exercise("Two layers, one matrix product: this is the fast block's way up.")
def check_02_fold(answer: Callable[[Tensor, Tensor], Tensor] | None) -> str:
    """A function of the transposed convolution's and the mix's weight that folds them into one.

    It gets ``(C_b, 1, 2, 2, 2)`` and ``(C_a, C_b, 1, 1, 1)`` and returns the weight of one
    `torch.nn.functional.conv_transpose3d`, ``(C_b, C_a, 2, 2, 2)``.
    """
    assert answer is not None
    random = torch.Generator().manual_seed(0)
    up = torch.randn(6, 1, 2, 2, 2, generator=random)
    mix = torch.randn(3, 6, 1, 1, 1, generator=random)
    features = torch.randn(2, 6, 3, 4, 5, generator=random)
    expected = F.conv3d(F.conv_transpose3d(features, up, stride=2, groups=6), mix)
    try:
        weight = answer(up, mix)
    except Exception as error:  # see check_02_alone
        return _raised(error)
    if not isinstance(weight, Tensor) or weight.shape != (6, 3, 2, 2, 2):
        shape = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        hint = f"The weight must be (C_b, C_a, 2, 2, 2), here (6, 3, 2, 2, 2); yours is {shape}."
        if shape == (3, 6, 2, 2, 2):
            hint += " A transposed convolution's weight has its input channels first."
        return hint
    if torch.allclose(F.conv_transpose3d(features, weight, stride=2), expected, atol=1e-4):
        return ""
    return "Each source channel b goes to each target channel a with up[b, 0, z, y, x] * mix[a, b]."


def _raised(error: Exception) -> str:
    """Say in one line what a reader's function raised."""
    return f"Your function raises {type(error).__name__}: {' '.join(str(error).split())}"


def _run(block: nn.Module, features: Features) -> list[Tensor]:
    """Return a block's maps without touching those that it was given."""
    with torch.no_grad():
        return list(block([f.clone() for f in features]))


def _size(module: nn.Module) -> int:
    """Count a module's weights."""
    return sum(p.numel() for p in module.parameters())
