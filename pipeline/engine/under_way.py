"""What tasks that are still running have done so far, for progress: documents and bytes that they took in.

A task counts as it goes (`Task.counts`), so there is nothing to report for it to do. Tasks that take in nothing that
is counted show as nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gristmill.pipeline.engine.accounting import Counts

_RUNNING: dict[int, Mapping[str, Counts]] = {}
"""Of this process: id of the counts -> the counts of a task, by stage."""


@dataclass(frozen=True, slots=True)
class Amount:
    documents: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.bytes + other.bytes)


@contextmanager
def running(counts: Mapping[str, Counts]) -> Iterator[None]:
    """While a task runs that counts into `counts`."""
    _RUNNING[id(counts)] = counts
    try:
        yield
    finally:
        del _RUNNING[id(counts)]


def here() -> Amount:
    """Of the tasks that run in this process. Called from another thread than theirs."""
    return sum(map(taken_in, list(_RUNNING.values())), Amount())


def taken_in(counts: Mapping[str, Counts]) -> Amount:
    """By a task's first stage."""
    first = list(counts.values())[:1]
    return Amount(first[0].documents_in, first[0].bytes_in) if first else Amount()
