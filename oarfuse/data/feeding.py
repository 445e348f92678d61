"""Bringing training patches to the device that trains, without letting it wait.

Three ways give the same patches. Where there is no GPU, worker processes cut and augment them. On a
GPU the volumes lie in its memory if they fit, and patches are cut and augmented there, a batch at a
time; if they do not fit, workers cut and the GPU augments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from oarfuse.data.patches import Draw, PatchDataset, StepSampler
from oarfuse.errors import OarfuseError
from oarfuse.interruption import spare_worker

Batch = dict[str, Tensor]
# The volumes may take this share of the memory that is free on a GPU; the rest is for training.
RESIDENT_SHARE = 0.25


def feed(
    patches: PatchDataset, sampler: StepSampler, device: torch.device, *, workers: int
) -> Iterator[Batch]:
    """Yield the batches of a run, on the device.

    Parameters
    ----------
    patches
        Where patches come from.
    sampler
        Which patches make up which step; it also says where a resumed run goes on.
    device
        Where the batches are wanted. Noise apart, which every kind of device draws by itself,
        patches are the same on all of them but for rounding.
    workers
        Processes that prepare patches beside the training; 0 does it between steps. Unused where
        the volumes lie on the device.

    Yields
    ------
    dict
        ``image`` (B, 1, D, H, W) float32 in 0..1, ``label`` (B, 1, D, H, W) int64.
    """
    if device.type != "cuda":  # Apple's GPUs cannot sample 3D grids: the CPU prepares all for them
        return augmented_by_workers(patches, sampler, device, workers=workers)
    if fits_on(patches, device):
        return map(ResidentPatches(patches, device).batch, sampler)
    return cut_by_workers(patches, sampler, device, workers=workers)


def fits_on(patches: PatchDataset, device: torch.device) -> bool:
    """Whether the volumes take at most `RESIDENT_SHARE` of the memory that is free on a GPU."""
    needed = sum(case.image.nbytes + case.label.nbytes for case in patches.cached)
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= RESIDENT_SHARE * free


class ResidentPatches:
    """Patches that are cut and augmented on the device on which the volumes lie.

    Memory there: three bytes a voxel (int16 HU and uint8 label) of all cases.
    """

    def __init__(self, patches: PatchDataset, device: torch.device) -> None:
        self.patches = patches
        volumes = map(patches.volume, range(len(patches.cached)))
        self.volumes = [(image.to(device), label.to(device)) for image, label in volumes]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return ``image`` (B, 1, D, H, W) float32 in 0..1, ``label`` (B, 1, D, H, W) int64."""
        draws = [self.patches.draw(index) for index in indices]
        volumes = [self.volumes[draw.case] for draw in draws]
        return self.patches.finish(*self.patches.cut(draws, volumes), draws)


def augmented_by_workers(
    patches: PatchDataset, sampler: StepSampler, device: torch.device, *, workers: int
) -> Iterator[Batch]:
    """Yield batches as `feed` does, with patches that worker processes have cut and augmented."""
    for batch in _loader(patches, sampler, workers=workers):
        yield {name: tensor.to(device) for name, tensor in batch.items()}


def cut_by_workers(
    patches: PatchDataset, sampler: StepSampler, device: torch.device, *, workers: int
) -> Iterator[Batch]:
    """Yield batches as `feed` does: worker processes cut the patches, the device augments them."""
    pin = device.type == "cuda"  # copies from pinned memory do not hold up the host
    cuts = _loader(_Cuts(patches), sampler, workers=workers, collate=_stack, pin=pin)
    for images, labels, draws in cuts:
        images, labels = (tensor.to(device, non_blocking=True) for tensor in (images, labels))
        yield patches.finish(images, labels, draws)


class _Cuts(Dataset[tuple[Tensor, Tensor, Draw]]):
    """Patches that are cut but not augmented."""

    def __init__(self, patches: PatchDataset) -> None:
        self.patches = patches

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Draw]:
        draw = self.patches.draw(index)
        images, labels = self.patches.cut([draw], [self.patches.volume(draw.case)])
        return images[0], labels[0], draw


def _stack(samples: list[tuple[Tensor, Tensor, Draw]]) -> tuple[Tensor, Tensor, list[Draw]]:
    images, labels, draws = zip(*samples, strict=True)
    return torch.stack(images), torch.stack(labels), list(draws)


def _loader(
    dataset: Dataset[Any],
    sampler: StepSampler,
    *,
    workers: int,
    collate: Callable[[list[Any]], Any] | None = None,
    pin: bool = False,
) -> Iterator[Any]:
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        # Forked workers share the cached volumes; where there is no fork each gets a copy.
        multiprocessing_context="fork" if workers and hasattr(os, "fork") else None,
        prefetch_factor=4 if workers else None,
        pin_memory=pin,
        worker_init_fn=spare_worker,
    )
    try:
        yield from loader
    except (RuntimeError, OSError) as error:
        if not workers or not _is_of_machine(error):
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise OarfuseError(
            f"The processes that prepare patches cannot go on ({reason}): train with --workers 0, "
            "or give the container more shared memory (docker run --shm-size=2g) and open files."
        ) from error


def _is_of_machine(error: Exception) -> bool:
    """Whether what workers need of the machine has run out: shared memory, files, processes."""
    words = ("DataLoader worker", "shared memory", "shm", "torch_", "ancdata", "Bus error")
    return isinstance(error, OSError) or any(word in str(error) for word in words)
