"""Perplexity of documents under CCNet's chain (Wenzek et al. 2019, section 3.4): normalise, cut into pieces, score.

    perplexity = 10 ^ (-sum log10 p(line) / sum (pieces of the line + 1)), over the document's lines

with p from <s> to </s>; the 1 is </s>. Lines with no piece left are passed over: blank lines say how a text is set,
not what it says. Bytes and offsets in, a float64 a document out, each a function of its document alone: line scores
do not depend on what else is in the batch, and are added in the order of the lines.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.ccnet_normalise import normalise
from gristmill.kernels.text.kenlm_table import Table, open_table, score, span_indices
from gristmill.kernels.text.pieces import Encoder, encode, encoder

PIECES_FILE, TABLE_FILE = "sentencepiece.model", "lm.binary"

MAX_LINE_BYTES = 1 << 20
"""A longer line is scored in parts of this size: what is kept of a line is a hundred times its bytes."""
_CHUNK_BYTES = 1 << 19
"""Lines that go through the chain together, so that what is between its links stays in the cache."""
_MANY = 4
"""Piece models that stay open; each takes 3 MB with 65,536 pieces, and up to 16 MB for the words it has met."""


class LanguageModel(NamedTuple):
    encoder: Encoder
    words: np.ndarray  # (pieces,) int32: index of each piece in the table
    table: Table


def models(folder: str | Path) -> tuple[str, ...]:
    """Languages that have a model in the folder, sorted. ValueError where there is no folder or half a model."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no folder of language models; make it with `gristmill lm train`")
    found = []
    for path in sorted(folder.iterdir()):
        has = [(path / name).is_file() for name in (PIECES_FILE, TABLE_FILE)]
        if all(has):
            found.append(path.name)
        elif any(has):
            missing = PIECES_FILE if has[1] else TABLE_FILE
            raise ValueError(f"{path}: has no {missing}; train the model again with `gristmill lm train`")
    return tuple(found)


def open_model(folder: str | Path) -> LanguageModel:
    """The model of one language, from a folder with sentencepiece.model and lm.binary. The table of one stays mapped:
    opening another lets go of it."""
    path = str(Path(folder).absolute())
    pieces = _opened_pieces(path, _stamp(os.path.join(path, PIECES_FILE)))
    table = _opened_table(path, _stamp(os.path.join(path, TABLE_FILE)))
    words = span_indices(table, pieces.model.data, pieces.model.offsets)
    words[pieces.model.unknown] = 0
    return LanguageModel(pieces, words, table)


def perplexities(model: LanguageModel, data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(n,) float64: perplexity of each document, NaN where it has no pieces.

    data: (bytes,) uint8, UTF-8; offsets: (n + 1,) int64. A line is what stands between two U+000A.
    """
    bounds, documents = _lines(data, offsets, np.count_nonzero(data[offsets[0] : offsets[-1]] == 10))
    lengths = np.zeros(len(documents), np.int64)
    scores = np.zeros(len(documents), np.float64)
    grid = np.append(np.arange(bounds[0], bounds[-1], _CHUNK_BYTES), bounds[-1])
    for first, end in pairwise(np.unique(np.searchsorted(bounds, grid)).tolist()):
        ids, ends = encode(model.encoder, *normalise(data, bounds[first : end + 1]))
        lengths[first:end] = np.diff(ends)
        scores[first:end] = score(model.table, model.words[ids], ends)
    return _per_document(scores, lengths, documents, len(offsets) - 1)


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); train it with `gristmill lm train`") from error
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=_MANY)
def _opened_pieces(folder: str, stamp: tuple[int, int]) -> Encoder:
    return encoder(os.path.join(folder, PIECES_FILE))


@lru_cache(maxsize=1)
def _opened_table(folder: str, stamp: tuple[int, int]) -> Table:
    return open_table(os.path.join(folder, TABLE_FILE))


@numba.njit(cache=True, nogil=True)
def _lines(data, offsets, breaks):
    """(bounds (l + 1,), document of each line (l,)); a line keeps its line feed, which is normalised away."""
    room = breaks + len(offsets) + (offsets[-1] - offsets[0]) // (MAX_LINE_BYTES - 4) + 1
    bounds = np.empty(room + 1, np.int64)
    documents = np.empty(room, np.int64)
    bounds[0] = offsets[0]
    n = 0
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        for at in range(begin, end):
            size = at - begin  # cut before a character, even where bytes are no UTF-8
            if size >= MAX_LINE_BYTES - 4 and (data[at] & 0xC0 != 0x80 or size == MAX_LINE_BYTES):
                documents[n] = document
                n += 1
                bounds[n] = begin = at
            if data[at] == 10:
                documents[n] = document
                n += 1
                bounds[n] = begin = at + 1
        if begin < end:
            documents[n] = document
            n += 1
            bounds[n] = end
    return bounds[: n + 1], documents[:n]


@numba.njit(cache=True, nogil=True)
def _per_document(scores, lengths, documents, n):
    total = np.zeros(n, np.float64)
    length = np.zeros(n, np.int64)
    for i in range(len(documents)):
        if lengths[i]:
            total[documents[i]] += scores[i]
            length[documents[i]] += lengths[i] + 1
    found = np.full(n, np.nan)
    for i in range(n):
        if length[i]:
            found[i] = 10.0 ** (-total[i] / length[i])
    return found
