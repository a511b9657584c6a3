"""Causal grouped-query attention, optionally within documents (Ainslie et al. 2023, arXiv 2305.13245).

    out[i] = sum over allowed j of softmax_j(scale * q[i] . k[j]) v[j],   allowed: j <= i, same document

q: [B, S, heads, d]; k, v: [B, S, kv_heads, d]; query head n reads key head n // (heads / kv_heads). `cu_seqlens`
are the document borders in the B*S tokens laid end to end: int32 [documents + 1], 0 first, B*S last, the
borders between the B windows among them. The reference forms the scores and has fp32 statistics;
`attention_sdpa` gives the same through torch's scaled_dot_product_attention, without an S x S matrix where
there are no documents. `attention_triton` is our kernels (`attention_kernels.py`, launched by
`attention_launch.py`): flash attention with an online softmax (Dao 2023, arXiv 2307.08691), no S x S matrix ever.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

HEAD_DIMS = (16, 32, 64, 128)
"""What `attention_triton` is for: powers of two, of which the blocks fit a multiprocessor."""


def attention(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
    """q [B, S, heads, d], k, v [B, S, kv_heads, d] -> [B, S, heads, d] in q's dtype."""
    batch, length, heads, d = q.shape
    kv_heads = k.shape[2]
    grouped = q.view(batch, length, kv_heads, heads // kv_heads, d)
    scores = torch.einsum("bsgnd,btgd->bgnst", grouped, k) * scale  # [B, kv_heads, heads / kv_heads, S, S]
    allowed = allowed_pairs(batch, length, cu_seqlens, q.device)[:, None, None]
    scores = scores.masked_fill(~allowed, float("-inf"))
    weights = scores.softmax(dim=-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
    return torch.einsum("bgnst,btgd->bsgnd", weights, v).reshape(batch, length, heads, d)


def attention_sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
    """As `attention`, by the library's fused kernels."""
    batch, length, heads, _ = q.shape
    mask = None if cu_seqlens is None else allowed_pairs(batch, length, cu_seqlens, q.device)[:, None]
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=heads != k.shape[2],
    )
    return out.transpose(1, 2)


def allowed_pairs(batch: int, length: int, cu_seqlens: Tensor | None, device: torch.device) -> Tensor:
    """bool [B or 1, S, S]: may position i (rows) look at position j (columns)."""
    at = torch.arange(length, device=device)
    causal = at[:, None] >= at[None, :]
    if cu_seqlens is None:
        return causal[None]
    token = torch.arange(batch * length, device=device)
    document = torch.searchsorted(cu_seqlens.to(token.dtype), token, right=True).view(batch, length)
    return causal & (document[:, :, None] == document[:, None, :])


def attention_triton(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None = None) -> Tensor:
    """As `attention`, by our Triton kernels: [B, S, heads, d] in q's dtype, contiguous.

    q, k, v may be strided as the splits of the fused projection are; only the last dimension must be contiguous,
    else a copy is made. dtypes bf16 or fp16 (fp32 for tests: exact products, no tensor cores), d in `HEAD_DIMS`,
    scale > 0. cu_seqlens: int32 on q's device; empty documents are fine. Deterministic in both directions. Nothing
    passes a document's border, neither value nor gradient, as long as all inputs are finite (0 * inf is NaN).
    Raises ValueError or TypeError for what is outside that. Python's part of a call is some 100 us.
    """
    _check(q, k, v, scale, cu_seqlens)
    out: Tensor = _Attention.apply(q, k, v, scale, cu_seqlens)
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, scale, cu_seqlens):
        out, lse = _forward_op(q, k, v, scale, cu_seqlens)
        ctx.save_for_backward(q, k, v, out, lse, cu_seqlens)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, dout):
        q, k, v, out, lse, cu_seqlens = ctx.saved_tensors
        dq, dk, dv = _backward_op(dout, q, k, v, out, lse, ctx.scale, cu_seqlens)
        return dq, dk, dv, None, None


@torch.library.custom_op("gristmill::attention_forward", mutates_args=())
def _forward_op(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None) -> tuple[Tensor, Tensor]:
    """-> out [B, S, heads, d], lse fp32 [B, heads, S], base 2."""
    from gristmill.kernels.gpu import attention_launch

    return attention_launch.forward(q, k, v, scale, cu_seqlens)


@_forward_op.register_fake
def _(q, k, v, scale, cu_seqlens):
    batch, length, heads, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((batch, heads, length), dtype=torch.float32)


@torch.library.custom_op("gristmill::attention_backward", mutates_args=())
def _backward_op(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, scale: float, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """-> dq [B, S, heads, d], dk, dv [B, S, kv_heads, d], contiguous."""
    from gristmill.kernels.gpu import attention_launch

    return attention_launch.backward(dout, q, k, v, out, lse, scale, cu_seqlens)


@_backward_op.register_fake
def _(dout, q, k, v, out, lse, scale, cu_seqlens):
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


@register_flop_formula(torch.ops.gristmill.attention_forward)
def _forward_flops(q, k, v, *args, out_shape=None, **kwargs) -> int:
    """4 B heads S^2 d: torch's convention for SDPA, the whole square although half of it is masked."""
    batch, length, heads, d = q
    return 4 * batch * heads * length * length * d


@register_flop_formula(torch.ops.gristmill.attention_backward)
def _backward_flops(dout, q, *args, out_shape=None, **kwargs) -> int:
    """5 products where the forward has 2 (torch's convention); ours executes 7, two of them to form scores again."""
    batch, length, heads, d = q
    return 10 * batch * heads * length * length * d


def _check(q: Tensor, k: Tensor, v: Tensor, scale: float, cu_seqlens: Tensor | None) -> None:
    heads, d = q.shape[2:]
    if k.shape != v.shape or k.shape[:2] != q.shape[:2] or k.shape[3] != d or heads % k.shape[2]:
        raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not fit together")
    if d not in HEAD_DIMS:
        raise ValueError(f"head dimension {d}: the Triton kernels are for {HEAD_DIMS}")
    if q.dtype not in (torch.bfloat16, torch.float16, torch.float32) or not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"dtypes {q.dtype}, {k.dtype}, {v.dtype}: all bf16, all fp16 or all fp32")
    if not scale > 0:
        raise ValueError(f"scale {scale} is not above 0")
    if cu_seqlens is not None and cu_seqlens.device != q.device:
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device}, q on {q.device}")
