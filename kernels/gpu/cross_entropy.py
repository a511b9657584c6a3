"""Output projection and cross entropy in one op, a chunk of rows at a time, never the whole [T, V] of logits.

    z = x W^T,   loss[t] = logsumexp(z[t]) - z[t, label[t]]     (0 where label[t] = ignore_index)
    dz = scale * (softmax(z) - onehot(label)),   dx = dz W,   weight_grad += dz^T x

x: [T, H], W: [V, H], labels: int [T]. The gradients are computed in the forward, from logits that are there
anyway: three GEMMs, nothing recomputed. A chunk has as many rows as `chunk_bytes` of logits allow (the reference's
with their fp32 copy, where the activations are bf16). Statistics fp32; the sum of losses runs in the order of t. The
scale, 1 / (valid tokens of the whole step), is known before, so the weight's gradient is final when the forward ends.

On a GPU the logits stay in the activations' dtype, in one buffer for all chunks: the library's GEMM writes them, one
pass reads them for the statistics, one pass turns them into dz in place. Under vocabulary parallelism each rank holds
V / ranks rows of W, and what the ranks exchange is (maximum, sum of exponentials, target logit), packed, once a row.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from gristmill.kernels.gpu import cross_entropy_kernels as kernels
from gristmill.kernels.gpu.jit import next_power_of_2
from gristmill.kernels.gpu.linear import accumulate

CHUNK_BYTES = 1 << 30


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    scale: float = 1.0,
    weight_grad: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    ignore_index: int = -1,
    group: dist.ProcessGroup | None = None,
    vocabulary_start: int = 0,
) -> tuple[Tensor, Tensor]:
    """-> (scale * sum of the losses, fp32 0-d; the losses, fp32 [T], not differentiable).

    weight_grad: fp32 [V, H] that the *forward* adds to, when gradients are enabled; the first result must then
    be back-propagated with gradient 1 (the loss scale is `scale`). None: autograd gets the weight's gradient.
    group, vocabulary_start: ranks that share the vocabulary, as in `linear_cross_entropy_triton`.
    """
    training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return _LinearCrossEntropy.apply(
        x, weight, labels, scale, weight_grad, chunk_bytes, ignore_index, training, group, vocabulary_start
    )


def chunk_rows(vocabulary: int, dtype: torch.dtype, chunk_bytes: int) -> int:
    """Rows whose logits, with the fp32 copy of narrower ones, fit in chunk_bytes; at least 1."""
    copy = 0 if dtype.itemsize >= 4 else 4
    return max(1, chunk_bytes // (vocabulary * (dtype.itemsize + copy)))


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, x, weight, labels, scale, weight_grad, chunk_bytes, ignore_index, training, group, vocabulary_start
    ):
        wide = torch.promote_types(x.dtype, torch.float32)
        losses = torch.zeros(x.shape[0], dtype=wide, device=x.device)
        dx = torch.empty_like(x) if training else None
        dw = weight_grad
        if training and dw is None:
            dw = torch.zeros(weight.shape, dtype=wide, device=x.device)
        rows = chunk_rows(weight.shape[0], x.dtype, chunk_bytes)
        for start in range(0, x.shape[0], rows):
            part = slice(start, start + rows)
            dz = _chunk(
                x[part], weight, labels[part], losses[part], scale, ignore_index, training, group, vocabulary_start
            )
            if dx is not None and dz is not None:
                torch.mm(dz, weight, out=dx[part])
                accumulate(dw, dz, x[part])
        ctx.save_for_backward(dx, dw if weight_grad is None else None)
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(losses)
        return losses.sum() * scale, losses

    @staticmethod
    def backward(ctx, gradient, _):
        return *_scaled(ctx, gradient), None, None, None, None, None, None, None, None


def _scaled(ctx, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
    """The gradients of x and of the weight that the forward saved, times the gradient of the loss."""
    dx, dw = ctx.saved_tensors
    return dx * gradient.to(dx.dtype), None if dw is None else (dw * gradient).to(ctx.weight_dtype)


def _chunk(x, weight, labels, losses, scale, ignore_index, training, group, vocabulary_start) -> Tensor | None:
    """Writes the chunk's losses and returns dz [rows, V] in x's dtype (None when not training)."""
    z = (x @ weight.t()).to(losses.dtype)  # [rows, V]; the same tensor where x is fp32
    valid = labels != ignore_index
    target = torch.where(valid, labels - vocabulary_start, 0)[:, None].long()
    here = valid[:, None]
    if group is not None:
        here = here & (target >= 0) & (target < z.shape[1])
        target = torch.where(here, target, 0)
    maximum = z.amax(dim=-1, keepdim=True)
    z -= maximum
    at_target = z.gather(1, target)
    total = z.exp_().sum(dim=-1, keepdim=True)
    if group is not None:
        everyone = _gathered(
            torch.stack([maximum, total, at_target.masked_fill(~here, -torch.inf) + maximum], 2), group
        )
        maxima, totals, at_targets = everyone.unbind(3)  # [ranks, rows, 1]
        highest = maxima.amax(dim=0)
        total, at_target = (totals * (maxima - highest).exp()).sum(dim=0), at_targets.amax(dim=0) - highest
        at_target = at_target.masked_fill(~valid[:, None], 0.0)
        z *= (maximum - highest).exp()
    losses.copy_(((total.log() - at_target).squeeze(1)) * valid)
    if not training:
        return None
    z *= (scale * valid[:, None]) / total
    z.scatter_add_(1, target, -scale * here.to(z.dtype))
    return z.to(x.dtype)


# On a GPU: Triton between the library's GEMMs. The three passes are ops of their own and the GEMMs stay visible, so
# that FLOP counters count 6 T V H (2 T V H in evaluation) and memory counters see the one buffer of logits.

LEAST_ROWS = 1024
"""A GEMM of fewer rows is bound by reading W: at 128 rows its 3.1 GB take longer than the arithmetic, on an H200."""
ROW_MULTIPLE = 256
"""Rows of a chunk are whole tiles of cuBLAS: 2,048 and not 2,097 at V = 256,000, so that 16,384 tokens are 8 chunks."""


def linear_cross_entropy_triton(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    scale: float = 1.0,
    weight_grad: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    ignore_index: int = -1,
    group: dist.ProcessGroup | None = None,
    vocabulary_start: int = 0,
) -> tuple[Tensor, Tensor]:
    """`linear_cross_entropy` by Triton, x bf16, fp16 or fp32; a label outside the vocabulary gives an infinite loss.

    chunk_bytes: of logits in x's dtype, never fewer than LEAST_ROWS rows.
    group: the ranks that share the vocabulary in the order of their rows, each with `weight` [V / ranks, H], whose
        first row is token `vocabulary_start`, and all with the same x, labels, scale and chunk_bytes. One all_gather a
        chunk; loss and losses are whole and the same bits on every rank. The gradient of x is *this rank's part*: the
        caller adds the parts up, by reduce-scatter where the sequence is sharded too, else by all-reduce.
    Raises TypeError for fp64, whose statistics would be fp32; ValueError where labels are not one for each row of x.
    """
    if x.dtype == torch.float64:
        raise TypeError("linear_cross_entropy_triton computes in fp32; fp64 is for linear_cross_entropy")
    if labels.shape != x.shape[:1]:  # a kernel would read beyond the last
        raise ValueError(f"{tuple(labels.shape)} labels for {x.shape[0]} rows")
    training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return _TritonLinearCrossEntropy.apply(
        x, weight, labels.contiguous(), scale, weight_grad, chunk_bytes, ignore_index, training, group, vocabulary_start
    )


def logits_rows(vocabulary: int, dtype: torch.dtype, chunk_bytes: int) -> int:
    """Rows of a chunk on a GPU: those whose logits fit in chunk_bytes, whole tiles, at least LEAST_ROWS."""
    return max(LEAST_ROWS, chunk_bytes // (vocabulary * dtype.itemsize) // ROW_MULTIPLE * ROW_MULTIPLE)


class _TritonLinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, x, weight, labels, scale, weight_grad, chunk_bytes, ignore_index, training, group, vocabulary_start
    ):
        tokens, vocabulary = x.shape[0], weight.shape[0]
        losses = torch.empty(tokens, dtype=torch.float32, device=x.device)
        dx = torch.empty_like(x) if training else None
        dw = weight_grad
        if training and dw is None:
            dw = torch.zeros(weight.shape, dtype=torch.float32, device=x.device)
        rows = logits_rows(vocabulary, x.dtype, chunk_bytes)
        logits = x.new_empty(min(rows, tokens), vocabulary)
        for start in range(0, tokens, rows):
            part = slice(start, min(start + rows, tokens))
            z = logits[: part.stop - start]
            torch.mm(x[part], weight.t(), out=z)
            parts = _gathered(_statistics(z, labels[part], vocabulary_start, ignore_index), group)
            softmax = _combine(parts, labels[part], losses[part], scale, ignore_index)
            if dx is not None:
                _gradient(z, labels[part], softmax, scale, vocabulary_start, ignore_index)
                torch.mm(z, weight, out=dx[part])
                accumulate(dw, z, x[part])
        ctx.save_for_backward(dx, dw if weight_grad is None else None)
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(losses)
        return losses.sum() * scale, losses

    @staticmethod
    def backward(ctx, gradient, _):
        return *_scaled(ctx, gradient), None, None, None, None, None, None, None, None


def _gathered(parts: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """parts [rows, segments, 3] of this rank -> [ranks, rows, segments, 3], in the order of the ranks."""
    if group is None:
        return parts[None]
    everyone = parts.new_empty(dist.get_world_size(group), *parts.shape)
    dist.all_gather_single(everyone.flatten(0, 1), parts, group=group)
    return everyone


def _segments(columns: int) -> tuple[int, int]:
    """(segments of a row, columns of each but the last): equal, and starting at whole 16-byte vectors."""
    segments = -(-columns // kernels.SEGMENT)
    return segments, -(-columns // (segments * 16)) * 16


@torch.library.custom_op("gristmill::cross_entropy_statistics", mutates_args=())
def _statistics(z: Tensor, labels: Tensor, vocabulary_start: int, ignore_index: int) -> Tensor:
    """z [rows, V], any row stride -> fp32 [rows, segments, 3]: maximum, sum of exponentials, target logit or -inf."""
    segments, width = _segments(z.shape[1])
    parts = torch.empty(z.shape[0], segments, 3, dtype=torch.float32, device=z.device)
    kernels._statistics[(z.shape[0], segments)](
        z, labels, parts, z.stride(0), z.shape[1], width, vocabulary_start, ignore_index, kernels.LANES, kernels.VECTOR
    )
    return parts


@_statistics.register_fake
def _(z: Tensor, labels: Tensor, vocabulary_start: int, ignore_index: int) -> Tensor:
    return z.new_empty(z.shape[0], _segments(z.shape[1])[0], 3, dtype=torch.float32)


@torch.library.custom_op("gristmill::cross_entropy_combine", mutates_args=("losses",))
def _combine(parts: Tensor, labels: Tensor, losses: Tensor, scale: float, ignore_index: int) -> Tensor:
    """parts [ranks, rows, segments, 3] -> fp32 [rows, 2]: maximum, scale / sum (0: no loss). Writes losses [rows]."""
    ranks, rows, segments, _ = parts.shape
    softmax = torch.empty(rows, 2, dtype=torch.float32, device=parts.device)
    kernels._combine[(rows,)](
        parts, labels, losses, softmax, segments, ranks, scale, ignore_index, next_power_of_2(ranks * segments),
        num_warps=1,
    )  # fmt: skip
    return softmax


@_combine.register_fake
def _(parts: Tensor, labels: Tensor, losses: Tensor, scale: float, ignore_index: int) -> Tensor:
    return parts.new_empty(parts.shape[1], 2)


@torch.library.custom_op("gristmill::cross_entropy_gradient", mutates_args=("z",))
def _gradient(
    z: Tensor, labels: Tensor, softmax: Tensor, scale: float, vocabulary_start: int, ignore_index: int
) -> None:
    """z [rows, V] <- scale * (softmax(z) - onehot(labels)), rounded to z's dtype."""
    blocks = -(-z.shape[1] // kernels.GRADIENT_BLOCK)
    kernels._gradient[(z.shape[0], blocks)](
        z, labels, softmax, z.stride(0), z.shape[1], scale, vocabulary_start, ignore_index, kernels.GRADIENT_BLOCK,
        num_warps=8,
    )  # fmt: skip


@_gradient.register_fake
def _(z: Tensor, labels: Tensor, softmax: Tensor, scale: float, vocabulary_start: int, ignore_index: int) -> None:
    return None
