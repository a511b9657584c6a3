"""Shingles of a document as 32-bit hashes, streamed in blocks from UTF-8 bytes; no string is ever built.

    characters  overlapping runs of `size` characters, lower-cased, runs of white space folded to one space, none at
                the ends. (NeMo Curator hashes the text as it is; folding also meets copies re-wrapped or re-cased.)
    words       overlapping runs of `size` words after FineWeb's normalisation: lower case, diacritics off, every digit
                to 0, punctuation and symbols to space. A letter of a script written without spaces
                (`utf8.UNSPACED_BLOCKS`) is a word by itself.

A shingle's hash is a rolling polynomial modulo 2^64 over characters or word hashes, mixed, upper 32 bits. Code points
map one to one (the first of a lower-case expansion), so a letter and its decomposed form differ as characters.
A document of fewer than `size` units has no shingle.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import Literal, NamedTuple

import numba
import numpy as np
import pyarrow as pa

from gristmill.kernels.text.hashing import two_levels
from gristmill.kernels.text.utf8 import UNSPACED_BLOCKS, buffers, decode

Unit = Literal["characters", "words"]

BLOCK = 1024  # shingle hashes per block: 4 kB, a small part of a first-level cache

_SEPARATOR, _VANISHES, _ALONE = 0, 1, 1 << 24  # values of the word table that are not characters
_BASE = np.uint64(0xD6E8FEB86659FD93)  # odd multiplier of the rolling polynomial (the golden ratio's would do)
_FNV_BASIS = np.uint64(0xCBF29CE484222325)  # FNV-1a, 64 bits (Fowler, Noll, Vo)
_FNV_PRIME = np.uint64(0x100000001B3)
_SPACE = 32


class Shingling(NamedTuple):
    """What the kernels need to cut shingles; make it with `shingling`."""

    words: bool
    size: int
    leaving: np.uint64  # _BASE ** size, takes the oldest unit out of the rolling hash
    ascii: np.ndarray  # (128,) uint32
    roots: np.ndarray  # (4352,) int64
    leaves: np.ndarray  # (k, 256) uint32: value XOR code point, so that pages without exceptions are one


def shingling(unit: Unit, size: int) -> Shingling:
    """Tables and constants for shingles of `size` units, size >= 1."""
    if unit not in ("characters", "words"):
        raise ValueError(f"shingle unit {unit!r} is unknown: use characters or words")
    if size < 1:
        raise ValueError(f"shingle size {size} is too small: use 1 or more")
    roots, leaves = _word_table() if unit == "words" else _character_table()
    leaving = np.uint64(pow(int(_BASE), size, 1 << 64))
    ascii_values = leaves[roots[0], :128] ^ np.arange(128, dtype=np.uint32)
    return Shingling(unit == "words", size, leaving, ascii_values, roots, leaves)


def shingle_hashes(texts: pa.Array, shingles: Shingling) -> list[np.ndarray]:
    """Every shingle's hash in order of its end, per row; for checks of single documents, not for a corpus.

    texts: large_string without nulls. Returns n arrays of uint32; empty where a document has no shingle.
    """
    data, offsets = buffers(texts)
    return [_all(data, offsets[i], offsets[i + 1], shingles) for i in range(len(texts))]


@cache
def _character_table() -> tuple[np.ndarray, np.ndarray]:
    """Code point -> lower case; all white space -> U+0020."""
    flat = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for c in range(0x20000):  # nothing beyond has case or is white space
        char = chr(c)
        flat[c] = _SPACE if char.isspace() else ord(char.lower()[0])
    return two_levels(flat ^ np.arange(len(flat), dtype=np.uint32))


@cache
def _word_table() -> tuple[np.ndarray, np.ndarray]:
    """Code point -> base letter in lower case, "0", _SEPARATOR, _VANISHES; letters of unspaced scripts | _ALONE.

    Vanishing are the categories Mn, Me (diacritics) and Cf (joiners, soft hyphens); separating P, S, Z and Cc.
    """
    flat = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for plane in (range(0x20000), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200)):  # the rest is Han or nothing
        for c in plane:
            flat[c] = _word_value(chr(c))
    for first, last in UNSPACED_BLOCKS:
        block = flat[first : last + 1]
        block[block > _VANISHES] |= _ALONE
    return two_levels(flat ^ np.arange(len(flat), dtype=np.uint32))


def _word_value(char: str) -> int:
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf"):
        return _VANISHES
    if category == "Nd":
        return ord("0")
    if category[0] in "PSZ" or category == "Cc":
        return _SEPARATOR
    lower = char.lower()
    base = [c for c in unicodedata.normalize("NFD", lower) if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    return ord(base[0] if len(base) == 1 else lower[0])


@numba.njit(cache=True)
def scratch(shingles):
    """(state, units, block): what `fill` works in, good for any number of documents one after the other."""
    return np.empty(3, np.uint64), np.empty(shingles.size + BLOCK, np.uint64), np.empty(BLOCK, np.uint32)


@numba.njit(cache=True)
def start(state, units):
    """Readies the scratch arrays for a new document."""
    state[:] = 0  # rolling hash, units seen, unit in progress
    units[:] = 0


@numba.njit(cache=True)
def fill(data, position, end, shingles, state, units, block):
    """Reads on from `position` until `block` (BLOCK,) uint32 is nearly full or the text ends: (position, count).

    The text is done when the position returned is end + 1. `units` holds the last `size` units, then the new ones.
    """
    size, leaving = shingles.size, shingles.leaving
    new = units[size:]
    if shingles.words:
        position, count, state[2] = _words(
            data, position, end, shingles.ascii, shingles.roots, shingles.leaves, new, state[2]
        )
    else:
        position, count, state[2] = _characters(
            data, position, end, shingles.ascii, shingles.roots, shingles.leaves, new, state[2]
        )
    rolling, seen = state[0], np.int64(state[1])
    early = min(count, max(0, size - 1 - seen))  # units that end no shingle yet
    for i in range(early):
        rolling = rolling * _BASE + new[i]
    for i in range(early, count):
        rolling = rolling * _BASE + (new[i] - units[i] * leaving)
        block[i - early] = np.uint32(mix(rolling) >> np.uint64(32))
    for i in range(size):
        units[i] = units[i + count]
    state[0], state[1] = rolling, np.uint64(seen + count)
    return position, count - early


@numba.njit(cache=True, inline="always")
def mix(h):
    """The finaliser of MurmurHash3 (Appleby): a bijection of 64 bits in which every bit reaches every bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@numba.njit(cache=True)
def _characters(data, position, end, ascii_values, roots, leaves, units, progress):
    """Folded characters: (position, count, progress); progress: 0 no character yet, 1 in text, 2 a space waits."""
    count = 0
    room = len(units) - 1  # one character may bring a space and itself
    while position < end and count < room:
        byte = data[position]
        if byte < 128:
            value = ascii_values[byte]
            position += 1
        else:
            c, width = decode(data, position, end)
            value = leaves[roots[c >> 8], c & 255] ^ np.uint32(c)
            position += width
        if value == _SPACE:
            progress = np.uint64(2) if progress != 0 else progress
            continue
        if progress == 2:
            units[count] = _SPACE
            count += 1
        progress = np.uint64(1)
        units[count] = value
        count += 1
    return (position if position < end or count >= room else end + 1), count, progress


@numba.njit(cache=True)
def _words(data, position, end, ascii_values, roots, leaves, units, word):
    """Hashes of words: (position, count, word); word: hash of the word that the block's end cuts, or 0."""
    count = 0
    room = len(units) - 2  # one character may end a word and be one, and the text's end may end another
    while position < end and count < room:
        byte = data[position]
        if byte < 128:
            value = ascii_values[byte]
            position += 1
        else:
            c, width = decode(data, position, end)
            value = leaves[roots[c >> 8], c & 255] ^ np.uint32(c)
            position += width
        if _VANISHES < value < _ALONE:
            word = ((word if word != 0 else _FNV_BASIS) ^ np.uint64(value)) * _FNV_PRIME
            continue
        if value == _VANISHES:
            continue
        if word != 0:
            units[count] = mix(word)
            count += 1
            word = np.uint64(0)
        if value >= _ALONE:
            units[count] = mix((_FNV_BASIS ^ np.uint64(value)) * _FNV_PRIME)
            count += 1
    if position < end or count >= room:
        return position, count, word
    if word != 0:
        units[count] = mix(word)
        count += 1
    return end + 1, count, np.uint64(0)


@numba.njit(cache=True)
def _all(data, position, end, shingles):
    state, units, block = scratch(shingles)
    start(state, units)
    out = np.empty(end - position + 1, np.uint32)  # a unit is at least a byte
    filled = 0
    while position <= end:
        position, count = fill(data, position, end, shingles, state, units, block)
        out[filled : filled + count] = block[:count]
        filled += count
    return out[:filled].copy()
