"""Sending rows to an exchange: one file a task, sorted by partition (`pipeline.engine.exchange` has its format)."""

from __future__ import annotations

import io
from types import TracebackType

import numpy as np
import pyarrow as pa
import xxhash

from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.exchange import BLOCK_SEGMENTS, MAGIC
from gristmill.pipeline.engine.manifest import Role

RUN_BYTES = 16_000_000


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
        self.context = output.open(Role.EXCHANGE, ".xch")
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

    def _segment(self, partition: int, content: bytes | memoryview, rows: int) -> None:
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

    def copy(self, partition: int, content: bytes | memoryview, rows: int) -> None:
        """A segment as another sender wrote it."""
        self._segment(partition, content, rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
            self._write_index()
        self.context.__exit__(kind, error, trace)
