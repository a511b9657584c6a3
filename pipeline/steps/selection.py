"""Selections: which documents of a partition are still there, without moving their text.

A selection has one row per row of the first pass's `documents`: `alive`, and `cluster`, the id of the survivor where
the document is in a cluster of duplicates. A *selecting* step applies a document stage that edits nothing (rules read
`signals`), or what a corpus stage decides. Columns that such a stage adds are written beside the selection, a row for
every row of the partition, null where a document is no longer there; later steps look columns up in them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive_table
from gristmill.pipeline.engine.identity import UPSTREAM
from gristmill.pipeline.engine.manifest import File, Manifest, Reported, Role, Sealed
from gristmill.pipeline.engine.packed import Lazy
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.chain import KERNELS, count_rules, take_out, tallies
from gristmill.pipeline.steps.first_pass import Grouped, ReadStats, Volume, count_groups
from gristmill.pipeline.steps.ledger import Ledger, excerpt_columns
from gristmill.pipeline.steps.resources import Equipped, equipped
from gristmill.stages.document import ID, VERDICT
from gristmill.stages.interface import CorpusStage, DocumentStage, Stage, traits
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store

SELECTION = pa.schema([pa.field("alive", pa.bool_(), nullable=False), pa.field("cluster", ID)])
ATTRIBUTES = ("id", "source", "path", "record", "domain", "language", "url", "text_bytes")


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents as the steps see them: the first pass and the selection in force (None: all are alive)."""

    read: Sealed[ReadStats]
    selected: Sealed[Grouped] | None = None
    measured: tuple[Sealed[Grouped], ...] = ()
    """Steps that added columns, in order."""

    @property
    def upstream(self) -> list[Sealed[Grouped]]:
        steps: list[Sealed[Grouped]] = [self.read, *self.measured, *([self.selected] if self.selected else [])]
        return list({sealed.fingerprint: sealed for sealed in steps}.values())

    def followed_by(self, step: Sealed[Grouped]) -> Corpus:
        """The corpus after a selecting step."""
        added = any(manifest.file(Role.MEASURED) for _, manifest in step.done())
        return Corpus(self.read, step, (*self.measured, step) if added else self.measured)

    def payloads(self) -> Sequence[PartitionFiles | None]:
        return Lazy(len(self.read.manifests), self.files)

    def files(self, index: int) -> PartitionFiles | None:
        """None where the partition is missing, here or in an earlier step: a task without input selects nothing."""
        read = self.read.manifests[index]
        chosen = self.selected.manifests[index] if self.selected else None
        selection = chosen.file(Role.SELECTION) if chosen else None
        if read is None or (self.selected is not None and selection is None):
            return None
        measured = [m.file(Role.MEASURED) for step in self.measured if (m := step.manifests[index]) is not None]
        return PartitionFiles(
            file(read, Role.DOCUMENTS), file(read, Role.SIGNALS), selection, tuple(found for found in measured if found)
        )

    def last(self) -> Sealed[Grouped]:
        return self.selected or self.read


def file(manifest: Manifest[Reported], role: Role) -> File:
    found = manifest.file(role)
    if found is None:
        raise OSError(
            f"task {manifest.index} committed no file {str(role)!r}; delete the step below work/ and run again"
        )
    return found


@dataclass(frozen=True, slots=True)
class PartitionFiles:
    documents: File
    signals: File
    selection: File | None
    measured: tuple[File, ...] = ()
    """In the order in which they were written."""

    def state(self, store: Store) -> tuple[np.ndarray, pa.Array]:
        """(alive, cluster) of all rows."""
        if self.selection is None:
            return np.ones(self.documents.rows, bool), pa.nulls(self.documents.rows, ID)
        with open_checked(store, self.selection) as handle:
            table = read_table(handle)
        return table.column("alive").to_numpy().copy(), table.column("cluster").combine_chunks()

    def added(self, store: Store, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Those of the columns that selecting steps have added, for all rows; of two of a name the later."""
        found: dict[str, pa.ChunkedArray] = {}
        for written in self.measured:
            with open_checked(store, written) as handle:
                parquet = pq.ParquetFile(handle)
                names = [name for name in columns if name in parquet.schema_arrow.names]
                if names:
                    table = parquet.read(columns=names)
                    found |= {name: table.column(name) for name in names}
        return found

    def batches(
        self,
        store: Store,
        columns: Sequence[str],
        alive: np.ndarray,
        partition: int,
        every: bool = False,
        optional: pa.Schema | None = None,
    ) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Row group by row group: the alive rows' columns, looked up in documents, then in what was added, then in
        signals, and their rows.

        `handle` may be among the columns. With `every`, also groups without an alive row. A column of `optional` that
        nothing has is null.
        """
        wanted = [name for name in columns if name != "handle"]
        with open_checked(store, self.documents) as documents, open_checked(store, self.signals) as signals:
            stored, numeric = pq.ParquetFile(documents), pq.ParquetFile(signals)
            first = [name for name in wanted if name in stored.schema_arrow.names]
            added = self.added(store, [name for name in wanted if name not in first])
            second = [name for name in wanted if name not in first and name not in added]
            types = {name: optional.field(name).type for name in optional.names} if optional is not None else {}
            absent = [name for name in second if name in types and name not in numeric.schema_arrow.names]
            second = [name for name in second if name not in absent]
            row = 0
            for group in range(stored.num_row_groups):
                count = stored.metadata.row_group(group).num_rows
                mask = alive[row : row + count]
                rows = row + np.flatnonzero(mask)
                row += count
                if not (len(rows) or every):
                    continue
                table = stored.read_row_group(group, columns=first)
                if second:
                    extra = numeric.read_row_group(group, columns=second)
                    for name in second:
                        table = table.append_column(extra.schema.field(name), extra.column(name))
                for name, column in added.items():
                    table = table.append_column(name, column.slice(row - count, count))
                for name in absent:
                    table = table.append_column(name, pa.nulls(count, types[name]))
                table = table.select(wanted)
                if not mask.all():
                    table = table.filter(pa.array(mask))
                if "handle" in columns:
                    handles = (np.uint64(partition) << np.uint64(32)) | rows.astype(np.uint64)
                    table = table.append_column("handle", pa.array(handles))
                yield table, rows


@dataclass(frozen=True, slots=True)
class PartitionInput:
    """A partition, and what the rounds of a corpus stage have sent to it."""

    files: PartitionFiles | None = field(metadata=UPSTREAM)
    """None: it is missing."""
    incoming: Incoming | None = field(metadata=UPSTREAM)


@runtime_checkable
class DecidingStage(Stage, Protocol):
    """A corpus stage that decides for itself: `stages.interface.CorpusStage`."""

    def decide(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.RecordBatch: ...


@dataclass(frozen=True, slots=True)
class Selecting:
    stage: Equipped[DocumentStage | DecidingStage]
    seed: int


@dataclass(frozen=True, slots=True)
class Decided(Grouped):
    """What is left, and how many clusters have how many documents."""

    cluster_sizes: dict[int, int]


def write(output: Output, alive: np.ndarray, cluster: pa.Array) -> None:
    output.table(Role.SELECTION, pa.table([pa.array(alive), cluster.cast(ID)], schema=SELECTION))


def select(engine: Engine, corpus: Corpus, stage: DocumentStage, seed: int) -> Corpus:
    """A step that applies a document stage which edits nothing to the columns it needs."""
    documents = corpus.payloads()
    payloads = Lazy(len(documents), lambda index: PartitionInput(documents[index], None))
    shared = Selecting(equipped([stage]), seed)
    return corpus.followed_by(engine.step(stage.name, SELECT, payloads, shared, upstream=corpus.upstream))


def select_partition(task: Task[PartitionInput, Selecting]) -> Grouped:
    """Applies a document stage, or the `decide` of a corpus stage with what its rounds sent to this partition."""
    files, incoming = task.payload.files, task.payload.incoming
    if files is None:
        return Grouped({})
    shared = task.shared
    (stage,) = shared.stage.here()
    apply: Callable[[pa.RecordBatch], pa.RecordBatch]
    if isinstance(stage, DecidingStage):
        apply = partial(stage.decide, received=receive_table(task.store, incoming) if incoming else None)
    else:
        apply = stage.apply
    ledger = Ledger(task.output, task.index, shared.seed)
    alive, cluster = files.state(task.store)
    measured = Measured(stage, len(alive))
    counts = task.counts(stage.name)
    groups: dict[str, Volume] = {}
    columns = list(dict.fromkeys((*ATTRIBUTES, *excerpt_columns(task.store, files.signals), *stage.needs)))
    for table, rows in files.batches(task.store, columns, alive, task.index):
        before = table.column("text_bytes").to_numpy()
        marked = table.drop_columns(["text"]) if "text" in table.column_names else table
        result = pa.Table.from_batches([apply(as_one(table))])
        counts.tally(tallies(stage, result))
        measured.add(result, rows)
        for name in VERDICT.names:
            if name in result.column_names:
                marked = marked.append_column(result.schema.field(name), result.column(name))
        marked = marked.append_column("row", pa.array(rows))
        kept = take_out(stage.name, marked, before, counts, ledger)
        alive[rows] = False
        alive[kept.column("row").to_numpy()] = True
        count_groups(groups, kept)
    ledger.close()
    measured.write(task.output)
    write(task.output, alive, cluster)
    return Grouped(groups)


SELECT = Step(select_partition, version=2, libraries=KERNELS)


class Measured:
    """What a stage adds to a partition's documents, gathered to be written in the order of the partition's rows."""

    def __init__(self, stage: Stage, rows: int) -> None:
        self.names = [name for name in stage.adds if name not in VERDICT.names]
        self.rows = rows
        self.tables: list[pa.Table] = []
        self.places: list[np.ndarray] = []

    def add(self, result: pa.Table, rows: np.ndarray) -> None:
        if self.names:
            self.tables.append(result.select(self.names))
            self.places.append(rows)

    def write(self, output: Output) -> None:
        if not self.tables:
            return
        place = np.full(self.rows, -1, np.int64)
        at = np.concatenate(self.places)
        place[at] = np.arange(len(at))
        output.table(Role.MEASURED, pa.concat_tables(self.tables).take(pa.array(place, mask=place < 0)))


def as_one(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]


@dataclass(frozen=True, slots=True)
class Deciding:
    name: str
    clusters: bool
    """Whether the decisions change the documents' clusters."""
    seed: int


def decide(
    engine: Engine,
    corpus: Corpus,
    stage: CorpusStage,
    decisions: Sealed[Reported],
    incoming: Sequence[Incoming],
    seed: int,
) -> Corpus:
    """A step that applies what the rounds of a corpus stage decided, or has the stage decide with what they sent."""
    documents = corpus.payloads()
    payloads = Lazy(len(documents), lambda index: PartitionInput(documents[index], incoming[index]))
    upstream = [*corpus.upstream, decisions]
    step: Sealed[Grouped]
    if isinstance(stage, DecidingStage):
        step = engine.step(stage.name, SELECT, payloads, Selecting(equipped([stage]), seed), upstream=upstream)
    else:
        deciding = Deciding(stage.name, traits(stage).clusters, seed)
        step = engine.step(stage.name, DECIDE, payloads, deciding, upstream=upstream)
    return corpus.followed_by(step)


def decide_partition(task: Task[PartitionInput, Deciding]) -> Decided:
    files, incoming, shared = task.payload.files, task.payload.incoming, task.shared
    if files is None or incoming is None:
        return Decided({}, {})
    ledger = Ledger(task.output, task.index, shared.seed)
    alive, cluster = files.state(task.store)
    counts = task.counts(shared.name)
    decided = receive_table(task.store, incoming)
    leaving = np.zeros(len(alive), bool)
    quarantine = np.zeros(len(alive), bool)
    survivor = cluster
    rule = pa.nulls(len(alive), pa.string())
    sizes: dict[int, int] = {}
    if decided is not None and decided.num_rows:
        rows = (decided.column("handle").to_numpy() & np.uint64(0xFFFFFFFF)).astype(np.int64)
        order = np.argsort(rows, kind="stable")
        rows, decided = rows[order], decided.take(pa.array(order))
        leaving[rows] = ~decided.column("keep").to_numpy()
        quarantine[rows] = pc.fill_null(decided.column("quarantine"), False).to_numpy()
        mask = np.zeros(len(alive), bool)
        mask[rows] = True
        survivor = pc.replace_with_mask(cluster.cast(ID), pa.array(mask), decided.column("survivor").combine_chunks())
        if "rule" in decided.column_names:
            rule = pc.replace_with_mask(rule, pa.array(mask), decided.column("rule").combine_chunks())
        if (leaving & rule.is_null().to_numpy(zero_copy_only=False)).any():
            raise ValueError(f"{shared.name}: drops a document by no rule; fill `rule` of its decisions")
        kept = decided.filter(decided.column("keep")).column("size").to_numpy()
        values, number = np.unique(kept, return_counts=True)
        sizes = dict(zip(values.tolist(), number.tolist(), strict=True))
    groups: dict[str, Volume] = {}
    columns = list(dict.fromkeys((*ATTRIBUTES, *excerpt_columns(task.store, files.signals))))
    for table, rows in files.batches(task.store, columns, alive, task.index):
        size = table.column("text_bytes").to_numpy()
        gone = leaving[rows]
        bad = gone & quarantine[rows]
        counts.documents_in += len(rows)
        counts.bytes_in += int(size.sum())
        counts.kept += int((~gone).sum())
        counts.bytes_kept += int(size[~gone].sum())
        for action, chosen in (("dropped", gone & ~bad), ("quarantined", bad)):
            left = table.filter(pa.array(chosen))
            name = rule.take(pa.array(rows[chosen]))
            setattr(counts, action, getattr(counts, action) + left.num_rows)
            setattr(counts, f"bytes_{action}", getattr(counts, f"bytes_{action}") + int(size[chosen].sum()))
            count_rules(counts, pa.chunked_array([name]), size[chosen])
            kept_for = survivor.take(pa.array(rows[chosen]))
            ledger.add(shared.name, action, left, rule=name, bytes=left.column("text_bytes"), survivor=kept_for)
        count_groups(groups, table.filter(pa.array(~gone)))
    alive &= ~leaving
    ledger.close()
    write(task.output, alive, survivor if shared.clusters else cluster)
    return Decided(groups, sizes)


DECIDE = Step(decide_partition, version=2, libraries=KERNELS)
