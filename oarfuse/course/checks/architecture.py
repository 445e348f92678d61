"""Checks for notebook 02: the focal-fuse block, its reach, 3D-MSF, and the fast block's algebra."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from oarfuse.course.checks.common import exercise, number_hint

_COMMUTES = {"average pooling", "trilinear interpolation"}
_NOT = {"max pooling", "GELU", "instance normalisation"}


@exercise("2 N + 1: a kernel of width 3 adds two voxels a level.")
def check_02_reach(answer: object) -> str:
    """Voxels of its own stream that F[a,4] sees along an axis, without exchange."""
    three_a_level = (
        "That adds three voxels a level. Draw a row of voxels: how many new ones does a "
        "kernel of width 3 reach beyond what was seen before?"
    )
    hints: dict[int | None, str] = {
        **dict.fromkeys((12, 13), three_a_level),
        8: "Count the voxel in the middle as well.",
        None: "F[a,0] sees one voxel. What does one 3x3x3 convolution add on each side?",
    }
    return number_hint(answer, 9, 0, hints)


@exercise("Three maps of its own (3 x 32), and 16 + 64 + 128.")
def check_02_dense_inputs(answer: object) -> str:
    """Input channels of stream 2's mix in the third layer of 3D-MSF, width 16."""
    hints = {
        240: "That is one map of each stream. Which of its own maps does a dense layer read?",
        720: "Only the own stream's history counts. Of the others it reads the newest map.",
        None: "Write down the list that Eq. 7 concatenates for a = 2 and l = 3, with its channels.",
    }
    return number_hint(answer, 304, 0, hints)


@exercise("N + 1 maps, N + 1 gates, one sum.")
def check_02_modulator(
    answer: Callable[[Sequence[Tensor], Tensor, Tensor], Tensor] | None,
) -> str:
    """A function of ``(levels F[a,1..N], global context, gates)`` that returns Eq. 4's sum."""
    assert answer is not None
    random = torch.Generator().manual_seed(0)
    levels = [torch.randn(2, 5, 3, 4, 6, generator=random) for _ in range(3)]
    context = torch.randn(2, 5, 1, 1, 1, generator=random)
    gates = torch.randn(2, 4, 3, 4, 6, generator=random)
    everything = [*levels, context]
    expected = _gated(everything, gates)
    try:
        given = answer(levels, context, gates)
    except Exception as error:  # whatever a reader's function raises is theirs to read
        return _raised(error)
    if not isinstance(given, Tensor) or given.shape != expected.shape:
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        return f"Return a map of {tuple(expected.shape)}; yours is {shape}."
    if torch.allclose(given, expected, atol=1e-5):
        return ""
    if torch.allclose(given, _gated(levels, gates), atol=1e-5):
        return "One level is missing. How many gates are there, and how many maps did you add?"
    if torch.allclose(given, _gated(everything, gates * gates), atol=1e-5):
        return "The gates act twice. Eq. 4 already holds them."
    if torch.allclose(given, sum(everything[1:], everything[0]), atol=1e-5):
        return "All levels count the same. Where are the gates?"
    return "Level l takes channel l - 1 of the gates, as a map of one channel: gates[:, l-1:l]."


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
    except Exception as error:  # see check_02_modulator
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


def _gated(maps: Sequence[Tensor], gates: Tensor) -> Tensor:
    """Sum maps times their gates: Eq. 4."""
    products = [m * gates[:, level : level + 1] for level, m in enumerate(maps)]
    return torch.stack(products).sum(dim=0)
