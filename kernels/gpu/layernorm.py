"""Residual add + LayerNorm with zero-centred gamma ("LN1P": the weight is stored as w and used as 1 + w).

    h = x + residual                       (h = x where there is no residual)
    y = (h - mean(h)) * rstd * (1 + w) + b,   rstd = 1 / sqrt(var(h) + eps), biased variance

x, residual, y, h: [T, H] in the activations' dtype; w, b: [H]. Statistics and 1 + w are fp32 (fp64 for fp64
input) whatever the storage dtype: adding the 1 in bf16 would lose every w below 2^-9. The backward returns
one gradient for x and residual (they are the same) and adds dw, db to fp32 buffers where those are given:

    n = (h - mean) * rstd,   g = dy * (1 + w),   dx = (g - mean(g) - n * mean(g * n)) * rstd + dh
    dw = sum over rows of dy * n,   db = sum over rows of dy

`layernorm` is the definition in plain torch, `layernorm_triton` the same by the kernels of layernorm_kernels.py. Those
read x and residual once and write y and h once; the backward reads dy, h, dh once and writes dx once. Its dw and db are
sums over rows: each of P programs, P from the device and the number of rows alone, sums its own rows in registers, and
a second launch adds the P sums in order, so that a gradient has the same bits at each call on one device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gristmill.kernels.gpu import layernorm_kernels as kernels
from gristmill.kernels.gpu.jit import next_power_of_2, sms

WIDEST = 32768
"""Columns that the Triton forward takes at most: a program holds a row in registers."""
HELD = 8192
"""Columns up to which a backward program can hold a row and its sums of dw and db: 65,536 registers, 8 a column."""


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


def layernorm_triton(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    weight_grad: Tensor | None = None,
    bias_grad: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`layernorm` by Triton: x, residual [T, H] in bf16, fp16 or fp32, H <= 32,768; weight, bias [H] in any of these.

    Raises TypeError for other dtypes and for buffers that are not fp32, ValueError for shapes that do not fit.
    """
    if x.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise TypeError(f"layernorm takes bf16, fp16 or fp32, not {x.dtype}")
    if x.dim() != 2 or not 0 < x.shape[1] <= WIDEST:
        raise ValueError(f"layernorm takes [T, H] with 0 < H <= {WIDEST}, not {list(x.shape)}")
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ValueError(f"the residual is {residual.dtype} {list(residual.shape)}, x {x.dtype} {list(x.shape)}")
    for name, vector in {"weight": weight, "bias": bias, "weight_grad": weight_grad, "bias_grad": bias_grad}.items():
        if vector is not None and (vector.shape != x.shape[1:] or not vector.is_contiguous()):
            raise ValueError(f"{name} is {list(vector.shape)}, not {[x.shape[1]]} in one piece")
        if vector is not None and name.endswith("_grad") and vector.dtype != torch.float32:
            raise TypeError(f"{name} is {vector.dtype}, not fp32")
    y, h = _TritonLayerNorm.apply(x, residual, weight, bias, eps, weight_grad, bias_grad)
    return y, h


class _TritonLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual, weight, bias, eps, weight_grad, bias_grad):
        y, h, mean, rstd = layernorm_forward(x, residual, weight, bias, eps)
        if residual is None:
            h = x
        ctx.save_for_backward(h, mean, rstd, weight)
        ctx.grads = (weight_grad, bias_grad)
        ctx.bias_dtype = bias.dtype
        ctx.has_residual = residual is not None
        ctx.set_materialize_grads(False)
        return y, h.view_as(h) if residual is None else h

    @staticmethod
    def backward(ctx, dy, dh):
        h, mean, rstd, weight = ctx.saved_tensors
        if dy is None:
            return dh, dh if ctx.has_residual else None, None, None, None, None, None
        dx, dw, db = layernorm_backward(dy, dh, h, mean, rstd, weight, ctx.bias_dtype, *ctx.grads)
        weight_grad, bias_grad = ctx.grads
        dw, db = None if weight_grad is not None else dw, None if bias_grad is not None else db
        return dx, dx if ctx.has_residual else None, dw, db, None, None, None


@torch.library.custom_op("gristmill::layernorm_forward", mutates_args=())
def layernorm_forward(
    x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """-> y [T, H]; h [T, H], or [0] without a residual, where h is x; mean, rstd fp32 [T]."""
    y, h, mean, rstd = _forward_outputs(x, residual, weight, bias, eps)
    rows, width = x.shape
    if rows:
        columns = next_power_of_2(width)
        tile = min(16, max(1, 2048 // columns))  # whole rows a program, so that narrow ones fill it too
        kernels.forward[(-(-rows // tile),)](
            x.contiguous(), x if residual is None else residual.contiguous(), weight, bias, y, h, mean, rstd, rows, eps,
            H=width, ROWS=tile, COLUMNS=columns, HAS_RESIDUAL=residual is not None,
            num_warps=4 if columns <= 2048 else 8 if columns <= 8192 else 16,
        )  # fmt: skip
    return y, h, mean, rstd


@layernorm_forward.register_fake
def _forward_outputs(x, residual, weight, bias, eps):
    h = x.new_empty(0) if residual is None else x.new_empty(x.shape)
    statistics = [x.new_empty(x.shape[0], dtype=torch.float32) for _ in range(2)]
    return x.new_empty(x.shape), h, *statistics


@torch.library.custom_op("gristmill::layernorm_backward", mutates_args=("weight_grad", "bias_grad"))
def layernorm_backward(
    dy: Tensor,
    dh: Tensor | None,
    h: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor,
    bias_dtype: torch.dtype,
    weight_grad: Tensor | None,
    bias_grad: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """-> dx [T, H]; dw, db [H] in weight's dtype and bias_dtype, or [0] where added to weight_grad, bias_grad."""
    dx, dw, db = _backward_outputs(dy, dh, h, mean, rstd, weight, bias_dtype, weight_grad, bias_grad)
    rows, width = h.shape
    if not rows:
        return dx, dw.zero_(), db.zero_()
    dy, h, has_dh = dy.contiguous(), h.contiguous(), dh is not None
    dh = dh.contiguous() if dh is not None else dy
    programs = min(rows, sms(h))
    dw_partial, db_partial = torch.empty(2, programs, width, dtype=torch.float32, device=h.device)
    columns = next_power_of_2(width)
    # Tiles and warps: what sm_90 holds in registers without spilling. Two tiles of 16-bit dtypes are in shared memory,
    # one of fp32: 96 KiB at most, which GPUs before Hopper have too.
    stages = 3 if h.element_size() == 2 else 2
    if width <= HELD:
        tile = min(16, (8192 if columns >= 4096 else 4096) // columns)
        kernels.backward[(programs,)](
            dy, dh, h, mean, rstd, weight, dx, dw_partial, db_partial, rows,
            H=width, ROWS=tile, COLUMNS=columns, STAGES=stages, HAS_DH=has_dh,
            num_warps=16 if tile * columns >= 4096 else 4,
        )  # fmt: skip
    else:
        along_ones, along_normed = torch.empty_like(mean), torch.empty_like(mean)
        kernels.terms[(rows,)](
            dy, h, mean, rstd, weight, along_ones, along_normed, H=width, COLUMNS=4096, STAGES=stages, num_warps=8
        )
        kernels.columns[(programs, -(-width // 1024))](
            dy, dh, h, mean, rstd, weight, along_ones, along_normed, dx, dw_partial, db_partial, rows,
            H=width, ROWS=4, COLUMNS=1024, STAGES=stages, HAS_DH=has_dh, num_warps=8,
        )  # fmt: skip
    block = 32 if width <= HELD else 64  # columns a program; 192 programs for 6144, 288 for 18432
    kernels.reduce[(-(-width // block),)](
        dw_partial, db_partial, dw if weight_grad is None else weight_grad, db if bias_grad is None else bias_grad,
        programs, H=width, ROWS=64, COLUMNS=block, ADD_W=weight_grad is not None, ADD_B=bias_grad is not None,
        num_warps=4,
    )  # fmt: skip
    return dx, dw, db


@layernorm_backward.register_fake
def _backward_outputs(dy, dh, h, mean, rstd, weight, bias_dtype, weight_grad, bias_grad):
    dw = weight.new_empty(weight.shape if weight_grad is None else 0)
    db = weight.new_empty(weight.shape if bias_grad is None else 0, dtype=bias_dtype)
    return h.new_empty(h.shape), dw, db
