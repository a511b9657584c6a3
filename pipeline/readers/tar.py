"""The members of a tar archive, read forwards: POSIX ustar and pax, GNU long names and large sizes, the formats before.

The framing is read here and not by the standard library's `tarfile`, which tests compare with: it ends silently at a
damaged header, keeps every member in memory, and fills a member's stated size, an exabyte if need be. After a damaged
header the rest of the archive is one quarantined row. Nothing is ever written by a member's name, so an absolute
name or one with `..` is a name like any other. Links, folders and devices have no data; of sparse files the data is
passed over. IEEE Std 1003.1, pax; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gristmill.pipeline.readers.forward import Forward

BLOCK = 512
MAX_HEADER_BYTES = 1 << 20  # of a long name or of pax records; a longer one is damage
MAX_SIZE = 1 << 62

_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "link", b"2": "link", b"3": "device", b"4": "device",
          b"5": "folder", b"6": "device", b"S": "sparse", b"V": "label", b"M": "continued", b"D": "folder"}  # fmt: skip
_RECORD = re.compile(rb"(\d{1,20}) ([^=]+)=", re.S)


class BrokenArchiveError(Exception):
    """From here on the archive cannot be read. args: offset of the damage."""


@dataclass
class Member:
    offset: int
    """Of the header that belongs to the data, in the uncompressed archive."""
    name: bytes
    kind: str
    """file | link | folder | device | sparse | label | continued | other"""
    size: int
    """Bytes of data that follow."""
    data: bytes | None = None


@dataclass
class _Extension:
    """What headers before a member say about it."""

    name: bytes | None = None
    size: int | None = None
    sparse: bool = False
    seen: bool = False


def members(stream: Forward, max_bytes: int, wanted: Callable[[bytes], bool]) -> Iterator[Member]:
    """All members in order; BrokenArchiveError where it goes wrong.

    Data is kept of files of at most `max_bytes` whose name is `wanted`.

    An archive ends where the data does: blocks of zeros before that are passed over, as `tar --ignore-zeros` does.
    """
    extension, everywhere = _Extension(), _Extension()
    while True:
        offset = stream.position
        header = stream.read(BLOCK)
        if len(header) < BLOCK:
            if header.strip(b"\0") or stream.damage or extension.seen:
                raise BrokenArchiveError(offset)
            return
        if not extension.seen and not header.strip(b"\0"):
            continue  # the end, but for archives that were put one behind the other
        if not checksum_fits(header):
            raise BrokenArchiveError(offset)
        size = _number(header[124:136])
        kind = header[156:157]
        if size is None or size > MAX_SIZE:
            raise BrokenArchiveError(offset)
        if kind in (b"L", b"K", b"x", b"X", b"g"):
            text = stream.read(size) if size <= MAX_HEADER_BYTES else b""
            if len(text) < size or not _padding(stream, size):
                raise BrokenArchiveError(offset)
            extension.seen = True
            if kind == b"L":
                extension.name = text.rstrip(b"\0")
            elif kind != b"K" and not _pax(text, everywhere if kind == b"g" else extension):
                raise BrokenArchiveError(offset)
            continue
        member = _member(stream, header, offset, kind, size, extension, everywhere)
        if member.kind == "file" and member.size <= max_bytes and wanted(member.name):
            member.data = stream.read(member.size)
            whole = len(member.data) == member.size
        else:
            whole = stream.skip(member.size) == member.size
        if not whole or not _padding(stream, member.size):
            raise BrokenArchiveError(offset)
        yield member
        extension = _Extension()


def _member(
    stream: Forward,
    header: bytes,
    offset: int,
    kind: bytes,
    size: int,
    extension: _Extension,
    everywhere: _Extension,
) -> Member:
    name = extension.name or everywhere.name or _name(header)
    stated = extension.size if extension.size is not None else size
    what = _KINDS.get(kind, "other")
    if what == "file" and name.endswith(b"/"):  # how archives older than POSIX mark a folder
        what = "folder"
    if what in ("link", "device", "folder"):
        stated = 0
    if what == "sparse":
        _old_sparse_map(stream, header, offset)
    if extension.sparse:
        what = "sparse"
    return Member(offset, name, what, stated)


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0]
    # GNU keeps times of its own where POSIX keeps the prefix
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def checksum_fits(header: bytes) -> bool:
    """The sum of the bytes with the sum's own field as spaces; some old programs took the bytes as signed."""
    stated = _number(header[148:156])
    rest = header[:148] + b" " * 8 + header[156:]
    unsigned = sum(rest)
    return stated is not None and stated in (unsigned, unsigned - 256 * sum(byte > 127 for byte in rest))


def _number(text: bytes) -> int | None:
    """Octal digits, or GNU's base 256 after a set bit; None for neither and for a negative one."""
    if text[:1] == b"\x80":
        return int.from_bytes(text[1:], "big")
    digits = text.partition(b"\0")[0].strip()
    if not digits:
        return 0
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else None


def _padding(stream: Forward, size: int) -> bool:
    """Data is filled up to whole blocks; an archive that ends right behind the last data is whole enough."""
    missing = -size % BLOCK
    return stream.skip(missing) == missing or stream.damage is None


def _pax(text: bytes, extension: _Extension) -> bool:
    """Records `length keyword=value\\n`; whether all are well formed."""
    at = 0
    while at < len(text):
        match = _RECORD.match(text, at)
        if match is None:
            return not text[at:].strip(b"\0")
        end = at + int(match[1])
        value = text[match.end() : end - 1]
        if end > len(text) or end <= match.end() or text[end - 1 : end] != b"\n":
            return False
        if match[2] == b"path":
            extension.name = value.rstrip(b"\0")
        elif match[2] == b"size":
            if not re.fullmatch(rb"\d{1,18}", value):
                return False
            extension.size = int(value)
        elif match[2].startswith(b"GNU.sparse."):
            extension.sparse = True
            if match[2] == b"GNU.sparse.name":
                extension.name = value
        at = end
    return True


def _old_sparse_map(stream: Forward, header: bytes, offset: int) -> None:
    """Blocks that continue a GNU sparse header come before its data."""
    more = header[482:483]
    while more not in (b"\0", b""):
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise BrokenArchiveError(offset)
        more = block[504:505]
