"""The first pass: read → extract → language → line edits → signals, one task a partition.

Writes `documents` (text and columns of all documents that are still there), `signals` (every numeric column, aligned
with it row by row) and the ledger rows of what left on the way. Everything after it decides on signals and keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.engine.commit import ParquetOutput
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.identity import Content, Identified
from gristmill.pipeline.engine.manifest import Role, Sealed, Stats
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.readers.first_records import NAMED
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import FileEntry
from gristmill.pipeline.readers.segments import Partition
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.chain import KERNELS, run_stage, sizes, take_out
from gristmill.pipeline.steps.ledger import Ledger
from gristmill.pipeline.steps.removal import Removed
from gristmill.pipeline.steps.resources import Equipped, equipped
from gristmill.stages.document import DOCUMENT, RAW
from gristmill.stages.interface import DocumentStage
from gristmill.storage.hive import folder, values

BATCH_BYTES = 8_000_000  # of text at a time: five to ten times as much memory passes through it
STORED = pa.schema([*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False)])
IDENTIFYING = ("id", "source", "path", "record", "domain", "category", "language", "url", "text_bytes")
"""Columns that `signals/` repeats, so that it can be read alone."""


@dataclass(frozen=True, slots=True)
class Pass:
    stages: Equipped[DocumentStage]
    seed: int
    max_document_bytes: int


@dataclass(frozen=True, slots=True)
class Input(Identified):
    """A partition, and what else its task depends on."""

    partition: Partition
    spec: SourceSpec
    etags: tuple[str, ...]
    """Of the segments' files."""
    removed: tuple[str, ...]
    """Ids in hexadecimal, sorted: documents to be read as if they were not in the input."""

    def identity(self) -> Content:
        """All of it but where the files are: the same input is the same anywhere."""
        segments = tuple(replace(segment, uri="") for segment in self.partition.segments)
        partition = replace(self.partition, segments=segments)
        moved = replace(self, partition=partition, spec=replace(self.spec, uri=""))
        return {field.name: getattr(moved, field.name) for field in fields(moved)}


@dataclass(frozen=True, slots=True)
class Volume:
    documents: int = 0
    bytes: int = 0

    def __add__(self, other: Volume) -> Volume:
        return Volume(self.documents + other.documents, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Grouped(Stats):
    """What is there after a task, by (domain, language)."""

    groups: dict[str, Volume]


@dataclass(frozen=True, slots=True)
class Brought:
    """What the records of a task bring, before any stage: for `pipeline.steps.pass_check`."""

    documents: int = 0
    """Records with a text or a page."""
    empty: int = 0
    """Of those, texts of nothing or white space."""
    ids: int = 0
    dates: int = 0
    """That could be read."""
    unread_dates: int = 0

    def __add__(self, other: Brought) -> Brought:
        return Brought(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class ReadStats(Grouped):
    units: dict[str, Volume]
    """What is there after the task, by domain, category and language with NUL between them."""
    brought: Brought
    encodings: dict[str, int]
    """Other than UTF-8 -> files that were read by it."""
    own_ids: int
    """Documents that bring an id."""
    skipped: dict[str, int]
    """Records that hold no document, by reason."""


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
) -> Sealed[ReadStats]:
    shared = Pass(equipped(stages), seed, max_document_bytes)
    return engine.step("read", READ, inputs(sources, inventory, partitions, removed), shared)


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


def read_partition(task: Task[Input, Pass]) -> ReadStats:
    shared, given = task.shared, task.payload
    removed = frozenset(bytes.fromhex(name) for name in given.removed)
    stages = shared.stages.here()
    ledger = Ledger(task.output, task.index, shared.seed)
    groups: dict[str, Volume] = {}
    units: dict[str, Volume] = {}
    brought = Brought()
    encodings: Counter[str] = Counter()
    files = not any(segment.format in NAMED for segment in given.partition.segments)
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
            brought += brought_by(batch)
            if files:
                count_encodings(encodings, batch)
            table = process(task, pa.Table.from_batches([batch]), stages, ledger)
            count_groups(groups, table)
            count_units(units, table)
            own_ids += table.num_rows - table.column("own_id").null_count
            writers.write(table)
            empty = False
        if empty:
            writers.write(process(task, empty_input(), stages, ledger))
    ledger.close()
    return ReadStats(groups, units, brought, dict(sorted(encodings.items())), own_ids, dict(sorted(skipped.items())))


READ = Step(read_partition, version=6, libraries=(*KERNELS, "pypdfium2", "resiliparse"))


def empty_input() -> pa.Table:
    schema = pa.schema([*RAW, pa.field("quarantined_by", pa.string()), pa.field("read_bytes", pa.int64())])
    return schema.empty_table()


def process(task: Task[Input, Pass], table: pa.Table, stages: Sequence[DocumentStage], ledger: Ledger) -> pa.Table:
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

    def __init__(self, task: Task[Input, Pass]) -> None:
        self.task = task
        self.open = ExitStack()
        self.documents: ParquetOutput | None = None
        self.signals: ParquetOutput | None = None

    def __enter__(self) -> Writers:
        return self

    def write(self, table: pa.Table) -> None:
        if self.documents is None or self.signals is None:
            names = [*IDENTIFYING, *(n for n in table.column_names if n not in STORED.names)]
            schema = pa.schema([table.schema.field(name) for name in names])
            output = self.task.output
            # closed in order of opening, which is the files' order in the manifest
            signals = output.parquet(Role.SIGNALS, schema, statistics=True)
            documents = output.parquet(Role.DOCUMENTS, STORED)
            self.signals = self.open.enter_context(signals)
            self.documents = self.open.enter_context(documents)
        self.documents.write(table)
        self.signals.write(table)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open.__exit__(kind, error, trace)


def brought_by(batch: pa.RecordBatch) -> Brought:
    """batch: as a reader gives it."""
    fine = batch.column("quarantined_by").is_null()
    text, date = batch.column("text"), batch.column("timestamp")
    # a value that is no date stays in the metadata under this name: `pipeline.readers.records`
    unread = pc.match_substring(batch.column("metadata"), '"timestamp":')

    def count(mask: pa.Array) -> int:
        number: int | None = pc.sum(pc.and_(fine, mask)).as_py()
        return number or 0

    return Brought(
        count(fine),
        count(pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text))),
        count(batch.column("own_id").is_valid()),
        count(date.is_valid()),
        count(pc.and_(date.is_null(), unread)),
    )


def count_encodings(encodings: Counter[str], batch: pa.RecordBatch) -> None:
    """batch: of files that are documents; their reader says in the metadata what they were decoded by."""
    found = pc.extract_regex(batch.column("metadata"), r'"encoding":"(?P<name>[^"]+)"').drop_null().field("name")
    for row in pc.value_counts(found).to_pylist():
        encodings[row["values"]] += row["counts"]


def count_units(units: dict[str, Volume], table: pa.Table) -> None:
    """Adds documents and bytes by what a blend can give budgets to, the source apart."""
    parts = [pc.fill_null(table.column(name), "") for name in ("domain", "category", "language")]
    keyed = pa.table({"key": pc.binary_join_element_wise(*parts, "\0"), "bytes": table.column("text_bytes")})
    sums = keyed.group_by("key").aggregate([("bytes", "count"), ("bytes", "sum")])
    for row in sums.sort_by("key").to_pylist():
        units[row["key"]] = units.get(row["key"], Volume()) + Volume(row["bytes_count"], row["bytes_sum"])


def count_groups(groups: dict[str, Volume], table: pa.Table) -> None:
    """Adds documents and bytes by (domain, language), the unit in which `curated/` is laid out."""
    sums = (
        table.select(["domain", "language", "text_bytes"])
        .group_by(["domain", "language"])
        .aggregate([("text_bytes", "count"), ("text_bytes", "sum")])
    )
    for row in sums.sort_by([("domain", "ascending"), ("language", "ascending")]).to_pylist():
        name = group_name(row["domain"], row["language"])
        more = Volume(row["text_bytes_count"], row["text_bytes_sum"])
        groups[name] = groups.get(name, Volume()) + more


def group_name(domain: str | None, language: str | None) -> str:
    """The folder of a (domain, language) below `curated/`."""
    return f"{folder('domain', domain)}/{folder('language', language)}"


def group_of(name: str) -> tuple[str, str]:
    """Domain and language of a `group_name`; '' where there was none."""
    found = values(f"{name}/")
    return found["domain"] or "", found["language"] or ""
