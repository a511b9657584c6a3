"""y = x W^T without a bias, whose backward adds the weight's gradient to an fp32 buffer.

    dx = dy W,   weight_grad += dy^T x

x: [T, I], W: [O, I], y: [T, O]. The GEMMs are the library's. What is ours is where dW goes: straight into
`weight_grad`, fp32 and accumulated over micro-batches, so that no parameter-sized temporary exists and bf16
training does not add gradients in bf16.

The accumulating GEMM is an op of its own, `gristmill::linear_weight_grad`, with 2 T O I FLOPs: torch's FLOP counter
does not see `addmm_`, and fails at `addmm` with an `out_dtype` (2.13).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def linear(x: Tensor, weight: Tensor, weight_grad: Tensor | None = None) -> Tensor:
    """x [T, I], weight [O, I] -> [T, O]. weight_grad: fp32 [O, I] that the backward adds to, or None for autograd."""
    return _Linear.apply(x, weight, weight_grad)


def accumulate(weight_grad: Tensor, dy: Tensor, x: Tensor) -> None:
    """weight_grad += dy^T x with fp32 accumulation. dy [T, O], x [T, I] of one dtype, weight_grad fp32 [O, I]."""
    _weight_grad(weight_grad, dy, x)


@torch.library.custom_op("gristmill::linear_weight_grad", mutates_args=("weight_grad",))
def _weight_grad(weight_grad: Tensor, dy: Tensor, x: Tensor) -> None:
    if dy.dtype == weight_grad.dtype:
        weight_grad.addmm_(dy.t(), x)
    elif dy.is_cuda:
        torch.addmm(weight_grad, dy.t(), x, out_dtype=torch.float32, out=weight_grad)
    else:  # a GEMM with bf16 input and fp32 output exists on CUDA only
        weight_grad.addmm_(dy.t().float(), x.float())


@_weight_grad.register_fake
def _(weight_grad: Tensor, dy: Tensor, x: Tensor) -> None:
    return None


@register_flop_formula(torch.ops.gristmill.linear_weight_grad)
def _weight_grad_flops(weight_grad: torch.Size, dy: torch.Size, x: torch.Size, *_: object, **__: object) -> int:
    return 2 * dy[0] * dy[1] * x[1]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, weight_grad):
        ctx.save_for_backward(x, weight)
        ctx.weight_grad = weight_grad
        return x @ weight.t()

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dx = dy @ weight if ctx.needs_input_grad[0] else None
        if ctx.weight_grad is None:
            return dx, dy.t() @ x, None
        accumulate(ctx.weight_grad, dy, x)
        return dx, None, None
