"""The first pass: read → extract → language → line edits → signals, one task a partition.

Writes `documents` (text and columns of all documents that are still there), `signals` (every numeric column, aligned
with it row by row) and the ledger rows of what left on the way. Everything after it decides on signals and keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.pipeline.engine.commit import ParquetOutput
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import Sealed
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import FileEntry
from gristmill.pipeline.readers.segments import Partition
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.chain import library_versions, run_stage, sizes, take_out
from gristmill.pipeline.steps.ledger import Ledger
from gristmill.pipeline.steps.removal import Removed
from gristmill.pipeline.steps.resources import Resources, localise, stage_identity, stage_resources
from gristmill.stages.document import DOCUMENT, RAW
from gristmill.stages.interface import DocumentStage

VERSION = 4
BATCH_BYTES = 8_000_000  # of text at a time: five to ten times as much memory passes through it
DOCUMENTS = "documents"
SIGNALS = "signals"
STORED = pa.schema([*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False)])
IDENTIFYING = ("id", "source", "path", "record", "domain", "category", "language", "url", "text_bytes")
"""Columns that `signals/` repeats, so that it can be read alone."""


@dataclass(frozen=True)
class Pass:
    sources: tuple[SourceSpec, ...]
    stages: tuple[DocumentStage, ...]
    resources: Resources
    seed: int
    max_document_bytes: int


def first_pass(
    engine: Engine,
    sources: Sequence[SourceSpec],
    inventory: Sequence[FileEntry],
    partitions: Sequence[Partition],
    stages: Sequence[DocumentStage],
    *,
    seed: int,
    max_document_bytes: int,
    removed: Sequence[Removed] = (),
) -> Sealed:
    resources = stage_resources(stages)
    identity = {
        "version": VERSION,
        "libraries": library_versions(),
        "sources": [{**asdict(spec), "uri": None} for spec in sources],
        "inventory": [(entry.source, entry.path, entry.size, entry.etag) for entry in inventory],
        "partitions": [[(s.path, s.start, s.end, s.unit) for s in partition.segments] for partition in partitions],
        "stages": [stage_identity(stage, resources) for stage in stages],
        "seed": seed,
        "max_document_bytes": max_document_bytes,
    }
    local = {name: identity[name] for name in ("version", "libraries", "stages", "seed", "max_document_bytes")}
    shared = Pass(tuple(sources), tuple(stages), resources, seed, max_document_bytes)
    payloads = inputs(sources, inventory, partitions, removed)
    if removed:
        identity["removed"] = [payload.removed for payload in payloads]
    return engine.step("read", read_partition, payloads, identity=identity, shared=shared, local=local)


@dataclass(frozen=True)
class Input:
    """A partition, and what else its task depends on."""

    partition: Partition
    spec: SourceSpec
    etags: tuple[str, ...]
    """Of the segments' files."""
    removed: tuple[str, ...]
    """Ids in hexadecimal, sorted: documents to be read as if they were not in the input."""

    def task_identity(self) -> list[Any]:
        segments = [(s.path, s.size, s.start, s.end, s.unit) for s in self.partition.segments]
        return [{**asdict(self.spec), "uri": None}, segments, self.etags, self.removed]


def inputs(
    sources: Sequence[SourceSpec],
    inventory: Sequence[FileEntry],
    partitions: Sequence[Partition],
    removed: Sequence[Removed],
) -> list[Input]:
    specs = {spec.name: spec for spec in sources}
    etags = {(entry.source, entry.path): entry.etag for entry in inventory}
    gone: dict[tuple[str, str], list[str]] = {}
    for each in removed:
        gone.setdefault((each.source, each.path), []).append(each.id)
    result = []
    for partition in partitions:
        places = list(dict.fromkeys((partition.source, segment.path) for segment in partition.segments))
        ids = sorted({name for place in places for name in gone.get(place, ())})
        result.append(Input(partition, specs[partition.source], tuple(etags[place] for place in places), tuple(ids)))
    return result


def read_partition(task: Task) -> dict[str, Any]:
    shared: Pass = task.shared
    given: Input = task.payload
    removed = frozenset(bytes.fromhex(name) for name in given.removed)
    stages = localise(shared.stages, shared.resources)
    ledger = Ledger(task.output, task.index, shared.seed)
    groups: dict[str, list[int]] = {}
    own_ids = 0
    skipped: Counter[str] = Counter()
    batches = read(
        given.partition,
        given.spec,
        max_document_bytes=shared.max_document_bytes,
        batch_bytes=BATCH_BYTES,
        removed=removed,
        skipped=skipped,
    )
    with Writers(task) as writers:
        empty = True
        for batch in batches:
            table = process(task, pa.Table.from_batches([batch]), stages, ledger)
            count_groups(groups, table)
            own_ids += table.num_rows - table.column("own_id").null_count
            writers.write(table)
            empty = False
        if empty:
            writers.write(process(task, empty_input(), stages, ledger))
    ledger.close()
    return {"groups": groups, "own_ids": own_ids, "skipped": dict(sorted(skipped.items()))}


def empty_input() -> pa.Table:
    schema = pa.schema([*RAW, pa.field("quarantined_by", pa.string()), pa.field("read_bytes", pa.int64())])
    return schema.empty_table()


def process(task: Task, table: pa.Table, stages: Sequence[DocumentStage], ledger: Ledger) -> pa.Table:
    """One batch through all stages; the result has the columns of documents and of signals."""
    quarantined = table.column("quarantined_by").is_valid().to_numpy()
    before = np.where(quarantined, table.column("read_bytes").to_numpy(), sizes(table))
    table = take_out("read", table, before, task.counts("read"), ledger).drop_columns(["read_bytes"])
    for stage in stages:
        table = run_stage(stage, table, task.counts(stage.name), ledger)
    size = pa.array(sizes(table))
    table = table.drop_columns([name for name in ("content", "content_type") if name in table.column_names])
    return table.append_column(pa.field("text_bytes", pa.int64(), nullable=False), size)


class Writers:
    """The two aligned Parquet outputs of a task; the signals' schema is known with the first batch."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.contexts: list[Any] = []
        self.documents: ParquetOutput | None = None
        self.signals: ParquetOutput | None = None

    def __enter__(self) -> Writers:
        return self

    def write(self, table: pa.Table) -> None:
        if self.documents is None or self.signals is None:
            names = [*IDENTIFYING, *(n for n in table.column_names if n not in STORED.names)]
            schema = pa.schema([table.schema.field(name) for name in names])
            self.contexts = [self.task.output.parquet(DOCUMENTS, STORED), self.task.output.parquet(SIGNALS, schema)]
            self.documents, self.signals = (context.__enter__() for context in self.contexts)
        self.documents.write(table)
        self.signals.write(table)

    def __exit__(self, *exception: Any) -> None:
        for context in self.contexts:
            context.__exit__(*exception)


def count_groups(groups: dict[str, list[int]], table: pa.Table) -> None:
    """Adds documents and bytes by (domain, language), the unit in which `curated/` is laid out."""
    sums = (
        table.select(["domain", "language", "text_bytes"])
        .group_by(["domain", "language"])
        .aggregate([("text_bytes", "count"), ("text_bytes", "sum")])
    )
    for row in sums.sort_by([("domain", "ascending"), ("language", "ascending")]).to_pylist():
        entry = groups.setdefault(group_name(row["domain"], row["language"]), [0, 0])
        entry[0] += row["text_bytes_count"]
        entry[1] += row["text_bytes_sum"]


def group_name(domain: str | None, language: str | None) -> str:
    return f"{domain or 'unknown'}/{(language or 'unknown').replace('/', '_')}"
