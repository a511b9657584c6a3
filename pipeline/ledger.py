"""The ledger: one row for every document that a step dropped, edited, merged or quarantined.

`rule` is the first failing rule in configured order, `value` and `limit` what was measured against what, `failed` the
little-endian bit mask of all failing rules. A preview of the text stands in at most 1,000 rows per rule and partition,
those with the smallest draw, so that the choice does not depend on order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kernels.text.draw import draw
from pipeline.checked import open_checked
from pipeline.commit import File, Output
from pipeline.store import Store
from stages.document import ID, VERDICT

ROLE = "ledger"
PREVIEWS_PER_RULE = 1000
PREVIEW_CHARACTERS = 240

LEDGER = pa.schema(
    [
        pa.field("step", pa.string(), nullable=False),
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


def preview(text: pa.Array) -> pa.Array:
    """First 240 characters, white space folded (string, same length)."""
    cut = pc.utf8_slice_codeunits(text, 0, PREVIEW_CHARACTERS * 2)
    folded = pc.replace_substring_regex(cut, r"\s+", " ")
    return pc.utf8_slice_codeunits(folded, 0, PREVIEW_CHARACTERS).cast(pa.string())


class Ledger:
    """Collects a task's rows and writes them as its file with role `ledger`."""

    def __init__(self, output: Output, partition: int, seed: int) -> None:
        self.output = output
        self.partition = partition
        self.seed = seed
        self.tables: list[pa.Table] = []

    def add(self, step: str, action: str, rows: pa.Table, **columns: pa.Array) -> None:
        """`rows` holds the document's columns, `columns` replaces or adds (rule, bytes, value, preview ...)."""
        if rows.num_rows == 0:
            return
        given: Mapping[str, pa.Array] = {
            "step": pa.repeat(step, rows.num_rows),
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
        self.tables.append(pa.table([a.cast(f.type) for a, f in zip(arrays, LEDGER, strict=True)], schema=LEDGER))

    def close(self) -> None:
        table = pa.concat_tables(self.tables).combine_chunks() if self.tables else LEDGER.empty_table()
        if table.num_rows:
            table = table.set_column(LEDGER.get_field_index("preview"), "preview", self._previews(table))
        self.output.table(ROLE, table)

    def _previews(self, table: pa.Table) -> pa.Array:
        """The previews, null beyond the limit per rule."""
        order = draw(self.seed, "preview", table.column("id").combine_chunks())
        rule = table.column("rule").combine_chunks().dictionary_encode()
        codes = rule.indices.to_numpy(zero_copy_only=False)
        ranked = np.lexsort((order, codes))
        starts = np.flatnonzero(np.concatenate(([True], codes[ranked][1:] != codes[ranked][:-1])))
        rank = np.arange(len(ranked)) - np.repeat(starts, np.diff(np.append(starts, len(ranked))))
        chosen = np.zeros(len(ranked), bool)
        chosen[ranked[rank < PREVIEWS_PER_RULE]] = True
        return pc.if_else(pa.array(chosen), table.column("preview").combine_chunks(), pa.scalar(None, pa.string()))


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
