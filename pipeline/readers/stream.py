"""Decompressed bytes of a file, block by block, keeping what can be read of a broken one.

The compression is told by the first bytes, not by the name. Members and frames that follow each other are one
stream. Where the data ends within a member or does not decompress, all that came before has been yielded and
`BrokenStreamError` is raised; an error of the storage itself is an OSError and passes through, so that the task is
retried. A file that decompresses to far more than text can is a bomb and ends with `ExpansionError`. At most a few MB
are held at once, whatever the file says. A Zstandard WARC may begin with a skippable frame that holds its dictionary
(IIPC, "WARC files with Zstandard").
"""

from __future__ import annotations

import bz2
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from gristmill.pipeline.readers.folder import open_file, open_segment

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from zstandard import ZstdCompressionDict, ZstdDecompressionObj

    from gristmill.pipeline.readers.segments import Segment

SKIPPABLE, ZSTANDARD = b"\x5d\x2a\x4d\x18", b"\x28\xb5\x2f\xfd"
MAGIC = {b"\x1f\x8b": "gz", ZSTANDARD: "zst", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
INPUT_BYTES = 1 << 16  # compressed bytes read at once
OUTPUT_BYTES = 1 << 20
PLAIN_BYTES = 1 << 22

FREE_BYTES = 64 << 20
MAX_RATIO = 250
"""A file may give `FREE_BYTES`, and beyond them `MAX_RATIO` bytes for each compressed one. Of the 25,820 compressed
files of a Debian system the most compressible, a table of the characters that a font has, gives 28 to 1; of corpora of
more than 64 MB the most compressible, sentences for language identification, 13 to 1. Bombs give 1,000 (gzip) to
850,000 to 1 (bzip2)."""
MAX_BYTES = 1 << 40
"""No file gives more than this: a petabyte of zeros ends after hours and not after months."""

ZSTANDARD_STEP = 1 << 11  # a frame gives up to 32,768 bytes for each of these, all at once: 64 MB; larger is no faster
BOUNDED_STEP = 1 << 12  # bzip2 and xz: what one step makes before it meets damage is lost with it
ZSTANDARD_WINDOW = 1 << 31  # as `zstd --long=31` writes; its memory is taken as it fills
XZ_MEMORY = 1 << 28  # `xz -9` needs 65 MiB
MAX_DICTIONARY_BYTES = 1 << 27


class BrokenStreamError(Exception):
    """The data is damaged or ends too early; everything before was yielded. `reason` is that of its quarantined row."""

    reason = "read.truncated"


class ExpansionError(BrokenStreamError):
    """The data decompresses to more than text can."""

    reason = "read.expansion"


def compression_of(head: bytes) -> str | None:
    """gz, zst, bz2, xz or None, from a file's first six bytes."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    # any skippable frame (RFC 8878, section 3.1.2): pzstd begins with one
    return "zst" if head[1:4] == SKIPPABLE[1:] and head[0] >> 4 == 5 else None


def plain_blocks(segment: Segment, start: int = 0, edge: int = 0) -> Iterator[bytes]:
    """The segment's file from byte `start` on, as stored. No block reaches over the byte `edge`."""
    with open_segment(segment) as file:
        file.seek(start)
        while block := file.read(min(PLAIN_BYTES, edge - start) if start < edge else PLAIN_BYTES):
            yield block
            start += len(block)


def blocks(segment: Segment) -> Iterator[bytes]:
    """The whole file, decompressed if it is compressed. BrokenStreamError after the last readable byte."""
    with open_segment(segment) as file:
        yield from _unpacked(file.read(INPUT_BYTES), file.read)


def read_all(segment: Segment, limit: int) -> bytes | None:
    """The whole decompressed file; None if it is longer than `limit` bytes. BrokenStreamError as in `blocks`."""
    return joined(blocks(segment), limit)


def joined(chunks: Iterator[bytes], limit: int) -> bytes | None:
    """All of the stream; None if it is longer than `limit` bytes."""
    parts, size = [], 0
    for block in chunks:
        size += len(block)
        if size > limit:
            return None
        parts.append(block)
    return b"".join(parts)


@contextmanager
def open_table(segment: Segment) -> Iterator[NativeFile]:
    """The segment's file for reading at any position: of a compressed one a decompressed copy in the temporary folder.

    BrokenStreamError where it does not decompress.
    """
    with open_segment(segment) as file:
        if compression_of(file.read(16)) is None:
            file.seek(0)
            yield file
            return
    import pyarrow as pa

    with tempfile.TemporaryFile(prefix="gristmill-") as copy:
        for block in blocks(segment):
            copy.write(block)
        copy.seek(0)
        yield pa.PythonFile(copy, mode="r")


def beginning(first: bytes, more: Callable[[int], bytes], size: int) -> tuple[bytes, bool]:
    """(up to `size` decompressed bytes of a file that begins with `first`, whether damage comes before them)."""
    parts, given = [], 0
    try:
        for block in _unpacked(first, more):
            parts.append(block)
            given += len(block)
            if given >= size:
                break
    except BrokenStreamError:
        return b"".join(parts)[:size], True
    return b"".join(parts)[:size], False


def head_compression(uri: str) -> str | None:
    with open_file(uri) as file:
        return compression_of(file.read(16))


def _unpacked(head: bytes, more: Callable[[int], bytes]) -> Iterator[bytes]:
    compression = compression_of(head)
    if compression is None:
        while head:
            yield head
            head = more(PLAIN_BYTES)
        return
    if head.startswith(SKIPPABLE):  # the whole dictionary
        missing = 8 + int.from_bytes(head[4:8], "little") - len(head)
        head += more(missing) if 0 < missing <= MAX_DICTIONARY_BYTES else b""
    out: list[bytes] = []
    size = 0
    damage: BrokenStreamError | None = None
    pieces = _decompress(head, lambda: more(INPUT_BYTES), compression)
    while True:
        try:
            piece = next(pieces)
        except StopIteration:
            break
        except BrokenStreamError as error:
            damage = error
            break
        out.append(piece)
        size += len(piece)
        if size >= OUTPUT_BYTES:
            yield b"".join(out)
            out, size = [], 0
    if out:
        yield b"".join(out)
    if damage:
        raise damage


def _decompress(data: bytes, more: Callable[[], bytes], compression: str) -> Iterator[bytes]:
    budget = Expansion(len(data))
    try:
        decoder = _decoder(compression, data)
    except _damage() as error:
        raise BrokenStreamError(f"the dictionary is damaged ({error})") from error
    new, feed = decoder
    member = new()
    fresh = True  # nothing was fed to this member yet
    while True:
        if not data:
            data = more()
            budget.stored += len(data)
            if not data:
                if not fresh:
                    raise BrokenStreamError("the compressed data ends too early")
                return
        if fresh and not data.strip(b"\0"):
            data = b""  # padding after the last member
            continue
        fresh = False
        rest = [b""]
        try:
            for piece in feed(member, data, rest):
                yield piece
                budget.spend(len(piece))
        except _damage() as error:
            raise BrokenStreamError(f"the compressed data is damaged ({error})") from error
        data = b""
        if member.eof:
            data, member, fresh = rest[0], new(), True


@dataclass
class Expansion:
    """What a file has given for what it takes on the disk."""

    stored: int
    given: int = 0

    def spend(self, size: int) -> None:
        self.given += size
        if self.given > min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * self.stored)):
            raise ExpansionError(f"{self.stored} compressed bytes gave more than {self.given}")


Feed = Callable[[Any, bytes, list[bytes]], Iterator[bytes]]
"""Each takes the decompressors of its own library."""


def _decoder(compression: str, head: bytes) -> tuple[Callable[[], Any], Feed]:
    """(a new decompressor for a member, what feeds it and leaves in `rest` what follows the member)."""
    if compression == "gz":
        return (lambda: zlib.decompressobj(wbits=31)), _feed_zlib
    if compression == "bz2":
        return bz2.BZ2Decompressor, _feed_bounded
    if compression == "xz":
        return (lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)), _feed_bounded
    import zstandard

    context = zstandard.ZstdDecompressor(dict_data=_warc_dictionary(head), max_window_size=ZSTANDARD_WINDOW)
    return (lambda: context.decompressobj(write_size=INPUT_BYTES)), _feed_zstandard


def _feed_zlib(member: zlib._Decompress, data: bytes, rest: list[bytes]) -> Iterator[bytes]:
    while True:
        before = member.copy()
        try:
            piece = member.decompress(data, OUTPUT_BYTES)
        except zlib.error:  # what the call had made of the bytes before the damage is lost with it
            yield from _bytewise(before, data)
            raise
        if piece:
            yield piece
        if member.eof:
            rest[0] = member.unused_data
            return
        data = member.unconsumed_tail
        if not data and len(piece) < OUTPUT_BYTES:
            return


def _bytewise(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    made = bytearray()
    with suppress(zlib.error):
        for i in range(len(data)):
            made += member.decompress(data[i : i + 1])
    yield bytes(made)


def _feed_bounded(
    member: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes, rest: list[bytes]
) -> Iterator[bytes]:
    for start in range(0, len(data), BOUNDED_STEP):
        piece = member.decompress(data[start : start + BOUNDED_STEP], OUTPUT_BYTES)
        while True:
            if piece:
                yield piece
            if member.eof or member.needs_input:
                break
            piece = member.decompress(b"", OUTPUT_BYTES)
        if member.eof:
            rest[0] = member.unused_data + data[start + BOUNDED_STEP :]
            return


def _feed_zstandard(member: ZstdDecompressionObj, data: bytes, rest: list[bytes]) -> Iterator[bytes]:
    for start in range(0, len(data), ZSTANDARD_STEP):
        piece = member.decompress(data[start : start + ZSTANDARD_STEP])
        if piece:
            yield piece
        if member.eof:
            rest[0] = member.unused_data + data[start + ZSTANDARD_STEP :]
            return


@cache
def _damage() -> tuple[type[Exception], ...]:
    """What the decompressors raise. They read no files: an OSError of theirs is about the data."""
    import zstandard

    return (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError)


def _warc_dictionary(head: bytes) -> ZstdCompressionDict | None:
    """The dictionary in the leading skippable frame of a .warc.zst, None if there is none."""
    import zstandard

    if not head.startswith(SKIPPABLE):
        return None
    frame = head[8 : 8 + int.from_bytes(head[4:8], "little")]
    if frame.startswith(ZSTANDARD):
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW)
        with decompressor.stream_reader(frame) as reader:
            frame = reader.read(MAX_DICTIONARY_BYTES)
    return zstandard.ZstdCompressionDict(frame)
