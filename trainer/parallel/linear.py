"""Linear layers over tensor-parallel ranks, with the sequence split between them (Korthikanti et al. 2022).

    column   y = gather(x) W^T          x [T / n, I], W [O / n, I]  ->  [T, O / n]
             dx = scatter(dy W),  dW += dy^T gather(x)
    row      y = scatter(x W^T)         x [T, I / n], W [O, I / n]  ->  [T / n, O]
             dx = gather(dy) W,   dW += gather(dy)^T x

n ranks (Shoeybi et al. 2019); gather and scatter are the all-gather and the reduce-scatter of rows. Only the split x
is kept: the column's backward gathers it again while dy W is computed, and scatters dx while dW is added up. Where x is
a norm's output not even that is kept, but what gives it again. With one rank all of this is `kernels.gpu.linear`,
product by product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gristmill.kernels.gpu.linear import accumulate
from gristmill.trainer.parallel import collectives
from gristmill.trainer.parallel.groups import Group


class Again(NamedTuple):
    """x as `compute(*kept)`, bit for bit: what a column-parallel linear keeps instead of x."""

    compute: Callable[..., Tensor]
    kept: tuple[Tensor, ...]


def column_linear(
    x: Tensor, weight: Tensor, weight_grad: Tensor | None, group: Group, name: str, again: Again | None = None
) -> Tensor:
    """x [T / n, I], weight [O / n, I] -> [T, O / n]; weight_grad as in `kernels.gpu.linear`; name: of the weight."""
    return _Column.apply(x, weight, weight_grad, group, name, again)


def row_linear(
    x: Tensor, weight: Tensor, weight_grad: Tensor | None, group: Group, name: str, output: bool = True
) -> Tensor:
    """x [T, I / n], weight [O, I / n] -> [T / n, O]; weight_grad as in `kernels.gpu.linear`; name: of the weight.

    output=False: the graph without the product, the values are undefined. For a forward that is run a second time and
    of which only the backward is wanted.
    """
    return _Row.apply(x, weight, weight_grad, group, name, output)


def gather_rows(x: Tensor, group: Group, name: str) -> Tensor:
    """x [T / n, ...] -> [T, ...]; the ranks' gradients, each a part of the sum, are reduce-scattered."""
    return x if group.size == 1 else _Gather.apply(x, group, name)


def scatter_rows(x: Tensor, group: Group, name: str) -> Tensor:
    """x [T, ...], each rank's a part of the sum -> the sum's rows of this rank [T / n, ...]."""
    return x if group.size == 1 else _Scatter.apply(x, group, name)


class _Column(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, weight_grad, group, name, again):
        if again is None:
            ctx.save_for_backward(weight, x)
        else:
            ctx.save_for_backward(weight, *(kept.detach() for kept in again.kept))
        ctx.compute = None if again is None else again.compute
        ctx.weight_grad, ctx.group, ctx.name = weight_grad, group, name
        return collectives.all_gather(x, group, f"tp.gather.{name}") @ weight.t()

    @staticmethod
    def backward(ctx, dy):
        weight, *kept = ctx.saved_tensors
        group, name = ctx.group, ctx.name
        x = kept[0] if ctx.compute is None else ctx.compute(*kept)
        gathering = collectives.start_all_gather(x, group, f"tp.gather.{name}.backward")
        scattering = None
        if ctx.needs_input_grad[0]:
            scattering = collectives.start_reduce_scatter(dy @ weight, group, f"tp.scatter.{name}.backward")
        dw = _weight_gradient(ctx.weight_grad, dy, gathering.wait())
        return scattering and scattering.wait(), dw, None, None, None, None


class _Row(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, weight_grad, group, name, output):
        ctx.save_for_backward(x, weight)
        ctx.weight_grad, ctx.group, ctx.name = weight_grad, group, name
        if not output:
            return x.new_empty(x.shape[0] // group.size, weight.shape[0])
        return collectives.reduce_scatter(x @ weight.t(), group, f"tp.scatter.{name}")

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dy = collectives.all_gather(dy, ctx.group, f"tp.gather.{ctx.name}.backward")
        dx = dy @ weight if ctx.needs_input_grad[0] else None
        return dx, _weight_gradient(ctx.weight_grad, dy, x), None, None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group, name):
        ctx.group, ctx.name = group, name
        return collectives.all_gather(x, group, f"tp.gather.{name}")

    @staticmethod
    def backward(ctx, dy):
        return collectives.reduce_scatter(dy, ctx.group, f"tp.scatter.{ctx.name}.backward"), None, None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, group, name):
        ctx.group, ctx.name = group, name
        return collectives.reduce_scatter(x, group, f"tp.scatter.{name}")

    @staticmethod
    def backward(ctx, dy):
        return collectives.all_gather(dy, ctx.group, f"tp.gather.{ctx.name}.backward"), None, None


def _weight_gradient(buffer: Tensor | None, dy: Tensor, x: Tensor) -> Tensor | None:
    """Adds dy^T x to the fp32 buffer; returns it where there is none."""
    if buffer is None:
        return dy.t() @ x
    accumulate(buffer, dy, x)
    return None
