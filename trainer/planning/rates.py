"""How long training takes: what was published, and what follows from rates that were measured on a GPU.

    tokens/s per GPU = rate in FLOP/s / FLOPs per token that are executed
    MFU = tokens/s per GPU * FLOPs per token / peak,   FLOPs of the whole S x S square of the attention (non-causal)

The non-causal count is the one that reproduces the paper's MFU; recomputed FLOPs are executed and not counted in MFU.

Published: the paper's three stages (Parmar et al. 2024, arXiv 2402.16819, Table 2), whose times per step, and nothing
else, come from there; tokens/s, MFU, days and GPU-hours are computed from them. Measured: a training step of eight
full-width layers with head and optimizer on one GPU (`benchmarks/gpu_stack.py`). That is the kernels' rate: no
collective is in it, so what follows for many GPUs is an upper bound. Where no measurement is for the GPU that is asked
for there is no figure: a rate of one GPU is never carried over to another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gristmill.trainer.model.shape import PRESETS, Shape, flops_per_token

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
STACK = "gpu_stack.json"
CONVENTION = "attention counted non-causal, the whole S x S square; dense bf16 peak"
DAY = 86_400.0


@dataclass(frozen=True)
class Gpu:
    """What one GPU has. memory: bytes, as CUDA reports it (below the number it is sold with); peak: bf16 FLOP/s."""

    name: str
    memory: float
    peak: float


GPUS: dict[str, Gpu] = {
    "h100-80gb": Gpu("H100", 79.1 * 2**30, 989e12),
    "h200-141gb": Gpu("H200", 139.7 * 2**30, 989e12),
    "a100-80gb": Gpu("A100", 79.1 * 2**30, 312e12),
    "b200-180gb": Gpu("B200", 178.3 * 2**30, 2250e12),
}
"""Peaks without sparsity: NVIDIA's data sheets, SXM. Memory: `total capacity` as torch reports it for these devices,
the smallest seen, rounded down; ECC and the driver take the rest of the 80, 141 and 180 GB."""


@dataclass(frozen=True)
class Stage:
    """A stretch of a published run. seconds: per step, as published; tokens: of the stage."""

    tensor: int
    data: int
    sequences: int
    seconds: float
    tokens: float

    @property
    def gpus(self) -> int:
        return self.tensor * self.data

    def rate(self, shape: Shape) -> float:
        """Tokens/s per GPU."""
        return self.sequences * shape.context / self.seconds / self.gpus


PAPER = (
    Stage(8, 96, 384, 0.57, 200e9),
    Stage(8, 192, 768, 0.58, 200e9),
    Stage(8, 288, 1152, 0.64, 7_600e9),
)
"""Nemotron-4 15B on H100 80 GB, 8 T tokens: Parmar et al. 2024, Table 2 (data parallel, sequences, s/step, tokens)."""
PAPER_SHAPE, PAPER_GPU = PRESETS["nemotron4_15b"], GPUS["h100-80gb"]
PAPER_TOKENS = int(sum(stage.tokens for stage in PAPER))


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 FLOP/s of the GPU of this name, None where the table has none."""
    return next((gpu.peak for gpu in GPUS.values() if gpu.name in device_name), None)


def mfu(shape: Shape, tokens_per_second: float, peak: float, sequence: int | None = None) -> float:
    """Share of `peak` (FLOP/s) that the model's FLOPs are, at this many tokens/s per GPU; `CONVENTION`."""
    return tokens_per_second * flops_per_token(shape, sequence=sequence) / peak


def days(tokens: float, tokens_per_second: float, gpus: int) -> float:
    """tokens_per_second: per GPU."""
    return tokens / (tokens_per_second * gpus) / DAY


@dataclass(frozen=True)
class Measured:
    """FLOP/s of the model that one GPU reached, and where that is written."""

    flops: float
    device: str
    date: str
    source: str


def measured(gpu: Gpu, results: Path = RESULTS) -> Measured | None:
    """The rate of the eight-layer step on this kind of GPU; None where it was not measured, or on another kind."""
    path = results / STACK
    if not path.is_file():
        return None
    found = json.loads(path.read_text("utf-8"))
    if gpu.name not in found.get("device", ""):
        return None
    steps = [case.get("figures", {}).get("ours", {}).get("step") for case in found.get("cases", {}).values()]
    rates = [step["tflops"] for step in steps if step and "tflops" in step]
    return Measured(max(rates) * 1e12, found["device"], found["date"], f"benchmarks/results/{STACK}") if rates else None


def executed_flops(shape: Shape, policy: str, sequence: int | None = None) -> int:
    """FLOPs per token that a policy executes: "full" runs the layers forward twice; the others repeat norms only."""
    model = flops_per_token(shape, sequence=sequence)
    head = 6 * shape.vocab_size * shape.hidden
    return model + (model - head) // 3 if policy == "full" else model
