"""The measures of a line, many bytes at a time: what `line_rules.scan` finds, sooner where most of it is ASCII.

Sums over bytes are loops without branches, which LLVM makes vector instructions of. Phrases are looked for only where
four bytes in a row, as "okie", say that one may be there; characters beyond ASCII are looked at one by one. The
longest word and counters are left to those who ask for them.
"""

from __future__ import annotations

import numpy as np

from gristmill.kernels.text.line_rules import (
    BRACKETS,
    CHARACTERS,
    COUNTER,
    DIGITS,
    END_MARK,
    JAVASCRIPT,
    LONGEST,
    POLICY,
    UPPERCASE,
    WORDS,
    add_wide,
    find_phrases,
    has_ascii_end,
    scan,
)
from gristmill.kernels.text.uncounted import inlined, uncounted

_BLOCK = np.uint64(240)
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@uncounted
def measure_line(data, first, last, blocks, classes, flags, scanned):
    """What `scan` finds, sooner where words are set apart by ASCII spaces."""
    upper, digits, brackets = np.int64(0), np.int64(0), np.int64(0)
    words = np.int64(1)  # a line begins with a word; the others begin behind white space
    other = suspect = np.uint8(0)
    begin, end = np.uint64(first), np.uint64(last)  # unsigned, or an index could count from the end of `data`
    for block in range(begin, end, _BLOCK):  # so many truths add up to a byte: the loops are a few vector instructions
        some_upper = some_digits = some_words = some_brackets = np.uint8(0)
        stop = min(block + _BLOCK, end)
        for i in range(block, stop):
            byte = data[i]
            other |= byte
            some_upper = np.uint8(some_upper + np.uint8((byte >= 65) & (byte <= 90)))
            some_digits = np.uint8(some_digits + np.uint8((byte >= 48) & (byte <= 57)))
            some_brackets = np.uint8(some_brackets + np.uint8(byte == 91))
        for i in range(max(block, begin + _1), stop):  # type: ignore[call-overload]
            some_words = np.uint8(some_words + (_is_space(data[i - _1]) & ~_is_space(data[i]) & 1))
        for i in range(max(block, begin + _3), stop):  # type: ignore[call-overload]
            w, x = np.uint8(data[i - _3] | 32), np.uint8(data[i - _2] | 32)
            y, z = np.uint8(data[i - _1] | 32), np.uint8(data[i] | 32)
            suspect |= np.uint8((w == 106) & (y == 118) & (z == 97))  # j.va, of javascript
            suspect |= np.uint8((w == 111) & (x == 107) & (y == 105) & (z == 101))  # okie, of cookies
            suspect |= np.uint8((w == 105) & (x == 118) & (y == 97) & (z == 99))  # ivac, of privacy
            suspect |= np.uint8((w == 102) & (x == 32) & (y == 117) & (z == 115))  # f us, of terms of use
        upper, digits = upper + some_upper, digits + some_digits
        words, brackets = words + some_words, brackets + some_brackets
    scanned[WORDS], scanned[BRACKETS] = words, brackets
    scanned[UPPERCASE], scanned[DIGITS], scanned[CHARACTERS] = upper, digits, last - first
    scanned[JAVASCRIPT], scanned[POLICY], scanned[LONGEST], scanned[COUNTER] = 0, 0, 1, 0
    if suspect:
        find_phrases(data, first, last, scanned)
    if other < 128:
        scanned[END_MARK] = has_ascii_end(data, first, last)
    elif add_wide(data, first, last, blocks, classes, flags, scanned):
        scan(data, first, last, blocks, classes, flags, scanned)


@inlined
def _is_space(byte):
    """str.isspace() of an ASCII character."""
    return np.uint8(byte == 32) | np.uint8((byte >= 9) & (byte <= 13)) | np.uint8((byte >= 28) & (byte <= 31))
