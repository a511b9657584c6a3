"""What a page may hold that costs a look at its tree, as bits; `markup.markup_counts` finds them on its way.

A bit that is not set is sure; one that is set may be a false alarm. Most pages have none or few, and a query over a
tree takes as long as all of the counting.
"""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text import utf8
from gristmill.kernels.text.tags import is_letter, is_space
from gristmill.kernels.text.unspaced import JOINED_BLOCKS

FORMULA = 1  # <math>, <mjx-container>, data-tex, a script of "math/", a picture of "tex" or "math/"
CODE = 2  # <pre>, <code>
CELL = 4  # <td>, <th>
CAPTION = 8  # <figcaption>
LONE = 16  # one character of three bytes of UTF-8 between two tags
UNSPACED = 32  # a character of a script without spaces, as such or as a reference
ALL = 63

BLOCKS = np.array(sorted(JOINED_BLOCKS), np.int64)
MAX_SPACE = 64  # bytes of white space around a lone character


@numba.njit(cache=True, nogil=True)
def is_joined(code, blocks):
    """Whether a code point is in `JOINED_BLOCKS`; blocks: `BLOCKS`."""
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
def is_lone(data, at):
    """Whether one character of three bytes, not of the punctuation and symbols from U+2000 on, stands between the '>'
    before `at` and the next '<'."""
    n = len(data)
    if at >= n or not (data[at] >= 0xE0 or is_space(data[at])):
        return False
    end = min(n, at + MAX_SPACE)
    while at < end and is_space(data[at]):
        at += 1
    if at + 3 >= n or not 0xE0 <= data[at] < 0xF0 or data[at] == 0xE2:
        return False
    at += 3
    end = min(n - 1, at + MAX_SPACE)
    while at < end and is_space(data[at]):
        at += 1
    return data[at] == 60


@numba.njit(cache=True, nogil=True)
def joined_at(data, at, blocks):
    """Whether the character or the reference that begins at `at` is in `JOINED_BLOCKS`."""
    if data[at] == 38:
        return is_joined(reference(data, at)[0], blocks)
    return is_joined(utf8.decode(data, at, len(data))[0], blocks)


@numba.njit(cache=True, nogil=True)
def may_be_formula(data, begin, end, picture):
    """Whether attributes, from `begin` to `end`, have "math/" in them; of a picture, "math-" or, as a word, "tex" or
    "latex"."""
    for i in range(begin, end - 3):
        if data[i] | 32 == 116:
            second, third, fourth = data[i + 1] | 32, data[i + 2], data[i + 3]
            if picture and second == 101 and third | 32 == 120 and not is_letter(fourth):
                if not is_letter(data[i - 1]) or (data[i - 1] | 32 == 97 and data[i - 2] | 32 == 108):
                    return True
            elif (
                second == 104
                and (third == 47 or (picture and third == 45))
                and data[i - 1] | 32 == 97
                and data[i - 2] | 32 == 109
            ):
                return True
    return False
