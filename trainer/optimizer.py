"""One optimizer step over the flat buffers: global norm, clip, AdamW.

    norm = sqrt(sum of squares of every gradient),   scale = min(1, clip / (norm + 1e-6))

The clip factor stays on the device as a 0-d tensor and is folded into AdamW's pass. Weight decay applies to the
"decay" group only. The step number (from 1) is AdamW's bias correction and comes from the caller: no hidden count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.gpu.registry import Ops
from trainer.optimizer_settings import AdamW
from trainer.state import FlatState


def gradient_norm(state: FlatState) -> Tensor:
    """L2 norm over all gradients, fp32 0-d; squares summed in fp64, each group apart, in a fixed order."""
    squares = [torch.linalg.vector_norm(g.main_grad, dtype=torch.float64).square() for g in state.groups]
    return torch.stack(squares).sum().sqrt().float()


def optimizer_step(state: FlatState, ops: Ops, settings: AdamW, learning_rate: float, step: int) -> Tensor:
    """Steps every group in place with the gradients in `main_grad`; returns the norm before clipping (0-d)."""
    norm = gradient_norm(state)
    scale = torch.ones_like(norm)
    if settings.clip > 0:
        scale = torch.clamp(settings.clip / (norm + 1e-6), max=1.0)  # 1e-6 as torch.nn.utils.clip_grad_norm_
    for group in state.groups:
        ops.adamw(
            group.param,
            group.main,
            group.main_grad,
            group.exp_avg,
            group.exp_avg_sq,
            step=step,
            learning_rate=learning_rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            eps=settings.eps,
            weight_decay=settings.weight_decay if group.name == "decay" else 0.0,
            grad_scale=scale,
        )
    return norm
