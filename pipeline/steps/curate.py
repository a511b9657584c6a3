"""Writes `curated/`: the one time that text is moved.

A sending task reads a partition's alive documents, runs the late editing stages and sends rows by *bucket*: a
(domain, language) group, cut into slices of about `partition_bytes` along the order of partitions. A receiving task
writes the files of some buckets. Order within a file: partition, then row.

Where a stage joins documents, a bucket of the domains that it joins is a range of hashes of what it joins by, of about
`JOIN_BYTES`, and its task joins what it receives (`pipeline.steps.joining`). Order within such a file is the stage's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.commit import KEPT_LEVEL
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive
from gristmill.pipeline.engine.identity import UPSTREAM
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.packed import Lazy
from gristmill.pipeline.engine.sending import Sender, partition_of
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.chain import KERNELS, TABLES, run_stage
from gristmill.pipeline.steps.first_pass import group_name
from gristmill.pipeline.steps.joining import joined
from gristmill.pipeline.steps.ledger import Ledger
from gristmill.pipeline.steps.published import KEYS, PUBLISHED, as_published, row_group, subset
from gristmill.pipeline.steps.record import GroupRecord
from gristmill.pipeline.steps.resources import Equipped, equipped
from gristmill.pipeline.steps.selection import Corpus, PartitionFiles
from gristmill.stages.document import CURATED, DOCUMENT, MEASURED
from gristmill.stages.interface import MERGED, DocumentStage, JoiningStage, traits
from gristmill.storage import hive
from gristmill.storage.store import Store

ROW_GROUP_BYTES = 8_000_000
JOIN_BYTES = 64_000_000
"""Of text in a bucket of files to be joined: what a task puts aside before it writes."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One file of `curated/`: a slice of a (domain, language) group."""

    group: str
    slice: int
    bytes: int

    @property
    def path(self) -> str:
        return f"{self.group}/part-{self.slice:05d}.parquet"


class Place(NamedTuple):
    """A group's bucket, or those that its rows are spread over."""

    first: int
    number: int


def buckets(corpus: Corpus, layout: Layout) -> tuple[list[Bucket], list[dict[str, Place]]]:
    """The buckets sorted by (group, slice), and for every partition: group → place.

    Where documents are joined, groups of their domains have buckets of about `join_bytes` for all partitions together.
    """
    partition_bytes, join_bytes = layout.partition_bytes, layout.join_bytes
    by_group: dict[str, list[tuple[int, int]]] = {}
    manifests = corpus.last().manifests
    for partition, manifest in enumerate(manifests):
        for group, volume in manifest.stats.groups.items() if manifest else ():
            by_group.setdefault(group, []).append((partition, volume.bytes))
    result: list[Bucket] = []
    places: list[dict[str, Place]] = [{} for _ in manifests]
    for group in sorted(by_group):
        if join_bytes is not None and is_joined(group, layout.joins):
            whole = sum(size for _, size in by_group[group])
            number = max(1, -(-whole // join_bytes))
            for partition, _ in by_group[group]:
                places[partition][group] = Place(len(result), number)
            result += [Bucket(group, i, -(-whole // number)) for i in range(number)]
            continue
        written = 0
        current = -1
        for partition, size in by_group[group]:
            if written // partition_bytes != current:
                current = written // partition_bytes
                result.append(Bucket(group, current, 0))
            places[partition][group] = Place(len(result) - 1, 1)
            last = result[-1]
            result[-1] = Bucket(group, last.slice, last.bytes + size)
            written += size
    return result, places


@dataclass(frozen=True, slots=True)
class Layout:
    """What the buckets follow from, beside the corpus."""

    partition_bytes: int
    join_bytes: int | None
    """Of a bucket of documents to be joined; None: nothing is joined."""
    joins: tuple[str, ...] = ()
    """Domains whose documents are joined."""


def is_joined(group: str, domains: Sequence[str]) -> bool:
    """Whether a group, a folder below `curated/`, is of one of the domains."""
    return hive.values(f"{group}/")["domain"] in domains


@dataclass(frozen=True, slots=True)
class SendInput:
    files: PartitionFiles | None = field(metadata=UPSTREAM)
    """None: the partition is missing."""
    places: dict[str, Place] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class Curating:
    stages: Equipped[DocumentStage]
    join: JoiningStage | None
    seed: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class BucketInput:
    bucket: Bucket
    incoming: Incoming


@dataclass(frozen=True, slots=True)
class WriteInput:
    buckets: tuple[BucketInput, ...] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class Writing:
    join: Equipped[JoiningStage]
    """The stage that joins documents; of no stages where none does."""
    seed: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class CuratedGroup:
    domain: str
    language: str
    documents: int
    bytes: int

    def __add__(self, other: CuratedGroup) -> CuratedGroup:
        return replace(self, documents=self.documents + other.documents, bytes=self.bytes + other.bytes)

    def record(self) -> GroupRecord:
        return {"domain": self.domain, "language": self.language, "documents": self.documents, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class CuratedStats(Stats):
    groups: dict[str, CuratedGroup]


def curate(
    engine: Engine,
    corpus: Corpus,
    stages: Sequence[DocumentStage],
    *,
    seed: int,
    partition_bytes: int,
    max_segments: int,
) -> Sealed[CuratedStats]:
    """Two steps; the second's files are those of `curated/`.

    stages: those that run late, in order; one that joins must be the last. ValueError where it is not.
    """
    before, join = joining(stages)
    join_bytes = min(partition_bytes, JOIN_BYTES) if join else None
    layout = Layout(partition_bytes, join_bytes, traits(join).joins if join else ())
    planned, places = buckets(corpus, layout)
    documents = corpus.payloads()
    payloads = Lazy(len(documents), lambda index: SendInput(documents[index], places[index]))
    curating = Curating(equipped(before), join, seed, layout)
    sent = engine.step("curate.send", SEND, payloads, curating, upstream=corpus.upstream)
    incoming = merged(engine, sent, max(1, len(planned)), max_segments)
    tasks: list[list[BucketInput]] = []
    room = 0
    for index, bucket in enumerate(planned):
        if not tasks or bucket.bytes > room:
            tasks.append([])
            room = partition_bytes
        tasks[-1].append(BucketInput(bucket, incoming[index]))
        room -= bucket.bytes
    writing = Writing(equipped([join] if join else []), seed, layout)
    inputs = [WriteInput(tuple(task)) for task in tasks]
    return engine.step("curate", WRITE, inputs, writing, upstream=[*corpus.upstream, sent])


def joining(stages: Sequence[DocumentStage]) -> tuple[list[DocumentStage], JoiningStage | None]:
    """The stages that run before documents are joined, and the one that joins them."""
    found = [stage for stage in stages if isinstance(stage, JoiningStage) and traits(stage).joins]
    if not found:
        return list(stages), None
    if stages[-1] is not found[0]:
        after = stages[[*stages].index(found[0]) + 1]
        name = found[0].name
        raise ValueError(f"stages.{name}: {after.name} comes after it; make {name} the last of the stages")
    return list(stages[:-1]), found[0]


def send_partition(task: Task[SendInput, Curating]) -> None:
    work, files, places = task.shared, task.payload.files, task.payload.places
    if files is None:
        return
    stages = work.stages.here()
    ledger = Ledger(task.output, task.index, work.seed)
    alive, cluster = files.state(task.store)
    columns = list(dict.fromkeys([*DOCUMENT.names, *MEASURED, *(n for stage in stages for n in stage.needs)]))
    with Sender(task.output) as sender:
        for table, rows in files.batches(task.store, columns, alive, task.index, optional=CURATED):
            own = pc.coalesce(cluster.take(pa.array(rows)), table.column("id").combine_chunks())
            table = table.append_column("cluster", own)
            for stage in stages:
                table = run_stage(stage, table, task.counts(stage.name), ledger)
            table = table.select(CURATED.names).cast(CURATED)
            sender.add(table, bucket_of(table, places, work.join))
    ledger.close()


SEND = Step(send_partition, version=3, libraries=KERNELS)


def bucket_of(table: pa.Table, places: Mapping[str, Place], join: JoiningStage | None = None) -> np.ndarray:
    """(rows,) int64: the bucket of each row's (domain, language); of what is to be joined by the hash of its group."""
    if table.num_rows == 0:
        return np.zeros(0, np.int64)
    pairs = table.select(["domain", "language"]).combine_chunks()
    key = pc.binary_join_element_wise(
        pc.fill_null(pairs.column("domain"), ""), pc.fill_null(pairs.column("language"), ""), "\0"
    )
    coded = key.combine_chunks().dictionary_encode()
    named = [group_name(*(part or None for part in name.split("\0"))) for name in coded.dictionary.to_pylist()]
    place = np.array([places[name] for name in named], np.int64)[coded.indices.to_numpy()]
    result: np.ndarray = place[:, 0]
    if (place[:, 1] > 1).any() and join is not None:
        result = result + spread(table, place[:, 1], join)
    return result


def spread(table: pa.Table, number: np.ndarray, join: JoiningStage) -> np.ndarray:
    """(rows,) int64: which of its `number` buckets each row goes to; a file that stays alone goes by its own id."""
    (batch,) = table.combine_chunks().to_batches()
    route = join.route(batch)
    own = np.frombuffer(b"".join(batch.column("id").to_pylist()), ">u8")[::2].astype(np.uint64)
    hashed = np.where(route.is_null().to_numpy(zero_copy_only=False), own, pc.fill_null(route, 0).to_numpy())
    result = np.zeros(len(own), np.int64)
    for each in np.unique(number).tolist():
        mine = number == each
        result[mine] = partition_of(hashed[mine], each).astype(np.int64)
    return result


def write_buckets(task: Task[WriteInput, Writing]) -> CuratedStats:
    """A file a bucket, in row groups of about `ROW_GROUP_BYTES` of text, wherever the segments end."""
    groups: dict[str, CuratedGroup] = {}
    join = next(iter(task.shared.join.here()), None)
    ledger = Ledger(task.output, task.index, task.shared.seed) if join else None
    if join:
        task.counts(join.name)  # before those of `curate`, whose input it makes
    counts = task.counts("curate")
    for each in task.payload.buckets:
        bucket, incoming = each.bucket, each.incoming
        if not incoming.entries(task.store):
            continue
        documents = size = 0
        domain, language = (hive.values(bucket.path)[key] for key in KEYS)
        with task.output.parquet(Role.CURATED, PUBLISHED, KEPT_LEVEL, bucket.path, statistics=True) as writer:
            received = (rows for _, rows in receive(task.store, incoming))
            if join is None or ledger is None:
                tables = regrouped(received, ROW_GROUP_BYTES)
            elif is_joined(bucket.group, task.shared.layout.joins):
                tables = joined_tables(task.counts(join.name), join, received, ledger)
            else:
                tables = passed(task.counts(join.name), regrouped(received, ROW_GROUP_BYTES))
            for table in tables:
                writer.write(as_published(table, subset(domain, language)))
                documents += table.num_rows
                size += int(text_bytes(table).sum())
        counts.documents_in += documents
        counts.kept += documents
        counts.bytes_in += size
        counts.bytes_kept += size
        more = CuratedGroup(domain or "", language or "", documents, size)
        groups[bucket.group] = groups[bucket.group] + more if bucket.group in groups else more
    if ledger is not None:
        ledger.close()
    return CuratedStats(groups)


WRITE = Step(write_buckets, version=3, libraries=TABLES)


def passed(counts: Counts, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The tables as they are, counted for a stage that has nothing to do with them."""
    for table in tables:
        size = int(text_bytes(table).sum())
        counts.documents_in += table.num_rows
        counts.kept += table.num_rows
        counts.bytes_in += size
        counts.bytes_kept += size
        yield table


def joined_tables(
    counts: Counts, join: JoiningStage, received: Iterable[pa.Table], ledger: Ledger
) -> Iterator[pa.Table]:
    """Joined documents in row groups, counted; the files that went into them are in the ledger."""
    for documents, files, number in joined(join, received, ROW_GROUP_BYTES):
        before, after = text_bytes(files), text_bytes(documents)
        counts.documents_in += files.num_rows
        counts.kept += documents.num_rows
        counts.merged += files.num_rows - documents.num_rows
        counts.bytes_in += int(before.sum())
        counts.bytes_kept += int(after.sum())
        counts.bytes_added += int(after.sum() - before.sum())
        parts = (documents.column(MERGED).to_numpy() > 1)[number]
        rows = files.filter(pa.array(parts))
        into = documents.column("id").take(pa.array(number[parts]))
        rule = pa.repeat(f"{join.name}.joined", rows.num_rows)
        ledger.add(join.name, "merged", rows, rule=rule, bytes=pa.array(before[parts]), survivor=into)
        yield documents.drop_columns([MERGED])


def text_bytes(table: pa.Table) -> np.ndarray:
    size: np.ndarray = pc.binary_length(table.column("text")).to_numpy().astype(np.int64)
    return size


def regrouped(tables: Iterable[pa.Table], group_bytes: int) -> Iterator[pa.Table]:
    """The same rows in tables of about `group_bytes` of text, cut where the running sum passes a multiple of it."""
    held: list[pa.Table] = []
    total = group = 0
    for table in tables:
        size = text_bytes(table)
        place = (total + np.cumsum(size) - size) // group_bytes
        total += int(size.sum())
        bounds = [0, *(np.flatnonzero(place[1:] != place[:-1]) + 1).tolist(), len(place)]
        for first, end in pairwise(bounds):
            if held and place[first] != group:
                yield pa.concat_tables(held).combine_chunks()
                held = []
            group = place[first]
            held.append(table.slice(first, end - first))
    if held:
        yield pa.concat_tables(held).combine_chunks()


@dataclass(frozen=True, slots=True)
class CuratedFiles:
    """What a task of `curate` wrote: about `partition_bytes` of text."""

    files: tuple[File, ...] = field(metadata=UPSTREAM)


def curated_files(curated: Sealed[CuratedStats]) -> list[CuratedFiles]:
    """The files of `curated/` in order, by the tasks that wrote them."""
    return [CuratedFiles(tuple(manifest.all(Role.CURATED))) for _, manifest in curated.done()]


def curated_rows(store: Store, files: Sequence[File], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The files one after the other, a row group at a time, as the steps know documents (`CURATED`)."""
    for file in files:
        with open_checked(store, file) as handle:
            parquet = pq.ParquetFile(handle)
            for group in range(parquet.num_row_groups):
                yield row_group(parquet, file.name, group, columns)
