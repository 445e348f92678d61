"""What must hold for every input: resampling, patch sampling, and readers fed with noise."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oarfuse.data import load_manifest
from oarfuse.data.nifti import parse_nifti
from oarfuse.data.openkbp.sparse_csv import read_ct, read_mask
from oarfuse.data.patches import PatchDataset, StepSampler
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.other_grids import resize, resize_labels
from tests.helpers.small_data import write_small_data

SIDES = st.tuples(*3 * [st.integers(1, 9)])


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 99))
def test_resampling_keeps_range_and_its_own_grid(
    old: tuple[int, ...], new: tuple[int, ...], seed: int
) -> None:
    image = np.random.default_rng(seed).integers(-1024, 3000, old).astype(np.int16)
    resized = resize(image, new)
    assert resized.shape == new and resized.dtype == np.int16
    assert image.min() <= resized.min() and resized.max() <= image.max()
    assert np.array_equal(resize(image, old), image)
    assert (resize(np.full(old, 37, np.int16), new) == 37).all()
    flipped = resize(image[::-1], new)[::-1].astype(int)
    assert np.abs(flipped - resized).max() <= 1  # both ends are treated alike, up to rounding


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 99))
def test_resampled_labels_are_labels_that_were_there(
    old: tuple[int, ...], new: tuple[int, ...], seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, 6, old).astype(np.uint8)
    resized = resize_labels(labels, new, 6)
    assert resized.shape == new and resized.dtype == np.uint8
    assert set(np.unique(resized)) <= set(np.unique(labels))
    assert np.array_equal(resize_labels(labels, old, 6), labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("small")
    write_small_data(place, train=2, validation=0)
    return place


@settings(max_examples=30, deadline=None)
@given(sides=st.tuples(*3 * [st.integers(1, 48)]), index=st.integers(0, 10**6))
def test_every_patch_is_cut_from_the_volume_or_air(
    folder: Path, sides: tuple[int, int, int], index: int
) -> None:
    cases = load_manifest(folder).split("train")
    patches = PatchDataset(cases, OPENKBP, sides, length=1, seed=index, augment=False)
    patch = patches[index]
    assert patch["image"].shape == patch["label"].shape == (1, *sides)
    assert patch["image"].min() >= 0 and patch["image"].max() <= 1
    assert patch["label"].min() >= 0 and patch["label"].max() <= 5
    for axis, side in enumerate(sides, start=1):  # air appears only where the volume must end
        if side >= 32:
            assert patch["image"].amax(dim=[a for a in range(4) if a != axis]).count_nonzero() <= 32
    again = PatchDataset(cases, OPENKBP, sides, length=1, seed=index, augment=False)[index]
    assert (again["image"] == patch["image"]).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.integers(1, 20), st.integers(1, 4), st.integers(1, 4))
def test_processes_share_the_same_patches_in_the_same_steps(
    first: int, more: int, batch: int, processes: int
) -> None:
    alone = list(StepSampler(first, first + more, batch * processes))
    shares = [
        list(StepSampler(first, first + more, batch, rank, processes)) for rank in range(processes)
    ]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone
    whole = list(StepSampler(0, first + more, batch * processes))
    assert whole[first:] == alone  # a resumed run goes on with the patches that come next


def whole_nifti() -> bytes:
    values = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    return nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1])).to_bytes()


NIFTI = whole_nifti()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_nifti_with_bent_bytes_gives_a_volume_or_one_sentence(
    edits: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(NIFTI[: len(NIFTI) - cut])
    for place, value in edits:
        data[place] = value
    try:
        volume = parse_nifti(bytes(data), Path("bent.nii"))
    except OarfuseError as error:
        assert "bent.nii" in str(error) and "\n" not in str(error)
    else:
        assert volume.array.ndim == 3 and np.isfinite(volume.array).all()
        assert all(0 < size < np.inf for size in volume.spacing_mm)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=3)), max_size=5))
def test_csv_with_bent_bytes_gives_numbers_or_one_sentence(edits: list[tuple[int, bytes]]) -> None:
    data = b",data\n" + b"".join(b"%d,%d.0\n" % (n, 1000 + n) for n in range(5, 60, 7))
    for place, replacement in edits:
        data = data[:place] + replacement + data[place + 1 :]
    for read in (read_ct, read_mask):
        try:
            read(data, "bent.csv")
        except OarfuseError as error:
            assert "bent.csv" in str(error) and "\n" not in str(error)
