"""One layer of the model: attention and MLP, each behind a norm that adds the residual, and what they keep.

    h1 = x + residual,   a = attention(rope(norm(h1) Wqkv^T)) Wo^T
    h2 = a + h1,         m = relu(norm(h2) Wup^T)^2 Wdown^T          ->  x = m, residual = h2

Kept between forward and backward, by activation policy, besides q, k, v, the attention's output and the MLP's y:
    all     h1, h2 and both norms' outputs
    lean    h1 and h2; the norms' outputs are computed again, by the same op from the same h: the same bits
    full    h1 alone, nothing else; the whole layer but its last product is computed again (`trainer.model.recompute`)

Over n tensor-parallel ranks x, residual and the norms have the rank's T / n rows of the sequence, q, k, v and y all T
rows of the rank's heads and its part of the MLP's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gristmill.kernels.gpu.registry import Ops
from gristmill.trainer.model.recompute import recomputed
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Group
from gristmill.trainer.parallel.linear import Again, column_linear, row_linear

Policy = Literal["all", "lean", "full"]


@dataclass(frozen=True)
class Sequences:
    """What all layers are told about the batch: positions int [B, S], borders of documents, rotary tables [S, r/2]."""

    positions: Tensor
    cu_seqlens: Tensor | None
    cos: Tensor
    sin: Tensor


class Norm(nn.Module):
    """LayerNorm with the residual's addition; `weight` is zero-centred, used as 1 + weight. Whole on every rank."""

    def __init__(self, hidden: int, ops: Ops, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden))
        self.bias = nn.Parameter(torch.empty(hidden))
        self._ops, self._eps = ops, eps

    def forward(self, x: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """x, residual [rows, h] -> (normed, h = x + residual)."""
        return self._ops.layernorm(
            x, residual, self.weight, self.bias, self._eps, main_grad(self.weight), main_grad(self.bias)
        )

    def again(self, h: Tensor) -> Again:
        """How `forward`'s first result follows from its second."""
        op, eps = self._ops.layernorm, self._eps
        return Again(lambda h, weight, bias: op(h, None, weight, bias, eps)[0], (h, self.weight, self.bias))


class Layer(nn.Module):
    """Parameters of one layer; the rows of `qkv` are the rank's query heads, then its key heads, then its value heads.

    name: "layers.7", for the collectives.
    """

    def __init__(self, shape: Shape, ops: Ops, tensor: Group, policy: Policy, name: str):
        super().__init__()
        h, d, n = shape.hidden, shape.head_dim, tensor.size
        self._shape, self._ops, self._tensor, self._policy, self._name = shape, ops, tensor, policy, name
        self._heads, self._kv_heads = shape.heads // n, shape.kv_heads // n
        self.attention_norm = Norm(h, ops, shape.norm_eps)
        self.qkv = nn.Parameter(torch.empty((self._heads + 2 * self._kv_heads) * d, h))
        self.output = nn.Parameter(torch.empty(h, self._heads * d))
        self.mlp_norm = Norm(h, ops, shape.norm_eps)
        self.up = nn.Parameter(torch.empty(shape.ffn // n, h))
        self.down = nn.Parameter(torch.empty(h, shape.ffn // n))

    def forward(self, x: Tensor, residual: Tensor | None, batch: Sequences) -> tuple[Tensor, Tensor, object]:
        """x, residual [T / n, h] (None before the first layer) -> (x, residual, last node of this layer's backward)."""
        if self._policy == "full" and torch.is_grad_enabled():
            x, after = recomputed(lambda x, residual, output: self._run(x, residual, batch, output), x, residual)
            return x, after, x.grad_fn
        x, after, h = self._run(x, residual, batch, True)
        return x, after, h.grad_fn

    def _run(self, x: Tensor, residual: Tensor | None, batch: Sequences, output: bool) -> tuple[Tensor, Tensor, Tensor]:
        x, h = self.attention_norm(x, residual)
        qkv = self._column(self.attention_norm, x, h, "qkv")  # (T, (heads + 2 kv) d)
        x = self._row(self._attention(qkv, batch), "output", True)  # (T / n, h)
        x, after = self.mlp_norm(x, h)
        y = self._ops.squared_relu(self._column(self.mlp_norm, x, after, "up"))  # (T, f / n)
        return self._row(y, "down", output), after, h

    def _attention(self, qkv: Tensor, batch: Sequences) -> Tensor:
        """qkv [T, (heads + 2 kv) d] -> [T, heads d], of this rank's heads."""
        ops, d, heads, kv = self._ops, self._shape.head_dim, self._heads, self._kv_heads
        qkv = ops.rope(qkv.view(-1, heads + 2 * kv, d), heads + kv, batch.cos, batch.sin, batch.positions.reshape(-1))
        q, k, v = qkv.view(*batch.positions.shape, -1, d).split([heads, kv, kv], dim=2)  # (B, S, heads | kv | kv, d)
        return ops.attention(q, k, v, d**-0.5, batch.cu_seqlens).reshape(-1, heads * d)

    def _column(self, norm: Norm, x: Tensor, h: Tensor, name: str) -> Tensor:
        weight = getattr(self, name)
        if self._policy == "lean":
            return column_linear(x, weight, main_grad(weight), self._tensor, f"{self._name}.{name}", norm.again(h))
        return column_linear(x, weight, main_grad(weight), self._tensor, f"{self._name}.{name}")

    def _row(self, x: Tensor, name: str, output: bool) -> Tensor:
        weight = getattr(self, name)
        return row_linear(x, weight, main_grad(weight), self._tensor, f"{self._name}.{name}", output)


def main_grad(parameter: nn.Parameter) -> Tensor | None:
    """The fp32 buffer that gradients of the parameter are added to, None where autograd keeps them."""
    return getattr(parameter, "main_grad", None)
