"""The shuffle: every sender writes one file sorted by partition, every receiver reads its part of each.

File: for each partition that has rows, one Arrow IPC stream (zstd); then an index, four uint64 a partition (partition,
offset, length, rows); then a footer, the number of index entries and a magic. A receiver makes one ranged read per
sender. With more senders than `max_segments`, merge tasks combine groups of them first, so that no task opens more.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.commit import Output, Sealed
from pipeline.engine import Engine, Task
from pipeline.store import Store

ROLE = "exchange"
MAGIC = b"GRSTXCH1"
FOOTER_BYTES = 16
OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))


def partition_of(route: np.ndarray, partitions: int) -> np.ndarray:
    """Partition of uint64 routes: equal ranges of the 32 high bits, so that order of routes is order of partitions."""
    return ((route >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)


def send(output: Output, table: pa.Table, partition: np.ndarray) -> None:
    """Writes `table`'s rows by `partition` (non-negative integers), keeping their order within each."""
    order = np.argsort(partition, kind="stable")
    ordered = partition[order]
    table = table.take(pa.array(order)) if len(order) and np.any(order[1:] < order[:-1]) else table
    bounds = (
        np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else np.array([], int)
    )
    ends = np.append(bounds, len(ordered))[1:]
    with output.open(ROLE, ".xch") as file:
        index = []
        for first, end in zip(bounds.tolist(), ends.tolist(), strict=True):
            start = file.bytes
            buffer = io.BytesIO()
            with pa.ipc.new_stream(buffer, table.schema, options=OPTIONS) as stream:
                stream.write_table(table.slice(first, end - first).combine_chunks())
            file.write(buffer.getvalue())
            index.append((int(ordered[first]), start, file.bytes - start, end - first))
        write_index(file, index)
        file.rows = table.num_rows  # type: ignore[attr-defined]


def write_index(file: Any, index: Sequence[tuple[int, int, int, int]]) -> None:
    file.write(np.array(index, dtype="<u8").reshape(-1, 4).tobytes())
    file.write(np.array([len(index)], dtype="<u8").tobytes() + MAGIC)


def read_index(store: Store, path: str) -> np.ndarray:
    """(entries, 4) uint64: partition, offset, length, rows."""
    with store.open_input(path) as file:
        size = file.size()
        file.seek(size - FOOTER_BYTES)
        footer = file.read(FOOTER_BYTES)
        if footer[8:] != MAGIC:
            raise OSError(f"{path}: not an exchange file, or cut short; delete it and run again")
        entries = int(np.frombuffer(footer[:8], "<u8")[0])
        file.seek(size - FOOTER_BYTES - 32 * entries)
        return np.frombuffer(file.read(32 * entries), "<u8").reshape(-1, 4)


def receive(store: Store, paths: Iterable[str], first: int, end: int | None = None) -> list[tuple[int, pa.Table]]:
    """(partition, rows) of the partitions first..end-1 (default: first alone), in order of senders, then partitions."""
    end = first + 1 if end is None else end
    result: list[tuple[int, pa.Table]] = []
    for path in paths:
        index = read_index(store, path)
        index = index[(index[:, 0] >= first) & (index[:, 0] < end)]
        if not len(index):
            continue
        start = int(index[0, 1])
        with store.open_input(path) as file:
            file.seek(start)
            content = pa.py_buffer(file.read(int(index[-1, 1] + index[-1, 2]) - start))
        for partition, offset, length, _ in index.tolist():
            with pa.ipc.open_stream(content.slice(offset - start, length)) as stream:
                result.append((partition, stream.read_all()))
    return result


def receive_table(store: Store, paths: Iterable[str], partition: int) -> pa.Table | None:
    """All rows of one partition in sender order, or None where nobody sent any."""
    tables = [table for _, table in receive(store, paths, partition)]
    return pa.concat_tables(tables) if tables else None


def sent(sealed: Sealed) -> list[str]:
    """The exchange files of a step in order of its tasks."""
    return [file.path for _, manifest in sealed.done() if (file := manifest.file(ROLE)) is not None]


def merged(engine: Engine, step: Sealed, partitions: int, max_segments: int) -> list[list[str]]:
    """Paths to read for each of `partitions` receivers: at most `max_segments`, after as many merge rounds as it takes.

    A merge task reads one range of partitions of up to `max_segments` senders and writes one file, so that senders
    become fewer by that factor while a task's volume stays that of about one partition's worth of senders.
    """
    paths = sent(step)
    ranges = [(0, partitions, paths)]
    round_number = 0
    upstream = step
    while max(len(group) for _, _, group in ranges) > max_segments:
        tasks: list[tuple[int, int, list[str]]] = []
        for first, end, group in ranges:
            width = max(1, -(-(end - first) // max_segments))
            for start in range(first, end, width):
                stop = min(start + width, end)
                tasks += [(start, stop, group[i : i + max_segments]) for i in range(0, len(group), max_segments)]
        upstream = engine.step(
            f"{step.name}.merge{round_number}",
            merge,
            tasks,
            identity={"max_segments": max_segments},
            upstream=[upstream],
        )
        joined: dict[tuple[int, int], list[str]] = {}
        for index, manifest in upstream.done():
            start, stop, _ = tasks[index]
            file = manifest.file(ROLE)
            joined.setdefault((start, stop), []).extend([file.path] if file else [])
        ranges = [(start, stop, group) for (start, stop), group in joined.items()]
        round_number += 1
    result: list[list[str]] = [[] for _ in range(partitions)]
    for first, end, group in ranges:
        for partition in range(first, end):
            result[partition] = group
    return result


def merge(task: Task) -> None:
    """One merge task: copies the streams of a range of partitions, by partition, then by sender; nothing is decoded."""
    first, end, paths = task.payload
    entries: list[tuple[int, int, str, int, int, int]] = []
    for order, path in enumerate(paths):
        for partition, offset, length, rows in read_index(task.store, path).tolist():
            if first <= partition < end:
                entries.append((partition, order, path, offset, length, rows))
    entries.sort()
    with task.output.open(ROLE, ".xch") as file:
        index = []
        handles = {path: task.store.open_input(path) for path in paths}
        for partition, _, path, offset, length, rows in entries:
            handle = handles[path]
            handle.seek(offset)
            index.append((partition, file.bytes, length, rows))
            file.write(handle.read(length))
        for handle in handles.values():
            handle.close()
        write_index(file, index)
        file.rows = sum(entry[5] for entry in entries)  # type: ignore[attr-defined]
