"""The normalisation of text before CCNet's language models (Wenzek et al. 2019, section 3), in one pass over UTF-8.

In this order, each as Python's `str` and `unicodedata` do it: outer strip; lower case; NFD without its nonspacing
marks (general category Mn); decimal digits (Nd, all scripts) -> 0; `PUNCTUATION` -> ASCII; control characters
(U+0000 to U+001F, U+007F to U+009F) removed. (data, offsets) in, (data, offsets) out, row by row. A line is a row: a
line feed within a row is a control character, so it is removed without leaving a space.

A character's result is looked up. Three things depend on its neighbours: the strip; a capital sigma, which ends a word
as ς; and marks that occupy space (Mc) and have a combining class, which NFD sorts. It does not join or segment.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.hashing import two_levels
from gristmill.kernels.text.utf8 import decode

PUNCTUATION = {
    **dict.fromkeys("，、", ","),
    **dict.fromkeys("„”“«»」「《》", '"'),
    **dict.fromkeys("´’", "'"),
    **dict.fromkeys("∶：", ":"),
    **dict.fromkeys("–━►", "-"),
    **dict(zip("。；？！～％（）〈〉【】", ".;?!~%()<>[]", strict=True)),
    "．": ". ",
    "…": "...",
    "—": " - ",
}
"""Punctuation and the ASCII that stands for it. cc_net, text_normalizer, UNICODE_PUNCT: 33 characters, of which the
fullwidth digit one never occurs here, because digits are 0 by then."""

# An entry of the table, int32: what becomes of a character.
COPY = 1 << 0  # itself
SPACE = 1 << 1  # str.isspace()
CASED = 1 << 2  # lets a sigma after it be final
IGNORABLE = 1 << 3  # what a sigma looks past
SIGMA = 1 << 4
SORTED = 1 << 5  # kept, and NFD moves it before marks of a higher combining class
FENCE = 1 << 6  # leaves nothing, yet NFD moves nothing across it
_SIZE = 8  # bits 8 to 11: bytes of the result
_PLACE = 12  # from here: its place in the pool

_GROWTH = 8  # bytes by which a character outside ASCII grows at most: U+1D160, a note, 4 -> 12


class Table(NamedTuple):
    roots: np.ndarray  # (0x1100,) int64: block of 256 code points -> row of `leaves`
    leaves: np.ndarray  # (rows, 256) int32 entries
    pool: np.ndarray  # (bytes,) uint8
    ascii: np.ndarray  # (128,) uint8 results of ASCII; 0: removed
    marks: np.ndarray  # (m,) int64, sorted: the code points that are SORTED
    classes: np.ndarray  # (m,) int64 their combining classes


def normalise(data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(data, offsets) of the rows normalised: (bytes,) uint8 and (rows + 1,) int64, offsets from 0.

    data: (bytes,) uint8, UTF-8; offsets: (rows + 1,) int64, row i is data[offsets[i]:offsets[i + 1]]. What is
    no UTF-8 becomes something, and nothing outside its row is read or written.
    """
    if len(offsets) < 2:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    begin, end = offsets[0], offsets[-1]
    out = np.empty(end - begin + _GROWTH * np.count_nonzero(data[begin:end] & 0x80), np.uint8)
    ends = _normalise(data, offsets, out, *table())
    return out[: ends[-1]], ends


def character(c: str) -> str:
    """What a character alone becomes; not defined for white space, which is stripped where it stands outside."""
    lowered = unicodedata.normalize("NFD", c.lower())
    kept = (x for x in lowered if unicodedata.category(x) not in ("Mn", "Cc"))
    return "".join("0" if unicodedata.category(x) == "Nd" else PUNCTUATION.get(x, x) for x in kept)


@cache
def table() -> Table:
    """The table of all code points, that of the interpreter's Unicode version; 0.2 s."""
    flat = np.full(0x110000, COPY, np.int32)
    places: dict[bytes, int] = {}
    pool = bytearray()
    marks = {}
    for block in range(0x1100):
        codes = range(block << 8, (block + 1) << 8)
        if 0xD8 <= block < 0xE0 or _plain("".join(map(chr, codes))):
            continue
        for code in codes:
            c = chr(code)
            result = character(c).encode()
            entry = SPACE * c.isspace() | _case(c)
            if result == c.encode():
                entry |= COPY
                if unicodedata.combining(c):
                    entry |= SORTED
                    marks[code] = unicodedata.combining(c)
            elif result:
                if result not in places:
                    places[result] = len(pool)
                    pool += result
                entry |= len(result) << _SIZE | places[result] << _PLACE
            elif not all(map(unicodedata.combining, unicodedata.normalize("NFD", c))):
                entry |= FENCE
            flat[code] = entry
    roots, leaves = two_levels(flat)
    ascii_ = np.array([(character(chr(code)) or "\0").encode()[0] for code in range(128)], np.uint8)
    order = sorted(marks)
    classes = np.array([marks[code] for code in order], np.int64)
    return Table(roots, leaves, np.frombuffer(bytes(pool), np.uint8), ascii_, np.array(order, np.int64), classes)


def _plain(block: str) -> bool:
    """Whether all of a block of characters stay as they are and mean nothing to their neighbours."""
    if block.lower() != block or block.upper() != block or unicodedata.normalize("NFD", block) != block:
        return False
    return all(unicodedata.category(c) in ("Lo", "So", "Cn", "Co") and c not in PUNCTUATION for c in block)


def _case(c: str) -> int:
    """CASED, IGNORABLE or SIGMA, as `str.lower` shows what it takes the character for (Unicode 3.13, Final_Sigma)."""
    if c == "Σ":
        return SIGMA | CASED
    if (c + "Σ").lower().endswith("ς"):
        return CASED
    return IGNORABLE if ("A" + c + "Σ").lower().endswith("ς") else 0


@numba.njit(cache=True, nogil=True)
def _normalise(data, offsets, out, roots, leaves, pool, ascii_, marks, classes):
    n = len(offsets) - 1
    ends = np.zeros(n + 1, np.int64)
    m = 0
    for row in range(n):
        i, end = _strip(data, offsets[row], offsets[row + 1], roots, leaves)
        begin, fence = i, m
        while i < end:
            byte = data[i]
            if byte < 0x80:
                result = ascii_[byte]
                out[m] = result
                m += result != 0
                i += 1
                if result == 0:
                    fence = m
                continue
            code, width = decode(data, i, end)
            entry = leaves[roots[code >> 8], code & 255]
            if entry & COPY:
                if code == 0xFFFD:
                    out[m], out[m + 1], out[m + 2] = 0xEF, 0xBF, 0xBD
                    m += 3
                else:
                    for k in range(width):
                        out[m + k] = data[i + k]
                    m += width
                    if entry & SORTED:
                        _sort_in(out, fence, m, width, marks, classes)
            elif entry & SIGMA:
                out[m] = 0xCF
                out[m + 1] = 0x82 if _final(data, begin, i, end, roots, leaves) else 0x83
                m += 2
            else:
                size = entry >> _SIZE & 15
                place = entry >> _PLACE
                for k in range(size):
                    out[m + k] = pool[place + k]
                m += size
                if entry & FENCE:
                    fence = m
            i += width
        ends[row + 1] = m
    return ends


@numba.njit(cache=True, nogil=True)
def _strip(data, begin, end, roots, leaves):
    while begin < end:
        code, width = decode(data, begin, end)
        if not leaves[roots[code >> 8], code & 255] & SPACE:
            break
        begin += width
    while begin < end:
        last = _before(data, begin, end)
        code, width = decode(data, last, end)
        if not (leaves[roots[code >> 8], code & 255] & SPACE and last + width == end):
            break
        end = last
    return begin, end


@numba.njit(cache=True, nogil=True)
def _before(data, begin, end):
    """Start of the character that ends at `end` > begin."""
    last = end - 1
    while last > begin and data[last] & 0xC0 == 0x80:
        last -= 1
    return last


@numba.njit(cache=True, nogil=True)
def _final(data, begin, at, end, roots, leaves):
    """Whether the sigma at `at` ends a word: after a cased letter and not before one, ignorable characters aside."""
    i = at
    while True:
        if i == begin:
            return False
        i = _before(data, begin, i)
        code, _ = decode(data, i, end)
        entry = leaves[roots[code >> 8], code & 255]
        if not entry & IGNORABLE:
            break
    if not entry & CASED:
        return False
    i = at + 2
    while i < end:
        code, width = decode(data, i, end)
        entry = leaves[roots[code >> 8], code & 255]
        if not entry & IGNORABLE:
            return not entry & CASED
        i += width
    return True


@numba.njit(cache=True, nogil=True)
def _sort_in(out, fence, end, width, marks, classes):
    """Moves the last character of out[:end] before those of a higher combining class, not across `fence`."""
    code, _ = decode(out, end - width, end)
    own = classes[np.searchsorted(marks, code)]
    at = end - width
    while at > fence:
        last = _before(out, fence, at)
        code, size = decode(out, last, at)
        place = np.searchsorted(marks, code)
        if place == len(marks) or marks[place] != code or classes[place] <= own:
            break
        moved = out[last : last + width + size].copy()
        out[last : last + width] = moved[size:]
        out[last + width : last + width + size] = moved[:size]
        at = last
