"""Run somebody's network over a whole volume: lent for as long as it takes, window by window."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
import torch.nn.functional as F
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor, nn

from oarfuse.devices import choose_precision, sharing_cores
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


def score_slabs(
    model: nn.Module,
    volume: Tensor,
    sides: tuple[int, int, int],
    overlap: float,
    *,
    device: torch.device,
    batch: int = 1,
) -> Iterator[tuple[slice, Tensor]]:
    """Slide windows over a volume, and give softmax scores slab by slab as they are done.

    The numbers are those of `monai.inferers.sliding_window_inference` in its Gaussian mode, which
    keeps the scores of the whole volume: 3.5 GiB for nine classes of 512 x 512 x 400 voxels. Here
    only as many slices are held as a window is deep.

    Parameters
    ----------
    model
        On `device`; gives logits.
    volume
        ``(1, 1, D, H, W)``, scaled to 0..1. Scores are added up where it lives.
    sides
        Of a window. A volume with a smaller side is filled up with zeros all around.
    overlap
        Share of a window that the next one covers again.
    device
        Where windows are segmented, so many at once as `batch` says.

    Yields
    ------
    Slices of the depth, and their scores ``(classes, d, H, W)``, averaged where windows overlap:
    a view of memory that the next slab uses again.
    """
    # A 2D network sees each slice by itself: windows that overlap in depth only repeat its work.
    overlaps = (0.0 if isinstance(model, SliceWise) else overlap, overlap, overlap)
    shape = volume.shape[2:]
    lacking = [max(side - size, 0) for side, size in zip(sides, shape, strict=True)]
    before = [lack // 2 for lack in lacking]
    pads = [(first, lack - first) for first, lack in zip(before, lacking, strict=True)]
    if any(lacking):  # `F.pad` copies a volume even where there is nothing to add
        volume = F.pad(volume, [pad for pair in reversed(pads) for pad in pair])
    padded = tuple(volume.shape[2:])
    steps = [
        side if side == size else max(int(side * (1 - share)), 1)
        for side, size, share in zip(sides, padded, overlaps, strict=True)
    ]
    windows = dense_patch_slices(padded, sides, steps)  # the depth changes last
    importance = compute_importance_map(sides, mode="gaussian", device=device, dtype=volume.dtype)
    weights = importance.to(volume.device)
    real = [slice(first, first + size) for first, size in zip(before, shape, strict=True)]
    total, count, done = None, None, 0

    def finish(stop: int) -> Iterator[tuple[slice, Tensor]]:
        """Give the slices from `done` to `stop`, less what was filled up."""
        assert total is not None and count is not None
        first, last = max(done, real[0].start), min(stop, real[0].stop)
        if first < last:
            chosen = slice(None), slice(first - done, last - done), *real[1:]
            yield slice(first - before[0], last - before[0]), total[chosen].div_(count[chosen])

    with sharing_cores(device) as look:
        for index in range(0, len(windows), batch):
            places = windows[index : index + batch]
            cut = torch.cat([volume[:, :, *place] for place in places]).to(device)
            for place, logits in zip(places, model(cut), strict=True):
                scores = (logits.float().softmax(dim=0) * importance).to(volume.device)
                if total is None or count is None:
                    total = scores.new_zeros(len(scores), sides[0], *padded[1:])
                    count = scores.new_zeros(1, sides[0], *padded[1:])
                start = place[0].start
                if start > done:
                    yield from finish(start)
                    total, count = _moved(total, start - done), _moved(count, start - done)
                    done = start
                total[:, :, *place[1:]] += scores
                count[:, :, *place[1:]] += weights
            look()
    yield from finish(done + sides[0])


def _moved(slab: Tensor, slices: int) -> Tensor:
    """Drop the first slices of ``(C, d, H, W)`` and go on with as many empty ones."""
    kept = slab.shape[1] - slices
    slab[:, :kept] = slab[:, slices:].clone()
    slab[:, kept:] = 0
    return slab


def with_less_memory(segment: Callable[[torch.device, int], None], device: torch.device) -> None:
    """Call ``segment(home, batch)`` for a device, and again with little of its memory if it lacks.

    `home` is where volumes and their scores are to be kept, `batch` how many windows go through
    the network at once.
    """
    try:
        return segment(device, GPU_WINDOWS if device.type == "cuda" else 1)
    except torch.OutOfMemoryError:
        pass  # What was allocated is free again once the exception is.
    warnings.warn(
        f"The memory of {device} does not hold this CT: its scores are kept on the CPU.",
        stacklevel=3,
    )
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return segment(torch.device("cpu"), 1)
    except torch.OutOfMemoryError:
        pass
    raise OarfuseError(
        f"The memory of {device} does not hold one window of this network: end other programs that "
        "use it, or choose the device cpu."
    )


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
