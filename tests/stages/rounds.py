"""Runs a corpus stage's rounds in memory, moving rows between them as `stages.interface.Round` says.

    decide(stage, documents, sizes=(3, 0, 2), exchange=4) -> table of schema DECISION

The documents are cut into partitions of the given sizes and each partition into batches of at most `batch_rows`. Every
result's schema is checked to be the same throughout its round, so an empty table must have it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gristmill.stages.document import DOCUMENT
from gristmill.stages.interface import DECISION, CorpusStage, Round

STORED = pa.schema([*DOCUMENT, pa.field("text_bytes", pa.int64(), nullable=False)])
DEFAULTS: Mapping[str, Any] = {"source": "web", "path": "a.jsonl", "record": 0, "priority": 0}


def documents(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of schema STORED from rows with `text` and any other columns; ids are numbered where not given."""
    complete = [
        {**DEFAULTS, "id": i.to_bytes(16, "big"), "text_bytes": len((row["text"] or "").encode()), **row}
        for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(complete, schema=STORED)


def decide(
    stage: CorpusStage, corpus: pa.Table, sizes: Sequence[int] | None = None, exchange: int = 3, batch_rows: int = 7
) -> pa.Table:
    """All rounds of the stage over `corpus`, in one partition unless `sizes` cuts it; what the last round decides."""
    partitions = cut(corpus, sizes if sizes is not None else [corpus.num_rows])
    received: list[pa.Table | None] | None = None
    for each in stage.rounds():
        method = getattr(stage, each.method)
        if each.over == "documents":
            sent = [
                over_documents(method, each, partition, None if received is None else received[i], batch_rows)
                for i, partition in enumerate(partitions)
            ]
        else:
            assert received is not None
            sent = [method(table) for table in received if table is not None]
        schemas = {table.schema for table in sent}
        assert len(schemas) <= 1, f"{each.method} returns tables of several schemas: {schemas}"
        received = deliver(each, sent, {"key": exchange, "one": 1, "document": len(partitions)}[each.send])
    assert received is not None
    decided = pa.concat_tables([table for table in received if table is not None] or [DECISION.empty_table()])
    assert decided.schema.equals(DECISION)
    assert len(set(decided.column("handle").to_pylist())) == decided.num_rows, "a document was decided on twice"
    return decided


def verdicts(corpus: pa.Table, decided: pa.Table, sizes: Sequence[int] | None = None) -> dict[bytes, tuple]:
    """Document id -> (keep, survivor's id, cluster size), of the documents that were decided on; ids are distinct."""
    ids = np.array(corpus.column("id").to_pylist(), object)
    starts = np.concatenate([[0], np.cumsum(sizes if sizes is not None else [corpus.num_rows])])
    out = {}
    for row in decided.to_pylist():
        place = starts[row["handle"] >> 32] + (row["handle"] & 0xFFFFFFFF)
        out[ids[place]] = (row["keep"], row["survivor"], row["size"])
    return out


def cut(corpus: pa.Table, sizes: Sequence[int]) -> list[pa.Table]:
    assert sum(sizes) == corpus.num_rows
    partitions, start = [], 0
    for index, size in enumerate(sizes):
        handle = pa.array(np.arange(size, dtype=np.uint64) + np.uint64(index << 32))
        partitions.append(corpus.slice(start, size).append_column("handle", handle))
        start += size
    return partitions


def over_documents(
    method: Callable[..., pa.Table], each: Round, partition: pa.Table, received: pa.Table | None, batch_rows: int
) -> pa.Table:
    visible = partition.select([*each.columns, "handle"]).combine_chunks()
    batches = visible.to_batches(max_chunksize=batch_rows) or [pa.RecordBatch.from_pylist([], schema=visible.schema)]
    return pa.concat_tables([method(batch, received) for batch in batches])


def deliver(each: Round, sent: Sequence[pa.Table], count: int) -> list[pa.Table | None]:
    """Rows of every sender in order, by the partition they go to and then by route; None where there are none."""
    destinations: list[list[pa.Table]] = [[] for _ in range(count)]
    for table in sent:
        if each.send == "key":
            route = table.column("route").to_numpy()
            partition = ((route >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
        elif each.send == "document":
            partition = table.column("handle").to_numpy() >> np.uint64(32)
        else:
            partition = np.zeros(table.num_rows, np.uint64)
        for index in range(count):
            rows = table.filter(pa.array(partition == index))
            if rows.num_rows:
                destinations[index].append(rows)
    return [in_order_of_routes(pa.concat_tables(tables)) if tables else None for tables in destinations]


def in_order_of_routes(table: pa.Table) -> pa.Table:
    if "route" not in table.column_names:
        return table
    table = table.take(pa.array(np.argsort(table.column("route").to_numpy(), kind="stable")))
    half = table.num_rows // 2  # two chunks, as an exchange delivers
    return pa.concat_tables([table.slice(0, half), table.slice(half)])
