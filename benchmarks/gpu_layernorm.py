"""Residual add + LayerNorm with zero-centred gamma on a GPU: ours beside torch eager, torch.compile and Liger.

    python benchmarks/gpu_layernorm.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_layernorm.json

16,384 rows of 6,144 (four sequences of the 15B) and 2,048 (one of eight tensor-parallel ranks), bf16. Bytes that have
to move: forward reads x and residual, writes y and h; backward reads h, dy and dh, writes dx. Torch eager is what
Hugging Face's Nemotron computes: x + residual, then `layer_norm` with weight + 1; Liger's kernel has neither add nor +
1, so both are torch's before it. Ours adds the weights' gradients to fp32 buffers, the others return them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from gpu_frame import (  # noqa: E402
    COMPILED,
    EAGER,
    LIGER,
    OURS,
    Bench,
    Case,
    Entry,
    Runs,
    Sample,
    Work,
    load,
    of_copy,
    times_faster,
    trained,
)
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402

EPS = 1e-5
NAMES = ("y", "h")


@dataclass(frozen=True)
class Inputs:
    x: Tensor  # [T, H]
    residual: Tensor
    weight: Tensor  # [H]
    bias: Tensor
    dy: Tensor
    dh: Tensor

    def leaves(self) -> dict[str, Tensor]:
        return {name: getattr(self, name).requires_grad_() for name in ("x", "residual", "weight", "bias")}


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("layernorm", options(__doc__, arguments))
    hidden = bench.size(6144, 96)
    sizes = bench.size(((16_384, True), (2_048, False)), ((7, True), (5, False)))
    return bench.run([_case(bench, rows, hidden, full) for rows, full in sizes])


def _case(bench: Bench, rows: int, hidden: int, full: bool) -> Case:
    moved = 4.0 * rows * hidden * bench.dtype.itemsize
    targets = (
        (of_copy("forward"), of_copy("backward"))
        if full
        else (times_faster(EAGER, "forward"), times_faster(EAGER, "backward"))
    )
    return Case(
        f"{rows:,} x {hidden:,}",
        lambda: _inputs(bench, rows, hidden),
        _right,
        {"forward": Work(bytes=moved), "backward": Work(bytes=moved)},
        (
            Entry(OURS, _ours, kept=True),
            Entry(EAGER, lambda i: _plain(i, _eager)),
            Entry(LIGER, _liger),
            Entry(COMPILED, lambda i: _plain(i, bench.compile(_eager))),
        ),
        targets,
    )


def _inputs(bench: Bench, rows: int, hidden: int) -> Inputs:
    g = bench.generator()
    x, residual, dy, dh = (bench.randn(g, rows, hidden) for _ in range(4))
    return Inputs(x, residual, bench.randn(g, hidden, std=0.1), bench.randn(g, hidden, std=0.1), dy, dh)


def _right(i: Inputs) -> dict[str, Sample]:
    """In fp64: rows of what has rows, all of the weights' gradients."""
    wide = Inputs(*(getattr(i, name).double() for name in i.__dataclass_fields__))
    call = load("gristmill.kernels.gpu.layernorm:layernorm")
    runs = trained(
        lambda: call(wide.x, wide.residual, wide.weight, wide.bias, EPS), wide.leaves(), (wide.dy, wide.dh), NAMES
    )
    found = runs.results()
    whole = {name: Sample(lambda t: t, found[name]) for name in ("dweight", "dbias")}
    return whole | {
        name: Sample(lambda t: t[::37], found[name][::37].detach().clone()) for name in ("y", "h", "dx", "dresidual")
    }


def _ours(i: Inputs) -> Runs:
    call = load("gristmill.kernels.gpu.layernorm:layernorm_triton")
    buffers = {name: torch.zeros_like(i.weight, dtype=torch.float32) for name in ("dweight", "dbias")}
    return trained(
        lambda: call(i.x, i.residual, i.weight, i.bias, EPS, *buffers.values()),
        i.leaves(),
        (i.dy, i.dh),
        NAMES,
        buffers,
    )


def _eager(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    h = x + residual
    return F.layer_norm(h, (h.shape[-1],), weight + 1.0, bias, EPS), h


def _plain(i: Inputs, call) -> Runs:
    return trained(lambda: call(i.x, i.residual, i.weight, i.bias), i.leaves(), (i.dy, i.dh), NAMES)


def _liger(i: Inputs) -> Runs:
    norm = load("liger_kernel.ops.layer_norm:LigerLayerNormFunction")

    def call() -> tuple[Tensor, Tensor]:
        h = i.x + i.residual
        return norm.apply(h, i.weight + 1.0, i.bias, EPS), h

    return trained(call, i.leaves(), (i.dy, i.dh), NAMES)


if __name__ == "__main__":
    sys.exit(main())
