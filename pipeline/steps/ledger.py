"""The ledger: one row for every document that a step dropped, edited, merged or quarantined.

`rule` is the first failing rule in configured order, `value` and `limit` what was measured against what, `failed` the
little-endian bit mask of all failing rules. A preview of the text stands in at most 1,000 rows per rule and partition,
those with the smallest draw, so that the choice does not depend on order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.kernels.text.draw import draw
from gristmill.kernels.text.hexadecimal import hex_field, in_hex
from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.manifest import File, Role
from gristmill.stages.document import ID, VERDICT
from gristmill.storage.store import Store

PREVIEWS_PER_RULE = 1000
PREVIEW_CHARACTERS = 240
WAITING_ROWS = 10_000

LEDGER = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),  # the step that it ran in names the folder
        pa.field("partition", pa.int64(), nullable=False),
        pa.field("id", ID, nullable=False),
        pa.field("action", pa.string(), nullable=False),  # dropped | edited | merged | quarantined
        pa.field("rule", pa.string(), nullable=False),  # `stage.rule` or `stage.reason`
        pa.field("value", pa.float64()),
        pa.field("limit", pa.float64()),
        pa.field("failed", pa.binary()),
        pa.field("bytes", pa.int64(), nullable=False),  # bytes that left: the document's, or what an edit removed
        pa.field("source", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("record", pa.int64(), nullable=False),
        pa.field("domain", pa.string()),
        pa.field("language", pa.string()),
        pa.field("url", pa.string()),
        pa.field("survivor", ID),  # the document kept in place of this one
        pa.field("preview", pa.string()),
    ]
)


PREVIEW = LEDGER.get_field_index("preview")

PUBLISHED = pa.schema([hex_field(field) if field.type == ID else field for field in LEDGER])
"""As it is written: ids as text."""


def preview(text: pa.Array) -> pa.Array:
    """First 240 characters, white space folded (string, same length)."""
    from gristmill.kernels.text import preview as kernel

    return kernel.preview(text, PREVIEW_CHARACTERS)


class Texts(NamedTuple):
    """Texts of ledger rows, of which only those are read that are shown."""

    column: pa.ChunkedArray
    rows: np.ndarray
    """int64, ascending: where in the column the ledger's rows are."""

    def previews(self, chosen: np.ndarray) -> pa.Array:
        """Of the rows that are chosen (bool), null for the others."""
        found = preview(self.column.take(pa.array(self.rows[chosen])).combine_chunks())
        place = np.cumsum(chosen) - 1
        return found.take(pa.array(place, mask=~chosen))


class Ledger:
    """Collects a task's rows and writes them as its file with the role `ledger`.

    Rows beyond `WAITING_ROWS` wait on the local disk: which previews stay is known when all have come.
    """

    def __init__(self, output: Output, partition: int, seed: int) -> None:
        self.output = output
        self.partition = partition
        self.seed = seed
        self.tables: list[pa.Table] = []
        self.waiting = 0
        self.draws: dict[str, np.ndarray] = {}
        """Rule -> the smallest draws so far, at most `PREVIEWS_PER_RULE`, sorted."""
        self.spill: IO[bytes] | None = None
        self.stream: pa.RecordBatchStreamWriter | None = None

    def add(self, stage: str, action: str, rows: pa.Table, texts: Texts | None = None, **columns: pa.Array) -> None:
        """`rows` holds the document's columns, `columns` replaces or adds (rule, bytes, value, preview ...). texts: of
        the rows, where they have no previews."""
        if rows.num_rows == 0:
            return
        given: Mapping[str, pa.Array] = {
            "stage": pa.repeat(stage, rows.num_rows),
            "partition": pa.repeat(self.partition, rows.num_rows),
            "action": pa.repeat(action, rows.num_rows),
            **columns,
        }
        arrays = [
            given[field.name]
            if field.name in given
            else rows.column(field.name)
            if field.name in rows.column_names
            else pa.nulls(rows.num_rows, field.type)
            for field in LEDGER
        ]
        table = pa.table([a.cast(f.type) for a, f in zip(arrays, LEDGER, strict=True)], schema=LEDGER)
        self._rank(table)
        if texts is not None:
            table = table.set_column(PREVIEW, "preview", texts.previews(self._chosen(table)))
        self.tables.append(table)
        self.waiting += rows.num_rows
        if self.waiting >= WAITING_ROWS:
            self._put_aside()

    def _draws(self, table: pa.Table) -> np.ndarray:
        return draw(self.seed, "preview", table.column("id").combine_chunks())

    def _rank(self, table: pa.Table) -> None:
        """Takes the rows' draws into account."""
        coded = table.column("rule").combine_chunks().dictionary_encode()
        codes, draws = coded.indices.to_numpy(zero_copy_only=False), self._draws(table)
        for code, rule in enumerate(coded.dictionary.to_pylist()):
            both = np.concatenate([self.draws.get(rule, np.empty(0, np.uint64)), draws[codes == code]])
            self.draws[rule] = np.sort(both)[:PREVIEWS_PER_RULE]

    def _chosen(self, table: pa.Table) -> np.ndarray:
        """Whether a row is among the first of its rule by draw, of those that have come."""
        coded = table.column("rule").combine_chunks().dictionary_encode()
        last = np.array([self.draws[rule][-1] for rule in coded.dictionary.to_pylist()], np.uint64)
        chosen: np.ndarray = self._draws(table) <= last[coded.indices.to_numpy(zero_copy_only=False)]
        return chosen

    def _with_previews(self, table: pa.Table) -> pa.Table:
        """The previews of the first documents of each rule by draw, null for the others."""
        chosen = self._chosen(table)
        shown = pc.if_else(pa.array(chosen), table.column("preview").combine_chunks(), pa.scalar(None, pa.string()))
        return table.set_column(PREVIEW, "preview", shown)

    def _put_aside(self) -> None:
        if self.spill is None or self.stream is None:
            self.spill = tempfile.TemporaryFile()  # noqa: SIM115 (until `close`)
            self.stream = pa.ipc.new_stream(self.spill, LEDGER)
        self.stream.write_table(self._with_previews(pa.concat_tables(self.tables).combine_chunks()))
        self.tables, self.waiting = [], 0

    def close(self) -> None:
        with self.output.parquet(Role.LEDGER, PUBLISHED, statistics=True) as writer:
            if self.spill is not None and self.stream is not None:
                self.stream.close()
                self.spill.seek(0)
                with pa.ipc.open_stream(self.spill) as stream:
                    for batch in stream:
                        writer.write(in_hex(self._with_previews(pa.Table.from_batches([batch]))))
                self.spill.close()
            if self.tables:
                writer.write(in_hex(self._with_previews(pa.concat_tables(self.tables).combine_chunks())))


def split_verdicts(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(dropped, quarantined) as boolean arrays; a row that is both counts as quarantined."""
    none = np.zeros(table.num_rows, bool)
    quarantined = table.column("quarantined_by").is_valid().to_numpy() if has(table, "quarantined_by") else none
    dropped = table.column("dropped_by").is_valid().to_numpy() if has(table, "dropped_by") else none
    return dropped & ~quarantined, quarantined


def has(table: pa.Table, name: str) -> bool:
    return name in table.column_names


def without_verdicts(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in VERDICT.names if has(table, name)])


def excerpt_columns(store: Store, signals: File) -> tuple[str, ...]:
    """('preview',) where the signals file has previews, else nothing."""
    with open_checked(store, signals) as handle:
        return ("preview",) if "preview" in pq.read_schema(handle).names else ()
