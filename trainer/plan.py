"""`train plan`: what a model or a run will need and do, before anything is started.

Parameters and FLOPs per token under both conventions, memory of the states and activations per rank, and, for a
configuration, batch and learning rate over tokens. Opens no shards and builds no model.
"""

from __future__ import annotations

from trainer.config import Config
from trainer.estimate import activation_bytes, parameters_per_rank, state_memory
from trainer.schedule import Schedule
from trainer.shape import Shape, flops_per_token, parameters

GIB = 1 << 30
LAYOUTS = ((8, 1), (8, 96), (8, 288), (4, 8), (2, 8), (1, 8), (1, 1))
"""(tensor, data) parallel sizes shown; 8 x 96 and 8 x 288 are the paper's (Parmar et al. 2024, Table 2)."""


def model_rows(shape: Shape) -> list[tuple[str, str]]:
    """Label and value."""
    embeddings = 2 * shape.vocab_size * shape.hidden
    return [
        ("layers / hidden / MLP", f"{shape.layers} / {shape.hidden:,} / {shape.ffn:,}"),
        ("query / KV heads / head dim", f"{shape.heads} / {shape.kv_heads} / {shape.head_dim}"),
        ("context / vocabulary", f"{shape.context:,} / {shape.vocab_size:,}"),
        ("parameters", f"{parameters(shape):,}"),
        ("  of them embeddings and head", f"{embeddings:,}"),
        ("FLOPs per token, attention non-causal", f"{flops_per_token(shape):,}"),
        ("FLOPs per token, attention causal", f"{flops_per_token(shape, causal=True):,}"),
    ]


def memory_rows(shape: Shape, layouts: tuple[tuple[int, int], ...], fp32: bool = False) -> list[tuple[str, ...]]:
    """tensor, data, parameters per rank, states with fp32 and bf16 gradients, activations per sequence; GiB.

    Layouts that do not split the heads evenly are left out. fp32: parameters are fp32 and their own main copy.
    """
    rows: list[tuple[str, ...]] = []
    for tensor, data in layouts:
        if shape.heads % tensor or shape.kv_heads % tensor:
            continue
        width = 4 if fp32 else 2
        states = [state_memory(shape, tensor, data, gradient, width).states / GIB for gradient in (4, 2)]
        activations = activation_bytes(shape, shape.context, tensor) * (width // 2) / GIB
        rows.append(
            (
                str(tensor),
                str(data),
                f"{parameters_per_rank(shape, tensor):,}",
                f"{states[0]:.1f}" if states[0] >= 0.1 else f"{states[0]:.3f}",
                "–" if fp32 else f"{states[1]:.1f}",
                f"{activations:.2f}",
            )
        )
    return rows


def schedule_rows(config: Config, points: int = 8) -> list[tuple[str, ...]]:
    """phase, tokens, step, sequences per step, tokens per step, learning rate: at `points` places of each phase and
    wherever batch, phase or warm-up change."""
    schedule = Schedule(config.phases, config.sequence())
    marks = {schedule.total_tokens}
    start = 0
    for phase in config.phases:
        marks |= {start + phase.tokens * i // points for i in range(points)}
        if phase.learning_rate and phase.learning_rate.warmup_tokens:
            marks.add(start + phase.learning_rate.warmup_tokens)
        start += phase.tokens
    marks |= {stretch.start for stretch in schedule.stretches}
    rows: list[tuple[str, ...]] = []
    for tokens in sorted(marks):
        step = schedule.at(-(-tokens // schedule.sequence))
        rate = f"{schedule.learning_rate(tokens):.3e}"
        if step is None:
            rows.append(("end", f"{tokens:,}", f"{schedule.total_steps:,}", "", "", rate))
            continue
        per_step = f"{step.sequences * schedule.sequence:,}"
        rows.append((str(step.phase), f"{tokens:,}", f"{step.index:,}", f"{step.sequences:,}", per_step, rate))
    return rows
