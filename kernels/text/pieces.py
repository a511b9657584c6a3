"""SentencePiece ids of lines, the same as the library's, from UTF-8 bytes to arrays; words that repeat are looked up.

    encode(encoder, data, offsets) -> (ids int32, offsets int64), a row a line

A line is cut before every space (and U+2581, which the library takes for one): no piece reaches across, so a word's
pieces are its own. BPE decides within the word. A unigram model adds float32 scores along the whole line, and near
ties fall as rounding has it; so a word's pieces are taken from the cache only where the closest decision was wider
than all rounding there can be, else it is segmented again with the line's score so far.

The cache forgets all it holds when it is full; what comes out does not depend on it.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.pieces_bpe import merge
from gristmill.kernels.text.pieces_model import SPELLED, Model, read_model
from gristmill.kernels.text.pieces_normalise import replace
from gristmill.kernels.text.pieces_unigram import best_path
from gristmill.kernels.text.uncounted import inlined, uncounted
from gristmill.kernels.text.wide import span_hash

_SLOTS = 1 << 18
_KEY_BYTES = 1 << 21
_IDS = 1 << 20
_LONGEST_KEY = 64
"""Bytes; a longer word, such as a line of Chinese, does not repeat."""


class Cache(NamedTuple):
    """Words by hash: a slot's key is keys[place:place + size], its pieces ids[first:first + count]."""

    slots: np.ndarray  # (s, 8) int32: hash, its upper half, place, size << 1 | mark, first, count, unused, unused
    margins: np.ndarray  # (s,) float32: what the closest decision was decided by
    keys: np.ndarray  # (k,) uint8
    ids: np.ndarray  # (i,) int32
    used: np.ndarray  # (3,) int64: slots, key bytes, ids


class Encoder(NamedTuple):
    model: Model
    cache: Cache
    library: Any  # sentencepiece.SentencePieceProcessor where the model has no vocabulary


def encoder(path: str | Path) -> Encoder:
    """An encoder of a model file. It is not to be shared between threads."""
    model = read_model(path)
    library = None
    if model.vocabulary is None:
        import sentencepiece

        library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return Encoder(model, _new_cache(), library)


def encode(encoder: Encoder, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ids (t,) int32, offsets (n + 1,) int64) of n lines: sentencepiece's encode of each, without <s> and </s>.

    data: (bytes,) uint8, UTF-8; offsets: (n + 1,) int64; lines hold no line feed.
    """
    vocabulary = encoder.model.vocabulary
    if vocabulary is None:
        return _by_library(encoder.library, data, offsets)
    data, offsets = replace(encoder.model.replacements, data, offsets)
    size, rows = int(offsets[-1] - offsets[0]), len(offsets) - 1
    longest = int(np.diff(offsets).max(initial=0))
    room = (size + rows) * (3 if len(vocabulary.byte_ids) else 1)  # a space is three bytes of U+2581
    return _encode(data, offsets, vocabulary, encoder.cache, room, longest)


def _by_library(library: Any, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    text = data[offsets[0] : offsets[-1]].tobytes()
    bounds = (offsets - offsets[0]).tolist()
    lines = [text[a:b].decode("utf-8", "replace") for a, b in pairwise(bounds)]
    found = library.encode(lines, return_type="numpy", num_threads=1) if lines else []
    ends = np.cumsum([0, *map(len, found)]).astype(np.int64)
    return np.concatenate([np.empty(0, np.int32), *found]).astype(np.int32), ends


def _new_cache() -> Cache:
    return Cache(
        np.zeros((_SLOTS, 8), np.int32),
        np.zeros(_SLOTS, np.float32),
        np.zeros(_KEY_BYTES, np.uint8),
        np.zeros(_IDS, np.int32),
        np.zeros(3, np.int64),
    )


@numba.njit(cache=True, nogil=True)
def _encode(data, offsets, vocabulary, cache, room, longest):
    out = np.empty(room, np.int32)
    ends = np.zeros(len(offsets), np.int64)
    word = np.empty(longest + 3, np.uint8)
    pieces = np.empty(longest + 3, np.int32)
    steps = longest + 4
    path = (
        np.empty(steps, np.float32),
        np.empty(steps, np.float32),
        np.empty(steps, np.int32),
        np.empty(steps, np.int32),
    )
    pairs = steps if vocabulary.bpe else 0
    heap = (np.empty((pairs, 4), np.int32), np.empty((3 * pairs, 3), np.int32), np.empty(3 * pairs, np.float32))
    _fill(data, offsets, vocabulary, cache, word, pieces, path, heap, out, ends)
    return out[: ends[-1]], ends


@uncounted
def _fill(data, offsets, vocabulary, cache, word, pieces, path, heap, out, ends):
    units, root, scores = vocabulary.units, vocabulary.root, vocabulary.scores
    byte_ids, unknown, unknown_score = vocabulary.byte_ids, vocabulary.unknown, vocabulary.unknown_score
    bpe, collapse = vocabulary.bpe, vocabulary.collapse
    slots, cached_margins, keys, ids, used = cache.slots, cache.margins, cache.keys, cache.ids, cache.used
    score, margins, start, found = path
    symbols, heap_places, heap_score = heap
    m = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        if collapse:
            at, end = _strip(data, at, end)
        line = m
        total = np.float32(0)  # the line's score so far, rounded as the library rounds it
        mark = vocabulary.dummy_prefix and at < end
        while at < end or mark:
            begin = at
            while at < end and data[at] != 32 and not _is_mark(data, at, end):
                at += 1
            if mark or at > begin:
                slot, hashed = np.int64(-1), np.uint64(0)
                if at - begin <= _LONGEST_KEY:
                    hashed = span_hash(data, begin, at) + np.uint64(mark)
                    slot = _look_up(slots, keys, hashed, data, begin, at, mark)
                first, count, after = np.int64(0), np.int64(0), total
                if slot >= 0:
                    first, count = np.int64(slots[slot, 4]), np.int64(slots[slot, 5])
                    if not bpe:
                        after = _added(total, ids, first, count, scores, unknown_score)
                if slot >= 0 and (bpe or cached_margins[slot] > _rounding(at - begin, after)):
                    m = _put(out, m, line, ids, first, count, unknown)
                else:
                    size = _spell(word, data, begin, at, mark)
                    margin = np.float32(np.inf)
                    if bpe:
                        count = merge(
                            word,
                            size,
                            units,
                            root,
                            scores,
                            unknown,
                            byte_ids,
                            symbols,
                            heap_places,
                            heap_score,
                            pieces,
                        )
                    else:
                        count, margin = best_path(
                            word,
                            size,
                            total,
                            units,
                            root,
                            scores,
                            unknown_score,
                            unknown,
                            byte_ids,
                            score,
                            margins,
                            start,
                            found,
                            pieces,
                        )
                        after = _added(total, pieces, 0, count, scores, unknown_score)
                        margin -= _rounding(at - begin, after)
                    if slot < 0 and at - begin <= _LONGEST_KEY:
                        _keep(
                            slots, cached_margins, keys, ids, used, hashed, data, begin, at, mark, pieces, count, margin
                        )
                    m = _put(out, m, line, pieces, 0, count, unknown)
                total = after
            mark = False
            if at < end:
                mark = True
                at += 1 if data[at] == 32 else 3
                while collapse and data[at - 1] == 32 and at < end and data[at] == 32:
                    at += 1
        ends[row + 1] = m


@inlined
def _is_mark(data, at, end):
    return data[at] == 0xE2 and at + 2 < end and data[at + 1] == 0x96 and data[at + 2] == 0x81


@uncounted
def _strip(data, begin, end):
    """Spaces go at both ends; at the last also U+2581, once it is all the same."""
    while begin < end and data[begin] == 32:
        begin += 1
    while begin < end:
        if data[end - 1] == 32:
            end -= 1
        elif end - begin >= 3 and _is_mark(data, end - 3, end):
            end -= 3
        else:
            break
    return begin, end


@inlined
def _spell(word, data, begin, end, mark):
    size = 0
    if mark:
        word[0], word[1], word[2] = 0xE2, 0x96, 0x81
        size = 3
    for at in range(begin, end):
        word[size] = data[at]
        size += 1
    return size


@inlined
def _rounding(size, total):
    """More than float32 sums of `size` + 1 terms that end at `total` can be off, both in a comparison.

    Each addition is off by 2^-24 of the sum at most; two paths, twice; and as much again.
    """
    return np.float32(size + 1) * abs(total) * np.float32(2.0**-22)


@inlined
def _added(total, pieces, first, count, scores, unknown_score):
    """The line's score after these pieces, added one by one."""
    for k in range(first, first + count):
        piece = pieces[k]
        if piece < 0:
            total += unknown_score
        elif piece < SPELLED:
            total += scores[piece]
    return total


@inlined
def _put(out, m, line, pieces, first, count, unknown):
    """Copies pieces to the line that starts at out[line]; of unknown ones side by side one stays."""
    for k in range(first, first + count):
        piece = pieces[k]
        if piece < 0:
            piece = ~piece
            if piece == unknown and m > line and out[m - 1] == unknown:
                continue
        out[m] = piece & (SPELLED - 1)
        m += 1
    return m


@inlined
def _look_up(slots, keys, hashed, data, begin, end, mark):
    """Slot of a word, -1 where it is not there."""
    low, high = np.int32(hashed), np.int32(hashed >> np.uint64(32))
    size = np.int32((end - begin) << 1 | mark)
    slot = np.int64(hashed & np.uint64(_SLOTS - 1))
    while slots[slot, 5] != 0:
        if slots[slot, 0] == low and slots[slot, 1] == high and slots[slot, 3] == size:
            place = slots[slot, 2]
            same = True
            for k in range(end - begin):
                if keys[place + k] != data[begin + k]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & (_SLOTS - 1)
    return np.int64(-1)


@uncounted
def _keep(slots, margins, keys, ids, used, hashed, data, begin, end, mark, pieces, count, margin):
    if used[0] == _SLOTS // 2 or used[1] + end - begin > len(keys) or used[2] + count > len(ids):
        for each in range(_SLOTS):
            slots[each, 5] = 0
        used[0] = used[1] = used[2] = 0
    slot = np.int64(hashed & np.uint64(_SLOTS - 1))
    while slots[slot, 5] != 0:
        slot = (slot + 1) & (_SLOTS - 1)
    slots[slot, 0], slots[slot, 1] = np.int32(hashed), np.int32(hashed >> np.uint64(32))
    slots[slot, 2], slots[slot, 3] = used[1], (end - begin) << 1 | mark
    slots[slot, 4], slots[slot, 5] = used[2], count
    margins[slot] = margin
    for k in range(end - begin):
        keys[used[1] + k] = data[begin + k]
    for k in range(count):
        ids[used[2] + k] = pieces[k]
    used[0] += 1
    used[1] += end - begin
    used[2] += count
