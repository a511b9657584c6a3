"""The shuffle: every sender writes one file sorted by partition, every receiver reads its part of each.

File: *segments*; then an index, five uint64 a segment (partition, offset, length, rows, xxh3_64 of its bytes) sorted by
partition, in blocks; then a directory, five uint64 a block (its first and last partition, offset, segments, xxh3_64);
then a footer: blocks, xxh3_64 of the directory, a magic. A segment is an Arrow IPC stream (zstd) of rows of one
partition. A sender holds about `RUN_BYTES` of rows; with more it writes several runs, so a partition may have several
segments in a file. A receiver reads the tail, the blocks and the segments that are its own, and checks each before it
uses it. With more senders than `max_segments`, merge tasks combine groups of them first, so that no task opens more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import xxhash

from gristmill.pipeline.engine.checked import Damaged
from gristmill.storage.store import Store

MAGIC = b"GRSTXCH3"
FOOTER_BYTES = 24
BLOCK_SEGMENTS = 1024
TAIL_BYTES = 1 << 16
"""Read at once from the end of a file: footer and directory, and the whole index of most."""
SPAN_BYTES = 8_000_000
"""Neighbouring segments that are read together."""
READERS = 8

Segment = TypeVar("Segment", bytes, memoryview)


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


def segments(store: Store, incoming: Incoming) -> Iterator[tuple[int, int, memoryview]]:
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


def checked(content: Segment, path: str, offset: int, checksum: int) -> Segment:
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
