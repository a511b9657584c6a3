"""Runs of whole lines, of the size in which they are made into columns.

Where one ends follows from the bytes of the file alone, not from how a storage hands them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gristmill.pipeline.readers.jsonl import Line, first_whole_line
from gristmill.pipeline.readers.rows import EXCERPT_BYTES
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks
from gristmill.pipeline.readers.text_stream import as_utf8


class Piece(NamedTuple):
    """Whole lines, the last of them with a line feed that may not be in the file."""

    offset: int
    data: bytes
    ended: bool = True
    """Whether the last line feed is in the file."""


def pieces(segment: Segment, limit: int, batch_bytes: int, encoding: str | None = None) -> Iterator[Piece | Line]:
    """Runs of lines that begin in the segment, of at most `batch_bytes` or one line; a line of more than `limit` and
    `batch_bytes`, or one that is cut off by damage, comes by itself. encoding: as the source states it."""
    limit = max(limit, batch_bytes)
    chunks, offset = (as_utf8(blocks(segment), encoding), 0) if segment.is_whole else first_whole_line(segment)
    left = None if segment.is_whole else segment.end - offset
    held = b""
    waiting: list[bytes] = []
    size = 0
    fault: BrokenStreamError | None = None
    try:
        for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            want = batch_bytes if left is None else min(batch_bytes, left)
            if want <= 0:
                return
            if size < want or (b"\n" not in chunk and size <= want + limit):
                continue
            held = b"".join(waiting)
            while len(held) >= want > 0 and (cut := cut_of(held, want, last=want == left)):
                yield from apart(Piece(offset, held[:cut]), limit)
                held = held[cut:]
                offset += cut
                left = None if left is None else left - cut
                want = batch_bytes if left is None else min(batch_bytes, left)
            if want <= 0:
                return
            begin = held.rfind(b"\n") + 1
            if len(held) - begin > limit:
                if begin:
                    yield Piece(offset, held[:begin])
                long, held = pass_over(held[begin:], chunks, offset + begin)
                yield long
                offset = long.offset + long.size
                left = None if segment.is_whole else segment.end - offset
            waiting, size = [held], len(held)
    except BrokenStreamError as error:
        fault = error
    held = b"".join(waiting)
    begin = held.rfind(b"\n") + 1 if fault else len(held)
    if begin:
        ended = held.endswith(b"\n", 0, begin)
        yield from apart(Piece(offset, held[:begin] + (b"" if ended else b"\n"), ended), limit)
    if fault is not None:
        yield Line(offset + begin, len(held) - begin, held[begin : begin + EXCERPT_BYTES], fault.reason)


def cut_of(held: bytes, want: int, last: bool) -> int:
    """Behind the last line that ends within `want` bytes, else the first that ends later; 0 if that has not come. Of a
    segment's last lines, behind the one that reaches its end."""
    return (0 if last else held.rfind(b"\n", 0, want) + 1) or held.find(b"\n", want - 1) + 1


def apart(piece: Piece, limit: int) -> Iterator[Piece | Line]:
    """The piece; if its last line has more than `limit` bytes, what comes before that, and the line."""
    end = len(piece.data) - 1
    begin = piece.data.rfind(b"\n", 0, end) + 1
    if end - begin <= limit:
        yield piece
        return
    if begin:
        yield Piece(piece.offset, piece.data[:begin])
    size = end - begin + piece.ended
    yield Line(piece.offset + begin, size, piece.data[begin : begin + EXCERPT_BYTES], "read.too_large")


def pass_over(begun: bytes, chunks: Iterator[bytes], offset: int) -> tuple[Line, bytes]:
    """(a long line that has begun, what was read behind it); no more of it is held than its beginning."""
    size = len(begun)
    reason = "read.too_large"
    behind = b""
    try:
        for chunk in chunks:
            cut = chunk.find(b"\n") + 1
            size += cut or len(chunk)
            if cut:
                behind = chunk[cut:]
                break
    except BrokenStreamError as error:
        reason = error.reason
    return Line(offset, size, begun[:EXCERPT_BYTES], reason), behind
