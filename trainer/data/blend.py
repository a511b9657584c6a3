"""From a global sample number to (source, sample of that source): exact shares at any moment, no state, no arrays.

Samples come in blocks of 2^16. A block's quota per source is the largest remainder of what it is owed at the block's
end, the deficit carried over: at any block's end each source is within one sample of its share. Within a block the
sources are interleaved by earliest deadline (Tijdeman 1980, the chairman assignment problem): sample i of a source
with quota q may come no earlier than i S / q and no later than (i + 1) S / q, so its count is within one of its
quota's share at every sample, hence within two of its weight's. A random order within the block would stray by
about a hundred. Shares are integers over 2^30, so nothing depends on floating point.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

UNIT = 1 << 30


class Blend:
    """weights: one per source, any positive scale. block: samples per quota block."""

    def __init__(self, weights: Sequence[float], block: int = 1 << 16):
        self.block = block
        self.shares = _integer_shares(weights)  # (sources,) int64, sum UNIT
        poorest = int(self.shares.min()) * block
        if poorest < UNIT:
            raise ValueError(
                f"a weight of {poorest / block / UNIT:.2g} is less than one sample per block of {block}: "
                f"raise data.block_samples to {-(-UNIT // max(1, int(self.shares.min())))} or more, or drop the source"
            )
        self._ends = np.zeros((1, len(self.shares)), np.int64)  # samples per source before each block

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """samples: int64 [n], from 0 -> source int64 [n], number of the sample within its source int64 [n]."""
        samples = np.asarray(samples, np.int64)
        source, local = np.empty_like(samples), np.empty_like(samples)
        blocks = samples // self.block
        for block in np.unique(blocks):
            here = blocks == block
            order, rank = self._order(int(block))
            at = samples[here] - block * self.block
            source[here] = order[at]
            local[here] = self._before(int(block))[order[at]] + rank[at]
        return source, local

    def counts(self, samples: int) -> np.ndarray:
        """(sources,) int64: how many of the first `samples` samples each source gives."""
        block, rest = divmod(samples, self.block)
        order, _ = self._order(block)
        return self._before(block) + np.bincount(order[:rest], minlength=len(self.shares))

    def _order(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        quota = self._before(block + 1) - self._before(block)
        return _interleave(tuple(quota.tolist()))

    def _before(self, block: int) -> np.ndarray:
        if block >= len(self._ends):
            rows = [*self._ends]
            for b in range(len(rows), block + 1):
                rows.append(rows[-1] + self._quota(b, rows[-1]))
            self._ends = np.array(rows)
        return self._ends[block]

    def _quota(self, block: int, given: np.ndarray) -> np.ndarray:
        """Samples of block `block` - 1: what is owed at its end, rounded down, the rest to the largest remainders.

        Each source is owed more than 0, as its share of a block is at least 1 and its excess below 1.
        """
        owed = self.shares.astype(object) * (block * self.block)  # Python integers: exact whatever the size
        quota = (owed // UNIT - given).astype(np.int64)
        short = self.block - int(quota.sum())
        by_remainder = np.argsort(-(owed % UNIT).astype(np.int64), kind="stable")
        quota[by_remainder[:short]] += 1
        return quota


def _integer_shares(weights: Sequence[float]) -> np.ndarray:
    exact = np.asarray(weights, np.float64) / np.sum(np.asarray(weights, np.float64)) * UNIT
    shares = np.floor(exact).astype(np.int64)
    shares[np.argsort(-(exact - shares), kind="stable")[: UNIT - int(shares.sum())]] += 1
    return shares


@lru_cache(maxsize=8)
def _interleave(quota: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Order of a block's sources, int16 [S], and each sample's rank within its source, int32 [S]."""
    size = sum(quota)
    arrivals: list[list[int]] = [[] for _ in range(size + 1)]
    arrivals[0] = [source for source, q in enumerate(quota) if q]
    done = [0] * len(quota)
    ready: list[tuple[int, int]] = []  # (deadline, source)
    order, rank = np.empty(size, np.int16), np.empty(size, np.int32)
    for slot in range(size):
        for source in arrivals[slot]:
            heapq.heappush(ready, (-(-(done[source] + 1) * size // quota[source]), source))
        _, source = heapq.heappop(ready)
        order[slot], rank[slot] = source, done[source]
        done[source] += 1
        if done[source] < quota[source]:
            arrivals[max(slot + 1, done[source] * size // quota[source])].append(source)
    return order, rank
