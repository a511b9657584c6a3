"""Tables of separated values (CSV, TSV): a row below the header is a document, every value is text.

RFC 4180 as spreadsheets and pandas write it: quoted values may hold separators, doubled quotes and line breaks. The
separator is told from the first lines (`pipeline.readers.csv_shape`). A row with more or fewer values than the header
is quarantined, as is one whose quotes do not fit: of that the line where it begins, and reading goes on behind it.
Empty values are none; numbers keep their zeros. `record` is the number of the line on which the row begins, the header
being line 1. At most one row of `jsonl.line_limit` and a block are held.
"""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from gristmill.pipeline.readers.csv_shape import separator_of
from gristmill.pipeline.readers.folder_columns import add_columns
from gristmill.pipeline.readers.jsonl import BOM, Beside, Line, line_limit, split_lines
from gristmill.pipeline.readers.records import Record, record_row
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.text_stream import text_blocks

HEAD_BYTES = 1 << 16  # of lines that tell the separator
MAX_COLUMNS = 1 << 14


class _TooLongError(Exception):
    """The row that is being read has more bytes than a row may have."""


class _BrokenError(Exception):
    """The stream ends in damage. args: the line, its number."""


def read_csv(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, (1 << 31) - 1))  # the limit is `_Lines`'
    beside = Beside.of(segment, spec)
    limit = line_limit(max_document_bytes)
    lines = _Lines(split_lines(_with_feeds(text_blocks(segment, spec)), 0, limit), limit, beside)
    rows = _rows(lines, separator_of(lines.head(), segment.path))
    header: list[str] | None = None
    given = 0
    for found in rows:
        if isinstance(found, _Fault):
            yield quarantined(segment.path, found.line, found.reason, found.size, found.excerpt)
        elif not found.values:
            skipped["csv.empty_line"] += 1
        elif header is None:
            header = names_of(found.values)
            if len(set(header)) < len(header) or len(header) > MAX_COLUMNS:
                yield quarantined(segment.path, 0, "read.columns_twice", segment.size, found.excerpt)
                return
        elif names_of(found.values) == header:
            skipped["csv.header_again"] += 1  # another file was put behind the first
        else:
            given += 1
            yield _row(segment.path, found, header, beside)
    if not given:
        skipped["csv.empty" if header is None else "csv.no_rows"] += 1


def table_records(segment: Segment, spec: SourceSpec, chunks: Iterator[bytes], limit: int) -> Iterator[Record | str]:
    """Rows under the names that the header gives them, or the reasons why they are none; all values are text.

    chunks: of the file, as UTF-8, or its beginning.
    """
    csv.field_size_limit(min(sys.maxsize, (1 << 31) - 1))
    lines = _Lines(split_lines(_with_feeds(chunks), 0, limit), limit, Beside.of(segment, spec))
    header: list[str] | None = None
    for found in _rows(lines, separator_of(lines.head(), segment.path)):
        if isinstance(found, _Fault):
            yield found.reason
        elif header is None:
            header = names_of(found.values) if found.values else None
        elif found.values and (len(found.values) < len(header) or any(found.values[len(header) :])):
            yield "csv.ragged"
        elif found.values and names_of(found.values) != header:
            yield dict(zip(header, found.values))


def names_of(values: list[str]) -> list[str]:
    """Of the columns; one without a name, as pandas writes that of its row numbers, is called by its place."""
    return [name.strip() or f"column_{place}" for place, name in enumerate(values, 1)]


def _row(path: str, found: _Found, header: list[str], beside: Beside) -> Row:
    values = found.values
    surplus = values[len(header) :]
    if len(values) < len(header) or any(surplus):
        return quarantined(path, found.line, "csv.ragged", found.size, found.excerpt)
    if found.damaged:
        return quarantined(path, found.line, "read.invalid_utf8", found.size, found.excerpt)
    text = beside.columns["text"]
    record: Record = {name: value for name, value in zip(header, values) if value or name == text}
    add_columns(record, beside.given)
    if found.encoding is not None:
        record.setdefault("encoding", found.encoding)
    row = record_row(path, found.line, record, beside.columns, beside.spec)
    return row or quarantined(path, found.line, "read.no_text", found.size, found.excerpt)


@dataclass(frozen=True, slots=True)
class _Fault:
    line: int
    reason: str
    size: int
    excerpt: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    line: int
    values: list[str]
    size: int
    excerpt: bytes
    damaged: bool
    """Some of it is no text in the file's encoding."""
    encoding: str | None
    """In which it is, where that had to be found out."""


def _rows(lines: _Lines, separator: str) -> Iterator[_Found | _Fault]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        lines.begin()
        try:
            values = next(reader)
            yield lines.found(values)
            continue
        except StopIteration:
            return
        except csv.Error:  # a quote that nothing closes, or with something behind it
            yield lines.first("csv.malformed")
        except _TooLongError:
            yield lines.passed_over()
        except _BrokenError as error:
            line, number = error.args
            number = lines.number if lines.row else number
            yield _Fault(number, line.fault, lines.size + line.size, lines.excerpt() or line.data[:EXCERPT_BYTES])
            return
        reader = csv.reader(lines, delimiter=separator, strict=True)


@dataclass
class _Lines:
    """Lines for the parser, which remembers those of the row that it is reading."""

    source: Iterator[Line]
    limit: int
    beside: Beside
    waiting: deque[tuple[int, bytes, int]] = field(default_factory=deque)
    """(number, bytes, lines that it stands for), to be read before what `source` has."""
    row: list[tuple[int, bytes, int]] = field(default_factory=list)
    size: int = 0
    """Bytes of `row`."""
    number: int = 1
    """Of the line on which the row begins."""
    next_number: int = 1
    damaged: bool = False
    encoding: str | None = None
    broken: _BrokenError | None = None
    """Damage that was met too early, to be told when reading comes to it."""

    def head(self) -> list[str]:
        """The first lines, which stay to be read."""
        size = 0
        while size < HEAD_BYTES:
            try:
                taken = self._fetch()
            except _BrokenError as error:
                self.broken = error
                break
            if taken is None:
                break
            self.waiting.append(taken)
            size += len(taken[1])
        return [data.decode("utf-8", "replace") for _, data, _ in self.waiting]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        taken = self._next()
        if taken is None:
            raise StopIteration
        if not self.row:
            self.number = taken[0]
        self.row.append(taken)
        self.size += len(taken[1])
        if self.size > self.limit:
            raise _TooLongError
        return self._text(taken[1])

    def _next(self) -> tuple[int, bytes, int] | None:
        if self.waiting:
            return self.waiting.popleft()
        if self.broken is not None:
            raise self.broken
        return self._fetch()

    def _fetch(self) -> tuple[int, bytes, int] | None:
        line = next(self.source, None)
        if line is None:
            return None
        number = self.next_number
        self.next_number += line.lines
        if line.fault is not None:
            if line.fault != "read.too_large":
                raise _BrokenError(line, number)
            return number, b"x" * (self.limit + 1), 1  # too long in any case
        data = b"\n" * line.lines if line.lines > 1 else line.data.removeprefix(BOM) + b"\n"
        return number, data, line.lines

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            found = self.beside.encoding.found
        try:
            if found is not None:
                text = data.decode(found)
                self.encoding = found
                return text
        except UnicodeDecodeError:
            pass
        self.damaged = True
        return data.decode("utf-8", "replace")

    def begin(self) -> None:
        self.row.clear()
        self.size = 0
        self.damaged = False
        self.encoding = None

    def excerpt(self) -> bytes:
        return b"".join(data[:EXCERPT_BYTES] for _, data, _ in self.row[:EXCERPT_BYTES])[:EXCERPT_BYTES]

    def found(self, values: list[str]) -> _Found:
        return _Found(self.number, values, self.size, self.excerpt(), self.damaged, self.encoding)

    def first(self, reason: str) -> _Fault:
        """The row's first line; the others are read again."""
        _, data, _ = self.row[0]
        self.waiting.extendleft(reversed(self.row[1:]))
        return _Fault(self.number, reason, len(data), data[:EXCERPT_BYTES])

    def passed_over(self) -> _Fault:
        """The row, with the lines up to the one where its quotes are closed."""
        excerpt, size = self.excerpt(), self.size
        is_open = sum(data.count(b'"') for _, data, _ in self.row) % 2
        try:
            while is_open and (taken := self._next()) is not None:
                is_open ^= taken[1].count(b'"') % 2
                size += len(taken[1])
        except _BrokenError as error:
            self.broken = error  # a row of its own
        return _Fault(self.number, "read.too_large", size, excerpt)


def _with_feeds(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines that end with a carriage return alone, as on old Macs, end with a line feed."""
    first = next(chunks, b"")
    only_returns = b"\r" in first and b"\n" not in first
    if first:
        yield first.replace(b"\r", b"\n") if only_returns else first
    for chunk in chunks:
        yield chunk.replace(b"\r", b"\n") if only_returns else chunk
