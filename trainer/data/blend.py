"""From a global sample number to (source, sample of that source): exact shares at any moment, no index.

Source k with share w_k gives its j-th sample (from 0) in a slot of floor(j / w_k) .. ceil((j + 1) / w_k) - 1. Where
every sample keeps to its window, each source's count is within one sample of w_k n after every n, never a whole one off
(Baruah et al. 1996, "Proportionate progress"; Tijdeman 1980, the chairman assignment problem). Earliest deadline first
finds such an order where there is one, and there is one: give every slot to all sources in parts of w_k.

Random access: slots come in blocks. Which of the sources that are due around a border come before it is chosen from
the slots next to the border alone: by earliest deadline, among the choices that the slots before it leave possible.
Those choices form a matroid, so the greedy one serves every deadline that any choice could, and whatever the two
borders of a block say, the block has an order. So a block follows from its number, in one pass over its samples, and
nothing is kept. Shares are integers over 2^40 and all arithmetic is exact: a drift of 0.001 samples in 8 T tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

UNIT = 1 << 40
LARGEST_BLOCK = 1 << 22
"""Samples: times UNIT it stays below 2^63."""
HELD_BLOCKS = 4


class Blend:
    """weights: one per source, any positive scale. block: samples that are ordered at a time.

    ValueError where a weight comes to less than one sample per block, or the block is above `LARGEST_BLOCK`.
    """

    def __init__(self, weights: Sequence[float], block: int = 1 << 16):
        self.block = block
        self.shares = _integer_shares(weights)  # (sources,) int64, sum UNIT
        if block > LARGEST_BLOCK:
            raise ValueError(f"a block of {block:,} samples: lower data.block_samples to {LARGEST_BLOCK:,} or less")
        poorest = int(self.shares.min()) * block
        if poorest < UNIT:
            raise ValueError(
                f"a weight of {poorest / block / UNIT:.2g} is less than one sample per block of {block}: "
                f"raise data.block_samples to {-(-UNIT // max(1, int(self.shares.min())))} or more, or drop the source"
            )
        self._order = lru_cache(HELD_BLOCKS)(self._ordered)
        self._before = lru_cache(2 * HELD_BLOCKS)(self._given)

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
        if rest == 0:
            return self._before(block).copy()
        order, _ = self._order(block)
        return self._before(block) + np.bincount(order[:rest], minlength=len(self.shares))

    def _given(self, block: int) -> np.ndarray:
        """(sources,) int64: samples before slot n = block * self.block: what is due, rounded down, and for those that
        `_early` chose, up."""
        whole, rest = self._due(block)
        given = whole.copy()
        if rest.any():
            given[self._early(rest)] += 1
        return given

    def _due(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """n w of each source at block's first slot n, whole samples and the rest in UNITs, int64 each."""
        due = [int(share) * block * self.block for share in self.shares]  # Python integers: exact whatever the size
        return np.array([d // UNIT for d in due], np.int64), np.array([d % UNIT for d in due], np.int64)

    def _early(self, rest: np.ndarray) -> np.ndarray:
        """Sources that give the sample whose window holds the border, slot 0 here, before the border.

        The slots before it that no other sample must have are tickets, E(a) of them from slot a on, where E falls to
        the least of what any longer stretch leaves. From the first ticket on, each goes to the source whose window is
        open and ends first; of those with a ticket, the first `sum of rests` by deadline are taken.
        """
        share, block = self.shares, self.block
        _, opening = self._windows_before(rest)  # of samples that end before the border, in -block .. -1
        free = np.cumsum(1 - np.bincount(opening + block, minlength=block)[::-1])[::-1]  # from each slot on
        tickets = np.minimum.accumulate(free[1:])  # from slot -block + 1 on: `free` of all slots is settled by counts
        per_slot = tickets - np.append(tickets[1:], 0)
        straddling = np.flatnonzero(rest)
        opens = np.maximum(-rest[straddling] // share[straddling], -block)
        closes = -((rest[straddling] - UNIT) // share[straddling])
        wanted = int(rest.sum()) // UNIT  # a whole number: the shares' sum is UNIT
        slots = np.repeat(np.arange(1 - block, 0), np.maximum(per_slot, 0))
        slots = np.concatenate([np.full(len(straddling), -block), slots])
        arriving = np.argsort(opens, kind="stable").tolist()
        ready: list[tuple[int, int]] = []
        with_ticket: list[tuple[int, int]] = []
        at = 0
        for slot in slots.tolist():
            while at < len(arriving) and opens[arriving[at]] <= slot:
                heapq.heappush(ready, (int(closes[arriving[at]]), int(straddling[arriving[at]])))
                at += 1
            if ready:
                with_ticket.append(heapq.heappop(ready))
        return np.array([source for _, source in sorted(with_ticket)[:wanted]], np.int64)

    def _windows_before(self, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Samples whose windows open in slots -block .. -1 and end by 0: source and opening slot, int64 each."""
        sources, opening = [], []
        for k, (share, left) in enumerate(zip(self.shares.tolist(), rest.tolist(), strict=True)):
            back = np.arange(1, self.block * share // UNIT + 2, dtype=np.int64)
            opens = (-back * UNIT - left) // share
            opens = opens[opens >= -self.block]
            opening.append(opens)
            sources.append(np.full(len(opens), k))
        return np.concatenate(sources), np.concatenate(opening)

    def _ordered(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources of a block's slots, int32 [block], and each sample's rank within its source, int32 [block]."""
        size, sources = self.block, len(self.shares)
        if sources == 1:
            return np.zeros(size, np.int32), np.arange(size, dtype=np.int32)
        whole, rest = self._due(block)
        first, last = self._before(block), self._before(block + 1)
        key, opening = [], []
        for k, (share, left) in enumerate(zip(self.shares.tolist(), rest.tolist(), strict=True)):
            number = np.arange(first[k] - whole[k], last[k] - whole[k], dtype=np.int64) * UNIT - left
            opening.append(np.maximum(number // share, 0))
            key.append(np.minimum(-((-number - UNIT) // share), size) * sources + k)  # deadline, then source
        opens = np.concatenate(opening)
        by_opening = np.argsort(opens, kind="stable")
        opens_list, keys = opens[by_opening].tolist(), np.concatenate(key)[by_opening].tolist()
        order = np.empty(size, np.int32)
        ready: list[int] = []
        at = 0
        for slot in range(size):
            while at < size and opens_list[at] <= slot:
                heapq.heappush(ready, keys[at])
                at += 1
            order[slot] = heapq.heappop(ready) % sources
        rank = np.empty(size, np.int32)
        by_source = np.argsort(order, kind="stable")
        taken = np.bincount(order, minlength=sources)
        rank[by_source] = np.arange(size) - np.repeat(np.cumsum(taken) - taken, taken)
        return order, rank


def _integer_shares(weights: Sequence[float]) -> np.ndarray:
    exact = np.asarray(weights, np.float64) / np.sum(np.asarray(weights, np.float64)) * UNIT
    shares = np.floor(exact).astype(np.int64)
    shares[np.argsort(-(exact - shares), kind="stable")[: UNIT - int(shares.sum())]] += 1
    return shares
