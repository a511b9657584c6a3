"""Token embedding whose backward adds rows to an fp32 buffer.

    y[t] = W[token[t]],   weight_grad[v] += sum over t with token[t] = v of dy[t]

tokens: int [T], W: [V, H], y: [T, H]. The reference adds with `index_add_` in fp32; on a CPU that runs in the
order of t and is deterministic, on CUDA it is not.

`embedding_triton` is deterministic. Its forward is the library's gather, which is a copy of T rows. Its backward sorts
the tokens, stably, so that the rows of one token lie together, in the order of t:

    runs      a segment of equal tokens is cut at every PIECE-th sorted place; a program sums one run, at most PIECE
              rows. A run that is a whole segment is added to its row of weight_grad at once, another goes to `partial`
    joints    of each segment that was cut, one program adds up the runs, in their order, and adds the sum

Only rows of tokens that occur are read or written. The grids follow from T and H alone, so nothing waits for the GPU;
`partial`, fp32 [2 * ceil(T / PIECE), H], is a sixteenth of dy in bf16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gristmill.kernels.gpu.jit import jit, next_power_of_2, tl, triton


def embedding(tokens: Tensor, weight: Tensor, weight_grad: Tensor | None = None) -> Tensor:
    """tokens int [T], weight [V, H] -> [T, H]. weight_grad: fp32 [V, H] that the backward adds to, or None."""
    return _Embedding.apply(tokens, weight, weight_grad)


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens, weight, weight_grad):
        ctx.save_for_backward(tokens)
        ctx.weight, ctx.weight_grad = weight, weight_grad
        return F.embedding(tokens, weight)

    @staticmethod
    def backward(ctx, dy):
        (tokens,) = ctx.saved_tensors
        if ctx.weight_grad is not None:
            ctx.weight_grad.index_add_(0, tokens, dy.to(ctx.weight_grad.dtype))
            return None, None, None
        wide = torch.float64 if dy.dtype == torch.float64 else torch.float32
        dw = torch.zeros(ctx.weight.shape, dtype=wide, device=dy.device).index_add_(0, tokens, dy.to(wide))
        return None, dw.to(ctx.weight.dtype), None


PIECE = 64
"""Most rows that one program sums: a token in every place of 16,384 is 256 runs, and its joint has 256 rows to add."""

RUN_BLOCK, RUN_ROWS, RUN_WARPS = 2048, 4, 8
"""Columns and rows that `_runs` loads at once: 16 bytes of bf16 a thread and row, four rows in flight."""

JOINT_BLOCK, JOINT_ROWS, JOINT_WARPS = 512, 16, 4
"""The same of `_joints`, in fp32. Few programs have work there, so that the columns are spread wider."""


@jit(do_not_specialize=("count",))
def _runs(
    dy,  # [T, WIDTH]
    token_at,  # int32 [T], sorted
    source_of,  # int64 [T], where each was before
    weight_grad,  # [V, WIDTH]
    partial,  # [2 * pieces, WIDTH]: of piece p the run that comes into it at 2 p, the one that starts in it at 2 p + 1
    count,  # T
    WIDTH: tl.constexpr,
    PIECE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Program (i, c): columns c of the run that begins at sorted place i, if one does."""
    place = tl.program_id(0).to(tl.int64)
    piece = place // PIECE
    ahead = place + tl.arange(0, PIECE)
    here = (ahead < count) & (ahead < (piece + 1) * PIECE)
    token_ahead = tl.load(token_at + ahead, mask=here, other=-1)
    token = tl.load(token_at + place)
    starts = tl.load(token_at + place - 1, mask=place > 0, other=-1) != token
    if starts | (place == piece * PIECE):
        column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = column < WIDTH
        wide: tl.constexpr = tl.float64 if dy.dtype.element_ty == tl.float64 else tl.float32
        # asked for before the rows are, as most runs are a whole segment of one row
        target = weight_grad + token.to(tl.int64) * WIDTH + column
        held = tl.load(target, mask=inside & starts, other=0.0)
        end = place + tl.sum((token_ahead == token).to(tl.int32))
        ends = tl.load(token_at + end, mask=end < count, other=-1) != token
        total = tl.zeros((BLOCK,), wide)
        for first in range(place, end, ROWS):
            at = first + tl.arange(0, ROWS)
            source = tl.load(source_of + at, mask=at < end, other=0)
            mask = (at < end)[:, None] & inside[None, :]
            rows = tl.load(dy + source[:, None] * WIDTH + column[None, :], mask=mask, other=0.0)
            total += tl.sum(rows.to(wide), axis=0)
        if starts & ends:
            tl.store(target, (held.to(wide) + total).to(weight_grad.dtype.element_ty), mask=inside)
        else:
            tl.store(partial + (2 * piece + starts.to(tl.int64)) * WIDTH + column, total, mask=inside)


@jit(do_not_specialize=("count",))
def _joints(
    token_at,
    weight_grad,
    partial,
    count,
    WIDTH: tl.constexpr,
    PIECE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Program (p, c): columns c of the segment that starts in piece p and goes on after it, if one does."""
    piece = tl.program_id(0).to(tl.int64)  # never the last, so that a token follows
    begin, after = piece * PIECE, (piece + 1) * PIECE
    token = tl.load(token_at + after)
    goes_on = tl.load(token_at + after - 1) == token
    comes_in = tl.load(token_at + begin - 1, mask=piece > 0, other=-1) == token
    if goes_on & (comes_in == 0):
        column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        inside = column < WIDTH
        total = tl.load(partial + (2 * piece + 1) * WIDTH + column, mask=inside, other=0.0)
        following = piece + 1
        more = goes_on
        while more:
            next_piece = following + tl.arange(0, ROWS)
            exists = next_piece * PIECE < count
            same = exists & (tl.load(token_at + next_piece * PIECE, mask=exists, other=-1) == token)
            mask = same[:, None] & inside[None, :]
            rows = tl.load(partial + (2 * next_piece)[:, None] * WIDTH + column[None, :], mask=mask, other=0.0)
            total += tl.sum(rows, axis=0)
            following += ROWS
            more = tl.sum(same.to(tl.int32)) == ROWS
        target = weight_grad + token.to(tl.int64) * WIDTH + column
        held = tl.load(target, mask=inside, other=0.0)
        tl.store(target, (held.to(total.dtype) + total).to(weight_grad.dtype.element_ty), mask=inside)


@torch.library.custom_op("gristmill::embedding_backward", mutates_args=("weight_grad",))
def embedding_backward(dy: Tensor, tokens: Tensor, weight_grad: Tensor) -> None:
    """weight_grad[tokens[t]] += dy[t]. dy [T, H], tokens int [T], weight_grad [V, H] contiguous, of any float dtype."""
    count, width = dy.shape
    if dy.numel() == 0:
        return
    # int32: half the passes of a radix sort; a vocabulary is far below 2^31
    token_at, source_of = torch.sort(tokens.to(torch.int32), stable=True)
    dy = dy.contiguous()
    pieces = triton.cdiv(count, PIECE)
    partial = dy.new_empty((2 * pieces, width), dtype=torch.promote_types(dy.dtype, torch.float32))
    block = min(RUN_BLOCK, next_power_of_2(width))
    _runs[(count, triton.cdiv(width, block))](
        dy, token_at, source_of, weight_grad, partial, count,
        WIDTH=width, PIECE=PIECE, BLOCK=block, ROWS=RUN_ROWS, num_warps=RUN_WARPS,
    )  # fmt: skip
    if pieces == 1:
        return
    block = min(JOINT_BLOCK, next_power_of_2(width))
    _joints[(pieces - 1, triton.cdiv(width, block))](
        token_at, weight_grad, partial, count,
        WIDTH=width, PIECE=PIECE, BLOCK=block, ROWS=JOINT_ROWS, num_warps=JOINT_WARPS,
    )  # fmt: skip


@embedding_backward.register_fake
def _(dy, tokens, weight_grad):
    return None


class _EmbeddingTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens, weight, weight_grad):
        ctx.save_for_backward(tokens)
        ctx.like, ctx.weight_grad = (weight.shape, weight.dtype), weight_grad
        return F.embedding(tokens, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        (tokens,) = ctx.saved_tensors
        if ctx.weight_grad is not None:
            embedding_backward(dy, tokens, ctx.weight_grad)
            return None, None, None
        shape, dtype = ctx.like
        dw = dy.new_zeros(shape, dtype=dtype)  # its dtype already: each row is summed in fp32 and stored once
        embedding_backward(dy, tokens, dw)
        return None, dw, None


def embedding_triton(tokens: Tensor, weight: Tensor, weight_grad: Tensor | None = None) -> Tensor:
    """`embedding` with a deterministic backward that has no parameter-sized temporary where weight_grad is given.

    tokens: int [T], each in 0..V-1 (the library's gather checks); weight: bf16, fp16, fp32 or fp64 [V, H];
    weight_grad: contiguous fp32 [V, H] that the backward adds to, or None for a gradient of the weight's dtype.
    Raises ValueError for a weight_grad that is of another shape or not contiguous.

    The forward stays torch's: a gather has no arithmetic to fuse, torch moves its rows in wide loads already, and
    fake tensors, graphs and the check of the tokens come with it.
    """
    if weight_grad is not None and (weight_grad.shape != weight.shape or not weight_grad.is_contiguous()):
        raise ValueError(
            f"weight_grad {tuple(weight_grad.shape)} with strides {weight_grad.stride()} "
            f"must be contiguous and of the weight's shape {tuple(weight.shape)}"
        )
    return _EmbeddingTriton.apply(tokens, weight, weight_grad)
