"""The sum of gradients over data-parallel ranks, bucket by bucket while the backward still runs (ZeRO-1).

    own piece of bucket b of main_grad <- sum over ranks of that piece        reduce-scatter, in place, fp32

A bucket is started when the last backward of the step has passed every part of the model with parameters in it, and
all are waited for in `finish`, before the gradients' norm. The order is that of the backward, on every rank, also on
one with fewer micro-batches than others or none. There is no second gradient buffer. No division: the loss carries
1 / tokens of the whole step. Gradients of the norms, of which every tensor-parallel rank has seen its rows of the
sequence only, are then summed over the tensor-parallel ranks, owned ranges alone.

reduce_dtype bfloat16: gradients accumulate in fp32 over the micro-batches of this rank as always, are rounded once,
travel as bf16 and are added up in fp32 in the order of the ranks. That is an all-to-all, because a reduce-scatter of
bf16 would round after each of D - 1 additions. The bucket's own 4 bytes an element hold what is sent and what is
received; beyond them one bucket of bf16 is needed for a moment.

Sent per rank and step, n elements of the rank's buffers over D ranks: (D - 1) / D * n * 4 bytes (bf16: 2), and for the
norms an all-reduce of 4 bytes * their elements / D over the T tensor-parallel ranks, where T > 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from gristmill.trainer.flat_groups import FlatGroup, by_part
from gristmill.trainer.model.nemotron import Part
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group, Groups

Key = tuple[int, int]
"""(index of the group, index of the bucket)."""


class Reducer:
    """Reductions of one step: `reset` (by zero_grad), backwards, `finish`. Nothing happens on a single process."""

    def __init__(self, groups: Sequence[FlatGroup], mesh: Groups, dtype: torch.dtype):
        self._groups, self._mesh, self._dtype = groups, mesh, dtype
        self._touched = by_part(groups)
        self._order = _backward_order(self._touched)
        self._backwards: dict[Part, int] = {}  # still to come, of each part
        self._open: dict[Key, int] = {}  # parts of each bucket whose gradients are not final yet
        self._final: set[Key] = set()  # all gradients there, in this step
        self._running: dict[Key, collectives.Pending | _Exchange] = {}  # in the order of their start
        self._finished = False

    def last_micro_batch(self) -> None:
        """Called before the backward after which gradients are final: buckets are reduced as it passes them."""
        self.expect(1)

    def expect(self, backwards: int) -> None:
        """The same, said earlier: gradients of a part are final once its backward has run `backwards` times from now.

        For pipelines, where the last backward of one part comes before that of another micro-batch of a later one.
        """
        self._backwards = dict.fromkeys(self._touched, backwards)
        self._open = Counter(key for keys in self._touched.values() for key in keys)

    def after_backward(self, part: Part) -> None:
        """The model's callback: gradients of `part` have been added for one micro-batch."""
        if part not in self._backwards:  # not announced as the last one
            return
        self._backwards[part] -= 1
        if self._backwards[part] < 0:
            raise RuntimeError(f"the backward of {part} ran again after the last micro-batch of the step")
        if self._backwards[part] == 0:
            for key in self._touched[part]:
                self._open[key] -= 1
                if self._open[key] == 0:
                    self._final.add(key)
            self._start_final()

    def finish(self) -> None:
        """Returns with the step's gradients in the owned ranges of main_grad, the same sums on every call."""
        if self._finished:
            return
        if self._mesh.data.size > 1:
            self._final.update(self._order)  # where no backward was announced as the last
            self._start_final()
            for key, pending in self._running.items():
                pending.wait()
                self._received(key)
            self._running = {}
        if self._mesh.tensor.size > 1:
            for group in self._groups:
                if group.replicated:
                    for i, piece in enumerate(group.pieces("main_grad")):
                        collectives.all_reduce(piece, self._mesh.tensor, f"tp.reduce.{group.name}.{i}")
        self._backwards, self._final, self._finished = {}, set(), True

    def reset(self) -> None:
        """Gradients are about to be cleared: those still travelling are waited for and forgotten."""
        for pending in self._running.values():
            pending.wait()
        self._running, self._backwards, self._final, self._finished = {}, {}, set(), False

    def _start_final(self) -> None:
        """Starts buckets that are final and whose turn it is: ranks must agree on the order to meet in a collective."""
        for key in self._order[len(self._running) :]:
            if key not in self._final:
                return
            self._start(key)

    def _start(self, key: Key) -> None:
        g, b = key
        group, data = self._groups[g], self._mesh.data
        start, stop = group.buckets[b]
        bucket = group.main_grad[start:stop]
        name = f"dp.reduce.{group.name}.{b}"
        if self._dtype == torch.float32:
            own = group.piece("main_grad", *group.owned[b])
            self._running[key] = collectives.start_reduce_scatter(bucket, data, name, out=own)
        else:
            sent, received = bucket.view(self._dtype).chunk(2)
            sent.copy_(bucket.to(self._dtype))
            self._running[key] = _Exchange(received, sent, data, name)

    def _received(self, key: Key) -> None:
        """Adds up what the ranks sent, in fp32 and their order."""
        if self._dtype == torch.float32:
            return
        g, b = key
        group = self._groups[g]
        start, stop = group.buckets[b]
        _, received = group.main_grad[start:stop].view(self._dtype).chunk(2)
        first, *others = received.view(self._mesh.data.size, -1)
        total = first.float()
        for other in others:
            total += other
        group.piece("main_grad", *group.owned[b]).copy_(total)


def _backward_order(touched: dict[Part, list[Key]]) -> list[Key]:
    """The buckets as a backward through head, layers and embedding leaves them final."""
    place = {"head": float("inf"), "embedding": -1.0}
    passed = sorted(touched, key=lambda part: place[part] if isinstance(part, str) else float(part))  # last one first
    return list(dict.fromkeys(key for part in passed for key in touched[part]))[::-1]


class _Exchange:
    """An all-to-all under way: piece r of `sent` goes to rank r, pieces arrive in the order of the ranks."""

    def __init__(self, received: Tensor, sent: Tensor, group: Group, name: str):
        self._recording = collectives.named(name, "all_to_all", sent.numel() * sent.element_size(), group)
        self._recording.__enter__()
        self._work = dist.all_to_all_single(received, sent, group=group.handle, async_op=True)

    def wait(self) -> None:
        self._work.wait()
        self._recording.__exit__(None, None, None)
