"""The drawing of an encoder-fuse-decoder network from its stages (`Stage`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from oarfuse.errors import OarfuseError
from oarfuse.models.stages import Stage
from oarfuse.viewing.canvas.layout import (
    LINE_IN,
    MARGIN_IN,
    caption_lines,
    new_figure,
    put_caption,
    put_title,
)
from oarfuse.viewing.canvas.style import FAINT, INK, WIDTH_IN, styled

# All lengths are inches; y grows upwards.
BOX_W, BOX_H = 1.62, 0.62
ROW_H = 1.12
NODE_R = 0.15
FILLS = {"encoder": "#DCE8F4", "fuse": "#FBF1DC", "decoder": "#E1EFE0", "head": "#EBE1F2"}
# One tone a stream for the exchange lines, light to dark with depth; no organ wears them.
STREAM_COLORS = {1: "#9DB4D0", 2: "#6F8FBA", 3: "#3F6699", 4: "#1B3A63"}


def count_text(number: float) -> str:
    """Return a count with a unit people read: `7.4 k`, `1.35 M`."""
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.1f} k" if number >= 1e3 else f"{number:.0f}"


def shape_text(shape: Sequence[int]) -> str:
    """Return (C, D, H, W) as such as `16 x 128³` for a cube, else `16 x 96·128·128`."""
    channels, *sides = shape
    if len(set(sides)) == 1:
        return f"{channels} x {sides[0]}³"
    return f"{channels} x {'·'.join(map(str, sides))}"


@styled
def draw_architecture(rows: Sequence[Stage], *, title: str = "") -> Figure:
    """Draw encoder, fusion streams with their exchange, and decoder, with numbers from the model.

    Parameters
    ----------
    rows
        The records of `trace_stages`: five encoder, four fuse, four decoder stages and a head.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If a stage of that structure is missing.
    """
    stages = {stage.name: stage for stage in rows}
    wanted = [f"I{a}" for a in range(1, 6)] + [f"{k}{a}" for k in "YD" for a in range(1, 5)]
    missing = [name for name in [*wanted, "logits"] if name not in stages]
    if missing:
        raise OarfuseError(f"The stage {missing[0]} is missing: pass what trace_stages returns.")

    params, work = sum(s.params for s in rows), sum(s.gflops for s in rows)
    side = stages["I1"].shape[1:]
    caption = (
        f"One case of {shape_text((1, *side))} voxels: {count_text(params)} parameters, "
        f"{work:.1f} GFLOP (two operations per multiply-add of the convolutions, the fusion as its "
        f"equations read). Boxes: channels x voxels, parameters, GFLOP. {_legend(stages['Y1'])}"
    )
    caption_in = LINE_IN * len(caption_lines(caption, WIDTH_IN)) + 2 * MARGIN_IN
    height = 0.4 + 0.75 + 4 * ROW_H + BOX_H + 0.06 + caption_in
    figure = new_figure(WIDTH_IN, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH_IN), ylim=(0, height))
    axes.axis("off")
    put_title(figure, title or "The network, traced")
    put_caption(figure, caption)
    left = MARGIN_IN + BOX_W / 2 + 0.04
    right = WIDTH_IN - left
    ys = {a: height - 1.55 - (a - 1) * ROW_H for a in range(1, 5)}
    ys[5] = ys[4] - ROW_H + 0.1
    top = ys[1] + 0.78
    _headings(axes, left, right, height - 0.42)
    _terminal(axes, left, top, f"CT, {shape_text((1, *side))}")
    arrow(axes, (left, top - 0.14), (left, ys[1] + BOX_H / 2))
    for a in range(1, 6):
        _box(axes, left, ys[a], stages[f"I{a}"])
        if a < 5:
            arrow(axes, (left, ys[a] - BOX_H / 2), (left, ys[a + 1] + BOX_H / 2))
            middle = (ys[a] + ys[a + 1]) / 2
            axes.text(left + 0.06, middle, "max-pool 2", fontsize=7, color=FAINT, va="center")
    for x in range(4, 0, -1):
        _box(axes, right, ys[x], stages[f"D{x}"])
        below = ys[x + 1] + BOX_H / 2 if x < 4 else ys[5]
        arrow(axes, (right, below), (right, ys[x] - BOX_H / 2))
        middle = (ys[x] + ys[x + 1]) / 2 if x < 4 else (ys[4] + ys[5]) / 2
        axes.text(right + 0.06, middle, "conv-T, stride 2", fontsize=7, color=FAINT, va="center")
    axes.plot([left + BOX_W / 2, right], [ys[5], ys[5]], color=INK, linewidth=1.1)
    axes.text(
        (left + right) / 2,
        ys[5] + 0.05,
        "bottleneck",
        fontsize=7.5,
        color=FAINT,
        ha="center",
        va="bottom",
    )
    head = stages["logits"]
    arrow(axes, (right, ys[1] + BOX_H / 2), (right, top - 0.16))
    _terminal(
        axes,
        right,
        top,
        f"logits, {shape_text(head.shape)}",
        FILLS["head"],
        f"1x1x1 head: {count_text(head.params)}, {head.gflops:.2f} GFLOP",
    )
    _fusion(axes, stages, ys, left + BOX_W / 2, right - BOX_W / 2)
    return figure


def _legend(fuse: Stage) -> str:
    """Return the part of the caption that explains the lines of the fusion."""
    words = "Streams do not read each other."
    if fuse.exchange:
        words = (
            "Lines between the streams: every step reads the previous step of all four, "
            "resampled; darker lines come from coarser streams."
        )
    if fuse.symbol == "I":
        return f"{words} Within a stream every layer also reads all earlier ones (Eq. 7)."
    if fuse.gated:
        return (
            f"{words} ⊙: gates from level 0 (dashed) weigh the levels; their sum modulates "
            "Linear(I) (Eq. 3 to 5)."
        )
    return f"{words} ⊙: the levels are added without gates; their sum modulates Linear(I)."


def _headings(axes: Axes, left: float, right: float, y: float) -> None:
    for x, text in ((left, "Encoder"), ((left + right) / 2, "Fusion"), (right, "Decoder")):
        axes.text(x, y, text, ha="center", va="center", fontsize=9.5, color=INK)


def _terminal(
    axes: Axes, x: float, y: float, text: str, fill: str = "#F0F0F0", note: str = ""
) -> None:
    height = 0.36 if note else 0.26
    frame(axes, x, y, BOX_W, height, fill)
    axes.text(x, y + (0.075 if note else 0), text, ha="center", va="center", fontsize=8)
    axes.text(x, y - 0.085, note, ha="center", va="center", fontsize=6.5, color=INK)


def frame(axes: Axes, x: float, y: float, width: float, height: float, fill: str) -> None:
    """Draw a rounded box around its middle, in inches."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=fill,
            edgecolor=FAINT,
            linewidth=0.8,
            zorder=3,
        )
    )


def _box(axes: Axes, x: float, y: float, stage: Stage) -> None:
    frame(axes, x, y, BOX_W, BOX_H, FILLS[stage.kind])
    name = f"{stage.name[0]}$_{{{stage.name[1:]}}}$"
    kwargs: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4, "color": INK}
    axes.text(x, y + 0.16, f"{name}   {shape_text(stage.shape)}", fontsize=9, **kwargs)
    axes.text(
        x,
        y - 0.13,
        f"{count_text(stage.params)} params\n{stage.gflops:.2f} GFLOP",
        fontsize=7,
        linespacing=1.2,
        **kwargs,
    )


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a straight arrow, in inches."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            color=INK,
            linewidth=1.1,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )


def _fusion(
    axes: Axes, stages: dict[str, Stage], ys: dict[int, float], left: float, right: float
) -> None:
    """Draw the four streams: projection, the exchanging steps, the output and its numbers."""
    steps, symbol = stages["Y1"].steps, stages["Y1"].symbol
    output_x = right - 0.28 - BOX_W / 2
    gate_x = output_x - BOX_W / 2 - 0.4
    first = left + 0.42
    last = gate_x - 0.5 if symbol == "F" else gate_x
    xs = [first + (last - first) * step / max(steps, 1) for step in range(steps + 1)]
    for a in range(1, 5):
        y = ys[a]
        arrow(axes, (left, y), (xs[0] - NODE_R, y))
        for step in range(1, steps + 1):
            for source in range(1, 5) if stages["Y1"].exchange else [a]:
                own = source == a
                axes.plot(
                    [xs[step - 1] + NODE_R, xs[step] - NODE_R],
                    [ys[source], y],
                    color=INK if own else STREAM_COLORS[source],
                    linewidth=1.1 if own else 0.9,
                    zorder=2 if own else 1,
                    gid="exchange",
                )
        for step, x in enumerate(xs):
            _node(axes, x, y, f"${symbol}_{{{a},{step}}}$")
        if symbol == "F":
            _modulation(axes, xs, gate_x, y, stages["Y1"].gated)
        arrow(axes, ((gate_x if symbol == "F" else last) + NODE_R, y), (output_x - BOX_W / 2, y))
        _box(axes, output_x, y, stages[f"Y{a}"])
        arrow(axes, (output_x + BOX_W / 2, y), (right, y))


def _node(axes: Axes, x: float, y: float, text: str) -> None:
    circle = Circle((x, y), NODE_R, facecolor="white", edgecolor=INK, linewidth=0.9, zorder=3)
    axes.add_patch(circle)
    axes.text(x, y, text, fontsize=7.5, ha="center", va="center", zorder=4)


def _modulation(axes: Axes, xs: Sequence[float], gate_x: float, y: float, gated: bool) -> None:
    """Draw how gates (dashed, from level 0) weigh the levels (from above) into the modulator."""
    top = y + NODE_R
    for step, x in enumerate(xs):
        if step == 0 and not gated:
            continue
        rise = 0.16 + 0.07 * (len(xs) - step)  # the further away, the higher the line runs
        axes.plot(
            [x, x + 0.1, gate_x - 0.1, gate_x],
            [top, top + rise, top + rise, top],
            color=INK,
            linewidth=0.8,
            linestyle="dashed" if step == 0 else "solid",
            zorder=2,
        )
    axes.plot([xs[-1] + NODE_R, gate_x - NODE_R], [y, y], color=INK, linewidth=1.1, zorder=2)
    _node(axes, gate_x, y, r"$\odot$")
