"""Leaking slices by hand, and the audit's table against a plain count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oarfuse.data import audit, leaking_slices, load_case, prepare_openkbp
from tests.helpers.openkbp_files import flat, mask_csv, three_patients, write_source


def scan() -> tuple[np.ndarray, np.ndarray]:
    """Ten slices of 20 x 20 with CT everywhere and an organ of 9 voxels in slices 2 to 8."""
    image = np.zeros((10, 20, 20), np.int16)
    label = np.zeros((10, 20, 20), np.uint8)
    label[2:9, 8:11, 8:11] = 3
    return image, label


def cut(image: np.ndarray, label: np.ndarray, slices: list[int], outside: int = 0) -> None:
    """Remove the CT of `slices` but for the organ and `outside` more voxels."""
    for number in slices:
        image[number][label[number] == 0] = -1024
        image[number, 0, :outside] = 0


def test_full_scan_does_not_leak() -> None:
    assert not leaking_slices(*scan()).any()


def test_cut_slices_leak_and_only_those_with_organs() -> None:
    image, label = scan()
    cut(image, label, [0, 1, 2, 3, 8])
    assert np.flatnonzero(leaking_slices(image, label)).tolist() == [2, 3, 8]


def test_limit_is_a_twentieth_of_a_full_slice() -> None:
    # A full slice has 400 - 9 = 391 voxels outside the organ, so the limit is 19.55.
    for outside, leaks in ((19, True), (20, False)):
        image, label = scan()
        cut(image, label, [2], outside)
        assert leaking_slices(image, label)[2] == leaks


def test_half_of_the_slices_may_leak() -> None:
    image, label = scan()
    cut(image, label, [2, 3, 4, 5])
    assert np.flatnonzero(leaking_slices(image, label)).tolist() == [2, 3, 4, 5]


def test_air_in_the_scan_is_ct() -> None:
    image, label = scan()
    image[4][label[4] == 0] = -1000
    assert not leaking_slices(image, label).any()


def test_nothing_to_compare_with() -> None:
    image, label = scan()
    assert not leaking_slices(image, np.zeros_like(label)).any()
    cut(image, label, list(range(10)))
    assert not leaking_slices(image, label).any()


def test_table_agrees_with_a_plain_count(tmp_path: Path) -> None:
    patients = three_patients()
    patients["train/pt_2"]["Mandible"] = mask_csv(
        [
            flat(40, 40, 60),
            flat(41, 41, 61),
            flat(5, 58, 69),
        ]  # two touch at a corner, one has no CT
    )
    manifest = prepare_openkbp(
        write_source(tmp_path / "kbp", patients), tmp_path / "out", progress=False
    )
    table = audit(manifest)
    assert table.index.tolist() == ["pt_2", "pt_10", "pt_201"]
    row = table.loc["pt_2"]
    volume = load_case(manifest.case("pt_2"))
    assert (row.spacing_d, row.spacing_h, row.spacing_w) == (2.5, 4.5, 4.0)
    assert (row.voxels_mandible, row.components_mandible) == (3, 2)
    assert row.components_brainstem == 1
    assert row.overlap_voxels == 1
    places = np.argwhere(volume.label > 0)
    assert (row.extent_d, row.extent_h, row.extent_w) == tuple(np.ptp(places, axis=0) + 1)
    assert row.hu_max == volume.image.max()
    assert row.organ_voxels_without_ct == 1
    leaking = leaking_slices(volume.image, volume.label)
    assert row.leaking_slices == leaking.sum()
    share = (volume.label[leaking] > 0).sum() / (volume.label > 0).sum()
    assert row.leaking_share == pytest.approx(share)
