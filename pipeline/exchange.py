"""The shuffle: every sender writes one file sorted by partition, every receiver reads its part of each.

File: *segments*; then an index, five uint64 a segment (partition, offset, length, rows, xxh3_64 of its bytes) sorted by
partition, in blocks; then a directory, five uint64 a block (its first and last partition, offset, segments, xxh3_64);
then a footer: blocks, xxh3_64 of the directory, a magic. A segment is an Arrow IPC stream (zstd) of rows of one
partition. A sender holds about `RUN_BYTES` of rows; with more it writes several runs, so a partition may have several
segments in a file. A receiver reads the tail, the blocks and the segments that are its own, and checks each before it
uses it. With more senders than `max_segments`, merge tasks combine groups of them first, so that no task opens more.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from gristmill.pipeline.checked import Damaged
from gristmill.pipeline.commit import Output, Sealed
from gristmill.pipeline.engine import Engine
from gristmill.pipeline.store import Store
from gristmill.pipeline.task import Task

ROLE = "exchange"
MAGIC = b"GRSTXCH3"
FOOTER_BYTES = 24
BLOCK_SEGMENTS = 1024
TAIL_BYTES = 1 << 16
"""Read at once from the end of a file: footer and directory, and the whole index of most."""
RUN_BYTES = 16_000_000
SPAN_BYTES = 8_000_000
"""Neighbouring segments that are read together."""
READERS = 8
OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))


def partition_of(route: np.ndarray, partitions: int) -> np.ndarray:
    """Partition of uint64 routes: equal ranges of the 32 high bits, so that order of routes is order of partitions."""
    return ((route >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)


def send(output: Output, table: pa.Table, partition: np.ndarray) -> None:
    """Writes `table`'s rows by `partition` (non-negative integers), keeping their order within each."""
    with Sender(output) as sender:
        sender.add(table, partition)


class Sender:
    """The exchange file of a task; rows are added table by table and written about `RUN_BYTES` at a time."""

    def __init__(self, output: Output) -> None:
        self.context = output.open(ROLE, ".xch")
        self.held: list[tuple[pa.Table, np.ndarray]] = []
        self.size = 0
        self.index: list[tuple[int, int, int, int, int]] = []

    def __enter__(self) -> Sender:
        self.file = self.context.__enter__()
        return self

    def add(self, table: pa.Table, partition: np.ndarray) -> None:
        if table.num_rows == 0:
            return
        self.held.append((table, partition))
        self.size += table.nbytes
        if self.size >= RUN_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self.held:
            return
        table = pa.concat_tables([table for table, _ in self.held]).combine_chunks()
        partition = np.concatenate([each for _, each in self.held])
        self.held, self.size = [], 0
        order = np.argsort(partition, kind="stable")
        ordered = partition[order]
        in_order = not np.any(order[1:] < order[:-1])
        bounds = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        for first, end in zip(bounds.tolist(), np.append(bounds, len(ordered))[1:].tolist(), strict=True):
            # a piece at a time: the whole in order would be one more copy of it
            piece = table.slice(first, end - first) if in_order else table.take(pa.array(order[first:end]))
            buffer = io.BytesIO()
            with pa.ipc.new_stream(buffer, table.schema, options=OPTIONS) as stream:
                stream.write_table(piece.combine_chunks())
            self._segment(int(ordered[first]), buffer.getbuffer(), end - first)

    def _segment(self, partition: int, content: Any, rows: int) -> None:
        entry = (partition, self.file.bytes, len(content), rows, xxhash.xxh3_64_intdigest(content))
        self.file.write(content)
        self.file.rows += rows
        self.index.append(entry)

    def _write_index(self) -> None:
        index = np.array(self.index, dtype="<u8").reshape(-1, 5)
        index = index[np.argsort(index[:, 0], kind="stable")]
        directory = []
        for first in range(0, len(index), BLOCK_SEGMENTS):
            block = index[first : first + BLOCK_SEGMENTS]
            content = block.tobytes()
            ends = (int(block[0, 0]), int(block[-1, 0]))
            directory.append((*ends, self.file.bytes, len(block), xxhash.xxh3_64_intdigest(content)))
            self.file.write(content)
        content = np.array(directory, dtype="<u8").tobytes()
        self.file.write(content)
        footer = np.array([len(directory), xxhash.xxh3_64_intdigest(content)], dtype="<u8")
        self.file.write(footer.tobytes() + MAGIC)

    def copy(self, partition: int, content: Any, rows: int) -> None:
        """A segment as another sender wrote it."""
        self._segment(partition, content, rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
            self._write_index()
        self.context.__exit__(kind, error, trace)


def read_index(store: Store, path: str, first: int = 0, end: int = 1 << 63) -> np.ndarray:
    """(segments, 5) uint64 of the partitions first..end-1: partition, offset, length, rows, checksum."""
    with opened(store, path) as file:
        size = file.size()
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        tail = file.read(size - start)
        footer = tail[-FOOTER_BYTES:]
        if len(footer) < FOOTER_BYTES or footer[16:] != MAGIC:
            raise Damaged(path, "not an exchange file, or cut short")
        blocks, digest = np.frombuffer(footer[:16], "<u8").tolist()
        at = size - FOOTER_BYTES - 40 * blocks
        if at < 0:
            raise Damaged(path, "its index is not that written")
        content = part(file, tail, start, at, 40 * blocks)
        if xxhash.xxh3_64_intdigest(content) != digest:
            raise Damaged(path, "its index is not that written")
        directory = np.frombuffer(content, "<u8").reshape(-1, 5)
        mine = directory[(directory[:, 1] >= np.uint64(first)) & (directory[:, 0] < np.uint64(end))]
        if not len(mine):
            return np.empty((0, 5), np.uint64)
        begin = int(mine[0, 2])
        content = part(file, tail, start, begin, int(mine[-1, 2]) + 40 * int(mine[-1, 3]) - begin)
    for _, _, offset, entries, checksum in mine.tolist():
        if xxhash.xxh3_64_intdigest(content[offset - begin : offset - begin + 40 * entries]) != checksum:
            raise Damaged(path, "its index is not that written")
    index = np.frombuffer(content, "<u8").reshape(-1, 5)
    return index[(index[:, 0] >= np.uint64(first)) & (index[:, 0] < np.uint64(end))]


def part(file: pa.NativeFile, tail: bytes, start: int, offset: int, length: int) -> bytes:
    """Bytes of a file whose `tail` from `start` on is known already."""
    if offset >= start:
        return tail[offset - start : offset - start + length]
    file.seek(offset)
    content: bytes = file.read(length)
    return content


def read_indices(store: Store, incoming: Incoming) -> Iterator[np.ndarray]:
    """`read_index` of every file, in order; of a remote storage several at a time, as each waits for answers."""

    def read(path: str) -> np.ndarray:
        return read_index(store, path, incoming.first, incoming.end)

    if store.local or len(incoming.paths) < 2:
        yield from map(read, incoming.paths)
        return
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(read, incoming.paths)


@dataclass
class Incoming:
    """What a task receives: the partitions first..end-1 of some exchange files, in order of senders."""

    paths: Sequence[str]
    first: int
    end: int
    found: list[tuple[str, np.ndarray]] | None = field(default=None, repr=False, compare=False)
    """The entries, between the task's key and its reading."""

    def entries(self, store: Store) -> list[tuple[str, np.ndarray]]:
        """(path, index rows of these partitions) of every sender that has any."""
        if self.found is None:
            indices = zip(self.paths, read_indices(store, self), strict=True)
            self.found = [(path, index) for path, index in indices if len(index)]
        return self.found

    def digest(self, store: Store) -> str:
        """xxh3_128 over partition, rows and checksum of every segment, in order."""
        whole = xxhash.xxh3_128()
        for _, index in self.entries(store):
            whole.update(np.ascontiguousarray(index[:, [0, 3, 4]]).tobytes())
            whole.update(b"|")
        return whole.hexdigest()


def segments(store: Store, incoming: Incoming) -> Iterator[tuple[int, int, Any]]:
    """(partition, rows, content) of every segment, in order of senders, then partitions; checked."""
    entries = incoming.entries(store)
    incoming.found = None  # what a task holds is bounded by what it reads, not by what it has read
    for path, index in entries:
        with opened(store, path) as file:
            for run in neighbours(index):
                start = run[0][1]
                file.seek(start)
                span = memoryview(file.read(run[-1][1] + run[-1][2] - start))
                for partition, offset, length, rows, checksum in run:
                    content = span[offset - start : offset - start + length]
                    yield partition, rows, checked(content, path, offset, checksum)


def neighbours(index: np.ndarray) -> Iterator[list[list[int]]]:
    """Index rows in order, those together whose segments lie end to end, up to `SPAN_BYTES`: one read each."""
    run: list[list[int]] = []
    for row in index.tolist():
        if run and (row[1] != run[-1][1] + run[-1][2] or row[1] + row[2] - run[0][1] > SPAN_BYTES):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def opened(store: Store, path: str) -> pa.NativeFile:
    try:
        return store.open_input(path)
    except FileNotFoundError:
        raise Damaged(path, "missing") from None


def checked(content: Any, path: str, offset: int, checksum: int) -> Any:
    """A segment that is what was committed."""
    if xxhash.xxh3_64_intdigest(content) != checksum:
        raise Damaged(path, f"bytes from {offset:,} are not those committed")
    return content


def receive(store: Store, incoming: Incoming) -> Iterator[tuple[int, pa.Table]]:
    """(partition, rows) of every segment, in order of senders, then partitions."""
    for partition, _, content in segments(store, incoming):
        with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
            yield partition, stream.read_all()


def receive_table(store: Store, incoming: Incoming) -> pa.Table | None:
    """All rows of a single partition in sender order, or None where nobody sent any."""
    tables = [table for _, table in receive(store, incoming)]
    return pa.concat_tables(tables) if tables else None


def sent(sealed: Sealed) -> list[str]:
    """The exchange files of a step in order of its tasks."""
    return [file.path for _, manifest in sealed.done() if (file := manifest.file(ROLE)) is not None]


def merged(engine: Engine, step: Sealed, partitions: int, max_segments: int) -> list[Incoming]:
    """What each of `partitions` receivers reads: at most `max_segments` files, after as many merge rounds as it takes.

    A merge task reads one range of partitions of up to `max_segments` senders and writes one file, so that senders
    become fewer by that factor while a task's volume stays that of about one partition's worth of senders.
    """
    paths = sent(step)
    ranges = [(0, partitions, paths)]
    round_number = 0
    upstream = step
    while max(len(group) for _, _, group in ranges) > max_segments:
        tasks: list[Incoming] = []
        for first, end, group in ranges:
            width = max(1, -(-(end - first) // max_segments))
            for start in range(first, end, width):
                stop = min(start + width, end)
                parts = [group[i : i + max_segments] for i in range(0, len(group), max_segments)]
                tasks += [Incoming(part, start, stop) for part in parts]
        upstream = engine.step(
            f"{step.name}.merge{round_number}",
            merge,
            tasks,
            identity={"max_segments": max_segments},
            upstream=[upstream],
        )
        joined: dict[tuple[int, int], list[str]] = {}
        for index, manifest in upstream.done():
            file = manifest.file(ROLE)
            joined.setdefault((tasks[index].first, tasks[index].end), []).extend([file.path] if file else [])
        ranges = [(start, stop, group) for (start, stop), group in joined.items()]
        round_number += 1
    result = [Incoming([], partition, partition + 1) for partition in range(partitions)]
    for first, end, group in ranges:
        for partition in range(first, end):
            result[partition] = Incoming(group, partition, partition + 1)
    return result


def merge(task: Task) -> None:
    """One merge task: copies the segments of a range of partitions, by partition, then sender; nothing is decoded.

    What comes from a remote storage is put aside on the local disk first, a read for each sender and run.
    """
    incoming: Incoming = task.payload
    entries = []
    with ExitStack() as files, Sender(task.output) as sender:
        aside = None if task.store.local else files.enter_context(tempfile.TemporaryFile())
        for order, (path, index) in enumerate(incoming.entries(task.store)):
            file: Any = files.enter_context(opened(task.store, path))
            for run in neighbours(index):
                moved = 0
                if aside is not None:
                    moved = aside.tell() - run[0][1]
                    file.seek(run[0][1])
                    aside.write(file.read(run[-1][1] + run[-1][2] - run[0][1]))
                for row in run:
                    entries.append((row[0], order, row[1], path, row, row[1] + moved, aside or file))
            if aside is not None:
                file.close()
        entries.sort(key=lambda entry: entry[:3])
        for partition, _, _, path, (_, offset, length, rows, checksum), place, source in entries:
            source.seek(place)
            sender.copy(partition, checked(source.read(length), path, offset, checksum), rows)
