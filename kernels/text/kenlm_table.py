"""Scores sentences with an n-gram model in KenLM's probing format (Heafield 2011, section 3.1), mapped, not loaded.

    log10 p(w | context) = prob of the longest n-gram of the model that ends in w, plus the backoffs of those longer
    contexts that the model has without w after them

The file: a header, a hash table word -> index (MurmurHash64A of the word), the unigrams as an array, a hash table for
every order from 2 up. An n-gram's key folds its indices from the last word to the first. All sizes follow from the
header. Sentences are scored a block at a time and, within a block, order by order, so that look-ups of neighbouring
words wait for memory together. Quantised and trie models are not read.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0\0"
_REFERENCE = _MAGIC.ljust(56, b"\0") + struct.pack("<3f3IQ", 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
_FIXED = struct.Struct("<B3xfI?3xI")  # order, buckets per entry, kind of model, has words, version of the search
_PROBING = 0
_LONGEST_ORDER = 6  # KenLM's own limit as it is installed

_BLOCK_WORDS = 4096
"""Words scored together: what is kept of them, 50 bytes each at order 5, stays in the second-level cache."""
_AHEAD = 16
"""Look-ups that wait for memory at a time; as many lines as a core of today's processors can ask for, about."""


class Table(NamedTuple):
    """Where the parts of a model lie in its file; plain values and arrays, all that the kernels need.

    cells: (c,) uint32, the file; values: the same as float32. The tables' rows are for the vocabulary, then for the
    orders 2, 3, ...: first cell, cells an entry, buckets, and the two constants of division by the buckets.
    """

    cells: np.ndarray
    values: np.ndarray
    tables: np.ndarray  # (order, 5) uint64
    unigrams: int  # first cell; two cells a word
    words: int  # indices run below this; 0 is <unk>
    begin: int  # index of <s>
    end: int  # index of </s>

    @property
    def order(self) -> int:
        return len(self.tables)


def open_table(path: str | Path) -> Table:
    """Maps a model file; processes that map the same file share its pages. ValueError where it is none."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(256)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if head else b""
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); train it with `gristmill lm train`") from error
    fixed = head[len(_REFERENCE) : len(_REFERENCE) + _FIXED.size]
    if not head.startswith(_REFERENCE) or len(fixed) < _FIXED.size:
        raise ValueError(f"{path}: not a KenLM binary of version 5; train it again with `gristmill lm train`")
    order, multiplier, kind, _, version = _FIXED.unpack(fixed)
    if (kind, version) != (_PROBING, 0) or not 2 <= order <= _LONGEST_ORDER or not 1 <= multiplier < 1 << 32:
        raise ValueError(f"{path}: not a probing model of order 2 to {_LONGEST_ORDER}; build it with `probing`")
    counts = np.frombuffer(head, "<u8", order, len(_REFERENCE) + _FIXED.size)
    at = (len(_REFERENCE) + _FIXED.size + 8 * order + 7) // 8 * 2 + 2  # cells; two more are the vocabulary's header
    tables = np.zeros((order, 5), np.uint64)
    unigrams = 0
    for row, count in enumerate(counts.tolist()):
        size = 3 if row in (0, order - 1) else 4  # a key and an index; a key and a prob; a key, a prob, a backoff
        buckets = max(count + 1, int(np.float32(multiplier) * np.float32(count)))
        behind = at + size * buckets + (2 * (count + 1) if row == 0 else 0)
        if 4 * behind > len(mapped):
            why = f"cut short, {len(mapped)} bytes where there should be {4 * behind} or more"
            raise ValueError(f"{path}: {why}; train it again with `gristmill lm train`")
        shift = buckets.bit_length() - 1
        tables[row] = at, size, buckets, ((1 << 64 + shift) - 1) // buckets, shift
        if row == 0:
            unigrams = at + size * buckets
        at = behind
    cells = np.frombuffer(mapped, "<u4", at)
    bound = int(cells[int(tables[0, 0]) - 1])
    if bound > int(counts[0]):
        raise ValueError(f"{path}: damaged, {bound} words of {counts[0]}; train it again with `gristmill lm train`")
    table = Table(cells, cells.view("<f4"), tables, unigrams, bound, 0, 0)
    begin, end = word_indices(table, ["<s>", "</s>"]).tolist()
    return table._replace(begin=begin, end=end)


def word_indices(table: Table, words: list[str]) -> np.ndarray:
    """(n,) int32: index of each word in the model, 0 (<unk>) for those it does not have."""
    encoded = [word.encode() for word in words]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    return span_indices(table, data, np.cumsum([0, *map(len, encoded)]).astype(np.int64))


def span_indices(table: Table, data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`word_indices` of words that lie end to end: data (bytes,) uint8, offsets (n + 1,) int64."""
    return _find_words(table.cells, table.tables[0], table.words, data, offsets)


def score(table: Table, words: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(n,) float64: log10 probability of each sentence, from <s> to </s>, as kenlm.Model.score(bos=True, eos=True).

    words: (w,) int32 indices as of `word_indices`, those of all sentences end to end; offsets: (n + 1,) int64.
    """
    if len(words) and not 0 <= int(words.min()) <= int(words.max()) < table.words:
        raise ValueError(f"word indices run from {words.min()} to {words.max()}, the model's to {table.words - 1}")
    return _score(table.cells, table.values, table.tables, table.unigrams, table.begin, table.end, words, offsets)


def _multiply_high(typing: Any, a: Any, b: Any) -> Any:
    """Upper 64 bits of the product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(x, wide) for x in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


def _ask_for(typing: Any, data: Any, at: Any) -> Any:
    """Asks for the memory of data[at] without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, flag(0), flag(3), flag(1)])  # to read, to be kept, data
        return context.get_dummy_value()

    return types.none(data, types.int64), generate


_high: Any = intrinsic(_multiply_high)
_prefetch: Any = intrinsic(_ask_for)


@numba.njit(inline="always")
def _ideal(first, size, buckets, inverse, shift, key):
    """Cell of a table where the search for `key` begins."""
    at = key - (_high(key, inverse) >> shift) * buckets  # key % buckets, or a bucket or two more
    while at >= buckets:
        at -= buckets
    return np.int64(first + at * size)


@numba.njit(inline="always")
def _find(cells, cell, first, size, buckets, key):
    """Cell of the entry of `key` from where the search begins, -1 where the table has none."""
    end = np.int64(first + buckets * size)
    for _ in range(np.int64(buckets)):
        found = np.uint64(cells[cell]) | np.uint64(cells[cell + 1]) << np.uint64(32)
        if found == key:
            return cell
        if found == 0:
            return np.int64(-1)
        cell += np.int64(size)
        if cell == end:
            cell = np.int64(first)
    return np.int64(-1)


@numba.njit(cache=True, nogil=True)
def _find_words(cells, table, bound, data, offsets):
    first, size, buckets, inverse, shift = table[0], table[1], table[2], table[3], table[4]
    found = np.zeros(len(offsets) - 1, np.int32)
    for i in range(len(found)):
        key = _murmur(data, offsets[i], offsets[i + 1])
        cell = _find(cells, _ideal(first, size, buckets, inverse, shift, key), first, size, buckets, key)
        if cell >= 0 and cells[cell + 2] < bound:
            found[i] = cells[cell + 2]
    return found


@numba.njit(cache=True, nogil=True)
def _murmur(data, begin, end):
    """MurmurHash64A (Appleby, public domain) of data[begin:end], seed 0."""
    m = np.uint64(0xC6A4A7935BD1E995)
    r = np.uint64(47)
    h = np.uint64(end - begin) * m
    i = begin
    while i + 8 <= end:
        k = np.uint64(0)
        for j in range(8):
            k |= np.uint64(data[i + j]) << np.uint64(8 * j)
        k *= m
        k ^= k >> r
        k *= m
        h = (h ^ k) * m
        i += 8
    if i < end:
        for j in range(end - i):
            h ^= np.uint64(data[i + j]) << np.uint64(8 * j)
        h *= m
    h ^= h >> r
    h *= m
    return h ^ h >> r


@numba.njit(cache=True, nogil=True)
def _score(cells, values, tables, unigrams, begin, end, words, offsets):
    n = len(offsets) - 1
    sums = np.zeros(n, np.float64)
    room = 0
    for i in range(n):
        room = max(room, offsets[i + 1] - offsets[i] + 2)
    room = max(room, _BLOCK_WORDS)
    block = np.empty(room, np.int32)
    prob = np.empty(room, np.float32)
    matched = np.empty(room, np.int8)
    backoff = np.empty((len(tables), room), np.float32)
    keys = np.empty(room, np.uint64)
    active = np.empty(room, np.int32)
    ideal = np.empty(room, np.int64)
    places = np.empty(room, np.int8)
    line = 0
    while line < n:
        size = 0
        first = line
        while line < n and (size + offsets[line + 1] - offsets[line] + 2 <= room):
            block[size] = begin
            places[size] = 0
            size += 1
            for i in range(offsets[line], offsets[line + 1]):
                block[size] = words[i]
                places[size] = min(places[size - 1] + 1, 64)
                size += 1
            block[size] = end
            places[size] = min(places[size - 1] + 1, 64)
            size += 1
            line += 1
        _match(cells, values, tables, unigrams, block[:size], places, prob, matched, backoff, keys, active, ideal)
        at = 0
        for i in range(first, line):
            total = 0.0
            for _ in range(offsets[i + 1] - offsets[i] + 1):
                at += 1  # past <s> at first
                total += prob[at]
                for k in range(matched[at], len(tables)):
                    total += backoff[k, at - 1]
            sums[i] = total
            at += 1
    return sums


@numba.njit(cache=True, nogil=True)
def _match(cells, values, tables, unigrams, block, places, prob, matched, backoff, keys, active, ideal):
    """For every word of the block: the longest n-gram that ends in it, its prob, the backoffs of all that end in it.

    backoff[k, i]: of the k-gram that ends in word i, 0 where the model has none. places: words before it in its
    sentence. A positive prob in the file says that a longer n-gram ends in this one.
    """
    order = len(tables)
    count = 0
    for i in range(len(block)):
        cell = unigrams + 2 * np.int64(block[i])
        value = values[cell]
        prob[i] = -abs(value)
        backoff[1, i] = values[cell + 1]
        matched[i] = 1
        keys[i] = block[i]
        active[count] = i
        count += (cells[cell] < 0x80000000) & (places[i] >= 1)
    for k in range(2, order + 1):
        if k < order:
            backoff[k, : len(block)] = 0.0
        table = tables[k - 1]
        first, size, buckets, inverse, shift = table[0], table[1], table[2], table[3], table[4]
        for j in range(count):
            i = active[j]
            earlier = np.uint64(block[i - k + 1]) + np.uint64(1)
            key = keys[i] * np.uint64(8978948897894561157) ^ earlier * np.uint64(17894857484156487943)
            keys[i] = key
            ideal[j] = _ideal(first, size, buckets, inverse, shift, key)
            if j < _AHEAD:
                _prefetch(cells, ideal[j])
        left = 0
        for j in range(count):
            i = active[j]
            if j + _AHEAD < count:
                _prefetch(cells, ideal[j + _AHEAD])
            cell = _find(cells, ideal[j], first, size, buckets, keys[i])
            if cell < 0:
                continue
            prob[i] = -abs(values[cell + 2])
            matched[i] = k
            if k < order:
                backoff[k, i] = values[cell + 3]
                active[left] = i
                left += (cells[cell + 2] < 0x80000000) & (places[i] >= k)
        count = left
