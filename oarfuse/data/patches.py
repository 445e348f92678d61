"""Training patches: which case, which place, which augmentation, all decided by seed and index.

Patch ``i`` of a run with seed ``s`` is the same whatever process cuts it and whether the run was
interrupted before: nothing about the sampling has to be saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from oarfuse.data.augment import augment_patch, scale_window, wide_enough
from oarfuse.data.manifest import Case, load_case
from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec

AIR_HU = -1024
# Share of patches that are centred anywhere in the body and not near an organ.
BACKGROUND_SHARE = 0.1
# In the 133 training and validation patients every slice that leaks by its labels
# (`oarfuse.data.auditing.leaking_slices`; 1919 of them) holds at most 6.7 % of the CT voxels of a
# full slice, and 34 of the 10 218 other organ slices hold less than this share.
CUT_SHARE = 0.08


@dataclass(frozen=True)
class _CachedCase:
    image: NDArray[np.int16]  # (D, H, W)
    label: NDArray[np.uint8]  # (D, H, W)
    organ_voxels: tuple[NDArray[np.int32], ...]  # flat indices of each organ that is present
    body: tuple[slice, slice, slice]


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches around organs, from volumes that are kept in memory.

    Memory: three bytes a voxel (int16 HU and uint8 label) plus four bytes a labelled voxel, 6.3 MB
    for a 128^3 patient; with worker processes started by fork it is shared.

    Parameters
    ----------
    cases
        Training cases.
    patch_size
        (D, H, W).
    length
        How many patches a run draws.
    seed
        Decides every patch together with its index.
    augment
        Whether to augment, see `oarfuse.data.augment`.
    augment_strength
        How far the augmentation may go, for `oarfuse.data.augment.augment_patch`.
    blank_leaking
        Whether slices whose CT was cut away are emptied, and their labels with them: nothing is to
        be seen there, so nothing is to be learned.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        spec: DatasetSpec,
        patch_size: tuple[int, int, int],
        *,
        length: int,
        seed: int,
        augment: bool = True,
        augment_strength: float = 1.0,
        blank_leaking: bool = False,
    ) -> None:
        if not cases:
            raise OarfuseError("There are no training cases: prepare some, or check the split.")
        self.spec = spec
        self.patch_size = patch_size
        self.length = length
        self.seed = seed
        self.augment = augment
        self.augment_strength = augment_strength
        self.cached = [_cache(case, blank_leaking) for case in cases]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return ``image`` (1, D, H, W) float32 in 0..1 and ``label`` (1, D, H, W) int64."""
        random = np.random.default_rng([self.seed, index])
        case = self.cached[random.integers(len(self.cached))]
        centre = self._centre(case, random)
        if not self.augment:
            image, label = self._cut(case, centre, self.patch_size)
            scaled = scale_window(torch.from_numpy(image), self.spec.window_hu)
            return {"image": scaled[None], "label": torch.from_numpy(label).long()[None]}
        strength = self.augment_strength
        image, label = self._cut(case, centre, wide_enough(self.patch_size, strength))
        return augment_patch(
            torch.from_numpy(image),
            torch.from_numpy(label),
            self.spec,
            self.patch_size,
            random,
            strength,
        )

    def _centre(self, case: _CachedCase, random: np.random.Generator) -> NDArray[np.int64]:
        """Choose an organ, each as likely as the others, then one of its voxels, and jitter it."""
        sides = np.array(self.patch_size)
        if case.organ_voxels and random.random() >= BACKGROUND_SHARE:
            voxels = case.organ_voxels[random.integers(len(case.organ_voxels))]
            voxel = np.unravel_index(random.choice(voxels), case.image.shape)
            centre = np.array(voxel) + random.integers(-(sides // 4), sides // 4 + 1)
        else:
            centre = np.array([random.integers(side.start, side.stop) for side in case.body])
        # A patch that hangs out of the body sees air instead of anatomy: pull it back in.
        low = np.array([side.start for side in case.body]) + sides // 2
        high = np.array([side.stop for side in case.body]) - (sides - sides // 2)
        middle = (low + high) // 2
        return np.where(low <= high, np.clip(centre, low, high), middle)

    @staticmethod
    def _cut(
        case: _CachedCase, centre: NDArray[np.int64], sides: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Cut a box around `centre`; what lies outside of the volume is air and background."""
        starts = [int(c) - side // 2 for c, side in zip(centre, sides, strict=True)]
        inside, into = [], []
        for start, side, size in zip(starts, sides, case.image.shape, strict=True):
            first, last = max(start, 0), min(start + side, size)
            inside.append(slice(first, last))
            into.append(slice(first - start, last - start))
        image = np.full(sides, AIR_HU, dtype=np.int16)
        label = np.zeros(sides, dtype=np.uint8)
        image[tuple(into)] = case.image[tuple(inside)]
        label[tuple(into)] = case.label[tuple(inside)]
        return image, label


class StepSampler:
    """Indices of the patches that one process sees, batch by batch, from a step onwards.

    Step ``s`` uses patches ``s * batch_size * processes ..``; process ``rank`` takes its share.
    """

    def __init__(
        self, first_step: int, steps: int, batch_size: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.first_step, self.steps = first_step, steps
        self.batch_size, self.rank, self.processes = batch_size, rank, processes

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            start = (step * self.processes + self.rank) * self.batch_size
            yield list(range(start, start + self.batch_size))


def body_box(image: NDArray[np.int16], threshold_hu: int = -500) -> tuple[slice, slice, slice]:
    """Return the (D, H, W) box around all that is denser than air; the whole volume if nothing is.

    Parameters
    ----------
    image
        (D, H, W) HU.
    threshold_hu
        Voxels above it count.
    """
    dense = image > threshold_hu
    plane = np.any(dense, axis=0)
    lines = (dense.any(axis=(1, 2)), plane.any(axis=1), plane.any(axis=0))
    box = []
    for line, size in zip(lines, image.shape, strict=True):
        found = np.flatnonzero(line)
        box.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, size))
    return box[0], box[1], box[2]


def cut_slices(image: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Find axial slices whose CT was cut away but inside structures, without knowing the labels.

    A slice counts if it has CT voxels, but fewer than `CUT_SHARE` of a full slice; a voxel has CT
    if it is above -1024 HU, and a full slice is the 90th percentile over the slices with CT. It is
    the rule of `oarfuse.data.auditing.leaking_slices` without its use of the labels, so that
    prediction can apply it.

    Parameters
    ----------
    image
        (D, H, W) HU.

    Returns
    -------
    (D,) boolean; all False if there is no CT at all.
    """
    present = np.count_nonzero(image > AIR_HU, axis=(1, 2))
    if not present.any():
        return np.zeros(len(image), bool)
    full = np.percentile(present[present > 0], 90)
    return (present > 0) & (present < CUT_SHARE * full)


def blank_cut_slices(image: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the CT (D, H, W) with air in the slices that `cut_slices` finds."""
    blanked = image.copy()
    blanked[cut_slices(image)] = AIR_HU
    return blanked


def _cache(case: Case, blank_leaking: bool) -> _CachedCase:
    volume = load_case(case)
    image, label = volume.image, volume.label
    if blank_leaking:
        cut = cut_slices(image)
        image, label = image.copy(), label.copy()
        image[cut], label[cut] = AIR_HU, 0
    flat = label.ravel()
    labels = [value for value in np.unique(flat) if value]
    return _CachedCase(
        image=image,
        label=label,
        organ_voxels=tuple(np.flatnonzero(flat == value).astype(np.int32) for value in labels),
        body=body_box(image),
    )
