"""What the ranks of a run tell one another about checkpoints: a few integers, summed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist

from gristmill.trainer.parallel.collectives import all_reduce
from gristmill.trainer.parallel.groups import Group, Groups

ALONE = Groups()
"""One process, which reads a checkpoint for itself."""


def total(values: Sequence[int], group: Group) -> list[int]:
    """Sum over the group of each value; collective. A rank's own value reaches all where the others give 0."""
    if group.size == 1:
        return list(values)
    device = "cuda" if dist.get_backend(group.handle) == "nccl" else "cpu"
    return all_reduce(torch.tensor(values, dtype=torch.int64, device=device), group, "checkpoint.agree").tolist()
