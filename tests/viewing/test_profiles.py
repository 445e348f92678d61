"""Profiles along the body and the picture of a whole data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from oarfuse.data import public_cohort
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import plot_cohort, plot_coverage, plot_slice_dsc
from oarfuse.viewing.plots.profiles import slice_dsc

SPACING = (3.0, 5.0, 5.0)


def texts_inside(figure: Figure) -> list[str]:
    """Return captions, labels and notes, after making sure that none leaves the page."""
    figure.canvas.draw()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels()]
    found = []
    for text in texts:
        box, page = text.get_window_extent(), figure.bbox
        low, high = text.axes.get_ylim() if text.axes else (0, 0)
        shown = text not in (text.axes.get_yticklabels() if text.axes else ()) or (
            min(low, high) <= text.get_position()[1] <= max(low, high)
        )
        if text.get_text() and shown:
            assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text.get_text()
            assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, text.get_text()
            found.append(text.get_text())
    return found


def test_slice_dsc_by_hand() -> None:
    truth, prediction = np.zeros((4, 2, 2), np.uint8), np.zeros((4, 2, 2), np.uint8)
    truth[0] = 1  # 4 voxels against 2, both right: 2 * 2 / 6
    prediction[0, 0] = 1
    truth[1, 0, 0] = 1  # missed
    prediction[2] = 1  # invented
    np.testing.assert_allclose(slice_dsc(truth, prediction, 1), [2 / 3, 0, 0, np.nan])
    assert np.isnan(slice_dsc(truth, prediction, 2)).all()


def test_coverage_marks_the_slices_that_leak() -> None:
    labels = np.zeros((10, 8, 8), np.uint8)
    labels[1:9, 3:5, 3:5] = 2
    labels[4:7, 0, 0] = 5
    image = np.where(labels > 0, 40, -1024).astype(np.int16)
    image[:6] = np.where(labels[:6] > 0, 40, 20)
    figure = plot_coverage(image, labels, spacing_mm=SPACING, spec=OPENKBP)
    above, below = figure.axes
    assert "3 leaking slices" in texts_inside(figure)  # 6, 7 and 8; slice 9 holds no organ
    assert [tick.get_text() for tick in below.get_yticklabels()] == ["Spinal cord", "Mandible"]
    patches: list[Any] = list(below.patches)
    bars = [(round(bar.get_x() + 0.5), round(bar.get_y() + 0.4)) for bar in patches]
    drawn = [(index, row) for index, row in bars if row in (0, 1)]
    assert {(1, 0), (8, 0), (4, 1), (6, 1)} <= set(drawn)
    full = np.asarray(above.lines[0].get_ydata())[2]
    assert full == pytest.approx((64 - 4) * 25 / 100)  # voxels outside organs, 25 mm² each, in cm²


def test_slice_scores_have_a_panel_for_each_organ_and_the_whole_volume_beside() -> None:
    truth = np.zeros((10, 8, 8), np.uint8)
    truth[1:9, 3:5, 3:5] = 2
    truth[4:7, 0, 0] = 3
    figure = plot_slice_dsc(truth, np.where(truth == 3, 0, truth), spec=OPENKBP)
    assert [axes.get_ylabel() for axes in figure.axes] == ["Spinal cord", "Right parotid"]
    found = texts_inside(figure)
    assert "1.00" in found and "0.00" in found
    with pytest.raises(OarfuseError, match="shape"):
        plot_slice_dsc(truth, truth[1:], spec=OPENKBP)


def test_cohort_shows_every_patient_once_for_each_organ() -> None:
    rows = [
        {"case": f"pt_{n}", "spacing_d": 2.5, "spacing_h": 4.0 + n % 2, "spacing_w": 4.0 + n % 2}
        | {f"voxels_{organ.name}": 500 + 10 * n for organ in OPENKBP.organs}
        for n in range(6)
    ]
    figure = plot_cohort(pd.DataFrame(rows).set_index("case"), spec=OPENKBP)
    left, right = figure.axes
    dots = [np.asarray(drawn.get_offsets()) for drawn in left.collections]
    assert [len(group) for group in dots] == [6] * 5
    np.testing.assert_allclose(dots[0][0, 0], 500 * 2.5 * 4 * 4 / 1000)
    assert len(np.asarray(right.collections[0].get_offsets())) == 2  # two kinds of voxels
    assert any("6 cases" in text for text in texts_inside(figure))


def test_cohort_lies_over_the_whole_data_set() -> None:
    rows = [
        {"case": f"pt_{n}", "spacing_d": 2.5, "spacing_h": 4.0, "spacing_w": 4.0}
        | {f"voxels_{organ.name}": 500 + 10 * n for organ in OPENKBP.organs}
        for n in range(3)
    ]
    frame, whole = pd.DataFrame(rows).set_index("case"), public_cohort()
    figure = plot_cohort(frame, spec=OPENKBP, whole=whole)
    left, right = figure.axes
    ranges = [line for line in left.lines if line.get_gid() == "whole"]
    low, high = np.asarray(ranges[4].get_xdata())
    assert (low, high) == (whole.volumes_ml["mandible"][0], whole.volumes_ml["mandible"][-1])
    (circles,) = [drawn for drawn in right.collections if drawn.get_gid() == "whole"]
    assert len(np.asarray(circles.get_offsets())) == len(whole.voxels_mm)
    assert any("133 patients" in text.replace("\n", " ") for text in texts_inside(figure))
