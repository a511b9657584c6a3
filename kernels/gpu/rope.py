"""Rotary position embedding on the first r of each head's d dimensions, rotate-half (Su et al. 2021, arXiv 2104.09864).

    for i < r/2, angle a = position * base^(-2i/r):
        z'[i]       = z[i] cos a - z[i + r/2] sin a
        z'[i + r/2] = z[i + r/2] cos a + z[i] sin a
    dimensions r..d pass unchanged

z runs over the query and key heads of the fused projection, [T, heads + 2 kv_heads, d]; the value heads pass
unchanged. The tables are fp32 [S, r/2]; the rotation is computed in fp32 and rounded once. The backward is the
rotation by -a.
"""

from __future__ import annotations

import torch
from torch import Tensor


def tables(length: int, rotary_dim: int, base: float, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """cos, sin: fp32 [length, rotary_dim / 2]."""
    exponent = torch.arange(0, rotary_dim, 2, dtype=torch.float32, device=device) / rotary_dim
    angle = torch.arange(length, dtype=torch.float32, device=device)[:, None] * (1.0 / base**exponent)
    return angle.cos(), angle.sin()


def rope(qkv: Tensor, rotated_heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    """qkv [T, heads + 2 kv_heads, d] with the first `rotated_heads` (= heads + kv_heads) turned.

    cos, sin: fp32 [S, r/2]; positions: int [T], each below S. The result may share qkv's storage.
    """
    return _Rope.apply(qkv, rotated_heads, cos, sin, positions)


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, rotated_heads, cos, sin, positions):
        ctx.save_for_backward(cos, sin, positions)
        ctx.rotated_heads = rotated_heads
        return _rotate(qkv, rotated_heads, cos[positions], sin[positions])

    @staticmethod
    def backward(ctx, dy):
        cos, sin, positions = ctx.saved_tensors
        return _rotate(dy, ctx.rotated_heads, cos[positions], -sin[positions]), None, None, None, None


def _rotate(z: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[-1]
    wide = torch.promote_types(z.dtype, torch.float32)
    c, s = cos[:, None, :].to(wide), sin[:, None, :].to(wide)  # [T, 1, r/2]
    first, second = z[:, :heads, :half].to(wide), z[:, :heads, half : 2 * half].to(wide)
    out = z.clone()
    out[:, :heads, :half] = first * c - second * s
    out[:, :heads, half : 2 * half] = second * c + first * s
    return out
