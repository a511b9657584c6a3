"""Grams of words, insensitive to case, punctuation, diacritics and spacing, streamed from UTF-8 bytes.

    unit    a run of letters and digits in lower case, diacritics off, digits of every script as 0 to 9; apostrophes,
            joiners and the comma between two digits vanish; punctuation, symbols and white space separate. (Brown et
            al. 2020, appendix C: lower-cased words without punctuation; Megatron-LM: runs of \\w.)
            A letter of a script written without spaces (`utf8.UNSPACED_BLOCKS`) is a unit by itself.
    weight  in quarters of a word: 4 for a word, 2 for an East Asian and 1 for another unspaced letter
            (`utf8.LETTERS_PER_WORD`: a word has about two or four of them)
    gram    of size n at unit i: the shortest run from i with weight >= 4 n. So 13 words, 26 Chinese or 52 Thai letters,
            and the same gram for the same words whatever the text around it.

A gram's hash is a polynomial modulo 2^64 over mixed FNV-1a hashes of its units; its *check* another polynomial with
other bases over the same bytes, computed only where the first matches. It looks nothing up.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.hashing import two_levels
from gristmill.kernels.text.utf8 import EAST_ASIAN_BLOCKS, LETTERS_PER_WORD, UNSPACED_BLOCKS, decode

WORD = 4
"""Weight of a word; an East Asian letter has WORD // 2, another unspaced one WORD // 4."""
_EAST_WEIGHT, _OTHER_WEIGHT = (WORD // letters for letters in LETTERS_PER_WORD)

SEPARATES, VANISHES, _EAST, _OTHER = 0, 1, 1 << 24, 1 << 25  # values of the table that are not characters
_SHARP_S = 0xDF  # two letters s: its capital form is SS
_LETTER_S = 0x73
_COMMA = 0x2C

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd; 2^64 / golden ratio
_CHECK_BASE = np.uint64(0xD1342543DE82EF95)  # odd; multiplier of Steele and Vigna 2021, table 6
_BASIS = np.uint64(0xCBF29CE484222325)  # FNV-1a, 64 bits (Fowler, Noll, Vo)
_PRIME = np.uint64(0x100000001B3)
_CHECK_BASIS = np.uint64(0x2545F4914F6CDD1D)  # multiplier of xorshift64* (Vigna 2016)
_CHECK_PRIME = np.uint64(0x9FB21C651E98DF25)  # odd; multiplier of rrmxmx (Evensen 2018)

BLOCK = 512
"""Units that are cut before their grams are hashed."""


class Letters(NamedTuple):
    """What a code point becomes in a unit; make it with `letters`."""

    ascii: np.ndarray  # (128,) uint32
    roots: np.ndarray  # (4352,) int64
    leaves: np.ndarray  # (k, 256) uint32: value XOR code point


@cache
def letters() -> Letters:
    """The table over all code points, of the interpreter's Unicode version."""
    flat = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for plane in (range(0x20000), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200)):  # the rest is Han or nothing
        for c in plane:
            flat[c] = letter(chr(c))
    flat[0x20000:0x2F800] |= _EAST
    flat[0x2FA20:0x40000] |= _EAST
    roots, leaves = two_levels(flat ^ np.arange(len(flat), dtype=np.uint32))
    return Letters(leaves[roots[0], :128] ^ np.arange(128, dtype=np.uint32), roots, leaves)


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written: Arrow gives both, and for each kind a kernel would be compiled again."""
    view = array.view()
    view.flags.writeable = False
    return view


def letter(char: str) -> int:
    """Value of a character: SEPARATES, VANISHES, a code point, or a code point with the mark of an unspaced letter."""
    category = unicodedata.category(char)
    if category == "Nd":
        return ord("0") + unicodedata.decimal(char)
    if category in ("Mn", "Me", "Cf") or char in "'\u2018\u2019\u02bc\uff07":
        return VANISHES
    if category[0] in "PSZ" or category == "Cc":
        return SEPARATES  # so what is unassigned or for private use is a letter
    code = ord(char)
    unspaced = any(first <= code <= last for first, last in UNSPACED_BLOCKS)
    if unspaced and category[0] == "M":
        return VANISHES
    if unspaced:
        east = any(first <= code <= last for first, last in EAST_ASIAN_BLOCKS)
        return _base(char) | (_EAST if east else _OTHER)
    return _base(char)


def _base(char: str) -> int:
    """Lower case without diacritics where that is one character."""
    if char == "ı":  # its capital is I
        return ord("i")
    folded = char.casefold()
    lower = folded if len(folded) == 1 else char.lower()
    base = [c for c in unicodedata.normalize("NFKD", lower) if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    return ord(base[0] if len(base) == 1 else lower[0])


@numba.njit(cache=True)
def mix(h):
    """The finaliser of MurmurHash3 (Appleby): a bijection of 64 bits in which every bit reaches every bit."""
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@numba.njit(cache=True)
def next_unit(data, i, end, ascii_values, roots, leaves, basis, prime):
    """(hash, first byte, byte after the last, weight) of the first unit at or after byte i; weight 0: there is none."""
    h = basis
    start, stop = -1, end
    while i < end:
        byte = data[i]
        width = 1
        if byte < 128:
            value = ascii_values[byte]
        else:
            c, width = decode(data, i, end)
            value = leaves[roots[c >> 8], c & 255] ^ np.uint32(c)
        if value > VANISHES:
            if value >= _EAST:
                if start >= 0:
                    return mix(h), start, stop, WORD
                weight = _OTHER_WEIGHT if value & _OTHER else _EAST_WEIGHT
                return mix((basis ^ np.uint64(value)) * prime), i, i + width, weight
            if start < 0:
                start = i
            if value == _SHARP_S:
                h = (h ^ np.uint64(_LETTER_S)) * prime
                value = np.uint32(_LETTER_S)
            h = (h ^ np.uint64(value)) * prime
            stop = i + width
        elif value == SEPARATES and start >= 0 and not _joins_digits(data, i, end, byte):
            return mix(h), start, stop, WORD
        i += width
    return mix(h), start, stop, WORD if start >= 0 else 0


@numba.njit(cache=True)
def _joins_digits(data, i, end, byte):
    """Whether byte i > 0 is the comma of 3,000."""
    return byte == _COMMA and i + 1 < end and 48 <= data[i - 1] <= 57 and 48 <= data[i + 1] <= 57


@numba.njit(cache=True)
def check(data, start, end, units, ascii_values, roots, leaves):
    """(check hash, byte after the last) of `units` units from byte `start` on; the byte is -1 where there are fewer."""
    h = np.uint64(0)
    i = start
    for _ in range(units):
        unit, _, i, weight = next_unit(data, i, end, ascii_values, roots, leaves, _CHECK_BASIS, _CHECK_PRIME)
        if weight == 0:
            return h, -1
        h = h * _CHECK_BASE + unit
    return mix(h), i


@numba.njit(cache=True)
def powers(count):
    """(count + 1,) uint64: BASE^0 to BASE^count."""
    out = np.ones(count + 1, np.uint64)
    for i in range(count):
        out[i + 1] = out[i] * BASE
    return out


class Window(NamedTuple):
    """Units of a text around the place of reading: of unit k the first byte, and hash and weight of all before it."""

    prefix: np.ndarray  # (room + 1,) uint64
    weights: np.ndarray  # (room + 1,) int64
    starts: np.ndarray  # (room,) int64
    stops: np.ndarray  # (room,) int64


@numba.njit(cache=True)
def window(carried):
    """Room for `carried` units of before and a block of new ones."""
    room = carried + BLOCK
    return (
        np.zeros(room + 1, np.uint64),
        np.zeros(room + 1, np.int64),
        np.empty(room, np.int64),
        np.empty(room, np.int64),
    )


@numba.njit(cache=True)
def read_block(data, position, end, ascii_values, roots, leaves, prefix, weights, starts, stops, filled):
    """Appends up to BLOCK units at `filled`: (position, filled); the text is done when fewer than BLOCK were new."""
    for k in range(filled, filled + BLOCK):
        unit, start, position, weight = next_unit(data, position, end, ascii_values, roots, leaves, _BASIS, _PRIME)
        if weight == 0:
            return end, k
        prefix[k + 1] = prefix[k] * BASE + unit
        weights[k + 1] = weights[k] + weight
        starts[k], stops[k] = start, position
    return position, filled + BLOCK


@numba.njit(cache=True)
def carry(prefix, weights, starts, stops, first, filled):
    """Moves the units from `first` to the front and returns how many they are."""
    kept = filled - first
    for k in range(kept):
        prefix[k], weights[k], starts[k], stops[k] = (
            prefix[first + k],
            weights[first + k],
            starts[first + k],
            stops[first + k],
        )
    prefix[kept], weights[kept] = prefix[filled], weights[filled]
    return kept


@numba.njit(cache=True)
def gram_hash(prefix, first, after, power):
    """Hash of the units first to after - 1."""
    return mix(prefix[after] - prefix[first] * power[after - first])


def grams_of(
    data: np.ndarray, offsets: np.ndarray, size: int, shortest: int, table: Letters
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All grams of (n,) texts, for an index: arrays of hash, check (uint64), units (int32), text (int64), in order of
    text and place; and (n,) bool, the texts too short to have any.

    size, shortest: in quarters of words. A text lighter than `size` is one gram, all of its units, under the hash of
    its first gram of `shortest`; lighter than that, it has none.
    """
    return _grams_of(read_only(data), read_only(offsets), size, shortest, *table)


@numba.njit(cache=True, nogil=True)
def _grams_of(data, offsets, size, shortest, ascii_values, roots, leaves):
    n = len(offsets) - 1
    room = (offsets[n] - offsets[0]) + 1
    hashes, checks = np.empty(room, np.uint64), np.empty(room, np.uint64)
    units, texts = np.empty(room, np.int32), np.empty(room, np.int64)
    short = np.zeros(n, np.bool_)
    power = powers(size)
    prefix, weights, starts, stops = window(size)
    filled = 0
    for text in range(n):
        position, end = offsets[text], offsets[text + 1]
        begun = position
        before = filled
        have, total, low, brief = 0, 0, 0, np.uint64(0)
        brief_found = False
        weights[0], prefix[0] = 0, 0
        while True:
            already = have
            position, have = read_block(
                data, position, end, ascii_values, roots, leaves, prefix, weights, starts, stops, have
            )
            total += have - already
            for k in range(already, have):
                if not brief_found and weights[k + 1] - weights[0] >= shortest and total == have:
                    brief, brief_found = gram_hash(prefix, 0, k + 1, power), True
                while weights[k + 1] - weights[low] >= size:
                    hashes[filled] = gram_hash(prefix, low, k + 1, power)
                    checks[filled], _ = check(data, starts[low], end, k + 1 - low, ascii_values, roots, leaves)
                    units[filled], texts[filled] = k + 1 - low, text
                    filled += 1
                    low += 1
            if have - already < BLOCK:
                break
            have = carry(prefix, weights, starts, stops, low, have)
            low = 0
        if filled == before:
            if brief_found:
                hashes[filled], units[filled], texts[filled] = brief, total, text
                checks[filled], _ = check(data, begun, end, total, ascii_values, roots, leaves)
                filled += 1
            else:
                short[text] = True
    return hashes[:filled].copy(), checks[:filled].copy(), units[:filled].copy(), texts[:filled].copy(), short
