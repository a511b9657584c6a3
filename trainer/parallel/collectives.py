"""The collectives of training: all-gather, reduce-scatter and all-reduce over an explicit `Group`.

    all_gather       [n, ...] on each rank  ->  [size * n, ...], the ranks' rows one after the other
    reduce_scatter   [size * n, ...]        ->  [n, ...], this rank's rows of the sum
    all_reduce       [...]                  ->  the sum, in place

A group of size 1 is the identity and records nothing. Each has a `start_` form that returns a `Pending`; what was
handed in must not be written before `wait()`. Sums are added in the order the backend fixes for a group, the same in
every run; nothing depends on who arrives first.

Every call has a name ("tp.gather.layers.7.qkv") and leaves a `Record` in a small ring, so that a hang can be explained
by what this rank waits in. What others issue (the cross entropy's exchange, pipeline sends) is recorded by `named`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gristmill.trainer.parallel.groups import Group

KEPT = 64
"""Records that are kept: a layer issues ten a micro-batch."""

_ring: deque[Record] = deque(maxlen=KEPT)
_counting: list[list[Record]] = []


@dataclass(eq=False)
class Record:
    """One collective of this rank; times are `time.time()`, in seconds.

    bytes: of the whole tensor, gathered or before it is scattered. With a ring each rank sends (size - 1) / size of
    that, twice as much for an all-reduce. finished: when the wait for it returned, on a GPU when that was queued.
    """

    name: str
    kind: str
    bytes: int
    group: Group
    started: float = field(default_factory=time.time)
    finished: float | None = None
    event: Any = None  # CUDA event behind the wait

    def done(self) -> bool:
        """Has it happened, on the GPU too; safe to ask from another thread."""
        return self.finished is not None and (self.event is None or self.event.query())

    def _finish(self) -> None:
        if torch.cuda.is_initialized():
            event = torch.cuda.Event()
            event.record()
            self.event = event
        self.finished = time.time()


class Pending:
    """A collective under way; `wait()` returns its result, on a GPU once the current stream waits for it."""

    def __init__(self, result: Tensor, work: Any = None, record: Record | None = None, source: Tensor | None = None):
        self._result, self._work, self._record = result, work, record
        self._source = source  # alive until the other stream has read it

    def wait(self) -> Tensor:
        if self._work is not None:
            self._work.wait()
        if self._record is not None:
            self._record._finish()
        self._work = self._record = self._source = None
        return self._result


def all_gather(x: Tensor, group: Group, name: str, out: Tensor | None = None) -> Tensor:
    """x [n, ...] -> [size * n, ...] in the order of the ranks. out: where to put it; x may be its own part of it."""
    return _all_gather(x, group, name, out, False).wait()


def start_all_gather(x: Tensor, group: Group, name: str, out: Tensor | None = None) -> Pending:
    """As `all_gather`, under way when it returns."""
    return _all_gather(x, group, name, out, True)


def reduce_scatter(x: Tensor, group: Group, name: str, out: Tensor | None = None) -> Tensor:
    """x [size * n, ...] -> [n, ...], this rank's rows of the sum. out: where to put it."""
    return _reduce_scatter(x, group, name, out, False).wait()


def start_reduce_scatter(x: Tensor, group: Group, name: str, out: Tensor | None = None) -> Pending:
    """As `reduce_scatter`, under way when it returns."""
    return _reduce_scatter(x, group, name, out, True)


def all_reduce(x: Tensor, group: Group, name: str) -> Tensor:
    """x, of any shape and contiguous, becomes its sum over the ranks; returns x."""
    return _all_reduce(x, group, name, False).wait()


def start_all_reduce(x: Tensor, group: Group, name: str) -> Pending:
    """As `all_reduce`, under way when it returns."""
    return _all_reduce(x, group, name, True)


def record(name: str, kind: str, size: int, group: Group) -> Record:
    """Notes a collective or transfer of `size` bytes that begins now; hand it to the `Pending` that waits for it."""
    made = Record(name, kind, size, group)
    _ring.append(made)
    for records in _counting:
        records.append(made)
    return made


@contextmanager
def named(name: str, kind: str, size: int, group: Group) -> Iterator[None]:
    """Records what the block issues by itself as one collective of `size` bytes; nothing for a group of size 1."""
    made = record(name, kind, size, group) if group.size > 1 else None
    yield  # where this raises, the record stays unfinished
    if made is not None:
        made._finish()


def recent() -> list[Record]:
    """The last collectives of this process, oldest first."""
    return list(_ring.copy())


@contextmanager
def counted() -> Iterator[list[Record]]:
    """A list that receives every record made inside the block, also those beyond the ring's length."""
    records: list[Record] = []
    _counting.append(records)
    try:
        yield records
    finally:
        _counting.remove(records)


def _all_gather(x: Tensor, group: Group, name: str, out: Tensor | None, asynchronous: bool) -> Pending:
    if group.size == 1:
        return Pending(_into(x, out))
    x = x.contiguous()
    if out is None:
        out = x.new_empty(group.size * x.shape[0], *x.shape[1:])
    made = record(name, "all_gather", out.numel() * out.element_size(), group)
    work = dist.all_gather_single(out, x, group=group.handle, async_op=asynchronous)
    return Pending(out, work, made, x)


def _reduce_scatter(x: Tensor, group: Group, name: str, out: Tensor | None, asynchronous: bool) -> Pending:
    if group.size == 1:
        return Pending(_into(x, out))
    x = x.contiguous()
    if out is None:
        out = x.new_empty(x.shape[0] // group.size, *x.shape[1:])
    made = record(name, "reduce_scatter", x.numel() * x.element_size(), group)
    work = dist.reduce_scatter_single(out, x, group=group.handle, async_op=asynchronous)
    return Pending(out, work, made, x)


def _all_reduce(x: Tensor, group: Group, name: str, asynchronous: bool) -> Pending:
    if group.size == 1:
        return Pending(x)
    made = record(name, "all_reduce", x.numel() * x.element_size(), group)
    return Pending(x, dist.all_reduce(x, group=group.handle, async_op=asynchronous), made)


def _into(x: Tensor, out: Tensor | None) -> Tensor:
    return x if out is None else out.copy_(x)  # a copy onto itself is free
