"""Records of a large XML file, one by one, each found by its tags in the bytes and not by parsing the file.

    <mediawiki> <siteinfo/> <page>..</page> <page>..</page> ..        a record is `opening` to `closing`
    <posts> <row .. /> <row .. /> ..                                  a record is `opening` to the next `<`

That is sound because XML writes `<` in text and in attributes as `&lt;`; exporters use no CDATA. It makes a record's
offset its identity, lets a broken record be one row and the next be read, and no doctype and no entity of the file is
ever looked at. At most `limit` bytes of a record and a block are held. What stands between records and is none of the
`passable` beginnings is a broken record too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gristmill.pipeline.readers.rows import EXCERPT_BYTES
from gristmill.pipeline.readers.stream import BrokenStreamError

HEAD_BYTES = 1 << 20  # kept of what stands before the first record
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
MAX_TAG_BYTES = 64  # of an opening or closing mark
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


@dataclass(frozen=True)
class Shape:
    opening: re.Pattern[bytes]
    """Of a record; at most `MAX_TAG_BYTES` long."""
    closing: bytes | None
    """None: a record ends before the next `<`."""
    passable: re.Pattern[bytes]
    """How what may stand between records begins."""


class Piece(NamedTuple):
    kind: str
    """head (once, first) | record | broken"""
    offset: int
    size: int
    data: bytes
    """Of a head or a broken record its first bytes."""
    reason: str | None = None
    """Of a broken record."""


def pieces(source: Iterable[bytes], shape: Shape, limit: int) -> Iterator[Piece]:
    """The head, then records and broken ones in order. BrokenStreamError of the source ends in a broken record."""
    window = _Window(source)
    yield from _before_record(window, shape, is_head=True)
    while window.at_record:
        yield from _record(window, shape, limit)
        yield from _before_record(window, shape, is_head=False)


def encoding_of(head: bytes) -> str | None:
    """What the XML declaration says; None: nothing, so UTF-8."""
    found = _ENCODING.match(head.removeprefix(b"\xef\xbb\xbf"))
    return found[1].decode("ascii") if found else None


class _Window:
    """The bytes of the stream from `offset` on, as far as they were fetched."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = iter(source)
        self.held = bytearray()
        self.offset = 0
        self.damage: BrokenStreamError | None = None
        self.at_record = False

    def more(self) -> bool:
        if self.damage is not None:
            return False
        try:
            self.held += next(self._source)
        except StopIteration:
            return False
        except BrokenStreamError as error:
            self.damage = error
            return False
        return True

    def drop(self, size: int) -> None:
        del self.held[:size]
        self.offset += size


def _before_record(window: _Window, shape: Shape, is_head: bool) -> Iterator[Piece]:
    """Passes over what stands before the next record, or to the end."""
    offset = window.offset
    kept = bytearray()
    size = 0
    keeps = HEAD_BYTES if is_head else max(EXCERPT_BYTES, MAX_TAG_BYTES)
    while True:
        found = shape.opening.search(window.held)
        passed = found.start() if found else max(0, len(window.held) - MAX_TAG_BYTES)
        kept += window.held[: min(passed, keeps - len(kept))]
        size += passed
        window.drop(passed)
        if found:
            break
        if not window.more():
            kept += window.held[: keeps - len(kept)]
            size += len(window.held)
            window.drop(len(window.held))
            break
    window.at_record = found is not None
    data = bytes(kept)
    if is_head:
        yield Piece("head", offset, size, data)
    reason = window.damage.reason if window.damage and not found else None
    if is_head and not found and reason is None and not shape.passable.match(data):
        reason = "read.7z" if data.startswith(SEVEN_ZIP) else "xml.malformed"
    if not is_head and data.strip() and reason is None and not shape.passable.match(data):
        reason = "xml.malformed"
    if reason:
        yield Piece("broken", offset, size, data[:EXCERPT_BYTES], reason)


def _record(window: _Window, shape: Shape, limit: int) -> Iterator[Piece]:
    """The record that begins where the window does."""
    closing = shape.closing or b"<"
    searched = 1  # bytes in which no closing mark begins
    dropped = 0
    offset = window.offset
    head = b""
    while (end := window.held.find(closing, searched)) < 0:
        searched = max(1, len(window.held) - len(closing) + 1)
        if dropped + len(window.held) > limit:
            head = head or bytes(window.held[:EXCERPT_BYTES])
            surplus = searched - 1
            window.drop(surplus)
            dropped += surplus
            searched = 1
        if not window.more():
            yield from _unfinished(window, shape, offset, dropped, head, limit)
            return
    end += len(closing) if shape.closing else 0
    size = dropped + end
    data = bytes(window.held[:end]) if size <= limit else head or bytes(window.held[:EXCERPT_BYTES])
    if size > limit:
        window.drop(end)
        yield Piece("broken", offset, size, data, "read.too_large")
        return
    inner = _last_opening(data, shape)  # of a record that lost its end, the next one's beginning
    if inner:
        window.drop(inner)
        yield Piece("broken", offset, inner, data[: min(inner, EXCERPT_BYTES)], "xml.malformed")
        data, offset = data[inner:], offset + inner
        window.drop(len(data))
    else:
        window.drop(end)
    yield Piece("record", offset, len(data), data)


def _last_opening(data: bytes, shape: Shape) -> int:
    if shape.closing is None:
        return 0
    last = 0
    for found in shape.opening.finditer(data, 1):
        last = found.start()
    return last


def _unfinished(window: _Window, shape: Shape, offset: int, dropped: int, head: bytes, limit: int) -> Iterator[Piece]:
    """The stream ended within a record."""
    data = bytes(window.held)
    window.drop(len(data))
    size = dropped + len(data)
    whole = shape.closing is None and size <= limit and data.rstrip().endswith(b"/>")
    if whole:
        yield Piece("record", offset, size, data)
    if window.damage or not whole:
        reason = window.damage.reason if window.damage else "read.too_large" if size > limit else "read.truncated"
        at = offset + size if whole else offset
        yield Piece("broken", at, 0 if whole else size, b"" if whole else (head or data)[:EXCERPT_BYTES], reason)
