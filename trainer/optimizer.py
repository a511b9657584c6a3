"""One optimizer step over the flat buffers: global norm, clip, AdamW on what this rank owns, parameters on their way.

    norm = sqrt(sum of squares of every gradient),   scale = min(1, clip / (norm + 1e-6))

The clip factor stays on the device as a 0-d tensor and is folded into AdamW's pass. Weight decay applies to the
"decay" group only. The step number (from 1) is AdamW's bias correction and comes from the caller: no hidden count.

Over many ranks (ZeRO-1): reductions of gradients that still run are waited for, each rank squares and steps the ranges
it owns, the ranks' sums of squares are gathered and added in fp64 in one order (so every rank has the same norm, bit
for bit), and the parameters are gathered bucket by bucket while the next forward begins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gristmill.kernels.gpu.registry import Ops
from gristmill.trainer.config.keys import AdamW
from gristmill.trainer.parallel import collectives
from gristmill.trainer.state import FlatState


def gradient_norm(state: FlatState, ops: Ops) -> Tensor:
    """L2 norm over the gradients of the whole model, fp32 0-d, the same on every rank.

    A collective on several ranks: reductions are finished first. Each parameter counts once: those that every
    tensor-parallel rank holds are counted by rank 0 of these.
    """
    state.reducer.finish()
    counted = [group for group in state.groups if not group.replicated or state.mesh.tensor.rank == 0]
    norm, squares = ops.gradient_norm([piece for group in counted for piece in group.pieces("main_grad")])
    if state.mesh.world.size == 1:
        return norm
    everyone = collectives.all_gather(squares.view(1), state.mesh.world, "world.norm")  # [ranks]
    return everyone.sum().sqrt().float()


def optimizer_step(
    state: FlatState, ops: Ops, settings: AdamW, learning_rate: float, step: int, norm: Tensor | None = None
) -> Tensor:
    """Steps every group in place with the gradients in `main_grad`; returns the norm before clipping (0-d).

    norm: `gradient_norm` of these gradients, where the caller has looked at it already. The parameters are complete
    when a forward uses them, or after `state.wait()`.
    """
    if norm is None:
        norm = gradient_norm(state, ops)
    scale = torch.ones_like(norm)
    if settings.clip > 0:
        scale = torch.clamp(settings.clip / (norm + 1e-6), max=1.0)  # 1e-6 as torch.nn.utils.clip_grad_norm_
    state.wait()  # a second step without a forward between: pieces may still be travelling
    for g, group in reversed(list(enumerate(state.groups))):  # norms first: the first layer needs them
        params, mains = group.pieces("param"), group.pieces("main")
        grads, exp_avgs, exp_avg_sqs = (group.pieces(kind) for kind in ("main_grad", "exp_avg", "exp_avg_sq"))
        for i, main in enumerate(mains):
            ops.adamw(
                main if group.main is group.param else params[i],
                main,
                grads[i],
                exp_avgs[i],
                exp_avg_sqs[i],
                step=step,
                learning_rate=learning_rate,
                beta1=settings.beta1,
                beta2=settings.beta2,
                eps=settings.eps,
                weight_decay=settings.weight_decay if group.name == "decay" else 0.0,
                grad_scale=scale,
            )
            state.gatherer.start(g, i)
    return norm
