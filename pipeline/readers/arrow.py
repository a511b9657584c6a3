"""Arrow IPC, files and streams, as Feather and Hugging Face `datasets` write them: a row is a document.

A segment is a range of record batches. A batch is held whole and its buffers are checked before a value is read; rows
are then decoded a few at a time. A string that is not UTF-8 quarantines its row alone. Of a damaged or truncated file
the batches before the damage are kept and the rest is one quarantined row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pyarrow as pa

from gristmill.pipeline.readers.arrow_frames import BATCH, DICTIONARY, Frame, frames_of
from gristmill.pipeline.readers.arrow_values import plain_records
from gristmill.pipeline.readers.folder_columns import used_columns, with_constants
from gristmill.pipeline.readers.parquet import BATCH_ROWS, DECODED_BYTES, Beside, Watched, table_row
from gristmill.pipeline.readers.rows import Row, Skipped, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, open_table


class _DamagedError(Exception):
    """The batch is not what its metadata says."""


def read_arrow(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    beside = Beside(with_constants(segment, spec), spec.columns_in_use(), used_columns(segment, spec))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_table(segment))
        except BrokenStreamError as error:
            yield quarantined(segment.path, 0, error.reason, segment.size)
            return
        watched = Watched(file)
        size = file.size()
        found = frames_of(watched, size)
        batches = found.batches
        first, last = (0, len(batches)) if segment.unit == "bytes" else (segment.start, segment.end)
        at = sum(frame.rows for frame in batches[:first])
        done = batches[first].offset if first < len(batches) else found.end
        try:
            if last > len(batches):
                raise _DamagedError
            for frame, batch in zip(batches[first:last], _batches(watched, found.frames, first, last), strict=True):
                names = batch.schema.names
                if len(set(names)) < len(names):
                    yield quarantined(segment.path, at, "read.columns_twice", segment.size)
                    return
                _check(batch)
                yield from _rows(batch, at, segment.path, beside)
                at += frame.rows
                done = frame.offset + frame.size
        except Exception as error:  # damaged metadata makes the library raise errors of many kinds
            watched.raise_if_storage_failed(error)
            yield quarantined(segment.path, at, "read.truncated", max(0, size - done))
            return
        if not found.whole and last == len(batches):
            yield quarantined(segment.path, at, "read.truncated", max(0, size - found.end))
        elif not batches:
            skipped["arrow.no_rows"] += 1


def checked_batches(file: Watched, size: int) -> Iterator[pa.RecordBatch]:
    """All batches, one after the other, fit to be read. Errors of many kinds where the file is damaged."""
    found = frames_of(file, size)
    for batch in _batches(file, found.frames, 0, len(found.batches)):
        _check(batch)
        yield batch
    if not found.whole:
        raise _DamagedError


def _batches(file: Watched, frames: tuple[Frame, ...], first: int, last: int) -> Iterator[pa.RecordBatch]:
    """Those of the given numbers, one after the other."""
    if all(frame.kind != BATCH for frame in frames):
        return
    wanted = [frame for frame in frames if frame.kind == BATCH][first:last]
    if any(frame.kind == DICTIONARY for frame in frames):  # the library must see what comes before
        file.seek(frames[0].offset)
        stream = pa.ipc.open_stream(pa.PythonFile(file, mode="r"))
        for number, batch in enumerate(stream):
            if number >= last:
                return
            if number >= first:
                yield batch
        return
    schema = pa.ipc.read_schema(pa.BufferReader(_bytes(file, frames[0])))
    for frame in wanted:
        yield pa.ipc.read_record_batch(pa.BufferReader(_bytes(file, frame)), schema)


def _bytes(file: Watched, frame: Frame) -> bytes:
    file.seek(frame.offset)
    data = file.read(frame.size)
    if len(data) < frame.size:
        raise _DamagedError
    return data


def _check(batch: pa.RecordBatch) -> None:
    """_DamagedError where a value could lead out of its buffers; strings that are no UTF-8 are left to their rows."""
    for column in batch.columns:
        try:
            column.validate(full=True)
        except pa.ArrowException as error:
            binary = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(column.type)
            if binary is None:
                raise _DamagedError from error
            column.view(binary).validate(full=True)


def _rows(batch: pa.RecordBatch, at: int, path: str, beside: Beside) -> Iterator[Row]:
    row_bytes = max(1, batch.nbytes // max(1, batch.num_rows))
    step = max(1, min(BATCH_ROWS, DECODED_BYTES // row_bytes))
    for start in range(0, batch.num_rows, step):
        part = batch.slice(start, step)
        for i, record in enumerate(plain_records(part)):
            yield table_row(path, at + start + i, record, part, i, beside)
