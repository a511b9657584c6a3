"""From a configuration to the parts of a run: groups, schedule, loader, shape, then the model with its state.

`plan_run` opens the shards but builds no model (replay needs no more); `build` adds the model in flat buffers.
Whatever does not fit together is said here, before anything is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config import Config
from trainer.data.loader import Loader
from trainer.errors import ConfigError
from trainer.parallel.groups import Groups, make_groups
from trainer.schedule import Schedule
from trainer.shape import Shape

if TYPE_CHECKING:
    import torch

    from kernels.gpu.registry import Ops
    from trainer.model import Nemotron
    from trainer.state import FlatState


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
    """A model with its state, on its device."""

    model: Nemotron
    state: FlatState
    ops: Ops
    device: torch.device


def plan_run(config: Config) -> Run:
    """Opens every shard set of the configuration. ConfigError where data, model and layout do not fit together."""
    parallel = config.parallel
    groups = make_groups(parallel.tensor, parallel.pipeline, parallel.data)
    schedule = Schedule(config.phases, config.sequence())
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


def build(run: Run) -> Built:
    """The model on its device, parameters uninitialised (zero)."""
    import torch

    from kernels.gpu import registry
    from trainer.model import Nemotron
    from trainer.state import FlatState

    wanted = run.config.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda is not available here: install a GPU build of torch, or set device: cpu")
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    device = torch.device(kind)
    ops = registry.load(kind, run.config.kernels)
    with torch.device("meta"):
        model = Nemotron(run.shape, ops)
    state = FlatState(model, getattr(torch, run.config.dtype), device, run.groups.data)
    return Built(model, state, ops, device)
