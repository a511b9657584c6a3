"""AdamW on a flat shard (Loshchilov and Hutter 2019, arXiv 1711.05101), with gradient scale and cast.

    g = grad * grad_scale
    m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
    main = main (1 - lr * wd) - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    param = main rounded to the parameters' dtype

All 1-D of one length n; main, grad, m, v fp32. `grad_scale` is a 0-d tensor (the clip factor stays on the
device). Which parameters decay is no mask: they lie in two sets of buffers (trainer/flat_groups.py), one call each.

`adamw` works through the shard in pieces, so that temporaries stay small whatever n is. `adamw_triton` is one pass:
30 bytes a parameter (16 read, 12 + 2 written), offsets int64. Every number that changes with the step is
computed on the host in fp64 and is a run-time fp32 argument. The kernel writes the averages and the decay as
x - c x rather than (1 - c) x: c = lr * wd is near 1e-5, where 1 - c in fp32 is off by up to 3e-3 of c.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gristmill.kernels.gpu.jit import jit, tl, triton

PIECE = 1 << 22
"""Elements the reference works on at a time: 16 MiB of fp32 per temporary."""

BLOCK = 1024
"""Elements a program steps: with 4 warps, two 16-byte loads from each of four buffers in flight a thread."""


@torch.no_grad()
def adamw(
    param: Tensor,
    main: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: Tensor,
) -> None:
    """One step in place; step counts from 1. `param` may be `main` itself (fp32 training): then nothing is cast."""
    correction1 = 1.0 - beta1**step
    correction2 = 1.0 - beta2**step
    for start in range(0, main.numel(), PIECE):
        piece = slice(start, start + PIECE)
        w, m, v = main[piece], exp_avg[piece], exp_avg_sq[piece]
        g = grad[piece] * grad_scale
        m.lerp_(g, 1.0 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1.0 - beta2)
        denominator = torch.div(v, correction2, out=g).sqrt_().add_(eps)
        w.mul_(1.0 - learning_rate * weight_decay)
        w.addcdiv_(m, denominator, value=-learning_rate / correction1)
        if param is not main:
            param[piece].copy_(w)


@jit(do_not_specialize=("n",))
def _step(
    param, main, grad, exp_avg, exp_avg_sq, grad_scale, n,
    gain1, gain2, rate, decay, root, eps,
    CAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(0).to(tl.int64) * BLOCK
    scale = tl.load(grad_scale).to(tl.float32)
    fours = n // 4 * 4  # a mask that may end within four elements would make every access 4 bytes wide
    _update(
        param, main, grad, exp_avg, exp_avg_sq, scale, start, fours, gain1, gain2, rate, decay, root, eps, CAST, BLOCK
    )
    if start + BLOCK > fours:  # the last program: up to three more
        _update(param, main, grad, exp_avg, exp_avg_sq, scale, fours, n, gain1, gain2, rate, decay, root, eps, CAST, 4)


@jit
def _update(
    param, main, grad, exp_avg, exp_avg_sq, scale, start, end,
    gain1, gain2, rate, decay, root, eps,
    CAST: tl.constexpr, COUNT: tl.constexpr,
):  # fmt: skip
    """Steps the elements from start to start + COUNT, as far as end."""
    at = start + tl.arange(0, COUNT)
    mask = at < end
    g = tl.load(grad + at, mask) * scale
    m = tl.load(exp_avg + at, mask)
    v = tl.load(exp_avg_sq + at, mask)
    w = tl.load(main + at, mask)
    m = (m - gain1 * m) + gain1 * g
    v = (v - gain2 * v) + gain2 * g * g
    w -= decay * w + rate * tl.div_rn(m, tl.sqrt_rn(v) * root + eps)
    tl.store(exp_avg + at, m, mask)
    tl.store(exp_avg_sq + at, v, mask)
    tl.store(main + at, w, mask)
    if CAST:  # rounds to nearest even; told to be 4 wide as the rest is, or w would change layout in shared memory
        tl.store(param + tl.max_contiguous(start + tl.arange(0, COUNT), 4), w, mask)


@torch.library.custom_op("gristmill::adamw", mutates_args=("param", "main", "exp_avg", "exp_avg_sq"))
def _adamw(
    param: Tensor | None,
    main: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    grad_scale: Tensor,
    gain1: float,
    gain2: float,
    rate: float,
    decay: float,
    root: float,
    eps: float,
) -> None:
    n = main.numel()
    if n == 0:
        return
    _step[(triton.cdiv(n, BLOCK),)](
        main if param is None else param, main, grad, exp_avg, exp_avg_sq, grad_scale, n,
        gain1, gain2, rate, decay, root, eps, CAST=param is not None, BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip


@_adamw.register_fake
def _(param, main, grad, exp_avg, exp_avg_sq, grad_scale, gain1, gain2, rate, decay, root, eps) -> None:
    return None


@torch.no_grad()
def adamw_triton(
    param: Tensor,
    main: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: Tensor,
) -> None:
    """As `adamw`, in one pass over the memory; `param` bf16, fp16 or fp32.

    ValueError where a buffer is not contiguous, of length n and (all but `param`) fp32, or not on one device with
    `grad_scale`: the kernel would read beyond it.
    """
    for name, x in (("param", param), ("main", main), ("grad", grad), ("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)):
        if x.shape != (main.numel(),) or not x.is_contiguous() or (name != "param" and x.dtype != torch.float32):
            raise ValueError(
                f"adamw: {name} is {x.dtype} {tuple(x.shape)}, strides {x.stride()}; "
                f"expected contiguous [{main.numel()}]{'' if name == 'param' else ' of fp32'}"
            )
        if x.device != grad_scale.device:
            raise ValueError(f"adamw: {name} is on {x.device}, grad_scale on {grad_scale.device}")
    _adamw(
        None if param is main else param,  # an operator's mutated arguments may not alias
        main, grad, exp_avg, exp_avg_sq, grad_scale,
        1.0 - beta1, 1.0 - beta2, learning_rate / (1.0 - beta1**step), learning_rate * weight_decay,
        1.0 / math.sqrt(1.0 - beta2**step), eps,
    )  # fmt: skip
