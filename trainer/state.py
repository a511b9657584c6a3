"""The training state in flat buffers: one set per weight-decay group.

A set holds `param` [n] in the training dtype, `main_grad` fp32 [n], and for the optimizer `main`, `exp_avg`,
`exp_avg_sq` fp32. Parameters and their `main_grad` are views of these buffers, in the model's order, so that one
kernel steps a whole group and ZeRO-1 is a split of [n] over the data-parallel ranks (n is padded for that).
Where training is fp32, `main` is `param` itself.

Groups: "decay" (every matrix, the embeddings too) and "no_decay" (norm weights and biases, the 1-D parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.data.permutation import key64
from trainer.model import Nemotron, init_std
from trainer.parallel.groups import Group

ALIGN = 128
"""Elements each parameter starts at a multiple of: 256 bytes in bf16, what vectorised kernels and NCCL like."""


@dataclass
class FlatGroup:
    """Buffers of one weight-decay group, and where each parameter lies: name -> (start, shape)."""

    name: str
    param: Tensor
    main_grad: Tensor
    main: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    places: dict[str, tuple[int, torch.Size]]

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """Parameter name -> view of `buffer`, any of this group's."""
        return {name: buffer[start : start + shape.numel()].view(shape) for name, (start, shape) in self.places.items()}


class FlatState:
    """Materialises a model built on the meta device into flat buffers of `dtype` on `device`."""

    def __init__(self, model: Nemotron, dtype: torch.dtype, device: torch.device | str, data: Group):
        self.model = model
        members: dict[str, list[tuple[str, nn.Parameter]]] = {"decay": [], "no_decay": []}
        for name, parameter in model.named_parameters():
            members["decay" if parameter.ndim >= 2 else "no_decay"].append((name, parameter))
        self.groups = [_allocate(name, group, dtype, device, data) for name, group in members.items()]
        for group in self.groups:
            grads = group.views(group.main_grad)
            for name, view in group.views(group.param).items():
                _replace(model, name, view, grads[name])

    def named(self, buffer: str) -> dict[str, Tensor]:
        """Parameter name -> view of the buffer "param", "main_grad", "main", "exp_avg" or "exp_avg_sq"."""
        out: dict[str, Tensor] = {}
        for group in self.groups:
            out |= group.views(getattr(group, buffer))
        return {name: out[name] for name, _ in self.model.named_parameters()}

    def cast_main(self) -> None:
        """Parameters from their fp32 main copy, after that was loaded or initialised."""
        for group in self.groups:
            if group.param is not group.main:
                group.param.copy_(group.main)

    def zero_grad(self) -> None:
        for group in self.groups:
            group.main_grad.zero_()

    def bytes(self) -> int:
        """Bytes of all buffers."""
        buffers = (b for g in self.groups for b in (g.param, g.main_grad, g.main, g.exp_avg, g.exp_avg_sq))
        distinct = {b.data_ptr(): b for b in buffers}  # fp32 training has main and param in one
        return sum(b.numel() * b.element_size() for b in distinct.values())


@torch.no_grad()
def initialise(state: FlatState, seed: int) -> None:
    """Every parameter from its own generator, keyed by (seed, name): the same weights under any parallel layout."""
    for name, main in state.named("main").items():
        std = init_std(name, state.model.shape)
        if std == 0.0:
            main.zero_()
            continue
        generator = torch.Generator().manual_seed(key64(seed, f"init:{name}") >> 1)
        main.copy_(torch.randn(main.shape, generator=generator, dtype=torch.float32).mul_(std))
    state.cast_main()


def _allocate(name, members, dtype, device, data: Group) -> FlatGroup:
    places, end = {}, 0
    for parameter_name, parameter in members:
        places[parameter_name] = (end, parameter.shape)
        end += -(-parameter.numel() // ALIGN) * ALIGN
    size = -(-end // (ALIGN * data.size)) * ALIGN * data.size

    def buffer(kind: torch.dtype) -> Tensor:
        return torch.zeros(size, dtype=kind, device=device)

    param = buffer(dtype)
    main = param if dtype == torch.float32 else buffer(torch.float32)
    return FlatGroup(name, param, buffer(torch.float32), main, buffer(torch.float32), buffer(torch.float32), places)


def _replace(model: nn.Module, name: str, view: Tensor, grad: Tensor) -> None:
    path, _, last = name.rpartition(".")
    parameter = nn.Parameter(view)
    parameter.main_grad = grad  # type: ignore[attr-defined]
    model.get_submodule(path)._parameters[last] = parameter
