"""Reading committed files so that nothing is used that is not what was committed.

A committed file is known by checksums of its blocks of 4 MiB. Every block is hashed (xxh3_64) when it is read, before
a byte of it is used; a file that is missing, of another size or with another content raises `Damaged`. The engine then
computes the task that wrote it again. Exchange files carry their own checksums, a segment each:
`pipeline.engine.exchange`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import xxhash

from gristmill.storage.hashing import BLOCK_BYTES
from gristmill.storage.positioned import Positioned

if TYPE_CHECKING:
    from gristmill.pipeline.engine.manifest import File
    from gristmill.storage.store import Store


class Damaged(OSError):
    """A committed file is not there, or not as it was written. `path` is below the output's root.

    `others`: more such files that the same task reads.
    """

    def __init__(self, path: str, why: str, others: tuple[str, ...] = ()) -> None:
        super().__init__(path, why, others)
        self.path = path
        self.why = why
        self.others = others

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class CheckedFile(Positioned):
    """A committed file for reading at any position; the last block read is kept."""

    def __init__(self, handle: pa.NativeFile, file: File) -> None:
        super().__init__(file.bytes)
        self.handle = handle
        self.file = file
        self.held: tuple[int, bytes] = (-1, b"")

    def read(self, size: int | None = -1) -> bytes:
        end = self.file.bytes if size is None or size < 0 else min(self.position + size, self.file.bytes)
        if end <= self.position:
            return b""
        first, last = self.position // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        if first == last == self.held[0]:
            blocks, start = memoryview(self.held[1]), first * BLOCK_BYTES
        else:
            start = first * BLOCK_BYTES
            self.handle.seek(start)
            content = self.handle.read(min((last + 1) * BLOCK_BYTES, self.file.bytes) - start)
            blocks = memoryview(content)
            for number in range(first, last + 1):
                piece = blocks[(number - first) * BLOCK_BYTES : (number - first + 1) * BLOCK_BYTES]
                if xxhash.xxh3_64_hexdigest(piece) != self.file.blocks[number]:
                    raise Damaged(self.file.path, f"bytes from {number * BLOCK_BYTES:,} are not those committed")
            self.held = (last, bytes(blocks[(last - first) * BLOCK_BYTES :]))
        result = bytes(blocks[self.position - start : end - start])
        self.position = end
        return result

    def close(self) -> None:
        if not self.closed:
            self.handle.close()
        super().close()


@contextmanager
def open_checked(store: Store, file: File) -> Iterator[pa.NativeFile]:
    """A committed file for pyarrow; Damaged where it is not what was committed."""
    try:
        handle = store.open_input(file.path)
    except FileNotFoundError:
        raise Damaged(file.path, "missing") from None
    size = handle.size()
    if size != file.bytes:
        handle.close()
        raise Damaged(file.path, f"{size:,} bytes instead of {file.bytes:,}")
    with pa.PythonFile(CheckedFile(handle, file), mode="r") as source:
        yield source


def read_checked(store: Store, file: File) -> bytes:
    """The whole content of a committed file."""
    with open_checked(store, file) as source:
        content: bytes = source.read()
        return content


def is_intact(store: Store, file: File) -> bool:
    """Reads the whole file, block by block."""
    try:
        with open_checked(store, file) as source:
            while source.read(BLOCK_BYTES):
                pass
    except Damaged:
        return False
    return True
