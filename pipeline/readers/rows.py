"""What a reader yields for one record, and record batches made of it.

`Row` is a record on its way into `READ`, the schema of `stages.document.RAW` and two columns more: `quarantined_by`
(null: fine) and `read_bytes`, the bytes that the row stands for in the accounting: of the text, of the raw page
where there is no text yet, of the raw record where it is quarantined. A quarantined row has no text; its `content` is
up to 1 KB of the raw record.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.values import text_or_hex
from gristmill.stages.document import ID, RAW, TIMESTAMP

READ = pa.schema([*RAW, pa.field("quarantined_by", pa.string()), pa.field("read_bytes", pa.int64(), nullable=False)])

EXCERPT_BYTES = 1024
MAX_BATCH_ROWS = 16_384  # bounds what the columns beside the text take
ROW_BYTES = 256  # what a row takes beside its text, estimated
MIN_BESIDE_BYTES = 1 << 20  # the columns beside a text may take this much however small the limit for texts

Skipped = Counter[str]
"""What gave no row because it is no document by nature (a request in a WARC, an empty line, a folder in an archive, a
picture in a source tree): reason -> how many. Such things are counted per partition and are not in the ledger."""


@dataclass(slots=True)
class Row:
    path: str
    """Below the source's root."""
    record: int
    """Byte offset in the uncompressed stream, row number, or 0: docs/architecture.md."""
    text: str | None = None
    content: bytes | None = None
    content_type: str | None = None
    own_id: str | None = None
    domain: str | None = None
    category: str | None = None
    language: str | None = None
    url: str | None = None
    timestamp: int | None = None
    """Microseconds since 1970 in UTC."""
    title: str | None = None
    license: str | None = None
    metadata: str | None = None
    quarantined_by: str | None = None
    raw_bytes: int = 0
    """Of a quarantined record."""


def quarantined(
    path: str, record: int, reason: str, raw_bytes: int, raw: bytes | None = None, url: str | None = None
) -> Row:
    excerpt = raw[:EXCERPT_BYTES] if raw else None
    return Row(path, record, content=excerpt, url=url, quarantined_by=reason, raw_bytes=raw_bytes)


class JsonOptions(TypedDict):
    """Of `json.dumps`."""

    ensure_ascii: bool
    sort_keys: bool
    separators: tuple[str, str]
    allow_nan: bool


COMPACT: JsonOptions = {"ensure_ascii": False, "sort_keys": True, "separators": (",", ":"), "allow_nan": False}
"""How metadata is written, as options of `json`."""


def merged(*parts: Mapping[str, object]) -> dict[str, object]:
    """Later parts win; what is null is left out."""
    return {key: value for part in parts for key, value in part.items() if value is not None}


def metadata_json(*parts: Mapping[str, object]) -> str | None:
    """One compact JSON object with sorted keys; later parts win; None if there is nothing to say."""
    record = merged(*parts)
    if not record:
        return None
    try:
        return json.dumps(record, default=_plain, **COMPACT)
    except ValueError:  # NaN and infinity, which JSON has not
        return json.dumps(_finite(record), default=_plain, **COMPACT)


def _plain(value: object) -> str:
    return text_or_hex(value) if isinstance(value, bytes) else str(value)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def batches(
    rows: Iterable[Row], spec: SourceSpec, max_document_bytes: int, batch_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Record batches of schema `READ` in row order, each of about `batch_bytes` of text or one row if that is
    larger."""
    held: list[Row] = []
    size = 0
    for row in rows:
        row = _within_limits(row, max_document_bytes)
        weight = ROW_BYTES + _size(row.text) + len(row.content or b"") + _beside(row)
        if held and (size + weight > batch_bytes or len(held) == MAX_BATCH_ROWS):
            yield _batch(held, spec)
            held, size = [], 0
        held.append(row)
        size += weight
    if held:
        yield _batch(held, spec)


def joined(found: Iterable[pa.RecordBatch], batch_bytes: int) -> Iterator[pa.RecordBatch]:
    """The same rows; small batches that follow each other are one, of at most `batch_bytes` and `MAX_BATCH_ROWS`."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in found:
        weight = ROW_BYTES * batch.num_rows + pc.sum(batch.column("read_bytes"), min_count=0).as_py()
        if held and (rows + batch.num_rows > MAX_BATCH_ROWS or size + weight > batch_bytes):
            yield _one(held)
            held, rows, size = [], 0, 0
        if batch.num_rows:
            held.append(batch)
            rows += batch.num_rows
            size += weight
    if held:
        yield _one(held)


def _one(held: list[pa.RecordBatch]) -> pa.RecordBatch:
    return held[0] if len(held) == 1 else pa.Table.from_batches(held).combine_chunks().to_batches()[0]


def _size(text: str | None) -> int:
    """UTF-8 bytes; for text beyond ASCII estimated at two a character, so that it need not be encoded twice."""
    return 0 if text is None else len(text) if text.isascii() else 2 * len(text)


def _beside(row: Row) -> int:
    """Bytes of what a record may hold any amount of, beside its text."""
    parts = (row.metadata, row.own_id, row.url, row.category, row.language, row.title, row.license)
    return sum(_size(part) for part in parts if part)


def _within_limits(row: Row, max_document_bytes: int) -> Row:
    if row.quarantined_by is not None:
        return row
    beside = _beside(row)
    if beside > max(max_document_bytes, MIN_BESIDE_BYTES):
        return quarantined(row.path, row.record, "read.too_large", beside)
    if row.content is not None and len(row.content) > max_document_bytes:
        return replace(_refused(row, "read.too_large", len(row.content)), content=row.content[:EXCERPT_BYTES])
    if row.text is not None and len(row.text) * 4 > max_document_bytes:
        size = len(row.text.encode("utf-8", "surrogatepass"))
        if size > max_document_bytes:
            return replace(_refused(row, "read.too_large", size), content=_excerpt(row.text))
    return row


def _excerpt(text: str) -> bytes:
    return text[:EXCERPT_BYTES].encode("utf-8", "replace")[:EXCERPT_BYTES]


def _refused(row: Row, reason: str, raw_bytes: int) -> Row:
    return replace(row, text=None, content=None, content_type=None, quarantined_by=reason, raw_bytes=raw_bytes)


def _without_surrogates(row: Row) -> Row:
    """A lone surrogate (`\\ud800` in JSON) is no character: such a text is quarantined, elsewhere it is spelled out."""
    if row.text is not None and not is_encodable(row.text):
        size = len(row.text.encode("utf-8", "surrogatepass"))
        row = replace(_refused(row, "read.invalid_utf8", size), content=_excerpt(row.text))
    names = ("path", "own_id", "language", "url", "category", "title", "license", "metadata", "content_type")
    values = {name: getattr(row, name) for name in names}
    fixed = {n: encodable(v) for n, v in values.items() if v is not None and not is_encodable(v)}
    return replace(row, **fixed) if fixed else row  # type: ignore[arg-type]


def encodable(text: str) -> str:
    """The text with each lone surrogate as `\\ud800`: different texts stay different."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_encodable(text: str) -> bool:
    """Whether the text has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def row_batch(rows: list[Row], spec: SourceSpec, max_document_bytes: int) -> pa.RecordBatch:
    """One batch of all the rows."""
    return _batch([_within_limits(row, max_document_bytes) for row in rows], spec)


def _batch(rows: list[Row], spec: SourceSpec) -> pa.RecordBatch:
    try:
        return _columns(rows, spec)
    except UnicodeEncodeError:
        return _columns([_without_surrogates(row) for row in rows], spec)


def _columns(rows: list[Row], spec: SourceSpec) -> pa.RecordBatch:
    count = len(rows)
    text = pa.array([row.text for row in rows], pa.large_string())
    content = pa.array([row.content for row in rows], pa.large_binary())
    quarantined_by = pa.array([row.quarantined_by for row in rows], pa.string())
    raw_bytes = pa.array([row.raw_bytes for row in rows], pa.int64())
    lengths = pc.fill_null(pc.coalesce(pc.binary_length(text), pc.binary_length(content)), 0).cast(pa.int64())
    columns = {
        "id": _ids(rows, spec.name),
        "text": text,
        "source": pa.repeat(pa.scalar(spec.name), count),
        "path": pa.array([row.path for row in rows], pa.string()),
        "record": pa.array([row.record for row in rows], pa.int64()),
        "own_id": pa.array([row.own_id for row in rows], pa.string()),
        "domain": pa.array([row.domain or spec.domain for row in rows], pa.string()),
        "category": pa.array([spec.category or row.category or "misc" for row in rows], pa.string()),
        "language": pa.array([row.language for row in rows], pa.string()),
        "url": pa.array([row.url for row in rows], pa.string()),
        "timestamp": pa.array([row.timestamp for row in rows], pa.int64()).cast(TIMESTAMP),
        "priority": pa.repeat(pa.scalar(spec.priority, pa.int32()), count),
        "title": pa.array([row.title for row in rows], pa.string()),
        "site": pa.nulls(count, pa.string()),
        "canonical_url": pa.nulls(count, pa.string()),
        "published": pa.nulls(count, TIMESTAMP),
        "license": pa.array([row.license for row in rows], pa.string()),
        "metadata": pa.array([row.metadata for row in rows], pa.string()),
        "content": content,
        "content_type": pa.array([row.content_type for row in rows], pa.string()),
        "quarantined_by": quarantined_by,
        "read_bytes": pc.if_else(pc.is_valid(quarantined_by), raw_bytes, lengths),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in READ.names], schema=READ)


def row_id(row: Row, source: str) -> bytes:
    """The id of one row; `_ids` gives those of many."""
    import xxhash

    own = (row.path, str(row.record)) if row.own_id is None else (row.own_id,)
    return xxhash.xxh3_128_digest(b"\0".join(part.encode("utf-8", "replace") for part in (source, *own)))


def _ids(rows: list[Row], source: str) -> pa.Array:
    from gristmill.kernels.text.hashing import document_ids

    own_ids = pa.array([row.own_id for row in rows], pa.string())
    paths = pa.array([row.path for row in rows], pa.string())
    records = pa.array([row.record for row in rows], pa.int64())
    ids = document_ids(source, own_ids, paths=paths, records=records)
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(rows), [None, pa.py_buffer(ids)])
