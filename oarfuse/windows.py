"""Run somebody's network over a whole volume: lent for as long as it takes, window by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import cast

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from oarfuse.devices import choose_precision
from oarfuse.errors import OarfuseError
from oarfuse.models.compared.slicewise import SliceWise

# Windows that go through the network at once: several fill a GPU, one is quickest on a CPU.
GPU_WINDOWS = 8


@contextmanager
def lent(model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Lend `model` on `device` in evaluation mode, and leave it as it was, whatever happens.

    It moves only if it is elsewhere: who predicts many cases on a GPU moves the model there first.
    """
    modes = {module: module.training for module in model.modules()}
    tensor = next(chain(model.parameters(), model.buffers()), None)
    home = device if tensor is None else tensor.device
    try:
        yield model.to(device).eval()
    finally:
        model.to(home)
        for module, mode in modes.items():
            module.training = mode  # each its own: a caller may have frozen some of them


def window_scores(
    model: nn.Module, volume: Tensor, sides: tuple[int, int, int], overlap: float
) -> Tensor:
    """Return softmax scores ``(1, classes, D, H, W)``, averaged where windows of `sides` overlap.

    Parameters
    ----------
    model
        On the volume's device; gives logits.
    volume
        ``(1, 1, D, H, W)``, scaled to 0..1.
    overlap
        Share of a window that the next one covers again.
    """
    # A 2D network sees each slice by itself: windows that overlap in depth only repeat its work.
    overlaps = (0.0 if isinstance(model, SliceWise) else overlap, overlap, overlap)

    def probabilities(windows: Tensor) -> Tensor:
        return model(windows).float().softmax(dim=1)

    scores = sliding_window_inference(
        volume,
        roi_size=sides,
        sw_batch_size=GPU_WINDOWS if volume.device.type == "cuda" else 1,
        predictor=probabilities,
        overlap=overlaps,
        mode="gaussian",
        padding_mode="constant",
    )
    return cast(Tensor, scores)


def check_finite(total: Tensor, device: torch.device, precision: str) -> None:
    """Raise `OarfuseError` unless the sum of all scores, a scalar, is finite.

    `torch.argmax` takes the first NaN, so such scores would become a label map of background.
    """
    if total.isfinite():
        return
    chosen = choose_precision(precision, device.type)
    if chosen == "16-mixed":
        remedy = "choose the precision 32-true or bf16-mixed"
    else:
        remedy = "the weights or the CT are damaged, or training diverged, so take other ones"
    raise OarfuseError(f"The network's scores are not finite in {chosen} precision: {remedy}.")
