"""How much of a document repeats itself: lines, paragraphs and word n-grams (Rae et al. 2021, A1.1 and Table A1).

All three take units as 64-bit hashes with their lengths in characters. What repeats is counted from its second
occurrence on, and no character twice:

    duplicates          units equal to an earlier one, and their characters
    top n-gram          n = 2, 3, 4: characters in the most frequent n-gram's occurrences; ties: the one with most
                        characters; 0 where no n-gram occurs twice
    duplicate n-grams   n = 5 to 10: characters in occurrences of n-grams that occurred before

An n-gram is interned level by level: its key is (number of its first n - 1 words, number of its last word), exact
once words are numbered. Where words are single letters (`utf8`), n "words" are n x step of them, so that a limit
means the same in every script. Only where both (n - 1)-grams inside it occur twice can it occur twice, so the levels
above 2 cost little on prose. The hash tables are open and never cleared: a slot carries the generation that wrote it.
"""

from __future__ import annotations

import numba
import numpy as np

TOP_GRAMS = (2, 3, 4)
DUPLICATE_GRAMS = (5, 6, 7, 8, 9, 10)
GRAM_COLUMNS = len(TOP_GRAMS) + len(DUPLICATE_GRAMS)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio (Knuth, The Art of Computer Programming 3, 6.4)
_HIGH = np.uint64(32)


@numba.njit(cache=True)
def table_size(n):
    """Slots for n keys: a power of two, between half and three quarters full at most."""
    size = 16
    while size * 3 < n * 4:
        size *= 2
    return size


@numba.njit(cache=True)
def _number(key, slots, mask, generation, keys, count):
    """Number of `key` among the keys of this generation; `count` if it is new (then it is recorded)."""
    mixed = (key ^ (key >> _HIGH)) * _GOLDEN
    at = np.int64(mixed >> _HIGH) & mask
    while True:
        slot = slots[at]
        if slot >> 32 != generation:
            slots[at] = generation << 32 | count
            keys[count] = key
            return count
        number = slot & 0xFFFFFFFF
        if keys[number] == key:
            return number
        at = (at + 1) & mask


@numba.njit(cache=True)
def duplicates(hashes, lengths, n, slots, generation, keys):
    """(units equal to an earlier one, their characters) among the first n units.

    hashes: (>= n,) uint64. lengths: (>= n,) int64, characters. slots: (>= table_size(n),) int64, written by earlier
    generations only. keys: (>= n,) uint64, scratch.
    """
    mask = table_size(n) - 1
    distinct = characters = 0
    for i in range(n):
        number = _number(hashes[i], slots, mask, generation, keys, distinct)
        if number == distinct:
            distinct += 1
        else:
            characters += lengths[i]
    return n - distinct, characters


@numba.njit(cache=True)
def grams(hashes, lengths, n, step, slots, generation, keys, out):
    """Fills out, (9,) int64: characters in the top 2-, 3-, 4-gram, then in duplicate 5- to 10-grams.

    hashes: (>= n,) uint64 of the words, lengths: (>= n,) int64 in characters. step: what a word of the n-gram is in
    such words. slots, keys: as in `duplicates`; uses the 10 x step generations from `generation` on.
    """
    out[:] = 0
    if n < 2:
        return
    mask = table_size(n) - 1
    words = np.empty(n, np.int32)
    counts = np.zeros(n, np.int32)
    before = np.zeros(n + 1, np.int64)  # characters in words 0 .. i - 1
    distinct = 0
    for i in range(n):
        words[i] = _number(hashes[i], slots, mask, generation, keys, distinct)
        distinct += words[i] == distinct
        counts[words[i]] += 1
        before[i + 1] = before[i] + lengths[i]
    gram = words.copy()  # number of the gram that starts at i, or -1 where that gram occurs once
    alive = np.empty(n, np.int64)  # starts of the grams that occur twice or more, ascending
    left = _repeated(np.arange(n), n, gram, counts, alive)
    last = np.empty(left, np.int64)
    covered = np.empty(left, np.int64)
    for size in range(2, 10 * step + 1):
        distinct = marked = duplicate = 0
        kept = 0
        for a in range(left):
            i = alive[a]
            if i + size > n or gram[i + 1] < 0:
                gram[i] = -1
                continue
            key = np.uint64(gram[i]) << _HIGH | np.uint64(words[i + size - 1])
            number = _number(key, slots, mask, generation + size - 1, keys, distinct)
            if number == distinct:
                distinct += 1
                counts[number] = 1
                last[number] = i
                covered[number] = before[i + size] - before[i]
            else:
                counts[number] += 1
                covered[number] += before[i + size] - before[max(i, last[number] + size)]
                last[number] = i
                duplicate += before[i + size] - before[max(i, marked)]
                marked = i + size
            gram[i] = number
            alive[kept] = i
            kept += 1
        column = size // step - 2
        if size % step or column < 0:
            pass
        elif column < len(TOP_GRAMS):
            most = 1
            for number in range(distinct):
                if counts[number] > most or (counts[number] == most > 1 and covered[number] > out[column]):
                    most = counts[number]
                    out[column] = covered[number]
        else:
            out[column] = duplicate
        left = _repeated(alive, kept, gram, counts, alive)
        if left == 0:
            return


@numba.njit(cache=True)
def _repeated(starts, n, gram, counts, alive):
    """Keeps in `alive` the starts whose gram occurs twice or more, marks the others -1; returns how many are kept."""
    left = 0
    for a in range(n):
        i = starts[a]
        if counts[gram[i]] > 1:
            alive[left] = i
            left += 1
        else:
            gram[i] = -1
    return left
