"""Pipeline parallelism: a step's micro-batches through the chunks of the model (interleaved 1F1B).

Rank r of p pipeline ranks holds chunks r, p + r, 2p + r ... of p * v (v: `parallel.virtual_stages`), each a `Nemotron`
of a few layers under their global names, so that state, checkpoints and export know nothing of the cut
(`trainer.parallel.chunks`). Order, bubble and the number of micro-batches in flight:
`trainer.parallel.pipeline_schedule`. Between chunks travels one tensor [T / n, h] in the parameters' dtype (n
tensor-parallel ranks, of which each speaks to its counterpart): x + residual, which the next chunk's first norm would
form anyway, and back its gradient, which is x's and residual's alike.

    sent by a rank in a step     2 m v tensors [T / n, h], m fewer by the first and by the last rank
    held of each (chunk, micro-batch) in flight     what the chunk's layers keep by policy: the tensor received is the
                                                    first h that they keep, the tensor sent is free once it is sent
    held besides     tensors received ahead, 1 to 5, and those not yet away, at most SENDS

Schedule and runner are ours. torch.distributed.pipelining (2.13) was tried first: its shape inference runs a forward
and a backward of every stage on uninitialised memory before the first step, which our kernels add to `main_grad`;
shapes are fixed, so that a last, smaller micro-batch fails; micro-batches with their own `cu_seqlens` fit no public
call; buffers to receive in are held for all micro-batches of a step at once, where 1F1B needs a few; the number of
micro-batches is fixed, so that each stage of a batch ramp starts anew; and its transfers cannot be named or watched.

Not here: the cut of the batch, the optimizer, and telling other ranks the losses, which the last rank has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from gristmill.kernels.gpu.registry import Ops
from gristmill.trainer.model.layers import Policy
from gristmill.trainer.model.nemotron import Nemotron, window_positions
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.chunks import cut, head_work
from gristmill.trainer.parallel.collectives import Pending
from gristmill.trainer.parallel.groups import Group, Groups
from gristmill.trainer.parallel.pipeline_schedule import Action, problem, programs, source
from gristmill.trainer.parallel.reducer import Reducer

SENDS = 4
"""Transfers under way before the oldest is waited for: each keeps its tensor alive."""


class MicroBatch(NamedTuple):
    """tokens, labels int [B, S]; positions int [B, S] and cu_seqlens int32 [documents + 1] as `Nemotron.forward`'s."""

    tokens: Tensor
    labels: Tensor
    positions: Tensor | None = None
    cu_seqlens: Tensor | None = None


def build_chunks(
    shape: Shape, ops: Ops | None, groups: Groups, policy: Policy = "lean", virtual: int = 1
) -> list[Nemotron]:
    """This rank's chunks; build them under `torch.device("meta")` and hand the list to `FlatState`.

    Without pipeline parallelism the list is the whole model alone. ConfigError: `cut`, `Nemotron`.
    """
    pipeline = groups.pipeline
    chunks = cut(shape.layers, pipeline.size, virtual, head_work(shape))[pipeline.rank]
    return [Nemotron(shape, ops, groups, policy, *chunk) for chunk in chunks]


def run_micro_batches(
    chunks: Sequence[Nemotron],
    micro_batches: Iterable[MicroBatch],
    count: int,
    scale: float,
    groups: Groups,
    reducer: Reducer | None = None,
    backward: bool = True,
    chunk_bytes: int = 1 << 30,
) -> tuple[Tensor | None, list[Tensor]]:
    """Forward and backward of a step's `count` micro-batches -> (sum of losses, token losses), on the last rank.

    chunks: of `build_chunks`. micro_batches: the same ones on every pipeline and tensor rank, of any lengths that the
    tensor ranks divide; taken from the iterator one by one, when their first forward comes. scale: of each token's
    loss, 1 / tokens of the whole step. reducer: told which backward is the last of each part, so that its sums over
    data-parallel ranks start while others still run. backward=False: losses only, for evaluation, without a graph.

    Gradients are in `main_grad` then, added in the order of the micro-batches, as without a pipeline. The last rank
    gets the sum, fp32 0-d, and for each micro-batch its losses in nats, fp32 [T]; the others (None, []).
    ValueError where `count` does not suit the pipeline (`pipeline_schedule.problem`). For a step of the loop:

        state.zero_grad()
        loss, token_losses = run_micro_batches(chunks, batches, len(pieces), scale, groups, state.reducer)
        norm = optimizer_step(state, ops, settings, learning_rate, number)
    """
    pipeline = groups.pipeline
    if trouble := problem(pipeline.size, len(chunks), count, backward):
        raise ValueError(trouble)
    if reducer is not None and backward:
        reducer.expect(count)
    step = _Step(chunks, iter(micro_batches), scale, groups, chunk_bytes)
    run = {"run": step.run, "send": step.send, "receive": step.receive}
    with torch.set_grad_enabled(backward):
        for what, action in programs(pipeline.size, len(chunks), count, backward)[pipeline.rank]:
            run[what](action)
        step.finish()
    return step.loss, step.token_losses


class _Step:
    """What is under way on this rank in one step."""

    def __init__(
        self, chunks: Sequence[Nemotron], batches: Iterator[MicroBatch], scale: float, groups: Groups, chunk_bytes: int
    ):
        self.loss: Tensor | None = None
        self.token_losses: list[Tensor] = []
        self._chunks, self._scale, self._chunk_bytes = chunks, scale, chunk_bytes
        self._pipeline, self._tensor = groups.pipeline, groups.tensor
        self._batches, self._taken = batches, 0
        self._open: dict[int, MicroBatch] = {}  # until the last action on each
        # (chunk, micro-batch) in flight -> what it received, None where it had tokens; where its backward begins
        self._in_flight: dict[tuple[int, int], tuple[Tensor | None, Tensor | GradientEdge]] = {}
        self._made: dict[Action, Tensor] = {}  # to be sent
        self._coming: dict[Action, Pending] = {}
        self._leaving: deque[Pending] = deque()

    def run(self, action: Action) -> None:
        (self._forward if action.kind == "F" else self._backward)(action)

    def receive(self, action: Action) -> None:
        """Starts to receive what `action` takes: activations of the chunk before, or gradients of the one after."""
        origin = source(self._pipeline.rank, action, self._pipeline.size, len(self._chunks))
        assert origin is not None
        rows = self._batch(action.micro_batch).tokens.numel() // self._tensor.size
        chunk = self._chunks[action.chunk]
        buffer = next(chunk.parameters()).new_empty(rows, chunk.shape.hidden)
        self._coming[action] = _start("receive", buffer, origin[0], self._pipeline, action)

    def send(self, action: Action) -> None:
        """Starts to send what `action` made: activations to the next rank, gradients to the one before."""
        to = self._pipeline.rank + (1 if action.kind == "F" else -1)
        made = self._made.pop(action)
        self._leaving.append(_start("send", made, to % self._pipeline.size, self._pipeline, action))
        if len(self._leaving) > SENDS:
            self._leaving.popleft().wait()

    def finish(self) -> None:
        """Waits until all is sent."""
        while self._leaving:
            self._leaving.popleft().wait()

    def _forward(self, action: Action) -> None:
        chunk, batch = self._chunks[action.chunk], self._batch(action.micro_batch)
        positions = window_positions(batch.tokens) if batch.positions is None else batch.positions
        received = None
        if hasattr(chunk, "embedding"):
            x = chunk.embed_tokens(batch.tokens)
        else:
            x = received = self._coming.pop(action).wait().requires_grad_(torch.is_grad_enabled())
        x, residual = chunk.run_layers(x, None, positions, batch.cu_seqlens)
        root: Tensor | GradientEdge
        if hasattr(chunk, "head"):
            root, token_losses = chunk.hidden_loss(
                chunk.finish(x, residual), batch.labels, self._scale, self._chunk_bytes
            )
            loss = root.detach()
            self.loss = loss if self.loss is None else self.loss + loss
            self.token_losses.append(token_losses.detach())
        else:
            root = x + residual
            self._made[action] = root.detach()
            if root.requires_grad:
                root = get_gradient_edge(root)  # the tensor itself is free once it is sent
        if torch.is_grad_enabled():
            self._in_flight[action.chunk, action.micro_batch] = received, root
        elif action.chunk == len(self._chunks) - 1:
            del self._open[action.micro_batch]

    def _backward(self, action: Action) -> None:
        received, root = self._in_flight.pop((action.chunk, action.micro_batch))
        gradient = self._coming.pop(action).wait() if action in self._coming else None
        torch.autograd.backward((root,), (gradient,))  # type: ignore[arg-type]  # its annotation lacks a mix with edges
        if received is not None:
            assert received.grad is not None
            self._made[action] = received.grad
        if action.chunk == 0:  # backwards go through a rank's chunks from the last to the first
            del self._open[action.micro_batch]

    def _batch(self, number: int) -> MicroBatch:
        while number not in self._open:
            self._open[self._taken] = next(self._batches)
            self._taken += 1
        return self._open[number]


def _start(what: Literal["send", "receive"], tensor: Tensor, peer: int, group: Group, action: Action) -> Pending:
    """A transfer to or from rank `peer` of the group, under way. "pp.send.F.1.5": kind, chunk and micro-batch."""
    name = f"pp.{what}.{action.kind}.{action.chunk}.{action.micro_batch}"
    record = collectives.record(name, what, tensor.numel() * tensor.element_size(), group)
    if what == "send":
        work = dist.isend(tensor, group=group.handle, group_dst=peer)
    else:
        work = dist.irecv(tensor, group=group.handle, group_src=peer)
    return Pending(tensor, work, record, tensor)
