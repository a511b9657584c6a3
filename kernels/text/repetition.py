"""How much of a document repeats itself: lines, paragraphs and word n-grams (Rae et al. 2021, A1.1 and Table A1).

What repeats is counted from its second occurrence on, and no character twice:

    top n-gram          n = 2, 3, 4: characters in the most frequent n-gram's occurrences; ties: the one with most
                        characters; 0 where no n-gram occurs twice
    duplicate n-grams   n = 5 to 10: characters in occurrences of n-grams that occurred before

Units are numbered in the order of their first occurrence: `number` takes a 64-bit hash. An n-gram is numbered level
by level: its key is (number of its first n - 1 words, number of its last word), exact once words are numbered. Where
words are single letters (`utf8`), n "words" are n x step of them, so that a limit means the same in every script. Only
where both (n - 1)-grams inside it occur twice can it occur twice, so the levels above 2 cost little on prose.

A hash table is open, never cleared and as large as what was put into it: a slot carries the generation that wrote it,
and a full table is entered again, four times as large, under the next one. Memory is that of what is distinct.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from gristmill.kernels.text.uncounted import uncounted
from gristmill.kernels.text.wide import fold

TOP_GRAMS = (2, 3, 4)
DUPLICATE_GRAMS = (5, 6, 7, 8, 9, 10)
SCRATCH = 6
GRAM_COLUMNS = len(TOP_GRAMS) + len(DUPLICATE_GRAMS)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth, The Art of Computer Programming 3, 6.4)
_HIGH = np.uint64(32)
_SMALL = 1 << 10  # slots of an empty table

Table: Any = namedtuple("Table", ["slots", "keys", "state"])
"""slots: (table_size(n),) int64, zeros at first. keys: (n,) uint64. state: (3,) int64: generation, mask, count.
n: the most keys that may ever be in it; only the part of the arrays that is used becomes memory."""


def table(n: int) -> Any:
    """An empty table for at most n keys."""
    return Table(np.zeros(max(table_size(n), _SMALL), np.int64), np.empty(n, np.uint64), np.array([1, _SMALL - 1, 0]))


@uncounted
def table_size(n):
    """Slots for n keys: a power of two, between three eighths and three quarters full."""
    size = 16
    while size * 3 < n * 4:
        size *= 2
    return size


@uncounted
def clear(table):
    """Forgets every key."""
    table.state[0] += 1
    table.state[1] = _SMALL - 1
    table.state[2] = 0


@uncounted
def number(key, table):
    """Number of `key`, counted from 0 in the order of first occurrence; it is recorded if it is new."""
    slots, keys, state = table
    generation, mask, count = state[0], state[1], state[2]
    at = np.int64(fold(key, _GOLDEN)) & mask
    while True:
        slot = slots[at]
        if slot >> 32 != generation:
            slots[at] = generation << 32 | count
            keys[count] = key
            state[2] = count + 1
            if (count + 1) * 4 > mask * 3:
                _grow(table)
            return count
        found = slot & 0xFFFFFFFF
        if keys[found] == key:
            return found
        at = (at + 1) & mask


@uncounted
def find(key, table):
    """Number of `key`, -1 if it is not in the table."""
    slots, keys, state = table
    at = np.int64(fold(key, _GOLDEN)) & state[1]
    while slots[at] >> 32 == state[0]:
        found = slots[at] & 0xFFFFFFFF
        if keys[found] == key:
            return found
        at = (at + 1) & state[1]
    return -1


@uncounted
def _grow(table):
    slots, keys, state = table
    state[0] += 1
    state[1] = mask = min(4 * state[1] + 3, len(slots) - 1)
    for k in range(state[2]):
        at = np.int64(fold(keys[k], _GOLDEN)) & mask
        while slots[at] >> 32 == state[0]:
            at = (at + 1) & mask
        slots[at] = state[0] << 32 | k


@uncounted
def count_occurrences(scratch, n, distinct):
    """Fills the second row of scratch: how often each number below `distinct` is among the first n of the first row,
    the words' numbers. `grams` uses it up."""
    words, counts = scratch[0], scratch[1]
    counts[:distinct] = 0
    for i in range(n):
        counts[words[i]] += 1


@uncounted
def grams(scratch, before, n, step, table, out):
    """Fills out, (9,) int64: characters in the top 2-, 3-, 4-gram, then in duplicate 5- to 10-grams.

    scratch: (SCRATCH, >= n) int32, its first row the words' numbers, its second how often each occurs. before: (> n,)
    int32, characters in words 0 .. i - 1. step: what a word of the n-gram is in such words. table: written over, like
    the other rows of scratch.
    """
    if n < 2:
        return
    slots, keys, state = table
    words, counts, last, covered = scratch[0], scratch[1], scratch[2], scratch[3]
    gram = scratch[4]  # number of the gram that starts at i, or -1 where that gram occurs once
    alive = scratch[5]  # starts of the grams that occur twice or more, ascending
    left = 0
    for i in range(n):
        gram[i] = -1
        if counts[words[i]] > 1:
            gram[i] = words[i]
            alive[left] = i
            left += 1
    generation = state[0]
    for size in range(2, 10 * step + 1):
        if left == 0:
            break
        generation += 1
        mask = min(table_size(left), len(slots)) - 1
        found = marked = duplicate = kept = 0
        for a in range(left):
            i = alive[a]
            if i + size > n or gram[i + 1] < 0:
                gram[i] = -1
                continue
            key = np.uint64(gram[i]) << _HIGH | np.uint64(words[i + size - 1])
            at = np.int64(fold(key, _GOLDEN)) & mask
            while True:
                slot = slots[at]
                if slot >> 32 != generation:
                    slots[at] = generation << 32 | found
                    keys[found] = key
                    counts[found], last[found], covered[found] = 1, i, before[i + size] - before[i]
                    gram[i] = found
                    found += 1
                    break
                k = slot & 0xFFFFFFFF
                if keys[k] == key:
                    counts[k] += 1
                    covered[k] += before[i + size] - before[max(i, last[k] + size)]
                    last[k] = i
                    duplicate += before[i + size] - before[max(i, marked)]
                    marked = i + size
                    gram[i] = k
                    break
                at = (at + 1) & mask
            alive[kept] = i
            kept += 1
        column = size // step - 2
        if size % step == 0 and column >= 0:
            out[column] = _top(counts, covered, found) if column < len(TOP_GRAMS) else duplicate
        left = 0
        for a in range(kept):
            i = alive[a]
            if counts[gram[i]] > 1:
                alive[left] = i
                left += 1
            else:
                gram[i] = -1
    state[0] = generation


@uncounted
def _top(counts, covered, found):
    most, characters = 1, 0
    for k in range(found):
        if counts[k] > most or (counts[k] == most > 1 and covered[k] > characters):
            most, characters = counts[k], covered[k]
    return characters
