"""Counts of n-grams of 2 to 5 words: from word ids to sorted distinct n-grams, and sorted runs merged into one.

    count(words, ends, order) -> Counts            Counts: high (n,) uint64, low (n,) uint16, counts (n,) uint32
    merge(Counts of runs end to end) -> Counts

A word is 16 bits, an n-gram a key of 80 in *suffix order*: its last word stands highest, so that n-grams that end alike
are neighbours. `high` holds the last four words, the last one in bits 48 to 63, `low` the fifth from the end; words
that the order has not are 0. Every line is a sentence: before its first word stands `BEGIN` as often as needed, after
its last one `END`. Five words fit 64 bits for sorting because a pair of words is replaced by its rank among the pairs
at hand.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

UNKNOWN, BEGIN, END = 0, 1, 2
"""KenLM's ids of <unk>, <s> and </s> (lm/builder/payload.hh)."""

MAX_ORDER = 5
MAX_WORDS = (1 << 24) - 2
"""Of one call, ends of lines included: a rank of a pair has 24 bits, and one pair is <s> <s>."""

_RANK = np.uint64(24)
_RANKS = np.uint64((1 << 24) - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio


class Counts(NamedTuple):
    high: np.ndarray
    low: np.ndarray
    counts: np.ndarray


def count(words: np.ndarray, ends: np.ndarray, order: int) -> Counts:
    """The distinct n-grams of some lines in suffix order, and how often each occurs.

    words: (w,) uint16 above `END`, those of all lines end to end; ends: (lines,) int64, where each line ends in them.
    ValueError for more than `MAX_WORDS` words and lines, or an order outside 2 to 5.
    """
    if not 2 <= order <= MAX_ORDER:
        raise ValueError(f"order {order} is not possible; choose 2 to {MAX_ORDER}")
    if len(words) + len(ends) > MAX_WORDS:
        raise ValueError(f"{len(words) + len(ends):,} words at once are too many; pass at most {MAX_WORDS:,}")
    pairs = _pairs(words, ends)
    if order < MAX_ORDER:
        keys = _four_words(pairs, words, ends, order)
        keys.sort()
        high, counts = _runs(keys)
        return Counts(high, np.zeros(len(high), np.uint16), counts)
    distinct = np.sort(np.append(pairs, np.uint32(BEGIN << 16 | BEGIN)))
    distinct = distinct[_firsts(distinct)]
    keys = _five_words(pairs, words, ends, distinct, _ranks(distinct))
    keys.sort()
    keys, counts = _runs(keys)
    high, low = _spelled(keys, distinct)
    return Counts(high, low, counts)


def merge(runs: Counts) -> Counts:
    """Runs that each ascend, end to end, as one: sorted, equal n-grams added up. Merged two by two, log2(runs) times.

    ValueError where a sum does not fit 31 bits.
    """
    while True:
        bounds = _bounds(runs.high, runs.low)
        if len(bounds) <= 2:
            break
        runs = Counts(*_merged(*runs, bounds))
    if len(runs.counts) and runs.counts.max() >= 1 << 31:
        raise ValueError("an n-gram occurs more than 2^31 times; take a sample of the text with --max-bytes")
    return runs


@numba.njit(cache=True, nogil=True)
def _pairs(words, ends):
    """(w + lines,) uint32: every word, lines' ends included, with the word before it in the lower half."""
    out = np.empty(len(words) + len(ends), np.uint32)
    at = begin = 0
    for end in ends:
        before = np.uint32(BEGIN)
        for i in range(begin, end):
            word = np.uint32(words[i])
            out[at] = word << np.uint32(16) | before
            before = word
            at += 1
        out[at] = np.uint32(END) << np.uint32(16) | before
        at += 1
        begin = end
    return out


@numba.njit(cache=True, nogil=True)
def _four_words(pairs, words, ends, order):
    keys = np.empty(len(pairs), np.uint64)
    none = np.uint64(BEGIN << 16 | BEGIN)
    mask = ~np.uint64(0) << np.uint64(16 * (4 - order))
    at = begin = 0
    for end in ends:
        for place in range(end - begin + 1):
            earlier = np.uint64(pairs[at - 2]) if place >= 2 else none
            keys[at] = (np.uint64(pairs[at]) << np.uint64(32) | earlier) & mask
            at += 1
        begin = end
    return keys


@numba.njit(cache=True, nogil=True)
def _five_words(pairs, words, ends, distinct, table):
    keys = np.empty(len(pairs), np.uint64)
    mask = np.uint64(len(table) - 1)
    none = _rank(table, mask, np.uint64(BEGIN << 16 | BEGIN))
    at = begin = 0
    for end in ends:
        before = none
        now = none
        for place in range(end - begin + 1):
            rank = _rank(table, mask, np.uint64(pairs[at]))
            fifth = np.uint64(words[begin + place - 4]) if place >= 4 else np.uint64(BEGIN)
            keys[at] = (rank << _RANK | before) << np.uint64(16) | fifth
            before, now = now, rank
            at += 1
        begin = end
    return keys


@numba.njit(cache=True, nogil=True)
def _ranks(distinct):
    """Open addressing: pair << 32 | its rank + 1, or 0."""
    size = 16
    while size < 2 * len(distinct):
        size *= 2
    table = np.zeros(size, np.uint64)
    mask = np.uint64(size - 1)
    for rank in range(len(distinct)):
        slot = (np.uint64(distinct[rank]) * _GOLDEN >> np.uint64(32)) & mask
        while table[slot]:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = np.uint64(distinct[rank]) << np.uint64(32) | np.uint64(rank + 1)
    return table


@numba.njit(inline="always")
def _rank(table, mask, pair):
    slot = (pair * _GOLDEN >> np.uint64(32)) & mask
    while table[slot] >> np.uint64(32) != pair:
        slot = (slot + np.uint64(1)) & mask
    return (table[slot] & np.uint64(0xFFFFFFFF)) - np.uint64(1)


@numba.njit(cache=True, nogil=True)
def _firsts(values):
    """Places of the first of every run of equal values."""
    out = np.empty(len(values), np.int64)
    n = 0
    for i in range(len(values)):
        if i == 0 or values[i] != values[i - 1]:
            out[n] = i
            n += 1
    return out[:n].copy()


@numba.njit(cache=True, nogil=True)
def _runs(keys):
    """Distinct keys and the lengths of their runs; written over `keys`."""
    counts = np.empty(len(keys), np.uint32)
    n = 0
    i = 0
    while i < len(keys):
        j = i + 1
        while j < len(keys) and keys[j] == keys[i]:
            j += 1
        keys[n] = keys[i]
        counts[n] = j - i
        n += 1
        i = j
    return keys[:n].copy(), counts[:n].copy()


@numba.njit(cache=True, nogil=True)
def _spelled(keys, distinct):
    high = np.empty(len(keys), np.uint64)
    low = np.empty(len(keys), np.uint16)
    for i in range(len(keys)):
        low[i] = keys[i] & np.uint64(0xFFFF)
        pairs = keys[i] >> np.uint64(16)
        high[i] = np.uint64(distinct[pairs >> _RANK]) << np.uint64(32) | np.uint64(distinct[pairs & _RANKS])
    return high, low


@numba.njit(cache=True, nogil=True)
def _bounds(high, low):
    """Where ascending runs start, and the end."""
    n = 1
    for i in range(1, len(high)):
        n += high[i] < high[i - 1] or (high[i] == high[i - 1] and low[i] <= low[i - 1])
    out = np.zeros(n + 1, np.int64)
    k = 1
    for i in range(1, len(high)):
        if high[i] < high[i - 1] or (high[i] == high[i - 1] and low[i] <= low[i - 1]):
            out[k] = i
            k += 1
    out[n] = len(high)
    return out


@numba.njit(cache=True, nogil=True)
def _merged(high, low, counts, bounds):
    """Neighbouring runs merged two by two."""
    out_high = np.empty_like(high)
    out_low = np.empty_like(low)
    out_counts = np.empty_like(counts)
    n = 0
    for run in range(0, len(bounds) - 1, 2):
        a, middle = bounds[run], bounds[run + 1]
        b, end = middle, bounds[min(run + 2, len(bounds) - 1)]
        while a < middle or b < end:
            if b == end:
                first, second = True, False
            elif a == middle:
                first, second = False, True
            elif high[a] == high[b]:
                first, second = low[a] <= low[b], low[b] <= low[a]
            else:
                first, second = high[a] < high[b], high[b] < high[a]
            source = a if first else b
            out_high[n], out_low[n] = high[source], low[source]
            total = np.uint64(0)
            if first:
                total += np.uint64(counts[a])
                a += 1
            if second:
                total += np.uint64(counts[b])
                b += 1
            out_counts[n] = min(total, np.uint64(0xFFFFFFFF))
            n += 1
    return out_high[:n], out_low[:n], out_counts[:n]
