"""Runs a corpus stage: its rounds one after the other, with an exchange between them, then its decisions.

A round over documents is one task a partition, over exchanged rows one task an exchange partition. The number of those
follows from the corpus's bytes and its partitions, so that a receiver's volume is that of a sender or less. The stage
sees tables; where they go and come from is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive_table
from gristmill.pipeline.engine.manifest import Sealed
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.packed import Lazy
from gristmill.pipeline.engine.sending import Sender, partition_of
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.steps.chain import library_versions
from gristmill.pipeline.steps.resources import Resources, localise, stage_identity, stage_resources
from gristmill.pipeline.steps.selection import Corpus, PartitionFiles, decide
from gristmill.stages.interface import CorpusStage, Round

KEY_BYTES = 64_000_000
"""Text whose keys meet in one exchange partition; those of `near_dedup` are 400 bytes a document."""
MAX_EXTRA = 4096
"""More partitions than there are senders make segments small: where there are many, a partition each will do."""


@dataclass(frozen=True)
class RoundWork:
    stage: CorpusStage
    resources: Resources
    round: Round
    partitions: int
    """Of the exchange that this round sends to."""


def run_rounds(engine: Engine, corpus: Corpus, stage: CorpusStage, *, seed: int, max_segments: int) -> Corpus:
    """Every round of the stage as a step, then the selecting step; returns the corpus with the new selection."""
    resources = stage_resources([stage])
    identity = {"stage": stage_identity(stage, resources), "libraries": library_versions()}
    documents = corpus.payloads()
    count = max(1, len(documents))
    keys = key_partitions(corpus)
    previous: Sealed | None = None
    received: Sequence[Incoming] = []
    for each in stage.rounds():
        partitions = {"key": keys, "one": 1, "document": count}[each.send]
        shared = RoundWork(stage, resources, each, partitions)
        payloads: Sequence[Any] = received
        function = round_over_exchange
        if each.over == "documents":
            payloads, function = with_received(documents, received), round_over_documents
        previous = engine.step(
            f"{stage.name}.{each.method}",
            function,
            payloads,
            identity={**identity, "round": each.method, "partitions": partitions},
            upstream=corpus.upstream + ([previous] if previous else []),
            shared=shared,
        )
        received = merged(engine, previous, partitions, max_segments)
    if previous is None:
        raise ValueError(f"stage {stage.name} has no rounds; rounds() must return at least one")
    return decide(engine, corpus, stage, previous, received, seed)


def key_partitions(corpus: Corpus) -> int:
    """As many as partitions of documents; more where those are few and large, for a receiver holds all of its rows."""
    text = sum(size for _, m in corpus.last().done() for _, size in m.stats["groups"].values())
    return max(1, len(corpus.read.manifests), min(-(-text // KEY_BYTES), MAX_EXTRA))


def with_received(documents: Sequence[PartitionFiles | None], received: Sequence[Incoming]) -> Sequence[Any]:
    """(files, what was sent to them or None) of every partition."""
    return Lazy(len(documents), lambda index: (documents[index], received[index] if received else None))


def round_over_documents(task: Task) -> None:
    work: RoundWork = task.shared
    files: PartitionFiles | None
    incoming: Incoming | None
    files, incoming = task.payload
    if files is None:
        return
    (stage,) = localise([work.stage], work.resources)
    method = getattr(stage, work.round.method)
    received = receive_table(task.store, incoming) if incoming is not None else None
    alive, _ = files.state(task.store)
    columns = list(dict.fromkeys((*work.round.columns, "handle")))
    with Sender(task.output) as sender:
        for table, _ in files.batches(task.store, columns, alive, task.index):
            send_on(sender, work, as_table(method(table.combine_chunks().to_batches()[0], received)))


def round_over_exchange(task: Task) -> None:
    work: RoundWork = task.shared
    (stage,) = localise([work.stage], work.resources)
    table = receive_table(task.store, task.payload)
    if table is not None:
        with Sender(task.output) as sender:
            send_on(sender, work, as_table(getattr(stage, work.round.method)(table)))


def as_table(result: pa.Table | pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([result]) if isinstance(result, pa.RecordBatch) else result


def send_on(sender: Sender, work: RoundWork, table: pa.Table) -> None:
    if table.num_rows == 0:
        return
    if work.round.send == "key":
        partition = partition_of(table.column("route").to_numpy(), work.partitions)
    elif work.round.send == "document":
        partition = table.column("handle").to_numpy() >> np.uint64(32)
    else:
        partition = np.zeros(table.num_rows, np.uint64)
    sender.add(table, partition.astype(np.int64))
