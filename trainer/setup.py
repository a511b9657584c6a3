"""From a configuration to the parts of a run: groups, schedule, loader, shape, then the model with its state.

`plan_run` opens the shards but builds no model (replay needs no more); `build` adds the model in flat buffers.
Whatever does not fit together is said here, before anything is computed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gristmill.trainer.config.keys import Config, Parallel
from gristmill.trainer.config.schedule import Schedule
from gristmill.trainer.data.loader import Loader
from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.shape import Shape
from gristmill.trainer.parallel.groups import Groups, make_groups
from gristmill.trainer.parallel.pipeline_schedule import problem

if TYPE_CHECKING:
    import torch

    from gristmill.kernels.gpu.registry import Ops
    from gristmill.trainer.model.nemotron import Nemotron
    from gristmill.trainer.state import FlatState


@dataclass(frozen=True)
class Run:
    config: Config
    groups: Groups
    schedule: Schedule
    loader: Loader
    shape: Shape

    def identities(self) -> list[list[str]]:
        """Per phase, the checksums of the manifests it reads: what a checkpoint remembers of the data."""
        return [
            [self.loader.sets[i].identity.hex() for i in self.loader.members(phase)]
            for phase in range(len(self.config.phases))
        ]


@dataclass(frozen=True)
class Built:
    """This rank's part of the model with its state, on its device: one chunk, or several of an interleaved pipeline."""

    chunks: list[Nemotron]
    state: FlatState
    ops: Ops
    device: torch.device

    @property
    def model(self) -> Nemotron:
        """The whole depth of the model, where there is no pipeline."""
        return self.chunks[0]


def plan_run(config: Config, groups: Groups | None = None) -> Run:
    """Opens every shard set of the configuration. ConfigError where data, model and layout do not fit together.

    groups: None makes those of `parallel:`, which starts torch.distributed where there are several processes.
    """
    if groups is None:
        groups = make_groups(config.parallel.tensor, config.parallel.pipeline, _data_parallel(config.parallel))
    schedule = Schedule(config.phases, config.sequence())
    if schedule.sequence % groups.tensor.size:
        raise ConfigError(
            f"sequence_length {schedule.sequence:,} cannot be split evenly over {groups.tensor.size} tensor-parallel "
            "ranks: change it or parallel.tensor"
        )
    loader = Loader(config.phases, schedule, config.seed, config.data.block_samples)
    first = loader.sets[0]
    for other in loader.sets[1:]:
        if other.manifest["tokenizer_sha256"] != first.manifest["tokenizer_sha256"]:
            raise ConfigError(
                f"{other.folder}: made with another tokenizer than {first.folder}: use one for all shards"
            )
    shape = config.model.shape(first.vocab_size)
    if first.vocab_size > shape.vocab_size:
        raise ConfigError(
            f"{first.folder}: its tokenizer has {first.vocab_size:,} pieces, the model {shape.vocab_size:,}: "
            "set model.overrides.vocab_size to 'from shards'"
        )
    return Run(config, groups, schedule, loader, shape)


def check_batches(run: Run, samples: int) -> str | None:
    """ConfigError where a batch still to come does not suit the ranks; a remark where it leaves some of them idle."""
    data, parallel, remark = run.groups.data.size, run.config.parallel, None
    ahead = [s for s in run.schedule.stretches if s.end > samples * run.schedule.sequence]
    for sequences in sorted({stretch.sequences for stretch in ahead}):
        if sequences < data:
            raise ConfigError(
                f"batch_ramp: a step of {sequences:,} sequences is too small for {data:,} data-parallel ranks: start "
                "with fewer processes, more of them tensor-parallel, or a larger batch"
            )
        least, most = sequences // data, -(-sequences // data)
        for share in (least, most):
            micro_batches = -(-share // run.config.micro_batch_size)
            if trouble := problem(run.groups.pipeline.size, parallel.virtual_stages, micro_batches):
                raise ConfigError(f"a step of {sequences:,} sequences: {trouble}")
        if least != most and remark is None:
            remark = (
                f"a step of {sequences:,} sequences over {data:,} data-parallel ranks gives some {most:,} and some "
                f"{least:,}: these wait, {1 - sequences / (most * data):.0%} of the time is idle"
            )
    return remark


def build(run: Run) -> Built:
    """This rank's part of the model on its device, parameters uninitialised (zero)."""
    import torch

    from gristmill.kernels.gpu import registry
    from gristmill.trainer.parallel.pipeline import build_chunks
    from gristmill.trainer.state import FlatState

    config, parallel = run.config, run.config.parallel
    wanted = config.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda is not available here: install a GPU build of torch, or set device: cpu")
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    device = torch.device(kind)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; torch asks for it
        torch.use_deterministic_algorithms(True, warn_only=True)  # an op that has no such form is named, not refused
    ops = registry.load(kind, config.kernels)
    with torch.device("meta"):
        chunks = build_chunks(run.shape, ops, run.groups, config.activations, parallel.virtual_stages)
    bucket = parallel.bucket_mb and parallel.bucket_mb * (1 << 20) // 4
    dtype, reduce_dtype = getattr(torch, config.dtype), getattr(torch, parallel.reduce_dtype)
    return Built(chunks, FlatState(chunks, dtype, device, run.groups, bucket, reduce_dtype), ops, device)


def _data_parallel(parallel: Parallel) -> int:
    """parallel.data, or as many as the processes started allow."""
    if parallel.data is not None:
        return parallel.data
    started, others = int(os.environ.get("WORLD_SIZE", "1")), parallel.tensor * parallel.pipeline
    if started % others and started > 1:
        raise ConfigError(
            f"parallel: tensor {parallel.tensor} x pipeline {parallel.pipeline} does not divide the {started} "
            "processes that were started: start another number, or change parallel"
        )
    return max(1, started // others)
