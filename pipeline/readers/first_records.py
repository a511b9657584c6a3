"""The first records of one input file, as they stand in it: what its values are called, and what they look like.

    found = first_records(Segment(uri, path, size, 0, size), "jsonl", SourceSpec("a", uri))
    found.records     the records: name -> value, objects in objects
    found.fields      every dotted name that a record has ("metadata.url") -> the types of its values
    found.faults      what could not be read, by the reason that a quarantined row of a run would have

Formats whose records have names of their own (`NAMED`) are opened without a mapping of columns: nothing is renamed
or left out. Of all other formats a record is what the format's reader makes of a document, under our names: text (its
beginning), url, timestamp, title, content_type, and so on. Reading ends at `count` records, `max_bytes` of
decompressed data or `seconds`, whichever comes first; a file of any size or shape costs no more than that and one
record. Documents are not changed or checked here.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from tempfile import NamedTemporaryFile

from gristmill.pipeline.readers.field_paths import object_of
from gristmill.pipeline.readers.field_paths import value_at as value_at
from gristmill.pipeline.readers.format_table import format_named
from gristmill.pipeline.readers.jsonl import BOM, WHITESPACE, Line, split_lines
from gristmill.pipeline.readers.rows import Row, Skipped
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks, head_compression, open_table
from gristmill.pipeline.readers.text_stream import text_blocks
from gristmill.pipeline.readers.values import Record, Value
from gristmill.stages.own import own_function
from gristmill.storage.uris import is_local

COUNT = 100
MAX_BYTES = 16 << 20
SECONDS = 10.0
SAMPLE_CHARACTERS = 16_384  # of a text, where the record is a document of ours
MAX_DEPTH = 6  # of objects in objects that get a dotted name

Records = Iterator["Record | str"]
"""A record, or the reason why one cannot be read."""
Names = dict[str, set[str]]
"""Dotted name -> types of its values."""


@dataclass(frozen=True)
class FirstRecords:
    records: tuple[Record, ...] = ()
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Dotted name -> types of its values: null, boolean, integer, number, string, bytes, date, list, object. In the
    order of the file. An object's own name is there too. A column that is null everywhere has {"null"}."""
    faults: Counter[str] = field(default_factory=Counter)
    """Reason, as `read.malformed_json` -> how many among those read."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What was no document by nature, by the reader's reason."""
    whole: bool = False
    """Whether these are all records of the file."""


def first_records(
    segment: Segment,
    format_name: str,
    spec: SourceSpec,
    *,
    count: int = COUNT,
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
) -> FirstRecords:
    """At most `count` records from the start of the file that `segment` names.

    spec: used for the formats that are not in `NAMED`. OSError where the storage fails; a broken file is no error.
    """
    skipped: Skipped = Counter()
    faults: Counter[str] = Counter()
    records: list[Record] = []
    names: Names = {}
    if format_name in NAMED:
        found = NAMED[format_name](segment, spec, max_bytes, names)
    else:
        found = _documents(segment, format_name, spec, max_bytes, skipped)
    end = time.monotonic() + seconds
    whole = True
    for record in found:
        if isinstance(record, str):
            faults[record] += 1
        else:
            records.append(record)
            note_fields(record, names)
        if len(records) + faults.total() >= count or time.monotonic() > end:
            whole = False
            break
    whole = whole and not faults.keys() & {STOPPED}
    del faults[STOPPED]
    fields = {name: frozenset(types or {"null"}) for name, types in names.items()}
    return FirstRecords(tuple(records), fields, faults, skipped, whole)


def note_fields(record: Mapping[str, Value], names: Names, above: str = "", depth: int = 1) -> None:
    """Adds a record's dotted names and the types of its values to `names`."""
    for key, value in record.items():
        name = f"{above}{key}"
        names.setdefault(name, set()).add(type_of(value))
        inner = object_of(value) if depth < MAX_DEPTH else None
        if inner is not None:
            note_fields(inner, names, f"{name}.", depth + 1)


def type_of(value: Value) -> str:
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return "null" if value is None else "other"


_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (bytes, "bytes"), (date, "date"),
    ((list, tuple), "list"), (dict, "object"),
)  # fmt: skip

STOPPED = "stopped"
"""Told by a function of `NAMED` that ends at its limit of bytes: no fault."""


def _jsonl(segment: Segment, spec: SourceSpec, max_bytes: int, names: Names) -> Records:
    for line in split_lines(_bounded(text_blocks(segment, spec), max_bytes), 0, max_bytes):
        data = line.data.removeprefix(BOM) if line.offset == 0 else line.data
        if not data.strip(WHITESPACE):
            continue
        yield _value(line, data, max_bytes)


def _json(segment: Segment, spec: SourceSpec, max_bytes: int, names: Names) -> Records:
    """Objects of an array, of a list in an object, or one behind the other, as `json_documents` finds them."""
    from gristmill.pipeline.readers.json_documents import Values, outline_of

    outline = outline_of(_bounded(text_blocks(segment, spec), max_bytes), spec.columns_in_use())
    inner = next(iter(outline.lists), None) if not outline.is_record else None
    for value in Values(max_bytes, inner).of(_bounded(text_blocks(segment, spec), max_bytes)):
        yield _value(value, value.data, max_bytes)


def _value(line: Line, data: bytes, max_bytes: int) -> Record | str:
    if line.offset + line.size > max_bytes:
        return STOPPED  # cut off where reading ends
    return line.fault if line.fault is not None else _json_object(data)


def _json_object(data: bytes) -> Record | str:
    try:
        record = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        return "read.invalid_utf8"
    except (ValueError, RecursionError):
        return "read.malformed_json"
    return record if isinstance(record, dict) else "read.malformed_json"


def _bounded(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """The chunks up to the first that reaches beyond `max_bytes`."""
    given = 0
    for chunk in chunks:
        yield chunk
        given += len(chunk)
        if given > max_bytes:
            return


def _parquet(segment: Segment, spec: SourceSpec, max_bytes: int, names: Names) -> Records:
    """Of each row group the first rows, a few at a time."""
    import pyarrow.parquet as pq

    from gristmill.pipeline.readers.parquet import Watched, batch_rows_of, plain_records

    with ExitStack() as stack:
        try:
            watched = Watched(stack.enter_context(open_table(segment)))
        except BrokenStreamError as error:
            yield error.reason
            return
        given = 0
        try:
            parquet = pq.ParquetFile(watched, buffer_size=1 << 20, pre_buffer=False)
            _note_schema(parquet.schema_arrow, names)
            for group in range(parquet.metadata.num_row_groups):
                rows = batch_rows_of(parquet, watched, group)
                for batch in parquet.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                    yield from plain_records(batch)
                    given += batch.nbytes
                    if given > max_bytes:
                        yield STOPPED
                        return
        except Exception as error:  # damage makes the library raise errors of many kinds
            watched.raise_if_storage_failed(error)
            yield "read.truncated"


def _arrow(segment: Segment, spec: SourceSpec, max_bytes: int, names: Names) -> Records:
    from gristmill.pipeline.readers.arrow import checked_batches
    from gristmill.pipeline.readers.parquet import BATCH_ROWS, Watched, plain_records

    try:
        with open_table(segment) as file:
            watched = Watched(file)
            given = 0
            try:
                for batch in checked_batches(watched, file.size()):
                    _note_schema(batch.schema, names)
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        part = batch.slice(start, BATCH_ROWS)
                        yield from plain_records(part)
                        given += part.nbytes
                        if given > max_bytes:
                            yield STOPPED
                            return
            except Exception as error:  # as for Parquet
                watched.raise_if_storage_failed(error)
                yield "read.truncated"
    except BrokenStreamError as error:
        yield error.reason


def _csv(segment: Segment, spec: SourceSpec, max_bytes: int, names: Names) -> Records:
    from gristmill.pipeline.readers.csv_tables import table_records

    yield from table_records(segment, spec, _bounded(text_blocks(segment, spec), max_bytes), max_bytes)


def _note_schema(schema: Iterable[object], names: Names, above: str = "") -> None:
    """Names of columns that may be null everywhere."""
    import pyarrow as pa

    for column in schema:
        assert isinstance(column, pa.Field)
        names.setdefault(f"{above}{column.name}", set())
        if pa.types.is_struct(column.type):
            fields = [column.type.field(i) for i in range(column.type.num_fields)]
            _note_schema(fields, names, f"{above}{column.name}.")


NAMED: dict[str, Callable[[Segment, SourceSpec, int, Names], Records]] = {
    "jsonl": _jsonl,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
    "csv": _csv,
}
"""Formats whose records have named values: (segment, source, limit of bytes, names to add to) -> records."""


ENTIRE = frozenset({"epub", "pdf"})
"""Formats whose files are no streams: the beginning of one is not readable by itself."""


def _documents(segment: Segment, format_name: str, spec: SourceSpec, max_bytes: int, skipped: Skipped) -> Records:
    reader = own_function(format_named(format_name).reader)
    with _beginning(segment, segment.size if format_name in ENTIRE else max_bytes) as (head, cut):
        for row in reader(head, spec, max_bytes, skipped):
            if row.quarantined_by is None:
                yield _shown(row)
            elif not (cut and row.quarantined_by == BrokenStreamError.reason):  # that is our own cut
                yield row.quarantined_by
        if cut:
            yield STOPPED


@contextmanager
def _beginning(segment: Segment, max_bytes: int) -> Iterator[tuple[Segment, bool]]:
    """(a file of at most about `max_bytes`, decompressed, whether there is more of it)."""
    if segment.size <= max_bytes and is_local(segment.uri) and head_compression(segment.uri) is None:
        yield segment, False
        return
    with NamedTemporaryFile(prefix="gristmill-") as file:
        size = 0
        damaged = False
        try:
            for chunk in _bounded(blocks(segment), max_bytes):
                size += file.write(chunk[: max_bytes + 1 - size])
        except BrokenStreamError:
            damaged = True
        file.flush()
        yield Segment(file.name, segment.path, size, 0, size), damaged or size > max_bytes


def _shown(row: Row) -> Record:
    """A document of ours as named values; what it has not is left out."""
    values: dict[str, Value] = {
        "text": row.text and row.text[:SAMPLE_CHARACTERS],
        "content": row.content and row.content[:SAMPLE_CHARACTERS],
        "content_type": row.content_type,
        "id": row.own_id,
        "url": row.url,
        "timestamp": row.timestamp,
        "language": row.language,
        "domain": row.domain,
        "category": row.category,
        "title": row.title,
        "license": row.license,
        "path": row.path,
        "metadata": json.loads(row.metadata) if row.metadata else None,
    }
    return {name: value for name, value in values.items() if value is not None}
