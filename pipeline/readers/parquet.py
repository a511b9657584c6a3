"""Parquet: a row is a document; a segment is a range of row groups.

Batches of a few rows are decoded at once, so that a row group of a gigabyte needs no gigabyte. A string column with
invalid UTF-8 quarantines its rows alone. A file without a readable footer is one quarantined row; where a row group
does not decode, what came before it is kept and the rest of the segment is one quarantined row.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.partition import Segment
from pipeline.readers.records import record_row
from pipeline.readers.rows import Row, quarantined
from pipeline.readers.source import SourceSpec
from pipeline.storage import open_input

DECODED_BYTES = 16_000_000  # aimed at per decoded batch


def read_parquet(segment: Segment, spec: SourceSpec, max_document_bytes: int) -> Iterator[Row]:
    import pyarrow.parquet as pq

    columns = spec.columns_in_use()
    with open_input(segment.uri) as file:
        try:
            parquet = pq.ParquetFile(file)
        except (pa.ArrowException, OSError):
            yield quarantined(segment.path, 0, "read.truncated", segment.size)
            return
        metadata = parquet.metadata
        last = metadata.num_row_groups if segment.is_whole else segment.end
        groups = range(0 if segment.is_whole else segment.start, last)
        at = sum(metadata.row_group(i).num_rows for i in range(groups.start))
        for group in groups:
            rows = metadata.row_group(group).num_rows
            row_bytes = metadata.row_group(group).total_byte_size / max(1, rows)
            size = max(1, min(rows, int(DECODED_BYTES / max(1.0, row_bytes))))
            try:
                for batch in parquet.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
                    yield from _rows(batch, at, segment.path, columns, spec)
                    at += batch.num_rows
            except (pa.ArrowException, OSError):
                left = sum(metadata.row_group(i).total_byte_size for i in range(group, last))
                yield quarantined(segment.path, at, "read.truncated", left)
                return


def _rows(batch: pa.RecordBatch, at: int, path: str, columns: dict[str, str], spec: SourceSpec) -> Iterator[Row]:
    invalid = _rows_with_invalid_utf8(batch)
    good = [i for i in range(batch.num_rows) if i not in invalid]
    records = iter((batch.take(pa.array(good, pa.int64())) if invalid else batch).to_pylist())
    for i in range(batch.num_rows):
        if i in invalid:
            yield quarantined(path, at + i, "read.invalid_utf8", batch.slice(i, 1).get_total_buffer_size())
            continue
        record = next(records)
        for name, value in record.items():
            if isinstance(value, bytes) and name in (columns["text"], columns.get("id")):
                record[name] = _text_of(value)
        yield record_row(path, at + i, record, columns, spec) or quarantined(
            path, at + i, "read.no_text", batch.slice(i, 1).get_total_buffer_size()
        )


def _rows_with_invalid_utf8(batch: pa.RecordBatch) -> set[int]:
    invalid: set[int] = set()
    for field, column in zip(batch.schema, batch.columns):
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            for i in range(len(column)):
                try:
                    column.slice(i, 1).validate(full=True)
                except pa.ArrowInvalid:
                    invalid.add(i)
    return invalid


def _text_of(value: bytes) -> str | bytes:
    """Files written without a UTF-8 annotation hold their text as binary."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value
