"""Document stages one after the other over batches, with every row counted and every verdict in the ledger.

Used by the first pass (read → extract → language → signals) and by the last (late editing stages while `curated/` is
written). A stage returns its rows with verdict columns; here those that leave are taken out.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.engine.accounting import AccountingError, Counts
from gristmill.pipeline.engine.identity import versions
from gristmill.pipeline.steps.ledger import Ledger, Texts, has, split_verdicts, without_verdicts
from gristmill.stages.interface import DocumentStage, Stage

TABLES = ("pyarrow", "numpy")
KERNELS = (*TABLES, "numba", "xxhash")
"""What steps call that read and write tables, and those that call kernels too: they declare more where they do."""
LIBRARIES = (
    *("pyarrow", "numpy", "numba", "pypdfium2", "resiliparse", "trafilatura"),
    *("fasttext", "sentencepiece", "kenlm", "xxhash"),
)
"""Packages that may shape what a run writes: what its record says of them. A step's fingerprint has its own alone."""


def library_versions() -> dict[str, str]:
    """Those of `LIBRARIES` that are installed, and of Unicode."""
    return versions(LIBRARIES)


def as_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)


def sizes(table: pa.Table) -> np.ndarray:
    """Bytes that each row stands for (int64): of its text, or of the raw page before extraction."""
    size = pc.fill_null(pc.binary_length(table.column("text")), 0)
    if has(table, "content"):
        raw = pc.fill_null(pc.binary_length(table.column("content")), 0)
        size = pc.if_else(table.column("text").is_valid(), size, raw)
    result: np.ndarray = size.to_numpy().astype(np.int64)
    return result


def run_stage(stage: DocumentStage, table: pa.Table, counts: Counts, ledger: Ledger) -> pa.Table:
    """The rows that stay, without verdict columns; the others are counted and in the ledger."""
    before = sizes(table)
    result = pa.Table.from_batches([stage.apply(as_batch(table))])
    if result.num_rows != table.num_rows:
        raise AccountingError(
            f"{stage.name}: apply returned {result.num_rows} rows for {table.num_rows}; a stage must return all "
            "its rows and say in `dropped_by` which of them leave"
        )
    counts.tally(tallies(stage, result))
    changed = None
    if stage.edits and has(table, "text") and not same_buffers(table.column("text"), result.column("text")):
        changed = pc.fill_null(pc.not_equal(table.column("text"), result.column("text")), False).to_numpy()
    return take_out(stage.name, result, before, counts, ledger, changed)


def same_buffers(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether two columns lie in the same memory: a stage that had nothing to edit returns the column it was given."""

    def places(column: pa.ChunkedArray) -> list[tuple[int, int, list[int]]]:
        buffers = ((chunk, [buffer.address for buffer in chunk.buffers() if buffer]) for chunk in column.chunks)
        return [(chunk.offset, len(chunk), addresses) for chunk, addresses in buffers]

    return places(one) == places(other)


def tallies(stage: Stage, result: pa.Table) -> dict[str, int]:
    """What a stage counts beside documents and bytes: its `tally` of what it returned, before anybody leaves."""
    tally = getattr(stage, "tally", None)
    return tally(result) if tally and result.num_rows else {}


def take_out(
    name: str,
    result: pa.Table,
    before: np.ndarray,
    counts: Counts,
    ledger: Ledger,
    changed: np.ndarray | None = None,
) -> pa.Table:
    """Splits a stage's result by its verdicts; `before` are the rows' bytes when the stage took them in.

    changed: rows whose text is another one; None: those whose size is.
    """
    dropped, quarantined = split_verdicts(result)
    kept = ~(dropped | quarantined)
    after = sizes(result) if has(result, "text") else before
    change = np.where(kept, after - before, 0)
    counts.documents_in += result.num_rows
    counts.bytes_in += int(before.sum())
    counts.kept += int(kept.sum())
    counts.bytes_kept += int(after[kept].sum())
    counts.bytes_added += int(change[change > 0].sum())
    counts.bytes_edited_away += int(-change[change < 0].sum())
    edited = kept & (change != 0 if changed is None else changed | (change != 0))
    shown = for_ledger(result) if edited.any() or not kept.all() else result
    for action, mask, column in (("dropped", dropped, "dropped_by"), ("quarantined", quarantined, "quarantined_by")):
        if not mask.any():
            continue
        rows = shown.filter(pa.array(mask))
        size = before[mask]
        setattr(counts, action, getattr(counts, action) + len(size))
        setattr(counts, f"bytes_{action}", getattr(counts, f"bytes_{action}") + int(size.sum()))
        count_rules(counts, rows.column(column), size)
        ledger.add(name, action, rows, texts=texts(result, mask), rule=rows.column(column), bytes=pa.array(size))
    if edited.any():
        rows = shown.filter(pa.array(edited))
        rule = pa.repeat(f"{name}.edited", rows.num_rows)
        if has(rows, "edited_by"):
            rule = pc.coalesce(rows.column("edited_by"), rule)
        ledger.add(name, "edited", rows, texts=texts(result, edited), rule=rule, bytes=pa.array(-change[edited]))
    result = without_verdicts(result)
    return result if kept.all() else result.filter(pa.array(kept))


def for_ledger(rows: pa.Table) -> pa.Table:
    """The rows without their texts and pages, which would be copied with them."""
    return rows.drop_columns([name for name in ("text", "content") if has(rows, name)])


def texts(rows: pa.Table, mask: np.ndarray) -> Texts | None:
    """What the ledger takes previews of; None where the rows have previews or no text."""
    if has(rows, "preview") or not has(rows, "text"):
        return None
    return Texts(rows.column("text"), np.flatnonzero(mask))


def count_rules(counts: Counts, rules: pa.ChunkedArray, size: np.ndarray) -> None:
    table = (
        pa.table({"rule": rules, "bytes": pa.array(size)})
        .group_by("rule")
        .aggregate([("bytes", "count"), ("bytes", "sum")])
    )
    for row in table.to_pylist():
        counts.count_rule(row["rule"], row["bytes_count"], row["bytes_sum"])
