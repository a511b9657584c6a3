"""The trie of n-grams by their ends, with the adjusted counts and pruning of modified Kneser-Ney smoothing.

A node of order n is an n-gram; its children are the (n + 1)-grams that end in it, next to each other and ascending by
their first word, so a node is its first word (`labels`) and its number of children. Adjusted counts as KenLM's lmplz
has them (Heafield et al. 2013, section 3.2): of the highest order and of n-grams that begin with <s> the count; of all
others the number of distinct words before them. Pruning is by the count itself: `counts` of pruned n-grams have the bit
`PRUNED`.

    build(Counts, order, prune) -> Level 1 .. order

What is counted: adjusted counts of 1 to 4 for the discounts, pruned n-grams included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.ngram_counts import BEGIN, Counts

PRUNED = 1 << 31


class Level(NamedTuple):
    """The n-grams of one order in suffix order."""

    labels: np.ndarray  # (n,) uint16: the first word; of unigrams the word
    counts: np.ndarray  # (n,) uint32 adjusted, with PRUNED
    children: np.ndarray  # (n,) uint32: n-grams of the next order that end in it, pruned ones included
    last: tuple[int, int]  # of the last n-gram: adjusted count, count


def build(grams: Counts, order: int, prune: Sequence[int]) -> list[Level]:
    """Levels of order 1 to `order`.

    grams: all n-grams of the order that end in some set of word pairs, ascending, distinct, not none; where a word's
    pairs are not all here, its adjusted count is that of its part. prune: for each order the count up to which n-grams
    are pruned.
    """
    sizes = _sizes(grams.high, grams.low, order)
    bases = np.concatenate([[0], np.cumsum(sizes)])
    thresholds = np.array(prune, np.int64)
    labels, counts, children, last = _build(*grams, order, bases, thresholds)
    levels = []
    for n in range(order):
        part = slice(bases[n], bases[n + 1])
        levels.append(Level(labels[part], counts[part], children[part], (int(last[n, 0]), int(last[n, 1]))))
    return levels


def count_of_counts(counts: np.ndarray) -> list[int]:
    """[n-grams, n-grams that are not pruned, those with adjusted count 1, 2, 3, 4]. counts: (n,) uint32 of a level."""
    tally = np.bincount(np.minimum(counts & np.uint32(PRUNED - 1), 5), minlength=6)
    return [len(counts), int(np.count_nonzero(counts < PRUNED)), *tally[1:5].tolist()]


def recount(tally: Sequence[int], adjusted: int, own: int) -> list[int]:
    """As lmplz does, takes the very last n-gram of an order below the highest by its own count (adjust_counts.cc).

    adjusted, own: `last` of the level; no own count: there is none of that order.
    """
    result = list(tally)
    for value, change in ((adjusted, -1), (own, 1)) if own else ():
        if 1 <= value <= 4:
            result[1 + value] += change
    return result


@numba.njit(inline="always")
def _word(high, low, n):
    """The n-th word from the end, n from 1."""
    if n == 5:
        return np.uint16(low)
    return np.uint16(high >> np.uint64(16 * (4 - n)) & np.uint64(0xFFFF))


@numba.njit(inline="always")
def _alike(high, low, other_high, other_low, order):
    """How many words at their ends two n-grams have in common."""
    n = 0
    while n < order and _word(high, low, n + 1) == _word(other_high, other_low, n + 1):
        n += 1
    return n


@numba.njit(inline="always")
def _depth(high, low, order):
    """Words from the end to the first <s>, that included."""
    n = 2
    while n < order and _word(high, low, n) != BEGIN:
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _sizes(high, low, order):
    sizes = np.zeros(order, np.int64)
    for i in range(len(high)):
        same = _alike(high[i], low[i], high[i - 1], low[i - 1], order) if i else 0
        for n in range(same, _depth(high[i], low[i], order)):
            sizes[n] += 1
    return sizes


@numba.njit(cache=True, nogil=True)
def _build(high, low, frequency, order, bases, thresholds):
    total = bases[order]
    labels = np.empty(total, np.uint16)
    counts = np.empty(total, np.uint32)
    children = np.zeros(total, np.uint32)
    node = bases[:order] - 1  # the open one of each order
    seen = np.zeros(order, np.int64)  # its count
    last = np.zeros((order, 2), np.int64)
    open_depth = 0
    for i in range(len(high)):
        same = _alike(high[i], low[i], high[i - 1], low[i - 1], order) if i else 0
        depth = _depth(high[i], low[i], order)
        for n in range(same, open_depth):
            counts[node[n]] = _counted(n, order, labels[node[n]], children[node[n]], seen[n], thresholds)
        for n in range(same):
            seen[n] += frequency[i]
        for n in range(same, depth):
            node[n] += 1
            seen[n] = frequency[i]
            labels[node[n]] = _word(high[i], low[i], n + 1)
            if n:
                children[node[n - 1]] += 1
        open_depth = depth
    for n in range(open_depth):
        counts[node[n]] = _counted(n, order, labels[node[n]], children[node[n]], seen[n], thresholds)
        last[n, 0] = counts[node[n]] & np.uint32(PRUNED - 1)
        last[n, 1] = seen[n]
    return labels, counts, children, last


@numba.njit(inline="always")
def _counted(n, order, label, children, seen, thresholds):
    adjusted = seen if n == order - 1 or (n and label == BEGIN) else np.int64(children)
    return np.uint32(adjusted | PRUNED) if seen <= thresholds[n] else np.uint32(adjusted)
