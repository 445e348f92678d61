"""Receptive fields on the CT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import show_fields

IMAGE = np.full((16, 20, 24), 40, np.int16)
SPACING = (3.0, 4.0, 2.0)
BOXES = {"small": [(7, 9), (9, 11), (11, 13)], "wide": [(-4, 20), (2, 18), (4, 20)]}


def test_boxes_lie_where_their_voxels_are() -> None:
    figure = show_fields(IMAGE, BOXES, spacing_mm=SPACING, spec=OPENKBP, voxel=(8, 10, 12))
    axial, coronal, sagittal = figure.axes
    patches: list[Any] = list(sagittal.patches)
    small: Any
    wide: Any
    small, wide = (patch for patch in axial.patches if patch.get_gid() == "field")
    # axial: columns along W (2 mm a voxel), rows along H (4 mm)
    assert small.get_bbox().bounds == (11 * 2, 9 * 4, 3 * 2, 3 * 4)
    assert wide.get_bbox().bounds == (4 * 2, 2 * 4, 17 * 2, 17 * 4)
    # sagittal: columns along H, rows along D; a box may leave the volume, the picture does not
    assert patches[1].get_bbox().bounds == (2 * 4, -4 * 3, 17 * 4, 25 * 3)
    assert sagittal.get_ylim() == (0, 16 * 3)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "small: 9 x 12 x 6 mm",
        "wide: 75 x 68 x 34 mm",
    ]
    assert len(coronal.patches) == 2


@pytest.mark.parametrize(
    ("fields", "voxel", "said"),
    [
        ({}, (8, 10, 12), "0 boxes"),
        ({str(i): BOXES["small"] for i in range(7)}, (8, 10, 12), "7 boxes"),
        ({"bad": [(3, 2), (1, 1), (1, 1)]}, (8, 10, 12), "bad"),
        ({"flat": [(1, 2), (1, 2)]}, (8, 10, 12), "flat"),
        (BOXES, (16, 0, 0), "outside the volume"),
    ],
)
def test_bad_input(fields: dict, voxel: tuple[int, int, int], said: str) -> None:
    with pytest.raises(OarfuseError, match=said):
        show_fields(IMAGE, fields, spacing_mm=SPACING, spec=OPENKBP, voxel=voxel)
