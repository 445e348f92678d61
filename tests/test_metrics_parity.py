"""The metrics against independent implementations, and properties that hold for any masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

from oarfuse.metrics import case_metrics, distance_sets, surface

SPACING = (2.5, 3.9, 1.3)
Pair = tuple[np.ndarray, np.ndarray]  # prediction and truth
DISTANCES = [f"{name}_{unit}" for name in ("hd", "hd95", "asd", "assd") for unit in ("vox", "mm")]


def random_pair(seed: int, shape: tuple = (14, 17, 15)) -> Pair:
    """Two similar masks with holes, loose pieces and voxels on the volume's border."""
    rng = np.random.default_rng(seed)
    base = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    pair = []
    for _ in range(2):
        noisy = base + 0.5 * ndimage.gaussian_filter(rng.standard_normal(shape), 1.0) * base.std()
        pair.append(noisy > np.quantile(noisy, 0.7))
    return pair[0], pair[1]


@pytest.mark.parametrize("seed", range(4))
def test_monai_agrees(seed: int) -> None:
    prediction, truth = random_pair(seed)
    ours = case_metrics(prediction, truth, [1], SPACING, tolerance_mm=3.0)[1]
    y_pred, y = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth))
    assert ours.dsc == pytest.approx(compute_dice(y_pred, y).item(), rel=1e-6)
    for unit, spacing in (("vox", None), ("mm", SPACING)):
        options: dict[str, Any] = {"include_background": True, "spacing": spacing}
        theirs = {
            "hd": compute_hausdorff_distance(y_pred, y, **options),
            "hd95": compute_hausdorff_distance(y_pred, y, percentile=95, **options),
            "asd": compute_average_surface_distance(y_pred, y, **options),
            "assd": compute_average_surface_distance(y_pred, y, symmetric=True, **options),
        }
        for name, value in theirs.items():
            assert getattr(ours, f"{name}_{unit}") == pytest.approx(value.item(), rel=1e-5), name
    surface_dice = compute_surface_dice(y_pred, y, [3.0], include_background=True, spacing=SPACING)
    assert ours.surface_dice == pytest.approx(surface_dice.item(), rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_scipy_agrees(seed: int) -> None:
    prediction, truth = random_pair(seed)
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    for edge, mask in zip(edges, (prediction, truth), strict=True):
        np.testing.assert_array_equal(edge, surface(mask))
    for spacing in ((1.0, 1.0, 1.0), SPACING):
        maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
        to_truth, to_prediction = distance_sets(prediction, truth, spacing)
        np.testing.assert_allclose(to_truth, maps[1][edges[0]], rtol=1e-12)
        np.testing.assert_allclose(to_prediction, maps[0][edges[1]], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_simpleitk_agrees_on_the_same_surfaces(seed: int) -> None:
    # Its filter measures between whole masks, so it gets the surfaces as masks.
    prediction, truth = random_pair(seed)
    ours = case_metrics(prediction, truth, [1], SPACING)[1]
    for unit, spacing in (("vox", (1.0, 1.0, 1.0)), ("mm", SPACING)):
        images = []
        for mask in (prediction, truth):
            image = sitk.GetImageFromArray(surface(mask).astype(np.uint8))
            image.SetSpacing(spacing[::-1])
            images.append(image)
        hausdorff = sitk.HausdorffDistanceImageFilter()
        hausdorff.Execute(*images)
        expected = hausdorff.GetHausdorffDistance()
        assert getattr(ours, f"hd_{unit}") == pytest.approx(expected, rel=1e-5)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(
        *(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, truth))
    )
    assert ours.dsc == pytest.approx(overlap.GetDiceCoefficient())


def test_deepmind_measures_between_voxel_faces() -> None:
    # Its surface runs between voxels and is weighted by area, so a block that moves has the same
    # Hausdorff distance there, but another average: here a face, an edge and a corner weigh alike.
    sd = pytest.importorskip(
        "surface_distance", reason="optional: needs surface-distance-based-measures from PyPI"
    )
    truth = np.zeros((12, 12, 12), bool)
    truth[3:7, 3:8, 3:8] = True
    moved = np.roll(truth, 3, axis=0)
    found = sd.compute_surface_distances(truth, moved, SPACING)
    ours = case_metrics(moved, truth, [1], SPACING)[1]
    assert ours.hd_mm == pytest.approx(sd.compute_robust_hausdorff(found, 100)) == 3 * SPACING[0]
    theirs = sd.compute_average_surface_distance(found)[1]
    assert ours.asd_mm != pytest.approx(theirs, rel=1e-3)


masks_3d = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.bool_, shape)] * 2)
)
spacings = st.tuples(*[st.floats(0.3, 6.0)] * 3)
properties = settings(max_examples=60, deadline=None, derandomize=True)


def both_present(pair: Pair) -> bool:
    return bool(pair[0].any() and pair[1].any())


@properties
@given(masks_3d.filter(both_present), spacings)
def test_bounds_order_and_symmetry(pair: Pair, spacing: tuple) -> None:
    prediction, truth = pair
    one = case_metrics(prediction, truth, [1], spacing)[1]
    other = case_metrics(truth, prediction, [1], spacing)[1]
    for name in ("dsc", "hd_vox", "hd_mm", "hd95_vox", "hd95_mm", "assd_vox", "surface_dice"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))
    assert 0 <= one.dsc <= 1 and 0 <= one.surface_dice <= 1
    for unit, size in (("vox", (1, 1, 1)), ("mm", spacing)):
        hd, hd95 = getattr(one, f"hd_{unit}"), getattr(one, f"hd95_{unit}")
        # ASD may exceed HD95 (one far voxel in a hundred pulls a mean, not a percentile), never HD.
        assert 0 <= hd95 <= hd * (1 + 1e-12)
        assert 0 <= getattr(one, f"asd_{unit}") <= hd * (1 + 1e-12)
        diagonal = math.hypot(*(n * s for n, s in zip(truth.shape, size, strict=True)))
        assert hd <= diagonal


@properties
@given(masks_3d.filter(both_present), spacings, st.floats(0.2, 5.0))
def test_scaling_the_spacing_scales_mm_only(pair: Pair, spacing: tuple, factor: float) -> None:
    prediction, truth = pair
    one = case_metrics(prediction, truth, [1], spacing)[1]
    scaled = case_metrics(prediction, truth, [1], [s * factor for s in spacing])[1]
    assert scaled.dsc == one.dsc
    for name in DISTANCES:
        expected = getattr(one, name) * (factor if name.endswith("mm") else 1)
        assert getattr(scaled, name) == pytest.approx(expected)


@properties
@given(masks_3d.filter(both_present), spacings, st.integers(0, 2), st.integers(0, 3))
def test_flips_transposes_and_margins_change_nothing(
    pair: Pair, spacing: tuple, axis: int, margin: int
) -> None:
    expected = vars(case_metrics(*pair, [1], spacing)[1])
    flipped = [np.flip(mask, axis) for mask in pair]
    turned = [mask.transpose(2, 0, 1) for mask in pair]
    padded = [np.pad(mask, margin) for mask in pair]
    turned_spacing = (spacing[2], spacing[0], spacing[1])
    for (one, two), size in ((flipped, spacing), (turned, turned_spacing), (padded, spacing)):
        assert vars(case_metrics(one, two, [1], size)[1]) == pytest.approx(expected)


@properties
@given(masks_3d.filter(lambda pair: pair[1].any()), spacings)
def test_missing_an_organ_never_scores_better(pair: Pair, spacing: tuple) -> None:
    prediction, truth = pair
    found = case_metrics(prediction, truth, [1], spacing)[1]
    missed = case_metrics(np.zeros_like(prediction), truth, [1], spacing)[1]
    assert missed.missed
    assert missed.dsc <= found.dsc and missed.surface_dice <= found.surface_dice
    for name in DISTANCES:
        assert getattr(missed, name) >= getattr(found, name)


@properties
@given(masks_3d.filter(both_present), spacings)
def test_organs_do_not_influence_each_other(pair: Pair, spacing: tuple) -> None:
    prediction, truth = (mask.astype(np.uint8) * 2 for mask in pair)
    prediction[prediction == 0], truth[truth == 0] = 1, 3  # neighbours everywhere
    scores = case_metrics(prediction, truth, [1, 2, 3], spacing)
    assert scores[2] == case_metrics(*pair, [1], spacing)[1]
