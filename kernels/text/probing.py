"""A KenLM binary of probing hash tables (Heafield 2011, section 3.1), part by part, as `build_binary` writes it.

    header, words: hash -> id, unigrams by id, a table key -> weights for every order from 2 up, the words themselves

A key folds an n-gram's ids from the last word to the first. A table has `MULTIPLIER` buckets an entry, linear probing
in the order of the ARPA file. A weight's sign says more: a prob's sign bit is on where no n-gram extends it to the
left, a backoff is -0.0 where none continues it to the right. Little-endian. `kernels.text.kenlm_table` reads such
files.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numba
import numpy as np

MULTIPLIER = 1.5
"""KenLM's default, lm/config.cc."""

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0\0"
_PROBING, _SEARCH_VERSION, _WORDS_VERSION = 0, 0, 0
_SIGN = np.uint32(1 << 31)


def header(counts: Sequence[int]) -> bytes:
    """The file's head for a model of so many n-grams an order (lm/binary_format.cc)."""
    checks = struct.pack("<3f3IQ", 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
    fixed = struct.pack("<B3xfI?3xI", len(counts), MULTIPLIER, _PROBING, True, _SEARCH_VERSION)
    whole = _MAGIC.ljust(-(-len(_MAGIC) // 8) * 8, b"\0") + checks + fixed + struct.pack(f"<{len(counts)}Q", *counts)
    return whole.ljust(-(-len(whole) // 8) * 8, b"\0")


def vocabulary(words: Sequence[bytes]) -> bytes:
    """The words' part: version, number, and the table of their hashes. words: by id; the first, <unk>, is not in it."""
    data = np.frombuffer(b"".join(words), np.uint8)
    ends = np.cumsum([len(word) for word in words])
    cells = np.zeros(3 * buckets(len(words)), np.uint32)
    _fill_words(cells, data, ends.astype(np.int64))
    return struct.pack("<2I", _WORDS_VERSION, len(words)) + cells.tobytes()


def unigrams(probs: np.ndarray, backoffs: np.ndarray, extended: np.ndarray) -> bytes:
    """The unigrams' part: (n,) float32 probs and backoffs, log10; extended: (n,) bool, a bigram ends in the word.

    One row more than there are words, as KenLM leaves room for an <unk> that is missing.
    """
    rows = np.zeros((len(probs) + 1, 2), np.float32)
    rows[:-1, 0] = np.where(extended, np.abs(probs), probs)
    rows[:-1, 1] = backoffs
    return rows.tobytes()


def first_keys(words: int) -> np.ndarray:
    """(words,) uint64 keys of the unigrams."""
    return np.arange(words, dtype=np.uint64)


def next_keys(keys: np.ndarray, children: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) uint64 keys of the next order: of each key's children in turn, which are `labels`, (n,) uint16."""
    return _next_keys(keys, children, labels)


def table(keys: np.ndarray, probs: np.ndarray, backoffs: np.ndarray, extended: np.ndarray) -> np.ndarray:
    """A middle order's table, (buckets, 4) uint32: key, prob, backoff."""
    cells = np.zeros((buckets(len(keys)), 4), np.uint32)
    _fill_middle(cells, keys, probs.view(np.uint32), backoffs.view(np.uint32), extended)
    return cells


def longest_table(keys: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """The highest order's table, (buckets, 3) uint32: key, prob."""
    cells = np.zeros((buckets(len(keys)), 3), np.uint32)
    _fill_longest(cells, keys, probs.view(np.uint32))
    return cells


def buckets(entries: int) -> int:
    """util/probing_hash_table.hh, in its single precision."""
    return max(entries + 1, int(np.float32(MULTIPLIER) * np.float32(entries)))


@numba.njit(cache=True, nogil=True)
def _next_keys(keys, children, labels):
    out = np.empty(len(labels), np.uint64)
    at = 0
    for i in range(len(keys)):
        folded = keys[i] * np.uint64(8978948897894561157)  # lm/search_hashed.hh, CombineWordHash
        for _ in range(children[i]):
            out[at] = folded ^ (np.uint64(labels[at]) + np.uint64(1)) * np.uint64(17894857484156487943)
            at += 1
    return out


@numba.njit(inline="always")
def _free(cells, key):
    """The bucket for a key that is not in the table; its key is set."""
    at = np.int64(key % np.uint64(len(cells)))
    while cells[at, 0] or cells[at, 1]:
        at = (at + 1) % len(cells)
    cells[at, 0] = key & np.uint64(0xFFFFFFFF)
    cells[at, 1] = key >> np.uint64(32)
    return at


@numba.njit(cache=True, nogil=True)
def _fill_middle(cells, keys, probs, backoffs, extended):
    for i in range(len(keys)):
        at = _free(cells, keys[i])
        cells[at, 2] = probs[i] & ~_SIGN if extended[i] else probs[i] | _SIGN
        cells[at, 3] = backoffs[i]


@numba.njit(cache=True, nogil=True)
def _fill_longest(cells, keys, probs):
    for i in range(len(keys)):
        cells[_free(cells, keys[i]), 2] = probs[i] | _SIGN


@numba.njit(cache=True, nogil=True)
def _fill_words(cells, data, ends):
    rows = cells.reshape(-1, 3)
    for word in range(1, len(ends)):
        rows[_free(rows, _murmur(data, ends[word - 1], ends[word])), 2] = word


@numba.njit(cache=True, nogil=True)
def _murmur(data, begin, end):
    """MurmurHash64A (Appleby, public domain) of data[begin:end], seed 0."""
    multiplier, shift = np.uint64(0xC6A4A7935BD1E995), np.uint64(47)
    h = np.uint64(end - begin) * multiplier
    for start in range(begin, end, 8):
        k = np.uint64(0)
        for i in range(min(8, end - start)):
            k |= np.uint64(data[start + i]) << np.uint64(8 * i)
        if end - start >= 8:
            k *= multiplier
            k = (k ^ k >> shift) * multiplier
        h = (h ^ k) * multiplier
    h = (h ^ h >> shift) * multiplier
    return h ^ h >> shift
