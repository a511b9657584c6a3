"""Full recomputation: of a layer only the input is kept, and its forward is run again in the backward.

The layer begins with h = x + residual, of which both inputs get the same gradient; so one tensor is kept, h, not two.
Gradients of parameters go where the ops put them: into `main_grad`, added once, or into `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Compute = Callable[[Tensor, Tensor | None, bool], tuple[Tensor, Tensor, Tensor]]
"""(x, residual, output) -> (x, residual, h) of one layer. output=False: x without its values, only its graph."""


def recomputed(compute: Compute, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
    """The (x, residual) that `compute` returns, keeping its h alone. compute(h, None) must give the same bits.

    The result has a graph only if x requires a gradient: embeddings that are frozen freeze what is recomputed too.
    """
    return _Recomputed.apply(compute, x, residual)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compute: Compute, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        out, after, h = compute(x.detach(), None if residual is None else residual.detach(), True)
        ctx.save_for_backward(h)
        ctx.compute, ctx.has_residual = compute, residual is not None
        return out, after

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (h,) = ctx.saved_tensors
        h = h.detach().requires_grad_()
        with torch.enable_grad():
            out, after, _ = ctx.compute(h, None, False)
        torch.autograd.backward((out, after), gradients)
        return None, h.grad, h.grad if ctx.has_residual else None
