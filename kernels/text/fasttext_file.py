"""Reads a supervised fastText model from its file, format versions 11 and 12, without the library.

Dense matrices and product-quantised ones (Joulin et al. 2016, arXiv:1612.03651) with or without norms, a quantised
output, pruned dictionaries. A row of a quantised matrix is, part by part, one of 256 centroids, times its norm.
Numbers are little-endian. Counts that the file gives are held against its size and against each other.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gristmill.kernels.text.fasttext_dictionary import insert, ranks
from gristmill.kernels.text.fasttext_rows import LANES

MAGIC, NEWEST = 793712314, 12
"""First number of a model file, and the newest format there is (fastText 0.9.3, fasttext.cc)."""
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
"""Losses by their number in the file."""
CENTROIDS = 256
_SUPERVISED = 3
_BLOCK_ROWS = 1 << 16


class Rows(NamedTuple):
    """A matrix on its way to disk in blocks, so that a large one is never in memory twice."""

    dense: np.ndarray | None  # (rows, dimensions) float32
    codes: np.ndarray | None  # (rows, parts) uint8
    centroids: list[np.ndarray]  # of each part (256, dimensions of it) float32
    norms: np.ndarray | None  # (rows,) float32
    shape: tuple[int, int]
    """With padding, and the row of zeros where there is one."""

    @property
    def rows(self) -> int:
        return len(self.codes) if self.codes is not None else 0 if self.dense is None else len(self.dense)

    def take(self, order: np.ndarray) -> Rows:
        """Only these rows, in this order; `shape` keeps its row of zeros."""
        dense, codes, norms = (None if each is None else each[order] for each in (self.dense, self.codes, self.norms))
        extra = self.shape[0] - self.rows
        return Rows(dense, codes, self.centroids, norms, (len(order) + extra, self.shape[1]))

    def write(self, path: Path) -> None:
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=self.shape)
        for first in range(0, self.rows, _BLOCK_ROWS):
            last = min(first + _BLOCK_ROWS, self.rows)
            if self.dense is not None:
                out[first:last, : self.dense.shape[1]] = self.dense[first:last]
                continue
            assert self.codes is not None
            at = 0
            for part, centroids in enumerate(self.centroids):
                width = centroids.shape[1]
                out[first:last, at : at + width] = centroids[self.codes[first:last, part]]
                at += width
            if self.norms is not None:
                out[first:last] *= self.norms[first:last, None]
        out.flush()


class _File:
    """A model file read from its beginning on. ValueError where it ends too early."""

    def __init__(self, path: str, content: Any) -> None:
        self.path, self.content, self.at = path, content, 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + layout)
        if self.at + size > len(self.content):
            raise self.damaged()
        found = struct.unpack_from("<" + layout, self.content, self.at)
        self.at += size
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        size = np.dtype(dtype).itemsize * count
        if count < 0 or self.at + size > len(self.content):
            raise self.damaged()
        found = np.frombuffer(self.content, dtype, count, self.at)
        self.at += size
        return found

    def word(self) -> bytes:
        end = self.content.find(b"\0", self.at)
        if end < 0:
            raise self.damaged()
        found: bytes = self.content[self.at : end]
        self.at = end + 1
        return found

    def damaged(self) -> ValueError:
        return ValueError(f"{self.path}: ends before its model does; fetch it again")


def parse(path: str, content: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    file = _File(path, content)
    magic, version = file.numbers("ii") if len(content) >= 8 else (0, 0)
    if magic != MAGIC:
        raise ValueError(f"{path}: is no fastText model; give a .bin or .ftz that `fasttext supervised` wrote")
    if version > NEWEST:
        raise ValueError(f"{path}: has format {version}, of a newer fastText; convert it to format {NEWEST}")
    dimensions, _, _, _, _, word_ngrams, loss, kind, buckets, shortest, longest, _, _ = file.numbers("12id")
    if kind != _SUPERVISED:
        raise ValueError(f"{path}: holds word vectors, not a classifier; give a model of `fasttext supervised`")
    if loss not in (HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL):
        raise ValueError(f"{path}: has the unknown loss {loss}; give a model of fastText 0.9.3 or earlier")
    if version == 11:
        longest = 0  # supervised models of that format use no character n-grams
    entries, words, labels, _, pruned = file.numbers("iiiqq")
    names, counts = [], []
    for _ in range(entries):
        names.append(file.word())
        counts.append(file.numbers("qb")[0])
    kept = file.array("<i4", 2 * pruned).reshape(-1, 2) if pruned > 0 else None
    matrix, quantised = _matrix(file, file.numbers("?")[0], extra=1)
    output, _ = _matrix(file, file.numbers("?")[0] and quantised, extra=0)
    used = words if kept is not None or not (longest > 0 or word_ngrams > 1) else words + buckets
    if kept is not None and not (_within(kept[:, 0], buckets) and _within(kept[:, 1], matrix.rows - words)):
        raise ValueError(f"{path}: keeps n-grams that it has no room for; fetch it again")
    same_width = matrix.shape[1] == output.shape[1]
    if (
        not same_width
        or min(words, buckets) < 0
        or matrix.rows < used
        or output.rows < labels
        or labels < 1
        or entries != words + labels
    ):
        raise ValueError(f"{path}: its matrices and its dictionary do not fit together; fetch it again")
    table = np.zeros(0, np.uint64)
    if pruned == 0:
        buckets = 0
    elif kept is not None:
        kept = kept[np.argsort(kept[:, 0], kind="stable")]
        matrix = matrix.take(np.concatenate((np.arange(words), words + kept[:, 1].astype(np.int64))))
        table = ranks(kept[:, 0].astype(np.int64), buckets)
    bounds = np.concatenate(([0], np.cumsum([len(name) for name in names], dtype=np.int64)))
    text = np.frombuffer(b"".join(names), np.uint8)
    slots = np.full(1 << max(4, (2 * entries).bit_length()), -1, np.int32)
    insert(text, bounds, slots)
    tree = huffman(counts[words:]) if loss == HIERARCHICAL else np.zeros((0, 2), np.int32)
    end = names.index(b"</s>") if b"</s>" in names else -1
    numbers = {
        "words_count": words,
        "bucket_count": buckets,
        "min_characters": shortest,
        "max_characters": longest,
        "word_ngrams": word_ngrams,
        "loss": loss,
        "end": end,
        "longest_word": max(map(len, names)),
    }
    facts = {
        "labels": [name.decode("utf-8", "replace") for name in names[words:]],
        "numbers": numbers,
        "dimensions": dimensions,
        "rows": matrix.rows,
        "quantised": quantised,
    }
    arrays = {
        "matrix": matrix,
        "output": output,
        "words": text,
        "bounds": bounds,
        "slots": slots,
        "buckets": table,
        "tree": tree,
    }
    return facts, arrays


def _matrix(file: _File, quantised: bool, extra: int) -> tuple[Rows, bool]:
    """extra: rows of zeros at the end."""
    if not quantised:
        rows, width = file.numbers("qq")
        return Rows(
            file.array("<f4", rows * width).reshape(rows, width), None, [], None, _padded(rows, width, extra)
        ), False
    with_norms, rows, width, size = file.numbers("?qqi")
    codes = file.array("u1", size)
    centroids = _quantizer(file)
    norms = None
    if with_norms:
        norm_codes = file.array("u1", rows)
        norms = _quantizer(file)[0][norm_codes, 0]
    if size != rows * len(centroids):
        raise file.damaged()
    shape = _padded(rows, width, extra)
    return Rows(None, codes.reshape(rows, len(centroids)), centroids, norms, shape), True


def _within(values: np.ndarray, limit: int) -> bool:
    return bool(((values >= 0) & (values < limit)).all())


def _padded(rows: int, width: int, extra: int) -> tuple[int, int]:
    return rows + extra, -(-width // LANES) * LANES


def _quantizer(file: _File) -> list[np.ndarray]:
    """Centroids of each part of a row, (256, dimensions of the part) float32."""
    width, parts, each, last = file.numbers("4i")
    flat = file.array("<f4", width * CENTROIDS)
    sizes = [each] * (parts - 1) + [last]
    if sum(sizes) != width:
        raise file.damaged()
    ends = np.cumsum(sizes) * CENTROIDS
    return [flat[end - CENTROIDS * size : end].reshape(CENTROIDS, size) for end, size in zip(ends, sizes, strict=True)]


def huffman(counts: list[int]) -> np.ndarray:
    """(2 labels - 1, 2) int32 children (left, right) of each node, -1 for leaves; the root is the last.

    counts: of the labels, in falling order; node i < labels is label i. On the left stands what fastText took first,
    and of two equal counts it takes the inner node.
    """
    leaves = len(counts)
    nodes = 2 * leaves - 1
    weight = [*counts, *([10**15] * (leaves - 1))]
    children = np.full((nodes, 2), -1, np.int32)
    leaf, node = leaves - 1, leaves
    for i in range(leaves, nodes):
        for side in range(2):
            if leaf >= 0 and weight[leaf] < weight[node]:
                children[i, side], leaf = leaf, leaf - 1
            else:
                children[i, side], node = node, node + 1
        weight[i] = weight[children[i, 0]] + weight[children[i, 1]]
    return children
