"""Which document of a cluster stays: the one ordering that exact and near de-duplication share.

    oldest    earliest timestamp, then lower `priority`, then most UTF-8 bytes, then smallest id (the default:
              keeping the oldest trained the best model in Data, Data Everywhere, Parmar et al. 2024)
    newest    latest timestamp, then the same
    longest   most UTF-8 bytes, then earliest timestamp, lower priority, smallest id

Of exact copies the one with the fewest characters that normalisation removes comes before the one with most bytes, for
more bytes are stray spaces there; `longest` still means the most bytes.

A document without a date loses against one with a date. The order is total (the handle ends it), so the survivor
depends on the members alone, not on how they arrived. Clusters are given; they are not found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.document import ID, TIMESTAMP
from gristmill.stages.interface import DECISION

Keep = Literal["oldest", "newest", "longest"]

COLUMNS = ("id", "timestamp", "priority", "text_bytes")
"""Columns of documents that the ordering reads; `text_bytes` comes from the engine."""

CANDIDATE = pa.schema(
    [
        pa.field("handle", pa.uint64(), nullable=False),
        pa.field("id", ID, nullable=False),
        pa.field("timestamp", TIMESTAMP),
        pa.field("priority", pa.int32(), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),
    ]
)
"""What a row must carry to be ranked."""

_UNDATED = np.iinfo(np.int64).max


def require_keep(stage: str, keep: str) -> None:
    if keep not in get_args(Keep):
        raise ValueError(f"{stage}.keep is {keep!r}: use one of {', '.join(get_args(Keep))}")


def candidates(batch: pa.RecordBatch | pa.Table, rows: np.ndarray | None = None) -> list[pa.Array | pa.ChunkedArray]:
    """The columns of `CANDIDATE` from a batch of documents, of the rows (k,) integers or of all."""
    columns = [batch.column(field.name).cast(field.type) for field in CANDIDATE]
    return columns if rows is None else [column.take(pa.array(rows)) for column in columns]


def ranking(table: pa.Table, keep: Keep, stray: np.ndarray | None = None) -> list[np.ndarray]:
    """Sort keys, most significant first, of a table with the columns of `CANDIDATE`; smaller stays.

    stray: (n,) integers, of exact copies the characters that normalisation removes from each.
    """
    timestamp = table.column("timestamp").cast(pa.int64())
    age = pc.fill_null(timestamp, _UNDATED).to_numpy()
    if keep == "newest":
        age = np.where(age == _UNDATED, _UNDATED, -age)
    priority, length = table.column("priority").to_numpy(), -table.column("text_bytes").to_numpy()
    cleanest = () if stray is None else (stray,)
    first = (length, age, priority) if keep == "longest" else (age, priority, *cleanest, length)
    return [*first, *id_order(table.column("id")), table.column("handle").to_numpy()]


def id_order(ids: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Two uint64 arrays that sort as the 16 bytes of each id do."""
    from gristmill.kernels.text.draw import id_words

    words = id_words(ids).byteswap()
    return words[:, 0], words[:, 1]


def decisions(
    table: pa.Table, cluster: Sequence[np.ndarray], rank: Sequence[np.ndarray], rule: str, quarantine: bool = False
) -> pa.Table:
    """A table of schema `DECISION`: a row for every member of the clusters of two or more.

    table: columns `handle` and `id`, n rows. cluster: arrays (n,); rows equal in all are one cluster.
    rank: arrays (n,), most significant first; the row that sorts first stays.
    rule: `stage.reason` by which the others leave. quarantine: as bad input, not as duplicates.
    """
    from gristmill.kernels.text.draw import id_array, id_words

    order = np.lexsort((*reversed(rank), *reversed(cluster)))
    first = np.ones(len(order), bool)
    if len(order):
        first[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in cluster])
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(order)))
    of_cluster = np.repeat(np.arange(len(starts)), sizes)
    members = np.flatnonzero(sizes[of_cluster] > 1)
    survivors = order[starts[of_cluster[members]]]
    return pa.Table.from_arrays(
        [
            pa.array(table.column("handle").to_numpy()[order[members]]),
            pa.array(first[members]),
            id_array(id_words(table.column("id"))[survivors]),
            pa.array(sizes[of_cluster[members]], pa.int64()),
            pa.array(np.full(len(members), quarantine)),
            pa.array([rule]).take(pa.array(np.zeros(len(members), np.int64), mask=first[members])),
        ],
        schema=DECISION,
    )
