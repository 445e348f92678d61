"""The drawing of the focal-fuse block is read from the block: its layers, shapes and options."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.patches import Circle

from oarfuse.errors import OarfuseError
from oarfuse.models.focal_fuse import FocalFuse
from oarfuse.viewing import draw_focal_block


def drawn(size: tuple[int, ...] = (32, 48, 64), stream: int = 1, **options: Any) -> tuple[str, int]:
    """Return the drawing's words, and how many products it has."""
    figure = draw_focal_block(FocalFuse((4, 8, 16, 32), **options), size, stream=stream)
    (axes,) = figure.axes
    words = [text.get_text() for text in [*axes.texts, *figure.texts]]
    return " | ".join(words), sum(isinstance(patch, Circle) for patch in axes.patches)


def test_every_operation_and_shape_of_a_stream_is_there() -> None:
    words, products = drawn()
    assert products == 4, "three gates and the query"
    for symbol in ("I_1", "F_{1,0}", "F_{1,2}", "F_{1,3}", "G_1", "G_{1,3}", "F_1", "Y_1"):
        assert f"${symbol}$" in words
    assert "60 x 32·48·64" in words, "the concatenation"
    assert "3 x 32·48·64" in words and "4 x 1³" in words, "gates and global mean"
    assert "32 x 8·12·16" in words and "32 x 32·48·64" in words, "stream 4, half way and arrived"
    assert words.count("transposed conv 2x2x2") == 3
    assert "trilinear\nx 4" in words and "trilinear\nx 2" in words
    assert all(f"Eq. {number}" in words for number in (1, 2, 3, 4, 5))


def test_it_follows_the_options() -> None:
    words, products = drawn(stream=3, focal_levels=4, pooling="max", down_kernel=5)
    assert products == 6
    assert words.count("conv 5x5x5") == 2 and words.count("transposed conv") == 1
    assert "max pool\n/ 2" in words and "$F_{3,5}$" in words
    words, products = drawn(focal_levels=1, exchange=False, gates=False, global_context=False)
    assert products == 1
    for absent in ("conv 3x3x3", "transposed", "concatenate", "$G_1$", "mean over", "sum"):
        assert absent not in words


def test_no_words_lie_on_each_other() -> None:
    for stream, levels in ((1, 2), (4, 4)):
        block = FocalFuse(focal_levels=levels)
        figure = draw_focal_block(block, (96, 64, 80), stream=stream)
        renderer: Any = figure.canvas
        boxes = [t.get_window_extent(renderer.get_renderer()) for t in figure.axes[0].texts]
        overlaps = [
            (one, other)
            for number, one in enumerate(boxes)
            for other in boxes[number + 1 :]
            if one.shrunk(0.9, 0.9).overlaps(other.shrunk(0.9, 0.9))
        ]
        assert not overlaps
        assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(OarfuseError, match="no stream 5"):
        drawn(stream=5)
    for size in ((32, 32), (32, 32, 20), (0, 8, 8)):
        with pytest.raises(OarfuseError, match="divide by 8"):
            drawn(size)
