"""Readers: from the files of a partition to record batches of documents.

`pipeline.readers.format_table` has the formats. A reader is a function (segment, spec, max_document_bytes, skipped) ->
rows. It yields a row for every record, a quarantined one for a record that is broken, counts in `skipped` by reason
what is no document by nature, and lets only errors of the storage through. Time and memory follow from the bytes read,
whatever these bytes say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING

from gristmill.pipeline.readers.format_table import format_named
from gristmill.pipeline.readers.source import SourceSpec, format_of
from gristmill.stages.own import own_function

if TYPE_CHECKING:
    import pyarrow as pa

    from gristmill.pipeline.readers.rows import Row, Skipped
    from gristmill.pipeline.readers.segments import Partition, Segment

    Reader = Callable[[Segment, SourceSpec, int, Skipped], Iterator[Row]]


def read(
    partition: Partition,
    spec: SourceSpec,
    *,
    max_document_bytes: int = 64_000_000,
    batch_bytes: int = 16_000_000,
    removed: frozenset[bytes] = frozenset(),
    skipped: Skipped | None = None,
) -> Iterator[pa.RecordBatch]:
    """Record batches of schema `pipeline.readers.rows.READ`, in the order of the partition's segments and their
    records.

    A batch has about `batch_bytes` of text, or one row where that is larger, or 16,384 rows. A document of more than
    `max_document_bytes` is quarantined as read.too_large. Documents with an id in `removed` are passed over. To
    `skipped` is added, by reason, how many things in the files were no documents. OSError where the storage fails,
    FileNotFoundError included.
    """
    from gristmill.pipeline.readers.rows import batches, joined, row_id

    counts: Skipped = Counter() if skipped is None else skipped
    if spec.domain is None and all(format_named(name).prose for name in _formats(partition, spec)):
        spec = replace(spec, domain="prose")
    columns = _columns(partition, spec)
    if columns is not None:
        parts = (columns.read_columns(s, spec, max_document_bytes, batch_bytes, counts) for s in partition.segments)
        yield from joined(_without(chain.from_iterable(parts), removed), batch_bytes)
        return
    rows = _rows(partition, spec, max_document_bytes, counts)
    if removed:
        rows = (row for row in rows if row_id(row, spec.name) not in removed)
    yield from batches(rows, spec, max_document_bytes, batch_bytes)


def _formats(partition: Partition, spec: SourceSpec) -> set[str]:
    return {segment.format or format_of(spec, segment.path) for segment in partition.segments}


def _columns(partition: Partition, spec: SourceSpec) -> ModuleType | None:
    """The module that reads all of the partition as columns, if there is one."""
    modules = {format_named(name).columns for name in _formats(partition, spec)}
    name = modules.pop() if len(modules) == 1 else None
    module = import_module(name) if name is not None else None
    return module if module is not None and module.can_read(spec) else None


def _without(found: Iterable[pa.RecordBatch], removed: frozenset[bytes]) -> Iterator[pa.RecordBatch]:
    """The batches without the rows of these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array(sorted(removed), pa.binary(16))
    for batch in found:
        yield batch.filter(pc.invert(pc.is_in(batch.column("id"), ids))) if removed else batch


def _rows(partition: Partition, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    for segment in partition.segments:
        yield from reader_for(segment.format or format_of(spec, segment.path))(
            segment, spec, max_document_bytes, skipped
        )


def reader_for(format_name: str) -> Reader:
    reader: Reader = own_function(format_named(format_name).reader)
    return reader
