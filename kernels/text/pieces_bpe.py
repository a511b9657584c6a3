"""The pieces of a word under a BPE model (Sennrich et al. 2016): the best-scored pair of neighbours merges, repeatedly.

Of equal scores the leftmost pair merges first, as in the sentencepiece library. Pairs wait in a binary heap, so a
word of n characters takes n log n steps; a pair that a merge has undone is passed over when it comes up.
"""

from __future__ import annotations

import numpy as np

from gristmill.kernels.text.pieces_model import emit, width
from gristmill.kernels.text.uncounted import inlined, uncounted

_BEGIN, _END, _BEFORE, _AFTER = range(4)  # of a symbol: its bytes (none: merged away), its neighbours (-1: none)


@uncounted
def merge(word, size, units, root, scores, unknown, byte_ids, symbols, heap, heap_score, out):
    """Pieces written to `out` as `emit` does.

    word: (>= size,) uint8. symbols: (>= size, 4), heap: (>= 3 * size, 3), both int32; heap_score: float32.
    """
    n = 0
    at = 0
    while at < size:
        end = at + width(word, at, size)
        symbols[n, _BEGIN], symbols[n, _END], symbols[n, _BEFORE], symbols[n, _AFTER] = at, end, n - 1, n + 1
        at = end
        n += 1
    symbols[n - 1, _AFTER] = -1
    waiting = 0
    for left in range(n - 1):
        waiting = _push(word, units, root, scores, symbols, left, left + 1, heap, heap_score, waiting)
    while waiting:
        left, right, length = heap[0, 0], heap[0, 1], heap[0, 2]
        waiting = _pop(heap, heap_score, waiting)
        begin, end = symbols[left, _BEGIN], symbols[right, _END]
        if symbols[left, _END] == begin or symbols[right, _BEGIN] == end or symbols[left, _END] == -1:
            continue
        if symbols[right, _END] == -1 or symbols[left, _AFTER] != right or end - begin != length:
            continue
        after = symbols[right, _AFTER]
        symbols[left, _END] = end
        symbols[left, _AFTER] = after
        symbols[right, _END] = -1
        if after >= 0:
            symbols[after, _BEFORE] = left
            waiting = _push(word, units, root, scores, symbols, left, after, heap, heap_score, waiting)
        before = symbols[left, _BEFORE]
        if before >= 0:
            waiting = _push(word, units, root, scores, symbols, before, left, heap, heap_score, waiting)
    count = 0
    at = 0
    while at >= 0:
        begin, end = symbols[at, _BEGIN], symbols[at, _END]
        count = emit(out, count, word, begin, end, _piece(word, begin, end, units, root), unknown, byte_ids)
        at = symbols[at, _AFTER]
    return count


@uncounted
def _piece(word, begin, end, units, root):
    """Id of the piece that is word[begin:end], -1 where there is none."""
    base = np.uint64(root)
    found = np.int64(-1)
    for at in range(begin, end):
        unit = units[base + np.uint64(word[at])]
        if base == 0 or unit & np.uint64(255) != word[at]:
            return np.int64(-1)
        base = unit >> np.uint64(8) & np.uint64(0xFFFFFFFF)
        found = np.int64(unit >> np.uint64(40)) - 1
    return found


@uncounted
def _push(word, units, root, scores, symbols, left, right, heap, heap_score, waiting):
    begin, end = symbols[left, _BEGIN], symbols[right, _END]
    found = _piece(word, begin, end, units, root)
    if found >= 0:
        score = scores[found]
        at = waiting
        while at > 0:
            above = (at - 1) >> 1
            if not _first(score, left, heap_score[above], heap[above, 0]):
                break
            _move(heap, heap_score, above, at)
            at = above
        heap_score[at] = score
        heap[at, 0], heap[at, 1], heap[at, 2] = left, right, end - begin
        waiting += 1
    return waiting


@uncounted
def _pop(heap, heap_score, waiting):
    waiting -= 1
    score, left, right, length = heap_score[waiting], heap[waiting, 0], heap[waiting, 1], heap[waiting, 2]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= waiting:
            break
        if below + 1 < waiting and _first(heap_score[below + 1], heap[below + 1, 0], heap_score[below], heap[below, 0]):
            below += 1
        if not _first(heap_score[below], heap[below, 0], score, left):
            break
        _move(heap, heap_score, below, at)
        at = below
    heap_score[at] = score
    heap[at, 0], heap[at, 1], heap[at, 2] = left, right, length
    return waiting


@inlined
def _first(score, left, other_score, other_left):
    return score > other_score or (score == other_score and left < other_left)


@inlined
def _move(heap, heap_score, here, there):
    heap_score[there] = heap_score[here]
    heap[there, 0], heap[there, 1], heap[there, 2] = heap[here, 0], heap[here, 1], heap[here, 2]
