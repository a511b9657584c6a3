"""Runs a corpus stage: its rounds one after the other, with an exchange between them, then its decisions.

A round over documents is one task a partition, over exchanged rows one task an exchange partition. The number of those
follows from the corpus's bytes and its partitions, so that a receiver's volume is that of a sender or less. The stage
sees tables; where they go and come from is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive_table
from gristmill.pipeline.engine.manifest import Reported, Sealed
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.packed import Lazy
from gristmill.pipeline.engine.sending import Sender, partition_of
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.chain import KERNELS
from gristmill.pipeline.steps.resources import Equipped, equipped
from gristmill.pipeline.steps.selection import Corpus, PartitionFiles, PartitionInput, decide
from gristmill.stages.interface import CorpusStage, Round

KEY_BYTES = 64_000_000
"""Text whose keys meet in one exchange partition; those of `near_dedup` are 400 bytes a document."""
MAX_EXTRA = 4096
"""More partitions than there are senders make segments small: where there are many, a partition each will do."""


@dataclass(frozen=True, slots=True)
class RoundWork:
    stage: Equipped[CorpusStage]
    round: Round
    partitions: int
    """Of the exchange that this round sends to."""

    def method(self) -> RoundMethod:
        """Of the stage, which has its files here."""
        (stage,) = self.stage.here()
        found: RoundMethod = getattr(stage, self.round.method)
        return found


class RoundMethod(Protocol):
    """`stages.interface.Round` says what it is called with."""

    def __call__(self, *tables: pa.Table | pa.RecordBatch | None) -> pa.Table | pa.RecordBatch: ...


def run_rounds(engine: Engine, corpus: Corpus, stage: CorpusStage, *, seed: int, max_segments: int) -> Corpus:
    """Every round of the stage as a step, then the selecting step; returns the corpus with the new selection."""
    runnable = equipped([stage])
    documents = corpus.payloads()
    count = max(1, len(documents))
    keys = key_partitions(corpus)
    previous: Sealed[None] | None = None
    received: Sequence[Incoming] = []
    for each in stage.rounds():
        partitions = {"key": keys, "one": 1, "document": count}[each.send]
        shared = RoundWork(runnable, each, partitions)
        upstream: list[Sealed[Reported]] = [*corpus.upstream, *([previous] if previous else [])]
        name = f"{stage.name}.{each.method}"
        if each.over == "documents":
            payloads = with_received(documents, received)
            previous = engine.step(name, OVER_DOCUMENTS, payloads, shared, upstream=upstream)
        else:
            previous = engine.step(name, OVER_EXCHANGE, received, shared, upstream=upstream)
        received = merged(engine, previous, partitions, max_segments)
    if previous is None:
        raise ValueError(f"stage {stage.name} has no rounds; rounds() must return at least one")
    return decide(engine, corpus, stage, previous, received, seed)


def key_partitions(corpus: Corpus) -> int:
    """As many as partitions of documents; more where those are few and large, for a receiver holds all of its rows."""
    text = sum(size.bytes for _, m in corpus.last().done() for size in m.stats.groups.values())
    return max(1, len(corpus.read.manifests), min(-(-text // KEY_BYTES), MAX_EXTRA))


def with_received(documents: Sequence[PartitionFiles | None], received: Sequence[Incoming]) -> Sequence[PartitionInput]:
    """Every partition with what was sent to it, where anything was."""
    return Lazy(len(documents), lambda index: PartitionInput(documents[index], received[index] if received else None))


def round_over_documents(task: Task[PartitionInput, RoundWork]) -> None:
    work, files, incoming = task.shared, task.payload.files, task.payload.incoming
    if files is None:
        return
    method = work.method()
    received = receive_table(task.store, incoming) if incoming is not None else None
    alive, _ = files.state(task.store)
    columns = list(dict.fromkeys((*work.round.columns, "handle")))
    with Sender(task.output) as sender:
        for table, _ in files.batches(task.store, columns, alive, task.index):
            send_on(sender, work, as_table(method(table.combine_chunks().to_batches()[0], received)))


OVER_DOCUMENTS = Step(round_over_documents, libraries=KERNELS)


def round_over_exchange(task: Task[Incoming, RoundWork]) -> None:
    work = task.shared
    method = work.method()
    table = receive_table(task.store, task.payload)
    if table is not None:
        with Sender(task.output) as sender:
            send_on(sender, work, as_table(method(table)))


OVER_EXCHANGE = Step(round_over_exchange, libraries=KERNELS)


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
