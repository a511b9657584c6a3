"""Writes `curated/`: the one time that text is moved.

A sending task reads a partition's alive documents, runs the late editing stages and sends rows by *bucket*: a
(domain, language) group, cut into slices of about `partition_bytes` along the order of partitions. A receiving task
writes the files of some buckets. Order within a file: partition, then row.

Where `join_code` is configured, a bucket of code is a range of hashes of repositories, of about `JOIN_BYTES`, and its
task joins what it receives (`pipeline.steps.joining`). Order within such a file: source, repository, path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.commit import KEPT_LEVEL
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive
from gristmill.pipeline.engine.manifest import File, Sealed
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.packed import Lazy
from gristmill.pipeline.engine.sending import Sender, partition_of
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.steps.chain import library_versions, run_stage
from gristmill.pipeline.steps.first_pass import group_name
from gristmill.pipeline.steps.joining import joined
from gristmill.pipeline.steps.ledger import Ledger
from gristmill.pipeline.steps.resources import Resources, localise, stage_identity, stage_resources
from gristmill.pipeline.steps.selection import Corpus, PartitionFiles
from gristmill.stages.document import CURATED, DOCUMENT, MEASURED
from gristmill.stages.interface import DocumentStage
from gristmill.stages.join_code import MERGED, JoinCode

VERSION = 2
ROW_GROUP_BYTES = 8_000_000
JOIN_BYTES = 64_000_000
"""Of text in a bucket of files to be joined: what a task puts aside before it writes."""
CODE = "code/"


@dataclass(frozen=True)
class Bucket:
    """One file of `curated/`: a slice of a (domain, language) group."""

    group: str
    slice: int
    bytes: int

    @property
    def path(self) -> str:
        return f"{self.group}/part-{self.slice:05d}.parquet"


Place = tuple[int, int]
"""(first, number): a group's bucket, or those that its rows are spread over."""


def buckets(
    corpus: Corpus, partition_bytes: int, join_bytes: int | None = None
) -> tuple[list[Bucket], list[dict[str, Place]]]:
    """The buckets sorted by (group, slice), and for every partition: group → place.

    join_bytes: groups of code have buckets of about this size for all partitions together; None: as the others.
    """
    by_group: dict[str, list[tuple[int, int]]] = {}
    manifests = corpus.last().manifests
    for partition, manifest in enumerate(manifests):
        for group, (_, size) in manifest.stats["groups"].items() if manifest else ():
            by_group.setdefault(group, []).append((partition, size))
    result: list[Bucket] = []
    places: list[dict[str, Place]] = [{} for _ in manifests]
    for group in sorted(by_group):
        if join_bytes is not None and group.startswith(CODE):
            whole = sum(size for _, size in by_group[group])
            number = max(1, -(-whole // join_bytes))
            for partition, _ in by_group[group]:
                places[partition][group] = (len(result), number)
            result += [Bucket(group, i, -(-whole // number)) for i in range(number)]
            continue
        written = 0
        current = -1
        for partition, size in by_group[group]:
            if written // partition_bytes != current:
                current = written // partition_bytes
                result.append(Bucket(group, current, 0))
            places[partition][group] = (len(result) - 1, 1)
            last = result[-1]
            result[-1] = Bucket(group, last.slice, last.bytes + size)
            written += size
    return result, places


@dataclass(frozen=True)
class Curating:
    stages: tuple[DocumentStage, ...]
    resources: Resources
    seed: int
    join: JoinCode | None = None


def curate(
    engine: Engine,
    corpus: Corpus,
    stages: Sequence[DocumentStage],
    *,
    seed: int,
    partition_bytes: int,
    max_segments: int,
) -> Sealed:
    """Two steps; the second's files have roles `curated/<group>/part-NNNNN.parquet`.

    stages: those that run late, in order; `join_code` must be the last. ValueError where it is not.
    """
    resources = stage_resources(stages)
    before, join = joining(stages)
    planned, places = buckets(corpus, partition_bytes, min(partition_bytes, JOIN_BYTES) if join else None)
    identity = {
        "version": VERSION,
        "stages": [stage_identity(stage, resources) for stage in stages],
        "partition_bytes": partition_bytes,
        "libraries": library_versions(),
    }
    documents = corpus.payloads()
    payloads = Lazy(len(documents), lambda index: (documents[index], places[index]))
    sent = engine.step(
        "curate.send",
        send_partition,
        payloads,
        identity={**identity, "seed": seed},
        upstream=corpus.upstream,
        shared=Curating(tuple(before), resources, seed, join),
    )
    incoming = merged(engine, sent, max(1, len(planned)), max_segments)
    tasks: list[list[tuple[Bucket, Incoming]]] = []
    room = 0
    for index, bucket in enumerate(planned):
        if not tasks or bucket.bytes > room:
            tasks.append([])
            room = partition_bytes
        tasks[-1].append((bucket, incoming[index]))
        room -= bucket.bytes
    return engine.step(
        "curate",
        write_buckets,
        tasks,
        identity={**identity, "seed": seed, "join_bytes": JOIN_BYTES} if join else identity,
        upstream=[*corpus.upstream, sent],
        shared=(join, seed),
    )


def joining(stages: Sequence[DocumentStage]) -> tuple[list[DocumentStage], JoinCode | None]:
    """The stages that run before files are joined, and the one that joins them."""
    found = [stage for stage in stages if isinstance(stage, JoinCode)]
    if not found:
        return list(stages), None
    if stages[-1] is not found[0]:
        after = stages[[*stages].index(found[0]) + 1]
        raise ValueError(f"stages.join_code: {after.name} comes after it; make join_code the last of the stages")
    return list(stages[:-1]), found[0]


def send_partition(task: Task) -> None:
    work: Curating = task.shared
    files: PartitionFiles | None
    files, places = task.payload
    if files is None:
        return
    stages = localise(work.stages, work.resources)
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


def bucket_of(table: pa.Table, places: Mapping[str, Place], join: JoinCode | None = None) -> np.ndarray:
    """(rows,) int64: the bucket of each row's (domain, language); of files to be joined by the hash of the group."""
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


def spread(table: pa.Table, number: np.ndarray, join: JoinCode) -> np.ndarray:
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


def write_buckets(task: Task) -> dict[str, Any]:
    """A file a bucket, in row groups of about `ROW_GROUP_BYTES` of text, wherever the segments end."""
    stats: dict[str, Any] = {}
    join: JoinCode | None
    join, seed = task.shared
    ledger = Ledger(task.output, task.index, seed) if join else None
    if join:
        task.counts(join.name)  # before those of `curate`, whose input it makes
    counts = task.counts("curate")
    bucket: Bucket
    incoming: Incoming
    for bucket, incoming in task.payload:
        if not incoming.entries(task.store):
            continue
        documents = size = 0
        with task.output.parquet(f"curated/{bucket.path}", CURATED, KEPT_LEVEL) as writer:
            received = (rows for _, rows in receive(task.store, incoming))
            if join is None or ledger is None:
                tables = regrouped(received, ROW_GROUP_BYTES)
            elif bucket.group.startswith(CODE):
                tables = joined_tables(task, join, received, ledger)
            else:
                tables = passed(task.counts(join.name), regrouped(received, ROW_GROUP_BYTES))
            for table in tables:
                writer.write(table)
                documents += table.num_rows
                size += int(text_bytes(table).sum())
                domain, language = (table.column(name)[0].as_py() or "" for name in ("domain", "language"))
        counts.documents_in += documents
        counts.kept += documents
        counts.bytes_in += size
        counts.bytes_kept += size
        entry = stats.setdefault(bucket.group, {"domain": domain, "language": language, "documents": 0, "bytes": 0})
        entry["documents"] += documents
        entry["bytes"] += size
    if ledger is not None:
        ledger.close()
    return {"groups": stats}


def passed(counts: Counts, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The tables as they are, counted for a stage that has nothing to do with them."""
    for table in tables:
        size = int(text_bytes(table).sum())
        counts.documents_in += table.num_rows
        counts.kept += table.num_rows
        counts.bytes_in += size
        counts.bytes_kept += size
        yield table


def joined_tables(task: Task, join: JoinCode, received: Iterable[pa.Table], ledger: Ledger) -> Iterator[pa.Table]:
    """Joined documents in row groups, counted; the files that went into them are in the ledger."""
    counts = task.counts(join.name)
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


def curated_files(curated: Sealed) -> list[list[File]]:
    """The files of `curated/` in order, as the tasks wrote them: about `partition_bytes` of text each."""
    return [manifest.roles("curated/") for _, manifest in curated.done()]
