"""Writes `curated/`: the one time that text is moved.

A sending task reads a partition's alive documents, runs the late editing stages and sends rows by *bucket*: a
(domain, language) group, cut into slices of about `partition_bytes` along the order of partitions. A receiving task
writes the files of some buckets. Order within a file: partition, then row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.chain import library_versions, run_stage
from pipeline.commit import File, Sealed
from pipeline.engine import Engine
from pipeline.exchange import Incoming, Sender, merged, receive
from pipeline.first_pass import group_name
from pipeline.ledger import Ledger
from pipeline.packed import Lazy
from pipeline.resources import Resources, localise, stage_identity, stage_resources
from pipeline.selection import Corpus, PartitionFiles
from pipeline.task import Task
from stages.document import CURATED, DOCUMENT, MEASURED
from stages.interface import DocumentStage

VERSION = 2
ROW_GROUP_BYTES = 4_000_000


@dataclass(frozen=True)
class Bucket:
    """One file of `curated/`: a slice of a (domain, language) group."""

    group: str
    slice: int
    bytes: int

    @property
    def path(self) -> str:
        return f"{self.group}/part-{self.slice:05d}.parquet"


def buckets(corpus: Corpus, partition_bytes: int) -> tuple[list[Bucket], list[dict[str, int]]]:
    """The buckets sorted by (group, slice), and for every partition: group → index of its bucket."""
    by_group: dict[str, list[tuple[int, int]]] = {}
    manifests = corpus.last().manifests
    for partition, manifest in enumerate(manifests):
        for group, (_, size) in manifest.stats["groups"].items() if manifest else ():
            by_group.setdefault(group, []).append((partition, size))
    result: list[Bucket] = []
    places: list[dict[str, int]] = [{} for _ in manifests]
    for group in sorted(by_group):
        written = 0
        current = -1
        for partition, size in by_group[group]:
            if written // partition_bytes != current:
                current = written // partition_bytes
                result.append(Bucket(group, current, 0))
            places[partition][group] = len(result) - 1
            last = result[-1]
            result[-1] = Bucket(group, last.slice, last.bytes + size)
            written += size
    return result, places


@dataclass(frozen=True)
class Curating:
    stages: tuple[DocumentStage, ...]
    resources: Resources
    seed: int


def curate(
    engine: Engine,
    corpus: Corpus,
    stages: Sequence[DocumentStage],
    *,
    seed: int,
    partition_bytes: int,
    max_segments: int,
) -> Sealed:
    """Two steps; the second's files have roles `curated/<group>/part-NNNNN.parquet`."""
    resources = stage_resources(stages)
    planned, places = buckets(corpus, partition_bytes)
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
        shared=Curating(tuple(stages), resources, seed),
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
    return engine.step("curate", write_buckets, tasks, identity=identity, upstream=[*corpus.upstream, sent])


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
            sender.add(table.select(CURATED.names).cast(CURATED), bucket_of(table, places))
    ledger.close()


def bucket_of(table: pa.Table, places: Mapping[str, int]) -> np.ndarray:
    """(rows,) int64: the bucket of each row's (domain, language)."""
    if table.num_rows == 0:
        return np.zeros(0, np.int64)
    pairs = table.select(["domain", "language"]).combine_chunks()
    key = pc.binary_join_element_wise(
        pc.fill_null(pairs.column("domain"), ""), pc.fill_null(pairs.column("language"), ""), "\0"
    )
    coded = key.combine_chunks().dictionary_encode()
    named = [group_name(*(part or None for part in name.split("\0"))) for name in coded.dictionary.to_pylist()]
    return np.array([places[name] for name in named], np.int64)[coded.indices.to_numpy()]


def write_buckets(task: Task) -> dict[str, Any]:
    """A file a bucket, in row groups of about `ROW_GROUP_BYTES` of text, wherever the segments end."""
    stats: dict[str, Any] = {}
    counts = task.counts("curate")
    bucket: Bucket
    incoming: Incoming
    for bucket, incoming in task.payload:
        if not incoming.entries(task.store):
            continue
        documents = size = 0
        with task.output.parquet(f"curated/{bucket.path}", CURATED) as writer:
            for table in regrouped((rows for _, rows in receive(task.store, incoming)), ROW_GROUP_BYTES):
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
    return {"groups": stats}


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
