"""Token embedding whose backward adds rows to an fp32 buffer.

    y[t] = W[token[t]],   weight_grad[v] += sum over t with token[t] = v of dy[t]

tokens: int [T], W: [V, H], y: [T, H]. The reference adds with `index_add_` in fp32; on a CPU that runs in the
order of t and is deterministic, on CUDA it is not (the Triton version will sort the tokens and sum segments).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def embedding(tokens: Tensor, weight: Tensor, weight_grad: Tensor | None = None) -> Tensor:
    """tokens int [T], weight [V, H] -> [T, H]. weight_grad: fp32 [V, H] that the backward adds to, or None."""
    return _Embedding.apply(tokens, weight, weight_grad)


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tokens, weight, weight_grad):
        ctx.save_for_backward(tokens)
        ctx.weight, ctx.weight_grad = weight, weight_grad
        return F.embedding(tokens, weight)

    @staticmethod
    def backward(ctx, dy):
        (tokens,) = ctx.saved_tensors
        if ctx.weight_grad is not None:
            ctx.weight_grad.index_add_(0, tokens, dy.to(ctx.weight_grad.dtype))
            return None, None, None
        wide = torch.float64 if dy.dtype == torch.float64 else torch.float32
        dw = torch.zeros(ctx.weight.shape, dtype=wide, device=dy.device).index_add_(0, tokens, dy.to(wide))
        return None, dw.to(ctx.weight.dtype), None
