"""Layouts of a model over GPUs, side by side: memory, whether it fits, how long training takes.

A layout is tensor x pipeline x data parallel, the micro-batch and what is kept of the activations. Shown are those
that the shape and the batch allow: tensor-parallel ranks divide heads, MLP and vocabulary, data-parallel ranks the
sequences of a step. A model above `PIPELINED` parameters is shown with pipelines, others without.

Memory is `trainer.planning.estimate`'s, times are `trainer.planning.rates`'s: where no GPU was measured there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gristmill.trainer.model.shape import Shape, parameters
from gristmill.trainer.parallel.pipeline_schedule import bubble
from gristmill.trainer.planning.estimate import GIB, Layout, Memory, memory, reserve
from gristmill.trainer.planning.rates import Gpu, Measured, days, executed_flops, measured, mfu

TENSOR, POLICIES = (1, 2, 4, 8), ("all", "lean", "full")
PIPELINED, PIPELINES = 1e11, (8, 12, 16)
MOST = 64
"""Sequences of a micro-batch up to which the largest that fits is looked for."""


@dataclass(frozen=True)
class Question:
    """What is asked. sequences: of a step; tokens: of the run; sequence: tokens each; gpus: numbers of GPUs."""

    shape: Shape
    gpu: Gpu
    gpus: tuple[int, ...]
    micro_batch: int
    sequences: int
    tokens: int
    sequence: int
    width: int = 2


@dataclass(frozen=True)
class Answer:
    """One layout. free: bytes that are left beside peak and reserve, negative where it does not fit; largest: the
    micro-batch that still fits, 0 for none; tokens_per_second: per GPU, None where not measured."""

    layout: Layout
    memory: Memory
    reserve: int
    free: int
    largest: int
    tokens_per_second: float | None
    mfu: float | None
    days: float | None
    gpu_hours: float | None


def answers(question: Question, given: Layout | None = None) -> Iterator[Answer]:
    """Every layout of the question; `given`, a configuration's own, comes first."""
    rate = measured(question.gpu)
    seen = []
    for layout in [*([given] if given else []), *_layouts(question)]:
        if layout not in seen:
            seen.append(layout)
            yield _answer(question, layout, rate)


def divides(shape: Shape, tensor: int) -> bool:
    """Whether the ranks of a tensor-parallel group get equal parts."""
    return not any(size % tensor for size in (shape.heads, shape.kv_heads, shape.ffn, shape.vocab_size))


def _layouts(question: Question) -> Iterator[Layout]:
    shape, big = question.shape, parameters(question.shape) > PIPELINED
    for gpus in question.gpus:
        for tensor in reversed(TENSOR[-1:] if big else TENSOR):
            for pipeline in PIPELINES if big else (1,):
                data = gpus // (tensor * pipeline)
                if not divides(shape, tensor) or data * tensor * pipeline != gpus or question.sequences % data:
                    continue
                virtual = shape.layers // pipeline if pipeline > 1 else 1  # a layer a chunk: the shortest bubble
                batch = min(question.micro_batch, question.sequences // data)
                for policy in POLICIES:
                    yield Layout(tensor, pipeline, data, batch, policy, virtual, question.width)


def _answer(question: Question, layout: Layout, rate: Measured | None) -> Answer:
    shape, sequence = question.shape, question.sequence
    found, kept_free, free = _memory(question, layout)
    speed = share = time = None
    if rate is not None:
        batches = max(1, question.sequences // (layout.data * layout.micro_batch))
        idle = bubble(layout.pipeline, layout.virtual, batches)
        speed = rate.flops / executed_flops(shape, layout.policy, sequence) / (1 + idle)
        share = mfu(shape, speed, question.gpu.peak, sequence)
        time = days(question.tokens, speed, layout.gpus)
    return Answer(
        layout,
        found,
        kept_free,
        free,
        _largest(question, layout),
        speed,
        share,
        time,
        time * 24 * layout.gpus if time is not None else None,
    )


def _memory(question: Question, layout: Layout) -> tuple[Memory, int, int]:
    """(peak, reserve, bytes of the GPU that are left)."""
    found = memory(question.shape, layout, question.sequence)
    kept_free = reserve(layout, found)
    return found, kept_free, int(question.gpu.memory) - found.total - kept_free


def _largest(question: Question, layout: Layout) -> int:
    """The largest power of two of sequences that fits and that a replica has in a step; 0 for none."""
    largest, size, share = 0, 1, question.sequences // layout.data
    while size <= min(MOST, share) and _memory(question, replace(layout, micro_batch=size))[2] >= 0:
        largest, size = size, 2 * size
    return largest


HEADINGS = (
    "TP", "PP", "DP", "GPUs", "batch", "keep", "parameters", "states", "activations", "work", "total", "fits",
    "largest", "tokens/s", "MFU", "days", "GPU-hours",
)  # fmt: skip


def cells(answer: Answer) -> tuple[str, ...]:
    """A row of the table under `HEADINGS`, memory in GiB."""
    at, found = answer.layout, answer.memory
    free = answer.free / GIB
    pipeline = f"{at.pipeline}x{at.virtual}" if at.virtual > 1 else str(at.pipeline)
    times = ("not measured", "–", "–", "–")
    if answer.tokens_per_second is not None and answer.mfu is not None and answer.gpu_hours is not None:
        times = (
            f"{answer.tokens_per_second:,.0f}",
            f"{answer.mfu:.1%}",
            f"{answer.days:.1f}",
            f"{answer.gpu_hours:,.0f}",
        )
    return (
        *(str(at.tensor), pipeline, str(at.data), f"{at.gpus:,}", str(at.micro_batch), at.policy),
        _billions(found.parameters_count),
        *(_gib(size) for size in (found.states, found.activations, found.working, found.total)),
        f"yes, {_plain(free)} free" if free >= 0 else f"no, {_plain(-free)} short",
        str(answer.largest or "–"),
        *times,
    )


def numbers(answer: Answer) -> dict[str, object]:
    """The same for programs: bytes and numbers."""
    at, found = answer.layout, answer.memory
    return {
        "tensor": at.tensor,
        "pipeline": at.pipeline,
        "virtual_stages": at.virtual,
        "data": at.data,
        "gpus": at.gpus,
        "micro_batch_size": at.micro_batch,
        "activations": at.policy,
        "parameters_per_rank": found.parameters_count,
        "bytes": {
            "states": found.states,
            "activations": found.activations,
            "working": found.working,
            "total": found.total,
            "reserve": answer.reserve,
            "free": answer.free,
        },
        "fits": answer.free >= 0,
        "largest_micro_batch": answer.largest,
        "tokens_per_second_per_gpu": answer.tokens_per_second,
        "mfu_attention_non_causal": answer.mfu,
        "days": answer.days,
        "gpu_hours": answer.gpu_hours,
    }


def _gib(size: int) -> str:
    return _plain(size / GIB)


def _plain(gib: float) -> str:
    return f"{gib:.1f}" if gib >= 0.1 else f"{gib:.3f}"


def _billions(count: int) -> str:
    return f"{count / 1e9:.3f} B" if count >= 1e7 else f"{count / 1e6:.3f} M"
