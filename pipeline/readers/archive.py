"""A file, or the files in a tar archive, as whole entries: for readers to which one file is one document."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gristmill.pipeline.readers.forward import Forward
from gristmill.pipeline.readers.names import text_name
from gristmill.pipeline.readers.rows import Skipped
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import stored_name
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks, compression_of, read_all
from gristmill.pipeline.readers.tar import BLOCK, BrokenArchiveError, members

ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".tzst")


class Entry(NamedTuple):
    path: str
    """Below the source's root; of a member, that of the archive and its own."""
    record: int
    """0, or the offset of the member's header in the uncompressed archive."""
    name: str
    """The path's last part, without the extension of a compression."""
    size: int
    data: bytes | None
    """Decompressed; None where there is a `reason`."""
    reason: str | None = None
    head: bytes | None = None
    """The first bytes of what is not taken."""


def entries(segment: Segment, max_bytes: int, wanted: Callable[[str], bool], skipped: Skipped) -> Iterator[Entry]:
    """The file itself, or the members of an archive in its order; those whose name is not `wanted`, and what else an
    archive holds, are counted.

    What is compressed within an archive is handed out as it is. At most one entry of `max_bytes` is held.
    """
    if is_archive(segment):
        yield from _members(segment, max_bytes, wanted, skipped)
        return
    name = stored_name(segment.path)
    if not wanted(name):
        skipped["files.unwanted_name"] += 1
        return
    try:
        data = read_all(segment, max_bytes)
    except BrokenStreamError as error:
        yield Entry(segment.path, 0, name, segment.size, None, error.reason)
        return
    reason = "read.too_large" if data is None else None
    yield Entry(segment.path, 0, name, segment.size if data is None else len(data), data, reason)


def is_archive(segment: Segment) -> bool:
    """By its name; where that has no extension, or one of a number, by the mark of POSIX.1-1988 in the first header."""
    name = stored_name(segment.path.lower())
    if name.endswith(ARCHIVES):
        return True
    extension = posixpath.splitext(name)[1]
    return (not extension or extension[1:2].isdigit()) and is_tar(Forward(blocks(segment)).read(BLOCK))


def is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _members(segment: Segment, max_bytes: int, wanted: Callable[[str], bool], skipped: Skipped) -> Iterator[Entry]:
    stream = Forward(blocks(segment))
    try:
        for member in members(stream, max_bytes, lambda name: wanted(stored_name(text_name(name)))):
            path = f"{segment.path}/{text_name(member.name.removeprefix(b'./'))}"
            name = stored_name(path)
            if member.kind not in ("file", "sparse"):
                skipped[f"tar.{member.kind}"] += 1
            elif not wanted(name):
                skipped["files.unwanted_name"] += 1
            elif member.data is None:
                reason = "read.sparse" if member.kind == "sparse" else "read.too_large"
                yield Entry(path, member.offset, name, member.size, None, reason)
            else:
                yield Entry(path, member.offset, name, member.size, member.data)
    except BrokenArchiveError as error:
        (offset,) = error.args
        stream.drain()
        reason = stream.damage.reason if stream.damage else "read.truncated"
        yield Entry(segment.path, offset, stored_name(segment.path), stream.position - offset, None, reason)


def is_packed(entry: Entry) -> bool:
    """Whether it is compressed still: within an archive, or twice; perhaps a bomb in a bomb."""
    return entry.data is not None and compression_of(entry.data[:16]) is not None
