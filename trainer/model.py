"""Nemotron-4 in plain torch (Parmar et al. 2024, arXiv 2402.16819).

Notable features: squared ReLU, ungated · LayerNorm with zero-centred gamma and a beta, residual add fused into it ·
rotary embedding on half of each head · grouped-query attention · no biases in linears · untied embeddings ·
no dropout. Every hot op comes from `kernels.gpu.registry`.

Tokens travel flattened, T = batch * sequence, so that sequence parallelism is a split of dimension 0. A parameter
may carry `main_grad`, an fp32 buffer of its shape; then the ops' backwards add to it and `.grad` stays None.
The model knows nothing of flat buffers, optimizer or files, and builds on the meta device.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from kernels.gpu import registry
from kernels.gpu.rope import tables
from trainer.shape import Shape

IGNORE = -1
"""Label of a position that has no loss."""


class Norm(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden))  # zero-centred: used as 1 + weight
        self.bias = nn.Parameter(torch.empty(hidden))


class Layer(nn.Module):
    """Parameters of one layer; the rows of `qkv` are all query heads, then all key heads, then all value heads."""

    def __init__(self, shape: Shape):
        super().__init__()
        h, d = shape.hidden, shape.head_dim
        self.attention_norm = Norm(h)
        self.qkv = nn.Parameter(torch.empty((shape.heads + 2 * shape.kv_heads) * d, h))
        self.output = nn.Parameter(torch.empty(h, shape.heads * d))
        self.mlp_norm = Norm(h)
        self.up = nn.Parameter(torch.empty(shape.ffn, h))
        self.down = nn.Parameter(torch.empty(h, shape.ffn))


class Nemotron(nn.Module):
    """Build under `torch.device("meta")` to count or to materialise later (`trainer.state`)."""

    def __init__(self, shape: Shape, ops: registry.Ops | None = None):
        super().__init__()
        self.shape = shape
        self.ops = ops or registry.load("reference")
        self.embedding = nn.Parameter(torch.empty(shape.vocab_size, shape.hidden))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.final_norm = Norm(shape.hidden)
        self.head = nn.Parameter(torch.empty(shape.vocab_size, shape.hidden))
        self._tables: tuple[Tensor, Tensor] | None = None

    def forward(self, tokens: Tensor, positions: Tensor | None = None, cu_seqlens: Tensor | None = None) -> Tensor:
        """tokens int [B, S] -> normed hidden states [T, h], T = B * S.

        positions: int [B, S], each token's place in its document (default: in its window).
        cu_seqlens: int32 [documents + 1] over the T tokens; attention then stays within documents.
        """
        batch, length = tokens.shape
        ops, shape = self.ops, self.shape
        cos, sin = self._rotary_tables(length, tokens.device)
        if positions is None:
            positions = torch.arange(length, device=tokens.device).expand(batch, length)
        positions = positions.reshape(-1)  # (T,)
        x = ops.embedding(tokens.reshape(-1), self.embedding, _grad(self.embedding))  # (T, h)
        residual = None
        for layer in cast("list[Layer]", self.layers):
            x, residual = self._norm(layer.attention_norm, x, residual)
            qkv = ops.linear(x, layer.qkv, _grad(layer.qkv))  # (T, (heads + 2 kv) d)
            qkv = qkv.view(-1, shape.heads + 2 * shape.kv_heads, shape.head_dim)
            qkv = ops.rope(qkv, shape.heads + shape.kv_heads, cos, sin, positions)
            q, k, v = qkv.view(batch, length, -1, shape.head_dim).split(
                [shape.heads, shape.kv_heads, shape.kv_heads], dim=2
            )  # (B, S, heads | kv | kv, d)
            x = ops.attention(q, k, v, shape.head_dim**-0.5, cu_seqlens)  # (B, S, heads, d)
            x = ops.linear(x.reshape(batch * length, -1), layer.output, _grad(layer.output))  # (T, h)
            x, residual = self._norm(layer.mlp_norm, x, residual)
            y = ops.squared_relu(ops.linear(x, layer.up, _grad(layer.up)))  # (T, f)
            x = ops.linear(y, layer.down, _grad(layer.down))  # (T, h)
        x, _ = self._norm(self.final_norm, x, residual)
        return x

    def logits(self, tokens: Tensor, positions: Tensor | None = None, cu_seqlens: Tensor | None = None) -> Tensor:
        """tokens int [B, S] -> [B, S, V]; for tests and generation, training never holds them."""
        hidden = self(tokens, positions, cu_seqlens)
        return self.ops.linear(hidden, self.head, _grad(self.head)).view(*tokens.shape, -1)

    def loss(
        self,
        tokens: Tensor,
        labels: Tensor,
        scale: float,
        positions: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        chunk_bytes: int = 1 << 30,
    ) -> tuple[Tensor, Tensor]:
        """tokens, labels int [B, S] -> (scale * sum of token losses, 0-d; token losses in nats, fp32 [T])."""
        hidden = self(tokens, positions, cu_seqlens)
        return self.ops.cross_entropy(
            hidden, self.head, labels.reshape(-1), scale, _grad(self.head), chunk_bytes, IGNORE
        )

    def _norm(self, norm: Norm, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.ops.layernorm(
            x, residual, norm.weight, norm.bias, self.shape.norm_eps, _grad(norm.weight), _grad(norm.bias)
        )

    def _rotary_tables(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        held = self._tables
        if held is None or held[0].shape[0] < length or held[0].device != device:
            held = tables(max(length, self.shape.context), self.shape.rotary_dim, self.shape.rope_base, device)
            self._tables = held
        return held


def init_std(name: str, shape: Shape) -> float:
    """Standard deviation of the normal a parameter starts from; 0 for the norms (gamma is zero-centred)."""
    last = name.rsplit(".", 1)[-1]
    if last in ("weight", "bias"):  # the norms' only
        return 0.0
    return shape.init_std / math.sqrt(2 * shape.layers) if last in ("output", "down") else shape.init_std


def _grad(parameter: nn.Parameter) -> Tensor | None:
    return getattr(parameter, "main_grad", None)
