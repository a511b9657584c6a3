"""Flat buffers: the parameters, gradients and optimizer state of one weight-decay group, each in one tensor.

n elements, of which every data-parallel rank owns n / D (ZeRO-1):

    param      [n]      training dtype   the parameters are views of it; gathered after each step
    main_grad  [n]      fp32             gradients accumulate here; reduced into the owned ranges
    main, exp_avg, exp_avg_sq  [n / D]   fp32: the shard, this rank's piece of every bucket one after the other

n is this rank's part of the model under tensor and pipeline parallelism, padded. Where training is fp32, `main` is
`param` itself ([n], of which the rank steps what it owns) and nothing is stored twice. With one data-parallel rank the
shard is the whole.

Groups: "decay" (every matrix, the embeddings too) and "no_decay" (norm weights and biases, the 1-D parameters, which
every tensor-parallel rank holds whole). The cut is `trainer.parallel.buckets`. Nothing is communicated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gristmill.trainer.model.nemotron import Part
from gristmill.trainer.parallel import buckets as cutting
from gristmill.trainer.parallel.groups import Group

Kind = Literal["param", "main_grad", "main", "exp_avg", "exp_avg_sq"]


@dataclass
class FlatGroup:
    """Buffers of one weight-decay group, and where each parameter lies: name -> (start, shape).

    buckets: (start, stop) in [0, n). owned: (flat_start, flat_stop, shard_start) of what this rank steps.
    """

    name: str
    param: Tensor
    main_grad: Tensor
    main: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    places: dict[str, tuple[int, torch.Size]]
    buckets: list[tuple[int, int]]
    owned: list[tuple[int, int, int]]

    @property
    def replicated(self) -> bool:
        """Whether every tensor-parallel rank holds these parameters whole."""
        return self.name == "no_decay"

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """Parameter name -> view of `buffer`, any of this group's with n elements."""
        return {name: buffer[start : start + shape.numel()].view(shape) for name, (start, shape) in self.places.items()}

    def piece(self, kind: Kind, flat_start: int, flat_stop: int, shard_start: int) -> Tensor:
        """1-D view of owned elements, in a buffer of n or of n / D elements."""
        buffer = getattr(self, kind)
        start = flat_start if buffer.numel() == self.param.numel() else shard_start
        return buffer[start : start + flat_stop - flat_start]

    def pieces(self, kind: Kind) -> list[Tensor]:
        """The owned ranges of a buffer, 1-D views; one for each entry of `owned`."""
        return [self.piece(kind, *place) for place in self.owned]


def allocate(
    name: str,
    shapes: dict[str, torch.Size],
    dtype: torch.dtype,
    device: torch.device | str,
    data: Group,
    bucket_elements: int,
) -> FlatGroup:
    """Buffers of zeros for parameters of these shapes, one after the other in this order, each aligned."""
    places, end = {}, 0
    for parameter, shape in shapes.items():
        places[parameter] = (end, shape)
        end += cutting.align(shape.numel())
    size = cutting.align(end, data.size)
    buckets = cutting.cut(size, bucket_elements, data.size)

    def buffer(elements: int, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(elements, dtype=kind, device=device)

    shard = size // data.size
    param = buffer(size, dtype)
    main = param if dtype == torch.float32 else buffer(shard)
    owned = cutting.owned(buckets, data.rank, data.size)
    return FlatGroup(name, param, buffer(size), main, buffer(shard), buffer(shard), places, buckets, owned)


def part_of(name: str) -> Part:
    """Which part of the model a parameter belongs to, as the model's callbacks call it."""
    if name.startswith("layers."):
        return int(name.split(".", 2)[1])
    return "embedding" if name == "embedding" else "head"


def by_part(groups: Sequence[FlatGroup]) -> dict[Part, list[tuple[int, int]]]:
    """Part of the model -> (index of the group, of the bucket) of each bucket its parameters lie in, ascending."""
    found: dict[Part, set[tuple[int, int]]] = {}
    for g, group in enumerate(groups):
        for name, (start, shape) in group.places.items():
            here = cutting.touched(group.buckets, start, start + shape.numel())
            found.setdefault(part_of(name), set()).update((g, b) for b in here)
    return {part: sorted(keys) for part, keys in found.items()}
