"""Where texts share a gram of words with an index of benchmark questions, and cutting those places out.

    find(data, offsets, index) -> rows, first bytes, bytes after, entries      one match per first unit of a gram
    cut(data, offsets, ...)    -> the texts without the matches and what stands around them

A gram is looked up by its 64-bit hash (`word_grams`): a bit filter, then a directory over the top bits, then the sorted
entries. Where the hash is there, a second, independent 64-bit hash of the same words must be too, so a match is a match
but for one pair of grams in 2^128. It reads no benchmark: `stages.decontamination_index` does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.utf8 import SPACE, UNSPACED, Table, decode
from gristmill.kernels.text.word_grams import (
    BLOCK,
    Letters,
    carry,
    check,
    gram_hash,
    powers,
    read_block,
    read_only,
    window,
)

FILTER_BITS_PER_GRAM = 16
"""At least: of grams that are in no benchmark at most one in sixteen passes the filter."""
WORD_BYTES = 256
"""A cut moves outward to the next white space, but no further than this: a line of base64 has none."""


class Index(NamedTuple):
    """Entries sorted by (hash, check, units, benchmark), each once. size, shortest: in quarters of words."""

    hashes: np.ndarray  # (grams,) uint64
    checks: np.ndarray  # (grams,) uint64
    units: np.ndarray  # (grams,) uint16
    benchmarks: np.ndarray  # (grams,) uint16
    directory: np.ndarray  # (buckets + 1,) uint32: entries with the top bits b are directory[b] to directory[b + 1]
    filter: np.ndarray  # (words,) uint64, a power of two of them; for grams of `size`
    short_filter: np.ndarray  # (words,) uint64, for texts lighter than that; none where no text is
    size: int
    shortest: int


def directory(hashes: np.ndarray) -> np.ndarray:
    """Places of the top bits among sorted hashes, about one entry a bucket."""
    bits = max(1, len(hashes).bit_length() - 1)
    bounds = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    return np.append(np.searchsorted(hashes, bounds), len(hashes)).astype(np.uint32)


def bit_filter(hashes: np.ndarray) -> np.ndarray:
    """Bits by the low bits of the hashes: 2^k words of 64."""
    words = 1
    while words * 64 < len(hashes) * FILTER_BITS_PER_GRAM:
        words *= 2
    out = np.zeros(words, np.uint64)
    _set_bits(out, hashes)
    return out


@numba.njit(cache=True)
def _set_bits(bits, hashes):
    for h in hashes:
        bits[np.int64((h >> np.uint64(6)) & np.uint64(len(bits) - 1))] |= np.uint64(1) << (h & np.uint64(63))


@numba.njit(cache=True)
def _entry(h, data, start, end, hashes, checks, units, places, shift, ascii_values, roots, leaves):
    """(entry, byte after the gram): the first entry whose words stand at byte `start`; -1 where there is none."""
    bucket = np.int64(h >> shift)
    count, found, stop = np.int64(-1), np.uint64(0), np.int64(-1)
    for k in range(places[bucket], places[bucket + 1]):
        if hashes[k] < h:
            continue
        if hashes[k] > h:
            break
        if count != units[k]:
            count = np.int64(units[k])
            found, stop = check(data, start, end, count, ascii_values, roots, leaves)
        if stop >= 0 and checks[k] == found:
            return k, stop
    return -1, 0


def find(data: np.ndarray, offsets: np.ndarray, index: Index, table: Letters) -> np.ndarray:
    """All matches of (n,) texts, in order of rows: rows, first bytes, bytes after the last, entries; (4, m) int64.

    Of entries with the same words the first is given: the others follow it in the index.
    """
    arrays: Any = {name: read_only(each) for name, each in index._asdict().items() if isinstance(each, np.ndarray)}
    return _find(read_only(data), read_only(offsets), index._replace(**arrays), table)


@numba.njit(cache=True, nogil=True)
def _find(data, offsets, index, table):
    room, filled = 1024, 0
    out = np.empty((4, room), np.int64)
    hashes, checks, units, places = index.hashes, index.checks, index.units, index.directory
    ascii_values, roots, leaves = table.ascii, table.roots, table.leaves
    shift = np.uint64(64)
    buckets = len(places) - 1
    while buckets > 1:
        buckets >>= 1
        shift -= np.uint64(1)
    power = powers(index.size)
    prefix, weights, starts, stops = window(index.size)
    grams, maybe = np.empty(BLOCK + index.size, np.uint64), np.empty(BLOCK + index.size, np.int64)
    low = np.zeros(2, np.int64)
    for row in range(len(offsets) - 1):
        position, end = offsets[row], offsets[row + 1]
        have = 0
        low[:] = 0
        weights[0], prefix[0] = 0, 0
        while True:
            already = have
            position, have = read_block(
                data, position, end, ascii_values, roots, leaves, prefix, weights, starts, stops, have
            )
            for t in range(2):
                size, bits = (index.size, index.filter) if t == 0 else (index.shortest, index.short_filter)
                if len(bits) == 0:
                    low[t] = have
                    continue
                first = low[t]
                count = _gram_hashes(prefix, weights, first, already, have, size, power, grams)
                low[t] = first + count
                for m in range(_in_filter(grams, count, bits, maybe)):
                    i = maybe[m]
                    start = starts[first + i]
                    entry, stop = _entry(
                        grams[i], data, start, end, hashes, checks, units, places, shift, ascii_values, roots, leaves
                    )
                    if entry < 0:
                        continue
                    if filled == room:
                        room *= 2
                        out = _grown(out, room)
                    out[0, filled], out[1, filled], out[2, filled], out[3, filled] = row, start, stop, entry
                    filled += 1
            if have - already < BLOCK:
                break
            first = min(low[0], low[1])
            have = carry(prefix, weights, starts, stops, first, have)
            low -= first
    return out[:, :filled].copy()


@numba.njit(cache=True)
def _gram_hashes(prefix, weights, first, already, have, size, power, grams):
    """Hashes of the grams from unit `first` on that end in the units `already` to `have` - 1, and how many they are."""
    i = first
    for k in range(already, have):
        while weights[k + 1] - weights[i] >= size:
            grams[i - first] = gram_hash(prefix, i, k + 1, power)
            i += 1
    return i - first


@numba.njit(cache=True)
def _in_filter(grams, count, bits, maybe):
    """Which hashes pass the filter. The loop has no branch, so that the processor waits for many words at once."""
    mask = np.uint64(len(bits) - 1)
    found = np.int64(0)
    for i in range(count):
        h = grams[i]
        maybe[found] = i
        found += np.int64(bits[np.int64((h >> np.uint64(6)) & mask)] >> (h & np.uint64(63)) & np.uint64(1))
    return found


def cut(
    data: np.ndarray,
    offsets: np.ndarray,
    found: np.ndarray,
    side: int,
    shortest: int,
    most: int,
    table: Table,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The texts without their matches and `side` characters to each side of these.

    found: (3 or more, m) int64, matches in order of their rows, as `find` gives them. A cut moves outward to white
    space, or to the next letter of a script written without spaces; cuts that touch are one. What is left of a text are
    its pieces of `shortest` characters and more without white space at their ends, joined by a blank line.

    Returns (text, offsets, cuts, longest): the new texts as bytes uint8 and (n + 1,) int64; per text the number of
    cuts and the characters of its longest piece. A text cut more than `most` times comes out empty.
    """
    rows, starts, ends = np.ascontiguousarray(found[:3])
    return _cut(read_only(data), read_only(offsets), rows, starts, ends, side, shortest, most, *table)


@numba.njit(cache=True, nogil=True)
def _cut(data, offsets, rows, starts, ends, side, shortest, most, blocks, classes, flags):
    n = len(offsets) - 1
    out = np.empty(offsets[n] - offsets[0] + 2 * len(rows) + 2, np.uint8)
    bounds = np.zeros(n + 1, np.int64)
    cuts, longest = np.zeros(n, np.int64), np.zeros(n, np.int64)
    m = filled = 0
    for row in range(n):
        start, end = offsets[row], offsets[row + 1]
        first = m
        while m < len(rows) and rows[m] == row:
            m += 1
        if first == m:
            filled = _copied(data, start, end, out, filled)
            bounds[row + 1] = filled
            continue
        order = np.argsort(starts[first:m]) + first
        before, piece = filled, start
        left = right = np.int64(-1)
        for k in order:
            a = _outward(data, starts[k], start, end, side, -1, blocks, classes, flags)
            b = _outward(data, ends[k], start, end, side, 1, blocks, classes, flags)
            if left >= 0 and a <= right:
                right = max(right, b)
                continue
            if left >= 0:
                filled, longest[row] = _piece(
                    data, piece, left, out, before, filled, shortest, longest[row], blocks, classes, flags
                )
                piece = right
            cuts[row] += 1
            left, right = a, b
        filled, longest[row] = _piece(
            data, piece, left, out, before, filled, shortest, longest[row], blocks, classes, flags
        )
        filled, longest[row] = _piece(
            data, right, end, out, before, filled, shortest, longest[row], blocks, classes, flags
        )
        if cuts[row] > most:
            filled = before
        bounds[row + 1] = filled
    return out[:filled].copy(), bounds, cuts, longest


@numba.njit(cache=True)
def _outward(data, place, start, end, side, step, blocks, classes, flags):
    """The byte `side` characters before (step -1) or after (1) `place`, then on to where a word ends."""
    for _ in range(side):
        if step < 0 and place > start:
            place = _previous(data, place, start)
        elif step > 0 and place < end:
            place += _code(data, place, end)[1]
    limit = max(start, place - WORD_BYTES) if step < 0 else min(end, place + WORD_BYTES)
    while place > limit if step < 0 else place < limit:
        beside = _previous(data, place, start) if step < 0 else place
        c, width = _code(data, beside, end)
        if flags[classes[blocks[c >> 8], c & 255]] & (SPACE | UNSPACED):
            break
        place = beside if step < 0 else place + width
    return place


@numba.njit(cache=True)
def _code(data, i, end):
    """`decode`, but a call: inlined in all these places it would take long to compile."""
    return decode(data, i, end)


@numba.njit(cache=True)
def _previous(data, place, start):
    """First byte of the character before byte `place` > start; a broken sequence is one byte a character."""
    back = place - 1
    while back > start and back > place - 4 and data[back] & 0xC0 == 0x80:
        back -= 1
    return back if back + _code(data, back, place)[1] == place else place - 1


@numba.njit(cache=True)
def _piece(data, start, end, out, before, filled, shortest, longest, blocks, classes, flags):
    """Writes the piece from byte start to end where it is long enough: (filled, longest)."""
    while start < end:
        c, width = _code(data, start, end)
        if not flags[classes[blocks[c >> 8], c & 255]] & SPACE:
            break
        start += width
    while start < end:
        last = _previous(data, end, start)
        if not flags[classes[blocks[_code(data, last, end)[0] >> 8], _code(data, last, end)[0] & 255]] & SPACE:
            break
        end = last
    characters = 0
    i = start
    while i < end:
        i += _code(data, i, end)[1]
        characters += 1
    if characters == 0 or characters < shortest:
        return filled, max(longest, characters)
    if filled > before:
        out[filled] = out[filled + 1] = 10
        filled += 2
    return _copied(data, start, end, out, filled), max(longest, characters)


@numba.njit(cache=True)
def _copied(data, start, end, out, filled):
    for k in range(end - start):  # a slice of a slice compiles four times as long
        out[filled + k] = data[start + k]
    return filled + end - start


@numba.njit(cache=True)
def _grown(out, room):
    grown = np.empty((4, room), np.int64)
    for k in range(4):
        for m in range(out.shape[1]):
            grown[k, m] = out[k, m]
    return grown
