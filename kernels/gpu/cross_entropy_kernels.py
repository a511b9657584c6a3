"""Triton kernels of the cross entropy over logits z [rows, V], one row of the grid a row of the logits.

    _statistics   one read of z: maximum, sum of exponentials and target logit of every segment of every row
    _combine      a row's segments, of all ranks, into its loss and what its softmax needs; in the order of the ranks
    _gradient     z <- scale * (softmax(z) - onehot(label)), in place

The grid carries the number of rows, so no argument changes with the size of a batch and nothing recompiles. Row
offsets are int64: 16,384 rows x 256,000 is 4.2e9. No atomics, fixed trees: the same input gives the same bits.
"""

from __future__ import annotations

from gristmill.kernels.gpu.jit import jit, tl

SEGMENT = 32_768
"""Most columns of a row that one program reads. A row of 256,000 is eight segments of 32,000, so a chunk of 1,024 rows
is 8,192 programs; and its shards on 2, 4 or 8 ranks are cut at the same columns: the same logits give the same bits."""
LANES, VECTOR = 512, 8
"""Tile of `_statistics`: every lane keeps a maximum and a sum of its own over vectors of 8 columns (16 bytes of bf16),
so the loop has no reduction across threads and 9 exponentials for 8 columns."""
GRADIENT_BLOCK = 8192
"""Columns of a program of `_gradient`."""


@jit
def _statistics(
    z, labels, parts, stride, columns, width, vocabulary_start, ignore_index, LANES: tl.constexpr, VECTOR: tl.constexpr
):
    """parts[row, segment] = (maximum, sum of exp(z - maximum), target logit or -inf where it is not in the segment)."""
    row, segment = tl.program_id(0).to(tl.int64), tl.program_id(1)
    z += row * stride
    label = tl.load(labels + row)
    target = label - vocabulary_start
    first = segment * width
    end = first + width
    lanes = tl.arange(0, LANES)[:, None] * VECTOR + tl.arange(0, VECTOR)[None, :]
    maximum = tl.full([LANES], -3.0e38, tl.float32)  # finite: a lane without columns must not compute inf - inf
    total = tl.zeros([LANES], tl.float32)
    logit = tl.full([], -float("inf"), tl.float32)
    if label != ignore_index:
        for start in range(first, tl.minimum(end, columns), LANES * VECTOR):
            at = start + lanes
            value = tl.load(z + at, mask=(at < columns) & (at < end), other=-float("inf")).to(tl.float32)
            higher = tl.maximum(maximum, tl.max(value, axis=1))
            total = total * tl.exp(maximum - higher) + tl.sum(tl.exp(value - higher[:, None]), axis=1)
            maximum = higher
        here = (target >= first) & (target < end) & (target < columns)
        logit = tl.load(z + target, mask=here, other=-float("inf")).to(tl.float32)
    highest = tl.max(maximum, axis=0)
    parts += (row * tl.num_programs(1) + segment) * 3
    tl.store(parts, highest)
    tl.store(parts + 1, tl.sum(total * tl.exp(maximum - highest), axis=0))
    tl.store(parts + 2, logit)


@jit
def _combine(parts, labels, losses, softmax, segments, ranks, scale, ignore_index, PARTS: tl.constexpr):
    """parts [ranks, rows, segments, 3] -> losses [rows]; softmax [rows, 2] = (maximum, scale / sum of exponentials)."""
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    part = tl.arange(0, PARTS)
    inside = part < ranks * segments
    at = parts + ((part // segments) * rows + row) * segments * 3 + (part % segments) * 3
    maximum = tl.load(at, mask=inside, other=-3.0e38)
    total = tl.load(at + 1, mask=inside, other=0.0)
    logit = tl.max(tl.load(at + 2, mask=inside, other=-float("inf")), axis=0)
    valid = tl.load(labels + row) != ignore_index
    highest = tl.where(valid, tl.max(maximum, axis=0), 0.0)
    whole = tl.where(valid, tl.sum(total * tl.exp(maximum - highest), axis=0), 1.0)
    tl.store(losses + row, tl.where(valid, tl.log(whole) + (highest - logit), 0.0))
    tl.store(softmax + row * 2, highest)
    tl.store(softmax + row * 2 + 1, tl.where(valid, scale / whole, 0.0))


@jit
def _gradient(z, labels, softmax, stride, columns, scale, vocabulary_start, ignore_index, BLOCK: tl.constexpr):
    """One block of columns of one row of z."""
    row = tl.program_id(0).to(tl.int64)
    z += row * stride
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < columns
    label = tl.load(labels + row)
    valid = label != ignore_index  # a row without a loss is written, not read: its gradient is 0 whatever it held
    value = tl.load(z + at, mask=inside & valid, other=0.0).to(tl.float32)
    gradient = tl.exp(value - tl.load(softmax + row * 2)) * tl.load(softmax + row * 2 + 1)
    gradient = tl.where(at == label - vocabulary_start, gradient - scale, gradient)
    tl.store(z + at, tl.where(valid, gradient, 0.0), mask=inside)
