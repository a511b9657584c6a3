"""The clusters of duplicates that a document was in: who stayed, how many there were, which others left.

From the ledger alone: whoever left as a duplicate has the survivor's id in its row, so a cluster's size is one more
than the rows of its step that name its survivor. A survivor of one step may leave as a duplicate in a later one;
the chain is followed to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.steps.published import row_group
from gristmill.pipeline.views.explain.find import Place, Query, find, id_mask, over
from gristmill.pipeline.views.explain.way import Run, departure, ledger_rows
from gristmill.pipeline.views.tables import LedgerRow
from gristmill.storage.store import Store

MEMBERS = 10
"""Others of a cluster that are named; all are counted."""
HOPS = 8

COLUMNS = ("stage", "survivor", "id", "source", "path", "record")


@dataclass(frozen=True)
class Cluster:
    step: str
    role: str
    """duplicate: this document left; survivor: it stayed; survivor's: its survivor left as a duplicate in turn."""
    survivor: str
    survivor_name: str
    """source:path:record; empty where it cannot be found."""
    size: int
    """Documents, the survivor included."""
    fate: str
    """What became of the survivor."""
    others: list[tuple[str, str]]
    """(id, source:path:record) of up to `MEMBERS` that left, this document aside."""


def clusters(run: Run, place: Place, rows: Sequence[LedgerRow]) -> tuple[list[Cluster], Place | None]:
    """Clusters in the order of the steps, then those of its survivors; and the place of the document's own survivor."""
    chain: list[tuple[str, bytes, Place | None, str]] = []  # step, survivor, where it is, what became of it
    leaving = departure(rows)
    document = place
    while leaving is not None and leaving["survivor"] and len(chain) < HOPS:
        survivor = find_survivor(run, leaving["survivor"], document)
        following = departure(ledger_rows(run, survivor)) if survivor else None
        fate = (
            "" if survivor is None else "kept" if following is None else f"{following['action']} by {following['rule']}"
        )
        chain.append((leaving["stage"], leaving["survivor"], survivor, fate))
        if survivor is None:
            break
        document, leaving = survivor, following
    found = members(run, [place.id, *(survivor for _, survivor, _, _ in chain)])
    result = []
    for (step, key), (count, named) in found.items():
        hop = next((i for i, link in enumerate(chain) if link[:2] == (step, key)), None)
        if hop is None and key != place.id:
            continue
        others = [(other.hex(), name) for other, name in named if (other, name) != (place.id, place.name)][:MEMBERS]
        if hop is None:
            fate = fate_of(departure(rows))
            result.append(Cluster(step, "survivor", key.hex(), place.name, count + 1, fate, others))
        else:
            _, _, where, fate = chain[hop]
            role = "survivor's" if hop else "duplicate"
            result.append(Cluster(step, role, key.hex(), where.name if where else "", count + 1, fate, others))
    order = {"survivor": 0, "duplicate": 1, "survivor's": 2}
    result.sort(key=lambda cluster: order[cluster.role])
    return result, chain[0][2] if chain else None


def fate_of(gone: LedgerRow | None) -> str:
    return "kept" if gone is None else f"{gone['action']} by {gone['rule']}"


def find_survivor(run: Run, survivor: bytes, document: Place) -> Place | None:
    """The document that stayed. With two under one id it is the other one."""
    places, _ = find(run.store, Query("", (survivor,), "", (), ()))
    candidates = [place for place in places if place.document != document.document]
    return first_of_its_id(run, candidates) if candidates else None


def first_of_its_id(run: Run, places: Sequence[Place]) -> Place:
    """Of documents under one id the one that was not quarantined for it, and rather one that was read to the end."""

    def rank(place: Place) -> tuple[bool, bool, str, int]:
        gone = departure(ledger_rows(run, place))
        second = gone is not None and gone["rule"].endswith(".duplicate_id")
        return second, place.file.startswith("ledger/"), place.path, place.record

    return places[0] if len(places) == 1 else min(places, key=rank)


Members = dict[tuple[str, bytes], tuple[int, list[tuple[bytes, str]]]]


def members(run: Run, survivors: Sequence[bytes]) -> Members:
    """(stage, survivor) → how many left for it, and the first of them, in the order of the ledger."""
    store = run.store
    result: Members = {}
    for _, found in over(store, run.ledger, lambda path: _members(store, path, survivors)):
        for key, (count, named) in found.items():
            before, names = result.get(key, (0, []))
            result[key] = (before + count, (names + named)[: MEMBERS + 1])
    return result


def _members(store: Store, path: str, survivors: Sequence[bytes]) -> Members:
    result: Members = {}
    with store.open_input(path) as handle:
        parquet = pq.ParquetFile(handle, pre_buffer=True)
        for group in range(parquet.num_row_groups):
            table = row_group(parquet, path, group, ["survivor"])
            masks = {survivor: id_mask(table, [survivor], "survivor") for survivor in dict.fromkeys(survivors)}
            if not any(mask.any() for mask in masks.values()):
                continue
            whole = row_group(parquet, path, group, COLUMNS)
            for survivor, mask in masks.items():
                rows = np.flatnonzero(mask)
                if len(rows) == 0:
                    continue
                first = whole.take(pa.array(rows[: MEMBERS + 1])).to_pylist()
                key = (first[0]["stage"], survivor)  # a file is of one step
                before, names = result.get(key, (0, []))
                named = [(row["id"], f"{row['source']}:{row['path']}:{row['record']}") for row in first]
                result[key] = (before + len(rows), (names + named)[: MEMBERS + 1])
    return result
