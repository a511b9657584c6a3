"""Rotary embedding on half of each head on a GPU: ours beside torch eager, torch.compile and Liger.

    python benchmarks/gpu_rope.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_rope.json

16,384 tokens of the 15B: 48 query and 8 key heads of 128, of which 64 dimensions turn, bf16, four windows of 4,096
positions; and one of eight tensor-parallel ranks, 6 and 1. Bytes that have to move: the turned dimensions, read and
written, in the forward and in the backward. Ours turns the fused projection in place; torch eager is what Hugging
Face's Nemotron computes on query and key apart, and writes new ones; Liger's turns query and key in place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
from gpu_frame import COMPILED, EAGER, LIGER, OURS, Bench, Case, Entry, Runs, Sample, Work, load, of_copy  # noqa: E402
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402

BASE = 10_000.0


@dataclass(frozen=True)
class Inputs:
    qkv: Tensor  # [T, heads + 2 kv_heads, d]
    gradient: Tensor
    heads: int
    kv_heads: int
    cos: Tensor  # fp32 [S, r/2]
    sin: Tensor
    positions: Tensor  # int [T]

    def split(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key heads, each on its own."""
        q, k, _ = t.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        return q.contiguous(), k.contiguous()


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("rope", options(__doc__, arguments))
    return bench.run([_case(bench, *heads) for heads in bench.size(((48, 8), (6, 1)), ((3, 1),))])


def _case(bench: Bench, heads: int, kv_heads: int) -> Case:
    windows, length, d = bench.size((4, 4096, 128), (2, 6, 16))
    tokens, rotary = windows * length, d // 2

    def inputs() -> Inputs:
        tables = load("gristmill.kernels.gpu.rope:tables")
        g = bench.generator()
        qkv, gradient = (bench.randn(g, tokens, heads + 2 * kv_heads, d) for _ in range(2))
        positions = torch.arange(length, device=bench.device).repeat(windows)
        cos, sin = tables(length, rotary, BASE, bench.device)
        return Inputs(qkv, gradient, heads, kv_heads, cos, sin, positions)

    moved = 2.0 * tokens * (heads + kv_heads) * rotary * bench.dtype.itemsize
    return Case(
        f"{tokens:,} tokens, {heads} and {kv_heads} heads",
        inputs,
        _right,
        {"forward": Work(bytes=moved), "backward": Work(bytes=moved)},
        (
            Entry(OURS, _ours, kept=True),
            Entry(EAGER, lambda i: _apart(i, _eager_for(i))),
            Entry(LIGER, lambda i: _apart(i, _liger_for(i, windows), clone=True)),
            Entry(COMPILED, lambda i: _apart(i, bench.compile(_eager_for(i)))),
        ),
        (of_copy("forward"), of_copy("backward")) if heads == bench.size(48, heads) else (),
    )


def _right(i: Inputs) -> dict[str, Sample]:
    rows = slice(None, None, 37)
    angle = (i.cos[i.positions[rows]].double()[:, None], i.sin[i.positions[rows]].double()[:, None])

    def turned(z: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        half = cos.shape[-1]
        a, b, rest = z.double().split([half, half, z.shape[-1] - 2 * half], dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)

    found = {}
    for name, part, gradient in zip("qk", i.split(i.qkv[rows]), i.split(i.gradient[rows]), strict=True):
        found[name] = Sample(lambda t: t[rows], turned(part, *angle))
        found[f"d{name}"] = Sample(lambda t: t[rows], turned(gradient, angle[0], -angle[1]))
    return found


def _ours(i: Inputs) -> Runs:
    rope = load("gristmill.kernels.gpu.rope:rope_triton")

    def call(qkv: Tensor) -> Tensor:
        return rope(qkv, i.heads + i.kv_heads, i.cos, i.sin, i.positions)

    leaf, scratch = i.qkv.clone().requires_grad_(), i.qkv.clone()
    out, passed = call(leaf.clone()), i.gradient.clone()  # a copy, because a leaf may not change in place

    def results() -> dict[str, Tensor]:
        y = call(leaf.clone())
        [dx] = torch.autograd.grad(y, leaf, i.gradient.clone())
        return dict(zip(("q", "k", "dq", "dk"), (*i.split(y), *i.split(dx)), strict=True))

    def forward() -> Tensor:
        with torch.no_grad():
            return call(scratch)

    return Runs(
        {"forward": forward, "backward": lambda: torch.autograd.grad(out, leaf, passed, retain_graph=True)}, results
    )


def _eager_for(i: Inputs) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Hugging Face's `apply_rotary_pos_emb`; cos and sin in the activations' dtype, made once for all layers."""
    cos, sin = (table[i.positions].repeat(1, 2).to(i.qkv.dtype)[:, None] for table in (i.cos, i.sin))  # [T, 1, r]
    rotary = cos.shape[-1]

    def turned(z: Tensor) -> Tensor:
        part, rest = z[..., :rotary], z[..., rotary:]
        a, b = part.chunk(2, dim=-1)
        return torch.cat([part * cos + torch.cat([-b, a], dim=-1) * sin, rest], dim=-1)

    return lambda q, k: (turned(q), turned(k))


def _liger_for(i: Inputs, windows: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    rope = load("liger_kernel.ops.rope:LigerRopeFunction")
    cos, sin = (table.repeat(1, 2).to(i.qkv.dtype)[None] for table in (i.cos, i.sin))  # [1, S, r]

    def call(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        q, k = (z.view(windows, -1, *z.shape[1:]).transpose(1, 2) for z in (q, k))  # [B, heads, S, d]
        q, k = rope.apply(q, k, cos, sin, None, 1, cos.shape[-1])
        return tuple(z.transpose(1, 2).flatten(0, 1) for z in (q, k))  # type: ignore[return-value]

    return call


def _apart(i: Inputs, call: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], clone: bool = False) -> Runs:
    """clone: the op writes to its inputs, and to the gradients that it is given."""
    leaves = [z.requires_grad_() for z in i.split(i.qkv)]

    def own() -> list[Tensor]:
        return [z.clone() for z in leaves] if clone else leaves

    scratch = [z.detach().clone() for z in leaves] if clone else leaves
    out = call(*own())
    passed = i.split(i.gradient.clone())

    def results() -> dict[str, Tensor]:
        y = call(*own())
        gradients = torch.autograd.grad(y, leaves, i.split(i.gradient.clone()))
        return dict(zip(("q", "k", "dq", "dk"), (*y, *gradients), strict=True))

    return Runs(
        {
            "forward": lambda: call(*scratch),
            "backward": lambda: torch.autograd.grad(out, leaves, passed, retain_graph=True),
        },
        results,
    )


if __name__ == "__main__":
    sys.exit(main())
