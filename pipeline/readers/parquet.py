"""Parquet: a row is a document; a segment is a range of row groups.

Batches of a few rows are decoded at once, so that a row group of a gigabyte needs no gigabyte. A string that is not
UTF-8 quarantines its row alone; what values become says `pipeline.readers.arrow_values`. A file without a readable
footer is one quarantined row; where a row group does not decode, what came before it is kept and the rest of the
segment is one quarantined row. A file that is compressed as a whole is copied to the temporary folder, decompressed,
and read from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from gristmill.pipeline.readers.arrow_values import plain_records
from gristmill.pipeline.readers.folder_columns import add_columns, used_columns, with_constants
from gristmill.pipeline.readers.records import Record, record_row
from gristmill.pipeline.readers.rows import Row, Skipped, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, open_table

if TYPE_CHECKING:
    import pyarrow.parquet as pq

DECODED_BYTES = 16_000_000  # aimed at per decoded batch
BATCH_ROWS = 256
MAX_ROWS = 1 << 48  # of a file: its rows are numbered
PREFIXED = "DELTA_BYTE_ARRAY"  # an encoding in which a value repeats the beginning of the one before


class Beside(NamedTuple):
    """What is the same for all rows of a file."""

    spec: SourceSpec
    columns: dict[str, str]
    """Ours -> theirs."""
    given: dict[str, str]
    """Columns that its folders give."""


class BrokenRowGroupError(Exception):
    """The row group does not give the rows that the footer promises."""


def read_parquet(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    import pyarrow.parquet as pq

    beside = Beside(with_constants(segment, spec), spec.columns_in_use(), used_columns(segment, spec))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_table(segment))
        except BrokenStreamError as error:
            yield quarantined(segment.path, 0, error.reason, segment.size)
            return
        watched = Watched(file)
        try:
            parquet = pq.ParquetFile(watched, buffer_size=1 << 20, pre_buffer=False)
            groups = [_rows_and_bytes(parquet.metadata, i) for i in range(parquet.metadata.num_row_groups)]
            names = parquet.schema_arrow.names
            first, last = (0, len(groups)) if segment.unit == "bytes" else (segment.start, segment.end)
            if last > len(groups) or sum(rows for rows, _ in groups) > MAX_ROWS:
                raise BrokenRowGroupError
        except Exception as error:  # a damaged footer makes the library raise errors of many kinds
            watched.raise_if_storage_failed(error)
            yield quarantined(segment.path, segment.start, "read.truncated", segment.size)
            return
        if len(set(names)) < len(names):
            yield quarantined(segment.path, segment.start, "read.columns_twice", segment.size)
            return
        at = sum(rows for rows, _ in groups[:first])
        for group in range(first, last):
            given = 0
            try:
                for row in _group_rows(parquet, watched, group, at, segment.path, beside):
                    yield row
                    given += 1
                if given < groups[group][0]:
                    raise BrokenRowGroupError
            except Exception as error:
                watched.raise_if_storage_failed(error)
                left = sum(size for _, size in groups[group:last])
                yield quarantined(segment.path, at + given, "read.truncated", min(left, segment.size))
                return
            at += given
        if not groups:
            skipped["parquet.no_rows"] += 1


class Watched:
    """A file that remembers whether reading it failed: the library says OSError both for that and for bad data."""

    def __init__(self, file: pa.NativeFile) -> None:
        self.file = file
        self.error: BaseException | None = None
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self.file.read(size) if size >= 0 else self.file.read()
        except BaseException as error:
            self.error = error
            raise
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        return int(self.file.seek(position, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def raise_if_storage_failed(self, error: Exception) -> None:
        if self.error is not None:
            raise self.error from error


def _rows_and_bytes(metadata: pq.FileMetaData, group: int) -> tuple[int, int]:
    row_group = metadata.row_group(group)
    if row_group.num_rows < 0:
        raise BrokenRowGroupError
    return row_group.num_rows, max(0, row_group.total_byte_size)


def _group_rows(
    parquet: pq.ParquetFile, file: Watched, group: int, at: int, path: str, beside: Beside
) -> Iterator[Row]:
    batch_rows = batch_rows_of(parquet, file, group)
    left = _rows_and_bytes(parquet.metadata, group)[0]
    for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=[group], use_threads=False):
        for i, record in enumerate(plain_records(batch.slice(0, left))):
            yield table_row(path, at + i, record, batch, i, beside)
        at += batch.num_rows
        left -= batch.num_rows
        if left <= 0:
            return


def batch_rows_of(parquet: pq.ParquetFile, file: Watched, group: int) -> int:
    """How many rows of a row group are decoded at once."""
    rows, size = _rows_and_bytes(parquet.metadata, group)
    row_bytes = max(size / max(1, rows), _longest_repeated(parquet.metadata.row_group(group), file), 1)
    return max(1, min(rows, BATCH_ROWS, int(DECODED_BYTES / row_bytes)))


def _longest_repeated(row_group: pq.RowGroupMetaData, file: Watched) -> int:
    """Bytes that one value may have although the file holds it once: of a dictionary, or as the beginning of others."""
    longest = 0
    for i in range(row_group.num_columns):
        column = row_group.column(i)
        if column.physical_type != "BYTE_ARRAY":
            continue
        if PREFIXED in column.encodings:
            longest = max(longest, column.total_uncompressed_size)
        if column.dictionary_page_offset:
            # a writer's dictionary is up to 1 MB of many short values
            longest = max(longest, _page_bytes(file, column.dictionary_page_offset) // 16)
    return longest


def _page_bytes(file: Watched, offset: int) -> int:
    """Uncompressed bytes of the page at `offset`: the second field of its header, Thrift compact (parquet.thrift)."""
    before = file.tell()
    file.seek(offset)
    head = file.read(16)
    file.seek(before)
    values = []
    at = 0
    for _ in range(2):
        at += 1  # the field's number and type
        value = shift = 0
        while at < len(head):
            value |= (head[at] & 127) << shift
            shift += 7
            at += 1
            if head[at - 1] < 128:
                break
        values.append(value >> 1)
    return values[1]


def table_row(path: str, at: int, record: Record | str, batch: pa.RecordBatch, i: int, beside: Beside) -> Row:
    """Of row `i` of the batch, which `plain_records` gave as `record`."""
    if isinstance(record, str):
        return quarantined(path, at, record, _row_bytes(batch, i))
    add_columns(record, beside.given)
    try:
        row = record_row(path, at, record, beside.columns, beside.spec)
    except (ValueError, RecursionError, TypeError):
        return quarantined(path, at, "read.unreadable_value", _row_bytes(batch, i))
    return row or quarantined(path, at, "read.no_text", _row_bytes(batch, i))


def _row_bytes(batch: pa.RecordBatch, i: int) -> int:
    try:
        return int(batch.slice(i, 1).nbytes)
    except (pa.ArrowException, ValueError):
        return 0
