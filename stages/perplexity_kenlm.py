"""Perplexity by SentencePiece and KenLM through Python: the reference that `stages.perplexity` can choose as engine.

    perplexity = 10 ^ (-sum log10 p(line) / sum (pieces of the line + 1)), over the document's lines

CCNet's chain (Wenzek et al. 2019, section 3.4), spelled out with Python's `str` and `unicodedata`. Equal to
`kernels.text.perplexity` up to the order of sums, and several times slower.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.extras import library
from gristmill.kernels.text.ccnet_normalise import PUNCTUATION
from gristmill.kernels.text.perplexity import MAX_LINE_BYTES, PIECES_FILE, TABLE_FILE

PURPOSE = "stages.perplexity.engine: kenlm"


def perplexities(folder: str, texts: pa.Array) -> np.ndarray:
    """(n,) float64, nan where a text has no pieces. folder: sentencepiece.model and lm.binary of one language.

    texts: large_string without nulls.
    """
    files = [os.path.join(os.path.abspath(folder), name) for name in (PIECES_FILE, TABLE_FILE)]
    pieces, model = _load(*files, *(os.stat(path).st_mtime_ns for path in files))
    return np.array([_perplexity(text, pieces, model) for text in texts.to_pylist()], np.float64)


def normalised(line: str) -> str:
    """CCNet's normalisation of one line, by its definition."""
    text = unicodedata.normalize("NFD", line.strip().lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    text = "".join(PUNCTUATION.get(c, c) for c in re.sub(r"\d", "0", text))
    return "".join(c for c in text if unicodedata.category(c) != "Cc")


def _perplexity(text: str, pieces: Any, model: Any) -> float:
    cut = pieces.encode([normalised(line) for line in _lines(text)], out_type=str)
    sentences = [sentence for sentence in cut if sentence]
    if not sentences:
        return float("nan")
    total = sum(log10 for sentence in sentences for log10, _, _ in model.full_scores(" ".join(sentence)))
    return float(10.0 ** (-total / sum(len(sentence) + 1 for sentence in sentences)))


def _lines(text: str) -> Iterator[str]:
    """Lines; one longer than MAX_LINE_BYTES comes in parts, cut between characters as the kernel cuts it."""
    for line in text.split("\n"):
        if len(line) * 4 < MAX_LINE_BYTES - 4:
            yield line
            continue
        data, begin = line.encode(), 0
        while len(data) - begin > MAX_LINE_BYTES - 4:
            end = begin + MAX_LINE_BYTES - 4
            while end < len(data) and data[end] & 0xC0 == 0x80:
                end += 1
            yield data[begin:end].decode()
            begin = end
        yield data[begin:].decode()


@lru_cache(maxsize=1)
def _load(pieces_file: str, table_file: str, *modified: int) -> tuple[Any, Any]:
    import sentencepiece

    model = library("kenlm", PURPOSE).Model(table_file)
    return sentencepiece.SentencePieceProcessor(model_file=pieces_file), model
