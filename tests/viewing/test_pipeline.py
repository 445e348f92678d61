"""The picture of the whole pipeline is drawn from the data that went through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from oarfuse import build_model
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import draw_pipeline, trace_stages
from oarfuse.viewing.network.pipeline import STATIONS, _patch_box

SHAPE = (24, 30, 40)
PATCH = (16, 16, 16)


def drawn(**changes: Any) -> Figure:
    image = np.full(SHAPE, 20, np.int16)
    truth = np.zeros(SHAPE, np.uint8)
    truth[10:14, 10:14, 8:12] = 3
    given: dict[str, Any] = {
        "image": image,
        "truth": truth,
        "prediction": truth,
        "spacing_mm": (2.5, 4.0, 4.0),
        "spec": OPENKBP,
        "patch_size": PATCH,
        "stages": trace_stages(build_model("oarfocalfusenet", width=8), PATCH),
        "scores": {"right_parotid": 0.83},
    }
    return draw_pipeline(**(given | changes))


def test_every_station_shows_its_own_data() -> None:
    figure = drawn()
    assert [axes.get_title(loc="left")[3:] for axes in figure.axes] == list(STATIONS)
    files, volume, patch, network, labels, scores = figure.axes
    assert files.texts[0].get_text().splitlines()[1:3] == ["0,1044.0", "1,1044.0"]
    assert len(volume.images) == len(labels.images) == 2  # CT and organs
    assert len(patch.images) == 1
    assert patch.get_xlim() == (2 * 4.0, (2 + 16) * 4.0)  # 16 voxels around index 10
    boxes = [text.get_text() for text in network.texts]
    assert "I$_1$  8 x 16³" in boxes and "D$_4$  64 x 2³" in boxes
    assert "I$_5$  128 x 1³" in boxes
    assert [text.get_text() for text in scores.texts] == ["Right parotid  0.83"]
    arrows = [artist for artist in figure.artists if artist.get_gid() == "arrow"]
    assert len(arrows) == 4


def test_a_patch_stays_inside_the_volume() -> None:
    corner, nothing = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    corner[0, 0, 39] = 1
    assert _patch_box(corner, PATCH) == ((0, 16), (0, 16), (24, 40))
    assert _patch_box(corner, (64, 16, 16))[0] == (0, 24)
    assert _patch_box(nothing, PATCH) == ((4, 20), (7, 23), (12, 28))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(OarfuseError, match="three sides"):
        drawn(patch_size=(16, 16))
    with pytest.raises(OarfuseError, match="trace_stages"):
        drawn(stages=())
