"""The strings of JSON Lines as columns: values whose places `kernels.text.json_lines` has noted, copied into buffers of
an Arrow string column with their escapes resolved (RFC 8259, section 7). That they are valid was seen to before.
"""

from __future__ import annotations

import numba
import numpy as np

ABSENT, NULL, PLAIN, ESCAPED, INTEGER = 0, 1, 2, 3, 4
"""What a wanted key's value is: a string without or with escapes; an integer as it stands."""


@numba.njit(cache=True)
def hex_digits(data, i):
    """The number of four hexadecimal digits, -1 if there are none; never reads beyond a line feed."""
    code = np.int64(0)
    for k in range(4):
        c = np.int64(data[i + k])
        if 48 <= c <= 57:
            code = code * 16 + c - 48
        elif 65 <= c <= 70:
            code = code * 16 + c - 55
        elif 97 <= c <= 102:
            code = code * 16 + c - 87
        else:
            return -1
    return code


@numba.njit(cache=True)
def is_utf8(data, i, end):
    """Unicode 16, Table 3-7: well-formed byte sequences. The byte at `end - 1` is a line feed."""
    while i < end:
        c = np.int64(data[i])
        i += 1
        if c < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            if c == 0xE0:
                low = 0xA0
            elif c == 0xED:
                high = 0x9F
        elif 0xF0 <= c <= 0xF4:
            more = 3
            if c == 0xF0:
                low = 0x90
            elif c == 0xF4:
                high = 0x8F
        else:
            return False
        for _ in range(more):
            c = np.int64(data[i])
            if c < low or c > high:
                return False
            low, high = 0x80, 0xBF
            i += 1
    return True


@numba.njit(cache=True)
def sizes(spans, kinds, rows):
    """Upper bound of the bytes of a column: spans (lines, 2), kinds (lines,), rows: the lines that are taken."""
    total = 0
    for line in rows:
        if kinds[line] >= PLAIN:
            total += spans[line, 1] - spans[line, 0]
    return total


@numba.njit(cache=True)
def column(data, spans, kinds, rows, out, offsets, valid):
    """Copies the values of one key into the buffers of a column; escapes are resolved.

    spans: (lines, 2) and kinds: (lines,) of that key. rows: (n,) int64, the lines that are taken, all of them FAST.
    out: (`sizes`,) uint8. offsets: (n + 1,) int64. valid: (n,) bool. Returns the bytes written.
    """
    used = 0
    offsets[0] = 0
    for r in range(len(rows)):
        line = rows[r]
        kind = kinds[line]
        valid[r] = kind >= PLAIN
        if kind >= PLAIN:
            begin, end = spans[line, 0], spans[line, 1]
            if kind == ESCAPED:
                used = _unescaped(data, begin, end, out, used)
            else:
                for b in range(end - begin):
                    out[used + b] = data[begin + b]
                used += end - begin
        offsets[r + 1] = used
    return used


@numba.njit(cache=True)
def _unescaped(data, i, end, out, used):
    while i < end:
        c = data[i]
        if c != 92:
            out[used] = c
            used += 1
            i += 1
            continue
        c = data[i + 1]
        i += 2
        if c == 117:
            code = hex_digits(data, i)
            i += 4
            if 0xD800 <= code < 0xDC00:
                code = 0x10000 + ((code - 0xD800) << 10) + hex_digits(data, i + 2) - 0xDC00
                i += 6
            used = _put(out, used, code)
            continue
        if c == 110:
            c = np.uint8(10)
        elif c == 116:
            c = np.uint8(9)
        elif c == 114:
            c = np.uint8(13)
        elif c == 98:
            c = np.uint8(8)
        elif c == 102:
            c = np.uint8(12)
        out[used] = c
        used += 1
    return used


@numba.njit(cache=True)
def _put(out, used, code):
    """Writes a code point as UTF-8."""
    if code < 0x80:
        out[used] = code
        return used + 1
    if code < 0x800:
        out[used] = 0xC0 | code >> 6
        out[used + 1] = 0x80 | code & 63
        return used + 2
    if code < 0x10000:
        out[used] = 0xE0 | code >> 12
        out[used + 1] = 0x80 | code >> 6 & 63
        out[used + 2] = 0x80 | code & 63
        return used + 3
    out[used] = 0xF0 | code >> 18
    out[used + 1] = 0x80 | code >> 12 & 63
    out[used + 2] = 0x80 | code >> 6 & 63
    out[used + 3] = 0x80 | code & 63
    return used + 4
