"""One document's way through all steps of the last run in an output, from where it was read to its place in the shards.

    explain(Store("out"), "3f2a9c41…") -> Explanation

It is found by scanning id columns (`pipeline.views.explain.find`), followed through the ledger
(`pipeline.views.explain.way`, `pipeline.views.explain.clusters`), compared with its survivor
(`pipeline.views.explain.text`) and located in `curated/` and the shards (`pipeline.views.explain.shards`). Memory is
that of a few row groups. Rendering is `pipeline.views.explain.show`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypedDict

from gristmill.pipeline.steps.first_pass import IDENTIFYING
from gristmill.pipeline.steps.removal import load as load_removed
from gristmill.pipeline.views.explain.clusters import Cluster, clusters, first_of_its_id
from gristmill.pipeline.views.explain.document import Document
from gristmill.pipeline.views.explain.find import Place, find, parse, read_row
from gristmill.pipeline.views.explain.shards import Blend, blends, count_tokens, locate, sampled
from gristmill.pipeline.views.explain.text import (
    Comparison,
    Text,
    compare,
    complete,
    document_of,
    stored_text,
    text_of,
)
from gristmill.pipeline.views.explain.way import Limit, Run, Step, departure, ledger_rows, limits, number, open_run, way
from gristmill.pipeline.views.tables import SignalsRow
from gristmill.storage.json_values import Json
from gristmill.storage.store import Store
from gristmill.wording import plural

SHOWN_MATCHES = 5


class CuratedPlace(TypedDict):
    """Where a document is in `curated/`."""

    file: str
    row: int


@dataclass(frozen=True)
class Explanation:
    query: str
    output: str
    id: str
    outcome: str
    """curated | dropped | quarantined | merged | missing"""
    summary: str
    document: Document
    steps: list[Step]
    limits: list[Limit]
    signals: dict[str, float | None]
    clusters: list[Cluster]
    comparison: Comparison | None
    text: Text | None
    curated: CuratedPlace | None
    tokens: int | None
    """With eos, by the output's tokenizer."""
    blends: list[Blend]
    notes: list[str]
    """What cannot be shown, and why."""

    def to_dict(self) -> dict[str, Json]:
        """As JSON values."""
        return asdict(self)


def explain(store: Store, query: str) -> Explanation:
    """ValueError in one sentence where `query` means no document, or several."""
    run = open_run(store)
    place, notes = _the_one(run, query)
    rows = ledger_rows(run, place)
    gone = departure(rows)
    if not run.record:
        notes.append("run.json is missing, so steps have no fingerprints and sources no configuration")
    measured: SignalsRow = {}
    values: dict[str, float | None] = {}  # of the same row: its signals
    if place.file.startswith("signals/"):
        measured = values = read_row(store, place.file, place.row)
    document = document_of(place, measured, rows)
    found = None if gone else locate(run, place.id, document["domain"], document["language"])
    stored, origin, notes_of_text = stored_text(run, place, found, gone)
    notes += notes_of_text
    complete(run, document, stored)
    signals = {name: value for name, value in values.items() if name not in (*IDENTIFYING, "preview")}
    resolved = limits(run, measured, values, rows) if measured else []
    related, survivor = clusters(run, place, rows)
    comparison = compare(run, survivor, stored, notes) if survivor else None
    curated: CuratedPlace | None = {"file": found[0], "row": found[1]} if found else None
    placed = blends(run, document) if found else []
    tokens = _tokens(run, found, placed)
    steps = way(
        run,
        place,
        rows,
        _details(run, document, measured, resolved, related, curated, tokens, placed),
        [limit.rule for limit in resolved if limit.failed],
    )
    lost = next((step for step in steps if step.action == "missing"), None)
    outcome = gone["action"] if gone else "missing" if lost or not found else "curated"
    if outcome == "missing" and not lost:
        notes.append(
            "it left in no step, yet curated/ does not hold it: `gristmill verify` says whether files are missing"
        )
    return Explanation(
        query=query,
        output=store.shown,
        id=place.id.hex(),
        outcome=outcome,
        summary=_summary(steps, outcome, related, placed),
        document=document,
        steps=steps,
        limits=resolved,
        signals=signals,
        clusters=related,
        comparison=comparison,
        text=text_of(stored, origin, rows),
        curated=curated,
        tokens=tokens,
        blends=placed,
        notes=notes,
    )


def _the_one(run: Run, text: str) -> tuple[Place, list[str]]:
    """The document meant, and what is to be said of others with its id."""
    sources = run.configuration.get("sources", []) if run.configuration else []
    query = parse(text, [source["name"] for source in sources])
    places, count = find(run.store, query)
    if not places:
        removed = next((r for r in load_removed(run.store) if bytes.fromhex(r.id) in query.ids), None)
        if removed is not None:
            raise ValueError(f"{text}: removed from {run.store.shown} on request; nothing is held of it")
        raise ValueError(
            f"{text}: no document of {run.store.shown} has this id, URL or place; give 32 hexadecimal digits or the "
            "first 6 and more, or source:path:record, or a URL (what left while it was read is not found by URL)"
        )
    ids = {place.id for place in places}
    if len(ids) > 1 or count > len(places):
        listed = ", ".join(f"{place.id.hex()} ({place.name})" for place in places[:SHOWN_MATCHES])
        more = f" and {count - SHOWN_MATCHES:,} more" if count > SHOWN_MATCHES else ""
        raise ValueError(f"{text}: {count:,} documents match: {listed}{more}; give the id of one")
    chosen = first_of_its_id(run, places)
    others = [place.name for place in places if place is not chosen]
    return chosen, [
        f"{name} has the same id and was quarantined or dropped: ask for it by this name" for name in others
    ]


def _tokens(run: Run, found: tuple[str, int] | None, placed: Sequence[Blend]) -> int | None:
    copy = next((copy for blend in placed for copy in blend.copies), None)
    if copy is not None or found is None:
        return copy.tokens if copy else None
    return count_tokens(run, read_row(run.store, *found, ["text"])["text"])


def _details(
    run: Run,
    document: Document,
    measured: SignalsRow,
    resolved: Sequence[Limit],
    related: Sequence[Cluster],
    curated: CuratedPlace | None,
    tokens: int | None,
    placed: Sequence[Blend],
) -> dict[str, tuple[str, str]]:
    """Stage or step → (action, what there is to say) where it let the document pass."""
    details = {"read": ("kept", f"record {document['record']:,}")}
    score, least = measured.get("language_score"), run.settings("language").get("min_score")
    if document["language"] and measured:
        asked = f", at least {number(least)} asked" if isinstance(least, int | float) else ""
        scored = f", score {number(score)}{asked}" if score is not None else ", as its reader says"
        details["language"] = ("kept", f"{document['language']}{scored}")
    if measured:
        details["signals"] = ("measured", f"{len(measured) - len(IDENTIFYING)} signals")
        applying = sum(limit.applies for limit in resolved)
        details["rules"] = ("kept", f"within all {plural(applying, 'rule')} that apply to it, of {len(resolved)}")
    for step in run.stages:
        stays = next((c for c in related if c.step == step and c.role == "survivor"), None)
        if stays is not None:
            details[step] = ("kept", f"stays for a cluster of {stays.size:,}")
        elif step in ("identity", "exact_dedup", "near_dedup"):
            details[step] = ("kept", "no duplicate")
    if curated is not None:
        details["curate"] = ("written", f"{curated['file']}, row {curated['row']:,}")
        chosen = sampled(run, document)
        details["tokenizer"] = chosen or ("kept", "")
        details["blend.units"] = ("counted", "its tokens are among those of its group")
    if tokens is not None:
        details["tokenize"] = ("encoded", f"{plural(tokens, 'token')}, eos included")
    for blend in placed:
        held = any(copy.holdout for copy in blend.copies)
        action = "held out" if held else "drawn" if blend.copies else "not drawn"
        count = len(blend.copies)
        details[f"blend/{blend.name}"] = (action, f"{count} {'copy' if count == 1 else 'copies'}" if count else "")
    return details


def _summary(steps: Sequence[Step], outcome: str, related: Sequence[Cluster], placed: Sequence[Blend]) -> str:
    if outcome == "curated":
        parts = []
        for blend in placed:
            parts.append(f"{blend.detail.partition(';')[0].partition(':')[0]} in blend {blend.name}")
        return ", ".join(["in curated/", *parts])
    last = next((step for step in steps if step.action == outcome), None)
    if last is None:
        return outcome
    text = f"{outcome} at {last.stage}"
    if last.survivor and outcome == "merged":
        return f"{text}: joined into {last.survivor}"
    if last.survivor:
        cluster = next((c for c in related if c.role == "duplicate"), None)
        size = f" in a cluster of {cluster.size:,}" if cluster else ""
        return f"{text}: a duplicate of {last.survivor}{size}"
    also = f"; it fails {len(last.failing)} rules" if len(last.failing) > 1 else ""
    return f"{text}: {last.detail}{also}"
