"""Language identification by the fastText library itself: the reference that `stages.language` can choose as engine.

Same labels and scores as `kernels.text.fasttext_predict`, several times slower. Batches go in whole; the library reads
one text at a time. It takes a text as one line, so line ends are given to it as spaces.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.extras import library

PURPOSE = "stages.language.engine: fasttext"


def predict(
    texts: pa.Array, path: str, window: str = "whole", window_bytes: int = 0
) -> tuple[list[str | None], np.ndarray]:
    """(labels as they stand in the model, their probabilities (n,) float64, at most 1). texts: large_string, no nulls.

    None and 0.0 for a text of which the model knows nothing. window, window_bytes: as `fasttext_predict.predict`.
    """
    return _first(_model(path), [_windowed(text, window, window_bytes) for text in texts.to_pylist()])


def line_shares(texts: pa.Array, path: str, wanted: Sequence[str | None], codes: Any, least: int) -> np.ndarray:
    """(n,) float64: of the bytes of a text's lines of `least` bytes or more, the share of those lines whose own label
    `codes(label)` makes the code `wanted`; nan where there is no such line."""
    model = _model(path)
    shares = np.full(len(texts), np.nan)
    for i, text in enumerate(texts.to_pylist()):
        lines = [line for line in text.split("\n") if len(line.encode()) >= least]
        sizes = np.array([len(line.encode()) for line in lines], np.int64)
        labels, _ = _first(model, lines)
        known = np.array([label is not None for label in labels], bool)
        same = np.array([label is not None and codes(label) == wanted[i] for label in labels], bool)
        if known.any():
            shares[i] = sizes[same].sum() / sizes[known].sum()
    return shares


def _first(model: Any, texts: Sequence[str]) -> tuple[list[str | None], np.ndarray]:
    if not texts:
        return [], np.zeros(0)
    labels, scores = model.predict([text.replace("\n", " ") for text in texts])
    return (
        [found[0] if len(found) else None for found in labels],
        np.array([min(1.0, float(found[0])) if len(found) else 0.0 for found in scores]),
    )


def _windowed(text: str, window: str, window_bytes: int) -> str:
    if window == "whole" or len(text) * 4 <= window_bytes:
        return text
    data = text.encode()
    if len(data) <= window_bytes:
        return text
    if window == "first":
        return data[: _boundary(data, window_bytes)].decode()
    third = window_bytes // 3
    middle, last = _boundary(data, (len(data) - third) // 2), _boundary(data, len(data) - third)
    pieces = (data[: _boundary(data, third)], data[middle : _boundary(data, middle + third)], data[last:])
    return b" ".join(pieces).decode()


def _boundary(data: bytes, at: int) -> int:
    """The first byte of the character that byte `at` belongs to."""
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _model(path: str) -> Any:
    status = os.stat(path)
    return _load(os.path.abspath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: str, size: int, modified: int) -> Any:
    return library("fasttext", PURPOSE).load_model(path)
