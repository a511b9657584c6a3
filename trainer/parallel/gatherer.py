"""After a step, the parameters: every rank's pieces to every rank, waited for where they are used.

    all-gather of bucket b of `param`, in place: rank r's piece is written by its AdamW, the others arrive

Started by `optimizer_step` as soon as a bucket's piece is stepped, in the order in which the next forward uses them,
and waited for when that forward comes to a part of the model with parameters in the bucket. Per rank and step
(D - 1) / D * n * bytes of the parameters' dtype are received and as many sent (n: elements of the rank's buffers).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gristmill.trainer.flat_groups import FlatGroup, Kind, by_part
from gristmill.trainer.model.nemotron import Part
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group


class Gatherer:
    """Gathers of parameters under way; with one data-parallel rank there is never one."""

    def __init__(self, groups: Sequence[FlatGroup], data: Group):
        self._groups, self._data = groups, data
        self._needed = by_part(groups)
        self._running: dict[tuple[int, int], collectives.Pending] = {}

    def start(self, group: int, bucket: int) -> None:
        """Gathers a bucket of `param` whose own piece is ready; all ranks start the same ones in the same order."""
        if self._data.size == 1:
            return
        flat = self._groups[group]
        start, stop = flat.buckets[bucket]
        name = f"dp.gather.{flat.name}.{bucket}"
        # .data: a version counter of its own. The parameters share one, and those that arrive while the forward runs
        # would count as changes of those that it has saved.
        own, whole = flat.piece("param", *flat.owned[bucket]).data, flat.param.data[start:stop]
        self._running[group, bucket] = collectives.start_all_gather(own, self._data, name, out=whole)

    def before_forward(self, part: Part) -> None:
        """Waits for the buckets in which parameters of `part` lie."""
        if self._running:
            for key in self._needed.get(part, ()):
                self._finish(key)

    def wait(self) -> None:
        """Waits for every bucket."""
        for key in list(self._running):
            self._finish(key)

    def gathered(self, group: FlatGroup, kind: Kind) -> Tensor:
        """A sharded buffer of n / D elements from every rank, put together: [n], in memory of its own."""
        whole = torch.empty_like(group.param, dtype=getattr(group, kind).dtype)
        for i, (start, stop) in enumerate(group.buckets):
            own = group.piece(kind, *group.owned[i])
            collectives.all_gather(own, self._data, f"dp.gather.{kind}.{group.name}.{i}", out=whole[start:stop])
        return whole

    def _finish(self, key: tuple[int, int]) -> None:
        if key in self._running:
            self._running.pop(key).wait()
