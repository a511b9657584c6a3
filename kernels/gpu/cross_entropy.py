"""Output projection and cross entropy in one op, a chunk of rows at a time, never the whole [T, V] of logits.

    z = x W^T,   loss[t] = logsumexp(z[t]) - z[t, label[t]]     (0 where label[t] = ignore_index)
    dz = scale * (softmax(z) - onehot(label)),   dx = dz W,   weight_grad += dz^T x

x: [T, H], W: [V, H], labels: int [T]. The gradients are computed in the forward, from logits that are there
anyway: three GEMMs, nothing recomputed. A chunk has as many rows as `chunk_bytes` of logits allow (with their
fp32 copy, where the activations are bf16). Statistics fp32; the sum of losses runs in the order of t. The
scale, 1 / (valid tokens of the whole step), is known before, so the weight's gradient is final when the forward ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.gpu.linear import accumulate

CHUNK_BYTES = 1 << 30


def linear_cross_entropy(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    scale: float = 1.0,
    weight_grad: Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    ignore_index: int = -1,
) -> tuple[Tensor, Tensor]:
    """-> (scale * sum of the losses, fp32 0-d; the losses, fp32 [T], not differentiable).

    weight_grad: fp32 [V, H] that the *forward* adds to, when gradients are enabled; the first result must then
    be back-propagated with gradient 1 (the loss scale is `scale`). None: autograd gets the weight's gradient.
    """
    training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return _LinearCrossEntropy.apply(x, weight, labels, scale, weight_grad, chunk_bytes, ignore_index, training)


def chunk_rows(vocabulary: int, dtype: torch.dtype, chunk_bytes: int) -> int:
    """Rows whose logits, with the fp32 copy of narrower ones, fit in chunk_bytes; at least 1."""
    copy = 0 if dtype.itemsize >= 4 else 4
    return max(1, chunk_bytes // (vocabulary * (dtype.itemsize + copy)))


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, labels, scale, weight_grad, chunk_bytes, ignore_index, training):
        wide = torch.promote_types(x.dtype, torch.float32)
        losses = torch.zeros(x.shape[0], dtype=wide, device=x.device)
        dx = torch.empty_like(x) if training else None
        dw = weight_grad
        if training and dw is None:
            dw = torch.zeros(weight.shape, dtype=wide, device=x.device)
        rows = chunk_rows(weight.shape[0], x.dtype, chunk_bytes)
        for start in range(0, x.shape[0], rows):
            part = slice(start, start + rows)
            dz = _chunk(x[part], weight, labels[part], losses[part], scale, ignore_index, training)
            if dx is not None and dz is not None:
                torch.mm(dz, weight, out=dx[part])
                accumulate(dw, dz, x[part])
        ctx.save_for_backward(dx, dw if weight_grad is None else None)
        ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(losses)
        return losses.sum() * scale, losses

    @staticmethod
    def backward(ctx, gradient, _):
        dx, dw = ctx.saved_tensors
        dx = dx * gradient.to(dx.dtype)
        if dw is not None:
            dw = (dw * gradient).to(ctx.weight_dtype)
        return dx, dw, None, None, None, None, None, None


def _chunk(x, weight, labels, losses, scale, ignore_index, training) -> Tensor | None:
    """Writes the chunk's losses and returns dz [rows, V] in x's dtype (None when not training)."""
    z = (x @ weight.t()).to(losses.dtype)  # [rows, V]; the same tensor where x is fp32
    valid = labels != ignore_index
    target = torch.where(valid, labels, 0)[:, None].long()
    z -= z.amax(dim=-1, keepdim=True)
    at_target = z.gather(1, target)
    total = z.exp_().sum(dim=-1, keepdim=True)
    losses.copy_(((total.log() - at_target).squeeze(1)) * valid)
    if not training:
        return None
    z *= (scale * valid[:, None]) / total
    z.scatter_add_(1, target, -scale * valid[:, None].to(z.dtype))
    return z.to(x.dtype)
