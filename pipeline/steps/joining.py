"""Files that come to one task through the exchange, joined by repository while the task holds little of them.

A bucket of what is joined holds whole groups: all files of a language of some repositories. Their text waits on the
local disk (a bucket of at most `HELD_BYTES` in memory); of every file the task holds the keys by which it is ordered,
some 200 bytes. Documents are then made a few megabytes at a time, in order, so a repository may be larger than memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from types import TracebackType

import numpy as np
import pyarrow as pa

from gristmill.stages.interface import JoiningStage

HELD_BYTES = 32_000_000


class Files:
    """Rows put aside in the order in which they come, to be taken in any order."""

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self.held_bytes = held_bytes
        self.batches: list[pa.RecordBatch] = []
        self.size = 0
        self.path: str | None = None
        self.writer: pa.RecordBatchFileWriter | None = None

    def __enter__(self) -> Files:
        return self

    def add(self, table: pa.Table) -> None:
        batches = table.combine_chunks().to_batches()
        self.size += sum(batch.nbytes for batch in batches)
        if self.writer is None and self.size > self.held_bytes:
            handle, self.path = tempfile.mkstemp(prefix="gristmill-join-", suffix=".arrow")
            os.close(handle)
            self.writer = pa.ipc.new_file(self.path, table.schema)
            batches, self.batches = [*self.batches, *batches], []
        for batch in batches:
            if self.writer is None:
                self.batches.append(batch)
            else:
                self.writer.write_batch(batch)

    def close(self) -> None:
        """All rows have come."""
        if self.writer is not None and self.path is not None:
            self.writer.close()
            reader = pa.ipc.open_file(pa.memory_map(self.path))
            self.batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self.starts = np.cumsum([0, *(batch.num_rows for batch in self.batches)])

    def take(self, rows: np.ndarray) -> pa.Table:
        """The rows of these numbers, in this order."""
        number = np.searchsorted(self.starts, rows, side="right") - 1
        by_batch = np.argsort(number, kind="stable")
        pieces = []
        for each in np.unique(number).tolist():
            mine = rows[by_batch][number[by_batch] == each] - self.starts[each]
            pieces.append(self.batches[each].take(pa.array(mine)))
        back = np.empty(len(rows), np.int64)
        back[by_batch] = np.arange(len(rows))
        return pa.Table.from_batches(pieces).take(pa.array(back)).combine_chunks()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.batches = []
        if self.path is not None:
            os.unlink(self.path)


def joined(
    stage: JoiningStage, tables: Iterable[pa.Table], group_bytes: int, held_bytes: int = HELD_BYTES
) -> Iterator[tuple[pa.Table, pa.Table, np.ndarray]]:
    """(documents, files, document of each file) in order, some `group_bytes` of text at a time.

    tables: rows of whole groups in any order. The documents have the column `merged`, a file more than 1; the files
    are the rows that they were made of, the array numbers the rows of `documents`.
    """
    keys: list[pa.RecordBatch] = []
    with Files(held_bytes) as files:
        for table in tables:
            for batch in table.combine_chunks().to_batches():
                keys.append(stage.keys(batch))
            files.add(table)
        files.close()
        if not keys:
            return
        whole = pa.Table.from_batches(keys).combine_chunks()
        order, document, ordinal = stage.arrange(whole)
        size = whole.column("bytes").to_numpy()[order]
        del keys, whole
        first_row = np.flatnonzero(np.concatenate(([True], document[1:] != document[:-1])))
        place = (np.cumsum(size) - size)[first_row] // group_bytes  # of each document: the group that it begins in
        cuts = [*np.flatnonzero(np.concatenate(([True], place[1:] != place[:-1]))).tolist(), len(first_row)]
        ends = np.append(first_row, len(order))
        for begin, end in pairwise(cuts):
            rows = slice(int(ends[begin]), int(ends[end]))
            parts = files.take(order[rows])
            numbers = document[rows] - begin
            yield stage.combine(parts, numbers, ordinal[begin:end]), parts, numbers
