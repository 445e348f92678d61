"""Metrics computed by hand. Drawings: T truth, P prediction, B both, . background."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oarfuse.errors import OarfuseError
from oarfuse.metrics import OrganMetrics, case_metrics, dice, distance_sets, surface


def drawn(*rows: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (prediction, truth) label arrays (H, W) from a drawing."""
    letters = np.array([list(row) for row in rows])
    return np.isin(letters, ["P", "B"]).astype(np.uint8), np.isin(letters, ["T", "B"]).astype(
        np.uint8
    )


def score(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple, **options: float
) -> OrganMetrics:
    return case_metrics(prediction, truth, [1], spacing, **options)[1]


def test_two_lone_voxels_on_an_anisotropic_grid() -> None:
    # rows 3 mm apart, columns 2 mm: one row and two columns away
    prediction, truth = drawn(
        "T...",
        "..P.",
    )
    metrics = score(prediction, truth, (3.0, 2.0), tolerance_mm=4.9)
    assert metrics.dsc == 0
    assert metrics.hd_vox == metrics.hd95_vox == metrics.asd_vox == metrics.assd_vox
    assert metrics.hd_vox == pytest.approx(math.sqrt(1 + 4))
    assert metrics.hd_mm == metrics.asd_mm == pytest.approx(5.0)  # sqrt(3^2 + 4^2)
    assert metrics.surface_dice == 0
    assert not metrics.missed
    assert score(prediction, truth, (3.0, 2.0), tolerance_mm=5.0).surface_dice == 1


def test_the_nearest_voxel_in_mm_is_not_the_nearest_in_voxels() -> None:
    # rows 5 mm apart, columns 1 mm. In voxels P is nearest to the T below it (1), in mm to the T
    # on its right (2 mm): scaling the voxel distance would give 5 mm or 1 mm, both wrong.
    prediction, truth = drawn(
        "P.T",
        "T..",
    )
    metrics = score(prediction, truth, (5.0, 1.0))
    assert metrics.asd_vox == 1.0
    assert metrics.asd_mm == 2.0
    assert metrics.hd_vox == 2.0  # truth to prediction: the T on the right
    assert metrics.hd_mm == 5.0  # truth to prediction: the T below


def test_directions_percentile_and_pooled_mean() -> None:
    # prediction to truth: 0. Truth to prediction: 0, 1, 2, 3.
    prediction, truth = drawn("BTTT")
    metrics = score(prediction, truth, (1.0, 10.0), tolerance_mm=10.0)
    assert metrics.dsc == pytest.approx(2 * 1 / (1 + 4))
    assert metrics.hd_vox == 3.0
    assert metrics.hd95_vox == pytest.approx(2.85)  # 2 + 0.85 * (3 - 2), position 0.95 * 3
    assert metrics.asd_vox == 0.0  # directed: an under-segmentation is not seen
    assert metrics.assd_vox == pytest.approx((0 + 0 + 1 + 2 + 3) / 5)
    assert metrics.hd_mm == 30.0 and metrics.assd_mm == pytest.approx(12.0)
    assert metrics.surface_dice == pytest.approx((1 + 2) / 5)

    swapped = score(truth, prediction, (1.0, 10.0))
    assert swapped.asd_vox == pytest.approx(1.5)
    assert (swapped.hd_vox, swapped.hd95_vox) == (metrics.hd_vox, metrics.hd95_vox)


def test_only_the_surface_counts() -> None:
    # The prediction fills the hole's place; the truth's inner voxel is not on its surface.
    prediction, truth = drawn(
        ".....",
        ".TTT.",
        ".TBT.",
        ".TTT.",
        ".....",
    )
    assert surface(truth.astype(bool)).sum() == 8
    to_truth, to_prediction = distance_sets(prediction, truth, (2.0, 1.0))
    assert to_truth.tolist() == [1.0]  # to the column beside it, 1 mm, not 0
    corner, below = math.hypot(2, 1), 2.0
    expected = [corner, below, corner, 1.0, 1.0, corner, below, corner]  # C order
    np.testing.assert_allclose(to_prediction, expected)


def test_a_cube_moved_by_one_slice() -> None:
    # Two 3x3x3 cubes, one slice (2.5 mm) apart; voxels 1 mm in plane. Side view, D downwards:
    #     TTT
    #     BBB      Each cube has 26 surface voxels, all but its centre.
    #     BBB
    #     PPP
    truth = np.zeros((6, 5, 5), np.uint8)
    prediction = truth.copy()
    truth[1:4, 1:4, 1:4] = 1
    prediction[2:5, 1:4, 1:4] = 1
    metrics = score(prediction, truth, (2.5, 1.0, 1.0), tolerance_mm=1.0)
    assert metrics.dsc == pytest.approx(2 * 18 / 54)
    # One way: the 9 P at 1 slice; the middle B of the upper slice lies at the centre of the T
    # cube, 1 voxel in plane (1 mm) from the T surface; the other 16 at 0. The other way alike.
    assert metrics.hd_vox == 1.0
    assert metrics.hd_mm == 2.5
    assert metrics.asd_vox == metrics.assd_vox == pytest.approx((9 * 1 + 1) / 26)
    assert metrics.asd_mm == metrics.assd_mm == pytest.approx((9 * 2.5 + 1 * 1.0) / 26)
    assert metrics.hd95_mm == 2.5
    assert metrics.surface_dice == pytest.approx((26 - 9) / 26)


def test_a_volume_one_slice_deep_is_all_surface() -> None:
    # Outside the volume is background, so in 3D each voxel of a single slice is surface.
    mask = np.ones((1, 3, 3), np.uint8)
    assert surface(mask.astype(bool)).all()
    assert surface(mask[0].astype(bool)).sum() == 8


def test_equal_masks() -> None:
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[1:3, 1:3, 1:3] = 1
    assert score(mask, mask, (3.0, 1.0, 1.0), tolerance_mm=0.0) == OrganMetrics(
        1.0, *(0.0,) * 8, surface_dice=1.0, missed=False
    )


def test_missed_false_positive_and_absent_organs() -> None:
    truth = np.zeros((3, 4, 12), np.uint8)
    prediction = truth.copy()
    truth[1, 1, 1] = 1
    prediction[1, 1, 1] = 2
    scores = case_metrics(prediction, truth, [3, 2, 1], (2.0, 1.0, 0.5))
    assert list(scores) == [3, 2, 1]
    diagonal_vox = 13.0  # sqrt(3^2 + 4^2 + 12^2)
    diagonal_mm = math.sqrt(6**2 + 4**2 + 6**2)
    for label, missed in ((1, True), (2, False)):
        metrics = scores[label]
        assert metrics.missed is missed
        assert metrics.dsc == metrics.surface_dice == 0
        for name in ("hd", "hd95", "asd", "assd"):
            assert getattr(metrics, f"{name}_vox") == pytest.approx(diagonal_vox)
            assert getattr(metrics, f"{name}_mm") == pytest.approx(diagonal_mm)
    absent = scores[3]
    assert not absent.missed
    assert all(math.isnan(v) for k, v in vars(absent).items() if k != "missed")


def test_both_volumes_empty() -> None:
    empty = np.zeros((3, 3, 3), np.uint8)
    assert math.isnan(case_metrics(empty, empty, [1], (1, 1, 1))[1].dsc)


def test_several_labels_touching_each_other() -> None:
    prediction = np.array([[1, 1, 2, 2]], np.int16)
    truth = np.array([[1, 2, 2, 2]], np.int16)
    scores = case_metrics(prediction, truth, [1, 2], (1.0, 2.0))
    assert scores[1].dsc == pytest.approx(2 / 3)
    assert scores[2].dsc == pytest.approx(4 / 5)
    assert (scores[1].asd_mm, scores[1].hd_mm) == (1.0, 2.0)
    assert (scores[2].asd_mm, scores[2].hd_mm) == (0.0, 2.0)


def test_a_tolerance_equal_to_the_distance_counts_despite_rounding() -> None:
    prediction, truth = drawn("P..T")
    assert 3 * 0.1 > 0.3  # in floating point
    assert score(prediction, truth, (1.0, 0.1), tolerance_mm=0.3).surface_dice == 1


def test_bool_masks_are_label_1() -> None:
    prediction, truth = drawn("BT")
    expected = score(prediction, truth, (1.0, 2.0))
    assert score(prediction.astype(bool), truth.astype(bool), (1.0, 2.0)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((2, 2, 3), int)}, "same grid"),
        ({"prediction": np.zeros((2, 2, 2), np.float32)}, "float32"),
        ({"truth": np.zeros((2, 2, 2))}, "truth holds float64"),
        ({"truth": np.zeros(8, int), "prediction": np.zeros(8, int)}, r"\(D, H, W\)"),
        (
            {"truth": np.zeros((1, 1, 2, 2, 2), int), "prediction": np.zeros((1, 1, 2, 2, 2), int)},
            "D",
        ),
        ({"truth": np.zeros((0, 2, 2), int), "prediction": np.zeros((0, 2, 2), int)}, "cannot"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "positive"),
        ({"spacing_mm": (1.0, -2.0, 1.0)}, "positive"),
        ({"spacing_mm": (1.0, math.nan, 1.0)}, "positive"),
        ({"spacing_mm": (1.0, math.inf, 1.0)}, "positive"),
        ({"spacing_mm": (1.0, 1.0)}, "3 positive numbers"),
        ({"labels": [0, 1]}, "positive label"),
        ({"tolerance_mm": -1.0}, "at least 0"),
        ({"tolerance_mm": math.nan}, "at least 0"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change: dict, message: str) -> None:
    arguments = {
        "prediction": np.zeros((2, 2, 2), np.uint8),
        "truth": np.zeros((2, 2, 2), np.uint8),
        "labels": [1],
        "spacing_mm": (1.0, 1.0, 1.0),
    } | change
    with pytest.raises(OarfuseError, match=message) as caught:
        case_metrics(**arguments)
    assert "\n" not in str(caught.value)


def test_distances_need_two_masks() -> None:
    mask = np.ones((2, 2), bool)
    with pytest.raises(OarfuseError, match="truth mask is empty"):
        distance_sets(mask, ~mask)
    with pytest.raises(OarfuseError, match="prediction mask is empty"):
        distance_sets(~mask, mask)


def test_distance_sets_are_in_voxels_without_a_spacing() -> None:
    prediction, truth = drawn("P.T")
    assert [d.tolist() for d in distance_sets(prediction, truth)] == [[2.0], [2.0]]


def test_dice_by_hand_and_of_nothing() -> None:
    truth = np.array([True, True, True, False])
    assert dice(np.array([False, True, True, True]), truth) == pytest.approx(2 * 2 / (3 + 3))
    assert dice(np.zeros(4, bool), truth) == 0
    assert math.isnan(dice(np.zeros(4, bool), np.zeros(4, bool)))
