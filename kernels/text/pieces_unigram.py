"""The best segmentation of a word under a unigram model (Kudo 2018, section 3.2): Viterbi over the bytes of pieces.

Scores are added in float32 from the left, candidates are tried in order of where they start, and only a strictly
better one replaces another: so sums round and ties fall as in the sentencepiece library, which segments whole lines.
A character that no single piece spells is unknown, at a score below all pieces.
"""

from __future__ import annotations

import numpy as np

from gristmill.kernels.text.pieces_model import emit, width
from gristmill.kernels.text.uncounted import inlined, uncounted


@uncounted
def best_path(
    word, size, start_score, units, root, scores, unknown_score, unknown, byte_ids,
    score, margin, start, piece, out,
):  # fmt: skip
    """(pieces written to `out` as `emit` does, smallest distance by which a decision on the path was made).

    word: (>= size,) uint8; start_score: float32, the line's so far. score, margin, start, piece: room for size + 1.
    """
    for at in range(1, size + 1):
        start[at] = -1
    score[0] = start_score
    margin[0] = np.inf
    begin = 0
    while begin < size:
        here = score[begin]
        character = width(word, begin, size)
        alone = False
        base = np.uint64(root)
        at = begin
        while base != 0 and at < size:
            unit = units[base + np.uint64(word[at])]
            if unit & np.uint64(255) != word[at]:
                break
            at += 1
            base = unit >> np.uint64(8) & np.uint64(0xFFFFFFFF)
            found = np.int64(unit >> np.uint64(40)) - 1
            if found >= 0:
                _offer(at, begin, found, here + scores[found], score, margin, start, piece)
                alone |= at - begin == character
        if not alone:
            at = begin + character
            _offer(at, begin, -1, here + unknown_score, score, margin, start, piece)
        begin += character
    closest = np.float32(np.inf)
    at, after = size, 0
    while at > 0:  # from its end, the path's links are turned round: start[at] becomes where the next piece ends
        closest = min(closest, margin[at])
        begin = start[at]
        start[at] = after
        after = at
        at = begin
    count = 0
    while after != 0:
        count = emit(out, count, word, at, after, piece[after], unknown, byte_ids)
        at = after
        after = start[after]
    return count, closest


@inlined
def _offer(at, begin, found, candidate, score, margin, start, piece):
    if start[at] == -1 or candidate > score[at]:
        margin[at] = candidate - score[at] if start[at] != -1 else np.float32(np.inf)
        score[at] = candidate
        start[at] = begin
        piece[at] = found
    else:
        margin[at] = min(margin[at], score[at] - candidate)
