"""From a curated corpus to a tokenizer: count, sample, train, export, measure.

Writes tokenizer.model, tokenizer.json, tokenizer_config.json and report.json (how it was trained, on what sample, and
how well it fits). Reads the corpus three times, in batches; the training text is held once by SentencePiece.
What it is measured on is drawn anew, so mostly text that it was not trained on where the corpus exceeds the sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa

from gristmill.kernels.text.hexadecimal import in_bytes
from gristmill.storage import hive
from gristmill.tokenizer.encode import Encoder
from gristmill.tokenizer.export import export
from gristmill.tokenizer.report import Report, report
from gristmill.tokenizer.sample import (
    ALPHA,
    DOMAIN_SHARES,
    Sample,
    SampleRecord,
    choose_batch,
    count_bytes,
    plan_sample,
)
from gristmill.tokenizer.train import VOCAB_SIZE, TrainedRecord, train

Batches = Callable[[], Iterable[pa.RecordBatch]]
"""Starts reading the corpus from its beginning: batches with the columns COLUMNS."""

COLUMNS = ("id", "text", "domain", "language")
BATCH_ROWS = 256


@dataclass(frozen=True)
class Recipe:
    """How a tokenizer is made; every field shapes the result.

    sample_bytes: text to train on; measure_bytes: text to measure on. The rest as in `plan_sample` and `train`.
    """

    vocab_size: int = VOCAB_SIZE
    sample_bytes: int = 500_000_000
    measure_bytes: int = 20_000_000
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DOMAIN_SHARES))
    alpha: float = ALPHA
    character_coverage: float = 0.9995
    shrink: bool = True
    seed: int = 1


class BuildReport(Report):
    """What `build` writes as report.json: how the tokenizer was trained, on what sample, and how well it fits."""

    training: TrainedRecord
    sample: SampleRecord
    measured_bytes: int


def count(batches: Batches) -> dict[tuple[str, str], int]:
    """Bytes of text per (domain, language) of the corpus."""
    corpus: dict[tuple[str, str], int] = {}
    for batch in batches():
        for key, size in count_bytes(batch).items():
            corpus[key] = corpus.get(key, 0) + size
    return corpus


def build(
    batches: Batches, corpus_bytes: Mapping[tuple[str, str], int], out_dir: str | Path, recipe: Recipe
) -> BuildReport:
    """Makes the tokenizer in out_dir; returns what report.json holds. corpus_bytes is what `count` gives."""
    planned = partial(plan_sample, corpus_bytes, shares=recipe.shares, alpha=recipe.alpha, seed=recipe.seed)
    sample = planned(recipe.sample_bytes)
    texts = (text for batch in _sampled(batches, sample) for text in batch["text"].to_pylist())
    trained = train(
        texts,
        out_dir,
        recipe.vocab_size,
        character_coverage=recipe.character_coverage,
        shrink=recipe.shrink,
    )
    model = Path(out_dir) / "tokenizer.model"
    export(model, out_dir)
    encoder = Encoder(model)
    measured = planned(recipe.measure_bytes, purpose="tokenizer-report")
    content: BuildReport = {
        "training": trained.record(),
        "sample": sample.record(),
        "measured_bytes": recipe.measure_bytes,
        **report(encoder, _sampled(batches, measured)),
    }
    (Path(out_dir) / "report.json").write_bytes((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return content


def curated_batches(path: str) -> Batches:
    """The Parquet files of a folder, local or a URI of pyarrow.fs, in the order of their names."""
    from pyarrow import fs

    if "://" in path:
        system, root = fs.FileSystem.from_uri(path)
    else:
        system, root = fs.LocalFileSystem(), path
    found = system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    files = sorted(info.path for info in found if info.path.endswith(".parquet"))
    if not files:
        raise ValueError(f"{path}: no Parquet files; give the folder `curated` of a run")

    def read() -> Iterator[pa.RecordBatch]:
        import pyarrow.parquet as pq

        for name in files:
            with system.open_input_file(name) as source:
                file = pq.ParquetFile(source)
                below = name.removeprefix(root.rstrip("/") + "/")
                stored = [column for column in COLUMNS if column in file.schema_arrow.names]
                missing = [column for column in COLUMNS if column not in (*stored, *hive.values(below))]
                if missing:
                    raise ValueError(f"{name}: no column {', '.join(missing)}; give the folder `curated` of a run")
                for batch in file.iter_batches(BATCH_ROWS, columns=stored):
                    yield from hive.with_keys(in_bytes(pa.table(batch)), below, COLUMNS).combine_chunks().to_batches()

    return read


def _sampled(batches: Batches, sample: Sample) -> Iterator[pa.RecordBatch]:
    for batch in batches():
        chosen = choose_batch(batch, sample)
        if chosen.any():
            yield batch.filter(pa.array(chosen))
