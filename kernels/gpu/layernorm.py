"""Residual add + LayerNorm with zero-centred gamma ("LN1P": the weight is stored as w and used as 1 + w).

    h = x + residual                       (h = x where there is no residual)
    y = (h - mean(h)) * rstd * (1 + w) + b,   rstd = 1 / sqrt(var(h) + eps), biased variance

x, residual, y, h: [T, H] in the activations' dtype; w, b: [H]. Statistics and 1 + w are fp32 (fp64 for fp64
input) whatever the storage dtype: adding the 1 in bf16 would lose every w below 2^-9. The backward returns
one gradient for x and residual (they are the same) and adds dw, db to fp32 buffers where those are given.
"""

from __future__ import annotations

import torch
from torch import Tensor


def layernorm(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    weight_grad: Tensor | None = None,
    bias_grad: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """x, residual [T, H], weight, bias [H] -> (y [T, H], h [T, H]), both in x's dtype.

    weight_grad, bias_grad: fp32 [H] buffers that the backward adds to; without them autograd gets the gradients.
    """
    y, h = _LayerNorm.apply(x, residual, weight, bias, eps, weight_grad, bias_grad)
    return y, h


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual, weight, bias, eps, weight_grad, bias_grad):
        h = x if residual is None else x + residual
        wide = h.to(_statistics_dtype(h))
        mean = wide.mean(dim=-1, keepdim=True)  # [T, 1]
        centred = wide - mean
        rstd = torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + eps)  # [T, 1]
        y = centred * rstd * (1 + weight.to(wide.dtype)) + bias.to(wide.dtype)
        ctx.save_for_backward(h, mean, rstd, weight)
        ctx.grads = (weight_grad, bias_grad)
        ctx.has_residual = residual is not None
        ctx.set_materialize_grads(False)  # the last norm's h is not used: no zeros for it
        # Without a residual h is x itself; a view, because an autograd function may not return its input as is.
        return y.to(h.dtype), h.view_as(h) if residual is None else h

    @staticmethod
    def backward(ctx, dy, dh):
        h, mean, rstd, weight = ctx.saved_tensors
        if dy is None:  # only h was used
            return dh, dh if ctx.has_residual else None, None, None, None, None, None
        weight_grad, bias_grad = ctx.grads
        wide = h.to(_statistics_dtype(h))
        normed = (wide - mean) * rstd  # [T, H]
        dy_wide = dy.to(wide.dtype)
        dw = (dy_wide * normed).sum(dim=0)  # [H]
        db = dy_wide.sum(dim=0)
        dn = dy_wide * (1 + weight.to(wide.dtype))
        dx = (dn - dn.mean(-1, keepdim=True) - normed * (dn * normed).mean(-1, keepdim=True)) * rstd
        if dh is not None:
            dx = dx + dh.to(wide.dtype)
        dx = dx.to(h.dtype)
        dw = _deliver(dw, weight_grad, weight.dtype)
        db = _deliver(db, bias_grad, weight.dtype)
        return dx, dx if ctx.has_residual else None, dw, db, None, None, None


def _statistics_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _deliver(gradient: Tensor, buffer: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if buffer is None:
        return gradient.to(dtype)
    buffer.add_(gradient)
    return None
