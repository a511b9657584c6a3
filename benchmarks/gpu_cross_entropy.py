"""Output projection and cross entropy on a GPU, forward and backward: ours beside its GEMMs, Liger, CCE and torch.

    python benchmarks/gpu_cross_entropy.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_cross_entropy.json

4,096 and 16,384 tokens, width 6,144, vocabulary 256,000 (the 15B) and 32,000 (one of eight tensor-parallel ranks),
bf16. FLOPs are those of three GEMMs: logits, dx, dW. "its three GEMMs alone" times these, over all rows at once, dW
added in fp32: what nobody passes without skipping work. Ours adds dW to fp32 `main_grad`; the peers return theirs in
bf16, and the pass in which a trainer would add it is not counted. Extra memory is the peak beyond what was there
before, without dx, which all return; a peer's dW is in it. Logits have a standard deviation of 3, so that the softmax
is neither flat nor saturated: CCE leaves small gradients out, and its time depends on how many are small.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from gpu_frame import (  # noqa: E402
    CCE,
    COMPILED,
    EAGER,
    LIGER,
    OURS,
    Bench,
    Case,
    Entry,
    Figures,
    Runs,
    Sample,
    Target,
    Work,
    load,
    times_faster,
)
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402

GEMMS = "its three GEMMs alone"
LARGE = 16
"""Liger's larger chunks: chunk_mem_const."""
LOGITS_STD = 3.0
PIECE = 16_000
"""Rows of the vocabulary at a time in the fp64 check."""


@dataclass(frozen=True)
class Inputs:
    x: Tensor  # [T, H]
    weight: Tensor  # [V, H]
    labels: Tensor  # [T]
    some: Tensor  # rows of the vocabulary whose gradient is checked

    @property
    def scale(self) -> float:
        return 1.0 / len(self.x)


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("cross_entropy", options(__doc__, arguments))
    sizes = bench.size(((4096, 256_000), (16_384, 256_000), (4096, 32_000), (16_384, 32_000)), ((10, 160),))
    return bench.run([_case(bench, tokens, vocabulary) for tokens, vocabulary in sizes])


def _case(bench: Bench, tokens: int, vocabulary: int) -> Case:
    hidden = bench.size(6144, 32)

    def inputs() -> Inputs:
        g = bench.generator()
        x = bench.randn(g, tokens, hidden)
        weight = bench.randn(g, vocabulary, hidden, std=LOGITS_STD * hidden**-0.5)
        labels = torch.randint(vocabulary, (tokens,), generator=g, device=bench.device)
        some = torch.cat([labels[::97], torch.randint(vocabulary, (64,), generator=g, device=bench.device)]).unique()
        return Inputs(x.requires_grad_(), weight.requires_grad_(), labels, some)

    whole = bench.size(256_000, 160)
    targets = [
        Target(f"time over that of {GEMMS}", lambda f: _ms(f, OURS) / _ms(f, GEMMS), most=1.10),
        Target("extra GiB", lambda f: f[OURS]["step"]["extra_gib"], most=1.0),
    ]
    if (tokens, vocabulary) == bench.size((4096, 256_000), (tokens, vocabulary)):
        targets.append(times_faster(LIGER, "step", 2.0))
    return Case(
        f"{tokens:,} tokens, vocabulary {vocabulary:,}",
        inputs,
        _right,
        {"step": Work(flops=6.0 * tokens * hidden * vocabulary)},
        (
            Entry(OURS, _ours, kept=True),
            Entry(GEMMS, _gemms, kept=True),
            Entry(LIGER, partial(_liger, 1)),
            Entry(EAGER, lambda i: _plain(i, _eager)),
            Entry(f"{LIGER}, chunk_mem_const={LARGE}", partial(_liger, LARGE)),
            Entry(CCE, partial(_cce, {})),
            Entry(COMPILED, lambda i: _plain(i, bench.compile(_eager))),
            Entry(f"{CCE}, no gradient left out", partial(_cce, {"filter_eps": None})),
            Entry("plain torch in chunks", _chunked),
            Entry("torch F.linear_cross_entropy", _torch_own),
        ),
        targets if vocabulary == whole else targets[:1],
    )


def _ms(figures: Figures, name: str) -> float:
    return figures[name]["step"]["ms"]


@torch.no_grad()
def _right(i: Inputs) -> dict[str, Sample]:
    """In fp64: the loss; dx of every 97th row; dW of some rows of the vocabulary, over all tokens."""
    x = i.x.double()
    total = torch.full((len(x),), float("-inf"), dtype=x.dtype, device=x.device)
    for piece in i.weight.split(PIECE):
        total = torch.logaddexp(total, (x @ piece.double().t()).logsumexp(dim=-1))
    target = (x * i.weight[i.labels].double()).sum(dim=-1)
    rows = slice(None, None, 97)
    dx = -i.weight[i.labels[rows]].double()
    for piece in i.weight.split(PIECE):
        wide = piece.double()
        dx += (x[rows] @ wide.t() - total[rows, None]).exp() @ wide
    dz = (x @ i.weight[i.some].double().t() - total[:, None]).exp()  # [T, some]
    dz -= (i.labels[:, None] == i.some[None]).double()
    return {
        "loss": Sample(lambda t: t, (total - target).mean()),
        "dx": Sample(lambda t: t[rows], dx * i.scale),
        "dweight": Sample(lambda t: t[i.some], dz.t() @ x * i.scale),
    }


def _runs(i: Inputs, loss: Callable[[], Tensor], buffer: Tensor | None = None) -> Runs:
    """buffer: what the weight's gradient is added to, where it is not returned."""
    leaves = [i.x, i.weight] if buffer is None else [i.x]

    def step() -> Any:
        return torch.autograd.grad(loss(), leaves)

    def results() -> dict[str, Tensor]:
        if buffer is not None:
            buffer.zero_()
        value = loss()
        gradients = dict(zip(("dx", "dweight"), torch.autograd.grad(value, leaves), strict=False))
        return {"loss": value, "dweight": buffer if buffer is not None else gradients["dweight"], **gradients}

    return Runs({"step": step}, results, returned_bytes=i.x.numel() * i.x.element_size())


def _main_grad(i: Inputs) -> Tensor:
    return torch.zeros(i.weight.shape, dtype=torch.float32, device=i.weight.device)


def _ours(i: Inputs) -> Runs:
    call, buffer = load("gristmill.kernels.gpu.cross_entropy:linear_cross_entropy_triton"), _main_grad(i)
    return _runs(i, lambda: call(i.x, i.weight, i.labels, i.scale, buffer)[0], buffer)


def _chunked(i: Inputs) -> Runs:
    call, buffer = load("gristmill.kernels.gpu.cross_entropy:linear_cross_entropy"), _main_grad(i)
    return _runs(i, lambda: call(i.x, i.weight, i.labels, i.scale, buffer)[0], buffer)


def _gemms(i: Inputs) -> Runs:
    accumulate = load("gristmill.kernels.gpu.linear:accumulate")
    x, weight, buffer = i.x.detach(), i.weight.detach(), _main_grad(i)
    z, dx = x.new_empty(len(x), len(weight)), torch.empty_like(x)

    def step() -> None:
        torch.mm(x, weight.t(), out=z)
        torch.mm(z, weight, out=dx)
        accumulate(buffer, z, x)

    return Runs({"step": step}, dict)


def _eager(x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy((x @ weight.t()).float(), labels)


def _plain(i: Inputs, call: Callable[..., Tensor]) -> Runs:
    return _runs(i, lambda: call(i.x, i.weight, i.labels))


def _liger(chunks: int, i: Inputs) -> Runs:
    function = load("liger_kernel.ops.fused_linear_cross_entropy:LigerFusedLinearCrossEntropyFunction")
    defaults = (None, None, -100, 0.0, 0.0, "mean", None, False, None, False, False, False, None, None)
    return _runs(i, lambda: function.apply(i.x, i.weight, i.labels, *defaults, chunks)[0])


def _cce(settings: dict[str, Any], i: Inputs) -> Runs:
    call = load("cut_cross_entropy:linear_cross_entropy")
    return _runs(i, lambda: call(i.x, i.weight, i.labels, impl="cce", **settings))


def _torch_own(i: Inputs) -> Runs:
    if not hasattr(F, "linear_cross_entropy"):
        raise ImportError("this torch has none")
    return _runs(i, lambda: F.linear_cross_entropy(i.x, i.weight, i.labels))


if __name__ == "__main__":
    sys.exit(main())
