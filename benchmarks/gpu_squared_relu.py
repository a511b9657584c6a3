"""Squared ReLU on a GPU: ours beside torch eager, torch.compile and Liger.

    python benchmarks/gpu_squared_relu.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_squared_relu.json

16,384 and 4,096 rows of 24,576 (the 15B's MLP), bf16. Bytes that have to move: forward reads x and writes y; backward
reads y and dy, writes dx. The peers keep x for the backward beside y, which the next GEMM keeps anyway.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from gpu_frame import COMPILED, EAGER, LIGER, OURS, Bench, Case, Entry, Runs, Sample, Work, load, of_copy, trained  # noqa: E402
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402


@dataclass(frozen=True)
class Inputs:
    x: Tensor  # [T, F]
    dy: Tensor


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("squared_relu", options(__doc__, arguments))
    width = bench.size(24_576, 200)
    return bench.run([_case(bench, rows, width) for rows in bench.size((16_384, 4_096), (3,))])


def _case(bench: Bench, rows: int, width: int) -> Case:
    tensor = float(rows * width * bench.dtype.itemsize)

    def inputs() -> Inputs:
        g = bench.generator()
        return Inputs(bench.randn(g, rows, width), bench.randn(g, rows, width))

    return Case(
        f"{rows:,} x {width:,}",
        inputs,
        _right,
        {"forward": Work(bytes=2 * tensor), "backward": Work(bytes=3 * tensor)},
        (
            Entry(OURS, lambda i: _runs(i, load("gristmill.kernels.gpu.squared_relu:squared_relu_triton")), kept=True),
            Entry(EAGER, lambda i: _runs(i, _eager)),
            Entry(LIGER, lambda i: _runs(i, load("liger_kernel.ops.relu_squared:LigerReLUSquaredFunction").apply)),
            Entry(COMPILED, lambda i: _runs(i, bench.compile(_eager))),
        ),
        (of_copy("forward"), of_copy("backward")) if rows == bench.size(16_384, rows) else (),
    )


def _right(i: Inputs) -> dict[str, Sample]:
    relu, dy = i.x[::37].double().relu(), i.dy[::37].double()
    return {"y": Sample(lambda t: t[::37], relu.square()), "dx": Sample(lambda t: t[::37], 2 * relu * dy)}


def _eager(x: Tensor) -> Tensor:
    return x.relu().square()


def _runs(i: Inputs, call) -> Runs:
    x = i.x.requires_grad_()
    return trained(lambda: call(x), {"x": x}, (i.dy,), ("y",))


if __name__ == "__main__":
    sys.exit(main())
