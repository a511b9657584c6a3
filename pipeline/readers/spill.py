"""Records sorted by their keys with bounded memory: an external merge sort through temporary files of this computer.

    records -> runs of `run_bytes`, each sorted in memory and written -> merged, `fan_in` at a time -> in order

Equal keys keep the order in which they came. The files have no names (where the system allows that) and are gone with
the process. Knuth 1998, The Art of Computer Programming, vol. 3, section 5.4.
"""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import IO

RUN_BYTES = 64 << 20
"""Of records, held at once."""
RECORD_BYTES = 200  # what a record takes beside its bytes, about
FAN_IN = 64
"""Files open at once on a level, and merged into one."""
BUFFER_BYTES = 1 << 18

Key = tuple[int, ...]
Record = tuple[Key, bytes]
_KEY = itemgetter(0)


class Spill:
    """Takes records in any order and gives them back sorted. OSError where the temporary folder is full."""

    def __init__(self, run_bytes: int = RUN_BYTES, fan_in: int = FAN_IN) -> None:
        self._run_bytes = run_bytes
        self._fan_in = fan_in
        self._levels: list[list[IO[bytes]]] = []
        """Sorted files; a full level becomes one file of the next."""
        self._held: list[Record] = []
        self._size = 0

    def add(self, key: Key, data: bytes) -> None:
        self._held.append((key, data))
        self._size += len(data) + RECORD_BYTES
        if self._size > self._run_bytes:
            self._held.sort(key=_KEY)
            self._keep(_written(self._held), 0)
            self._held, self._size = [], 0

    def sorted(self) -> Iterator[Record]:
        """All records, once."""
        self._held.sort(key=_KEY)
        # the older files first: among equal keys the earlier record comes first
        runs = [_records(file) for level in reversed(self._levels) for file in level]
        yield from heapq.merge(*runs, self._held, key=_KEY)

    def _keep(self, run: IO[bytes], level: int) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(run)
        if len(self._levels[level]) == self._fan_in:
            merged = _written(heapq.merge(*map(_records, self._levels[level]), key=_KEY))
            self._levels[level] = []
            self._keep(merged, level + 1)


def _written(records: Iterable[Record]) -> IO[bytes]:
    file = tempfile.TemporaryFile(prefix="gristmill-", buffering=BUFFER_BYTES)  # noqa: SIM115  closed when read
    for record in records:
        pickle.dump(record, file, pickle.HIGHEST_PROTOCOL)
    file.seek(0)
    return file


def _records(file: IO[bytes]) -> Iterator[Record]:
    with file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return
