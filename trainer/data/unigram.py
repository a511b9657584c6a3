"""Unigram entropy of a blend: what a model that knows only token frequencies would score, in nats per token.

    H = - sum over v of p(v) ln p(v),   p(v) = sum over sources of weight * frequency of v in the source

A trained model must come out well below it; a loss that hovers at H has learned nothing but frequencies. Counted
over the shards' first tokens up to a limit, as there are trillions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gristmill.trainer.data.shard_set import ShardSet

MAX_TOKENS = 50_000_000
"""Tokens counted per source."""
_BLOCK = 1 << 24


def unigram_entropy(sets: Sequence[ShardSet], weights: Sequence[float]) -> float:
    """Nats per token of the blend of these shard sets with these weights (any scale)."""
    size = max(shard_set.vocab_size for shard_set in sets)
    mixture = np.zeros(size)
    for shard_set, weight in zip(sets, weights, strict=True):
        counts = token_counts(shard_set, size)
        mixture += weight / sum(weights) * counts / counts.sum()
    p = mixture[mixture > 0]
    return float(-(p * np.log(p)).sum())


def token_counts(shard_set: ShardSet, size: int) -> np.ndarray:
    """int64 [size]: how often each id occurs in the set's first MAX_TOKENS tokens."""
    counts, left = np.zeros(size, np.int64), MAX_TOKENS
    for index in range(len(shard_set.manifest["shards"])):
        tokens = shard_set.reader(index).tokens[:left]
        for start in range(0, len(tokens), _BLOCK):
            counts += np.bincount(tokens[start : start + _BLOCK], minlength=size)
        left -= len(tokens)
        if left <= 0:
            break
    return counts
