"""Words of URLs: which of a list stand between punctuation, which anywhere.

    words(urls, word_table(list))   words between what is no letter and no digit
    inside(urls, automaton(list))   words anywhere in the letters and digits, what is between them left out
                                    (Aho and Corasick 1975)

Of the host and all that follows it; percent escapes are decoded, ASCII letters in lower case. Letters beyond ASCII are
compared as bytes of UTF-8.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.urls import BASIS, PRIME, Places, Table, slot, table

MAX_FOUND = 64
"""Different words of a list that are counted in one URL."""


_WORD = np.array(
    [0 if byte < 48 or 58 <= byte < 65 or 91 <= byte < 97 or 123 <= byte < 128 else byte for byte in range(256)],
    np.uint8,
)
_WORD[65:91] += 32
"""Byte -> the byte of a word in lower case, 0 for what is between words."""


class Automaton(NamedTuple):
    goto: np.ndarray  # (states * classes,) int32: of a state and class, the next state times classes
    classes: np.ndarray  # (256,) int32: class of a byte of a URL; 0: in no word; -1: between words
    found: np.ndarray  # (states,) int32: smallest number of a word that ends here, -1: none


def words(urls: Places, listed: Table) -> tuple[np.ndarray, np.ndarray]:
    """(first, count) (n,) int64: the first item of `listed` that is a word of the URL, -1: none; and how many different
    ones are, up to `MAX_FOUND`. Items in lower case, of letters and digits (ASCII) or bytes from 128 on."""
    items = listed.items
    return _words(*urls, items.data, items.begin, items.split, listed.slots, listed.tags)  # type: ignore[no-any-return]


def word_table(listed: Sequence[bytes]) -> Table:
    sizes = np.array([len(word) for word in listed], np.int64)
    end = np.cumsum(sizes)
    items = Places(np.frombuffer(b"".join(listed), np.uint8), end - sizes, end, end, end)
    return table(items)


def automaton(listed: Sequence[bytes]) -> Automaton:
    """Of words in lower case, of letters and digits (ASCII) or bytes from 128 on; none of them empty."""
    alphabet = sorted({byte for word in listed for byte in word})
    rank = {byte: number for number, byte in enumerate(alphabet, start=1)}
    classes = np.array([rank.get(int(byte), 0) if byte else -1 for byte in _WORD], np.int32)
    goto: list[dict[int, int]] = [{}]
    found = [-1]
    for number, word in enumerate(listed):
        state = 0
        for byte in word:
            if byte not in goto[state]:
                goto[state][byte] = len(goto)
                goto.append({})
                found.append(-1)
            state = goto[state][byte]
        found[state] = number if found[state] < 0 else found[state]
    dense = np.zeros((len(goto), len(alphabet) + 1), np.int32)
    fail = [0] * len(goto)
    waiting = deque([0])
    while waiting:  # breadth first: the state for the longest suffix is done
        state = waiting.popleft()
        dense[state] = dense[fail[state]] if state else 0
        for byte, following in goto[state].items():
            fail[following] = int(dense[fail[state], rank[byte]]) if state else 0
            below = found[fail[following]]
            if below >= 0 and (found[following] < 0 or below < found[following]):
                found[following] = below
            waiting.append(following)
        for byte, following in goto[state].items():
            dense[state, rank[byte]] = following
    return Automaton(dense.reshape(-1) * dense.shape[1], classes, np.array(found, np.int32))


def inside(urls: Places, listed: Automaton) -> np.ndarray:
    """(n,) int64: the first word, by its end, that stands in the URL's letters and digits, punctuation left out; -1."""
    return _inside(*urls, *listed)  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def _hex(byte):
    if 48 <= byte <= 57:
        return byte - 48
    byte |= 32
    return byte - 87 if 97 <= byte <= 102 else -1


@numba.njit(cache=True, nogil=True)
def _escaped(data, at, end):
    """(byte that the percent escape at `at` means, 3), or ('%', 1) where it is none."""
    if at + 2 < end:
        high, low = _hex(np.int64(data[at + 1])), _hex(np.int64(data[at + 2]))
        if high >= 0 and low >= 0:
            return high << 4 | low, 3
    return 37, 1


@numba.njit(cache=True, nogil=True)
def _is_item(data, at, end, items, start, stop, size):
    """Whether the word that begins at `at` and has `size` bytes, escapes decoded, is this item."""
    if stop - start != size:
        return False
    for i in range(start, stop):
        byte, width = np.int64(data[at]), 1
        if byte == 37:
            byte, width = _escaped(data, at, end)
        if _WORD[byte] != items[i]:
            return False
        at += width
    return True


@numba.njit(cache=True, nogil=True)
def _words(data, begin, split, rest, end, items, item_begin, item_end, slots, tags):
    n = len(begin)
    first, count = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    seen = np.empty(MAX_FOUND, np.int64)
    slots_size = len(slots)
    for row in range(n):
        for part in range(2):
            at = begin[row] if part == 0 else rest[row]
            stop = split[row] if part == 0 else end[row]
            word = at
            size = 0
            value = BASIS
            while at <= stop:
                byte, width = np.int64(0), 1
                if at < stop:
                    byte = np.int64(data[at])
                    if byte == 37:
                        byte, width = _escaped(data, at, stop)
                folded = _WORD[byte]
                if folded:
                    value = (value ^ np.uint64(folded)) * PRIME
                    size += 1
                    at += width
                    continue
                if size:
                    place = slot(value, slots_size)
                    while slots[place] >= 0:
                        item = slots[place]
                        if tags[place] == np.uint32(value) and _is_item(
                            data, word, stop, items, item_begin[item], item_end[item], size
                        ):
                            first[row] = item if first[row] < 0 else first[row]
                            known = False
                            for j in range(count[row]):
                                known |= seen[j] == item
                            if not known and count[row] < MAX_FOUND:
                                seen[count[row]] = item
                                count[row] += 1
                            break
                        place = (place + 1) & (slots_size - 1)
                    size = 0
                    value = BASIS
                at += width
                word = at
    return first, count


@numba.njit(cache=True, nogil=True)
def _inside(data, begin, split, rest, end, goto, classes, found):
    result = np.full(len(begin), -1, np.int64)
    width = len(goto) // len(found)
    for row in range(len(begin)):
        state = np.int64(0)  # times classes
        for part in range(2):
            at = begin[row] if part == 0 else rest[row]
            stop = split[row] if part == 0 else end[row]
            while at < stop and result[row] < 0:
                byte = np.int64(data[at])
                at += 1
                if byte == 37:
                    byte, more = _escaped(data, at - 1, stop)
                    at += more - 1
                kind = classes[byte]
                if kind < 0:
                    continue
                state = np.int64(goto[state + kind])
                if state and found[state // width] >= 0:
                    result[row] = found[state // width]
    return result
