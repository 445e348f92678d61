"""Keeping the largest component of each organ."""

from __future__ import annotations

import numpy as np

from oarfuse.postprocess import keep_largest_component


def test_smaller_pieces_become_background_organ_by_organ() -> None:
    labels = np.array([[[1, 1, 0, 1, 0, 2, 0, 2, 2]]], np.uint8)
    expected = np.array([[[1, 1, 0, 0, 0, 0, 0, 2, 2]]], np.uint8)
    original = labels.copy()
    cleaned = keep_largest_component(labels, num_classes=4)
    np.testing.assert_array_equal(cleaned, expected)
    np.testing.assert_array_equal(labels, original)
    assert cleaned.dtype == labels.dtype


def test_a_diagonal_organ_is_one_piece() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[range(4), range(4), range(4)] = 1
    np.testing.assert_array_equal(keep_largest_component(labels, 2), labels)


def test_another_organ_inside_the_box_stays() -> None:
    labels = np.array([[[1, 2, 1, 1], [2, 2, 0, 1]]], np.uint8)
    expected = np.array([[[0, 2, 1, 1], [2, 2, 0, 1]]], np.uint8)
    np.testing.assert_array_equal(keep_largest_component(labels, 3), expected)


def test_an_empty_volume_stays_empty() -> None:
    empty = np.zeros((2, 2, 2), np.uint8)
    np.testing.assert_array_equal(keep_largest_component(empty, 3), empty)
