"""Process groups, passed explicitly: what every part of the trainer is told about parallelism.

`Groups` is made once at the start and handed to the model, the optimizer state, the loader and the checkpoints;
nothing asks a global. Ranks are laid out tensor first, then data, then pipeline:

    rank = tensor rank + tensor size * (data rank + data size * pipeline rank)

so that the tensor-parallel ranks, which exchange most, are neighbours within a node.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from gristmill.trainer.errors import ConfigError


@dataclass(frozen=True)
class Group:
    """One dimension of the mesh: this process's rank in it, its size, and torch's process group (None for size 1)."""

    rank: int = 0
    size: int = 1
    handle: Any = None


@dataclass(frozen=True)
class Groups:
    """world: all processes. Each of the others holds the processes that differ from this one in that rank only."""

    tensor: Group = Group()
    pipeline: Group = Group()
    data: Group = Group()
    world: Group = Group()


def make_groups(tensor: int, pipeline: int, data: int) -> Groups:
    """The groups of this process for the sizes of `parallel:`.

    For one process no torch.distributed is needed. For more, this process must have been started by torchrun, or
    torch.distributed be initialised already (tests do that with gloo and with a fake group). ConfigError where the
    number of processes is not tensor * pipeline * data.
    """
    wanted = tensor * pipeline * data
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if wanted == 1 and started == 1:
        return Groups()
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        if started != wanted:
            raise ConfigError(
                f"parallel: tensor {tensor} x pipeline {pipeline} x data {data} asks for {wanted} processes and "
                f"{started} {'was' if started == 1 else 'were'} started: start with torchrun --nproc-per-node N "
                "-m trainer run CONFIG, nodes x N processes in all, or change parallel"
            )
        gpus, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
        if local < gpus:  # more processes than GPUs are for `device: cpu`
            torch.cuda.set_device(local)
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    if dist.get_world_size() != wanted:
        raise ConfigError(
            f"parallel: tensor {tensor} x pipeline {pipeline} x data {data} asks for {wanted} processes, "
            f"there are {dist.get_world_size()}: change parallel, or start another number"
        )
    rank = dist.get_rank()
    t, d, p = rank % tensor, rank // tensor % data, rank // (tensor * data)

    mesh = torch.arange(wanted).view(pipeline, data, tensor)
    return Groups(
        tensor=Group(t, tensor, _own(mesh.reshape(-1, tensor), rank)),
        data=Group(d, data, _own(mesh.transpose(1, 2).reshape(-1, data), rank)),
        pipeline=Group(p, pipeline, _own(mesh.permute(1, 2, 0).reshape(-1, pipeline), rank)),
        world=Group(rank, wanted, dist.group.WORLD if wanted > 1 else None),
    )


def _own(rows: Any, rank: int) -> Any:
    """torch's group of the row that holds this process; every process makes all rows' groups, in the same order."""
    import torch.distributed as dist

    if rows.shape[1] == 1:
        return None
    mine, _ = dist.new_subgroups_by_enumeration(rows.tolist())
    return mine
