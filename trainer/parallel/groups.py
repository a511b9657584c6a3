"""Process groups, passed explicitly: what every part of the trainer is told about parallelism.

`Groups` is made once at the start and handed to the model, the optimizer state, the loader and the checkpoints;
nothing asks a global. Now there is one process, so every group has size 1 and every collective is the identity;
the sizes asked for in the configuration are checked here, in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.errors import ConfigError


@dataclass(frozen=True)
class Group:
    """One dimension of the mesh: this process's rank in it, its size, and torch's process group (None for size 1)."""

    rank: int = 0
    size: int = 1
    handle: Any = None


@dataclass(frozen=True)
class Groups:
    tensor: Group = Group()
    pipeline: Group = Group()
    data: Group = Group()


def make_groups(tensor: int, pipeline: int, data: int) -> Groups:
    """The groups of this process for the sizes of `parallel:`."""
    if tensor * pipeline * data > 1:
        raise ConfigError(
            f"parallel: tensor {tensor} x pipeline {pipeline} x data {data} asks for {tensor * pipeline * data} "
            "processes, this version trains with one: set parallel.tensor, parallel.pipeline and parallel.data to 1"
        )
    return Groups()
