"""Causal grouped-query attention, optionally within documents (Ainslie et al. 2023, arXiv 2305.13245).

    out[i] = sum over allowed j of softmax_j(scale * q[i] . k[j]) v[j],   allowed: j <= i, same document

q: [B, S, heads, d]; k, v: [B, S, kv_heads, d]; query head n reads key head n // (heads / kv_heads). `cu_seqlens`
are the document borders in the B*S tokens laid end to end: int32 [documents + 1], 0 first, B*S last, the
borders between the B windows among them. The reference forms the scores and has fp32 statistics;
`attention_sdpa` gives the same through torch's scaled_dot_product_attention, without an S x S matrix where
there are no documents.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
