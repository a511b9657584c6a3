"""Decompressed bytes of a file, block by block, keeping what can be read of a broken one.

The compression is told by the first bytes, not by the name. Members and frames that follow each other are one
stream. Where the data ends within a member or does not decompress, all that came before has been yielded and
`BrokenStreamError` is raised; an error of the storage itself is an OSError and passes through, so that the task is
retried. A Zstandard WARC may begin with a skippable frame that holds its dictionary (IIPC, "WARC files with
Zstandard").
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.storage import open_input

SKIPPABLE, ZSTANDARD = b"\x5d\x2a\x4d\x18", b"\x28\xb5\x2f\xfd"
MAGIC = {b"\x1f\x8b": "gz", ZSTANDARD: "zst", SKIPPABLE: "zst", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
INPUT_BYTES = 1 << 16  # compressed bytes at once: zlib makes at most 1,032 times as many of them
OUTPUT_BYTES = 1 << 20
PLAIN_BYTES = 1 << 22


class BrokenStreamError(Exception):
    """The compressed data is damaged or ends too early; everything before was yielded."""


def compression_of(head: bytes) -> str | None:
    """gz, zst, bz2, xz or None, from a file's first six bytes."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    return None


def plain_blocks(uri: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Bytes [start, end) as stored."""
    with open_input(uri) as file:
        file.seek(start)
        left = (file.size() if end is None else end) - start
        while left > 0 and (block := file.read(min(PLAIN_BYTES, left))):
            left -= len(block)
            yield block


def blocks(uri: str) -> Iterator[bytes]:
    """The whole file, decompressed if it is compressed. BrokenStreamError after the last readable byte."""
    with open_input(uri) as file:
        head = file.read(INPUT_BYTES)
        compression = compression_of(head)
        if head.startswith(SKIPPABLE):  # the whole dictionary
            head += file.read(max(0, 8 + int.from_bytes(head[4:8], "little") - len(head)))
        if compression is None:
            while head:
                yield head
                head = file.read(PLAIN_BYTES)
            return
        yield from _decompress(head, lambda: file.read(INPUT_BYTES), compression)


def read_all(uri: str, limit: int) -> bytes | None:
    """The whole decompressed file; None if it is longer than `limit` bytes. BrokenStreamError as in `blocks`."""
    parts, size = [], 0
    for block in blocks(uri):
        size += len(block)
        if size > limit:
            return None
        parts.append(block)
    return b"".join(parts)


def _decompress(data: bytes, more: Callable[[], bytes], compression: str) -> Iterator[bytes]:
    new = _new_decompressor(compression, data)
    out: list[bytes] = []
    size = 0
    member = new()
    fresh = True  # nothing was fed to this member yet
    damage = None
    while True:
        if not data:
            data = more()
            if not data:
                if not fresh and not member.eof:
                    damage = "the compressed data ends too early"
                break
        if fresh and not data.strip(b"\0"):
            data = b""  # padding after the last member
            continue
        try:
            produced = member.decompress(data)
        except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, _zstd_error()) as error:
            damage = f"the compressed data is damaged ({error})"
            break
        fresh = False
        data = b""
        if produced:
            out.append(produced)
            size += len(produced)
            if size >= OUTPUT_BYTES:
                yield b"".join(out)
                out, size = [], 0
        if member.eof:
            data, member, fresh = member.unused_data, new(), True
    if out:
        yield b"".join(out)
    if damage:
        raise BrokenStreamError(damage)


def _zstd_error() -> type[Exception]:
    import zstandard

    return zstandard.ZstdError


def _new_decompressor(compression: str, head: bytes) -> Callable[[], Any]:
    if compression == "gz":
        return lambda: zlib.decompressobj(wbits=31)
    if compression == "bz2":
        return bz2.BZ2Decompressor
    if compression == "xz":
        return lzma.LZMADecompressor
    import zstandard

    dictionary = _warc_dictionary(head)
    context = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << 31)
    return context.decompressobj


def _warc_dictionary(head: bytes) -> Any:
    """The dictionary in the leading skippable frame of a .warc.zst, None if there is none."""
    import zstandard

    if not head.startswith(SKIPPABLE):
        return None
    frame = head[8 : 8 + int.from_bytes(head[4:8], "little")]
    if frame.startswith(ZSTANDARD):
        frame = zstandard.ZstdDecompressor().decompressobj().decompress(frame)
    return zstandard.ZstdCompressionDict(frame)
