"""Counts that filters of source code need, from the UTF-8 bytes of a file.

    count(data, offsets, code, html) -> (rows, len(COUNTS)) int64
    heads(data, offsets, lines, most) -> (bytes, offsets) of the first lines, ASCII letters in lower case

Lines end at U+000A; what follows the last one is a line if it is not empty. Encoded data are the matches of three
expressions (Lozhkov et al. 2024, The Stack v2, appendix A.1), of Python's `re` over Unicode strings:

    [a-zA-Z0-9+/\\n=]{64,}      (?:\\b(?:0x|\\\\x)?[0-9a-fA-F]{2}(?:,|\\b\\s*)){8,}      (?:\\\\u[0-9a-fA-F]{4}){8,}

Visible HTML is what is outside of tags, comments and the elements script and style; a tag ends at the first `>`, what
is not closed reaches to the end. Character references count as they are written.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numba
import numpy as np

from gristmill.kernels.text import utf8

COUNTS = (
    *("characters", "lines", "line_characters", "longest_line", "letters", "alphanumerics"),
    *("xml_header", "encoded_characters", "longest_encoded", "visible_characters"),
)
"""Columns of `count`. letters, alphanumerics: general categories L, and L or N. xml_header: 1 where XML_MARK is among
the first XML_CHARACTERS characters. visible_characters: 0 where not asked for."""

XML_MARK = b"<?xml version="
XML_CHARACTERS = 100  # Li et al. 2023 (StarCoder), section 3
BASE64_LENGTH, HEX_PAIRS, UNICODE_ESCAPES = 64, 8, 8

AT: Any = namedtuple("AT", COUNTS)(*range(len(COUNTS)))
"""Column of each count."""

_BASE64 = np.zeros(256, np.bool_)
_BASE64[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/\n=")] = True
_HEX = np.zeros(256, np.bool_)
_HEX[list(b"0123456789abcdefABCDEF")] = True
_XML = np.frombuffer(XML_MARK, np.uint8)
_SCRIPT, _STYLE = np.frombuffer(b"script", np.uint8), np.frombuffer(b"style", np.uint8)
_SPACE, _LETTER, _ALNUM = utf8.SPACE, utf8.LETTER, utf8.ALNUM


def count(data: np.ndarray, offsets: np.ndarray, code: np.ndarray, html: np.ndarray) -> np.ndarray:
    """Counts per document.

    data: (bytes,) uint8, valid UTF-8. offsets: (rows + 1,) int64. code: (rows,) bool, which to look at; the counts
    of the others are 0. html: (rows,) bool, of which the visible text is wanted. Returns (rows, len(COUNTS)) int64.
    """
    if len(offsets) < 2:
        return np.zeros((0, len(COUNTS)), np.int64)
    table = utf8.table()
    marked = np.zeros(int(np.diff(offsets)[code].max(initial=0)), np.uint8)
    plain = table.flags[table.classes[0, :128]]
    return _count(data, offsets, code, html, table.blocks, table.classes, table.flags, plain, marked)


def heads(data: np.ndarray, offsets: np.ndarray, lines: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `lines` lines of each document, at most `most` bytes: (bytes,) uint8, (rows + 1,) int64."""
    ends = _head_ends(data, offsets, lines, most)
    starts = np.zeros(len(offsets), np.int64)
    np.cumsum(ends, out=starts[1:])
    return _copied(data, offsets, starts), starts


@numba.njit(cache=True)
def _count(data, offsets, code, html, blocks, classes, flags, plain, marked):
    out = np.zeros((len(code), 10), np.int64)
    for row in range(len(code)):
        if code[row]:
            begin, end = offsets[row], offsets[row + 1]
            _characters(data, begin, end, blocks, classes, flags, plain, out[row])
            out[row, 6] = _has_xml_header(data, begin, end)
            out[row, 7], out[row, 8] = _encoded(data, begin, end, blocks, classes, flags, plain, marked)
            if html[row]:
                out[row, 9] = _visible(data, begin, end)
    return out


@numba.njit(inline="always")
def _flags_at(code, blocks, classes, flags):
    return flags[classes[blocks[code >> 8], code & 255]]


@numba.njit(cache=True)
def _characters(data, begin, end, blocks, classes, flags, plain, out):
    characters = lines = longest = current = letters = alphanumerics = breaks = 0
    i = begin
    while i < end:
        code, width = np.int64(data[i]), 1
        if code >= 128:
            code, width = utf8.decode(data, i, end)
        i += width
        characters += 1
        if code == 10:
            lines += 1
            breaks += 1
            longest = max(longest, current)
            current = 0
            continue
        current += 1
        found = plain[code] if code < 128 else _flags_at(code, blocks, classes, flags)
        letters += (found & _LETTER) != 0
        alphanumerics += (found & _ALNUM) != 0
    if current:
        lines += 1
        longest = max(longest, current)
    out[0], out[1], out[2], out[3] = characters, lines, characters - breaks, longest
    out[4], out[5] = letters, alphanumerics


@numba.njit(cache=True)
def _has_xml_header(data, begin, end):
    stop, characters = begin, 0
    while stop < end:  # the first byte after the first characters
        if data[stop] & 0xC0 != 0x80:
            characters += 1
            if characters > XML_CHARACTERS:
                break
        stop += 1
    for i in range(begin, stop - len(_XML) + 1):
        if _is_at(data, i, stop, _XML):
            return 1
    return 0


@numba.njit(cache=True)
def _is_at(data, i, end, mark):
    if i + len(mark) > end:
        return False
    k = 0
    while k < len(mark) and data[i + k] == mark[k]:
        k += 1
    return k == len(mark)


@numba.njit(cache=True)
def _encoded(data, begin, end, blocks, classes, flags, plain, marked):
    """(characters in any of the three kinds of match, characters of the longest match)."""
    longest, found = 0, False
    i = begin
    while i < end:  # base64
        if not _BASE64[data[i]]:
            i += 1
            continue
        first = i
        while i < end and _BASE64[data[i]]:
            i += 1
        if i - first >= BASE64_LENGTH:
            marked[first - begin : i - begin] = 1
            longest, found = max(longest, i - first), True
    i = begin
    word = False  # whether the character before byte i is one of a word
    while i < end:  # pairs of hexadecimal digits
        byte = data[i]
        if (_HEX[byte] or byte == 92) and word != (byte != 92):
            stop = _hex_end(data, i, end, word, blocks, classes, flags)
            if stop > i:
                marked[i - begin : stop - begin] = 1
                size = 0
                for b in range(i, stop):
                    size += data[b] & 0xC0 != 0x80
                longest, found = max(longest, size), True
                i = stop
                word = _word_before(data, i, begin, blocks, classes, flags)
                continue
        if byte < 128:
            word = byte == 95 or (plain[byte] & _ALNUM) != 0
            i += 1
        else:
            code, width = utf8.decode(data, i, end)
            word = (_flags_at(code, blocks, classes, flags) & _ALNUM) != 0
            i += width
    i = begin
    while i < end:  # escapes of code points
        if data[i] != 92:
            i += 1
            continue
        groups = 0
        while _is_escape(data, i + 6 * groups, end):
            groups += 1
        if groups >= UNICODE_ESCAPES:
            marked[i - begin : i - begin + 6 * groups] = 1
            longest, found = max(longest, 6 * groups), True
            i += 6 * groups
        else:
            i += 1
    total = 0
    if found:
        for i in range(begin, end):
            total += marked[i - begin] and data[i] & 0xC0 != 0x80
        marked[: end - begin] = 0
    return total, longest


@numba.njit(cache=True)
def _hex_end(data, i, end, word, blocks, classes, flags):
    """Where a match that starts at byte i ends; -1 where there is none. word: the character before is of a word."""
    items = 0
    while i < end:
        first = data[i]
        k = i
        if first == 92:
            if i + 1 >= end or data[i + 1] != 120:
                break
            k += 2
        elif first == 48 and i + 1 < end and data[i + 1] == 120:
            k += 2
        if word == (first != 92) or k + 2 > end or not (_HEX[data[k]] and _HEX[data[k + 1]]):
            break
        k += 2
        if k < end and data[k] == 44:
            k += 1
            word = False
        else:
            word = True
            if k < end:
                code, width = utf8.decode(data, k, end)
                found = _flags_at(code, blocks, classes, flags)
                if code == 95 or found & _ALNUM:
                    break
                while k < end and found & _SPACE:
                    word = False
                    k += width
                    if k < end:
                        code, width = utf8.decode(data, k, end)
                        found = _flags_at(code, blocks, classes, flags)
        items += 1
        i = k
    return i if items >= HEX_PAIRS else -1


@numba.njit(cache=True)
def _word_before(data, i, begin, blocks, classes, flags):
    start = i - 1
    while start > begin and data[start] & 0xC0 == 0x80:
        start -= 1
    code, _ = utf8.decode(data, start, i)
    return code == 95 or (_flags_at(code, blocks, classes, flags) & _ALNUM) != 0


@numba.njit(cache=True)
def _is_escape(data, i, end):
    if i + 6 > end or data[i] != 92 or data[i + 1] != 117:
        return False
    return _HEX[data[i + 2]] and _HEX[data[i + 3]] and _HEX[data[i + 4]] and _HEX[data[i + 5]]


@numba.njit(cache=True)
def _visible(data, begin, end):
    total = 0
    i = begin
    while i < end:
        byte = data[i]
        after = data[i + 1] if i + 1 < end else 0
        if byte == 60 and (after in (33, 47, 63) or 97 <= after | 32 <= 122):
            i = _behind_markup(data, i, end)
        else:
            total += byte & 0xC0 != 0x80
            i += 1
    return total


@numba.njit(cache=True)
def _behind_markup(data, i, end):
    """The byte after a tag, a comment or an element whose content is not shown."""
    if i + 3 < end and data[i + 1] == 33 and data[i + 2] == 45 and data[i + 3] == 45:
        i += 4
        while i < end and not (i + 2 < end and data[i] == 45 and data[i + 1] == 45 and data[i + 2] == 62):
            i += 1
        return min(i + 3, end)
    raw = 6 if _named(data, i + 1, end, _SCRIPT) else 5 if _named(data, i + 1, end, _STYLE) else 0
    if raw:
        mark = _SCRIPT if raw == 6 else _STYLE
        i += 1 + raw
        while i < end and not (data[i] == 60 and i + 1 < end and data[i + 1] == 47 and _named(data, i + 2, end, mark)):
            i += 1
    while i < end and data[i] != 62:
        i += 1
    return min(i + 1, end)


@numba.njit(cache=True)
def _named(data, i, end, name):
    """Whether an element's name in any case stands at byte i, followed by white space, / or >."""
    if i + len(name) >= end:
        return False
    for k in range(len(name)):
        if data[i + k] | 32 != name[k]:
            return False
    after = data[i + len(name)]
    return after in (47, 62, 32) or 9 <= after <= 13


@numba.njit(cache=True)
def _head_ends(data, offsets, lines, most):
    out = np.zeros(len(offsets) - 1, np.int64)
    for row in range(len(out)):
        begin = offsets[row]
        end = min(offsets[row + 1], begin + most)
        i, seen = begin, 0
        while i < end:
            if data[i] == 10:
                seen += 1
                if seen == lines:
                    break
            i += 1
        out[row] = i - begin
    return out


@numba.njit(cache=True)
def _copied(data, offsets, starts):
    out = np.empty(starts[-1], np.uint8)
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        for k in range(starts[row + 1] - starts[row]):
            byte = data[begin + k]
            out[starts[row] + k] = byte | 32 if 65 <= byte <= 90 else byte
    return out
