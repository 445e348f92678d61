"""Fig. 1 of the paper, read from a live model: shapes, parameters and work of every stage."""

from __future__ import annotations

import copy
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from oarfuse.errors import OarfuseError
from oarfuse.models.cost import count_parameters, counted
from oarfuse.models.dense_fuse import DenseFuse
from oarfuse.models.encoder_decoder import STREAMS
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
        Its share of `oarfuse.models.cost.gflops`, for one case.
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
    ghost: Any = copy.deepcopy(model).to("meta")
    ghost.fuse.forward = types.MethodType(readable.forward, ghost.fuse)
    shapes: dict[str, tuple[int, int, int, int]] = {}

    def record(module: nn.Module, *names: str) -> None:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor | list[Tensor]) -> None:
            maps = [output] if isinstance(output, Tensor) else output
            for name, map_ in zip(names, maps, strict=True):
                _, c, d, h, w = map_.shape
                shapes[name] = (c, d, h, w)

        module.register_forward_hook(hook)

    record(ghost.encoder, *(f"I{a}" for a in (*STREAMS, 5)))
    record(ghost.fuse, *(f"Y{a}" for a in STREAMS))
    for x, block in zip(STREAMS, ghost.decoder.blocks, strict=True):
        record(block, f"D{x}")
    record(ghost.decoder.head, "logits")
    counts = counted(ghost, size, ghost.in_channels).get_flop_counts()

    def stage(name: str, kind: Kind, stream: int, *parts: str, **fusion: Any) -> Stage:
        """Add up the layers whose names start with one of `parts`."""
        params = flops = 0
        for key, layer in ghost.named_modules():
            if key.startswith(parts) and not list(layer.children()):
                params += count_parameters(layer)
                flops += sum(counts.get(f"{type(model).__name__}.{key}", {}).values())
        return Stage(name, kind, stream, shapes[name], params, flops / 1e9, **fusion)

    stages = [stage(f"I{a}", "encoder", a, f"encoder.blocks.{a - 1}.") for a in (*STREAMS, 5)]
    for a in STREAMS:
        if isinstance(fuse, DenseFuse):
            parts = [f"fuse.layers.{layer}.{a - 1}." for layer in range(len(fuse.layers))]
            fusion: dict[str, Any] = {"steps": len(parts), "symbol": "I"}
        else:
            options = ghost.fuse.options
            parts = [f"fuse.streams.{a - 1}."]
            fusion = {"steps": options.focal_levels, "symbol": "F"}
            fusion |= {"exchange": options.exchange, "gated": options.gates}
        stages.append(stage(f"Y{a}", "fuse", a, *parts, **fusion))
    stages += [stage(f"D{x}", "decoder", x, f"decoder.blocks.{x - 1}.") for x in reversed(STREAMS)]
    return [*stages, stage("logits", "head", 1, "decoder.head")]
