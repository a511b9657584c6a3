"""Bytes of ASCII by class, and whether a word that announces a number stands before it."""

from __future__ import annotations

import numba
import numpy as np

from gristmill.kernels.text.pii_tables import WORD_SETS, WORDS


@numba.njit(cache=True)
def is_digit(c):
    return 48 <= c <= 57


@numba.njit(cache=True)
def is_upper(c):
    return 65 <= c <= 90


@numba.njit(cache=True)
def is_alnum(c):
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122


@numba.njit(cache=True)
def hex_value(c):
    """0 to 15, or -1."""
    if 48 <= c <= 57:
        return np.int64(c) - 48
    low = np.int64(c) | 32
    return low - 87 if 97 <= low <= 102 else -1


@numba.njit(cache=True)
def announced(data, begin, at, reach, words, digits_between):
    """Whether a word of the set `words` stands in the `reach` bytes before `at`, as a word.

    digits_between: whether digits may stand between the word and `at`.
    """
    low = max(begin, at - reach)
    for k in range(at - 1, low - 1, -1):
        if not digits_between and is_digit(data[k]):
            return False
        c = data[k] | 32 if is_upper(data[k]) else data[k]
        for w in range(WORD_SETS[words, 0], WORD_SETS[words, 1]):
            if WORDS[w, 0] != c or (c < 128 and k > begin and (is_alnum(data[k - 1]) or data[k - 1] >= 0xC3)):
                continue
            n = 1
            while WORDS[w, n] != 0 and k + n < at:
                b = data[k + n]
                if (b | 32 if is_upper(b) else b) != WORDS[w, n]:
                    break
                n += 1
            done = WORDS[w, n] == 0
            if done and not (c < 128 and k + n < at and is_alnum(data[k + n]) and not is_digit(data[k + n])):
                return True
    return False
