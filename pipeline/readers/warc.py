"""WARC and WET (ISO 28500), plain or compressed: a stored page is a document.

    response with HTML or XHTML   content and content type, for `extract`
    response with text/plain      text
    conversion (WET)              text
    any other response, revisit   a row with quarantined_by = warc.<reason>: revisit, redirect, status, not_text, empty,
                                  not_http, undecodable
    all other record types        no row

The framing (a header block, Content-Length bytes, an empty line) is read here and not by FastWARC, which tests compare
with: it ends at the first broken record without an error and cannot tell a truncated one. After a broken header the
rest of the file is one quarantined row. `record` is the record's offset in the uncompressed stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.partition import Segment
from pipeline.readers.files import BlockStream
from pipeline.readers.http import UndecodableError, parse_response
from pipeline.readers.rows import Row, metadata_json, quarantined
from pipeline.readers.source import SourceSpec
from pipeline.readers.stream import blocks
from pipeline.readers.timestamps import parse_timestamp
from stages.extract import decode, is_html

MAX_HEADER_BYTES = 1 << 16  # longer headers are none: FastWARC's limit is the same
SKIPPED = {"warcinfo", "request", "metadata", "resource", "continuation"}


class Record(NamedTuple):
    offset: int
    headers: dict[str, str]
    """Lower-case names."""
    size: int
    """Bytes of the block as stated."""
    block: bytes | None
    """None where the record is skipped or too large."""


class BrokenRecordError(Exception):
    """The rest of the file cannot be framed. args: offset, bytes from there to the end."""


def read_warc(segment: Segment, spec: SourceSpec, max_document_bytes: int) -> Iterator[Row]:
    max_block = 2 * max_document_bytes
    try:
        for record in records(BlockStream(blocks(segment.uri)), max_block):
            kind = record.headers.get("warc-type", "").lower()
            if kind not in SKIPPED:
                yield _row(record, kind, segment.path, spec, max_document_bytes)
    except BrokenRecordError as error:
        offset, size = error.args
        yield quarantined(segment.path, offset, "read.truncated", size)


def records(stream: BlockStream, max_block: int) -> Iterator[Record]:
    """All records; blocks of more than `max_block` bytes and of types without documents are passed over unread."""
    while True:
        offset, headers = _headers(stream)
        if headers is None:
            if stream.broken or stream.position > offset:
                raise BrokenRecordError(offset, stream.position - offset + _drain(stream))
            return
        try:
            size = int(headers["content-length"])
            wanted = 0 <= size <= max_block and headers.get("warc-type", "").lower() not in SKIPPED
            before = stream.position
            block = stream.read(size) if wanted else None
            if not wanted:
                _skip(stream, size)
        except (KeyError, ValueError):
            raise BrokenRecordError(offset, stream.position - offset + _drain(stream)) from None
        if stream.position - before < size:
            raise BrokenRecordError(offset, stream.position - offset)
        yield Record(offset, headers, size, block)


def _headers(stream: BlockStream) -> tuple[int, dict[str, str] | None]:
    """(offset of the record, its headers); None at the end of the stream or where no record begins."""
    line = b"\n"
    offset = stream.position
    while line and not line.strip():  # two empty lines end a record; some writers put more
        offset = stream.position
        line = stream.readline(MAX_HEADER_BYTES)
    if not line.startswith(b"WARC/"):
        return offset, None
    headers: dict[str, str] = {}
    last = None
    while stream.position - offset <= MAX_HEADER_BYTES:
        line = stream.readline(MAX_HEADER_BYTES)
        if not line.endswith(b"\n"):
            return offset, None
        if not line.strip():
            return offset, headers
        if line[:1] in b" \t" and last:  # folded
            headers[last] += " " + line.strip().decode("utf-8", "replace")
            continue
        name, _, value = line.partition(b":")
        last = name.strip().lower().decode("latin-1")
        headers[last] = value.strip().decode("utf-8", "replace")
    return offset, None


def _skip(stream: BlockStream, size: int) -> None:
    while size > 0 and (part := stream.read(min(size, 1 << 20))):
        size -= len(part)


def _drain(stream: BlockStream) -> int:
    size = 0
    while part := stream.read(1 << 20):
        size += len(part)
    return size


def _row(record: Record, kind: str, path: str, spec: SourceSpec, max_document_bytes: int) -> Row:
    headers = record.headers
    url = headers.get("warc-target-uri", "").strip("<>") or None
    block = record.block

    def refuse(reason: str) -> Row:
        return quarantined(path, record.offset, reason, record.size, block, url)

    if block is None:
        return refuse("read.too_large")
    row = Row(path, record.offset, url=url, category="web", language=spec.language)
    row.timestamp = parse_timestamp(headers.get("warc-date"))
    undated = {} if row.timestamp is not None or "warc-date" not in headers else {"timestamp": headers["warc-date"]}
    truncated = {"truncated": headers["warc-truncated"]} if "warc-truncated" in headers else {}
    row.metadata = metadata_json(spec.metadata, undated, truncated)
    if kind == "conversion":
        return _with_text(row, block, headers.get("content-type", ""), refuse("warc.undecodable"))
    if kind == "revisit":
        return refuse("warc.revisit")
    try:
        response = parse_response(block, max_document_bytes)
    except UndecodableError:
        return refuse("warc.undecodable")
    if kind != "response" or response is None:
        return refuse("warc.not_http")
    if response.status // 100 == 3:
        return refuse("warc.redirect")
    if response.status != 200:
        return refuse("warc.status")
    if not response.payload.strip():
        return refuse("warc.empty")
    content_type = response.headers.get("content-type", "")
    if is_html(content_type, response.payload):
        row.content, row.content_type = response.payload, content_type or "text/html"
        return row
    if content_type.partition(";")[0].strip().lower() == "text/plain":
        return _with_text(row, response.payload, content_type, refuse("warc.undecodable"))
    return refuse("warc.not_text")


def _with_text(row: Row, data: bytes, content_type: str, otherwise: Row) -> Row:
    text = decode(data, content_type, html=False)
    if text is None:
        return otherwise
    row.text = text
    return row
