"""Causal grouped-query attention on a GPU: ours beside SDPA's flash and cuDNN kernels, FlexAttention and torch eager.

    python benchmarks/gpu_attention.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_attention.json

Four windows of 4,096 tokens, head dimension 128, 48 query and 8 key heads (the 15B), and 6 and 1 (one of eight
tensor-parallel ranks), bf16; dense, and on packed documents of mean length 600. FLOPs: 2 s d heads a token in the
forward (half of the square of length s), 2.5 times that in the backward; of packed documents, s is each one's length.
Query, key and value are views of one fused projection, as in the model. On packed documents SDPA has no fused kernel
with a document mask: its flash kernel is called through torch's `varlen_attn`, where that is there.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from gpu_frame import EAGER, OURS, Bench, Case, Entry, Figures, Runs, Sample, Target, Work, load, times_faster, trained  # noqa: E402
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402

FLASH, CUDNN, FLEX, VARLEN = "SDPA flash", "SDPA cuDNN", "FlexAttention", "torch varlen_attn (flash)"
MEAN_DOCUMENT = 600


@dataclass(frozen=True)
class Inputs:
    q: Tensor  # [B, S, heads, d]
    k: Tensor  # [B, S, kv_heads, d]
    v: Tensor
    gradient: Tensor  # of the output
    borders: Tensor | None  # cu_seqlens, int32

    @property
    def scale(self) -> float:
        return self.q.shape[-1] ** -0.5

    @property
    def grouped(self) -> bool:
        return self.q.shape[2] != self.k.shape[2]


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("attention", options(__doc__, arguments))
    heads = bench.size(((48, 8), (6, 1)), ((2, 1),))
    return bench.run([_case(bench, q, kv, packed) for packed in (False, True) for q, kv in heads])


def _case(bench: Bench, heads: int, kv_heads: int, packed: bool) -> Case:
    windows, length, d = bench.size((4, 4096, 128), (2, 24, 128))
    lengths = documents(windows, length, bench.size(MEAN_DOCUMENT, 8)) if packed else [length] * windows

    def inputs() -> Inputs:
        g = bench.generator()
        qkv = bench.randn(g, windows, length, heads + 2 * kv_heads, d)
        q, k, v = (part.detach().requires_grad_() for part in qkv.split([heads, kv_heads, kv_heads], dim=2))
        borders = torch.tensor([0, *lengths]).cumsum(0).to(bench.device, torch.int32) if packed else None
        return Inputs(q, k, v, bench.randn(g, windows, length, heads, d), borders)

    flops = sum(2.0 * n * n * d * heads for n in lengths)
    dense = (
        Entry(FLASH, lambda i: _sdpa(i, "FLASH_ATTENTION")),
        Entry(FLEX, lambda i: _flex(bench, i)),
        Entry(CUDNN, lambda i: _sdpa(i, "CUDNN_ATTENTION")),
        Entry(EAGER, _eager),
    )
    flash = VARLEN if packed else FLASH
    peers = [times_faster(peer, which) for peer in (flash, FLEX) for which in ("forward", "backward")]
    stretch = [
        Target(f"stretch: {which} TFLOP/s", partial(_rate, which), least)
        for which, least in (("forward", 450.0), ("backward", 350.0))
        if not packed and heads == bench.size(48, heads)
    ]
    return Case(
        f"{'packed' if packed else 'dense'}, {heads} and {kv_heads} heads",
        inputs,
        _right,
        {"forward": Work(flops=flops), "backward": Work(flops=2.5 * flops)},
        (
            Entry(OURS, partial(_ours, bench), kept=True),
            *((Entry(VARLEN, _varlen), dense[1], dense[3]) if packed else dense),
        ),
        [*peers, *stretch],
    )


def _rate(which: str, figures: Figures) -> float:
    return figures[OURS][which]["tflops"]


def documents(windows: int, length: int, mean: int) -> list[int]:
    """Lengths of documents, exponentially distributed, cut at each window's end; the same at every call."""
    drawn, lengths = random.Random(1), []
    for _ in range(windows):
        left = length
        while left:
            lengths.append(min(left, 1 + round(drawn.expovariate(1 / mean))))
            left -= lengths[-1]
    return lengths


def _right(i: Inputs) -> dict[str, Sample]:
    """In fp64, the first group of the first window and the last group of the last: all their rows and gradients."""
    reference, found = load("gristmill.kernels.gpu.attention:attention"), {}
    group, length = i.q.shape[2] // i.k.shape[2], i.q.shape[1]
    parts: dict[str, list[Tensor]] = {name: [] for name in ("out", "dq", "dk", "dv")}
    places = ((0, 0), (len(i.q) - 1, i.k.shape[2] - 1))
    for window, head in places:
        q = i.q[window : window + 1, :, head * group : (head + 1) * group].detach().double().requires_grad_()
        k, v = (z[window : window + 1, :, head : head + 1].detach().double().requires_grad_() for z in (i.k, i.v))
        borders = None
        if i.borders is not None:
            inside = (i.borders >= window * length) & (i.borders <= (window + 1) * length)
            borders = i.borders[inside] - window * length
        out = reference(q, k, v, i.scale, borders)
        gradient = i.gradient[window : window + 1, :, head * group : (head + 1) * group].double()
        for name, tensor in zip(parts, (out, *torch.autograd.grad(out, (q, k, v), gradient)), strict=True):
            parts[name].append(tensor.detach().flatten())

    def pick(t: Tensor) -> Tensor:
        width = t.shape[2] // i.k.shape[2]
        return torch.cat([t[b, :, h * width : (h + 1) * width].flatten() for b, h in places])

    for name, tensors in parts.items():
        found[name] = Sample(pick, torch.cat(tensors))
    return found


def _runs(i: Inputs, call: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Runs:
    leaves = {"q": i.q, "k": i.k, "v": i.v}
    return trained(lambda: call(i.q, i.k, i.v), leaves, (i.gradient,), ("out",))


def _ours(bench: Bench, i: Inputs) -> Runs:
    """With the tiles that `attention_choice` finds fastest here, by the first case, as at the start of a training."""
    attention = load("gristmill.kernels.gpu.attention:attention_triton")
    if not bench.dry:
        load("gristmill.kernels.gpu.attention_choice:tune")(i.q, i.k, i.v, i.gradient, i.borders)
        chosen = load("gristmill.kernels.gpu.attention_launch:chosen")
        bench.result["tiles"] = {f"{kernel}, d {d}": str(tile) for (kernel, d), tile in chosen.items()}
    return _runs(i, lambda q, k, v: attention(q, k, v, i.scale, i.borders))


def _eager(i: Inputs) -> Runs:
    attention = load("gristmill.kernels.gpu.attention:attention")
    return _runs(i, lambda q, k, v: attention(q, k, v, i.scale, i.borders))


def _swapped(i: Inputs, call: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Runs:
    """Of an op that takes [B, heads, S, d]."""
    return _runs(i, lambda q, k, v: call(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2))


def _sdpa(i: Inputs, backend: str) -> Runs:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(getattr(SDPBackend, backend)):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=i.scale, enable_gqa=i.grouped)

    return _swapped(i, call)


def _flex(bench: Bench, i: Inputs) -> Runs:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    windows, length = i.q.shape[:2]
    document = torch.zeros(windows, length, dtype=torch.int32, device=i.q.device)
    if i.borders is not None:
        token = torch.arange(windows * length, device=i.q.device, dtype=torch.int32)
        document = torch.searchsorted(i.borders, token, right=True).view(windows, length)

    def causal(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return query >= key

    def inside(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (document[b, query] == document[b, key])

    each = None if i.borders is None else windows
    mask = create_block_mask(causal if each is None else inside, each, None, length, length, device=i.q.device)
    call = bench.compile(flex_attention)
    return _swapped(i, lambda q, k, v: call(q, k, v, block_mask=mask, scale=i.scale, enable_gqa=i.grouped))


def _varlen(i: Inputs) -> Runs:
    varlen_attn = load("torch.nn.attention.varlen:varlen_attn")
    assert i.borders is not None
    longest = int(i.borders.diff().max())
    known = inspect.signature(varlen_attn).parameters  # they change from version to version
    settings: dict[str, object] = {"is_causal": True} if "is_causal" in known else {"window_size": (-1, 0)}
    settings |= {"scale": i.scale} if "scale" in known else {}
    settings |= {"enable_gqa": i.grouped} if "enable_gqa" in known else {}

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        flat = (z.flatten(0, 1) for z in (q, k, v))  # [B * S, heads, d]
        return varlen_attn(*flat, i.borders, i.borders, longest, longest, **settings).view(q.shape)

    return _runs(i, call)


if __name__ == "__main__":
    sys.exit(main())
