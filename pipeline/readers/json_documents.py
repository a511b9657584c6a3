"""JSON that is not one object a line: an object is a document, wherever its lines end.

    [{..}, {..}]                        the objects of an array; a string in their place is its text
    {"version": .., "data": [{..}, ..]} the objects of the one list of objects in an object that has no text itself
    {..}{..} or {..}\\n{..}              objects one behind the other, pretty-printed too

At most one object and a block are held. Values are found by their brackets and parsed one by one, so that a broken one
is one row. Where brackets or quotes do not balance, the rest of the file is one row. `record` is the offset of the
object in the uncompressed file (as UTF-8, where it is in UTF-16).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gristmill.kernels.text import json_marks
from gristmill.pipeline.readers.jsonl import BOM, Beside, Line, line_limit, line_row
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError
from gristmill.pipeline.readers.text_stream import text_blocks

BLANK = b" \t\r\n"
KEY_BYTES = 4096  # before a colon, in which a key is looked for
BLOCK_BYTES = 1 << 20  # scanned at once


def read_json(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    beside = Beside.of(segment, spec)
    columns = beside.columns
    outline = outline_of(text_blocks(segment, spec), columns)
    if len(outline.lists) > 1 and not outline.is_record:
        yield quarantined(segment.path, 0, "json.several_lists", segment.size)
        return
    inner = next(iter(outline.lists), None) if not outline.is_record else None
    found = Values(line_limit(max_document_bytes), inner).of(text_blocks(segment, spec))
    for value in found:
        if value.fault is None and value.data.startswith(b'"'):
            value = value._replace(data=b"{%b: %b}" % (json.dumps(columns["text"]).encode(), value.data))
        row = line_row(segment.path, value, beside, skipped)
        if row is not None:
            yield row


@dataclass(frozen=True)
class Outline:
    """What the first value of a file is, if it is an object and nothing follows it."""

    lists: tuple[int, ...] = ()
    """Where its lists of objects begin."""
    is_record: bool = True
    """It has a text, or is not alone, or is no object."""


def outline_of(chunks: Iterator[bytes], columns: Mapping[str, str]) -> Outline:
    """Reads to the end of the first object."""
    ours = {columns["text"], columns.get("content", columns["text"])}
    keys: set[str] = set()
    lists: list[int] = []
    before = b""  # what came behind the last mark
    opened = -1  # a list in the object that has just begun
    ended = False
    try:
        for mark in _marks(chunks, 3):
            before = (before + mark.before)[-KEY_BYTES:]
            if ended:
                return Outline()
            if mark.depth == 0:
                if mark.byte == 123 and not before.removeprefix(BOM).strip(BLANK):
                    pass
                elif mark.byte == 125:
                    ended = True
                else:
                    return Outline()
            elif mark.depth == 1 and mark.byte == 58:
                try:
                    keys.add(str(json.loads(before.strip(BLANK))))
                except ValueError:
                    return Outline()
                if keys & ours:
                    return Outline()
            elif mark.depth == 2 and mark.byte == 123 and opened >= 0 and not before.strip(BLANK):
                lists.append(opened)
            opened = mark.offset if mark.depth == 1 and mark.byte == 91 else -1
            before = b""
    except BrokenStreamError:
        pass  # what there is is read
    return Outline(tuple(lists), not lists)


@dataclass(frozen=True, slots=True)
class Mark:
    offset: int
    byte: int
    depth: int
    before: bytes
    """Up to `KEY_BYTES` of what stands between it and the mark before, or the block's beginning."""


def _marks(chunks: Iterator[bytes], level: int) -> Iterator[Mark]:
    offset = depth = state = 0
    for chunk in _blocks(chunks):
        places, depths, depth, state = _scan(chunk, depth, state, level)
        last = 0
        for place, deep in zip(places.tolist(), depths.tolist(), strict=True):
            yield Mark(offset + place, chunk[place], deep, chunk[max(last, place - KEY_BYTES) : place])
            last = place + 1
        offset += len(chunk)


def _blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), BLOCK_BYTES):
            yield chunk[start : start + BLOCK_BYTES]


def _scan(chunk: bytes, depth: int, state: int, level: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    places, depths = np.empty(len(chunk), np.int32), np.empty(len(chunk), np.int32)
    found, depth, state = json_marks.marks(np.frombuffer(chunk, np.uint8), depth, state, level, places, depths)
    return places[:found], depths[:found], int(depth), int(state)


class Values:
    """Cuts a stream into its values; a value of more than `limit` bytes is passed over."""

    def __init__(self, limit: int, inner: int | None) -> None:
        """inner: where the list begins whose objects are wanted; None: those on the outside."""
        self.limit = limit
        self.inner = inner
        self.base = 0 if inner is None else 1
        """Depth at which values and lists of them stand."""
        self.held = bytearray()
        self.offset = 0
        """Of `held` in the stream."""
        self.dropped = 0
        """Bytes of the value that begins at `offset` that are no longer held."""
        self.in_list = False
        self.open = inner is None
        """Whether what is read counts: in an object around a list, only the list does."""

    def of(self, chunks: Iterator[bytes]) -> Iterator[Line]:
        depth = state = at = 0
        fault: str | None = None
        try:
            for chunk in _blocks(chunks):
                places, depths, depth, state = _scan(chunk, depth, state, self.base + 2)
                done = 0
                for place, deep in zip(places.tolist(), depths.tolist(), strict=True):
                    byte = chunk[place]
                    if self.inner is not None and not self.in_list:
                        if at + place == self.inner:
                            self.in_list = self.open = True
                            self._start(at + place + 1)
                            done = place + 1
                        continue
                    if self.in_list:
                        if deep == self.base + 1 and byte == 44:
                            self._hold(chunk[done:place])
                            yield from self._value()
                        elif deep == self.base and byte in (93, 125):
                            self._hold(chunk[done:place])
                            yield from self._value()
                            self.in_list = False
                            self.open = self.inner is None
                            if not self.open:
                                return
                        else:
                            continue
                        self._start(at + place + 1)
                        done = place + 1
                    elif deep == 0 and byte in (123, 91):
                        self._hold(chunk[done:place])
                        yield from self._gap()
                        self.in_list = byte == 91
                        self._start(at + place + self.in_list)
                        done = place + self.in_list
                    elif deep == 0 and byte in (125, 93):
                        self._hold(chunk[done : place + 1])
                        yield from self._value()
                        self._start(at + place + 1)
                        done = place + 1
                if self.open:
                    self._hold(chunk[done:])
                at += len(chunk)
        except BrokenStreamError as error:
            fault = error.reason
        if self.in_list or depth > 0 or fault is not None:
            yield self._line(fault or "read.truncated")
        else:
            yield from self._gap()

    def _start(self, offset: int) -> None:
        self.held.clear()
        self.offset, self.dropped = offset, 0

    def _hold(self, data: bytes) -> None:
        if len(self.held) + self.dropped + len(data) > self.limit:
            kept = bytes(self.held[:EXCERPT_BYTES]) + data[: max(0, EXCERPT_BYTES - len(self.held))]
            self.dropped += len(self.held) + len(data) - len(kept)
            self.held[:] = kept
        else:
            self.held += data

    def _line(self, fault: str | None) -> Line:
        data = bytes(self.held)
        blank = len(data) - len(data.lstrip(BLANK))
        size = len(data) + self.dropped - blank if self.dropped or fault else len(data.strip(BLANK))
        if fault is not None:
            return Line(self.offset + blank, size, data[blank : blank + EXCERPT_BYTES], fault)
        if self.dropped:
            return Line(self.offset + blank, size, data[blank : blank + EXCERPT_BYTES], "read.too_large")
        return Line(self.offset + blank, size, data.strip(BLANK), None)

    def _value(self) -> Iterator[Line]:
        """What is held, unless it is blank."""
        if self.dropped or self.held.strip(BLANK):
            yield self._line(None)

    def _gap(self) -> Iterator[Line]:
        """What is held between values: only commas and marks of byte order may be."""
        if self.dropped or self.held.replace(BOM, b"").strip(BLANK + b",\0"):
            yield self._line("read.malformed_json")
