"""Trains a quality classifier: good text against bad, by fastText's supervised mode (Joulin et al. 2017).

A linear classifier over the mean of the vectors of words and word n-grams, softmax over two labels, `good` and `bad`.
Documents are in the order of a draw, so that both sides are met all the time. One thread: several would write over each
other's work in an order of their own, and the same input would not give the same model.
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.extras import library, require
from gristmill.kernels.text.fasttext_model import load
from gristmill.kernels.text.fasttext_predict import probabilities
from gristmill.pipeline.models.quality.evaluation import Result, figures
from gristmill.pipeline.models.quality.sample import sample

GOOD, BAD = "good", "bad"
PREFIX = "__label__"
LEAST = 20
"""Documents of a side that the model is trained on, and that it is judged by a tenth of, at least."""
_LABEL = re.compile(rf"(?<![^ \n\r\t\v\f\0]){PREFIX}[^ \n\r\t\v\f\0]*")
_PERTURB = -6  # malloc.h: M_PERTURB


@dataclass(frozen=True)
class Options:
    """Defaults are those of the command."""

    documents: int = 200_000
    held_out: float = 0.1
    epochs: int = 5
    rate: float = 0.1
    dimensions: int = 64
    word_ngrams: int = 2
    buckets: int = 200_000
    min_count: int = 2
    seed: int = 1
    text: str = "text"


def train(good: Sequence[str], bad: Sequence[str], output: str, options: Options) -> Result:
    """Writes the model at `output` in one move; what it was trained on and how it does, for JSON.

    ValueError in one sentence where there is too little text, the output is no place for a model, or fasttext is not
    installed.
    """
    require("fasttext", "quality train")
    target = Path(output)
    if target.suffix != ".bin":
        raise ValueError(f"--output {output}: a model's name ends in .bin; give one that does")
    sides = {
        GOOD: sample(good, GOOD, options.text, options.documents, options.seed),
        BAD: sample(bad, BAD, options.text, options.documents, options.seed),
    }
    held = {side: np.asarray(table.column("held")) < options.held_out for side, table in sides.items()}
    for side, mask in held.items():
        if (~mask).sum() < LEAST or mask.sum() < LEAST // 10:
            raise ValueError(
                f"--{side}: {len(mask)} different documents are too few to train on and to judge by; name more text"
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".quality-") as folder:
        lines = Path(folder) / "train.txt"
        write_lines(lines, {side: table.filter(pa.array(~held[side])) for side, table in sides.items()})
        made = Path(folder) / "model.bin"
        fit(lines, made, options)
        model = load(str(made))
        names = [label.removeprefix(PREFIX) for label in model.labels]
        scores = {
            side: probabilities(_texts(table.filter(pa.array(held[side]))), model, names.index(GOOD))
            for side, table in sides.items()
        }
        size = made.stat().st_size
        os.replace(made, target)
    return {
        "model": output,
        "bytes": size,
        "label": GOOD,
        "options": asdict(options),
        "trained_on": {side: int((~mask).sum()) for side, mask in held.items()},
        "held_out": {side: int(mask.sum()) for side, mask in held.items()},
        **figures(scores[GOOD], scores[BAD]),
    }


def write_lines(path: Path, sides: dict[str, pa.Table]) -> None:
    """fastText's training file: a document a line after its label, both sides by their texts' hashes."""
    tables = [
        table.append_column("side", pa.repeat(f"{PREFIX}{side} ", table.num_rows)) for side, table in sides.items()
    ]
    table = pa.concat_tables(tables)
    table = table.take(pc.sort_indices(table, [("hash", "ascending"), ("side", "ascending")]))
    with path.open("w", encoding="utf-8", newline="") as file:
        for batch in table.to_batches(max_chunksize=1000):
            for side, text in zip(batch.column("side").to_pylist(), batch.column("text").to_pylist(), strict=True):
                file.write(side + line_of(text) + "\n")


def line_of(text: str) -> str:
    """The text on one line, without words that fastText would take for labels."""
    return _LABEL.sub("", text.replace("\n", " ")) if PREFIX in text else text.replace("\n", " ")


def fit(lines: Path, model: Path, options: Options) -> None:
    fasttext = library("fasttext", "quality train")
    with zeroed_memory():
        trained = fasttext.train_supervised(
            input=str(lines),
            lr=options.rate,
            dim=options.dimensions,
            epoch=options.epochs,
            minCount=options.min_count,
            wordNgrams=options.word_ngrams,
            bucket=options.buckets,
            seed=options.seed,
            loss="softmax",
            thread=1,
            verbose=0,
        )
    trained.save_model(str(model))


@contextmanager
def zeroed_memory() -> Iterator[None]:
    """Memory that C++ asks for comes as zeros.

    fastText 0.9.3 with one thread sets the first tenth of its matrix and leaves the rest as memory happens to be, which
    may be NaN, and another model each time. glibc fills what it hands out with the complement of M_PERTURB's value.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        yield
        return
    tune(_PERTURB, 0xFF)
    try:
        yield
    finally:
        tune(_PERTURB, 0)


def _texts(table: pa.Table) -> pa.Array:
    column = table.column("text").combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
