"""Nemotron-4 in plain torch (Parmar et al. 2024, arXiv 2402.16819).

Notable features: squared ReLU, ungated · LayerNorm with zero-centred gamma and a beta, residual add fused into it ·
rotary embedding on half of each head · grouped-query attention · no biases in linears · untied embeddings ·
no dropout. Every hot op comes from `kernels.gpu.registry`; the layers are in `trainer.model.layers`.

Tokens travel flattened, T = batch * sequence. Over n tensor-parallel ranks every rank is given all T tokens and holds
T / n rows of what is between the layers: embedding and head are split along the vocabulary, the sums over its parts
are reduce-scattered. A parameter may carry `main_grad`, an fp32 buffer of its shape; then the ops' backwards add to
it and `.grad` stays None. The norms' gradients are of the rank's rows only: the optimizer adds them up over the ranks.

One class is the whole model and any pipeline stage of it: layers `first` to `last` - 1 under their global names, with
or without embedding and head. The model knows nothing of flat buffers, optimizer or files, and builds on the meta
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from gristmill.kernels.gpu import registry
from gristmill.kernels.gpu.rope import tables
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.layers import Layer, Norm, Policy, Sequences, main_grad
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.parallel.linear import gather_rows, scatter_rows
from gristmill.trainer.parallel.placement import check_divisible

IGNORE = -1
"""Label of a position that has no loss."""

Part = str | int
"""What comes and goes as one: "embedding", a layer by its index, "head" (with the final norm)."""


class Nemotron(nn.Module):
    """Build under `torch.device("meta")` to count or to materialise later (`trainer.state`).

    groups: of which the tensor group is used. policy: what is kept for the backward (`trainer.model.layers`). first,
    last, embed, head: the part of the model that is held. before_forward is called with each part before its parameters
    are read, after_backward when its gradients are all in `main_grad`. ConfigError where the ranks do not divide the
    shape.
    """

    def __init__(
        self,
        shape: Shape,
        ops: registry.Ops | None = None,
        groups: Groups = Groups(),  # noqa: B008  frozen
        policy: Policy = "lean",
        first: int = 0,
        last: int | None = None,
        embed: bool = True,
        head: bool = True,
    ):
        super().__init__()
        if trouble := check_divisible(shape, groups.tensor.size):
            raise ConfigError(f"parallel.tensor: {trouble}: choose another number of ranks")
        self.shape, self.ops, self.groups, self.policy = shape, ops or registry.load("reference"), groups, policy
        self.before_forward: list[Callable[[Part], None]] = []
        self.after_backward: list[Callable[[Part], None]] = []
        rows = shape.vocab_size // groups.tensor.size
        if embed:
            self.embedding = nn.Parameter(torch.empty(rows, shape.hidden))
        mine = range(first, shape.layers if last is None else last)
        layers = {str(i): Layer(shape, self.ops, groups.tensor, policy, f"layers.{i}") for i in mine}
        self.layers = nn.ModuleDict(layers)
        if head:
            self.final_norm = Norm(shape.hidden, self.ops, shape.norm_eps)
            self.head = nn.Parameter(torch.empty(rows, shape.hidden))
        self._tables: tuple[Tensor, Tensor] | None = None

    def forward(self, tokens: Tensor, positions: Tensor | None = None, cu_seqlens: Tensor | None = None) -> Tensor:
        """tokens int [B, S] -> normed hidden states [T / n, h], T = B * S.

        positions: int [B, S], each token's place in its document (default: in its window).
        cu_seqlens: int32 [documents + 1] over the T tokens; attention then stays within documents.
        """
        if positions is None:
            positions = window_positions(tokens)
        x, residual = self.run_layers(self.embed_tokens(tokens), None, positions, cu_seqlens)
        return self.finish(x, residual)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """tokens int [B, S] -> their rows of the embedding [T / n, h]. ConfigError where n does not divide T."""
        self._announce("embedding")
        tensor, tokens = self.groups.tensor, tokens.reshape(-1)
        if tokens.shape[0] % tensor.size:
            raise ConfigError(
                f"parallel.tensor: {tokens.shape[0]:,} tokens of a micro-batch cannot be split evenly over "
                f"{tensor.size} ranks: change micro_batch_size or sequence_length"
            )
        weight, grad = self.embedding, main_grad(self.embedding)
        if tensor.size == 1:
            x = self.ops.embedding(tokens, weight, grad)
            self._watch("embedding", x.grad_fn)
            return x
        local = tokens - tensor.rank * weight.shape[0]
        elsewhere = (local < 0) | (local >= weight.shape[0])
        x = self.ops.embedding(local.masked_fill(elsewhere, 0), weight, grad)  # row 0 gets zeros from the backward
        self._watch("embedding", x.grad_fn)
        return scatter_rows(x.masked_fill_(elsewhere[:, None], 0.0), tensor, "embedding")  # one rank's row, and zeros

    def run_layers(
        self, x: Tensor, residual: Tensor | None, positions: Tensor, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """x, residual [T / n, h] through this model's layers; residual is None before layer 0. positions int [B, S]."""
        batch = Sequences(positions, cu_seqlens, *self._rotary_tables(positions.shape[-1], positions.device))
        for name, layer in self.layers.items():
            self._announce(int(name))
            x, residual, node = layer(x, residual, batch)
            self._watch(int(name), node)
        return x, cast(Tensor, residual)

    def finish(self, x: Tensor, residual: Tensor) -> Tensor:
        """The final norm: x, residual [T / n, h] -> hidden states [T / n, h]."""
        self._announce("head")
        x, _ = self.final_norm(x, residual)
        self._watch("head", x.grad_fn)
        return x

    def logits(self, tokens: Tensor, positions: Tensor | None = None, cu_seqlens: Tensor | None = None) -> Tensor:
        """tokens int [B, S] -> [B, S, V]; for tests and generation, training never holds them.

        Over several ranks all have the whole of them, without a graph.
        """
        tensor = self.groups.tensor
        hidden = gather_rows(self(tokens, positions, cu_seqlens), tensor, "head")
        z = self.ops.linear(hidden, self.head, main_grad(self.head))
        if tensor.size > 1:
            z = collectives.all_gather(z.detach().t(), tensor, "tp.gather.logits").t()
        return z.reshape(*tokens.shape, -1)

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
        return self.hidden_loss(self(tokens, positions, cu_seqlens), labels, scale, chunk_bytes)

    def hidden_loss(
        self, hidden: Tensor, labels: Tensor, scale: float, chunk_bytes: int = 1 << 30
    ) -> tuple[Tensor, Tensor]:
        """hidden [T / n, h], labels int [B, S] -> as `loss`, the same on every tensor-parallel rank."""
        tensor, labels = self.groups.tensor, labels.reshape(-1)
        hidden, grad = gather_rows(hidden, tensor, "head"), main_grad(self.head)
        if tensor.size == 1:
            return self.ops.cross_entropy(hidden, self.head, labels, scale, grad, chunk_bytes, IGNORE)
        start, handle = tensor.rank * self.head.shape[0], tensor.handle
        exchanged = labels.shape[0] * 3 * 4 * tensor.size  # maximum, sum of exponentials, target logit, fp32
        with collectives.named("tp.gather.cross_entropy", "all_gather", exchanged, tensor):
            return self.ops.cross_entropy(hidden, self.head, labels, scale, grad, chunk_bytes, IGNORE, handle, start)

    def _announce(self, part: Part) -> None:
        for callback in self.before_forward:
            callback(part)

    def _watch(self, part: Part, node: Any) -> None:
        """Calls after_backward once `node`, the last of the part's backward, has run."""
        if self.after_backward and node is not None:
            node.register_hook(lambda *_: self._finished(part))

    def _finished(self, part: Part) -> None:
        for callback in self.after_backward:
            callback(part)

    def _rotary_tables(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        held = self._tables
        if held is None or held[0].shape[0] < length or held[0].device != device:
            held = tables(max(length, self.shape.context), self.shape.rotary_dim, self.shape.rope_base, device)
            self._tables = held
        return held


def window_positions(tokens: Tensor) -> Tensor:
    """int [B, S]: each token's place in its window, for tokens [B, S]."""
    return torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)


def init_std(name: str, shape: Shape) -> float:
    """Standard deviation of the normal a parameter starts from; 0 for the norms (gamma is zero-centred)."""
    last = name.rsplit(".", 1)[-1]
    if last in ("weight", "bias"):  # the norms' only
        return 0.0
    return shape.init_std / math.sqrt(2 * shape.layers) if last in ("output", "down") else shape.init_std
