"""The drawing of a focal-fuse block from the inside: one level and one stream (Eq. 1 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from torch import nn

from oarfuse.errors import OarfuseError
from oarfuse.models.encoder_decoder import STREAMS
from oarfuse.models.focal_fuse import FocalFuse, FocalLevel, FocalStream, Resample
from oarfuse.viewing.canvas.layout import (
    LINE_IN,
    MARGIN_IN,
    caption_lines,
    new_figure,
    put_caption,
    put_title,
)
from oarfuse.viewing.canvas.style import INK, WIDTH_IN, styled
from oarfuse.viewing.network.diagram import FILLS, arrow, frame, shape_text

# All lengths are inches; y grows upwards.
MAP_W, MAP_H = 1.0, 0.42
OP_H = 0.40
ROW_H = 0.70
NODE_R = 0.11
Shape = tuple[int, ...]  # (C, D, H, W)


@styled
def draw_focal_block(
    block: FocalFuse, size: Sequence[int], *, stream: int = 1, title: str = ""
) -> Figure:
    """Draw every operation of one stream of a focal-fuse block, with the shapes between them.

    Above one focal level (Eq. 2) with the resampling of the other streams, below the whole stream
    (Eq. 1 to 5). Kernels, strides, factors and channels are read from the block's layers; what its
    options switch off is not drawn.

    Parameters
    ----------
    block
        The block, of any device: nothing is computed.
    size
        (D, H, W) of the CT; the sides divide by 8.
    stream
        Which of the four.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If there is no such stream, or `size` does not suit it.
    """
    if stream not in STREAMS:
        raise OarfuseError(f"There is no stream {stream!r}: choose 1, 2, 3 or 4.")
    if len(size) != 3 or any(side < 8 or side % 8 for side in size):
        raise OarfuseError(f"size is {tuple(size)}: give three sides that divide by 8.")
    shapes: dict[int, Shape] = {
        a: (layers.project.in_channels, *(side // 2 ** (a - 1) for side in size))
        for a, layers in block.by_number().items()
    }
    rows = _rows(block)
    caption = _caption(block, shapes[stream], size)
    caption_in = LINE_IN * len(caption_lines(caption, WIDTH_IN)) + 2 * MARGIN_IN
    height = 0.4 + 0.34 + 4 * ROW_H + 0.1 + (rows + 2) * ROW_H + caption_in
    figure = new_figure(WIDTH_IN, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH_IN), ylim=(0, height))
    axes.axis("off")
    put_title(figure, title or f"The focal-fuse block, stream {stream}")
    put_caption(figure, caption)
    top = height - 0.46
    _heading(axes, top, f"One focal level of stream {stream} (Eq. 2)")
    _draw_level(axes, block, shapes, stream, top - 0.42)
    top -= 0.34 + 4 * ROW_H
    _heading(axes, top, f"Stream {stream} from the encoder map to the output (Eq. 1 to 5)")
    _draw_stream(axes, block, shapes[stream], stream, top - 0.42)
    return figure


def _rows(block: FocalFuse) -> int:
    """Return how many rows the levels need; the modulator beside them needs two."""
    return max(2, block.focal_levels + int(block.options.global_context))


def _caption(block: FocalFuse, shape: Shape, size: Sequence[int]) -> str:
    text = (
        f"For a CT of {shape_text((1, *size))} voxels; channels x voxels. Tinted: maps. White: "
        "operations, as are words on arrows. Linear: a 1x1x1 convolution. ⊙ multiplies element by "
        "element."
    )
    if block.options.gates:
        text += (
            f" Dashed: the gates, one channel each, which all {shape[0]} channels of a level share."
        )
    return text


# ----- one level


def _draw_level(
    axes: Axes, block: FocalFuse, shapes: dict[int, Shape], stream: int, top: float
) -> None:
    """Draw Eq. 2: the four streams' maps, their way to one grid, and the chain that follows."""
    level = cast(FocalLevel, block.by_number()[stream].levels[0])
    sources = [stream, *(int(b) for b in level.fuse.resample)]
    ys = {b: top - row * ROW_H for row, b in enumerate(sources)}
    bar_x, chain_x = 5.42, 7.2
    alone = len(sources) == 1
    for b, y in ys.items():
        _map(axes, 0.62, y, f"F_{{{b},l-1}}", shapes[b])
        if b == stream:
            end = chain_x - 0.65 if alone else bar_x - 0.12
            _labelled(axes, (1.12, y), (end, y), "its own map, as it is")
        else:
            carry = cast(Resample, level.fuse.resample[str(b)])
            _draw_resample(axes, carry, shapes[b], shapes[stream], y, bar_x - 0.12)
    if not alone:
        _bar(axes, bar_x, ys[sources[0]], ys[sources[-1]], "concatenate")
        joined = shape_text((level.fuse.mix.in_channels, *shapes[stream][1:]))
        _labelled(axes, (bar_x + 0.12, top), (chain_x - 0.65, top), joined)
    shape = shape_text(shapes[stream])
    side = level.depthwise.kernel_size[0]
    steps = ("Conv 1x1x1\n(mix)", f"DC {side}x{side}x{side}\n(depth-wise)", "GELU")
    for row, text in enumerate(steps):
        y = top - row * ROW_H
        _operation(axes, chain_x, y, text, 1.3)
        arrow(axes, (chain_x, y - OP_H / 2), (chain_x, y - ROW_H + MAP_H / 2 - 0.01))
        axes.text(chain_x + 0.08, y - ROW_H / 2, shape, fontsize=7, va="center", color=INK)
    _map(axes, chain_x, top - 3 * ROW_H, f"F_{{{stream},l}}", shapes[stream])


def _draw_resample(
    axes: Axes, carry: Resample, source: Shape, target: Shape, y: float, end: float
) -> None:
    """Draw how a map comes to another grid: strided convolution, then what remains."""
    side = carry.conv.kernel_size[0]
    kind = "conv" if carry.downwards else "transposed conv"
    text = f"{kind} {side}x{side}x{side},\nstride 2, depth-wise"
    arrow(axes, (1.12, y), (1.32, y))
    _operation(axes, 1.98, y, text, 1.32)
    half = [n // 2 if carry.downwards else 2 * n for n in source[1:]]
    arrived = shape_text((source[0], *target[1:]))
    if carry.factor == 1:
        _labelled(axes, (2.64, y), (end, y), arrived)
        return
    rest = f"trilinear\nx {carry.factor}"
    if carry.downwards:
        rest = f"{'average' if carry.pooling == 'avg' else 'max'} pool\n/ {carry.factor}"
    _labelled(axes, (2.64, y), (3.5, y), shape_text((source[0], *half)))
    _operation(axes, 3.95, y, rest, 0.9)
    _labelled(axes, (4.4, y), (end, y), arrived)


# ----- one stream


def _draw_stream(axes: Axes, block: FocalFuse, shape: Shape, stream: int, top: float) -> None:
    """Draw Eq. 1 to 5: projection, levels, global mean, gates, sum, modulator, output."""
    layers: FocalStream = block.by_number()[stream]
    options, a = block.options, stream
    others = [b for b in STREAMS if b != a]
    count = options.focal_levels + int(options.global_context)
    ys = [top - row * ROW_H for row in range(_rows(block) + 2)]
    op_x, map_x, bar_x, end_x = 2.0, 3.4, 7.0, 7.95
    # Each product stands under its own channel of the gates.
    gate_xs = [4.75 + min(0.36, 1.1 / count) * row for row in range(count)]
    _map(axes, 0.62, top, f"I_{a}", shape)
    _step(axes, 1.12, op_x, map_x, top, "Linear (Eq. 1)")
    _map(axes, map_x, top, f"F_{{{a},0}}", shape)
    if isinstance(layers.gate, nn.Conv3d):
        gates_x = (gate_xs[0] + gate_xs[-1]) / 2
        width = max(MAP_W, gate_xs[-1] - gate_xs[0] + 0.3)
        _labelled(axes, (map_x + MAP_W / 2, top), (gates_x - width / 2, top), "Linear\n(Eq. 3)")
        _map(axes, gates_x, top, f"G_{a}", (layers.gate.out_channels, *shape[1:]), width)
    for row in range(1, count + 1):
        y, mean = ys[row], row > options.focal_levels
        text = "mean over all\nvoxels" if mean else f"focal level {row}\n(Eq. 2, above)"
        bend = [(map_x - 0.3, ys[row - 1] - MAP_H / 2), (map_x - 0.3, y + ROW_H / 2)]
        _line(axes, [*bend, (op_x, y + ROW_H / 2), (op_x, y + OP_H / 2)])
        if options.exchange and not mean:
            names = ", ".join(f"$F_{{{b},{row - 1}}}$" for b in others)
            axes.text(0.28, y, names, fontsize=7.5, va="center", color=INK)
            arrow(axes, (1.18, y), (op_x - 0.55, y))
        _step(axes, None, op_x, map_x, y, text)
        _map(axes, map_x, y, f"F_{{{a},{row}}}", (shape[0], 1, 1, 1) if mean else shape)
        x = gate_xs[row - 1]
        if options.gates:
            arrow(axes, (map_x + MAP_W / 2, y), (x - NODE_R, y))
            _node(axes, x, y)
            ends = [top - MAP_H / 2, y + NODE_R]
            axes.plot([x, x], ends, color=INK, linewidth=0.9, linestyle="dashed", zorder=1)
            name = f"$G_{{{a},{row}}}$"
            style: dict[str, Any] = {"fontsize": 7.5, "ha": "right", "va": "center", "color": INK}
            axes.text(x - 0.04, y + 0.22, name, **style)  # on the right the other gates go down
        _labelled(
            axes,
            (x + NODE_R if options.gates else map_x + MAP_W / 2, y),
            (bar_x - 0.12 if count > 1 else end_x - 0.5, y),
            shape_text(shape if options.gates or not mean else (shape[0], 1, 1, 1)),
            at_end=True,
        )
    if count > 1:
        _bar(axes, bar_x, ys[1], ys[count], "sum (Eq. 4)")
        arrow(axes, (bar_x + 0.12, ys[1]), (end_x - 0.5, ys[1]))
    _operation(axes, end_x, ys[1], "Linear", 1.0)
    y = ys[2]
    arrow(axes, (end_x, ys[1] - OP_H / 2), (end_x, y + MAP_H / 2))
    _map(axes, end_x, y, f"F_{a}", shape)
    # The query comes along the bottom, the modulator from above.
    bottom, product = ys[-1], 6.6
    low = bottom + 0.32
    _line(axes, [(end_x, y - MAP_H / 2), (end_x, low), (product, low), (product, bottom + NODE_R)])
    _line(axes, [(0.2, top - MAP_H / 2), (0.2, bottom), (op_x - 0.55, bottom)])
    _operation(axes, op_x, bottom, "Linear (Eq. 5)", 1.1)
    text = f"query, {shape_text(shape)}"
    _labelled(axes, (op_x + 0.55, bottom), (product - NODE_R, bottom), text)
    _node(axes, product, bottom)
    arrow(axes, (product + NODE_R, bottom), (end_x - MAP_W / 2, bottom))
    _map(axes, end_x, bottom, f"Y_{a}", shape)


# ----- the pieces


def _heading(axes: Axes, y: float, text: str) -> None:
    axes.text(MARGIN_IN, y, text, fontsize=9.5, va="center", color=INK)


def _map(
    axes: Axes, x: float, y: float, symbol: str, shape: Sequence[int], width: float = MAP_W
) -> None:
    frame(axes, x, y, width, MAP_H, FILLS["fuse"])
    axes.text(x, y + 0.085, f"${symbol}$", fontsize=9, ha="center", va="center", zorder=4)
    axes.text(x, y - 0.1, shape_text(shape), fontsize=7, ha="center", va="center", zorder=4)


def _operation(axes: Axes, x: float, y: float, text: str, width: float) -> None:
    corner = (x - width / 2, y - OP_H / 2)
    axes.add_patch(Rectangle(corner, width, OP_H, facecolor="white", edgecolor=INK, zorder=3))
    axes.text(x, y, text, fontsize=7, ha="center", va="center", linespacing=1.2, zorder=4)


def _step(axes: Axes, start: float | None, op: float, end: float, y: float, text: str) -> None:
    """Draw an operation and the arrow to the map that it makes; from `start` one leads to it."""
    if start is not None:
        arrow(axes, (start, y), (op - 0.55, y))
    _operation(axes, op, y, text, 1.1)
    arrow(axes, (op + 0.55, y), (end - MAP_W / 2, y))


def _bar(axes: Axes, x: float, top: float, bottom: float, text: str) -> None:
    corner = (x - 0.12, bottom - OP_H / 2)
    height = top - bottom + OP_H
    axes.add_patch(Rectangle(corner, 0.24, height, facecolor="white", edgecolor=INK, zorder=3))
    middle = (top + bottom) / 2
    axes.text(x, middle, text, fontsize=7.5, rotation=90, ha="center", va="center", zorder=4)


def _node(axes: Axes, x: float, y: float) -> None:
    axes.add_patch(Circle((x, y), NODE_R, facecolor="white", edgecolor=INK, zorder=3))
    axes.text(x, y - 0.005, r"$\odot$", fontsize=10, ha="center", va="center", zorder=4)


def _labelled(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    text: str,
    *,
    at_end: bool = False,
) -> None:
    """Draw a horizontal arrow with a text above it, in the middle or close to its end."""
    arrow(axes, start, end)
    x = end[0] - 0.1 if at_end else (start[0] + end[0]) / 2 - 0.03
    side = "right" if at_end else "center"
    axes.text(x, start[1] + 0.035, text, fontsize=7, ha=side, va="bottom", color=INK)


def _line(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Draw a bent line that ends in an arrow's head."""
    xs, ys = zip(*points[:-1], strict=True)
    axes.plot(xs, ys, color=INK, linewidth=1.1, zorder=1)
    arrow(axes, points[-2], points[-1])
