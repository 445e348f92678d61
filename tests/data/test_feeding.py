"""Three ways to feed the same patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from oarfuse.data import feeding, load_manifest
from oarfuse.data.feeding import (
    ResidentPatches,
    augmented_by_workers,
    cut_by_workers,
    feed,
    fits_on,
)
from oarfuse.data.patches import PatchDataset, StepSampler
from oarfuse.organs import OPENKBP

CPU = torch.device("cpu")


def dataset(phantom: Path, **changes: Any) -> PatchDataset:
    options: dict[str, Any] = dict(length=50, seed=5, augment=True)
    cases = load_manifest(phantom).split("train")
    return PatchDataset(cases, OPENKBP, (32, 24, 40), **{**options, **changes})


def same(ones: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> bool:
    return len(ones) == len(others) and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype
        for one, other in zip(ones, others, strict=True)
        for name in ("image", "label")
    )


@pytest.mark.parametrize("augment", [True, False])
def test_three_ways_feed_the_same_patches(phantom: Path, augment: bool) -> None:
    patches, sampler = dataset(phantom, augment=augment), StepSampler(1, 4, batch_size=3)
    one_by_one = [
        {
            name: torch.stack([patches[index][name] for index in indices])
            for name in ("image", "label")
        }
        for indices in sampler
    ]
    assert one_by_one[0]["image"].shape == one_by_one[0]["label"].shape == (3, 1, 32, 24, 40)
    resident = ResidentPatches(patches, CPU)
    assert same([resident.batch(indices) for indices in sampler], one_by_one)
    for way in (feed, augmented_by_workers, cut_by_workers):
        for workers in (0, 1):
            assert same(list(way(patches, sampler, CPU, workers=workers)), one_by_one), way


@pytest.mark.parametrize("way", [feed, cut_by_workers])
def test_resumed_feed_is_the_tail_of_the_whole(phantom: Path, way: Any) -> None:
    patches = dataset(phantom)
    whole = list(way(patches, StepSampler(0, 5, batch_size=2), CPU, workers=0))
    resumed = list(way(patches, StepSampler(3, 5, batch_size=2), CPU, workers=0))
    assert same(resumed, whole[3:])


def test_volumes_go_to_a_gpu_only_if_a_quarter_of_it_holds_them(
    phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches, gpu = dataset(phantom), torch.device("cuda", 0)
    needed = 3 * sum(case.image.size for case in patches.cached)
    ways = []
    monkeypatch.setattr(feeding, "cut_by_workers", lambda *_, workers: ways.append(workers))

    class Resident:
        def __init__(self, patches: PatchDataset, device: torch.device) -> None:
            ways.append(device)

        def batch(self, indices: list[int]) -> list[int]:
            return indices

    monkeypatch.setattr(feeding, "ResidentPatches", Resident)
    for free, fits in ((4 * needed, True), (4 * needed - 1, False)):
        memory = (free, 10 * free)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, memory=memory: memory)
        assert fits_on(patches, gpu) is fits
        feed(patches, StepSampler(0, 2, batch_size=2), gpu, workers=3)
    assert ways == [gpu, 3]
