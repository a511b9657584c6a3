"""A supervised fastText model (Joulin et al. 2017, arXiv:1607.01759) as flat arrays, read without the library.

Reads `.bin` and `.ftz` of format versions 11 and 12: dense or product-quantised matrices (Joulin et al. 2016,
arXiv:1612.03651), with or without norms, a quantised output, pruned dictionaries. What it makes of a file is written
once to the machine's cache folder and mapped read-only from there, so all processes of a machine share one copy in
the page cache, with Ray or without, and another worker costs next to nothing. Matrices are dequantised: a row is then
one or a few cache lines instead of a gather per pair of dimensions, and only rows that are used become resident.

It does not read word vectors (skip-gram, CBOW), does not train and does not write models.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import tempfile
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from gristmill.kernels.text.fasttext_file import Rows, parse

LAYOUT = 4
"""Raised when the arrays below change: part of a cached model's name."""
_ARRAYS = ("matrix", "output", "words", "bounds", "slots", "buckets", "tree")


class Weights(NamedTuple):
    """What the kernels read. Rows: first the dictionary's words, then the buckets of n-grams that are kept in rising
    order, then one row of zeros, which stands for every n-gram that was pruned."""

    matrix: np.ndarray  # (rows + 1, width) float32
    output: np.ndarray  # (labels, width) float32; of a hierarchical softmax the inner nodes, one row unused
    words: np.ndarray  # (bytes,) uint8: words, then labels, without separators
    bounds: np.ndarray  # (words + labels + 1,) int64 into `words`
    slots: np.ndarray  # (power of two,) int32: open addressing by `hash_of` -> number of the entry; -1: free
    buckets: np.ndarray  # (buckets / 32,) uint64, see `bucket_row`; of length 0 where no n-gram was pruned
    tree: np.ndarray  # (2 labels - 1, 2) int32: children of a Huffman tree's nodes; -1: a leaf, the label
    words_count: int
    bucket_count: int  # 0: no n-grams
    min_characters: int
    max_characters: int
    word_ngrams: int
    loss: int
    end: int  # number of the dictionary's `</s>`; -1: not in it
    longest_word: int  # bytes


class Model(NamedTuple):
    labels: tuple[str, ...]
    """As they stand in the file, with their prefix `__label__`."""
    weights: Weights
    dimensions: int
    rows: int
    quantised: bool
    bytes: int
    """Of the model file."""


def load(path: str) -> Model:
    """The model at a local path, the same object at every call. ValueError in one sentence where it is none."""
    status = os.stat(path)
    return _load(os.path.abspath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: str, size: int, modified: int) -> Model:
    if not size:
        raise ValueError(f"{path}: is empty; give a fastText model (.bin or .ftz)")
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last array that looks at it
    target = cache_folder() / f"{xxhash.xxh3_128_hexdigest(content)}-{LAYOUT}"
    model = _mapped(target, size)
    if model is None:
        try:
            _convert(path, content, target)
        except OSError as error:
            raise OSError(
                f"{path}: cannot be unpacked to {target.parent} ({error.strerror}); make room there, or set TMPDIR"
            ) from error
        model = _mapped(target, size)
    if model is None:
        raise OSError(f"{target}: is not what was just written there; set TMPDIR to a folder of your own")
    return model


def cache_folder() -> Path:
    """Where converted models are kept on this machine."""
    return Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}" / "fasttext"


def _mapped(folder: Path, size: int) -> Model | None:
    """The converted model in `folder`, None where it is not there or not whole."""
    try:
        facts = json.loads((folder / "model.json").read_text("utf-8"))
        arrays: dict[str, Any] = {name: _array(folder / f"{name}.npy") for name in _ARRAYS}
    except (OSError, ValueError):
        return None
    if {name: list(array.shape) for name, array in arrays.items()} != facts["shapes"]:
        return None
    weights = Weights(**arrays, **facts["numbers"])
    return Model(tuple(facts["labels"]), weights, facts["dimensions"], facts["rows"], facts["quantised"], size)


def _array(path: Path) -> np.ndarray:
    """Read-only, mapped; an empty array cannot be."""
    array = np.load(path, mmap_mode="r") if path.stat().st_size > 128 else np.load(path)
    array = array.view(np.ndarray)
    array.flags.writeable = False
    return array


def _convert(path: str, content: Any, target: Path) -> None:
    """Writes the model's arrays to `target` in one move; whoever comes second finds it done."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        _write(folder, *parse(path, content))
        try:
            folder.rename(target)
        except OSError:  # there already: another process was first, or what is there is damaged
            if _mapped(target, 0) is None:
                shutil.rmtree(target, ignore_errors=True)
                folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, facts: dict[str, Any], arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if isinstance(array, Rows):
            array.write(folder / f"{name}.npy")
        else:
            np.save(folder / f"{name}.npy", array)
    facts["shapes"] = {name: list(array.shape) for name, array in arrays.items()}
    (folder / "model.json").write_text(json.dumps(facts), "utf-8")
