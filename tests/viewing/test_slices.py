"""Slices, comparisons and error maps: anatomy the right way round, true proportions, colours."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import ViewCase, show_cases, show_comparison, show_error_map, show_planes
from oarfuse.viewing.canvas.overlay import outline_segments
from oarfuse.viewing.canvas.planes import (
    AXIAL,
    CORONAL,
    PLANES,
    SAGITTAL,
    box_around,
    telling_voxel,
)
from oarfuse.viewing.ct.comparison import mean_dsc
from oarfuse.viewing.ct.error_map import error_classes, error_rgba

SPACING = (3.0, 4.0, 2.0)
SHAPE = (24, 30, 40)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    """A toy head: brainstem superior, cord inferior, parotids at the sides, mandible in front."""
    d, h, w = np.indices(SHAPE)

    def ball(centre: tuple[int, int, int], radii: tuple[int, int, int]) -> np.ndarray:
        at = zip((d, h, w), centre, radii, strict=True)
        return sum(((axis - c) / r) ** 2 for axis, c, r in at) <= 1

    image = np.where(ball((12, 15, 20), (12, 14, 18)), 40, -1000).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[ball((19, 18, 20), (3, 2, 3))] = 1
    labels[ball((7, 19, 20), (6, 2, 2))] = 2
    labels[ball((13, 15, 7), (4, 4, 3))] = 3
    labels[ball((13, 15, 33), (4, 4, 3))] = 4
    labels[ball((12, 5, 20), (3, 3, 9))] = 5
    return image, labels


def pixels(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(float) / 255


def where_color(axes: Axes, color: str, tolerance: float = 0.12) -> tuple[float, float]:
    """Return the mean (x, y) of the pixels of a colour in axes fractions, y upwards."""
    picture = pixels(axes.figure)
    box = axes.get_window_extent()
    height = picture.shape[0]
    part = picture[int(height - box.y1) : int(height - box.y0), int(box.x0) : int(box.x1)]
    rows, cols = np.nonzero(np.abs(part - to_rgb(color)).max(axis=-1) < tolerance)
    assert len(rows), f"{color} is not in the picture"
    return cols.mean() / part.shape[1], 1 - rows.mean() / part.shape[0]


def assert_no_overlap(figure: Any) -> None:
    """Texts outside of the pictures (title, captions, headings) stay apart and inside the page."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    boxes += [a.title.get_window_extent(renderer) for a in figure.axes if a.get_title()]
    page = figure.bbox
    for box in boxes:
        assert box.x0 >= page.x0 and box.x1 <= page.x1
        assert box.y0 >= page.y0 and box.y1 <= page.y1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_chosen_planes_fill_the_page(head: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = head
    figure = show_planes(
        image,
        labels,
        spacing_mm=SPACING,
        spec=OPENKBP,
        crop="none",
        planes=("coronal", "sagittal"),
    )
    titles = [axes.get_title().split(",")[0] for axes in figure.axes]
    assert titles == ["Coronal", "Sagittal"]
    one, other = (axes.get_position().height for axes in figure.axes)
    assert one == pytest.approx(other)
    assert_no_overlap(figure)
    with pytest.raises(OarfuseError, match="no plane named 'oblique'"):
        show_planes(image, spacing_mm=SPACING, spec=OPENKBP, planes=("oblique",))


def test_planes_have_true_proportions(head: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = head
    figure = show_planes(image, labels, spacing_mm=SPACING, spec=OPENKBP, crop="none")
    figure.canvas.draw()
    scales = []
    for axes, (rows, cols) in zip(figure.axes, [(1, 2), (0, 2), (0, 1)], strict=True):
        box = axes.get_window_extent()
        height, width = SHAPE[rows] * SPACING[rows], SHAPE[cols] * SPACING[cols]
        assert box.height / box.width == pytest.approx(height / width, rel=0.01)
        scales.append(box.width / width)
    assert scales == pytest.approx([scales[0]] * 3, rel=0.01), "the planes share one scale"


def test_anatomy_stands_upright_and_right_is_on_the_viewers_left(
    head: tuple[np.ndarray, np.ndarray],
) -> None:
    image, labels = head
    figure = show_planes(
        image, labels, spacing_mm=SPACING, spec=OPENKBP, crop="none", alpha=1.0, index=(13, 15, 20)
    )
    colors = {organ.name: organ.color for organ in OPENKBP.organs}
    axial, coronal, sagittal = figure.axes
    assert where_color(axial, colors["right_parotid"])[0] < 0.4
    assert where_color(axial, colors["left_parotid"])[0] > 0.6
    assert where_color(axial, colors["mandible"])[1] > 0.7, "anterior is up"
    assert where_color(coronal, colors["right_parotid"])[0] < 0.4
    assert where_color(sagittal, colors["mandible"])[0] < 0.35, "anterior is left"
    brainstem, cord = (where_color(sagittal, colors[n]) for n in ("brainstem", "spinal_cord"))
    assert brainstem[1] > cord[1], "superior is up"


@pytest.mark.parametrize(
    ("plane", "letters"), [("axial", "RLAP"), ("coronal", "RLSI"), ("sagittal", "APSI")]
)
def test_orientation_letters_stand_at_their_edges(
    head: tuple[np.ndarray, np.ndarray], plane: str, letters: str
) -> None:
    image, labels = head
    figure = show_planes(image, labels, spacing_mm=SPACING, spec=OPENKBP)
    axes = figure.axes[list(PLANES).index(plane)]
    marks = {t.get_text(): t.get_position() for t in axes.texts if t.get_gid() == "orientation"}
    left, right, top, bottom = list(letters)
    assert set(marks) == set(letters)
    assert marks[left][0] < 0.1 and marks[right][0] > 0.9
    assert marks[bottom][1] < 0.1 and marks[top][1] > 0.9


def test_legend_names_the_organs_that_are_there_in_their_colours(
    head: tuple[np.ndarray, np.ndarray],
) -> None:
    image, labels = head
    without = np.where(labels == 5, 0, labels)
    figure = show_planes(image, without, spacing_mm=SPACING, spec=OPENKBP)
    (legend,) = figure.legends
    handles: list[Any] = list(legend.legend_handles)
    entries = {
        text.get_text(): handle.get_facecolor()[:3]
        for text, handle in zip(legend.get_texts(), handles, strict=True)
    }
    assert entries == {o.title: to_rgb(o.color) for o in OPENKBP.organs if o.label != 5}


def test_a_scale_bar_is_as_long_as_it_says(head: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = head
    figure = show_planes(image, labels, spacing_mm=SPACING, spec=OPENKBP)
    for axes in figure.axes:
        (bar,) = [line for line in axes.lines if line.get_gid() == "scale"]
        (text,) = [t.get_text() for t in axes.texts if t.get_text().endswith(" mm")]
        fraction = np.diff(bar.get_xdata()).item()
        assert fraction * abs(np.diff(axes.get_xlim()).item()) == pytest.approx(float(text[:-3]))


def test_outline_runs_along_voxel_edges() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2:4] = True  # rows 1..2, columns 2..3
    segments = outline_segments(mask, row_mm=3.0, col_mm=2.0)
    assert len(segments) == 8, "a 2 x 2 square has eight voxel edges around it"
    assert segments[..., 0].min() == 4.0 and segments[..., 0].max() == 8.0
    assert segments[..., 1].min() == 3.0 and segments[..., 1].max() == 9.0
    full = outline_segments(np.ones((2, 2), bool), 1.0, 1.0)
    assert len(full) == 8, "a mask that touches the border is closed there"


def test_telling_voxel_prefers_slices_with_more_organs() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1, :, :] = 1  # one large organ
    labels[4, 2, 3], labels[4, 2, 4] = 2, 3  # two small ones
    assert telling_voxel(labels)[0] == 4
    assert telling_voxel(np.zeros((6, 8, 10), np.uint8)) == (3, 4, 5)


def test_box_around_adds_the_margin_in_mm_and_stays_inside() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[5, 1, 5] = True
    assert box_around(mask, (3.0, 4.0, 2.0), 6.0) == ((3, 8), (0, 4), (2, 9))


def test_planes_take_what_they_say() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    assert (AXIAL.take(volume, 1) == volume[1]).all()
    assert (CORONAL.take(volume, 2) == volume[:, 2]).all()
    assert (SAGITTAL.take(volume, 3) == volume[:, :, 3]).all()


def test_comparison_has_truth_and_methods_on_the_same_slices(
    head: tuple[np.ndarray, np.ndarray],
) -> None:
    image, labels = head
    shifted = np.roll(labels, 2, axis=2)
    figure = show_comparison(
        image, labels, {"Same": labels, "Shifted": shifted}, spacing_mm=SPACING, spec=OPENKBP
    )
    assert len(figure.axes) == 9
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles[0].startswith("Truth")
    assert titles[1] == "Same\nDSC 1.000"
    assert titles[2] == f"Shifted\nDSC {mean_dsc(labels, shifted, OPENKBP):.3f}"
    for row in range(3):
        ct = [np.asarray(axes.images[0].get_array()) for axes in figure.axes[3 * row : 3 * row + 3]]
        assert (ct[0] == ct[1]).all() and (ct[0] == ct[2]).all()
    assert_no_overlap(figure)


def test_mean_dsc_counts_missed_and_invented_organs() -> None:
    truth = np.zeros((1, 2, 4), np.uint8)
    truth[0, 0, :2], truth[0, 1, :2] = 1, 2
    prediction = np.zeros_like(truth)
    prediction[0, 0, 1:3] = 1  # half of organ 1; organ 2 is missed
    prediction[0, 1, 3] = 3  # organ 3 is invented
    assert mean_dsc(truth, prediction, OPENKBP) == pytest.approx((0.5 + 0 + 0) / 3)
    assert np.isnan(mean_dsc(truth * 0, truth * 0, OPENKBP))


def test_cases_are_rows_and_must_have_the_same_methods(head: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = head
    case = ViewCase("pt_1", image, labels, {"A": labels}, SPACING)
    figure = show_cases(
        [case, ViewCase("pt_2", image, labels, {"A": labels}, SPACING)], spec=OPENKBP
    )
    assert len(figure.axes) == 4
    assert [t.get_text().split(",")[0] for t in figure.texts if t.get_rotation()] == [
        "pt_1",
        "pt_2",
    ]
    assert_no_overlap(figure)
    with pytest.raises(OarfuseError, match="same methods"):
        show_cases([case, ViewCase("pt_2", image, labels, {"B": labels}, SPACING)], spec=OPENKBP)


def test_error_classes_by_hand() -> None:
    truth = np.array([[[0, 1, 1, 2, 0]]], np.uint8)
    prediction = np.array([[[0, 1, 0, 1, 3]]], np.uint8)
    assert error_classes(truth, prediction).tolist() == [[[0, 1, 2, 4, 3]]]


def test_error_map_counts_voxels_and_volume(head: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = head
    prediction = labels.copy()
    prediction[labels == 5] = 0
    prediction[0, 0, :3] = 1
    prediction[labels == 3] = 4
    figure = show_error_map(image, labels, prediction, spacing_mm=SPACING, spec=OPENKBP)
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    missed = int((labels == 5).sum())
    assert f"Missed: {missed} voxels ({missed * 24 / 1000:.1f} cm³)" in texts
    assert any(text.startswith("Extra: 3 voxels") for text in texts)
    assert any(text.startswith(f"Wrong organ: {(labels == 3).sum()} voxels") for text in texts)
    assert texts[0] == "Brainstem" and any(text.startswith("Agree: ") for text in texts)
    where_color(figure.axes[0], OPENKBP.organs[4].color)
    assert_no_overlap(figure)


def test_an_error_wears_its_organs_colour_and_its_kind_of_shade() -> None:
    truth = np.array([[0, 1, 1, 2, 0]], np.uint8)
    prediction = np.array([[0, 1, 0, 1, 3]], np.uint8)
    clear, agree, missed, confused, extra = error_rgba(truth, prediction, OPENKBP)[0]
    assert not clear.any() and not agree.any()
    np.testing.assert_allclose(missed[:3], to_rgb(OPENKBP.organs[0].color))
    assert (confused[:3] == 1).all()
    parotid = np.array(to_rgb(OPENKBP.organs[2].color))
    assert (extra[:3] > parotid).all() and (extra[:3] < 1).all()


def test_a_perfect_prediction_has_an_error_map_too(head: tuple[np.ndarray, np.ndarray]) -> None:
    image, labels = head
    figure = show_error_map(image, labels, labels, spacing_mm=SPACING, spec=OPENKBP)
    assert any("Missed: 0 voxels" in t.get_text() for t in figure.legends[0].get_texts())


@pytest.mark.parametrize("style", ["fill", "outline"])
@pytest.mark.parametrize("crop", ["body", "organs", "none"])
def test_nothing_overlaps(head: tuple[np.ndarray, np.ndarray], style: Any, crop: Any) -> None:
    image, labels = head
    assert_no_overlap(
        show_planes(image, labels, spacing_mm=SPACING, spec=OPENKBP, style=style, crop=crop)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros((2, 2, 2), np.uint8)}, "image's grid"),
        ({"labels": np.zeros(SHAPE)}, "not logits"),
        ({"labels": np.full(SHAPE, 6, np.uint8)}, "0..5"),
        ({"image": np.zeros((4, 4))}, r"\(D, H, W\)"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "three positive"),
        ({"spacing_mm": (1.0, 1.0)}, "three positive"),
        ({"index": (0, 0, 99)}, "outside the volume"),
        ({"style": "shiny"}, "fill or outline"),
        ({"crop": "head"}, "body, organs or none"),
    ],
)
def test_mistakes_are_named(
    head: tuple[np.ndarray, np.ndarray], change: dict[str, Any], words: str
) -> None:
    image, labels = head
    arguments = {"image": image, "labels": labels, "spacing_mm": SPACING, "spec": OPENKBP, **change}
    with pytest.raises(OarfuseError, match=words):
        show_planes(**arguments)
