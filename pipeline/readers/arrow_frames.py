"""Where the record batches of an Arrow IPC file or stream lie, how many rows and bytes each has, without reading them.

    "ARROW1\\0\\0"?  (0xFFFFFFFF? size metadata body)*  end  footer?

Arrow's specification, "Serialization and Interprocess Communication"; the metadata is a FlatBuffer `Message`. pyarrow
reads one batch after the other and does not say where the next begins: that is what lets a file be cut into segments,
and a batch that promises more than memory has be refused before it is made.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

MAGIC = b"ARROW1"
CONTINUES = b"\xff\xff\xff\xff"
SCHEMA, DICTIONARY, BATCH = 1, 2, 3
MAX_METADATA = 1 << 28
FREE_BYTES, MAX_RATIO = 64 << 20, 250
"""What compressed buffers may give: as in `pipeline.readers.stream`."""


class Readable(Protocol):
    """A file at any position."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, position: int, /) -> int: ...


@dataclass(frozen=True)
class Frame:
    offset: int
    """Of the message."""
    size: int
    """With its body."""
    kind: int
    """SCHEMA, DICTIONARY or BATCH."""
    rows: int
    bytes: int
    """Of its body, decompressed."""


@dataclass(frozen=True)
class Frames:
    frames: tuple[Frame, ...]
    end: int
    """Where what can be read ends."""
    whole: bool
    """It ended as it should."""

    @property
    def batches(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == BATCH]

    @property
    def has_dictionaries(self) -> bool:
        return any(frame.kind == DICTIONARY for frame in self.frames)


def frames_of(file: Readable, size: int) -> Frames:
    """size: of the file. Errors are only those of the storage."""
    file.seek(0)
    is_file = file.read(8)[:6] == MAGIC
    found: list[Frame] = []
    at = 8 if is_file else 0
    while True:
        file.seek(at)
        head = file.read(8)
        if not head and not is_file:
            return Frames(tuple(found), at, bool(found))
        prefix = 8 if head[:4] == CONTINUES else 4
        length = int.from_bytes(head[prefix - 4 : prefix], "little")
        if len(head) >= prefix and length == 0:
            return Frames(tuple(found), at, bool(found) and (not is_file or _has_footer(file, size)))
        if len(head) < prefix or length > min(MAX_METADATA, size - at):
            return Frames(tuple(found), at, False)
        file.seek(at + prefix)
        try:
            frame = _frame(file, file.read(length), at, prefix + length)
        except (struct.error, ValueError, IndexError):
            return Frames(tuple(found), at, False)
        if at + frame.size > size or (frame.kind != SCHEMA) == (not found):
            return Frames(tuple(found), at, False)
        found.append(frame)
        at += frame.size


def _has_footer(file: Readable, size: int) -> bool:
    file.seek(max(0, size - 6))
    return file.read(6) == MAGIC


def _frame(file: Readable, metadata: bytes, at: int, prefix: int) -> Frame:
    message = _Table(metadata, _u32(metadata, 0))
    kind = message.number(1, "<B")
    body = message.number(3, "<q")
    if kind not in (SCHEMA, DICTIONARY, BATCH) or body < 0:
        raise ValueError
    if kind == SCHEMA:
        return Frame(at, prefix + body, kind, 0, 0)
    batch = message.table(2)
    if kind == DICTIONARY:
        batch = batch.table(1)
    rows = batch.number(0, "<q")
    if rows < 0:
        raise ValueError
    given = body
    if batch.place(3):  # compressed: each buffer begins with its size before that
        given = 0
        for start, length in batch.pairs(2):
            if length >= 8 and 0 <= start <= body - length:
                file.seek(at + prefix + start)
                stated = int.from_bytes(file.read(8), "little", signed=True)
                given += length - 8 if stated == -1 else stated
                if stated < -1:
                    raise ValueError
        if given > max(FREE_BYTES, MAX_RATIO * body):
            raise ValueError
    return Frame(at, prefix + body, kind, rows, given)


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


class _Table:
    """A table of a FlatBuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.fields = at - int(struct.unpack_from("<i", data, at)[0])
        if self.fields < 0:
            raise ValueError

    def place(self, number: int) -> int:
        """Of a field; 0 where it has its default."""
        slot = 4 + 2 * number
        if slot + 2 > struct.unpack_from("<H", self.data, self.fields)[0]:
            return 0
        offset = int(struct.unpack_from("<H", self.data, self.fields + slot)[0])
        return self.at + offset if offset else 0

    def number(self, field: int, form: str) -> int:
        place = self.place(field)
        return int(struct.unpack_from(form, self.data, place)[0]) if place else 0

    def table(self, field: int) -> _Table:
        place = self.place(field)
        if not place:
            raise ValueError
        return _Table(self.data, place + _u32(self.data, place))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structures of two 64-bit numbers."""
        place = self.place(field)
        if not place:
            return []
        start = place + _u32(self.data, place)
        count = _u32(self.data, start)
        if count * 16 > len(self.data):
            raise ValueError
        return [struct.unpack_from("<qq", self.data, start + 4 + 16 * i) for i in range(count)]
