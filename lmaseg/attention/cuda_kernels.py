# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-decorators=False
"""Triton kernels of local attention: tiles of cells against the blocks of cells that their windows reach.

Tensors are (B, T, channels, H, W) of any strides, given as a tuple of 5; T = 1 for what has no time, as the query.
A program owns a tile of tile_h x tile_w neighbouring cells and walks, frame by frame, over blocks of block_h x block_w
cells that cover all its windows. Matrix products take every pair of cells; pairs farther apart than the window are
then masked out.

Exponents are in units of log 2, as the hardware's exponential has that base.
"""

from typing import Any

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LOWEST = tl.constexpr(-1e30)  # under any logit, and finite: the difference of two infinities is not a number
FAR = tl.constexpr(1 << 29)  # a row no window reaches
PRECISION = tl.constexpr("tf32x3")  # of float32 products: as exact as float32, yet on the matrix units
INTERPRETED = bool(triton.knobs.runtime.interpret)


def _tuned(*sizes: tuple[int, int, int, int, int, int], also: tuple[str, ...] = ()) -> Any:
    """Decorates a kernel to try (tile_h, tile_w, block_h, block_w, warps, stages) once per kind of call and device.

    The arguments named in `also` tell kinds of call apart besides those that all kernels have. What needs more shared
    memory than there is falls out; the last size is small enough for float32 anywhere.
    """
    names = ("tile_h", "tile_w", "block_h", "block_w")
    configs = [
        triton.Config(dict(zip(names, size, strict=True)), num_warps=warps, num_stages=stages)
        for *size, warps, stages in sizes
    ]
    key = ["frames", "window", "channels", "depth", *also]
    return triton.autotune(configs[:1] if INTERPRETED else configs, key=key, cache_results=True)


@triton.jit
def _cells(first_y, first_x, block_h: tl.constexpr, block_w: tl.constexpr):
    """Rows and columns of a block's cells: two (block_h * block_w,) int32."""
    i = tl.arange(0, block_h * block_w)
    return first_y + i // block_w, first_x + i % block_w


@triton.jit
def _tile(width, tile_h: tl.constexpr, tile_w: tl.constexpr):
    """The first row and column of this program's tile."""
    across = tl.cdiv(width, tile_w)
    tile = tl.program_id(0)
    return tile // across * tile_h, tile % across * tile_w


@triton.jit
def _reach(first, side, size, window: tl.constexpr, align: tl.constexpr):
    """Along one axis: the first cell to look at, a multiple of `align`, and the last that a tile's windows hold."""
    start = tl.maximum(first - window // 2, 0) // align * align
    return start, tl.minimum(first + side - 1 + window // 2, size - 1)


@triton.jit
def _following(t, y, x, start_y, start_x, end_y, end_x, block_h: tl.constexpr, block_w: tl.constexpr):
    """The block after the one at (t, y, x): in its row, else in the next row, else in the next frame."""
    x += block_w
    y = tl.where(x > end_x, y + block_h, y)
    x = tl.where(x > end_x, start_x, x)
    t = tl.where(y > end_y, t + 1, t)
    y = tl.where(y > end_y, start_y, y)
    return t, y, x


@triton.jit
def _locate(
    tensor,
    strides,
    place,
    size,
    first,
    channels: tl.constexpr,
    block_c: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
):
    """Pointers to channels from `first` on of the block at place (batch, t, y, x), and which exist: (cells, block_c).

    The offsets within a block are the same for every block, so that they leave the loop over blocks.
    """
    batch, t, y, x = place
    corner = tensor + tl.cast(batch, tl.int64) * strides[0] + tl.cast(t, tl.int64) * strides[1]
    corner += y.to(tl.int64) * strides[3] + x.to(tl.int64) * strides[4]
    i, j = _cells(0, 0, block_h, block_w)
    c = first + tl.arange(0, block_c)
    cells = i.to(tl.int64) * strides[3] + j.to(tl.int64) * strides[4]
    exists = ((y + i < size[0]) & (x + j < size[1]))[:, None] & (c < channels)[None, :]
    return corner + (cells[:, None] + c.to(tl.int64)[None, :] * strides[2]), exists


@triton.jit
def _load(
    tensor,
    strides,
    place,
    size,
    first,
    channels: tl.constexpr,
    block_c: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
):
    """(cells, block_c): zero outside the frame and past the last channel."""
    at, exists = _locate(tensor, strides, place, size, first, channels, block_c, block_h, block_w)
    return tl.load(at, mask=exists, other=0.0)


@triton.jit
def _store(
    tensor,
    strides,
    place,
    size,
    first,
    channels: tl.constexpr,
    block_c: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
    result,
):
    """Writes (cells, block_c), but nothing outside the frame and past the last channel."""
    at, exists = _locate(tensor, strides, place, size, first, channels, block_c, block_h, block_w)
    tl.store(at, result.to(tensor.dtype.element_ty), mask=exists)


@triton.jit
def _near(y, x, other_y, other_x, height, width, window: tl.constexpr):
    """(cells, other cells): which see each other, the others being in the frame."""
    other_y = tl.where((other_y < height) & (other_x < width), other_y, FAR)
    rows = tl.abs(y[:, None] - other_y[None, :]) <= window // 2
    columns = tl.abs(x[:, None] - other_x[None, :]) <= window // 2
    return rows & columns


@triton.jit
def _seen(at, size, window: tl.constexpr):
    """Along one axis: how many cells of the frame lie in the window around cell `at`."""
    return tl.minimum(at + window // 2, size - 1) - tl.maximum(at - window // 2, 0) + 1


@_tuned(
    (8, 8, 4, 16, 4, 3),
    (8, 8, 8, 16, 4, 2),
    (4, 16, 4, 16, 4, 3),
    (8, 16, 4, 16, 8, 3),
    (4, 8, 4, 16, 4, 3),
    (4, 8, 1, 16, 4, 1),
)
@triton.jit
def forward(
    query,
    query_strides,
    keys,
    keys_strides,
    values,
    values_strides,
    attended,
    attended_strides,
    normaliser,
    frames,
    height,
    width,
    window: tl.constexpr,
    channels: tl.constexpr,
    depth: tl.constexpr,
    block_c: tl.constexpr,
    block_d: tl.constexpr,
    align: tl.constexpr,
    tile_h: tl.constexpr,
    tile_w: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
):
    """One tile of queries and one block of the values' channels; program ids: tile, block of channels, batch.

    Writes attended (B, 1, D, H, W) and normaliser (B, H, W) float32: the log2 of the sum of the exponentials.
    """
    first_y, first_x = _tile(width, tile_h, tile_w)
    first_d = tl.program_id(1) * block_d
    batch = tl.program_id(2)
    y, x = _cells(first_y, first_x, tile_h, tile_w)
    inside = (y < height) & (x < width)
    place, size = (batch, 0, first_y, first_x), (height, width)
    asking = _load(query, query_strides, place, size, 0, channels, block_c, tile_h, tile_w)

    # Neighbours outside the frame open the softmax: each has the logit 0 and adds nothing else.
    outside = frames * (window * window - _seen(y, height, window) * _seen(x, width, window))
    top = tl.where(outside > 0, 0.0, LOWEST)
    total = outside.to(tl.float32)
    result = tl.zeros((tile_h * tile_w, block_d), tl.float32)

    start_y, end_y = _reach(first_y, tile_h, height, window, 1)
    start_x, end_x = _reach(first_x, tile_w, width, window, align)
    blocks = tl.cdiv(end_y + 1 - start_y, block_h) * tl.cdiv(end_x + 1 - start_x, block_w)
    t, block_y, block_x = 0, start_y, start_x
    for _ in tl.range(frames * blocks):
        key_y, key_x = _cells(block_y, block_x, block_h, block_w)
        there = (batch, t, block_y, block_x)
        key = _load(keys, keys_strides, there, size, 0, channels, block_c, block_h, block_w)
        value = _load(values, values_strides, there, size, first_d, depth, block_d, block_h, block_w)
        logits = tl.dot(asking, tl.trans(key), input_precision=PRECISION)
        logits = tl.where(_near(y, x, key_y, key_x, height, width, window), logits, float("-inf"))
        higher = tl.maximum(top, tl.max(logits, 1) * LOG2E)
        weights = tl.exp2(logits * LOG2E - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(weights, 1)
        result = tl.dot(weights.to(value.dtype), value, result * shrink[:, None], input_precision=PRECISION)
        top = higher
        t, block_y, block_x = _following(t, block_y, block_x, start_y, start_x, end_y, end_x, block_h, block_w)

    result = result / total[:, None]
    _store(attended, attended_strides, place, size, first_d, depth, block_d, tile_h, tile_w, result)
    at = (batch * height + y).to(tl.int64) * width + x
    tl.store(normaliser + at, top + tl.log2(total), mask=inside & (first_d == 0))


@triton.jit
def agree(
    attended,
    attended_strides,
    gradient,
    gradient_strides,
    result,
    height,
    width,
    depth: tl.constexpr,
    block_d: tl.constexpr,
    tile_h: tl.constexpr,
    tile_w: tl.constexpr,
):
    """result (B, H, W) float32: the dot product of what a cell attended to and its gradient."""
    first_y, first_x = _tile(width, tile_h, tile_w)
    batch = tl.program_id(2)
    y, x = _cells(first_y, first_x, tile_h, tile_w)
    inside = (y < height) & (x < width)
    place, size = (batch, 0, first_y, first_x), (height, width)
    total = tl.zeros((tile_h * tile_w,), tl.float32)
    for first in tl.range(0, depth, block_d):
        a = _load(attended, attended_strides, place, size, first, depth, block_d, tile_h, tile_w)
        g = _load(gradient, gradient_strides, place, size, first, depth, block_d, tile_h, tile_w)
        total += tl.sum(a.to(tl.float32) * g.to(tl.float32), 1)
    tl.store(result + (batch * height + y).to(tl.int64) * width + x, total, mask=inside)


@_tuned(
    (8, 8, 4, 16, 4, 2),
    (8, 16, 4, 16, 8, 2),
    (8, 16, 2, 16, 8, 2),
    (4, 16, 2, 16, 4, 2),
    (4, 8, 1, 16, 4, 1),
    also=("asks", "of_own", "of_values"),
)
@triton.jit
def backward(
    own,
    own_strides,
    own_values,
    own_values_strides,
    other,
    other_strides,
    other_values,
    other_values_strides,
    normaliser,
    agreements,
    own_gradient,
    own_gradient_strides,
    values_gradient,
    values_gradient_strides,
    frames,
    height,
    width,
    window: tl.constexpr,
    channels: tl.constexpr,
    depth: tl.constexpr,
    asks: tl.constexpr,
    of_own: tl.constexpr,
    of_values: tl.constexpr,
    block_c: tl.constexpr,
    block_d: tl.constexpr,
    align: tl.constexpr,
    tile_h: tl.constexpr,
    tile_w: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
):
    """The gradients of one tile of one frame, seen from either side; program ids: tile, frame and block of D, batch.

    If it `asks`, own are queries with the gradients of what they attended to as own_values, and other are keys with
    their values. If not, the other way round. Writes the gradients of own (`of_own`), of own_values (`of_values`,
    for keys only), or both, where block_d holds all of D.
    """
    first_y, first_x = _tile(width, tile_h, tile_w)
    blocks_d: tl.constexpr = (depth + block_d - 1) // block_d if of_values else 1
    own_t = tl.program_id(1) // blocks_d
    first_d = tl.program_id(1) % blocks_d * block_d
    batch = tl.program_id(2)
    row = batch.to(tl.int64) * height

    y, x = _cells(first_y, first_x, tile_h, tile_w)
    inside = (y < height) & (x < width)
    place, size = (batch, own_t, first_y, first_x), (height, width)
    a = _load(own, own_strides, place, size, 0, channels, block_c, tile_h, tile_w)
    v = _load(own_values, own_values_strides, place, size, first_d, depth, block_d, tile_h, tile_w)
    if asks:
        norm = tl.load(normaliser + (row + y) * width + x, mask=inside, other=0.0)[:, None]
        agreed = tl.load(agreements + (row + y) * width + x, mask=inside, other=0.0)[:, None]
    own_result = tl.zeros((tile_h * tile_w, block_c), tl.float32)
    values_result = tl.zeros((tile_h * tile_w, block_d), tl.float32)

    start_y, end_y = _reach(first_y, tile_h, height, window, 1)
    start_x, end_x = _reach(first_x, tile_w, width, window, align)
    blocks = tl.cdiv(end_y + 1 - start_y, block_h) * tl.cdiv(end_x + 1 - start_x, block_w)
    t, block_y, block_x = 0, start_y, start_x
    for _ in tl.range(frames * blocks):
        other_y, other_x = _cells(block_y, block_x, block_h, block_w)
        there = (batch, t, block_y, block_x)
        b = _load(other, other_strides, there, size, 0, channels, block_c, block_h, block_w)
        u = _load(other_values, other_values_strides, there, size, first_d, depth, block_d, block_h, block_w)
        if not asks:
            exists = (other_y < height) & (other_x < width)
            norm = tl.load(normaliser + (row + other_y) * width + other_x, mask=exists, other=0.0)[None, :]
            agreed = tl.load(agreements + (row + other_y) * width + other_x, mask=exists, other=0.0)[None, :]
        logits = tl.dot(a, tl.trans(b), input_precision=PRECISION)
        near = _near(y, x, other_y, other_x, height, width, window)
        weights = tl.where(near, tl.exp2(logits * LOG2E - norm), 0.0)
        if of_values:
            values_result = tl.dot(weights.to(u.dtype), u, values_result, input_precision=PRECISION)
        if of_own:
            products = tl.dot(v, tl.trans(u), input_precision=PRECISION)
            for first in tl.range(block_d, depth, block_d):
                v_more = _load(own_values, own_values_strides, place, size, first, depth, block_d, tile_h, tile_w)
                u_more = _load(other_values, other_values_strides, there, size, first, depth, block_d, block_h, block_w)
                products = tl.dot(v_more, tl.trans(u_more), products, input_precision=PRECISION)
            slopes = weights * (products - agreed)
            own_result = tl.dot(slopes.to(b.dtype), b, own_result, input_precision=PRECISION)
        t, block_y, block_x = _following(t, block_y, block_x, start_y, start_x, end_y, end_x, block_h, block_w)

    if of_own:
        _store(own_gradient, own_gradient_strides, place, size, 0, channels, block_c, tile_h, tile_w, own_result)
    if of_values:
        strides = values_gradient_strides
        _store(values_gradient, strides, place, size, first_d, depth, block_d, tile_h, tile_w, values_result)
