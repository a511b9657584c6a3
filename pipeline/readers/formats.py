"""Readers: from the files of a partition to record batches of documents.

`READERS` is the registry of formats. A reader is a function (segment, spec, max_document_bytes, skipped) -> rows; it
yields a row for every record, a quarantined one for a record that is broken, counts in `skipped` by reason what is no
document by nature, and lets only errors of the storage through. Time and memory follow from the bytes read, whatever
these bytes say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from gristmill.pipeline.readers.source import SourceSpec, format_of

if TYPE_CHECKING:
    import pyarrow as pa

    from gristmill.pipeline.readers.rows import Row, Skipped
    from gristmill.pipeline.readers.segments import Partition, Segment

    Reader = Callable[[Segment, SourceSpec, int, Skipped], Iterator[Row]]


READERS = {
    "jsonl": "gristmill.pipeline.readers.jsonl:read_jsonl",
    "parquet": "gristmill.pipeline.readers.parquet:read_parquet",
    "warc": "gristmill.pipeline.readers.warc:read_warc",
    "wet": "gristmill.pipeline.readers.warc:read_warc",
    "text": "gristmill.pipeline.readers.files:read_files",
    "tree": "gristmill.pipeline.readers.files:read_files",
    "machine": "gristmill.pipeline.readers.machine:read_machine",
    "mediawiki": "gristmill.pipeline.readers.mediawiki:read_mediawiki",
    "epub": "gristmill.pipeline.readers.epub:read_epub",
    "jats": "gristmill.pipeline.readers.jats:read_jats",
    "latex": "gristmill.pipeline.readers.latex:read_latex",
    "stackexchange": "gristmill.pipeline.readers.stackexchange:read_stackexchange",
    "html": "gristmill.pipeline.readers.html:read_html",
}
"""Format -> `module:function`, imported when the first file of the format is read."""


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
    if _in_columns(partition, spec):
        from gristmill.pipeline.readers.json_columns import read_columns

        parts = (read_columns(s, spec, max_document_bytes, batch_bytes, counts) for s in partition.segments)
        yield from joined(_without(chain.from_iterable(parts), removed), batch_bytes)
        return
    rows = _rows(partition, spec, max_document_bytes, counts)
    if removed:
        rows = (row for row in rows if row_id(row, spec.name) not in removed)
    yield from batches(rows, spec, max_document_bytes, batch_bytes)


def _in_columns(partition: Partition, spec: SourceSpec) -> bool:
    """Whether all of it is read as columns."""
    if any(format_of(spec, segment.path) != "jsonl" for segment in partition.segments):
        return False
    from gristmill.pipeline.readers.json_columns import can_read

    return can_read(spec)


def _without(found: Iterable[pa.RecordBatch], removed: frozenset[bytes]) -> Iterator[pa.RecordBatch]:
    """The batches without the rows of these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array(sorted(removed), pa.binary(16))
    for batch in found:
        yield batch.filter(pc.invert(pc.is_in(batch.column("id"), ids))) if removed else batch


def _rows(partition: Partition, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    for segment in partition.segments:
        yield from reader_for(format_of(spec, segment.path))(segment, spec, max_document_bytes, skipped)


def reader_for(format_name: str) -> Reader:
    module, _, function = READERS[format_name].partition(":")
    reader: Reader = getattr(import_module(module), function)
    return reader
