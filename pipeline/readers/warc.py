"""WARC and WET (ISO 28500), plain or compressed: a stored page is a document.

    response with HTML or XHTML   content and content type, for `extract`
    response with text/plain      text
    conversion (WET)              text
    any other response            a row with quarantined_by = warc.<reason>: redirect, status, not_text, empty,
                                  not_http, undecodable, expansion
    a type that nobody knows      a row with quarantined_by = warc.unknown_type
    all other record types        no row; counted as warc.<type>: they hold no page of their own, also a revisit

The framing (a header block, Content-Length bytes, an empty line) is read here and not by FastWARC, which tests compare
with: it ends at the first broken record without an error and cannot tell a truncated one. A record whose length does
not lead to the next record or the end is broken: it is one quarantined row that reaches to the next place where a
record begins, which is looked for behind its header. `record` is the record's offset in the uncompressed stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gristmill.pipeline.readers.forward import WHITESPACE, Forward
from gristmill.pipeline.readers.http import ExpandingError, UndecodableError, parse_response
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import blocks
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.stages.extract import decode, is_html

MAX_HEADER_BYTES = 1 << 16  # longer headers are none: FastWARC's limit is the same
MAX_CONTENT_TYPE = 1000
MAX_PLACES = 1000  # at which a record is looked for behind broken ones, in a file
MAX_RESCUE_BYTES = 1 << 30  # read a second time for that
NO_PAGE = {"warcinfo", "request", "metadata", "resource", "continuation", "revisit"}
BEGINNING = b"WARC/"
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class Record(NamedTuple):
    offset: int
    headers: dict[str, str]
    """Lower-case names."""
    size: int
    """Bytes of the block as stated."""
    block: bytes | None
    """None where it is too large."""


class Gap(NamedTuple):
    """What lies between two places where records begin and is no record."""

    offset: int
    size: int
    reason: str
    head: bytes
    """Its first bytes."""


def read_warc(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    for record in records(Forward(blocks(segment)), 2 * max_document_bytes):
        if isinstance(record, Gap):
            yield quarantined(segment.path, record.offset, record.reason, record.size, record.head)
            continue
        kind = record.headers.get("warc-type", "").lower()
        if kind in NO_PAGE:
            skipped[f"warc.{kind}"] += 1
        else:
            yield _row(record, kind, segment.path, spec, max_document_bytes)


def records(stream: Forward, max_block: int) -> Iterator[Record | Gap]:
    """All records in order, and the gaps between them; a block of more than `max_block` bytes is passed over unread."""
    rescue = Rescue(stream)
    while not rescue.ended:
        stream.skip_whitespace()  # two empty lines end a record; some writers put more
        offset = stream.position
        head, headers = _headers(stream)
        size = _length(headers)
        if headers is None or size is None:
            if head or stream.damage:
                yield rescue.gap(offset, head)
            if not head:
                return
            continue
        block = stream.read(size) if size <= max_block else None
        passed = len(block) if block is not None else stream.skip(size)
        if passed == size and _at_a_beginning(stream):
            yield Record(offset, headers, size, block)
        else:
            yield rescue.gap(offset, head if block is None else head + block)


class Rescue:
    """Finds the next record behind a broken one, within limits, so that a file made of broken records takes no longer
    than a good one."""

    def __init__(self, stream: Forward) -> None:
        self.stream = stream
        self.places = MAX_PLACES
        self.bytes = MAX_RESCUE_BYTES
        self.ended = False

    def gap(self, offset: int, held: bytes) -> Gap:
        """The gap that begins at `offset`; the stream is then at the record behind it. `held` is what was read since
        `offset`, or what was read before a block was passed over."""
        stream = self.stream
        if stream.position - offset == len(held):
            self._again(held)
        while self.places > 0 and self.bytes > 0 and stream.skip_to(b"\n" + BEGINNING):
            stream.skip(1)
            tried, headers = _headers(stream)
            self._again(tried)
            if _length(headers) is not None:
                return Gap(offset, stream.position - offset, "warc.broken_record", held[:EXCERPT_BYTES])
        stream.drain()
        self.ended = True
        reason = stream.damage.reason if stream.damage else "read.truncated"
        return Gap(offset, stream.position - offset, reason, held[:EXCERPT_BYTES])

    def _again(self, data: bytes) -> None:
        self.stream.put_back(data)
        self.places -= 1
        self.bytes -= len(data)


def _length(headers: dict[str, str] | None) -> int | None:
    """Bytes of the block; None where the headers do not say."""
    stated = (headers or {}).get("content-length", "")
    return int(stated) if _LENGTH.fullmatch(stated) else None


def _at_a_beginning(stream: Forward) -> bool:
    """Whether a record or the end follows, behind empty lines or none."""
    ahead = stream.read(64)
    stream.put_back(ahead)
    ahead = ahead.lstrip(WHITESPACE)
    return BEGINNING.startswith(ahead[: len(BEGINNING)])


def _headers(stream: Forward) -> tuple[bytes, dict[str, str] | None]:
    """(the bytes read, the headers in them); None where no record begins."""
    lines = [stream.readline(MAX_HEADER_BYTES)]
    if not lines[0].startswith(BEGINNING):
        return lines[0], None
    left = MAX_HEADER_BYTES - len(lines[0])
    headers: dict[str, str] = {}
    last = None
    while left > 0:
        line = stream.readline(left)
        lines.append(line)
        left -= len(line)
        if not line.endswith(b"\n"):
            break
        if not line.strip():
            return b"".join(lines), headers
        if line[:1] in b" \t" and last:  # folded
            headers[last] += " " + line.strip().decode("utf-8", "replace")
            continue
        name, _, value = line.partition(b":")
        last = name.strip().lower().decode("latin-1")
        headers[last] = value.strip().decode("utf-8", "replace")
    return b"".join(lines), None


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
    if kind != "response":
        return refuse("warc.unknown_type")
    try:
        response = parse_response(block, max_document_bytes)
    except ExpandingError:
        return refuse("warc.expansion")
    except UndecodableError:
        return refuse("warc.undecodable")
    if response is None:
        return refuse("warc.not_http")
    if response.status // 100 == 3:
        return refuse("warc.redirect")
    if response.status != 200:
        return refuse("warc.status")
    if not response.payload.strip():
        return refuse("warc.empty")
    content_type = response.headers.get("content-type", "")[:MAX_CONTENT_TYPE]
    if is_html(content_type, response.payload):
        row.content, row.content_type = response.payload, content_type or "text/html"
        return row
    if content_type.partition(";")[0].strip().lower() == "text/plain":
        return _with_text(row, response.payload, content_type, refuse("warc.undecodable"))
    return refuse("warc.not_text")


def _with_text(row: Row, data: bytes, content_type: str, otherwise: Row) -> Row:
    text = decode(data, content_type[:MAX_CONTENT_TYPE], html=False)
    if text is None:
        return otherwise
    row.text = text
    return row
