"""Checksums of a stream: xxh3_128 of the whole, xxh3_64 of every block of 4 MiB.

A file can then be checked block by block while it is read (`pipeline.engine.checked`).
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pyarrow as pa
import xxhash

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BLOCK_BYTES = 4 << 20


class BlockHash:
    """Checksums of a stream's blocks, and of the whole (xxh3_128)."""

    def __init__(self) -> None:
        self.whole = xxhash.xxh3_128()
        self.block = xxhash.xxh3_64()
        self.room = BLOCK_BYTES
        self.blocks: list[str] = []

    def update(self, data: ReadableBuffer) -> None:
        self.whole.update(data)
        view = memoryview(data)
        while len(view) >= self.room:
            self.block.update(view[: self.room])
            view = view[self.room :]
            self.blocks.append(self.block.hexdigest())
            self.block, self.room = xxhash.xxh3_64(), BLOCK_BYTES
        self.block.update(view)
        self.room -= len(view)

    def result(self) -> tuple[str, tuple[str, ...]]:
        """(xxh3_128 of the whole, xxh3_64 of every block), hexadecimal."""
        last = [self.block.hexdigest()] if self.room < BLOCK_BYTES else []
        return self.whole.hexdigest(), (*self.blocks, *last)


class HashingFile:
    """A binary file for writing that counts and hashes what passes through it. Set `rows` after writing."""

    def __init__(self, sink: pa.NativeFile | IO[bytes]) -> None:
        self.sink = sink
        self.digest = BlockHash()
        self.rows = 0
        self.bytes = 0
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        self.sink.write(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self.sink.flush()

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> HashingFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
