"""How the model's depth is cut into the chunks of a pipeline. Arithmetic only: no tensors, no torch.

Rank r of p pipeline ranks holds chunks r, p + r, 2p + r ... of p * v (v: `parallel.virtual_stages`). The head costs as
much as several layers, so the last chunk gets fewer of them. Running the chunks is `trainer.parallel.pipeline`.
"""

from __future__ import annotations

from typing import NamedTuple

from gristmill.trainer.errors import ConfigError
from gristmill.trainer.model.shape import Shape, flops_per_token


class Chunk(NamedTuple):
    """Layers first to last - 1 of the whole model, with the embedding, with final norm and head."""

    first: int
    last: int
    embed: bool
    head: bool


def head_work(shape: Shape, sequence: int | None = None) -> float:
    """The head's FLOPs in layers: 6 V h / (FLOPs of a layer), 3.6 for the 15B, 1.3 for the 340B at 4,096 tokens."""
    head = 6 * shape.vocab_size * shape.hidden
    return head * shape.layers / (flops_per_token(shape, sequence=sequence) - head)


def cut(layers: int, stages: int, virtual: int, head: float = 0.0) -> list[list[Chunk]]:
    """rank -> its `virtual` chunks, in order of depth: which layers of the whole model each holds.

    head: what the head takes beside one layer (`head_work`); 0 splits the layers alone. The last chunk has so many
    layers that the sum over turns of the slowest rank's chunk is least, perhaps none; the others are equal but for
    what does not divide, which goes to late chunks: early ranks have more micro-batches in flight, the first one the
    embedding too. The embedding is a lookup and counts nothing. ConfigError where chunks would be empty.
    """
    count = stages * virtual
    least = 0 if head and count > 1 else 1
    most = layers - (count - 1)
    if most < least or (virtual > 1 and stages == 1):
        raise ConfigError(
            f"parallel: pipeline {stages} x virtual_stages {virtual} makes {count} chunks of {layers} layers"
            f"{'' if most < least else ' on one rank'}: lower virtual_stages or pipeline"
        )
    choices = [_sizes(layers, count, stages, last) for last in (range(least, most + 1) if count > 1 else [layers])]

    def slowest(sizes: list[int]) -> tuple[float, int]:
        work = [*map(float, sizes[:-1]), sizes[-1] + head]
        return round(sum(max(work[turn : turn + stages]) for turn in range(0, count, stages)), 9), -sizes[-1]

    sizes = min(choices, key=slowest)
    bounds = [sum(sizes[:i]) for i in range(count + 1)]
    chunks = [Chunk(bounds[i], bounds[i + 1], i == 0, i == count - 1) for i in range(count)]
    return [chunks[rank::stages] for rank in range(stages)]


def _sizes(layers: int, count: int, stages: int, last: int) -> list[int]:
    """Layers of each chunk if the last has `last`."""
    if count == 1:
        return [last]
    each, left = divmod(layers - last, count - 1)
    return [each] * (count - 1 - left) + [each + 1] * left + [last]
