"""AdamW on a flat shard (Loshchilov and Hutter 2019, arXiv 1711.05101), with gradient scale and cast.

    g = grad * grad_scale
    m = b1 m + (1 - b1) g,   v = b2 v + (1 - b2) g^2
    main = main (1 - lr * wd) - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    param = main rounded to the parameters' dtype

All 1-D of one length n; main, grad, m, v fp32. `grad_scale` is a 0-d tensor (the clip factor stays on the
device). Works through the shard in pieces, so that temporaries stay small whatever n is.
"""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 1 << 22
"""Elements worked on at a time: 16 MiB of fp32 per temporary."""


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
