"""Squared ReLU that keeps only its output (So et al. 2021, Primer, arXiv 2109.08668).

    y = relu(x)^2,   dx = 2 relu(x) dy = 2 sqrt(y) dy

Any shape. x is rounded to its dtype, squared, rounded: then relu(x) = sqrt(y) exactly after rounding, because
the square root halves the relative error. It holds for every bf16 with 1e-18 < x < 1e18 and every normal fp32
whose square neither under- nor overflows (a test runs through all bf16). Below that the gradient is 0 instead
of some 1e-18 dy. Keeping y, which the next GEMM needs anyway, saves one activation of the MLP's width.

`squared_relu` is the definition in plain torch, `squared_relu_triton` the same by a Triton kernel a direction, which
rounds where torch does: y once, sqrt(y) before it is multiplied, and the product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gristmill.kernels.gpu.jit import jit, tl

BLOCK = 4096
"""Elements a program: four 16-byte loads of bf16 in flight in each of 128 threads."""


def squared_relu(x: Tensor) -> Tensor:
    """x -> relu(x)^2 in x's dtype; saves y for the backward and nothing else."""
    return _SquaredReLU.apply(x)


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.relu().square_()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return y.sqrt().mul_(2).mul_(dy)


def squared_relu_triton(x: Tensor) -> Tensor:
    """`squared_relu` by Triton: x bf16, fp16 or fp32, any shape -> y contiguous. Raises TypeError for other dtypes."""
    if x.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise TypeError(f"squared_relu takes bf16, fp16 or fp32, not {x.dtype}")
    return _TritonSquaredReLU.apply(x)


class _TritonSquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = squared_relu_forward(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return squared_relu_backward(y, dy)


@torch.library.custom_op("gristmill::squared_relu_forward", mutates_args=())
def squared_relu_forward(x: Tensor) -> Tensor:
    """-> relu(x)^2, contiguous, in x's dtype and shape."""
    y = x.new_empty(x.shape)
    if n := x.numel():
        _forward[(-(-n // BLOCK),)](x.contiguous(), y, n, N=BLOCK, num_warps=4)
    return y


@torch.library.custom_op("gristmill::squared_relu_backward", mutates_args=())
def squared_relu_backward(y: Tensor, dy: Tensor) -> Tensor:
    """-> 2 sqrt(y) dy, contiguous, in y's dtype and shape."""
    dx = y.new_empty(y.shape)
    if n := y.numel():
        _backward[(-(-n // BLOCK),)](y.contiguous(), dy.contiguous(), dx, n, N=BLOCK, num_warps=4)
    return dx


@squared_relu_forward.register_fake
def _(x):
    return x.new_empty(x.shape)


@squared_relu_backward.register_fake
def _(y, dy):
    return y.new_empty(y.shape)


# n is specialised on being a multiple of 16, which it is for every batch of a width that is one: only then does the
# compiler know that no 16-byte load crosses the end. So there is one build for all batch sizes, not one for each.


@jit
def _forward(x, y, n, N: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    wide = tl.load(x + place, mask=place < n).to(tl.float32)
    positive = tl.where(wide < 0, 0.0, wide)  # not tl.maximum, which hides NaN
    tl.store(y + place, (positive * positive).to(y.dtype.element_ty), mask=place < n)


@jit
def _backward(y, dy, dx, n, N: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    out = tl.load(y + place, mask=place < n)
    gradient = tl.load(dy + place, mask=place < n).to(tl.float32)
    wide = out.to(tl.float32)
    # The root that is off by one in its last place rounds to the same 16-bit number: y's own rounding moved it by less
    # than 0.71 of the way to where that changes. In fp32 it would show.
    root = tl.sqrt_rn(wide) if out.dtype == tl.float32 else tl.sqrt(wide).to(out.dtype).to(tl.float32)
    tl.store(dx + place, (2.0 * root * gradient).to(dx.dtype.element_ty), mask=place < n)
