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

from oarfuse.data.augment import Change, augment_batch, draw_change, wide_enough
from oarfuse.data.ct import AIR_HU, body_box, cut_slices, scale_window
from oarfuse.data.manifest import Case, load_case
from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec

# Share of patches that are centred anywhere in the body and not near an organ.
BACKGROUND_SHARE = 0.1
# Image (D, H, W) int16 HU and label (D, H, W) uint8.
VolumeTensors = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Draw:
    """What a patch is: the number of its case, its middle voxel (D, H, W), what is done to it."""

    case: int
    centre: tuple[int, int, int]
    change: Change


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
        How far the augmentation may go, for `oarfuse.data.augment.draw_change`.
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
        draws = [self.draw(index)]
        batch = self.finish(*self.cut(draws, [self.volume(draws[0].case)]), draws)
        return {name: tensor[0] for name, tensor in batch.items()}

    def draw(self, index: int) -> Draw:
        """Decide what patch `index` is, by the seed and the index alone."""
        random = np.random.default_rng([self.seed, index])
        case = int(random.integers(len(self.cached)))
        centre = self._centre(self.cached[case], random)
        if not self.augment:
            return Draw(case, centre, Change())
        mirrors = bool(self.spec.mirror_pairs)
        return Draw(case, centre, draw_change(random, self.augment_strength, mirrors=mirrors))

    def volume(self, case: int) -> VolumeTensors:
        """Return image (D, H, W) int16 HU and label (D, H, W) uint8 of a case, without a copy."""
        return torch.from_numpy(self.cached[case].image), torch.from_numpy(self.cached[case].label)

    def cut(self, draws: Sequence[Draw], volumes: Sequence[VolumeTensors]) -> tuple[Tensor, Tensor]:
        """Cut boxes that are wide enough to augment; outside of the volume is air and background.

        Parameters
        ----------
        draws
            What to cut.
        volumes
            `volume` of each draw's case, or its copy on the device that is to cut.

        Returns
        -------
        Image (B, D', H', W') int16 HU and label (B, D', H', W') uint8, on the volumes' device.
        """
        sides = self.patch_size
        if self.augment:
            sides = wide_enough(sides, self.augment_strength)
        device = volumes[0][0].device
        images = torch.full((len(draws), *sides), AIR_HU, dtype=torch.int16, device=device)
        labels = torch.zeros((len(draws), *sides), dtype=torch.uint8, device=device)
        for row, (draw, (image, label)) in enumerate(zip(draws, volumes, strict=True)):
            inside, into = [], []
            for centre, side, size in zip(draw.centre, sides, image.shape, strict=True):
                start = centre - side // 2
                first, last = max(start, 0), min(start + side, size)
                inside.append(slice(first, last))
                into.append(slice(first - start, last - start))
            images[row][tuple(into)] = image[tuple(inside)]
            labels[row][tuple(into)] = label[tuple(inside)]
        return images, labels

    def finish(self, images: Tensor, labels: Tensor, draws: Sequence[Draw]) -> dict[str, Tensor]:
        """Augment what `cut` returned, on its device, or only scale it.

        Returns
        -------
        dict
            ``image`` (B, 1, D, H, W) float32 in 0..1 and ``label`` (B, 1, D, H, W) int64.
        """
        if not self.augment:
            image = scale_window(images, self.spec.window_hu)
            return {"image": image[:, None], "label": labels.long()[:, None]}
        changes = [draw.change for draw in draws]
        return augment_batch(images, labels, changes, self.spec, self.patch_size)

    def _centre(self, case: _CachedCase, random: np.random.Generator) -> tuple[int, int, int]:
        """Choose an organ, each as likely as the others, then one of its voxels, and jitter it."""
        # Plain numbers: an array of three costs more than the arithmetic on it.
        if case.organ_voxels and random.random() >= BACKGROUND_SHARE:
            voxels = case.organ_voxels[random.integers(len(case.organ_voxels))]
            _, height, width = case.image.shape
            plane, within = divmod(int(random.choice(voxels)), height * width)
            quarters = np.array(self.patch_size) // 4
            jitter = random.integers(-quarters, quarters + 1).tolist()
            voxel = (plane, *divmod(within, width))
            wanted = [place + far for place, far in zip(voxel, jitter, strict=True)]
        else:
            wanted = [int(random.integers(side.start, side.stop)) for side in case.body]
        centre = []
        for place, box, side in zip(wanted, case.body, self.patch_size, strict=True):
            # A patch that hangs out of the body sees air instead of anatomy: pull it back in.
            low, high = box.start + side // 2, box.stop - (side - side // 2)
            centre.append(min(max(place, low), high) if low <= high else (low + high) // 2)
        return centre[0], centre[1], centre[2]


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
