"""The text of a document that is explained, wherever it can still be had, and how it differs from its survivor's.

In this order: the first pass's `documents` below `work/`, row for row with `signals/`; `curated/`, which has late edits
in it; the source, read again. What left in the first pass is stored nowhere, but for a preview in the ledger. A record
is a row's columns as a dictionary; one row group is held at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

import pyarrow as pa

from gristmill.pipeline.engine.manifest import Role
from gristmill.pipeline.views.explain.diff import Difference, difference
from gristmill.pipeline.views.explain.document import Document
from gristmill.pipeline.views.explain.find import Place, read_row
from gristmill.pipeline.views.explain.shards import locate
from gristmill.pipeline.views.explain.way import Run, departure, ledger_rows
from gristmill.pipeline.views.tables import LedgerRow, SignalsRow, StoredRow

EXCERPT_CHARACTERS = 1_000


@dataclass(frozen=True)
class Text:
    excerpt: str
    """Its first `EXCERPT_CHARACTERS` characters."""
    characters: int | None
    """Of the whole; None where only a preview is left."""
    origin: str


@dataclass(frozen=True)
class Comparison:
    """The document beside the one that stayed for it; of the difference the first text is the document's."""

    survivor: Document
    difference: Difference | None
    normalised: bool
    """Whether the texts are the same after NFC, CRLF → LF and an outer strip."""


def document_of(place: Place, measured: SignalsRow, rows: Sequence[LedgerRow]) -> Document:
    """What is known without the text; `complete` adds what only a stored or re-read record says."""
    known: SignalsRow = measured
    if not known and rows:
        known = {"domain": rows[0]["domain"], "language": rows[0]["language"], "url": rows[0]["url"]}
    size = measured.get("text_bytes")
    if size is None:
        size = next((row["bytes"] for row in rows if row["action"] != "edited"), None)
    return {
        "id": place.id.hex(),
        "own_id": None,
        "source": place.source,
        "path": place.path,
        "record": place.record,
        "domain": known.get("domain"),
        "category": known.get("category"),
        "language": known.get("language"),
        "url": known.get("url"),
        "timestamp": None,
        "priority": None,
        "metadata": None,
        "bytes": size,
        "partition": place.partition,
        "row": place.row if measured else None,
    }


def complete(run: Run, document: Document, stored: StoredRow | None) -> None:
    """Fills in what `signals/` and `ledger/` do not repeat."""
    row: StoredRow = stored or {}
    sources = run.configuration.get("sources", []) if run.configuration else []
    source = next((source for source in sources if source["name"] == document["source"]), None)
    if document["domain"] is None:
        document["domain"] = row.get("domain")
    if document["category"] is None:
        document["category"] = row.get("category")
    if document["language"] is None:
        document["language"] = row.get("language")
    if document["url"] is None:
        document["url"] = row.get("url")
    timestamp = row.get("timestamp")
    if timestamp is not None:
        document["timestamp"] = timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z")
    document["own_id"] = row.get("own_id")
    document["priority"] = row.get("priority", source.get("priority") if source else None)
    document["metadata"] = row.get("metadata")


def stored_text(
    run: Run, place: Place, found: tuple[str, int] | None, gone: LedgerRow | None
) -> tuple[StoredRow | None, str, list[str]]:
    """(the document's columns with its text, where they come from, what cannot be shown)."""
    notes = []
    file = None
    if place.file.startswith("signals/"):
        manifest = run.documents.get(place.partition) if place.partition is not None else None
        file = manifest.file(Role.DOCUMENTS) if manifest else None
        if file is not None:
            try:
                row = read_row(run.store, file.path, place.row)
                if row["id"] == place.id:
                    return row, "as the first pass stored it", []
            except (OSError, pa.ArrowException):
                pass
    if place.file.startswith("signals/"):
        notes.append("the first pass's texts are not there (work/ was removed, or is of another run)")
    if place.file.startswith("curated/"):
        found = (place.file, place.row)
    if found is not None:
        return read_row(run.store, *found), "as it is in curated/", notes
    from gristmill.pipeline.views.explain.source import read_again

    if not place.file.startswith("signals/"):
        notes.append("it left in the first pass, which keeps no text of such documents but a preview in the ledger")
    again, why = read_again(run.configuration, place.source, place.path, place.record)
    if again is not None and again["id"] == place.id:
        return again, "read again from the source as it is now", notes
    why = why or "the record at this place is another one now"
    return None, "", [*notes, f"its text cannot be shown: {why}"]


def text_of(stored: StoredRow | None, origin: str, rows: Sequence[LedgerRow]) -> Text | None:
    if stored is not None and (text := stored.get("text")):
        return Text(text[:EXCERPT_CHARACTERS], len(text), origin)
    if stored is not None and (raw := stored.get("raw")):
        return Text(raw, None, f"the record's first bytes, {origin}")
    preview = next((row["preview"] for row in rows if row["preview"]), None)
    return Text(preview, None, "the preview in the ledger, white space folded") if preview else None


def compare(run: Run, survivor: Place, stored: StoredRow | None, notes: list[str]) -> Comparison:
    from gristmill.kernels.text.hashing import text_hashes

    gone = departure(ledger_rows(run, survivor))
    measured: SignalsRow = (
        read_row(run.store, survivor.file, survivor.row) if survivor.file.startswith("signals/") else {}
    )
    found = None if gone else locate(run, survivor.id, measured.get("domain"), measured.get("language"))
    other, _, _ = stored_text(run, survivor, found, gone)
    facts = document_of(survivor, measured, [])
    complete(run, facts, other)
    first, second = (row.get("text") if row else None for row in (stored, other))
    if first is None or second is None:
        notes.append("the two texts cannot be compared, since one of them is not there")
        return Comparison(facts, None, False)
    hashes = text_hashes(pa.array([first, second], pa.large_string()))
    return Comparison(facts, difference(first, second), bool((hashes[0] == hashes[1]).all()))
