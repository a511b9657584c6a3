"""`train plan`: what a model or a run will need and do, before anything is started.

Parameters and FLOPs per token under both conventions, the layouts with their memory and time
(`trainer.planning.layouts`), the published run beside which they stand (`trainer.planning.rates`), and, for a
configuration, batch and learning rate over tokens (`trainer.planning.schedule_table`). Opens no shards and builds no
model.
"""

from __future__ import annotations

from math import gcd

from gristmill.trainer.config.keys import Config
from gristmill.trainer.model.shape import Shape, flops_per_token, parameters
from gristmill.trainer.planning.estimate import Layout
from gristmill.trainer.planning.layouts import PIPELINED, Question
from gristmill.trainer.planning.rates import DAY, PAPER, PAPER_GPU, PAPER_SHAPE, PAPER_TOKENS, Gpu, days, mfu

NODE = 8
"""GPUs of a node."""
MANY = {True: (1_536, 6_144), False: (NODE, 2_304)}
"""GPUs that are shown where none are asked for, by whether the model needs a pipeline: those of the papers' runs (15B:
Parmar et al. 2024, Table 2; 340B: arXiv 2406.11704, Table 2), and one node."""
SEQUENCES = {True: 2_304, False: 1_152}
"""Sequences of a step in these runs."""


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


def question(
    shape: Shape, config: Config | None, gpu: Gpu, gpus: int | None = None, micro_batch: int | None = None
) -> tuple[Question, Layout | None]:
    """What `plan_layouts.answers` is asked: numbers of the configuration, or of the paper's run for a preset.

    gpus, micro_batch: instead of theirs. With a configuration comes its own layout, if it is one of that many GPUs.
    """
    big = parameters(shape) > PIPELINED
    if config is None:
        counts = (gpus,) if gpus else MANY[big]
        return Question(shape, gpu, counts, micro_batch or 1, SEQUENCES[big], PAPER_TOKENS, shape.context), None
    at, width = config.parallel, 4 if config.dtype == "float32" else 2
    model = at.tensor * at.pipeline
    batch, sequences = micro_batch or config.micro_batch_size, config.phases[-1].batch_ramp[-1].sequences
    data = gpus // model if gpus else at.data or gcd(max(1, NODE // model), sequences)
    own = Layout(at.tensor, at.pipeline, data, batch, config.activations, at.virtual_stages, width)
    tokens = sum(phase.tokens for phase in config.phases)
    counts = (gpus,) if gpus else (own.gpus,) if at.data else MANY[big]
    asked = Question(shape, gpu, counts, batch, sequences, tokens, config.sequence(), width)
    return asked, None if gpus and own.gpus != gpus else own


PUBLISHED = ("TP", "DP", "GPUs", "sequences", "s/step", "tokens/s", "MFU", "tokens", "steps", "days", "GPU-hours")


def published_rows(shape: Shape) -> list[tuple[str, ...]]:
    """The paper's stages under `PUBLISHED`, and their sum; none for another model than the 15B.

    s/step is the paper's (Parmar et al. 2024, Table 2); tokens/s per GPU, MFU, days and GPU-hours follow from it.
    """
    if shape != PAPER_SHAPE:
        return []
    rows: list[tuple[str, ...]] = []
    time = hours = 0.0
    for stage in PAPER:
        rate = stage.rate(shape)
        took = days(stage.tokens, rate, stage.gpus)
        time, hours = time + took, hours + took * 24 * stage.gpus
        rows.append(
            (
                *(str(stage.tensor), str(stage.data), f"{stage.gpus:,}", f"{stage.sequences:,}", f"{stage.seconds}"),
                f"{rate:,.0f}",
                f"{mfu(shape, rate, PAPER_GPU.peak):.1%}",
                f"{stage.tokens / 1e9:,.0f} B",
                f"{took * DAY / stage.seconds:,.0f}",
                f"{took:.1f}",
                f"{took * 24 * stage.gpus:,.0f}",
            )
        )
    return [*rows, ("", "", "", "", "", "", "", f"{PAPER_TOKENS / 1e9:,.0f} B", "", f"{time:.1f}", f"{hours:,.0f}")]
