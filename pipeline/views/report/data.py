"""What a run left behind, gathered for its report: `run.json`, the ledger's rules and some documents of each rule.

The ledger is read file by file and batch by batch with the columns that are shown; of each rule PREVIEWS rows stay in
memory: the smallest ids among those with a preview (where none has one, among all), so the choice does not
depend on order. `alone` counts documents that failed no other rule of their stage (one bit in `failed`). What is
streamed besides: `distributions` over the signals, `clusters` of duplicates, `sums` of the shards' tokens, and `kept`
over what was curated.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.kernels.text.hexadecimal import in_bytes
from gristmill.pipeline.engine.publish import check_layout
from gristmill.pipeline.steps.chain import as_batch
from gristmill.pipeline.steps.outputs import RULES
from gristmill.pipeline.steps.record import RunRecord, measured_by, parsed
from gristmill.pipeline.views.published import parts
from gristmill.pipeline.views.report.clusters import Cluster, largest_clusters
from gristmill.pipeline.views.report.distributions import Distributions, distributions
from gristmill.pipeline.views.report.kept import Kept, kept
from gristmill.pipeline.views.report.sums import Group, shard_tokens
from gristmill.pipeline.views.tables import RuleRow, SampleRow
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store
from gristmill.storage.uris import redacted_values
from gristmill.tokenizer.report import Report

SAMPLES = 3
"""Documents that a rule's row opens to."""
PREVIEWS = 20
"""Documents of a rule that can be searched, where they have a preview."""
BATCH_ROWS = 16_384
SHOWN = ("id", "value", "limit", "language", "source", "path", "record", "survivor", "preview")
SCANNED = ("stage", "action", "rule", "failed", "bytes", *SHOWN)


@dataclass
class Taken:
    """What the ledger says of one (stage, rule)."""

    action: str
    documents: int = 0
    bytes: int = 0
    alone: int | None = None
    limits: set[float] = field(default_factory=set)  # at most three, to tell one from several
    samples: list[SampleRow] = field(default_factory=list)


@dataclass(frozen=True)
class Removal:
    """One rule or reason in one stage: what it took, its limits and source, sample documents."""

    stage: str
    rule: str
    action: str
    documents: int
    bytes: int
    documents_in: int  # of the stage
    alone: int | None
    minimum: float | None
    maximum: float | None
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    source: str
    limit: float | None  # where the rule is no row of the table but all its documents were held against one limit
    samples: tuple[SampleRow, ...]
    previews: tuple[SampleRow, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run's record and what its ledger adds."""

    name: str
    record: RunRecord
    removals: tuple[Removal, ...]
    idle: tuple[Removal, ...]  # rules that took nothing
    edits: tuple[Removal, ...]
    tokenizer: Report | None
    distributions: Distributions | None = None
    clusters: Mapping[str, tuple[Cluster, ...]] = field(default_factory=dict)  # by step, the largest first
    taken: Mapping[str, Mapping[Group, tuple[int, int]]] = field(default_factory=dict)
    """Blend -> (domain, category, source, language) -> copies and tokens in its shards."""
    kept: Kept | None = None


def gather(store: Store) -> Run:
    """Raises ValueError where `store` holds no run."""
    if not store.exists("run.json"):
        raise ValueError(f"{store.path('run.json')}: missing; give the output of a finished run, or run it to the end")
    check_layout(store)
    record = parsed(store.read("run.json"))
    record["configuration"] = redacted_values(record["configuration"])
    table = rule_rows(store)
    taken = scan(store)
    removals: dict[tuple[str, str], Removal] = {}
    for entry in record["funnel"]:
        for rule, (documents, size) in entry["rules"].items():
            key = (entry["stage"], rule)
            before = removals.get(key)
            extra = (before.documents, before.bytes, before.documents_in) if before else (0, 0, 0)
            figures = (documents + extra[0], size + extra[1], entry["documents_in"] + extra[2])
            removals[key] = _removal(key, figures, table.get(rule), taken.get(key))
    seen = {rule for _, rule in removals}
    idle = [_removal(("rules", name), (0, 0, 0), row, None) for name, row in table.items() if name not in seen]
    edits = [
        _removal(key, (found.documents, found.bytes, 0), None, found)
        for key, found in sorted(taken.items())
        if found.action == "edited"
    ]
    name = store.shown.rstrip("/").rsplit("/", 1)[-1]
    return Run(
        name,
        record,
        tuple(removals.values()),
        tuple(idle),
        tuple(edits),
        measured_by(record["tokenizer"]),
        distributions(store, list(table.values())),
        largest_clusters(store, [step["name"] for step in record["steps"]]),
        {blend: shard_tokens(store, f"shards/{blend}") for blend in record["blends"]},
        kept(store),
    )


def rule_rows(store: Store) -> dict[str, RuleRow]:
    """Rows of `manifests/rules.parquet` by rule, in configured order."""
    if not store.exists(RULES):
        return {}
    rows: dict[str, RuleRow] = {}
    for row in read_table(io.BytesIO(store.read(RULES))).to_pylist():
        rows.setdefault(row["rule"], row)
    return rows


def scan(store: Store) -> dict[tuple[str, str], Taken]:
    """(stage, rule) → what the ledger's files say of it."""
    taken: dict[tuple[str, str], Taken] = {}
    for batch in ledger_batches(store):
        keys = pc.binary_join_element_wise(batch.column("stage"), batch.column("rule"), batch.column("action"), "\0")
        coded = keys.dictionary_encode()
        codes = coded.indices.to_numpy(zero_copy_only=False)
        names = [tuple(name.split("\0")) for name in coded.dictionary.to_pylist()]
        documents = np.bincount(codes, minlength=len(names))
        bits = failing(batch.column("failed"))
        only = np.bincount(codes[bits == 1], minlength=len(names))
        masked = np.bincount(codes[bits > 0], minlength=len(names))
        left = batch.column("bytes").to_numpy()
        chosen = choose(batch, codes)
        for code, (stage, rule, action) in enumerate(names):
            entry = taken.setdefault((stage, rule), Taken(action))
            rows = codes == code
            entry.documents += int(documents[code])
            entry.bytes += int(left[rows].sum())
            if masked[code]:
                entry.alone = (entry.alone or 0) + int(only[code])
            if len(entry.limits) < 3:
                found = pc.unique(batch.column("limit").filter(pa.array(rows)).drop_null()).to_pylist()
                entry.limits.update(found[:3])
            mine = [row for of, row in chosen if of == code]
            entry.samples = sorted([*entry.samples, *mine], key=_rank)[:PREVIEWS]
    return taken


def ledger_batches(store: Store) -> Iterator[pa.RecordBatch]:
    for path in parts(store, "ledger"):
        with store.open_input(path) as handle:
            for batch in pq.ParquetFile(handle).iter_batches(BATCH_ROWS, columns=list(SCANNED)):
                yield as_batch(in_bytes(pa.Table.from_batches([batch])).select(list(SCANNED)))


def failing(mask: pa.Array) -> np.ndarray:
    """(n,) int64: how many rules a row failed by its bit mask; 0 where there is none."""
    whole = pc.fill_null(mask, b"")
    widths = pc.binary_length(whole).to_numpy()
    data = np.frombuffer(b"".join(whole.to_pylist()), np.uint8)
    running = np.concatenate(([0], np.cumsum(np.bitwise_count(data), dtype=np.int64)))
    ends = np.cumsum(widths)
    return running[ends] - running[ends - widths]


def choose(batch: pa.RecordBatch, codes: np.ndarray) -> list[tuple[int, SampleRow]]:
    """(code, row) of the first rows of each code by `_rank`."""
    without = batch.column("preview").is_null()
    table = pa.table({"code": codes, "without": without, "id": batch.column("id"), "row": np.arange(len(codes))})
    table = table.sort_by([("code", "ascending"), ("without", "ascending"), ("id", "ascending")])
    sorted_codes, rows = table["code"].to_numpy(), table["row"].to_numpy()
    first = np.searchsorted(sorted_codes, sorted_codes)  # where a row's code begins
    picked = np.flatnonzero(np.arange(len(rows)) - first < PREVIEWS)
    values = batch.select(list(SHOWN)).take(pa.array(rows[picked])).to_pylist()
    return list(zip(sorted_codes[picked].tolist(), values, strict=True))


def _rank(row: SampleRow) -> tuple[bool, bytes]:
    return row["preview"] is None, row["id"]


def _removal(key: tuple[str, str], figures: tuple[int, int, int], row: RuleRow | None, taken: Taken | None) -> Removal:
    only = next(iter(taken.limits)) if taken and len(taken.limits) == 1 and not row else None
    return Removal(
        *key,
        taken.action if taken else "",
        *figures,
        taken.alone if taken else None,
        row["minimum"] if row else None,
        row["maximum"] if row else None,
        tuple(row["domains"]) if row else (),
        tuple(row["languages"]) if row else (),
        row["source"] if row else "",
        only,
        tuple(taken.samples[:SAMPLES]) if taken else (),
        tuple(row for row in taken.samples if row["preview"] is not None) if taken else (),
    )
