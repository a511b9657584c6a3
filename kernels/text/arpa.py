"""The lines of an ARPA file: log10 prob, tab, the n-gram's words, and tab, log10 backoff below the highest order.

    lines(probs, backoffs, ids, words) -> bytes

Numbers have the 7 to 9 significant digits that it takes to read the same single-precision value back.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

_NUMBER_BYTES = 32


class Words(NamedTuple):
    """The words' UTF-8 by id: data (bytes,) uint8, offsets (words + 1,) int64."""

    data: np.ndarray
    offsets: np.ndarray


def as_words(words: list[bytes]) -> Words:
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(word) for word in words], out=offsets[1:])
    return Words(np.frombuffer(b"".join(words), np.uint8), offsets)


def next_ids(ids: np.ndarray, children: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, order) uint16 ids of the next order's n-grams, first word first.

    ids: (m, order - 1) uint16; children: (m,) how many of the next order end in each; labels: (n,) their first words.
    """
    return np.column_stack([labels, np.repeat(ids, children, axis=0)])


def lines(probs: np.ndarray, backoffs: np.ndarray | None, ids: np.ndarray, words: Words) -> memoryview:
    """probs, backoffs: (n,) float32, None for the highest order; ids: (n, order) uint16."""
    longest = int(np.diff(words.offsets).max(initial=0))
    out = np.empty(len(probs) * (2 * _NUMBER_BYTES + ids.shape[1] * (longest + 1) + 2), np.uint8)
    has = backoffs is not None
    size = _lines(out, probs, backoffs if backoffs is not None else probs, has, ids, *words)
    return out[:size].data


@numba.njit(cache=True, nogil=True)
def _lines(out, probs, backoffs, has_backoffs, ids, data, offsets):
    at = 0
    for i in range(len(probs)):
        at = _number(out, at, probs[i])
        for k in range(ids.shape[1]):
            out[at] = 32 if k else 9  # a space, a tab
            at += 1
            for j in range(offsets[ids[i, k]], offsets[ids[i, k] + 1]):
                out[at] = data[j]
                at += 1
        if has_backoffs:
            out[at] = 9
            at = _number(out, at + 1, backoffs[i])
        out[at] = 10
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _number(out, at, value):
    """Writes the decimal of a float32 and returns where it ends; at most `_NUMBER_BYTES` where |value| > 1e-15."""
    if value == 0:
        out[at] = 48
        return at + 1
    x = abs(np.float64(value))
    if value < 0:
        out[at] = 45
        at += 1
    decimals, scale = 6, 1e6
    while x * scale >= 1e7 and decimals > 0:
        decimals, scale = decimals - 1, scale / 10
    while x * scale < 1e6 and decimals < 20:
        decimals, scale = decimals + 1, scale * 10
    digits = np.int64(np.rint(x * scale))
    for _ in range(2):
        if np.float32(digits / scale) == np.float32(x):
            break
        decimals, scale = decimals + 1, scale * 10
        digits = np.int64(np.rint(x * scale))
    while decimals and digits % 10 == 0:
        decimals, digits = decimals - 1, digits // 10
    size = 1
    power = 10
    while power <= digits:
        size, power = size + 1, power * 10
    size = max(size, decimals + 1)
    width = size + (decimals > 0)
    for k in range(size):
        place = at + width - 1 - k - (1 if decimals and k >= decimals else 0)
        out[place] = 48 + digits % 10
        digits //= 10
    if decimals:
        out[at + width - 1 - decimals] = 46
    return at + width
