"""What a shuffle costs before it is run: segments, merge rounds, bytes, requests, as `pipeline.engine.exchange` makes.

A sender writes a segment for every partition that it has rows for: of R rows sent at random to P partitions that is
P·(1 − e^(−R/P)) segments in expectation. A task that receives reads of every file that it is given the tail and the
blocks of the index that are its own, then its segments, a request for those that lie together. With more senders than
`max_segments` merge rounds come between, counted by the rule of `pipeline.engine.exchange.merged`. Nothing is read or
written here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from gristmill.pipeline.engine.exchange import BLOCK_SEGMENTS, FOOTER_BYTES, TAIL_BYTES
from gristmill.pipeline.engine.sending import RUN_BYTES

ENTRY_BYTES = 40
"""Of an index: five uint64 a segment."""


@dataclass(frozen=True)
class Merge:
    """One merge round. `indexes` are bytes of indexes read, `gets` requests to a store; both over all tasks."""

    tasks: int
    files: int
    """That the task with most of them opens."""
    segments: int
    indexes: int
    gets: int


@dataclass(frozen=True)
class Shuffle:
    """One exchange, from its senders over the merge rounds to its receivers."""

    senders: int
    receivers: int
    rows: int
    segments: int
    """Written by all senders together; merge rounds copy them one by one."""
    bytes: int
    """That the senders write, index included; a merge round reads and writes as many."""
    merges: tuple[Merge, ...]
    files: int
    """That a receiver opens: at most `max_segments`."""
    indexes: int
    gets: int
    """By the receivers: bytes of indexes read, requests."""


def shuffle(
    senders: int,
    receivers: int,
    rows: float,
    content: float,
    segment_bytes: float,
    max_segments: int,
    spread: float | None = None,
) -> Shuffle:
    """The exchange of `rows` rows of `content` bytes in all.

    segment_bytes: what a segment takes beside its rows (schema and framing). senders and receivers are 1 or more.
    spread: how many partitions a sender has rows for, where that is known.
    """
    senders, receivers = max(1, senders), max(1, receivers)
    runs = max(1, math.ceil(content / senders / RUN_BYTES))
    each = rows / senders / runs
    reached = receivers * -math.expm1(-each / receivers) if spread is None else min(spread, receivers)
    segments = round(senders * runs * reached)
    size = round(content + segments * (segment_bytes + ENTRY_BYTES) + senders * FOOTER_BYTES)
    ranges = Counter({(receivers, senders): 1})  # (partitions of a range, files that hold them) -> such ranges
    merges = []
    holders = senders
    while max(files for _, files in ranges) > max_segments:
        opened, most, ranges, written = _merge(ranges, max_segments)
        merges.append(Merge(written, most, segments, *_requests(opened, holders, segments, size, runs)))
        holders, runs = written, 1
    opened = sum(width * files * count for (width, files), count in ranges.items())
    most = max(files for _, files in ranges)
    requests = _requests(opened, holders, segments, size, runs)
    return Shuffle(senders, receivers, round(rows), segments, size, tuple(merges), most, *requests)


def _merge(ranges: Counter[tuple[int, int]], max_segments: int) -> tuple[int, int, Counter[tuple[int, int]], int]:
    """One round over all ranges: files opened, the most by one task, the ranges after it, tasks (a file each)."""
    following: Counter[tuple[int, int]] = Counter()
    tasks = opened = 0
    for (width, files), count in ranges.items():
        part = max(1, -(-width // max_segments))
        groups = -(-files // max_segments)
        for size, number in ((part, width // part), (width % part, 1 if width % part else 0)):
            if number:
                following[size, groups] += count * number
                tasks += count * number * groups
                opened += count * number * files
    return opened, min(max_segments, max(files for _, files in ranges)), following, tasks


def _requests(opened: int, holders: int, segments: int, size: int, runs: int) -> tuple[int, int]:
    """(bytes of indexes read, requests) where `holders` files of `size` bytes in all are opened so often.

    A file is asked for its size, for its tail, and once more where the index is longer; to read segments it is opened
    again, and asked once for those of each run.
    """
    index = FOOTER_BYTES + ENTRY_BYTES * segments / holders
    again = index > TAIL_BYTES
    blocks = -(-segments // (opened * BLOCK_SEGMENTS)) + 1 if again else 0
    read = min(TAIL_BYTES, size / holders) + min(index, blocks * BLOCK_SEGMENTS * ENTRY_BYTES)
    return round(opened * read), opened * (4 if again else 3) + min(segments, opened * runs)
