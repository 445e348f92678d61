"""Masks to closed contours and back: exact, whichever way a reader fills them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from oarfuse.dicom.contours import Polygon, mask_to_polygons, polygons_to_mask


def drawn(text: str) -> NDArray[np.bool_]:
    return np.array([[c == "#" for c in line] for line in text.split()])


def filled_elsewhere(polygon: Polygon, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """What matplotlib takes for the inside."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    closed = Outline(np.concatenate([polygon, polygon[:1]]), closed=True)
    return closed.contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(shape)


def assert_exact(mask: NDArray[np.bool_]) -> list[Polygon]:
    """The mask comes back by our rule, and by readers that unite or exclude contours."""
    polygons = mask_to_polygons(mask)
    shape = (mask.shape[0], mask.shape[1])
    np.testing.assert_array_equal(polygons_to_mask(polygons, shape), mask)
    insides = [filled_elsewhere(polygon, shape) for polygon in polygons]
    np.testing.assert_array_equal(np.sum([*insides, np.zeros(shape)], axis=0), mask)
    rounded = [np.round(polygon * 0.71, 4) / 0.71 for polygon in polygons]  # as mm with 4 decimals
    np.testing.assert_array_equal(polygons_to_mask(rounded, shape), mask)
    return polygons


def test_one_pixel_becomes_a_diamond() -> None:
    (diamond,) = assert_exact(drawn("... ..# ..."))
    assert {tuple(point) for point in diamond} == {(1.5, 1), (2, 0.5), (2.5, 1), (2, 1.5)}


def test_straight_sides_need_no_points_between() -> None:
    (block,) = assert_exact(np.ones((4, 9), bool))
    assert len(block) == 8  # a rectangle with its corners cut
    assert block.min() == -0.5 and tuple(block.max(axis=0)) == (8.5, 3.5)


def test_a_hole_is_cut_by_a_keyhole() -> None:
    ring = drawn(".....  .###.  .#.#.  .###.  .....")
    (polygon,) = assert_exact(ring)
    back = [tuple(point) for point in polygon]
    assert len(back) - len(set(back)) == 2  # the channel's two ends are passed twice


def test_pieces_holes_and_an_island_in_a_hole() -> None:
    mask = drawn(
        """
        #######...#
        #.....#....
        #.###.#.##.
        #.#.#.#.##.
        #.###.#....
        #.....##.#.
        #######.#..
        """
    )
    polygons = assert_exact(mask)
    assert len(polygons) == 6  # pieces that touch at a corner only are apart


def test_nothing_becomes_nothing() -> None:
    assert mask_to_polygons(np.zeros((3, 4), bool)) == []
    assert not polygons_to_mask([], (3, 4)).any()


def test_points_lie_within_half_a_pixel_of_the_border() -> None:
    mask = gaussian_filter(np.random.default_rng(0).random((60, 70)), 3) > 0.5
    outside = np.pad(~mask, 1, constant_values=True)
    for polygon in assert_exact(mask):
        for column, row in polygon + 1:
            # Halfway between a pixel of the mask and one outside of it.
            sides = {
                bool(outside[round(row + dr), round(column + dc)])
                for dr, dc in (((0.5, 0), (-0.5, 0)) if row % 1 else ((0, 0.5), (0, -0.5)))
            }
            assert sides == {True, False}


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
@settings(max_examples=200, deadline=None)
def test_any_mask(mask: NDArray[np.bool_]) -> None:
    polygons = assert_exact(mask)
    assert len(polygons) == label(mask)[1]  # neighbours share a side


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.7, 1.5, 3.0]))
@settings(max_examples=30, deadline=None)
def test_organ_like_masks(seed: int, width: float) -> None:
    noise = gaussian_filter(np.random.default_rng(seed).random((40, 50)), width)
    assert_exact(noise > np.median(noise))


def test_inner_contours_become_holes_too() -> None:
    """As other programs write them: two contours, one inside the other."""
    outer = np.array([[0.5, 0.5], [8.5, 0.5], [8.5, 8.5], [0.5, 8.5]])
    inner = np.array([[3.5, 3.5], [5.5, 3.5], [5.5, 5.5], [3.5, 5.5]])
    wanted = np.zeros((10, 10), bool)
    wanted[1:9, 1:9] = True
    wanted[4:6, 4:6] = False
    np.testing.assert_array_equal(polygons_to_mask([outer, inner], (10, 10)), wanted)


@pytest.mark.parametrize("shift", [-30, -4, 4, 30])
def test_contours_that_leave_the_slice(shift: int) -> None:
    square = np.array([[0.5, 0.5], [6.5, 0.5], [6.5, 6.5], [0.5, 6.5]]) + shift
    y, x = np.mgrid[:8, :8] - shift
    wanted = (x >= 1) & (x <= 6) & (y >= 1) & (y <= 6)
    np.testing.assert_array_equal(polygons_to_mask([square], (8, 8)), wanted)
