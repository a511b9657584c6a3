"""Personal data and keys in text: one scan over the bytes, exact matching where something could start.

    scan(data, offsets, scopes, wanted) -> rows, first bytes, bytes after, kinds
    replaced(data, offsets, found, kinds, ...)  -> the texts with other words in these places

Almost all bytes start nothing: a table says which may (digits, @, the rare letters of key prefixes; in source code =
and : too). What is found there is decided by `pii_numbers`, `pii_secrets` and, for @, here. Matches do not overlap; of
two the one that starts first stays. An e-mail address is

    local @ label ( . label )+        RFC 5321, unquoted: letters, digits and . _ % + - before @ (64 bytes at most, the
                                      letters of Latin alphabets too), labels of letters, digits and inner hyphens, the
                                      last of them two letters or more

but for reserved domains, git@host, ends of file names, and in source code names that are no known top-level domain.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.pii_context import is_alnum, is_digit, is_upper
from gristmill.kernels.text.pii_numbers import number
from gristmill.kernels.text.pii_patterns import CODE_BIT, EMAIL, KEY
from gristmill.kernels.text.pii_secrets import assigned, token
from gristmill.kernels.text.pii_tables import ANCHORS, ASSIGNMENT, AT, DIGIT, PAIRS, TLD_SETS, TLDS, TOKEN
from gristmill.kernels.text.word_grams import read_only

MAX_LOCAL, MAX_DOMAIN, MAX_TLD = 64, 255, 24  # bytes: RFC 5321, 4.5.3.1; the longest top-level domain in use has 24
_RESERVED_DOMAINS, _RESERVED_TLDS, _NO_TLDS, _CODE_TLDS = range(4)


def scan(data: np.ndarray, offsets: np.ndarray, scopes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """All matches of (n,) texts in order: rows, first bytes, bytes after the last, kinds; (4, m) int64.

    scopes: (n,) int64 of `pii_patterns.scope_bits`. wanted: (n, kinds) bool.
    """
    return _scan(read_only(data), read_only(offsets), scopes, wanted)


@numba.njit(cache=True, nogil=True)
def _scan(data, offsets, scopes, wanted):
    capacity, filled = 1024, 0
    out = np.empty((4, capacity), np.int64)
    working = np.empty(32, np.uint8)
    for row in range(len(offsets) - 1):
        begin, end, scope, want = offsets[row], offsets[row + 1], scopes[row], wanted[row]
        starts = ANCHORS[1 if scope & CODE_BIT else 0]
        i = floor = begin
        while i < end:
            i = _next(data, begin, i, end, scope & CODE_BIT)
            if i == end:
                break
            kind_of = starts[data[i]]
            kind, s, e = -1, i, i + 1
            if kind_of == DIGIT:
                e = i + 1
                while e < end and is_digit(data[e]):
                    e += 1
                if _may_be_number(data, begin, end, i, e):
                    run = e
                    kind, s, e = number(data, begin, floor, end, i, e, scope, want, working)
                    e = e if kind >= 0 else run
            elif kind_of == AT:
                if want[EMAIL]:
                    s, e = _email(data, begin, floor, end, i, scope)
                    kind = EMAIL if s >= 0 else -1
            elif want[KEY]:
                if kind_of == ASSIGNMENT:
                    s, e = assigned(data, begin, end, i)
                else:
                    s, e = token(data, floor, end, i)
                kind = KEY if s >= 0 else -1
            if kind < 0:
                i = e if kind_of == DIGIT else i + 1
                continue
            if filled == capacity:
                capacity *= 2
                out = _grown(out, capacity)
            out[0, filled], out[1, filled], out[2, filled], out[3, filled] = row, s, e, kind
            filled += 1
            i = floor = e
    return out[:, :filled].copy()


@numba.njit(cache=True)
def _next(data, begin, i, end, code):
    """The first byte from i on where something may start. On its own it is a loop of four instructions."""
    row = 1 if code else 0
    while i < end:
        found = ANCHORS[row, data[i]]
        if found != 0 and (found != TOKEN or (i > begin and PAIRS[data[i], data[i - 1]])):
            return i
        i += 1
    return end


@numba.njit(cache=True)
def _grown(out, capacity):
    grown = np.empty((4, capacity), np.int64)
    for k in range(4):
        for m in range(out.shape[1]):
            grown[k, m] = out[k, m]
    return grown


@numba.njit(cache=True)
def _may_be_number(data, begin, end, i, e):
    """False for most runs of digits: short ones that no separator and no letter before them makes more of."""
    before = data[i - 1] if i > begin else np.uint8(32)
    if before == 43 or is_upper(before):
        return True
    if is_alnum(before) or before == 95:
        return False
    if e - i >= 7:
        return True
    if e + 1 >= end:
        return False
    if is_digit(data[e + 1]) or data[e + 1] == 40:
        return True
    return data[e] == 41 or data[e + 1] == 32 or (e - i <= 4 and 50 <= data[i] <= 51 and data[e] != 32)


@numba.njit(cache=True)
def _email(data, begin, floor, end, at, scope):
    """(first byte, byte after the last) of the address around the @ at byte `at`; first byte -1: there is none."""
    low = max(floor, at - MAX_LOCAL)
    s = at
    while s > low and _local(data, low, s):
        s -= 1
    while s < at and not (is_alnum(data[s]) or data[s] == 95 or data[s] >= 0xC3):
        s += 3 if data[s] == 37 and s + 3 < at else 1  # mailto:%20name@...
    if s == at or data[at - 1] == 46 or (s > begin and data[s - 1] == 64):
        return -1, at
    for k in range(s, at - 1):
        if data[k] == 46 and data[k + 1] == 46:
            return -1, at
    k, labels, best, tld = at + 1, 0, -1, at
    while k < end and k - at <= MAX_DOMAIN:
        label = k
        while k < end and (is_alnum(data[k]) or data[k] == 45):
            k += 1
        if k == label or data[label] == 45:
            break
        labels += 1
        letters = label
        while letters < k and is_alnum(data[letters]) and not is_digit(data[letters]):
            letters += 1
        whole = letters == k or data[letters] == 45
        if labels > 1 and 2 <= letters - label <= MAX_TLD and whole and _top_level(data, label, letters, scope):
            best, tld = letters, label
        elif labels > 1 and k - label > 4 and _punycode(data, label) and data[k - 1] != 45:
            best, tld = k, label
        if k + 1 >= end or data[k] != 46 or data[k - 1] == 45:
            break
        k += 1
    if best < 0 or _reserved(data, at + 1, tld, best):
        return -1, at
    if best < end and (data[best] == 64 or data[best] == 95 or (data[best] == 40 and scope & CODE_BIT)):  # @ _ (
        return -1, at
    if at - s == 3 and data[s] == 103 and data[s + 1] == 105 and data[s + 2] == 116:  # git@github.com:owner/name
        return -1, at
    return s, best


@numba.njit(cache=True)
def _local(data, low, s):
    """Whether the byte before s is part of a local part."""
    c = data[s - 1]
    if is_alnum(c) or c == 46 or c == 95 or c == 37 or c == 43 or c == 45:  # . _ % + -
        return True
    if 0xC3 <= c <= 0xC9:  # U+00C0 to U+027F: Latin letters with marks
        return s < len(data) and data[s] & 0xC0 == 0x80
    return c & 0xC0 == 0x80 and s - 1 > low and 0xC3 <= data[s - 2] <= 0xC9


@numba.njit(cache=True)
def _listed(data, s, e, group):
    for row in range(TLD_SETS[group, 0], TLD_SETS[group, 1]):
        n = 0
        while TLDS[row, n] != 0 and s + n < e:
            c = data[s + n]
            if (c | 32 if is_upper(c) else c) != TLDS[row, n]:
                break
            n += 1
        if s + n == e and TLDS[row, n] == 0:
            return True
    return False


@numba.njit(cache=True)
def _top_level(data, s, e, scope):
    if scope & CODE_BIT and e - s > 2:
        return _listed(data, s, e, _CODE_TLDS)
    return not _listed(data, s, e, _NO_TLDS)


@numba.njit(cache=True)
def _punycode(data, s):
    return data[s] | 32 == 120 and data[s + 1] | 32 == 110 and data[s + 2] == 45 and data[s + 3] == 45  # xn--


@numba.njit(cache=True)
def _reserved(data, domain, tld, e):
    """Whether the domain, or the last two labels of it, is one that nobody can have."""
    if _listed(data, tld, e, _RESERVED_TLDS):
        return True
    second = tld - 1
    while second > domain and data[second - 1] != 46:
        second -= 1
    return _listed(data, second, e, _RESERVED_DOMAINS)


def replaced(
    data: np.ndarray, offsets: np.ndarray, found: np.ndarray, words: np.ndarray, word_offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(text, offsets): the (n,) texts with `words[kind]` in place of every match, as bytes and (n + 1,) int64.

    found: as `scan` gives it. words, word_offsets: the replacements by kind, one after the other.
    """
    return _replaced(read_only(data), read_only(offsets), found, read_only(words), word_offsets)


@numba.njit(cache=True, nogil=True)
def _replaced(data, offsets, found, words, word_offsets):
    n, m = len(offsets) - 1, found.shape[1]
    size = offsets[n] - offsets[0]
    for k in range(m):
        size += word_offsets[found[3, k] + 1] - word_offsets[found[3, k]] - (found[2, k] - found[1, k])
    out, bounds = np.empty(size, np.uint8), np.zeros(n + 1, np.int64)
    filled = k = 0
    for row in range(n):
        place = offsets[row]
        while k < m and found[0, k] == row:
            filled = _copied(data, place, found[1, k], out, filled)
            filled = _copied(words, word_offsets[found[3, k]], word_offsets[found[3, k] + 1], out, filled)
            place = found[2, k]
            k += 1
        filled = _copied(data, place, offsets[row + 1], out, filled)
        bounds[row + 1] = filled
    return out, bounds


@numba.njit(cache=True)
def _copied(data, start, end, out, filled):
    for k in range(end - start):  # a slice of a slice compiles four times as long
        out[filled + k] = data[start + k]
    return filled + end - start
