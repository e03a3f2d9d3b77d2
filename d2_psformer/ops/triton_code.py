"""Triton kernels of multi-scale deformable attention; ``triton_kernel`` calls them.

A program serves a block of queries of one head. Its tensors are (queries,) for the geometry of a
point and (queries, channels) for what it reads. ``COMPONENTS`` is 0 for the classic form, 2 or 4
for the fused one. ``levels`` holds (height, width, first position) of every level, so that new
image sizes need no new compilation.
"""

import triton
import triton.language as tl

# Numbers that change from image to image, and must not start a compilation each time.
VARYING = ["reference_batch", "positions", "queries"]


@triton.jit
def _softmax_parts(attention, query, live, strides_query, N: tl.constexpr, N2: tl.constexpr):
    """Maximum and 1 / sum of the exponentials of every query's N logits."""
    i = tl.arange(0, N2)
    mask = live[:, None] & (i < N)[None, :]
    logits = tl.load(
        attention + query[:, None] * strides_query + i[None, :], mask, other=float("-inf")
    ).to(tl.float32)
    top = tl.max(logits, 1)
    total = tl.sum(tl.where(mask, tl.exp(logits - top[:, None]), 0.0), 1)
    return top, 1.0 / total


@triton.jit
def _coordinate(
    raw, reference, axis: tl.constexpr, size, live, POINTS: tl.constexpr, COMPONENTS: tl.constexpr
):
    """In pixels, and its derivative with respect to ``raw``."""
    if COMPONENTS == 0:
        pixel, scale = raw * size - 0.5, raw * 0 + size
    else:
        origin = tl.load(reference + axis, live, other=0.0)
        if COMPONENTS == 2:
            scale = origin * 0 + 1.0
        else:
            scale = tl.load(reference + 2 + axis, live, other=0.0) * size * (0.5 / POINTS)
        pixel = origin * size + raw * scale - 0.5
    return pixel, scale


@triton.jit
def _corner(x0, y0, dx: tl.constexpr, dy: tl.constexpr, fx, fy, valid, width, height):
    """Weight, position in the level and whether it lies inside, of one of the four pixels."""
    x, y = x0 + dx, y0 + dy
    inside = valid & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    share = (fx if dx else 1 - fx) * (fy if dy else 1 - fy)
    return tl.where(inside, share, 0.0), y * width + x, inside


@triton.jit
def _point(
    sampling, reference, live, width, height, POINTS: tl.constexpr, COMPONENTS: tl.constexpr
):
    """Lower pixel, distance from it and scale on both axes, and whether the point counts."""
    raw_x = tl.load(sampling, live, other=0.0).to(tl.float32)
    raw_y = tl.load(sampling + 1, live, other=0.0).to(tl.float32)
    x, scale_x = _coordinate(raw_x, reference, 0, width, live, POINTS, COMPONENTS)
    y, scale_y = _coordinate(raw_y, reference, 1, height, live, POINTS, COMPONENTS)
    # NaN fails every comparison
    valid = live & (x > -1) & (y > -1) & (x < width) & (y < height)
    x, y = tl.where(valid, x, 0.0), tl.where(valid, y, 0.0)
    x0, y0 = tl.floor(x), tl.floor(y)
    return x0.to(tl.int32), y0.to(tl.int32), x - x0, y - y0, scale_x, scale_y, valid


@triton.jit
def _attention(attention, live, top, factor, COMPONENTS: tl.constexpr):
    weight = tl.load(attention, live, other=0.0).to(tl.float32)
    if COMPONENTS:
        weight = tl.exp(weight - top) * factor
    return weight


@triton.jit
def _read_and_add(total, value, share, weight, position, stride, mask_c):
    """A corner that weighs nothing is not read: 0 * inf would be NaN."""
    counts = share != 0
    read = tl.load(
        value + position.to(tl.int64)[:, None] * stride,
        counts[:, None] & mask_c[None, :],
        other=0.0,
    ).to(tl.float32)
    return total + tl.where(counts, share * weight, 0.0)[:, None] * read


@triton.jit(do_not_specialize=[name for name in VARYING if name != "positions"])
def forward_kernel(
    value, levels, sampling, attention, reference, out,
    value_batch, value_position, sampling_batch, sampling_query, attention_batch, attention_query,
    reference_batch, queries, heads,
    CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, COMPONENTS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr, N2: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = LEVELS * POINTS
    batch, head = tl.program_id(1).to(tl.int64), tl.program_id(0) % heads
    query = (tl.program_id(0) // heads * BLOCK_Q + tl.arange(0, BLOCK_Q)).to(tl.int64)
    channel = tl.arange(0, BLOCK_C)
    live, mask_c = query < queries, channel < CHANNELS
    value += batch * value_batch + head * CHANNELS + channel[None, :]
    sampling += batch * sampling_batch + query * sampling_query + head * N * 2
    attention += batch * attention_batch + head * N
    reference += batch * reference_batch + query * LEVELS * COMPONENTS
    top, factor = 0.0, 1.0
    if COMPONENTS:
        top, factor = _softmax_parts(attention, query, live, attention_query, N, N2)
    attention += query * attention_query
    total = tl.zeros((BLOCK_Q, BLOCK_C), tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + level * 3), tl.load(levels + level * 3 + 1)
        level_value = value + tl.load(levels + level * 3 + 2).to(tl.int64) * value_position
        for p in tl.static_range(POINTS):
            i = level * POINTS + p
            weight = _attention(attention + i, live, top, factor, COMPONENTS)
            x0, y0, fx, fy, _, _, valid = _point(
                sampling + i * 2,
                reference + level * COMPONENTS,
                live,
                width,
                height,
                POINTS,
                COMPONENTS,
            )
            total += tl.where(valid, 0.0, 0.0 * weight)[:, None]  # 0 * NaN is NaN
            for k in tl.static_range(4):
                share, position, _ = _corner(x0, y0, k % 2, k // 2, fx, fy, valid, width, height)
                total = _read_and_add(
                    total, level_value, share, weight, position, value_position, mask_c
                )
    row = (batch * queries + query) * heads + head
    tl.store(
        out + row[:, None] * CHANNELS + channel[None, :],
        total.to(out.dtype.element_ty),
        live[:, None] & mask_c[None, :],
    )


@triton.jit
def _weighted(weight, x):
    return tl.where(weight == 0, 0.0, weight * x)


@triton.jit
def _corner_backward(
    value, sums, grad, share, inside, weight, position, stride, sum_stride, mask_c
):
    """Adds to the gradient of value; returns the sum over channels of grad times the pixel."""
    position = position.to(tl.int64)[:, None]
    read = tl.load(value + position * stride, inside[:, None] & mask_c[None, :], other=0.0)
    counts = share != 0
    tl.atomic_add(
        sums + position * sum_stride,
        grad * (share * weight)[:, None],
        counts[:, None] & mask_c[None, :],
        sem="relaxed",
    )
    return tl.sum(read.to(tl.float32) * grad, 1)


@triton.jit(do_not_specialize=VARYING)
def backward_kernel(
    grad_out, value, levels, sampling, attention, reference, sums, grad_sampling, grad_attention,
    positions,
    value_batch, value_position, sampling_batch, sampling_query, attention_batch, attention_query,
    reference_batch, queries, heads,
    CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, COMPONENTS: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_C: tl.constexpr, N2: tl.constexpr,
):  # fmt: skip
    N: tl.constexpr = LEVELS * POINTS
    batch, head = tl.program_id(1).to(tl.int64), tl.program_id(0) % heads
    query = (tl.program_id(0) // heads * BLOCK_Q + tl.arange(0, BLOCK_Q)).to(tl.int64)
    channel, number = tl.arange(0, BLOCK_C), tl.arange(0, N2)
    live, mask_c = query < queries, channel < CHANNELS
    row = (batch * queries + query) * heads + head
    sum_stride = heads * CHANNELS
    value += batch * value_batch + head * CHANNELS + channel[None, :]
    sums += batch * positions * sum_stride + head * CHANNELS + channel[None, :]
    sampling += batch * sampling_batch + query * sampling_query + head * N * 2
    attention += batch * attention_batch + head * N
    reference += batch * reference_batch + query * LEVELS * COMPONENTS
    grad = tl.load(
        grad_out + row[:, None] * CHANNELS + channel[None, :],
        live[:, None] & mask_c[None, :],
        other=0.0,
    ).to(tl.float32)
    top, factor = 0.0, 1.0
    if COMPONENTS:
        top, factor = _softmax_parts(attention, query, live, attention_query, N, N2)
    attention += query * attention_query
    samples = tl.zeros((BLOCK_Q, N2), tl.float32)  # gradients of the weights
    weights = tl.zeros((BLOCK_Q, N2), tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + level * 3), tl.load(levels + level * 3 + 1)
        start = tl.load(levels + level * 3 + 2).to(tl.int64)
        level_value, level_sums = value + start * value_position, sums + start * sum_stride
        for p in tl.static_range(POINTS):
            i = level * POINTS + p
            weight = _attention(attention + i, live, top, factor, COMPONENTS)
            x0, y0, fx, fy, scale_x, scale_y, valid = _point(
                sampling + i * 2,
                reference + level * COMPONENTS,
                live,
                width,
                height,
                POINTS,
                COMPONENTS,
            )
            sample = tl.zeros((BLOCK_Q,), tl.float32)
            dx = tl.zeros((BLOCK_Q,), tl.float32)
            dy = tl.zeros((BLOCK_Q,), tl.float32)
            for k in tl.static_range(4):
                share, position, inside = _corner(
                    x0, y0, k % 2, k // 2, fx, fy, valid, width, height
                )
                dot = _corner_backward(
                    level_value,
                    level_sums,
                    grad,
                    share,
                    inside,
                    weight,
                    position,
                    value_position,
                    sum_stride,
                    mask_c,
                )
                sample += _weighted(share, dot)
                dx += _weighted((fy if k // 2 else 1 - fy) * (k % 2 * 2 - 1), dot)
                dy += _weighted((fx if k % 2 else 1 - fx) * (k // 2 * 2 - 1), dot)
            to = grad_sampling + (row * N + i) * 2
            kind = grad_sampling.dtype.element_ty
            # outside: zero, even if the weight or the reference is not finite
            tl.store(to, tl.where(valid, weight * dx * scale_x, 0.0).to(kind), live)
            tl.store(to + 1, tl.where(valid, weight * dy * scale_y, 0.0).to(kind), live)
            here = (number == i)[None, :]
            samples = tl.where(here, sample[:, None], samples)
            weights = tl.where(here, weight[:, None], weights)
    if COMPONENTS:
        mean = tl.sum(weights * samples, 1)
        samples = weights * (samples - mean[:, None])
    tl.store(
        grad_attention + row[:, None] * N + number[None, :],
        samples.to(grad_attention.dtype.element_ty),
        live[:, None] & (number < N)[None, :],
    )
