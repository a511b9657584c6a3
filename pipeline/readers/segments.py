"""Cuts an inventory into partitions of about `partition_bytes`, the unit of work of the first pass.

A function of the inventory and `partition_bytes` alone: handles and batches follow from it, so the number of workers
must not enter. A partition holds one source. Small files are taken together in inventory order; a large plain JSONL
file is cut into byte ranges, Parquet between row groups; a compressed file stays whole. Compressed bytes count
`EXPANSION`-fold, because work follows from text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypedDict

from gristmill.pipeline.readers.format_table import format_named

if TYPE_CHECKING:
    from gristmill.pipeline.readers.inventory import FileEntry
    from gristmill.storage.json_values import Json

EXPANSION = 4  # text per compressed byte: 3.2 to 5.1 for WARC, JSONL and manual pages, measured on the test data
MAX_SEGMENTS = 4_096  # small files in a partition: bounds the size of a task and gives work to several workers


@dataclass(frozen=True)
class Segment:
    uri: str
    path: str
    size: int
    """Of the whole file, as stored."""
    start: int
    end: int
    """Bytes of a plain JSONL file, row groups of a Parquet file, (0, size) of a whole file."""
    unit: str = "bytes"
    """bytes | row_groups"""
    format: str = ""
    """What its reader reads; empty: as the name says."""
    encoding: str | None = None
    """Of a file of lines or records that is not UTF-8, where its beginning or its source says so."""

    @property
    def is_whole(self) -> bool:
        return self.unit == "bytes" and self.start == 0 and self.end == self.size


class SegmentRecord(TypedDict):
    """A `Segment` as JSON values."""

    uri: str
    path: str
    size: int
    start: int
    end: int
    unit: str
    format: str
    encoding: str | None


class PartitionRecord(TypedDict):
    """A `Partition` as JSON values."""

    index: int
    source: str
    segments: list[SegmentRecord]
    bytes: int


@dataclass(frozen=True)
class Partition:
    index: int
    source: str
    segments: tuple[Segment, ...]
    bytes: int
    """Of text, estimated."""

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @staticmethod
    def from_json(value: PartitionRecord) -> Partition:
        segments = tuple(Segment(**segment) for segment in value["segments"])
        return Partition(value["index"], value["source"], segments, value["bytes"])


def partitions(inventory: Sequence[FileEntry], partition_bytes: int) -> list[Partition]:
    """`partition_bytes` > 0: estimated bytes of text; a file that cannot be cut may exceed it."""
    if partition_bytes <= 0:
        raise ValueError(f"plan.partition_bytes: {partition_bytes} is not a size; give a positive number of bytes")
    result: list[Partition] = []
    held: list[Segment] = []
    held_source = ""
    weight = 0
    for source, segment, size in _segments(inventory, partition_bytes):
        full = weight + size > partition_bytes or len(held) == MAX_SEGMENTS
        if held and (full or source != held_source):
            result.append(Partition(len(result), held_source, tuple(held), weight))
            held, weight = [], 0
        held.append(segment)
        held_source = source
        weight += size
    if held:
        result.append(Partition(len(result), held_source, tuple(held), weight))
    return result


def _segments(inventory: Iterable[FileEntry], partition_bytes: int) -> Iterator[tuple[str, Segment, int]]:
    """(source, segment, estimated bytes of text)."""
    for file in inventory:
        by_bytes = format_named(file.format).cut == "bytes" and file.compression is None and file.encoding is None
        if by_bytes and file.size > partition_bytes:
            pieces = -(-file.size // partition_bytes)
            bounds = [file.size * i // pieces for i in range(pieces + 1)]
            for start, end in pairwise(bounds):
                yield file.source, Segment(file.uri, file.path, file.size, start, end, format=file.format), end - start
        elif file.row_groups:
            for start, end, size in _runs(file.row_groups, partition_bytes):
                yield file.source, Segment(file.uri, file.path, file.size, start, end, "row_groups", file.format), size
        else:
            size = file.size * (EXPANSION if file.compression else 1)
            whole = Segment(file.uri, file.path, file.size, 0, file.size, format=file.format, encoding=file.encoding)
            yield file.source, whole, size


def _runs(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, bytes) of runs of neighbours, each within `limit` or of one."""
    start, total = 0, 0
    for i, size in enumerate(sizes):
        if i > start and total + size > limit:
            yield start, i, total
            start, total = i, 0
        total += size
    yield start, len(sizes), total
