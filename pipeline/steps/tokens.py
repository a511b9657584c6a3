"""After curation: the tokenizer's sample, its training, and the ids of every curated document.

    tokenizer.sample    one task some curated files: rows of the sample, chosen by draw
    tokenizer.train     one task: `tokenizer.model`, `tokenizer.json`, `report.json`
    tokenize            one task some curated files: `tokens` (ids, eos at the end) with the columns a blend decides by

Every curated document is tokenized once, whatever the blends are.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.identity import IMMATERIAL, UPSTREAM
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.chain import KERNELS
from gristmill.pipeline.steps.curate import CuratedFiles, CuratedStats, curated_files, curated_rows
from gristmill.pipeline.steps.resources import Resource, local_copy
from gristmill.stages.document import ID
from gristmill.storage.store import Store
from gristmill.storage.uris import open_input
from gristmill.tokenizer.sample import DOMAIN_SHARES, Sample, choose_batch, plan_sample
from gristmill.tokenizer.train import Trained

TOKENIZED = pa.schema(
    [
        pa.field("id", ID, nullable=False),
        pa.field("cluster", ID, nullable=False),
        pa.field("domain", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("category", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),  # eos included
        pa.field("ids", pa.large_list(pa.int32()), nullable=False),
    ]
)
SAMPLED = pa.schema(
    [pa.field("text", pa.large_string()), pa.field("domain", pa.string()), pa.field("language", pa.string())]
)
SLICE_BYTES = 2_000_000
REPORT_DOCUMENTS = 4000
"""Documents of the sample over which fertility is reported."""


def batches(store: Store, file: File, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The file row group by row group."""
    with open_checked(store, file) as handle:
        parquet = pq.ParquetFile(handle)
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, columns=list(columns))


def all_batches(store: Store, files: Sequence[File], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The files one after the other."""
    for file in files:
        yield from batches(store, file, columns)


@dataclass(frozen=True, slots=True)
class SampleFiles:
    files: tuple[File, ...] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class Training:
    vocab_size: int
    may_grow: bool
    """Whether twice the pieces may be trained, as often as it takes for the text's characters to have room."""
    sample: Sample
    seed: int


@dataclass(frozen=True, slots=True)
class TrainingStats(Stats):
    vocab_size: int
    documents: int


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """A tokenizer for the workers: content of tokenizer.model and its SHA-256."""

    model: bytes
    digest: str
    trained: Sealed[TrainingStats] | None


def tokenizer_at(path: str) -> TokenizerFiles:
    """The finished model that `path` names."""
    with open_input(path) as stream:
        model = stream.read()
    return TokenizerFiles(model, hashlib.sha256(model).hexdigest(), None)


def trained_tokenizer(
    engine: Engine,
    curated: Sealed[CuratedStats],
    *,
    vocab_size: int,
    may_grow: bool,
    sample_bytes: int,
    alpha: float,
    shares: Mapping[str, float] | None,
    seed: int,
) -> TokenizerFiles:
    """Trained on a sample of the curated corpus."""
    totals: dict[tuple[str, str], int] = {}
    for _, manifest in curated.done():
        for group in manifest.stats.groups.values():
            key = (group.domain, group.language)
            totals[key] = totals.get(key, 0) + group.bytes
    sample = plan_sample(
        totals, sample_bytes, seed=seed, alpha=alpha, shares=DOMAIN_SHARES if shares is None else shares
    )
    sampled = engine.step("tokenizer.sample", SAMPLE, curated_files(curated), sample, upstream=[curated])
    samples = SampleFiles(tuple(sampled.files(Role.SAMPLE)))
    training = Training(vocab_size, may_grow, sample, seed)
    trained = engine.step("tokenizer.train", TRAIN, [samples], training, upstream=[sampled])
    result = trained.manifests[0]
    if result is None:
        raise OSError("tokenizer.train is missing; run again without --allow-missing")
    model = engine.read(next(file for file in result.files if file.name == "tokenizer.model"))
    return TokenizerFiles(model, hashlib.sha256(model).hexdigest(), trained)


def sample_file(task: Task[CuratedFiles, Sample]) -> None:
    with task.output.parquet(Role.SAMPLE, SAMPLED) as writer:
        for table in curated_rows(task.store, task.payload.files, ["id", "text", "domain", "language"]):
            writer.write(table.filter(pa.array(choose_batch(table, task.shared))))


SAMPLE = Step(sample_file, version=2, libraries=KERNELS)


def train_tokenizer(task: Task[SampleFiles, Training]) -> TrainingStats:
    from gristmill.tokenizer.encode import Encoder
    from gristmill.tokenizer.export import export
    from gristmill.tokenizer.report import report
    from gristmill.tokenizer.train import TooFewPieces, train

    samples = task.payload.files

    def texts() -> Iterator[str]:
        for table in all_batches(task.store, samples, ["text"]):
            yield from table.column("text").to_pylist()

    def trained_with(vocab_size: int, folder: str) -> Trained:
        try:
            return train(texts(), folder, vocab_size)
        except TooFewPieces as error:
            if not task.shared.may_grow:
                raise
            while vocab_size < 2 * error.least:  # as much again for what is learned
                vocab_size *= 2
            return train(texts(), folder, vocab_size)

    with tempfile.TemporaryDirectory() as folder:
        trained = trained_with(task.shared.vocab_size, folder)
        model = Path(folder) / "tokenizer.model"
        export(model, folder)
        rows = all_batches(task.store, samples, SAMPLED.names)
        measured = report(Encoder(model), first_rows(rows, max(1, REPORT_DOCUMENTS)))
        result = {"trained": asdict(trained), "sample": task.shared.sample.record(), "measured": measured}
        (Path(folder) / "report.json").write_text(json.dumps(result, indent=1, ensure_ascii=False, sort_keys=True))
        for name in ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "report.json"):
            with task.output.open(Role.TOKENIZER, Path(name).suffix, name) as file:
                file.write((Path(folder) / name).read_bytes())
    return TrainingStats(trained.vocab_size, trained.documents)


TRAIN = Step(train_tokenizer, version=2, libraries=(*KERNELS, "sentencepiece"))


def first_rows(tables: Iterator[pa.Table], per_table: int) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.slice(0, per_table).to_batches()


@dataclass(frozen=True, slots=True)
class Tokenizing:
    digest: str
    model: bytes = field(metadata=IMMATERIAL)
    """Known by its digest."""


@dataclass(frozen=True, slots=True)
class TokenStats(Stats):
    tokens: int
    documents: int


def tokenize(engine: Engine, curated: Sealed[CuratedStats], model: TokenizerFiles) -> Sealed[TokenStats]:
    """One task a task of `curate`; its file has role `tokens`."""
    shared = Tokenizing(model.digest, model.model)
    return engine.step("tokenize", TOKENIZE, curated_files(curated), shared, upstream=[curated])


def tokenize_file(task: Task[CuratedFiles, Tokenizing]) -> TokenStats:
    from gristmill.tokenizer.encode import Encoder

    digest, content = task.shared.digest, task.shared.model
    encoder = Encoder(
        local_copy(Resource("tokenizer.model", "memory://tokenizer.model", len(content), digest, content))
    )
    counts = task.counts("tokenize")
    total = 0
    columns = ["id", "cluster", "domain", "source", "language", "category", "text"]
    with task.output.parquet(Role.TOKENS, TOKENIZED) as writer:
        for table in slices(curated_rows(task.store, task.payload.files, columns)):
            text = table.column("text").combine_chunks()
            values, offsets = encoder.encode_batch(text, eos=True)
            size = np.diff(text_offsets(text))
            ids = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values, pa.int32()))
            table = table.drop_columns(["text"])
            for name, column in (("bytes", size), ("tokens", np.diff(offsets)), ("ids", ids)):
                table = table.append_column(name, column if isinstance(column, pa.Array) else pa.array(column))
            writer.write(table)
            total += len(values)
            counts.documents_in += table.num_rows
            counts.kept += table.num_rows
            counts.bytes_in += int(size.sum())
            counts.bytes_kept += int(size.sum())
    return TokenStats(total, counts.kept)


TOKENIZE = Step(tokenize_file, version=2, libraries=(*KERNELS, "sentencepiece"))


def slices(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, about `SLICE_BYTES` of text at a time, because SentencePiece takes texts as Python strings."""
    for table in tables:
        size = np.diff(text_offsets(table.column("text").combine_chunks()))
        group = (np.cumsum(size) - size) // SLICE_BYTES
        bounds = [0, *(np.flatnonzero(group[1:] != group[:-1]) + 1).tolist(), len(size)]
        for first, end in pairwise(bounds if len(size) else []):
            yield table.slice(first, end - first)


def text_offsets(text: pa.LargeStringArray) -> np.ndarray:
    """(n + 1,) int64 byte offsets of a large_string array without nulls."""
    buffer = text.buffers()[1]
    if buffer is None or len(text) == 0:
        return np.zeros(len(text) + 1, np.int64)
    return np.frombuffer(buffer, np.int64)[text.offset : text.offset + len(text) + 1]


def encoder_facts(model: TokenizerFiles) -> dict[str, int]:
    """What a shard manifest says of its tokenizer: vocab_size and eos_id."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model.model)
    return {"vocab_size": processor.vocab_size(), "eos_id": processor.eos_id()}
