"""JSON Lines to columns: the fields that a reader wants as Arrow buffers, without an object for any value.

`scan` walks a buffer line by line (RFC 8259) and notes where the values of the wanted keys stand; the other fields are
copied as they are, for whoever wants to parse them. `kernels.text.json_strings` then copies the values of one key into
the buffers of a column. What is rare is not decided here: a line with a broken value, a wanted key
twice, a lone surrogate or a type that nobody expected is marked `ODD` and left to a complete parser.

A line is `FAST` if a complete parser would give the same: valid UTF-8, an object, every wanted value a string or null
(an integer where the key allows it). Of the other fields only the extent is checked; who parses them finds the rest.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.json_strings import ABSENT, ESCAPED, INTEGER, NULL, PLAIN, hex_digits, is_utf8

FAST, ODD, EMPTY = 0, 1, 2
"""What a line is: read here, to be parsed elsewhere, nothing but white space."""

WANTED, NUMBERED, STRANGE = 0, 1, 2
"""What a key is for: a string; a string or an integer; a reason to leave the line to the complete parser."""

MAX_DEPTH = 100


def _stops() -> np.ndarray:
    """What may not be passed over inside a string: its end, an escape, a control character."""
    stops = np.zeros(256, np.bool_)
    stops[:32] = stops[ord('"')] = stops[ord("\\")] = True
    return stops


_STOPS = _stops()


def keys(names: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bytes uint8, offsets int64, uses int8) of (name, what for), as `scan` takes them."""
    encoded = [name.encode() for name, _ in names]
    offsets = np.concatenate([[0], np.cumsum([len(name) for name in encoded])]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets, np.array([use for _, use in names], np.int8)


@numba.njit(cache=True)
def count_lines(data):
    """Line feeds in data (bytes,) uint8."""
    lines = 0
    for i in range(len(data)):
        lines += data[i] == 10
    return lines


@numba.njit(cache=True)
def scan(data, names, name_offsets, uses, marks, ends, spans, kinds, rest, rest_offsets):
    """Notes what every line of `data` holds.

    data: (bytes,) uint8, whole lines, the last byte a line feed. names, name_offsets, uses: of `keys`.
    Filled, for each line: marks (lines,) int8: FAST, ODD or EMPTY. ends (lines,) int64: behind its line feed.
    spans (lines, keys, 2) int64 and kinds (lines, keys) int8: where a value stands, without quotes, and what it is.
    rest (bytes + lines,) uint8 and rest_offsets (lines + 1,) int64: the fields of other keys, joined by commas.
    """
    at = 0
    used = 0
    rest_offsets[0] = 0
    for line in range(len(marks)):
        begin = at
        kinds[line] = ABSENT
        mark, at, high, written = _line(data, at, names, name_offsets, uses, spans[line], kinds[line], rest, used)
        while data[at] != 10:
            at += 1
        at += 1
        if mark == FAST and high and not is_utf8(data, begin, at):
            mark = ODD
        if mark == FAST:
            used = written
        marks[line] = mark
        ends[line] = at
        rest_offsets[line + 1] = used


@numba.njit(cache=True)
def _line(data, i, names, name_offsets, uses, spans, kinds, rest, used):
    """(mark, where it stopped, whether a byte beyond ASCII was seen, where `rest` ends); stops at or before the line
    feed."""
    high = False
    i = _skip(data, i)
    if data[i] == 10:
        return EMPTY, i, high, used
    if data[i] != 123:  # {
        return ODD, i, high, used
    i = _skip(data, i + 1)
    first = True
    bare = True  # nothing is in `rest` yet
    while data[i] != 125 or not first:  # }
        field = i
        if data[i] != 34:  # "
            return ODD, i, high, used
        i, escaped, beyond = _string(data, field + 1)
        high |= beyond
        if i < 0 or escaped:
            return ODD, field, high, used
        key = _key(data, field + 1, i, names, name_offsets)
        i = _skip(data, i + 1)
        if data[i] != 58:  # :
            return ODD, i, high, used
        i = _skip(data, i + 1)
        value = i
        if key >= 0:
            if uses[key] == STRANGE or kinds[key] != ABSENT:
                return ODD, i, high, used
            if data[i] == 34:
                i, escaped, beyond = _string(data, value + 1)
                high |= beyond
                if i < 0:
                    return ODD, value, high, used
                spans[key, 0], spans[key, 1] = value + 1, i
                kinds[key] = ESCAPED if escaped else PLAIN
                i += 1
            elif data[i] == 110 and data[i + 1] == 117 and data[i + 2] == 108 and data[i + 3] == 108:  # null
                kinds[key] = NULL
                i += 4
            elif uses[key] == NUMBERED:
                i = _integer(data, i)
                if i < 0:
                    return ODD, value, high, used
                spans[key, 0], spans[key, 1] = value, i
                kinds[key] = INTEGER
            else:
                return ODD, i, high, used
        else:
            i, beyond = _value(data, i)
            high |= beyond
            if i < 0:
                return ODD, value, high, used
            if not bare:
                rest[used] = 44
                used += 1
            bare = False
            for b in range(field, i):
                rest[used] = data[b]
                used += 1
        first = False
        i = _skip(data, i)
        if data[i] == 125:
            break
        if data[i] != 44:  # ,
            return ODD, i, high, used
        i = _skip(data, i + 1)
    i = _skip(data, i + 1)
    return (FAST if data[i] == 10 else ODD), i, high, used


@numba.njit(cache=True)
def _skip(data, i):
    while data[i] == 32 or data[i] == 9 or data[i] == 13:
        i += 1
    return i


@numba.njit(cache=True)
def _string(data, i):
    """(where the closing quote stands or -1, whether there are escapes, whether there are bytes beyond ASCII)."""
    escaped = False
    high = np.uint8(0)
    while True:
        c = data[i]
        while not _STOPS[c]:
            high |= c
            i += 1
            c = data[i]
        if c == 34:
            return i, escaped, high >= 128
        if c != 92:
            return -1, escaped, False
        escaped = True
        c = data[i + 1]
        if c == 117:  # u
            code = hex_digits(data, i + 2)
            if code < 0 or 0xDC00 <= code < 0xE000:
                return -1, escaped, False
            i += 6
            if code >= 0xD800 and code < 0xDC00:
                if data[i] != 92 or data[i + 1] != 117:
                    return -1, escaped, False
                low = hex_digits(data, i + 2)
                if low < 0xDC00 or low >= 0xE000:
                    return -1, escaped, False
                i += 6
        elif c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116:
            i += 2
        else:
            return -1, escaped, False


@numba.njit(cache=True)
def _integer(data, i):
    """Where the integer that begins at i ends, -1 if it is none that is written as Python writes it."""
    start = i
    if data[i] == 45:
        i += 1
    digits = i
    while 48 <= data[i] <= 57:
        i += 1
    if i == digits or i - digits > 1000 or (data[digits] == 48 and (i - digits > 1 or digits > start)):
        return -1
    c = data[i]
    return -1 if c == 46 or c == 101 or c == 69 else i


@numba.njit(cache=True)
def _value(data, i):
    """(where a value that nobody wants ends or -1, whether it has bytes beyond ASCII); checked only as far as that."""
    high = False
    depth = 0
    while True:
        c = data[i]
        if c == 34:
            i, _, beyond = _string(data, i + 1)
            high |= beyond
            if i < 0:
                return -1, high
            i += 1
        elif c == 123 or c == 91:
            depth += 1
            if depth > MAX_DEPTH:
                return -1, high
            i += 1
            continue
        elif c == 125 or c == 93:
            if depth == 0:
                return -1, high
            depth -= 1
            i += 1
        elif depth and (c == 44 or c == 58 or c == 32 or c == 9 or c == 13):
            i += 1
            continue
        elif _in_a_word(c):
            while _in_a_word(c):
                i += 1
                c = data[i]
        else:
            return -1, high
        if depth == 0:
            return i, high


@numba.njit(cache=True)
def _in_a_word(c):
    """Of numbers, true, false, null."""
    return c == 43 or c == 45 or c == 46 or 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122


@numba.njit(cache=True)
def _key(data, begin, end, names, offsets):
    """Number of the wanted key between begin and end, -1 if it is none."""
    for key in range(len(offsets) - 1):
        size = offsets[key + 1] - offsets[key]
        if size != end - begin:
            continue
        same = True
        for k in range(size):
            if names[offsets[key] + k] != data[begin + k]:
                same = False
                break
        if same:
            return key
    return -1
