"""One pass over `signals/` with two sets of rules: sums by domain and language, and a few documents that change sides.

Files are read a few row groups at a time with the columns that the rules need; both verdicts are `Rules.apply` on the
same batch. Documents that left between the first pass and the rules are left out by the ledger's rows of those steps.
The examples are those with the smallest `draw`, so neither the order of files nor that of rows enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.pipeline.steps.chain import as_batch
from gristmill.pipeline.views.published import parts, step_of
from gristmill.stages.rules import Rules
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store

EXAMPLES = 10
BATCH_ROWS = 65_536  # read at once: some thirty megabytes of signals
KEY = ("source", "path", "record")
"""What tells documents apart; two may share an id until `identity` has decided."""
SHOWN = ("id", "source", "path", "record", "url", "domain", "language", "preview")


class ExampleRow(TypedDict):
    """Columns `SHOWN` of `signals/`; None where an output lacks one."""

    id: bytes
    source: str
    path: str
    record: int
    url: str | None
    domain: str | None
    language: str | None
    preview: str | None


@dataclass
class Tally:
    """Documents and bytes of text of one (domain, language) at the rules step."""

    documents: int = 0
    bytes: int = 0
    kept_before: int = 0
    bytes_before: int = 0
    kept_after: int = 0
    bytes_after: int = 0
    lost: int = 0
    """Kept before, not after."""
    gained: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values())))


@dataclass(frozen=True)
class Example:
    """A document that changes sides; `rule`, `value` and `limit` are those that drop it, after or before."""

    kept_after: bool
    rule: str
    value: float | None
    limit: float | None
    document: ExampleRow


@dataclass(frozen=True)
class _Changing:
    """A document that changes sides, by its draw and where it stands."""

    draw: int
    id: bytes
    path: str
    row: int
    kept_after: bool
    rule: str
    value: float | None
    limit: float | None


class Scan:
    """Both sets of rules over signals files, one after the other; keeps sums, and a few changing documents."""

    def __init__(self, store: Store, before: Rules, after: Rules, seed: int, earlier: Sequence[str]) -> None:
        self.store, self.before, self.after, self.seed = store, before, after, seed
        self.earlier = pa.array(dict.fromkeys(earlier), pa.string())
        self.ledger: dict[str, list[str]] = {}
        for name in parts(store, "ledger"):
            if step_of(name) in earlier:
                self.ledger.setdefault(name.rpartition("/")[2], []).append(name)
        self.groups: dict[tuple[str, str], Tally] = {}
        self.changing: dict[bool, list[_Changing]] = {True: [], False: []}

    def file(self, path: str) -> None:
        gone = self._gone(path)
        signals = dict.fromkeys((*self.before.needs, *self.after.needs))
        columns = list(dict.fromkeys(("id", "text_bytes", *(KEY if gone is not None else ()), *signals)))
        with self.store.open_input(path) as handle:
            parquet = pq.ParquetFile(handle)
            lacking = [name for name in columns if name not in parquet.schema_arrow.names]
            if lacking:
                raise ValueError(f"{self.store.path(path)}: has no column {lacking[0]}; run again, which measures it")
            first = 0
            for run in _runs(parquet.metadata):
                table = parquet.read_row_groups(run, columns=columns)
                rows = first + np.arange(table.num_rows)
                first += table.num_rows
                if gone is not None:
                    here = pc.invert(pc.is_in(_keys(table), gone))
                    table, rows = table.filter(here), rows[here.to_numpy()]
                if table.num_rows:
                    self._batch(path, rows, as_batch(table))

    def _gone(self, path: str) -> pa.Array | None:
        """Keys of this partition's documents that left between the first pass and the rules."""
        keys = []
        for name in self.ledger.get(path.rpartition("/")[2], ()):
            with self.store.open_input(name) as handle:
                table = read_table(handle, columns=["stage", "action", *KEY])
            left = pc.and_(pc.is_in(table["stage"], self.earlier), pc.not_equal(table["action"], "edited"))
            keys.append(_keys(table.filter(left)))
        return pa.concat_arrays([chunk for key in keys for chunk in key.chunks]) if keys else None

    def _batch(self, path: str, rows: np.ndarray, batch: pa.RecordBatch) -> None:
        before, after = self.before.apply(batch), self.after.apply(batch)
        stays, will = (each.column("dropped_by").is_null().to_numpy(zero_copy_only=False) for each in (before, after))
        _count(self.groups, batch, stays, will)
        for kept_after, mask, verdict in ((True, will & ~stays, before), (False, stays & ~will, after)):
            at = np.flatnonzero(mask)
            if len(at):
                self._draw(path, rows, batch, at, kept_after, verdict)

    def _draw(
        self,
        path: str,
        rows: np.ndarray,
        batch: pa.RecordBatch,
        at: np.ndarray,
        kept_after: bool,
        verdict: pa.RecordBatch,
    ) -> None:
        """The `EXAMPLES` smallest draws so far, whatever the order of files and rows."""
        from gristmill.kernels.text.draw import draw

        ids = batch.column("id").take(pa.array(at))
        draws = draw(self.seed, "whatif", ids)
        least = np.argsort(draws, kind="stable")[:EXAMPLES]
        facts = verdict.select(["dropped_by", "value", "limit"]).take(pa.array(at[least])).to_pylist()
        found = [
            _Changing(int(draws[i]), ids[int(i)].as_py(), path, int(rows[at[i]]), kept_after, *fact.values())
            for i, fact in zip(least, facts)
        ]
        kept = self.changing[kept_after] + found
        self.changing[kept_after] = sorted(kept, key=lambda c: (c.draw, c.id, c.path, c.row))[:EXAMPLES]

    def examples(self) -> tuple[Example, ...]:
        """Ten at most, half of each direction where there are as many; what is dropped first."""
        lost, gained = self.changing[False], self.changing[True]
        half = EXAMPLES // 2
        chosen = lost[: max(half, EXAMPLES - len(gained))] + gained[: max(half, EXAMPLES - len(lost))]
        return tuple(Example(c.kept_after, c.rule, c.value, c.limit, self._document(c)) for c in chosen)

    def _document(self, found: _Changing) -> ExampleRow:
        with self.store.open_input(found.path) as handle:
            parquet = pq.ParquetFile(handle)
            columns = [name for name in SHOWN if name in parquet.schema_arrow.names]
            row, group = found.row, 0
            while row >= parquet.metadata.row_group(group).num_rows:
                row -= parquet.metadata.row_group(group).num_rows
                group += 1
            table = parquet.read_row_group(group, columns=columns).slice(row, 1)
        shown: ExampleRow = dict.fromkeys(SHOWN) | table.to_pylist()[0]
        return shown


def _runs(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Neighbouring row groups of up to `BATCH_ROWS` rows, or one."""
    run: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if run and rows + count > BATCH_ROWS:
            yield run
            run, rows = [], 0
        run.append(group)
        rows += count
    if run:
        yield run


def _keys(table: pa.Table) -> pa.ChunkedArray:
    record = table["record"].cast(pa.string())
    return pc.binary_join_element_wise(table["source"], table["path"], record, "\0")


def _count(groups: dict[tuple[str, str], Tally], batch: pa.RecordBatch, stays: np.ndarray, will: np.ndarray) -> None:
    size = batch.column("text_bytes").to_numpy()
    columns = {
        "documents": np.ones(len(size), np.int64),
        "bytes": size,
        "kept_before": stays,
        "bytes_before": size * stays,
        "kept_after": will,
        "bytes_after": size * will,
        "lost": stays & ~will,
        "gained": will & ~stays,
    }
    table = pa.table(
        {"domain": pc.fill_null(batch.column("domain"), "unknown")}
        | {"language": pc.fill_null(batch.column("language"), "unknown")}
        | {name: pa.array(values.astype(np.int64)) for name, values in columns.items()}
    )
    sums = table.group_by(["domain", "language"]).aggregate([(name, "sum") for name in columns])
    for row in sums.to_pylist():
        group = (row["domain"], row["language"])
        groups[group] = groups.get(group, Tally()) + Tally(*(row[f"{name}_sum"] for name in columns))
