"""Token embedding and its backward on a GPU: ours beside torch eager and plain torch with an fp32 gradient.

    python benchmarks/gpu_embedding.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_embedding.json

16,384 and 4,096 tokens, vocabulary 256,000, width 6,144, bf16. Tokens are drawn as 1 / rank, so that a few come
thousands of times, as in text. Bytes that have to move: forward reads and writes a row a token; backward reads a row a
token and adds to a row of fp32 for each different token. Torch eager makes a gradient of the whole table in bf16, which
a trainer would then add to its fp32 one (not counted here); `index_add_` adds to that directly, in no fixed order.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from gpu_frame import COMPILED, EAGER, OURS, Bench, Case, Entry, Runs, Sample, Work, load, times_faster, trained  # noqa: E402
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402

ADDED = "torch index_add_ to fp32"


@dataclass(frozen=True)
class Inputs:
    tokens: Tensor  # [T]
    weight: Tensor  # [V, H]
    dy: Tensor  # [T, H]


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("embedding", options(__doc__, arguments))
    return bench.run([_case(bench, tokens) for tokens in bench.size((16_384, 4_096), (40,))])


def _case(bench: Bench, tokens: int) -> Case:
    vocabulary, hidden = bench.size((256_000, 6_144), (50, 24))

    def drawn(g: torch.Generator) -> Tensor:
        uniform = torch.rand(tokens, generator=g, device=bench.device, dtype=torch.float64)
        return (uniform * math.log(vocabulary)).exp().long().clamp(max=vocabulary - 1)

    def inputs() -> Inputs:
        g = bench.generator()
        return Inputs(drawn(g), bench.randn(g, vocabulary, hidden), bench.randn(g, tokens, hidden))

    rows = float(tokens * hidden * bench.dtype.itemsize)
    different = drawn(bench.generator()).unique().numel()
    return Case(
        f"{tokens:,} tokens, {different:,} different",
        inputs,
        _right,
        {"forward": Work(bytes=2 * rows), "backward": Work(bytes=rows + 2.0 * different * hidden * 4)},
        (
            Entry(OURS, lambda i: _added(i, load("gristmill.kernels.gpu.embedding:embedding_triton")), kept=True),
            Entry(EAGER, lambda i: _plain(i, F.embedding)),
            Entry(ADDED, lambda i: _added(i, load("gristmill.kernels.gpu.embedding:embedding"))),
            Entry(COMPILED, lambda i: _plain(i, bench.compile(lambda tokens, weight: F.embedding(tokens, weight)))),
        ),
        (times_faster(EAGER, "backward"),) if tokens == bench.size(16_384, tokens) else (),
    )


def _right(i: Inputs) -> dict[str, Sample]:
    """dW of every 37th token that occurs, in order, the most frequent among them; and of one that does not."""
    some = i.tokens.unique()[::37]
    absent = torch.ones(len(i.weight), dtype=torch.bool, device=i.tokens.device).index_fill_(0, i.tokens, False)
    some = torch.cat([some, absent.nonzero()[:1, 0]])
    member = (i.tokens[None] == some[:, None]).double()  # [some, T]
    return {
        "y": Sample(lambda t: t[::37], i.weight[i.tokens[::37]].double()),
        "dweight": Sample(lambda t: t[some], member @ i.dy.double()),
    }


def _added(i: Inputs, call: Callable[..., Tensor]) -> Runs:
    buffer = torch.zeros_like(i.weight, dtype=torch.float32)
    weight = i.weight.requires_grad_()
    return trained(lambda: call(i.tokens, weight, buffer), {"weight": weight}, (i.dy,), ("y",), {"dweight": buffer})


def _plain(i: Inputs, call: Callable[..., Tensor]) -> Runs:
    weight = i.weight.requires_grad_()
    return trained(lambda: call(i.tokens, weight), {"weight": weight}, (i.dy,), ("y",))


if __name__ == "__main__":
    sys.exit(main())
