"""The training state: parameters, gradients and AdamW's moments in flat groups, sharded over data-parallel ranks.

Models built on the meta device get their parameters here, as views of flat buffers, one set of buffers per weight-decay
group (`trainer.flat_groups`). The state gives them back by parameter, or piece by piece under logical names, which know
no parallel layout. Bytes per parameter in bf16 training: 6 + 12 / D over D data-parallel ranks (ZeRO-1).

Communication is in `trainer.parallel.reducer` and `trainer.parallel.gatherer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gristmill.trainer.data.permutation import key64
from gristmill.trainer.flat_groups import Kind, allocate
from gristmill.trainer.model.names import logical
from gristmill.trainer.model.nemotron import Nemotron, init_std
from gristmill.trainer.parallel import buckets as cutting
from gristmill.trainer.parallel.gatherer import Gatherer
from gristmill.trainer.parallel.groups import Groups
from gristmill.trainer.parallel.placement import logical_part, logical_split, split_dimension
from gristmill.trainer.parallel.reducer import Reducer


class Piece(NamedTuple):
    """Some elements of one logical weight (`trainer.model.names`) that this rank owns, or of its moments.

    full: global size. local: size of this tensor-parallel rank's part (`placement.logical_part`). data: 1-D view of
    the state, elements start..stop of the flattened local part.
    """

    name: str
    full: torch.Size
    local: torch.Size
    start: int
    stop: int
    data: Tensor


class FlatState:
    """Materialises models built on the meta device into flat buffers of `dtype` on `device`.

    models: the model, or this pipeline rank's chunks of it, in order. bucket_elements: of the data-parallel
    communication, None: `buckets.bucket_size`. reduce_dtype: what gradients travel in (`trainer.parallel.reducer`).
    All ranks of a data-parallel group make the same calls in the same order.
    """

    def __init__(
        self,
        models: Nemotron | Sequence[Nemotron],
        dtype: torch.dtype,
        device: torch.device | str,
        groups: Groups,
        bucket_elements: int | None = None,
        reduce_dtype: torch.dtype = torch.float32,
    ):
        self.models = [models] if isinstance(models, Nemotron) else list(models)
        self.model = self.models[0]
        self.mesh = groups
        members: dict[str, dict[str, torch.Size]] = {"decay": {}, "no_decay": {}}
        holder = {name: model for model in self.models for name, _ in model.named_parameters()}
        for name, parameter in self._parameters():
            members["decay" if parameter.ndim >= 2 else "no_decay"][name] = parameter.shape
        size = bucket_elements or cutting.bucket_size(groups.data.size)
        self.groups = [allocate(name, shapes, dtype, device, groups.data, size) for name, shapes in members.items()]
        for group in self.groups:
            grads = group.views(group.main_grad)
            for name, view in group.views(group.param).items():
                _replace(holder[name], name, view, grads[name])
        self.reducer = Reducer(self.groups, groups, reduce_dtype)
        self.gatherer = Gatherer(self.groups, groups.data)
        if groups.data.size > 1:
            for model in self.models:
                model.after_backward.append(self.reducer.after_backward)
                model.before_forward.append(self.gatherer.before_forward)

    def named(self, kind: Kind) -> dict[str, Tensor]:
        """Parameter name -> view of the whole of it, in its local shape and the model's order.

        "main_grad" holds this rank's own sums until the reduction, after it the data-parallel sum in the owned ranges
        only. ValueError for sharded kinds on several data-parallel ranks, which have no such views: see `full`.
        """
        self._settle(kind)
        out: dict[str, Tensor] = {}
        for group in self.groups:
            buffer = getattr(group, kind)
            if buffer.numel() != group.param.numel():
                raise ValueError(
                    f"{kind} is sharded over {self.mesh.data.size} data-parallel ranks: use full or pieces"
                )
            out |= group.views(buffer)
        return {name: out[name] for name, _ in self._parameters()}

    def full(self, kind: Kind) -> dict[str, Tensor]:
        """As `named`, gathered from the data-parallel ranks into memory of its own where there are several.

        A collective: every rank of the data-parallel group calls it. Gradients are reduced first if they are not yet,
        so they are those of the whole step.
        """
        if kind == "main_grad":
            self.reducer.finish()
        if self.mesh.data.size == 1 or kind == "param":
            return self.named(kind)
        out: dict[str, Tensor] = {}
        for group in self.groups:
            out |= group.views(self.gatherer.gathered(group, kind))
        return {name: out[name] for name, _ in self._parameters()}

    def pieces(self, kind: Kind) -> Iterator[Piece]:
        """All that this rank owns of `kind`, by logical names, in the model's order; writing to `data` writes it.

        Norms, which every tensor-parallel rank holds whole, come from all of these. After writing "main", `cast_main`.
        """
        self._settle(kind)
        tensor, shape = self.mesh.tensor, self.model.shape
        local_shape = replace(shape, heads=shape.heads // tensor.size, kv_heads=shape.kv_heads // tensor.size)
        where = {name: (group, *group.places[name]) for group in self.groups for name in group.places}
        for parameter, _ in self._parameters():
            group, start, size = where[parameter]
            for name, part in logical(parameter, torch.empty(size, device="meta"), local_shape):
                stop = start + part.numel()  # the logical weights of a parameter follow one another in its rows
                full = _whole(part.shape, logical_split(name), tensor.size)
                for low, high, shard in cutting.within(group.owned, start, stop):
                    data = group.piece(kind, low, high, shard)
                    yield Piece(name, full, part.shape, low - start, high - start, data)
                start = stop

    def cast_main(self) -> None:
        """Parameters from their fp32 main copy, after that was loaded; gathered before they are next used."""
        for g, group in enumerate(self.groups):
            for i, (param, main) in enumerate(zip(group.pieces("param"), group.pieces("main"), strict=True)):
                if group.param is not group.main:
                    param.copy_(main)
                self.gatherer.start(g, i)

    def wait(self) -> None:
        """Returns when every parameter is there: to be called before reading parameters other than by a forward."""
        self.gatherer.wait()

    def zero_grad(self) -> None:
        """Starts a step: all gradients 0, nothing announced to the reducer."""
        self.reducer.reset()
        for group in self.groups:
            group.main_grad.zero_()

    def bytes(self) -> int:
        """Bytes of all buffers of this rank."""
        buffers = (b for g in self.groups for b in (g.param, g.main_grad, g.main, g.exp_avg, g.exp_avg_sq))
        return sum(b.numel() * b.element_size() for b in {id(b): b for b in buffers}.values())

    def _settle(self, kind: Kind) -> None:
        if kind in ("param", "main"):  # in fp32 training they are one
            self.wait()

    def _parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for model in self.models:
            yield from model.named_parameters()


@torch.no_grad()
def initialise(state: FlatState, seed: int) -> None:
    """Every parameter from its own generator, keyed by (seed, name): the same weights under any parallel layout.

    Each rank draws the global tensor on the CPU and keeps its part, one tensor at a time; nothing is communicated.
    """
    state.wait()
    shape, tensor = state.model.shape, state.mesh.tensor
    for group in state.groups:
        for name, param in group.views(group.param).items():
            std = init_std(name, shape)
            start, size = group.places[name]
            if std == 0.0:
                local = torch.zeros(size)
            else:
                generator = torch.Generator().manual_seed(key64(seed, f"init:{name}") >> 1)
                full = _whole(size, split_dimension(name), tensor.size)
                local = torch.randn(full, generator=generator, dtype=torch.float32).mul_(std)
                if tensor.size > 1:
                    local = torch.cat([w[logical_part(n, w.shape, tensor)] for n, w in logical(name, local, shape)])
            param.copy_(local)
            if group.main is not group.param:
                flat = local.reshape(-1)
                for low, high, shard in cutting.within(group.owned, start, start + flat.numel()):
                    group.piece("main", low, high, shard).copy_(flat[low - start : high - start])


def _whole(local: torch.Size, split: int | None, ranks: int) -> torch.Size:
    """The global size of a tensor of which each of `ranks` holds `local`."""
    return torch.Size(size * ranks if dim == split else size for dim, size in enumerate(local))


def _replace(model: nn.Module, name: str, view: Tensor, grad: Tensor) -> None:
    path, _, last = name.rpartition(".")
    parameter = nn.Parameter(view)
    parameter.main_grad = grad  # type: ignore[attr-defined]
    model.get_submodule(path)._parameters[last] = parameter
