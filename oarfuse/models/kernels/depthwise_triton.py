"""Depth-wise 3D convolution on rows ``(B, D, H, W, C)`` as Triton kernels, with both gradients.

A depth-wise convolution does 27 products a value, so a GPU could do it in the time that it takes to
read and write the map once. These kernels come close by reading each value six times from the
first-level cache, and from memory hardly more than once:

- A program owns some lines along H and a stretch of the flattened (W, C) axis, in which a step
  along W is a step by C, and walks along D. Each plane that it reads takes part in the three output
  planes around it, which are held in registers; the next one is on its way meanwhile.
- The gradient of the input is the same kernel with the taps reversed.
- For the gradient of the taps each program keeps one sum a tap and element while it walks, and
  adds them up over positions once, at its end. Programs write their sums side by side, and a plain
  sum over programs follows: no atomics, so the same input gives the same bits.

Products are taken in float32, whatever the map's type. Tests run the kernels without a GPU under
Triton's interpreter (``TRITON_INTERPRET=1``).
"""

from __future__ import annotations

import triton
import triton.language as tl

# A side of 1 is a number like any other here, not a constant to compile for.
_SIZES = ("D", "H", "W", "OD", "OH", "OW", "planes", "chunks")


@triton.jit
def _tile(B_ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the rows along H and the columns along (W, C) that this program owns."""
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    row = tl.program_id(1) * B_ROWS + tl.arange(0, B_ROWS)[:, None]
    return row, column


@triton.jit
def _load_plane(x_ptr, z, row, column, D, H, line):
    """Read the tile at (`row`, `column`) of plane `z`; zero outside of the volume."""
    plane = row * 0 + z  # a tensor under the interpreter too
    mask = (plane >= 0) & (plane < D) & (row >= 0) & (row < H) & (column >= 0) & (column < line)
    return tl.load(x_ptr + (plane * H + row) * line + column, mask=mask, other=0.0)


@triton.jit
def _load_around(x_ptr, z, row, column, D, H, line, C: tl.constexpr):
    """Read the 12 tiles that rows `row` and `row + 1` of an output need of plane `z`."""
    found = ()
    for dy in tl.static_range(4):
        for kx in tl.static_range(3):
            tile = _load_plane(x_ptr, z, row + dy - 1, column + (kx - 1) * C, D, H, line)
            found = found + (tile,)
    return found


@triton.jit(do_not_specialize=_SIZES)
def convolve(
    x_ptr, w_ptr, bias_ptr, y_ptr, D, H, W, planes, chunks,
    C: tl.constexpr, HAS_BIAS: tl.constexpr, B_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Stride 1: walk along D; each plane read feeds the outputs before, at and after it.

    A thread makes two neighbouring rows, for which it reads four instead of twice three.
    """
    line = W * C
    row, column = _tile(B_ROWS, BLOCK)
    row = 2 * row
    sample = (tl.program_id(2) // chunks).to(tl.int64)
    first = (tl.program_id(2) % chunks) * planes
    last = min(first + planes, D)
    x_ptr += sample * D * H * line
    y_ptr += sample * D * H * line
    channel = column % C + row * 0
    taps = ()
    for tap in tl.static_range(27):
        taps = taps + (tl.load(w_ptr + tap * C + channel),)
    start = tl.zeros([B_ROWS, BLOCK], tl.float32)
    if HAS_BIAS:
        start += tl.load(bias_ptr + channel).to(tl.float32)
    before = start
    before2 = start  # of the second row
    here = start
    here2 = start
    values = _load_around(x_ptr, first - 1, row, column, D, H, line, C)
    for z in range(first - 1, last + 1):
        ahead = _load_around(x_ptr, z + 1, row, column, D, H, line, C)  # while this one is used
        after = start
        after2 = start
        for dy in tl.static_range(4):
            for kx in tl.static_range(3):
                value = values[3 * dy + kx].to(tl.float32)
                if dy < 3:
                    before += value * taps[18 + 3 * dy + kx]
                    here += value * taps[9 + 3 * dy + kx]
                    after += value * taps[3 * dy + kx]
                if dy > 0:
                    before2 += value * taps[15 + 3 * dy + kx]
                    here2 += value * taps[6 + 3 * dy + kx]
                    after2 += value * taps[3 * dy + kx - 3]
        plane = row * 0 + z - 1
        mask = (plane >= first) & (row < H) & (column < line)
        place = (plane * H + row) * line + column
        tl.store(y_ptr + place, before.to(y_ptr.dtype.element_ty), mask=mask)
        mask = (plane >= first) & (row + 1 < H) & (column < line)
        tl.store(y_ptr + place + line, before2.to(y_ptr.dtype.element_ty), mask=mask)
        before = here
        before2 = here2
        here = after
        here2 = after2
        values = ahead


@triton.jit
def _store_sums(sums, sums_ptr, C: tl.constexpr, B_ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Add each of the 28 sums up over positions; write them, (28, C), to this program's place."""
    program = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(0)
    sums_ptr += (program + tl.program_id(0)) * 28 * C
    for tap in tl.static_range(28):
        total = tl.sum(tl.reshape(sums[tap], [B_ROWS * BLOCK // C, C]), axis=0)
        tl.store(sums_ptr + tap * C + tl.arange(0, C), total)


@triton.jit(do_not_specialize=_SIZES)
def tap_gradient(
    x_ptr, g_ptr, sums_ptr, D, H, W, planes, chunks,
    C: tl.constexpr, B_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Stride 1: sums of input times output gradient for each tap, and of the gradient alone."""
    line = W * C
    row, column = _tile(B_ROWS, BLOCK)
    row = 2 * row
    sample = (tl.program_id(2) // chunks).to(tl.int64)
    first = (tl.program_id(2) % chunks) * planes
    last = min(first + planes, D)
    x_ptr += sample * D * H * line
    g_ptr += sample * D * H * line
    sums = ()
    for _ in tl.static_range(28):
        sums = sums + (tl.zeros([B_ROWS, BLOCK], tl.float32),)
    # Gradients of the planes before, at and after the input's, each of both rows.
    before = _load_plane(g_ptr, first - 1, row, column, D, H, line).to(tl.float32)
    before2 = _load_plane(g_ptr, first - 1, row + 1, column, D, H, line).to(tl.float32)
    here = _load_plane(g_ptr, first, row, column, D, H, line).to(tl.float32)
    here2 = _load_plane(g_ptr, first, row + 1, column, D, H, line).to(tl.float32)
    values = _load_around(x_ptr, first, row, column, D, H, line, C)
    for z in range(first, last):
        ahead = _load_around(x_ptr, z + 1, row, column, D, H, line, C)
        after = _load_plane(g_ptr, z + 1, row, column, D, H, line).to(tl.float32)
        after2 = _load_plane(g_ptr, z + 1, row + 1, column, D, H, line).to(tl.float32)
        added = ()
        for tap in tl.static_range(27):
            value = values[tap % 9].to(tl.float32)
            value2 = values[tap % 9 + 3].to(tl.float32)
            if tap < 9:
                added = added + (sums[tap] + value * after + value2 * after2,)
            elif tap < 18:
                added = added + (sums[tap] + value * here + value2 * here2,)
            else:
                added = added + (sums[tap] + value * before + value2 * before2,)
        sums = added + (sums[27] + here + here2,)
        before = here
        before2 = here2
        here = after
        here2 = after2
        values = ahead
    _store_sums(sums, sums_ptr, C, B_ROWS, BLOCK)


@triton.jit
def _load_place(x_ptr, z, y, x, channel, D, H, W, C: tl.constexpr):
    """Read rows (`z`, `y`, `x`) of a volume as float32; zero outside of it."""
    plane = y * 0 + z  # a tensor under the interpreter too
    mask = (plane >= 0) & (plane < D) & (y >= 0) & (y < H) & (x >= 0) & (x < W)
    place = ((plane * H + y) * W + x) * C + channel
    return tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=_SIZES)
def halve(
    x_ptr, w_ptr, bias_ptr, y_ptr, D, H, W, OD, OH, OW, planes, chunks,
    C: tl.constexpr, HAS_BIAS: tl.constexpr, B_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Stride 2: output z reads the planes 2z - 1, 2z and 2z + 1, the last again for z + 1."""
    row, column = _tile(B_ROWS, BLOCK)
    sample = (tl.program_id(2) // chunks).to(tl.int64)
    first = (tl.program_id(2) % chunks) * planes
    last = min(first + planes, OD)
    x_ptr += sample * D * H * W * C
    y_ptr += sample * OD * OH * OW * C
    channel = column % C + row * 0
    x = column // C
    taps = ()
    for tap in tl.static_range(27):
        taps = taps + (tl.load(w_ptr + tap * C + channel),)
    start = tl.zeros([B_ROWS, BLOCK], tl.float32)
    if HAS_BIAS:
        start += tl.load(bias_ptr + channel).to(tl.float32)
    stored = (row < OH) & (x < OW)
    begun = start
    for ky in tl.static_range(3):
        for kx in tl.static_range(3):
            begun += taps[3 * ky + kx] * _load_place(
                x_ptr, 2 * first - 1, 2 * row + ky - 1, 2 * x + kx - 1, channel, D, H, W, C
            )
    for z in range(first, last):
        total = begun
        begun = start
        for ky in tl.static_range(3):
            for kx in tl.static_range(3):
                total += taps[9 + 3 * ky + kx] * _load_place(
                    x_ptr, 2 * z, 2 * row + ky - 1, 2 * x + kx - 1, channel, D, H, W, C
                )
                value = _load_place(
                    x_ptr, 2 * z + 1, 2 * row + ky - 1, 2 * x + kx - 1, channel, D, H, W, C
                )
                total += taps[18 + 3 * ky + kx] * value
                begun += taps[3 * ky + kx] * value
        place = ((row * 0 + z) * OH + row) * OW * C + column
        tl.store(y_ptr + place, total.to(y_ptr.dtype.element_ty), mask=stored)


@triton.jit(do_not_specialize=_SIZES)
def double(
    g_ptr, w_ptr, dx_ptr, D, H, W, OD, OH, OW, planes, chunks,
    C: tl.constexpr, B_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient of the input at stride 2: outputs z and z + 1 give that of planes 2z and 2z + 1.

    Along each axis place 2z has one tap, the middle one of output z; place 2z + 1 has two, the last
    of output z and the first of output z + 1.
    """
    row, column = _tile(B_ROWS, BLOCK)
    sample = (tl.program_id(2) // chunks).to(tl.int64)
    first = (tl.program_id(2) % chunks) * planes
    last = min(first + planes, OD)
    g_ptr += sample * OD * OH * OW * C
    dx_ptr += sample * D * H * W * C
    channel = column % C + row * 0
    x = column // C
    taps = ()
    for tap in tl.static_range(27):
        taps = taps + (tl.load(w_ptr + tap * C + channel),)
    here = ()
    for corner in tl.static_range(4):
        here = here + (
            _load_place(
                g_ptr, first, row + corner // 2, x + corner % 2, channel, OD, OH, OW, C
            ),
        )  # fmt: skip
    for z in range(first, last):
        after = ()
        for corner in tl.static_range(4):
            after = after + (
                _load_place(
                    g_ptr, z + 1, row + corner // 2, x + corner % 2, channel, OD, OH, OW, C
                ),
            )  # fmt: skip
        gradients = here + after
        for place in tl.static_range(8):
            total = tl.zeros([B_ROWS, BLOCK], tl.float32)
            for source in tl.static_range(8):
                # Output z + s reaches place 2z + p by tap p - 2s + 1: none for p = 0 and s = 1.
                if (place & source) == source:
                    total += (
                        gradients[source]
                        * taps[
                            9 * (place // 4 - 2 * (source // 4) + 1)
                            + 3 * (place // 2 % 2 - 2 * (source // 2 % 2) + 1)
                            + (place % 2 - 2 * (source % 2) + 1)
                        ]
                    )
            pz = 2 * z + place // 4
            py = 2 * row + place // 2 % 2
            px = 2 * x + place % 2
            to = ((row * 0 + pz) * H + py) * W * C + px * C + channel
            mask = (row * 0 + pz < D) & (py < H) & (px < W)
            tl.store(dx_ptr + to, total.to(dx_ptr.dtype.element_ty), mask=mask)
        here = after


@triton.jit(do_not_specialize=_SIZES)
def tap_gradient_halved(
    x_ptr, g_ptr, sums_ptr, D, H, W, OD, OH, OW, planes, chunks,
    C: tl.constexpr, B_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Stride 2: the same sums as `tap_gradient`."""
    row, column = _tile(B_ROWS, BLOCK)
    sample = (tl.program_id(2) // chunks).to(tl.int64)
    first = (tl.program_id(2) % chunks) * planes
    last = min(first + planes, OD)
    x_ptr += sample * D * H * W * C
    g_ptr += sample * OD * OH * OW * C
    channel = column % C + row * 0
    x = column // C
    sums = ()
    for _ in tl.static_range(28):
        sums = sums + (tl.zeros([B_ROWS, BLOCK], tl.float32),)
    before = ()
    for tap in tl.static_range(9):
        before = before + (
            _load_place(
                x_ptr, 2 * first - 1, 2 * row + tap // 3 - 1, 2 * x + tap % 3 - 1,
                channel, D, H, W, C,
            ),
        )  # fmt: skip
    for z in range(first, last):
        gradient = _load_place(g_ptr, z, row, x, channel, OD, OH, OW, C)
        added = ()
        for tap in tl.static_range(9):
            added = added + (sums[tap] + before[tap] * gradient,)
        for tap in tl.static_range(9):
            value = _load_place(
                x_ptr, 2 * z, 2 * row + tap // 3 - 1, 2 * x + tap % 3 - 1, channel, D, H, W, C
            )
            added = added + (sums[9 + tap] + value * gradient,)
        before = ()
        for tap in tl.static_range(9):
            value = _load_place(
                x_ptr, 2 * z + 1, 2 * row + tap // 3 - 1, 2 * x + tap % 3 - 1, channel, D, H, W, C
            )
            before = before + (value,)
            added = added + (sums[18 + tap] + value * gradient,)
        sums = added + (sums[27] + gradient,)
    _store_sums(sums, sums_ptr, C, B_ROWS, BLOCK)
