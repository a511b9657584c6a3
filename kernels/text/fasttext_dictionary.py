"""The dictionary of a fastText model as flat arrays: words by their hash, and which n-grams were kept.

    words     open addressing: hash & (slots - 1), then the next; a slot holds the number of an entry, -1: free
    n-grams   a bit for every bucket; the number of bits before it is the place of its row

Texts are (n,) uint8. Nothing is checked.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gristmill.kernels.text.fasttext_rows import ones

BARE: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}
"""Options of what runs for every word: without counting references to arrays, which takes four times as long as the
rest of a word. Such a function makes no arrays."""


def ranks(kept: np.ndarray, buckets: int) -> np.ndarray:
    """The table of `bucket_row`. kept: (n,) int64, rising."""
    bits = np.zeros(-(-buckets // 32), np.uint64)
    np.bitwise_or.at(bits, kept >> 5, np.uint64(1) << (kept & 31).astype(np.uint64))
    before = np.cumsum(np.bitwise_count(bits), dtype=np.uint64) - np.bitwise_count(bits)
    return bits | before << np.uint64(32)


@numba.njit(**BARE)
def hash_of(text, begin, end):
    """FNV-1a, 32 bits, of text[begin:end] as fastText has it: bytes above 127 are negative and so widened by ones."""
    value = np.uint32(2166136261)
    for i in range(begin, end):
        value = np.uint32((value ^ np.uint32(np.int8(text[i]))) * np.uint32(16777619))
    return value


@numba.njit(**BARE)
def find(text, begin, end, hashed, words, bounds, slots):
    """Slot of text[begin:end] in the dictionary, the free one where it would stand if it is not there."""
    mask = len(slots) - 1
    slot = np.int64(hashed) & mask
    while slots[slot] >= 0:
        entry = slots[slot]
        first = bounds[entry]
        if bounds[entry + 1] - first == end - begin:
            same = True
            for k in range(end - begin):
                if words[first + k] != text[begin + k]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & mask
    return slot


@numba.njit(**BARE)
def insert(words, bounds, slots):
    for entry in range(len(bounds) - 1):
        begin, end = bounds[entry], bounds[entry + 1]
        slots[find(words, begin, end, hash_of(words, begin, end), words, bounds, slots)] = entry


@numba.njit(**BARE)
def bucket_row(bucket, buckets, words_count, nothing):
    """Row of a bucket of n-grams, `nothing` if it was pruned.

    buckets[b // 32]: 32 bits for as many buckets, set where one is kept, and above them how many are kept before. So
    one load of a table of half a megabyte answers for two million buckets.
    """
    if len(buckets) == 0:
        return words_count + bucket
    block = buckets[bucket >> 5]
    bit = np.uint64(bucket & 31)
    below = ones(block & ((np.uint64(1) << bit) - np.uint64(1)))
    return words_count + np.int64(block >> np.uint64(32)) + below if block >> bit & np.uint64(1) else nothing
