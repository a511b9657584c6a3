"""What a page may hold that costs a look at its tree, told from its bytes in one scan.

    hints(page) -> FORMULA | GUTTER | CELL | CAPTION | LONE | UNSPACED

A hint that is not set is sure; one that is set may be a false alarm. Most pages have none or few, and a query over a
tree takes as long as a scan of many times its bytes.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from gristmill.kernels.text import utf8
from gristmill.kernels.text.tags import is_space
from gristmill.kernels.text.unspaced import JOINED_BLOCKS

FORMULA = 1
GUTTER = 2  # line numbers beside code
CELL = 4
CAPTION = 8
LONE = 16  # one character of three bytes of UTF-8 between two tags
UNSPACED = 32  # a character of a script without spaces, as such or as a reference
ALL = 63

WORDS = {
    FORMULA: (
        "<math",
        ":math",
        "math/",
        "mathjax",
        "katex",
        "mjx-",
        "latex",
        "data-tex",
        "?tex=",
        "&tex=",
        ";tex=",
        '"tex"',
        '"tex ',
        ' tex"',
    ),
    GUTTER: ("lineno", "line-number", "gutter", "hljs-ln", "blob-num", "crayon-num"),
    CELL: ("<td", "<th>", "<th ", ":td", ":th"),
    CAPTION: ("<figcaption", ":figcaption"),
}
"""In lower case; found in any case."""
MAX_SPACE = 64  # bytes of white space around a lone character


def hints(page: bytes) -> int:
    """page: UTF-8."""
    return int(_hints(np.frombuffer(page, np.uint8), *_tables()))


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(first two bytes -> 1 + the first word that begins so, words end to end, offsets, flags, blocks)."""
    words = sorted((word.encode(), flag) for flag, spelled in WORDS.items() for word in spelled)
    first = np.zeros(1 << 16, np.uint8)
    for k in range(len(words) - 1, -1, -1):
        head = words[k][0]
        for one in {head[0], head[:1].upper()[0]}:
            for two in {head[1], head[1:2].upper()[0]}:
                first[one << 8 | two] = k + 1
    text = np.frombuffer(b"".join(word for word, _ in words), np.uint8)
    offsets = np.cumsum([0, *(len(word) for word, _ in words)]).astype(np.int64)
    return first, text, offsets, np.array([flag for _, flag in words], np.int64), np.array(sorted(JOINED_BLOCKS))


@numba.njit(cache=True, nogil=True)
def is_joined(code, blocks):
    """Whether a code point is in `JOINED_BLOCKS`."""
    if code >= blocks[0, 0]:
        for k in range(blocks.shape[0]):
            if blocks[k, 0] <= code <= blocks[k, 1]:
                return True
    return False


@numba.njit(cache=True, nogil=True)
def reference(data, at):
    """(code point, place behind) of a numeric character reference whose '&' is at `at`; (-1, at + 1): none."""
    n = len(data)
    i = at + 2
    if i >= n or data[at + 1] != 35:
        return -1, at + 1
    hexadecimal = data[i] | 32 == 120
    i += hexadecimal
    code = np.int64(0)
    first = i
    while i < n and i < first + 8:
        byte = data[i]
        if 48 <= byte <= 57:
            digit = byte - 48
        elif hexadecimal and 97 <= (byte | 32) <= 102:
            digit = (byte | 32) - 87
        else:
            break
        code = code * (16 if hexadecimal else 10) + digit
        i += 1
    if i == first:
        return -1, at + 1
    return code, i + 1 if i < n and data[i] == 59 else i


@numba.njit(cache=True, nogil=True)
def _lone(data, at):
    """Whether one character of three bytes stands between the '>' before `at` and the next '<'."""
    n = len(data)
    if at >= n or not (data[at] >= 0xE0 or is_space(data[at])):
        return False
    end = min(n, at + MAX_SPACE)
    while at < end and is_space(data[at]):
        at += 1
    if at + 3 >= n or not 0xE0 <= data[at] < 0xF0:
        return False
    at += 3
    end = min(n - 1, at + MAX_SPACE)
    while at < end and is_space(data[at]):
        at += 1
    return data[at] == 60


@numba.njit(cache=True, nogil=True)
def _hints(data, first, text, offsets, flags, blocks):
    n = len(data)
    found: Any = 0
    before: Any = np.int64(0)
    for i in range(n):
        byte: Any = np.int64(data[i])
        k: Any = np.int64(first[before << 8 | byte])
        while k:
            begin, end = offsets[k - 1], offsets[k]
            at = i - 1
            matched = begin
            while matched < end and at < n:
                lower = data[at] | 32 if 65 <= data[at] <= 90 else data[at]
                if lower != text[matched]:
                    break
                matched += 1
                at += 1
            if matched == end:
                found |= flags[k - 1]
            k += 1
            if k >= len(offsets) or text[offsets[k - 1]] != text[begin] or text[offsets[k - 1] + 1] != text[begin + 1]:
                k = 0
        if byte >= 0xE0:
            if not found & UNSPACED and is_joined(utf8.decode(data, i, n)[0], blocks):
                found |= UNSPACED
        elif byte == 38:
            if not found & UNSPACED and is_joined(reference(data, i)[0], blocks):
                found |= UNSPACED
        elif byte == 62 and not found & LONE and _lone(data, i + 1):
            found |= LONE
        before = byte
    return found
