"""Parameters and arithmetic of every network, beside the published figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources

import pandas as pd
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from oarfuse.errors import OarfuseError
from oarfuse.models.registry import build_model, model_names


def count_parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters (single numbers, buffers left out)."""
    return sum(parameter.numel() for parameter in model.parameters())


def gflops(model: nn.Module, size: Sequence[int], in_channels: int = 1) -> float:
    """Arithmetic of one forward pass in evaluation mode, in 10^9 operations.

    A multiply-add counts as two operations. Counted are convolutions (transposed ones by their
    input, as the work goes), linear layers, matrix products and attention; element-wise work,
    normalisation, pooling and interpolation are not, as is usual. Publications that count a
    multiply-add once give half of this.

    Parameters
    ----------
    model : nn.Module
        Maps (1, in_channels, D, H, W) to logits. It is not changed.
    size : sequence of 3 int
        D, H, W of the volume in voxels.
    in_channels : int
        Channels of the volume.

    Raises
    ------
    OarfuseError
        If ``size`` is not three positive numbers.
    """
    return counted(model, size, in_channels).get_total_flops() / 1e9


def counted(model: nn.Module, size: Sequence[int], in_channels: int = 1) -> FlopCounterMode:
    """Return PyTorch's counter after one forward pass in evaluation mode; see `gflops`.

    The model is not run: shapes alone are propagated, on torch's meta device, so that the size of
    the volume costs neither time nor memory. (On a CPU tensor the counter would miss fused
    attention; here it is seen as its two matrix products.)
    """
    if len(size) != 3 or any(side < 1 for side in size):
        raise OarfuseError(f"size={list(size)} is no volume: give three sides in voxels.")
    counter = FlopCounterMode(display=False)
    with counter:
        _propagate(model, (1, in_channels, *size))
    return counter


def check_patch(model: nn.Module, size: Sequence[int], in_channels: int = 1) -> None:
    """Raise `OarfuseError` unless the network takes patches of `size` (D, H, W); it is not run."""
    try:
        _propagate(model, (1, in_channels, *size))
    except (OarfuseError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        sides = " ".join(map(str, size))
        raise OarfuseError(
            f"The network cannot take patches of {sides} voxels ({reason}): give another "
            "--patch-size."
        ) from error


def _propagate(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Send a shape through a network on PyTorch's meta device, which holds no numbers."""
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            functional_call(model.eval(), state, (torch.empty(shape, device="meta"),))
    finally:
        for module, flag in training.items():
            module.training = flag


def published_sizes() -> dict[str, dict[str, object]]:
    """What publications say of each network's size.

    Returns
    -------
    dict
        Name of the model -> ``parameters_m`` (millions, or None where the cited paper gives no
        figure), ``source`` and ``note`` (what explains a difference from ours).
    """
    file = resources.files("oarfuse") / "resources" / "published_sizes.json"
    return json.loads(file.read_text(encoding="utf-8"))


def cost_table(
    names: Sequence[str] | None = None,
    size: Sequence[int] = (96, 96, 96),
    in_channels: int = 1,
    num_classes: int = 6,
) -> pd.DataFrame:
    """One row a network, at its default options.

    Parameters
    ----------
    names : sequence of str, optional
        Names of :func:`oarfuse.models.model_names`; all by default.
    size : sequence of 3 int
        D, H, W of the volume. The 2D networks segment its D slices one by one at H x W.
    in_channels, num_classes : int
        Channels in and classes out.

    Returns
    -------
    pandas.DataFrame
        Columns ``model``, ``parameters_m`` (millions), ``gflops`` (see :func:`gflops`),
        ``published_m`` (NaN without a figure), ``difference_percent`` (ours against published),
        ``source`` and ``note``.

    Raises
    ------
    OarfuseError
        If a name is unknown.
    """
    published = published_sizes()
    rows = []
    for name in names if names is not None else model_names():
        with torch.device("meta"):
            model = build_model(name, in_channels=in_channels, num_classes=num_classes)
        ours = count_parameters(model) / 1e6
        known = published.get(name, {})
        figure = known.get("parameters_m")
        theirs = float("nan") if figure is None else float(str(figure))
        rows.append(
            {
                "model": name,
                "parameters_m": ours,
                "gflops": gflops(model, size, in_channels),
                "published_m": theirs,
                "difference_percent": 100 * (ours - theirs) / theirs,
                "source": known.get("source", ""),
                "note": known.get("note", ""),
            }
        )
    return pd.DataFrame(rows)
