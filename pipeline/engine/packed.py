"""Long sequences that a driver can hold: records kept compressed, values made when they are looked at.

A run over trillions of tokens has some hundred thousand tasks in each of some thirty steps. A task's record takes
kilobytes as objects and some two hundred bytes here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, overload

import zstandard

T = TypeVar("T")
CHUNK = 128
"""Records compressed together."""


class Packed(Sequence[T | None], Generic[T]):
    """Lines of text (None: nothing there), decoded when looked at; the last chunk looked at stays decoded."""

    def __init__(self, lines: Iterable[bytes | None], decode: Callable[[bytes], T]) -> None:
        self.decode = decode
        self.chunks: list[bytes] = []
        self.size = 0
        self.held: tuple[int, list[T | None]] = (-1, [])
        pack = zstandard.ZstdCompressor(level=3)
        waiting: list[bytes] = []
        for line in lines:
            waiting.append(line or b"")
            self.size += 1
            if len(waiting) == CHUNK:
                self.chunks.append(pack.compress(b"\n".join(waiting)))
                waiting = []
        if waiting:
            self.chunks.append(pack.compress(b"\n".join(waiting)))

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> T | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[T | None]: ...
    def __getitem__(self, index: int | slice) -> T | list[T | None] | None:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.size))]
        if index < 0:
            index += self.size
        if not 0 <= index < self.size:
            raise IndexError(index)
        chunk, place = divmod(index, CHUNK)
        if self.held[0] != chunk:
            lines = zstandard.ZstdDecompressor().decompress(self.chunks[chunk]).split(b"\n")
            self.held = (chunk, [self.decode(line) if line else None for line in lines])
        return self.held[1][place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]


class Lazy(Sequence[T], Generic[T]):
    """`size` values that `make` gives by index, each made when it is asked for."""

    def __init__(self, size: int, make: Callable[[int], T]) -> None:
        self.size = size
        self.make = make

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.size))]
        if not 0 <= index < self.size:
            raise IndexError(index)
        return self.make(index)


class Pending(Mapping[int, T], Generic[T]):
    """Some of a sequence's values by index, made when they are asked for."""

    def __init__(self, indices: Iterable[int], make: Callable[[int], T]) -> None:
        self.indices = dict.fromkeys(indices)
        self.make = make

    def __getitem__(self, index: int) -> T:
        if index not in self.indices:
            raise KeyError(index)
        return self.make(index)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)
