"""The L2 norm over all gradients, from the flat buffers that hold them.

    squares = sum over buffers, sum over elements of x^2,   norm = sqrt(squares)

buffers: any number of 1-D fp32 tensors of any length. Both results are 0-d and stay on the device: `norm` fp32, for
the clip factor, and `squares` fp64, for ranks that hold different shards to add up, each in the order of the ranks.
A NaN or an infinity in any gradient shows in both.

`gradient_norm_triton` reads each element once and gives the same bits in every run and on every GPU, however many
multiprocessors it has: every PIECE elements of a buffer make one fp64 partial sum by a fixed tree, and one program
adds those in their order. All sums are fp64: reading 4 bytes takes longer than its conversion, multiplication and
addition on a data-centre GPU, the norm is then the reference's to the rounding to fp32, and no gradient in fp32
over- or underflows when squared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gristmill.kernels.gpu.jit import jit, tl, triton

PIECE = 1 << 15
"""Elements to one partial sum, 128 KiB: a layer's norms still spread over many programs, and the partial sums of all
15B parameters (3.7 MB) are little for one program to add."""

BLOCK = 2048
"""Elements in flight in a program of 4 warps: four 16-byte loads a thread."""


@torch.no_grad()
def gradient_norm(buffers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(norm fp32 0-d, sum of squares fp64 0-d) over at least one buffer; squares summed in fp64, each buffer apart."""
    each = [torch.linalg.vector_norm(buffer, dtype=torch.float64).square() for buffer in buffers]
    squares = torch.stack(each).sum()
    return squares.sqrt().float(), squares


@jit(do_not_specialize=("n",))
def _partial_sums(x, partials, n, PIECE: tl.constexpr, BLOCK: tl.constexpr):
    """partials[i] = sum of squares of x[i * PIECE : (i + 1) * PIECE], x [n]."""
    piece = tl.program_id(0)
    start = piece.to(tl.int64) * PIECE
    lanes = tl.arange(0, BLOCK)
    fours = n // 4 * 4  # a mask that may end within four elements would make every load 4 bytes wide
    total = tl.zeros([BLOCK], tl.float64)
    for block in range(PIECE // BLOCK):
        at = start + block * BLOCK + lanes
        value = tl.load(x + at, at < fours, other=0.0).to(tl.float64)
        total += value * value
    at = fours + tl.arange(0, 4)  # the last program: up to three more
    value = tl.load(x + at, (at < n) & (start + PIECE > fours), other=0.0).to(tl.float64)
    tl.store(partials + piece, tl.sum(total, 0) + tl.sum(value * value, 0))


@jit(do_not_specialize=("n",))
def _total(partials, norm, squares, n, BLOCK: tl.constexpr):
    """norm, squares [1] from partials [n], by one program."""
    lanes = tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, n, BLOCK):
        total += tl.load(partials + start + lanes, start + lanes < n, other=0.0)
    sum_of_squares = tl.sum(total, 0)
    tl.store(squares, sum_of_squares)
    tl.store(norm, tl.sqrt(sum_of_squares).to(tl.float32))


@torch.library.custom_op("gristmill::gradient_norm", mutates_args=())
def _gradient_norm(buffers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    counts = [triton.cdiv(buffer.numel(), PIECE) for buffer in buffers]
    partials = buffers[0].new_empty(sum(counts), dtype=torch.float64)
    first = 0
    for buffer, count in zip(buffers, counts, strict=True):
        if count:
            here = partials[first : first + count]
            _partial_sums[(count,)](buffer, here, buffer.numel(), PIECE=PIECE, BLOCK=BLOCK, num_warps=4)
        first += count
    norm, squares = _outputs(buffers)
    _total[(1,)](partials, norm, squares, first, BLOCK=2 * BLOCK, num_warps=16)
    return norm, squares


@_gradient_norm.register_fake
def _outputs(buffers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return buffers[0].new_empty((), dtype=torch.float32), buffers[0].new_empty((), dtype=torch.float64)


@torch.no_grad()
def gradient_norm_triton(buffers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """As `gradient_norm`, one pass over each buffer; ValueError where one is not contiguous or not fp32."""
    for i, x in enumerate(buffers):
        if x.dtype != torch.float32 or not x.is_contiguous():
            raise ValueError(f"gradient_norm: buffer {i} is {x.dtype}, strides {x.stride()}; expected contiguous fp32")
    norm, squares = _gradient_norm(buffers)
    return norm, squares
