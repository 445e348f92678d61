"""Fig. 1 of the paper, drawn from a live model: shapes, parameters and work of every stage."""

from __future__ import annotations

import copy
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.dense_fuse import DenseFuse
from oarfuse.models.focal_fuse import FocalFuse

Kind = Literal["encoder", "fuse", "decoder", "head"]


@dataclass(frozen=True)
class Stage:
    """One stage of an encoder-fuse-decoder network.

    Attributes
    ----------
    name
        The paper's symbol of the stage's output: `I1`..`I5`, `Y1`..`Y4`, `D4`..`D1`, `logits`.
    kind
        `encoder`, `fuse`, `decoder` or `head`.
    stream
        Resolution stream 1..4 of the output, 5 for the bottleneck; stream `a` has `1 / 2**(a - 1)`
        of the input's resolution.
    shape
        Output (C, D, H, W) of one case.
    params
        Trainable and other parameters of the stage.
    gflops
        Work of its convolutions in a forward pass of one case, 1e9 operations; a multiplication
        and an addition count as two.
    steps
        For a `fuse` stage: how often the streams exchange maps (focal levels, dense layers).
    symbol
        For a `fuse` stage: the paper's letter for those maps, `F` (Eq. 2) or `I` (Eq. 7).
    exchange, gated
        For a `fuse` stage: whether the streams read each other, whether gates weigh the levels.
    """

    name: str
    kind: Kind
    stream: int
    shape: tuple[int, int, int, int]
    params: int
    gflops: float
    steps: int = 0
    symbol: str = ""
    exchange: bool = True
    gated: bool = False


def conv_flops(conv: nn.Module, given: Tensor, made: Tensor) -> int:
    """Return the operations of one (transposed) convolution, two per multiply-add.

    A convolution visits every output element with `C_in / groups * kernel` products; a transposed
    one scatters every input element into `C_out / groups * kernel` places.
    """
    assert isinstance(conv, (nn.Conv3d, nn.ConvTranspose3d))
    kernel = 1
    for side in conv.kernel_size:
        kernel *= side
    if isinstance(conv, nn.ConvTranspose3d):
        return 2 * given.numel() * (conv.out_channels // conv.groups) * kernel
    return 2 * made.numel() * (conv.in_channels // conv.groups) * kernel


def _fusion_facts(fuse: Any) -> dict[str, Any]:
    """Return how a fusion block's streams are joined, as fields of `Stage`."""
    if isinstance(fuse, DenseFuse):
        return {"steps": len(fuse.layers), "symbol": "I"}
    first = fuse.streams[0]
    return {
        "steps": fuse.focal_levels,
        "symbol": "F",
        "exchange": len(first.levels[0].fuse.resample) > 0,
        "gated": first.gate is not None,
    }


def trace_stages(model: nn.Module, size: Sequence[int] = (128, 128, 128)) -> list[Stage]:
    """Return the stages of OARFocalFuseNet or 3D-MSF for an input of `size` (D, H, W).

    Nothing is computed: a copy of the model runs on PyTorch's `meta` device, which only follows
    shapes. The fusion block is counted as its equations read (Eq. 2 and 7); the fast block gives
    the same numbers with less work.

    Raises
    ------
    OarfuseError
        If the model has another structure or does not take a volume of that size.
    """
    fuse = getattr(model, "fuse", None)
    readable = next((kind for kind in (FocalFuse, DenseFuse) if isinstance(fuse, kind)), None)
    if readable is None or not hasattr(model, "encoder") or not hasattr(model, "decoder"):
        raise OarfuseError(
            f"{type(model).__name__} has no encoder, fuse and decoder stages to trace: "
            "build oarfocalfusenet or msf3d."
        )
    if len(size) != 3:
        raise OarfuseError(f"size is {tuple(size)}: give three sides (D, H, W).")
    ghost: Any = copy.deepcopy(model).to("meta").eval()
    ghost.fuse.forward = types.MethodType(readable.forward, ghost.fuse)

    flops: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def count(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            flops[name] = flops.get(name, 0) + conv_flops(module, inputs[0], output)

        return hook

    def record(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor | list[Tensor]) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape[1:])
            else:
                for number, part in enumerate(output, start=1):
                    shapes[f"{name}.{number}"] = tuple(part.shape[1:])

        return hook

    for name, module in ghost.named_modules():
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(count(f"{name}."))
    for number, block in enumerate(ghost.encoder.blocks, start=1):
        block.register_forward_hook(record(f"encoder.{number}"))
    for number, block in enumerate(ghost.decoder.blocks, start=1):
        block.register_forward_hook(record(f"decoder.{number}"))
    ghost.fuse.register_forward_hook(record("fuse"))
    ghost.decoder.head.register_forward_hook(record("head"))
    with torch.no_grad():
        ghost(torch.empty((1, ghost.in_channels, *size), device="meta"))

    fusion = _fusion_facts(ghost.fuse)
    params = {name: parameter.numel() for name, parameter in ghost.named_parameters()}

    def total(table: dict[str, int], prefixes: Sequence[str]) -> int:
        return sum(n for name, n in table.items() if any(name.startswith(p) for p in prefixes))

    def stage(name: str, kind: Kind, stream: int, key: str, prefixes: Sequence[str]) -> Stage:
        c, d, h, w = shapes[key]
        numbers = total(params, prefixes), total(flops, prefixes) / 1e9
        plain = Stage(name, kind, stream, (c, d, h, w), *numbers)
        return replace(plain, **fusion) if kind == "fuse" else plain

    stages = [
        stage(f"I{a}", "encoder", a, f"encoder.{a}", [f"encoder.blocks.{a - 1}."])
        for a in range(1, len(ghost.encoder.blocks) + 1)
    ]
    for a in range(1, 5):
        if readable is DenseFuse:
            prefixes = [f"fuse.layers.{layer}.{a - 1}." for layer in range(len(ghost.fuse.layers))]
        else:
            prefixes = [f"fuse.streams.{a - 1}."]
        stages.append(stage(f"Y{a}", "fuse", a, f"fuse.{a}", prefixes))
    for x in range(len(ghost.decoder.blocks), 0, -1):
        stages.append(stage(f"D{x}", "decoder", x, f"decoder.{x}", [f"decoder.blocks.{x - 1}."]))
    stages.append(stage("logits", "head", 1, "head", ["decoder.head."]))
    return stages
