"""The rows of a fastText model that a text's words stand for, summed over Arrow buffers.

A word is a run of bytes without fastText's white space; its rows are its own, if the dictionary has it, and those of
the n-grams of its characters with '<' before and '>' behind. They are summed in float32, and the sum is then added to
the text's, in float64. Words of up to 32 bytes keep their sum in a small table; a sum is the same whether it was kept
or is made again, so a text's sum depends on the text alone. Texts are valid UTF-8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from gristmill.kernels.text import wide
from gristmill.kernels.text.fasttext_dictionary import BARE, bucket_row, find, hash_of
from gristmill.kernels.text.fasttext_ngrams import LANES, hash_ngrams, to_buckets
from gristmill.kernels.text.fasttext_rows import add_to_total, sum_rows

load8: Any = wide.load8
trailing_zeros: Any = wide.trailing_zeros

_SLOT_BITS = 14
_SLOTS = 1 << _SLOT_BITS  # of remembered words: with 16 dimensions 1.8 MB, about what a core's second cache holds
_KEYS = 4  # of eight bytes each
_ROWS = 256  # of a word, added at a time
_CHUNK = 64  # n-grams of a size, at a time
_PREFIX = np.frombuffer(b"__label__", np.uint8)
_END = int.from_bytes(b"</s>", "little")
_SPACES, _HIGHS = np.uint64(0x2121212121212121), np.uint64(0x8080808080808080)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_NGRAM = np.uint64(116049371)  # fastText's factor of word n-grams
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))


class Memory(NamedTuple):
    """Words and the sums of their rows, by a hash of their bytes; the later of two words takes the place."""

    keys: np.ndarray  # (_SLOTS, 4) uint64: the word's bytes, little-endian, padded with zeros; all 0: free
    sums: np.ndarray  # (_SLOTS + 1, width) float32; the last for words that are too long
    counts: np.ndarray  # (_SLOTS + 1,) int64: how many rows; -1: the word is a label, which counts for nothing
    hashes: np.ndarray  # (_SLOTS + 1,) uint32
    rows: np.ndarray  # (_ROWS,) int64, scratch
    codes: np.ndarray  # (_CHUNK + longest n-gram + 16,) uint32, scratch: bytes of a word's characters
    ngrams: np.ndarray  # (longest n-gram, 16) uint32, scratch
    total: np.ndarray  # (width,) float64, scratch
    grams: np.ndarray  # (word_ngrams + 1,) uint64, scratch: hash of the last k words at k, their number at 0


@numba.njit(cache=True)
def memory_for(weights):
    width = weights.matrix.shape[1]
    return Memory(
        np.zeros((_SLOTS, _KEYS), np.uint64),
        np.empty((_SLOTS + 1, width), np.float32),
        np.zeros(_SLOTS + 1, np.int64),
        np.zeros(_SLOTS + 1, np.uint32),
        np.zeros(_ROWS, np.int64),
        np.zeros(_CHUNK + max(weights.max_characters, 0) + LANES, np.uint32),
        np.zeros((max(weights.max_characters, 1), LANES), np.uint32),
        np.zeros(width, np.float64),
        np.zeros(max(weights.word_ngrams, 1) + 1, np.uint64),
    )


@numba.njit(**BARE)
def read_words(data, at, end, weights, memory):
    """Adds the words of data[at:end] to memory.total. (rows, True if a `</s>` stood there and ended the text)."""
    count = 0
    total, keys, sums, counts, hashes = memory.total, memory.keys, memory.sums, memory.counts, memory.hashes
    word_ngrams = weights.word_ngrams
    while True:
        while at < end and _is_space(data[at]):
            at += 1
        if at >= end:
            return count, False
        begin, at = at, _end_of_word(data, at, end)
        size = at - begin
        slot = np.int64(_SLOTS)
        remembered = False
        if size <= 8 * _KEYS:
            a, b, c, d = _eight(data, begin, size), np.uint64(0), np.uint64(0), np.uint64(0)
            if size > 8:
                b = _eight(data, begin + 8, size - 8)
                if size > 16:
                    c = _eight(data, begin + 16, size - 16)
                    if size > 24:
                        d = _eight(data, begin + 24, size - 24)
            if a == _END and size == 4:
                return count + end_text(weights, memory), True
            slot = np.int64(_mixed(a, b, c, d))
            remembered = keys[slot, 0] == a and keys[slot, 1] == b and keys[slot, 2] == c and keys[slot, 3] == d
            if not remembered:
                keys[slot, 0], keys[slot, 1], keys[slot, 2], keys[slot, 3] = a, b, c, d
        if not remembered:
            counts[slot], hashes[slot] = _sum_word(data, begin, at, weights, memory, slot)
        rows = counts[slot]
        if rows >= 0:
            add_to_total(total, sums, slot)
            count += rows
            if word_ngrams > 1:
                count += _word_ngrams(hashes[slot], weights, memory)


@numba.njit(**BARE)
def _mixed(a, b, c, d):
    hashed = a * _MIX[0] + b * _MIX[1] + c * _MIX[2] + d
    hashed ^= hashed >> np.uint64(32)
    return (hashed * _MIX[0]) >> np.uint64(64 - _SLOT_BITS)


@numba.njit(**BARE)
def _is_space(byte):
    """fastText's: space, \\t \\n \\v \\f \\r and NUL."""
    return byte == 32 or (byte >= 9 and byte <= 13) or byte == 0


@numba.njit(**BARE)
def _end_of_word(data, at, end):
    while at + 8 <= end:
        chunk = load8(data, at)
        low = (chunk - _SPACES) & ~chunk & _HIGHS  # the lowest set bit is in the first byte below 0x21
        if low == 0:
            at += 8
            continue
        at += trailing_zeros(low) >> 3
        if _is_space(data[at]):
            return at
        at += 1
    while at < end and not _is_space(data[at]):
        at += 1
    return at


@numba.njit(**BARE)
def _eight(data, at, size):
    """The first min(size, 8) bytes from `at` on, little-endian."""
    if at + 8 <= len(data):
        chunk = load8(data, at)
        return chunk if size >= 8 else chunk & (_ALL >> np.uint64(64 - 8 * size))
    chunk = np.uint64(0)
    for k in range(min(size, 8)):
        chunk |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return chunk


@numba.njit(**BARE)
def end_text(weights, memory):
    """The word `</s>`: its row, if the dictionary has it, and no n-grams of characters."""
    count = 0
    if weights.end >= 0:
        add_to_total(memory.total, weights.matrix, weights.end)
        count = 1
    if weights.word_ngrams > 1:
        hashed = np.uint32(2166136261)
        for k in range(4):
            hashed = np.uint32((hashed ^ np.uint32(_END >> (8 * k) & 0xFF)) * np.uint32(16777619))
        count += _word_ngrams(hashed, weights, memory)
    return count


@numba.njit(**BARE)
def _word_ngrams(hashed, weights, memory):
    """Adds the rows of the n-grams that end with this word; their number."""
    grams = memory.grams
    signed = np.uint64(np.int64(np.int32(hashed)))  # the library keeps hashes in signed numbers
    before = np.int64(grams[0])
    count = 0
    for k in range(before, 0, -1):
        longer = grams[k] * _NGRAM + signed
        if weights.bucket_count:
            nothing = len(weights.matrix) - 1
            bucket = np.int64(longer % np.uint64(weights.bucket_count))
            row = bucket_row(bucket, weights.buckets, weights.words_count, nothing)
            add_to_total(memory.total, weights.matrix, row)
            count += row < nothing
        if k + 1 < weights.word_ngrams:
            grams[k + 1] = longer
    grams[1] = signed
    grams[0] = np.uint64(min(before + 1, weights.word_ngrams - 1))
    return count


@numba.njit(**BARE)
def _sum_word(data, begin, end, weights, memory, slot):
    """(number of rows of a word, its hash), their sum in memory.sums[slot]; -1 rows: a label, no part of the text."""
    rows, sums, hashes = memory.rows, memory.sums, memory.ngrams
    matrix, buckets, words_count = weights.matrix, weights.buckets, weights.words_count
    hashed, entry = np.uint32(0), np.int32(-1)
    if end - begin <= weights.longest_word or weights.word_ngrams > 1:
        hashed = hash_of(data, begin, end)
        entry = weights.slots[find(data, begin, end, hashed, weights.words, weights.bounds, weights.slots)]
    if entry >= words_count or (entry < 0 and _is_label(data, begin, end)):
        return -1, hashed
    sums[slot] = np.float32(0)
    held, count = 0, 0
    if entry >= 0:
        rows[0], held, count = entry, 1, 1
    longest, bucket_count = weights.max_characters, weights.bucket_count
    if longest > 0 and bucket_count:
        inverse = (1.0 - 2.0**-50) / bucket_count
        nothing = len(matrix) - 1
        at = begin - 1  # '<' stands before the word and '>' after it
        while at < end:
            first = at
            at, size, widest = _characters(data, at, begin, end, longest, memory.codes)
            starts = min(size, _CHUNK)
            for block in range(0, starts, LANES):
                hash_ngrams(memory.codes, block, longest, widest, hashes)
                for n in range(max(weights.min_characters, 1), longest + 1):
                    lane, lanes = 0, min(LANES, starts - block, size - n + 1 - block)
                    if n == 1:  # neither '<' nor '>' alone
                        lane = 1 if first < begin and block == 0 else 0
                        lanes = min(lanes, size - 1 - block) if at > end else lanes
                    if held + LANES > len(rows):
                        sum_rows(matrix, rows, held, sums, slot)
                        held = 0
                    to_buckets(hashes, n - 1, np.uint32(bucket_count), inverse)
                    for k in range(lane, lanes):
                        row = bucket_row(np.int64(hashes[n - 1, k]), buckets, words_count, nothing)
                        rows[held] = row
                        held += 1
                        count += row < nothing
    sum_rows(matrix, rows, held, sums, slot)
    return count, hashed


@numba.njit(**BARE)
def _characters(data, at, begin, end, longest, codes):
    """Fills `codes` with characters from byte `at` on: as many as _CHUNK n-grams need. (byte of the first character
    behind those where they begin, number of characters, bytes of the widest)."""
    size, behind, widest = 0, end + 1, 1
    if at < begin:
        codes[0], size, at = 60, 1, begin
    while at < end and size < _CHUNK + longest:
        if size == _CHUNK:
            behind = at
        code = np.uint32(data[at])
        at += 1
        if code >= 0xC0:
            shift = 8
            while shift < 32 and at < end and data[at] & 0xC0 == 0x80:
                code |= np.uint32(data[at]) << np.uint32(shift)
                shift += 8
                at += 1
            widest = max(widest, shift >> 3)
        codes[size] = code
        size += 1
    if at == end and size < _CHUNK + longest:
        if size == _CHUNK:
            behind = end
        codes[size] = 62
        size += 1
    return behind, size, widest


@numba.njit(cache=True)
def _is_label(data, begin, end):
    if end - begin < len(_PREFIX):
        return False
    same = True
    for k in range(len(_PREFIX)):
        same &= data[begin + k] == _PREFIX[k]
    return same
