"""What ends a line of prose: made U+000A, over the UTF-8 bytes of many documents.

    CR LF, CR, VT, NEL (U+0085), LS (U+2028), PS (U+2029)    LF
    FF                                                       LF within a line; nothing at the beginning or the end of
                                                             one, where it only says that a page begins

Unicode Standard, section 5.8 (newline guidelines) names these. Plain-text books and what is made of PDF have a form
feed beside the line feed that ends a page's last line; a second LF there would be a paragraph break in the middle of a
sentence. A text that has none of them is left as it is, which is found out at several gigabytes a second.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.uncounted import inlined, uncounted

_BLOCK = np.uint64(1024)
_1, _2 = np.uint64(1), np.uint64(2)


def normalise(data: np.ndarray, offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Every chosen document with U+000A alone between its lines; None where that is what they all have.

    data: (bytes,) uint8, valid UTF-8. offsets: (rows + 1,) int64, ascending. chosen: (rows,) bool; the others are as
    they were. Returns (bytes,) uint8 and (rows + 1,) int64 from 0.
    """
    rows = len(offsets) - 1
    found = np.zeros(rows, np.bool_)
    if not rows or not _find(data, offsets, chosen, found):
        return None
    out, ends = np.empty(offsets[-1] - offsets[0], np.uint8), np.zeros(rows + 1, np.int64)
    _write(data, offsets, found, out, ends)
    return out[: ends[-1]], ends


@numba.njit(cache=True, nogil=True)
def _find(data, offsets, chosen, found):
    """Fills `found`, (rows,) bool: the chosen documents that have such a character. Whether there are any."""
    some = False
    for row in range(len(offsets) - 1):
        if chosen[row] and _has_end(data, offsets[row], offsets[row + 1]):
            found[row] = some = True
    return some


@uncounted
def _has_end(data, first, last):
    begin, end = np.uint64(first), np.uint64(last)  # unsigned, or an index could count from the end of `data`
    inner = max(begin, end - min(_2, end))  # the last two bytes begin no character of three
    for block in range(begin, inner, _BLOCK):
        seen = np.uint8(0)
        for i in range(block, min(block + _BLOCK, inner)):  # no branches: a few vector instructions
            byte, second, third = data[i], data[i + _1], data[i + _2]
            seen |= np.uint8((byte >= 11) & (byte <= 13)) | np.uint8((byte == 0xC2) & (second == 0x85))
            seen |= np.uint8((byte == 0xE2) & (second == 0x80) & (third | 1 == 0xA9))
        if seen:
            return True
    seen = np.uint8(0)
    for i in range(inner, end):
        seen |= np.uint8(11 <= data[i] <= 13 or (data[i] == 0xC2 and i + _1 < end and data[i + _1] == 0x85))
    return seen > 0


@numba.njit(cache=True, nogil=True)
def _write(data, offsets, found, out, ends):
    to = 0
    for row in range(len(found)):
        begin, end = offsets[row], offsets[row + 1]
        if not found[row]:
            for i in range(begin, end):
                out[to + i - begin] = data[i]
            to += end - begin
        else:
            to = _rewrite(data, begin, end, out, to)
        ends[row + 1] = to


@uncounted
def _rewrite(data, begin, end, out, to):
    start = to
    i = begin
    while i < end:
        width = _end_width(data, i, end)
        if not width:
            out[to] = data[i]
            to += 1
            i += 1
            continue
        behind = i + width
        at_an_end = to == start or out[to - 1] == 10 or behind == end or data[behind] == 10
        if data[i] != 12 or not (at_an_end or _end_width(data, behind, end)):
            out[to] = 10
            to += 1
        i = behind
    return to


@inlined
def _end_width(data, i, end):
    """Bytes of the line end at i < end that is not a bare LF; 0 where there is none."""
    byte = data[i]
    if byte == 13:
        return 2 if i + 1 < end and data[i + 1] == 10 else 1
    if byte == 11 or byte == 12:
        return 1
    if byte == 0xC2:
        return 2 if data[i + 1] == 0x85 else 0
    return 3 if byte == 0xE2 and data[i + 1] == 0x80 and data[i + 2] | 1 == 0xA9 else 0
