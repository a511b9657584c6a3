"""A trie over byte strings as one array (a double array, Aoe 1989), for walks of a load and a comparison a byte.

    unit = units[base + byte];  unit & 255 == byte: there is such a child
    base of the child = unit >> 8 & (2^32 - 1), 0: it has no children;  unit >> 40: 1 + the string's number, 0: none

No two nodes have the same base, so that the byte alone tells whose child a unit is. Nodes are placed depth first in the
order of the strings: the ends of a string lie side by side.
"""

from __future__ import annotations

import numba
import numpy as np

_KEY_BYTES = 8
_KEYS = 3
_TRIES = 64
"""Free places that are looked at before a node's children go to the end of the array, and how often one is refused
before it is given up."""
_MARGIN = 1024
"""Places behind the last unit: of a node's children, and of those looked at."""


def build(data: np.ndarray, offsets: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, int]:
    """(units (u,) uint64, base of the root, 0 if there are no strings).

    The strings data[offsets[i]:offsets[i + 1]] for i in `numbers`, (n,) int32 below 2^24 - 1; distinct, none empty.
    """
    numbers = numbers[offsets[numbers + 1] > offsets[numbers]]
    if len(numbers) == 0:
        return np.zeros(256, np.uint64), 0
    keys = _first_bytes(data, offsets, numbers)
    order = numbers[np.lexsort(keys[::-1])]
    _sort_ties(data, offsets, order)
    total = int((offsets[order + 1] - offsets[order]).sum())
    units, root, last = _place(data, offsets, order, total)
    return units[: last + 512].copy(), root


@numba.njit(cache=True, nogil=True)
def _first_bytes(data, offsets, numbers):
    """(_KEYS, n) uint64: the first bytes of each string, eight to a key, that sort as the strings do."""
    keys = np.zeros((_KEYS, len(numbers)), np.uint64)
    for i in range(len(numbers)):
        begin, end = offsets[numbers[i]], offsets[numbers[i] + 1]
        for k in range(min(end - begin, _KEYS * _KEY_BYTES)):
            place = np.uint64(8 * (_KEY_BYTES - 1 - k % _KEY_BYTES))
            keys[k // _KEY_BYTES, i] |= np.uint64(data[begin + k]) << place
    return keys


@numba.njit(cache=True, nogil=True)
def _sort_ties(data, offsets, order):
    """Insertion sort, of what the first bytes have all but sorted."""
    for i in range(1, len(order)):
        moved = order[i]
        at = i
        while at > 0 and _less(data, offsets, moved, order[at - 1]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = moved


@numba.njit(cache=True, nogil=True)
def _less(data, offsets, a, b):
    size = min(offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b])
    for k in range(size):
        if data[offsets[a] + k] != data[offsets[b] + k]:
            return data[offsets[a] + k] < data[offsets[b] + k]
    return offsets[a + 1] - offsets[a] < offsets[b + 1] - offsets[b]


@numba.njit(cache=True, nogil=True)
def _place(data, offsets, order, total):
    """(units, base of the root, last place of a unit); there is room behind that place."""
    units = np.zeros(2 * total + _MARGIN, np.uint64)
    taken = np.zeros(len(units), np.bool_)  # places that hold a unit
    based = np.zeros(len(units), np.bool_)  # bases that a node has
    n = len(order)
    stack = np.empty((n + 256, 4), np.int64)  # first string, end, depth, the node's own place (-1: the root)
    stack[0] = 0, n, 0, -1
    waiting = 1
    head, refused, last, root = 1, 0, 256, np.int64(0)
    labels = np.empty(256, np.int64)
    bounds = np.empty(257, np.int64)
    while waiting:
        waiting -= 1
        first, end, depth, own = stack[waiting, 0], stack[waiting, 1], stack[waiting, 2], stack[waiting, 3]
        if own >= 0 and offsets[order[first] + 1] - offsets[order[first]] == depth:
            units[own] |= np.uint64(order[first] + 1) << np.uint64(40)
            first += 1
        children = 0
        for i in range(first, end):
            byte = data[offsets[order[i]] + depth]
            if children == 0 or labels[children - 1] != byte:
                labels[children] = byte
                bounds[children] = i
                children += 1
        if children == 0:
            continue
        bounds[children] = end
        if last + _MARGIN > len(units):
            units, taken, based = _longer(units), _longer(taken), _longer(based)
        while taken[head]:
            head, refused = head + 1, 0
        base = _base(taken, based, labels, children, head, last)
        refused += base + labels[0] != head
        if refused == _TRIES:
            head, refused = head + 1, 0
        based[base] = True
        if own < 0:
            root = base
        else:
            units[own] |= np.uint64(base) << np.uint64(8)
        for k in range(children - 1, -1, -1):  # the first is the next to be taken from the stack
            at = base + labels[k]
            taken[at] = True
            units[at] = np.uint64(labels[k])
            last = max(last, at)
            stack[waiting, 0], stack[waiting, 1] = bounds[k], bounds[k + 1]
            stack[waiting, 2], stack[waiting, 3] = depth + 1, at
            waiting += 1
    return units, root, last


@numba.njit(cache=True, nogil=True)
def _base(taken, based, labels, children, head, last):
    """A base of which all children's places are free: the first found from `head` on, else behind all."""
    place = head
    for _ in range(_TRIES):
        base = place - labels[0]
        fits = base > 0 and not based[base]
        for k in range(1, children):
            fits = fits and not taken[base + labels[k]]
        if fits:
            return base
        place += 1
        while taken[place]:
            place += 1
    return last + 1


@numba.njit(cache=True, nogil=True)
def _longer(array):
    longer = np.zeros(2 * len(array), array.dtype)
    longer[: len(array)] = array
    return longer
