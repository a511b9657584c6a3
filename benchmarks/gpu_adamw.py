"""AdamW on a flat shard, and the gradient norm, on a GPU: ours beside torch's fused AdamW, plain torch, torch.compile.

    python benchmarks/gpu_adamw.py [--dry] [--seconds N] [--output FOLDER]      results/gpu_adamw.json

A shard of 16,384 x 6,144 parameters (100 M) and one of four times that. Bytes that have to move: fp32 main copy and two
moments, each read and written, the fp32 gradient read, the bf16 parameters written: 30 a parameter. Torch's fused AdamW
steps the fp32 main copy; the clip factor and the cast to bf16, which ours does in the same pass, are a `mul_` and a
`copy_` around it. The norm reads 4 bytes a parameter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
from gpu_frame import COMPILED, OURS, Bench, Case, Entry, Runs, Sample, Work, load, of_copy  # noqa: E402
from gpu_machine import options  # noqa: E402
from torch import Tensor  # noqa: E402

FUSED, PLAIN = "torch fused AdamW", "plain torch"
NUMBERS: dict[str, Any] = {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
STEP, CLIP = 3, 0.37


@dataclass(frozen=True)
class Inputs:
    param: Tensor  # [n], bf16
    main: Tensor  # fp32, the others too
    grad: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    scale: Tensor  # 0-d

    def tensors(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)][:-1]


def main(arguments: list[str] | None = None) -> int:
    bench = Bench("adamw", options(__doc__, arguments))
    sizes = bench.size((16_384 * 6_144, 16_384 * 24_576), (1000,))
    return bench.run([case for n in sizes for case in (_step(bench, n), _norm(bench, n))])


# -- the step ----------------------------------------------------------------------------------------------------------


def _step(bench: Bench, n: int) -> Case:
    return Case(
        f"step, {n:,} parameters",
        lambda: _inputs(bench, n),
        _right,
        {"step": Work(bytes=n * (28.0 + bench.dtype.itemsize))},
        (
            Entry(OURS, lambda i: _updates(i, load("gristmill.kernels.gpu.adamw:adamw_triton")), kept=True),
            Entry(FUSED, _fused),
            Entry(PLAIN, lambda i: _updates(i, load("gristmill.kernels.gpu.adamw:adamw"))),
            Entry(COMPILED, lambda i: _updates(i, bench.compile(_whole))),
        ),
        (of_copy("step"),),
    )


def _inputs(bench: Bench, n: int) -> Inputs:
    g = bench.generator()
    grad, average, square, weight = (bench.randn(g, n, dtype=torch.float32) for _ in range(4))
    weight.mul_(0.02)
    scale = torch.tensor(CLIP, device=bench.device)
    return Inputs(weight.to(bench.dtype), weight, grad, average.mul_(0.1), square.square_().mul_(0.1), scale)


def _right(i: Inputs) -> dict[str, Sample]:
    some = slice(None, None, 1009)
    _, main, grad, m, v = (t[some].double() for t in i.tensors())
    before, beta1, beta2 = main.clone(), NUMBERS["beta1"], NUMBERS["beta2"]
    g = grad * i.scale.double()
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    moved = (m / (1 - beta1**STEP)) / ((v / (1 - beta2**STEP)).sqrt() + NUMBERS["eps"])
    main = main * (1 - NUMBERS["learning_rate"] * NUMBERS["weight_decay"]) - NUMBERS["learning_rate"] * moved
    return {
        "change of main": Sample(lambda t: t[some].double() - before, main - before),
        "param": Sample(lambda t: t[some], main),
        "exp_avg": Sample(lambda t: t[some], m),
        "exp_avg_sq": Sample(lambda t: t[some], v),
    }


def _checked(i: Inputs, step: Callable[[], Any]) -> Runs:
    """The check is the first step from the inputs, in place; what is timed goes on from there."""

    def results() -> dict[str, Tensor]:
        step()
        return {"change of main": i.main, "param": i.param, "exp_avg": i.exp_avg, "exp_avg_sq": i.exp_avg_sq}

    return Runs({"step": step}, results)


def _updates(i: Inputs, call: Callable[..., Any]) -> Runs:
    return _checked(i, partial(call, *i.tensors(), step=STEP, grad_scale=i.scale, **NUMBERS))


@torch.no_grad()
def _whole(
    param, main, grad, exp_avg, exp_avg_sq, *, step, learning_rate, beta1, beta2, eps, weight_decay, grad_scale
) -> None:
    """The formula over the whole shard at once, for the compiler to fuse."""
    g = grad * grad_scale
    exp_avg.lerp_(g, 1.0 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(g, g, value=1.0 - beta2)
    denominator = (exp_avg_sq / (1.0 - beta2**step)).sqrt() + eps
    main.mul_(1.0 - learning_rate * weight_decay)
    main.addcdiv_(exp_avg, denominator, value=-learning_rate / (1.0 - beta1**step))
    param.copy_(main)


def _fused(i: Inputs) -> Runs:
    main = i.main.requires_grad_()
    main.grad = i.grad
    rate, decay = NUMBERS["learning_rate"], NUMBERS["weight_decay"]
    betas = (NUMBERS["beta1"], NUMBERS["beta2"])
    optimizer = torch.optim.AdamW([main], rate, betas, NUMBERS["eps"], decay, fused=True)
    number = torch.tensor(float(STEP - 1), device=main.device)
    optimizer.state[main] = {"step": number, "exp_avg": i.exp_avg, "exp_avg_sq": i.exp_avg_sq}

    @torch.no_grad()
    def step() -> None:
        i.grad.mul_(i.scale)
        optimizer.step()
        i.param.copy_(main)

    return _checked(i, step)


# -- the norm ----------------------------------------------------------------------------------------------------------


def _norm(bench: Bench, n: int) -> Case:
    def runs(call: Callable[[Tensor], Tensor], buffer: Tensor) -> Runs:
        return Runs({"norm": lambda: call(buffer)}, lambda: {"norm": call(buffer)})

    return Case(
        f"gradient norm, {n:,} parameters",
        lambda: bench.randn(bench.generator(), n, dtype=torch.float32),
        lambda buffer: {"norm": Sample(lambda t: t, buffer.double().norm())},
        {"norm": Work(bytes=4.0 * n)},
        (
            Entry(
                OURS,
                partial(runs, lambda x: load("gristmill.kernels.gpu.gradient_norm:gradient_norm_triton")([x])[0]),
                kept=True,
            ),
            Entry("torch vector_norm", partial(runs, torch.linalg.vector_norm)),
            Entry(
                "torch vector_norm, summed in fp64",
                partial(runs, lambda x: torch.linalg.vector_norm(x, dtype=torch.float64)),
            ),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
