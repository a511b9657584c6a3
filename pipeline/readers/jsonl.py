"""JSON Lines, plain or compressed: a line is a document.

A range [start, end) of a plain file holds the lines that start in it, so neighbouring ranges neither lose nor repeat
a line. Lines are parsed one by one with the standard library: at 130 to 480 MB/s it was as fast as Arrow's JSON reader
on the same files, and neither guesses types nor fails a block for one line. Not UTF-8, not an object, one of more than
200 levels, no text or too long: a quarantined row. Empty lines are counted. A file whose lines are in another encoding
is decoded from that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from gristmill.pipeline.readers.folder import open_segment
from gristmill.pipeline.readers.folder_columns import add_columns, used_columns, with_constants
from gristmill.pipeline.readers.records import Record, Value, record_row
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks, plain_blocks
from gristmill.pipeline.readers.text_stream import LineEncoding, as_utf8

WHITESPACE = b" \t\r"
EMPTY = WHITESPACE + b"\n"
BOM = b"\xef\xbb\xbf"
MAX_DEPTH = 200


class Line(NamedTuple):
    offset: int
    size: int
    """With its line feed."""
    data: bytes
    """Without it; the first bytes only of a line that is too long."""
    fault: str | None
    lines: int = 1
    """Of a run of empty lines, how many."""


def read_jsonl(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    lines = _lines(segment, line_limit(max_document_bytes), segment.encoding or spec.encoding)
    beside = Beside.of(segment, spec)
    for line in lines:
        row = line_row(segment.path, line, beside, skipped)
        if row is not None:
            yield row


class Beside(NamedTuple):
    """What is the same for all lines of a file."""

    spec: SourceSpec
    columns: Mapping[str, str]
    """Ours -> theirs."""
    given: Mapping[str, str]
    """Columns that its folders give."""
    encoding: LineEncoding
    """Of lines that are no UTF-8."""

    @staticmethod
    def of(segment: Segment, spec: SourceSpec) -> Beside:
        given = used_columns(segment, spec)
        return Beside(with_constants(segment, spec), spec.columns_in_use(), given, LineEncoding(segment, spec))


def line_limit(max_document_bytes: int) -> int:
    """Bytes of the longest line that is parsed: `\\u` escapes double the bytes of most scripts that need them; what
    still fits a document is rarely longer."""
    return 2 * max_document_bytes + (1 << 20)


def line_row(path: str, line: Line, beside: Beside, skipped: Skipped) -> Row | None:
    """None for an empty line, which is counted."""
    data = line.data.removeprefix(BOM)  # at the beginning, and where another file was put behind it
    if line.fault is not None:
        return quarantined(path, line.offset, line.fault, line.size, data)
    if not data.strip(WHITESPACE):
        skipped["jsonl.empty_line"] += line.lines
        return None
    return _row(path, line, data, beside)


def _row(path: str, line: Line, data: bytes, beside: Beside) -> Row:
    encoding = None
    try:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            encoding = beside.encoding.found
            if encoding is None:
                raise
            text = data.decode(encoding)
        record = json.loads(text)
        if isinstance(record, dict) and _is_shallow(data, record):
            add_columns(record, beside.given)
            if encoding is not None and record.get("encoding") is None:
                record["encoding"] = encoding
            row = record_row(path, line.offset, record, beside.columns, beside.spec)
            return row or quarantined(path, line.offset, "read.no_text", line.size, data)
    except UnicodeDecodeError:
        return quarantined(path, line.offset, "read.invalid_utf8", line.size, data)
    except (ValueError, RecursionError):
        pass
    return quarantined(path, line.offset, "read.malformed_json", line.size, data)


def _is_shallow(data: bytes, record: Record) -> bool:
    """Whether at most `MAX_DEPTH` objects and lists stand in each other. The parser's own limit is that of the
    interpreter's stack, which differs from one process to the next."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return True
    level: list[list[Value] | Record] = [record]
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return True
    return False


def _lines(segment: Segment, limit: int, encoding: str | None) -> Iterator[Line]:
    if segment.is_whole:
        yield from split_lines(as_utf8(blocks(segment), encoding), 0, limit)
        return
    for line in split_lines(*first_whole_line(segment), limit):
        if line.offset >= segment.end:
            return
        yield line


def first_whole_line(segment: Segment) -> tuple[Iterator[bytes], int]:
    """(the file from the first line that starts in the range, its offset). A block ends where the range does."""
    chunks = plain_blocks(segment, segment.start, segment.end)
    if segment.start == 0:
        return chunks, 0
    with open_segment(segment) as file:
        file.seek(segment.start - 1)
        if file.read(1) == b"\n":
            return chunks, segment.start
    offset = segment.start
    for chunk in chunks:
        end = chunk.find(b"\n") + 1
        if end:
            return chain([chunk[end:]], chunks), offset + end
        offset += len(chunk)
    return chunks, offset


def split_lines(chunks: Iterator[bytes], offset: int, limit: int) -> Iterator[Line]:
    """Lines of a stream that begins at `offset`; at most `limit` + one chunk of bytes are held."""
    held: list[bytes] = []  # the beginning of a line whose end has not come
    size = 0  # bytes of the line so far; beyond `limit` only the first of them are held
    fault = None
    try:
        for chunk in chunks:
            start = 0
            if not size and not chunk.strip(EMPTY):  # a gigabyte of line feeds takes seconds
                start = chunk.rfind(b"\n") + 1
                if start:
                    yield Line(offset, start, b"", None, chunk.count(b"\n"))
                offset += start
            while (end := chunk.find(b"\n", start) + 1) > 0:
                size += end - start
                data = chunk[start : end - 1]
                if size > limit:
                    data = b"".join(held)[:EXCERPT_BYTES] if held else data[:EXCERPT_BYTES]
                    yield Line(offset, size, data, "read.too_large")
                else:
                    yield Line(offset, size, b"".join([*held, data]) if held else data, None)
                offset += size
                start, held, size = end, [], 0
            if start < len(chunk):
                rest = chunk[start:]
                size += len(rest)
                if size <= limit:
                    held.append(rest)
                elif len(held) != 1 or len(held[0]) > EXCERPT_BYTES:
                    held = [(held[0] if held else rest)[:EXCERPT_BYTES]]
    except BrokenStreamError as error:
        fault = error.reason
    if size > limit and fault is None:
        fault = "read.too_large"
    if size or fault:
        yield Line(offset, size, b"".join(held)[: EXCERPT_BYTES if fault else None], fault)
