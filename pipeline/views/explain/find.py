"""Finding one document in an output without loading the corpus: id columns are scanned, file by file.

A query is an id (32 hexadecimal digits, or the first 6 and more), a URL, the source's own id, `source:path` or
`source:path:record`. `signals/` has every document that the first pass kept, `ledger/` those that left in it,
`curated/` those that a stage made of others. Of each file a row group's columns are held at a time: 48 bytes a document
for an id, the strings for a URL or a path. The ledger holds no URLs, so what left in the first pass has none here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.kernels.text.hexadecimal import id_bytes
from gristmill.pipeline.steps.published import has, row_group
from gristmill.pipeline.views.published import parts, step_of
from gristmill.storage.store import Store

THREADS = 8  # files are read side by side: on an object store a file costs its latency, not its bytes
PREFIX_DIGITS = 6
HITS_PER_FILE = 10
"""Places that are remembered of a file; all are counted."""

Mask = Callable[[pa.Table], np.ndarray]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A document and where it was found: row `row` of `file`."""

    id: bytes
    source: str
    path: str
    record: int
    file: str
    row: int
    partition: int | None
    """Of the first pass; None for a document that a later stage made."""

    @property
    def name(self) -> str:
        return f"{self.source}:{self.path}:{self.record}"

    @property
    def document(self) -> tuple[bytes, str, str, int]:
        """What tells it from another with the same id."""
        return self.id, self.source, self.path, self.record


@dataclass(frozen=True)
class Query:
    """What a person's words may mean."""

    text: str
    ids: tuple[bytes, ...]
    prefix: str
    urls: tuple[str, ...]
    places: tuple[tuple[str, str, int | None], ...]
    """(source, path, record or None for any)."""


def parse(text: str, sources: Sequence[str]) -> Query:
    """All readings of `text`, given the names of the output's sources. ValueError where it is empty."""
    from gristmill.kernels.text.hashing import document_ids

    text = text.strip()
    if not text:
        raise ValueError("explain: nothing to look for; give an id, a URL or source:path:record")
    digits = text.lower().replace("-", "") if re.fullmatch(r"[0-9a-fA-F-]+", text) else ""
    ids = [bytes.fromhex(digits)] if len(digits) == 32 else []
    places: list[tuple[str, str, int | None]] = []
    named = [(name, text.removeprefix(name + ":")) for name in sources if text.startswith(name + ":")]
    for name, rest in named:
        places.append((name, rest, None))
        if found := re.fullmatch(r"(.+):(\d{1,18})", rest, re.S):
            places.append((name, found[1], int(found[2])))
    for name, own_id in [*named, *((name, text) for name in sources)]:
        ids.append(document_ids(name, pa.array([own_id], pa.string())).tobytes())
    prefix = digits if PREFIX_DIGITS <= len(digits) < 32 else ""
    stem = text.rstrip("/")
    urls = (stem, stem + "/") if "://" in text else ()
    return Query(text, tuple(dict.fromkeys(ids)), prefix, urls, tuple(places))


def find(store: Store, query: Query) -> tuple[list[Place], int]:
    """The documents that the query means, and how many there are; of many the first are listed.

    An id, URL or place in full counts before an id that only begins so.
    """
    exact, begins = Found(), Found()
    for files in (first_pass_files(store), parts(store, "curated")):
        for _, (whole, beginning) in over(store, files, lambda path: _search(store, path, query)):
            exact.add(*whole)
            begins.add(*beginning)
        for found in (exact, begins):
            if found.count:
                return list(found.places.values()), max(found.count, len(found.places))
    return [], 0


class Found:
    """Places by document: the ledger has a row for each step that changed one, `signals/` may have it too."""

    def __init__(self) -> None:
        self.places: dict[tuple[bytes, str, str, int], Place] = {}
        self.count = 0

    def add(self, places: list[Place], count: int) -> None:
        new = {place.document: place for place in reversed(places) if place.document not in self.places}
        self.count += count - (len(places) - len(new))
        self.places.update(reversed(new.items()))


def first_pass_files(store: Store) -> list[str]:
    """`signals/`, then the ledger of the first pass."""
    return parts(store, "signals") + [path for path in parts(store, "ledger") if step_of(path) == "read"]


def over(store: Store, files: Iterable[str], function: Callable[[str], Result]) -> Iterator[tuple[str, Result]]:
    """(file, result) in order, of the Parquet files."""
    paths = [path for path in files if path.endswith(".parquet")]
    with ThreadPoolExecutor(THREADS) as pool:
        yield from zip(paths, pool.map(function, paths), strict=True)


Matches = tuple[list[Place], int]


def _search(store: Store, path: str, query: Query) -> tuple[Matches, Matches]:
    """Of one file: the places that match in full, and those whose id begins with the prefix."""
    columns = ["id"]
    if query.places:
        columns += ["source", "path", "record"]
    if query.urls:
        columns += ["url"]

    def whole(table: pa.Table) -> np.ndarray:
        mask = id_mask(table, query.ids)
        for source, file, record in query.places:
            here = pc.and_(pc.equal(table.column("source"), source), pc.equal(table.column("path"), file))
            if record is not None:
                here = pc.and_(here, pc.equal(table.column("record"), record))
            mask |= here.to_numpy()
        if "url" in table.column_names:
            mask |= pc.is_in(table.column("url"), pa.array(query.urls, table.column("url").type)).to_numpy()
        return mask

    def beginning(table: pa.Table) -> np.ndarray:
        return prefix_mask(table, query.prefix)

    masks: list[Mask] = [whole, beginning] if query.prefix else [whole]
    results: list[Matches] = [([], 0), ([], 0)]
    for number, (places, count) in enumerate(_matches(store, path, columns, masks)):
        results[number] = (places, count)
    return results[0], results[1]


def _matches(store: Store, path: str, columns: list[str], masks: Sequence[Mask]) -> list[Matches]:
    """Of each mask the places and their number; one pass over the file."""
    found: list[list[Place]] = [[] for _ in masks]
    counts = [0] * len(masks)
    partition = partition_of(path)
    with store.open_input(path) as handle:
        parquet = pq.ParquetFile(handle, pre_buffer=True)
        columns = [name for name in columns if has(parquet, path, name)]
        first = 0
        for group in range(parquet.num_row_groups):
            table = row_group(parquet, path, group, columns)
            for number, mask in enumerate(masks):
                rows = np.flatnonzero(mask(table))
                counts[number] += len(rows)
                chosen = rows[: HITS_PER_FILE - len(found[number])]
                if not len(chosen):
                    continue
                named = row_group(parquet, path, group, ["id", "source", "path", "record"])
                for row, value in zip(chosen.tolist(), named.take(pa.array(chosen)).to_pylist(), strict=True):
                    found[number].append(Place(**value, file=path, row=first + row, partition=partition))
            first += table.num_rows
    return list(zip(found, counts, strict=True))


def partition_of(path: str) -> int | None:
    """The partition of the first pass that a file of `signals/` or `ledger/` is of."""
    found = re.fullmatch(r"(?:signals|ledger/[^/]+)/part-(\d+)\.parquet", path)
    return int(found[1]) if found else None


def rows_with_id(
    store: Store, path: str, ids: Sequence[bytes], column: str = "id", columns: Sequence[str] | None = None
) -> list[tuple[int, Any]]:
    """(row, its columns) of a Parquet file where `column` is one of `ids`; all columns unless some are named."""
    found = []
    with store.open_input(path) as handle:
        parquet = pq.ParquetFile(handle, pre_buffer=True)
        first = 0
        for group in range(parquet.num_row_groups):
            table = row_group(parquet, path, group, [column])
            rows = np.flatnonzero(id_mask(table, ids, column))
            if len(rows):
                whole = row_group(parquet, path, group, columns)
                values = whole.take(pa.array(rows)).to_pylist()
                found += [(first + row, value) for row, value in zip(rows.tolist(), values, strict=True)]
            first += table.num_rows
    return found


def read_row(store: Store, path: str, row: int, columns: Sequence[str] | None = None) -> Any:
    """One row of a Parquet file by column; its row group is read."""
    with store.open_input(path) as handle:
        parquet = pq.ParquetFile(handle, pre_buffer=True)
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if row < count:
                table = row_group(parquet, path, group, columns)
                return table.slice(row, 1).to_pylist()[0]
            row -= count
    raise OSError(f"{store.path(path)}: has no row {row}; run again to restore it")


def id_mask(table: pa.Table, ids: Sequence[bytes], column: str = "id") -> np.ndarray:
    """(rows,) bool: whose 16 bytes are among `ids`; a null is not."""
    words = id_bytes(table.column(column).combine_chunks()).view("<u8")
    mask = np.zeros(len(words), bool)
    for value in ids:
        first, second = np.frombuffer(value, "<u8")
        mask |= (words[:, 0] == first) & (words[:, 1] == second)
    if mask.any() and table.column(column).null_count:
        mask &= table.column(column).is_valid().to_numpy()
    return mask


def prefix_mask(table: pa.Table, digits: str) -> np.ndarray:
    """(rows,) bool: whose hexadecimal id begins with `digits`."""
    values = id_bytes(table.column("id").combine_chunks())
    mask = (
        values[:, : len(digits) // 2] == np.frombuffer(bytes.fromhex(digits[: len(digits) // 2 * 2]), np.uint8)
    ).all(1)
    if len(digits) % 2:
        mask &= values[:, len(digits) // 2] >> 4 == int(digits[-1], 16)
    return mask
