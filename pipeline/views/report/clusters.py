"""The largest clusters of duplicates with some of their members, from the ledger's column `survivor`.

Counting by survivor is bounded: at most COUNTERS counters are kept (Misra & Gries 1982; merged as in Agarwal et al.
2012: where there are more, the largest one that is too many is subtracted from all). A cluster larger than
(documents removed) / COUNTERS cannot be lost that way; where anything was subtracted a second pass counts the
candidates exactly. Members are the smallest ids of a cluster, those with a preview first. The survivor's own data come
from `signals/`; one of another run, as in an incremental corpus, has its id alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.views.published import ledger_files, parts, step_of
from gristmill.pipeline.views.report.sums import column_batches
from gristmill.pipeline.views.tables import MemberRow
from gristmill.storage.store import Store

CLUSTERS = 12
MEMBERS = 10
"""Members shown of a cluster, the survivor included."""
COUNTERS = 1 << 18
SHOWN = ("id", "source", "path", "record", "domain", "language", "preview")
ID = pa.binary(16)


@dataclass(frozen=True)
class Cluster:
    """size: documents, the survivor included. kept: the survivor's row, with at least `id`. removed: some others."""

    step: str
    size: int
    kept: MemberRow
    removed: tuple[MemberRow, ...]


def largest_clusters(store: Store, steps: Sequence[str] = ()) -> dict[str, tuple[Cluster, ...]]:
    """Step -> its CLUSTERS largest clusters, the largest first, among equals the smallest survivor's id first.

    steps: names of the run's steps in order.
    """
    folders: dict[str, list[str]] = {}
    for path in ledger_files(store, steps):
        folders.setdefault(step_of(path), []).append(path)
    found = {step: largest(store, paths) for step, paths in folders.items()}
    found = {step: sizes for step, sizes in found.items() if sizes}
    wanted = sorted({survivor for sizes in found.values() for survivor, _ in sizes})
    kept = survivors(store, wanted)
    result = {}
    for step, sizes in found.items():
        removed = members(store, folders[step], [survivor for survivor, _ in sizes])
        result[step] = tuple(
            Cluster(step, n + 1, kept.get(survivor, {"id": survivor}), removed[survivor]) for survivor, n in sizes
        )
    return result


def largest(store: Store, paths: Sequence[str]) -> list[tuple[bytes, int]]:
    """(survivor, documents removed for it) of the CLUSTERS largest."""
    counts: dict[bytes, int] = {}
    exact = True
    for values in removed_for(store, paths):
        for survivor, n in zip(*_counted(values), strict=True):
            counts[survivor] = counts.get(survivor, 0) + n
        if len(counts) > COUNTERS:
            exact = False
            too_many = sorted(counts.values(), reverse=True)[COUNTERS]
            counts = {survivor: n - too_many for survivor, n in counts.items() if n > too_many}
    if not exact:
        candidates = dict.fromkeys(counts, 0)
        known = pa.array(sorted(candidates), ID)
        for values in removed_for(store, paths):
            for survivor, n in zip(*_counted(values.filter(pc.is_in(values, known))), strict=True):
                candidates[survivor] += n
        counts = candidates
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:CLUSTERS]


def removed_for(store: Store, paths: Sequence[str]) -> Iterator[pa.Array]:
    """The survivors' ids, batch by batch."""
    for batch in column_batches(store, paths, ["survivor"]):
        values = batch.column("survivor").drop_null()
        if len(values):
            yield values


def _counted(values: pa.Array) -> tuple[list[bytes], list[int]]:
    coded = values.dictionary_encode()
    counts = np.bincount(coded.indices.to_numpy(), minlength=len(coded.dictionary))
    return coded.dictionary.to_pylist(), counts.tolist()


def members(store: Store, paths: Sequence[str], wanted: Sequence[bytes]) -> dict[bytes, tuple[MemberRow, ...]]:
    """Survivor -> at most MEMBERS - 1 of the documents removed for it."""
    known = pa.array(wanted, ID)
    found: dict[bytes, list[MemberRow]] = {survivor: [] for survivor in wanted}
    for batch in column_batches(store, paths, [*SHOWN, "bytes", "survivor"]):
        mine = batch.filter(pc.is_in(batch.column("survivor"), known))
        for row in first_rows(mine).to_pylist():
            found[row["survivor"]].append(row)
        for survivor, rows in found.items():
            if len(rows) >= MEMBERS:
                found[survivor] = sorted(rows, key=_rank)[: MEMBERS - 1]
    return {survivor: tuple(sorted(rows, key=_rank)[: MEMBERS - 1]) for survivor, rows in found.items()}


def first_rows(batch: pa.RecordBatch) -> pa.Table:
    """At most MEMBERS - 1 rows of each survivor, in order of `_rank`."""
    without = batch.column("preview").is_null()
    keys = {"survivor": batch.column("survivor"), "without": without, "id": batch.column("id")}
    table = pa.table({**keys, "row": np.arange(batch.num_rows)}).sort_by([(key, "ascending") for key in keys])
    codes = table["survivor"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    place = np.arange(len(codes)) - np.searchsorted(codes, codes)
    return pa.Table.from_batches([batch]).take(table["row"].filter(pa.array(place < MEMBERS - 1)))


def survivors(store: Store, wanted: Sequence[bytes]) -> dict[bytes, MemberRow]:
    """Id -> the document's row in `signals/`, with its bytes of text."""
    known = pa.array(wanted, ID)
    found: dict[bytes, MemberRow] = {}
    columns = [*SHOWN, "url", "text_bytes"]
    for batch in column_batches(store, parts(store, "signals") if wanted else [], columns):
        for row in batch.filter(pc.is_in(batch.column("id"), known)).to_pylist():
            found[row["id"]] = row | {"bytes": row["text_bytes"]}
    return found


def _rank(row: MemberRow) -> tuple[bool, bytes]:
    return row["preview"] is None, row["id"]
