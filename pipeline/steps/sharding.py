"""The last exchange: ids to shards, and the shard files themselves.

`scatter` sends the ids of every placed copy to its shard, and of every holdout document to a holdout shard.
`write_shard` sorts what came by a draw that is independent of the one that chose the shard, and writes Megatron's
`.bin` and `.idx` with `.docs.parquet` beside them, and datatrove's `.ds` where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.draw import draw, uniform
from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.exchange import Incoming, receive_table
from gristmill.pipeline.engine.identity import UPSTREAM
from gristmill.pipeline.engine.manifest import File, Role, Stats
from gristmill.pipeline.engine.sending import Sender, partition_of
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.blend_work import BlendWork
from gristmill.pipeline.steps.chain import KERNELS
from gristmill.pipeline.steps.tokens import batches
from gristmill.pipeline.steps.units import UNIT
from gristmill.tokenizer.shards import Layout, ShardEntry, ShardWriter

SLICE_TOKENS = 1_000_000
"""Tokens that are copied at once."""

SENT = ("id", "domain", "source", "language", "category", "bytes", "ids")


@dataclass(frozen=True, slots=True)
class ScatterInput:
    file: File = field(metadata=UPSTREAM)
    """Of tokens."""
    incoming: Incoming = field(metadata=UPSTREAM)
    """Where its documents' copies go."""


@dataclass(frozen=True, slots=True)
class ShardParts:
    """Of one shard: ranges of the draw that orders it, one after the other."""

    parts: tuple[Incoming, ...] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class ShardFile:
    name: str
    bytes: int
    xxh3_128: str


@dataclass(frozen=True, slots=True)
class Shard:
    """What a shard's manifest says of it: `tokenizer.manifest`."""

    name: str
    documents: int
    tokens: int
    tokens_by_domain: dict[str, int]
    files: tuple[ShardFile, ...]

    @classmethod
    def of(cls, entry: ShardEntry) -> Shard:
        files = tuple(ShardFile(file["name"], file["bytes"], file["xxh3_128"]) for file in entry["files"])
        return cls(entry["name"], entry["documents"], entry["tokens"], entry["tokens_by_domain"], files)

    def entry(self) -> ShardEntry:
        """Its entry in the manifest."""
        return {
            "name": self.name,
            "documents": self.documents,
            "tokens": self.tokens,
            "tokens_by_domain": self.tokens_by_domain,
            "files": [{"name": file.name, "bytes": file.bytes, "xxh3_128": file.xxh3_128} for file in self.files],
        }


@dataclass(frozen=True, slots=True)
class ShardStats(Stats):
    shard: Shard | None
    """None: nothing was sent to it."""


def scatter(task: Task[ScatterInput, BlendWork]) -> None:
    blend, file, incoming = task.shared, task.payload.file, task.payload.incoming
    placed = receive_table(task.store, incoming)
    if placed is None:
        placed = pa.table(
            {"handle": pa.array([], pa.uint64()), "epoch": pa.array([], pa.int32()), "shard": pa.array([], pa.int32())}
        )
    rows = (placed.column("handle").to_numpy() & np.uint64(0xFFFFFFFF)).astype(np.int64)
    order = np.lexsort((placed.column("epoch").to_numpy(), rows))
    rows = rows[order]
    epochs, shards = placed.column("epoch").to_numpy()[order], placed.column("shard").to_numpy()[order]
    first = 0
    counts = task.counts(f"blend/{blend.name}")
    columns = list(dict.fromkeys(("id", "cluster", *UNIT, *SENT)))
    with Sender(task.output) as sender:
        for table in batches(task.store, file, columns):
            begin, end = np.searchsorted(rows, (first, first + table.num_rows))
            local = rows[begin:end] - first
            held = np.flatnonzero(blend.holdout.of(table))
            first += table.num_rows
            account(counts, table, local, held)
            copies = (local, epochs[begin:end], shards[begin:end])
            out = (held, np.zeros(len(held), np.int32), blend.shards + holdout_shard(blend, table, held))
            lengths = pc.list_value_length(table.column("ids")).to_numpy()
            for chosen, epoch, shard in (*slices(copies, lengths), *slices(out, lengths)):
                part = table.select(SENT).take(pa.array(chosen))
                ids = part.column("id").combine_chunks()
                place = draw(blend.seed, f"place/{blend.name}", ids, epoch.astype(np.uint64))
                part = part.append_column("epoch", pa.array(epoch, pa.int32())).append_column("place", pa.array(place))
                piece = partition_of(place, blend.parts).astype(np.int64)
                sender.add(part, shard.astype(np.int64) * blend.parts + piece)


SCATTER = Step(scatter, version=2, libraries=KERNELS)


def slices(rows: tuple[np.ndarray, ...], lengths: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The rows (first array: places in a table whose documents have `lengths` tokens) in runs of `SLICE_TOKENS`."""
    tokens = lengths[rows[0]]
    group = (np.cumsum(tokens) - tokens) // SLICE_TOKENS
    bounds = [0, *(np.flatnonzero(group[1:] != group[:-1]) + 1).tolist(), len(group)]
    for first, end in pairwise(bounds if len(group) else []):
        yield tuple(each[first:end] for each in rows)


def account(counts: Counts, table: pa.Table, local: np.ndarray, held: np.ndarray) -> None:
    """Copies beyond a document's first count as split; documents in no copy and not held out as dropped."""
    size = table.column("bytes").to_numpy()
    copies = np.bincount(local, minlength=table.num_rows)
    copies[held] += 1
    extra = np.maximum(copies - 1, 0)
    unused = copies == 0
    counts.documents_in += table.num_rows
    counts.bytes_in += int(size.sum())
    counts.split += int(extra.sum())
    counts.bytes_added += int((extra * size).sum())
    counts.kept += int(copies.sum())
    counts.bytes_kept += int((copies * size).sum())
    counts.dropped += int(unused.sum())
    counts.bytes_dropped += int(size[unused].sum())
    if unused.any():
        counts.count_rule("blend.not_drawn", int(unused.sum()), int(size[unused].sum()))


def holdout_shard(blend: BlendWork, table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """(held out,) holdout shard of each, by its draw."""
    ids = table.column("id").combine_chunks().take(pa.array(rows))
    return (uniform(draw(blend.seed, "holdout shard", ids)) * max(1, blend.holdout_shards)).astype(np.int64)


def shard_name(blend: BlendWork, index: int) -> str:
    """`shard-00000`, or `holdout/holdout-00000`."""
    if index < blend.shards:
        return f"shard-{index:05d}"
    return f"holdout/holdout-{index - blend.shards:05d}"


@dataclass(frozen=True, slots=True)
class ShardWriting:
    """What the tasks that write shards share."""

    blend: BlendWork
    layout: Layout


def write_shard(task: Task[ShardParts, ShardWriting]) -> ShardStats:
    parts = task.payload.parts
    name = shard_name(task.shared.blend, task.index)
    if not any(part.entries(task.store) for part in parts):
        return ShardStats(None)
    with ExitStack() as stack:
        opened = []

        def open_file(path: str) -> BinaryIO:
            file = stack.enter_context(task.output.open(Role.SHARD, path[path.index(".") :], path))
            opened.append(file)
            return file  # type: ignore[return-value]  # it can be written to, and no more is asked of it

        writer = ShardWriter(name, open_file, task.shared.layout)
        rows = 0
        for part in parts:
            table = receive_table(task.store, part)
            if table is None:
                continue
            table = table.combine_chunks()
            order = pc.sort_indices(table, [("place", "ascending"), ("id", "ascending"), ("epoch", "ascending")])
            lengths = pc.list_value_length(table.column("ids")).to_numpy()
            for (chosen,) in slices((order.to_numpy(),), lengths):
                piece = table.take(pa.array(chosen)).combine_chunks()
                ids = piece.column("ids").combine_chunks()
                offsets = ids.offsets.to_numpy()
                values = ids.values.to_numpy()[offsets[0] : offsets[-1]]
                writer.append(values, offsets - offsets[0], piece.drop_columns(["ids", "place"]))
            rows += table.num_rows
        shard = Shard.of(writer.close())
        for file in opened:
            file.rows = rows
    return ShardStats(shard)


WRITE = Step(write_shard, version=3, libraries=KERNELS)
