"""Document stages one after the other over batches, with every row counted and every verdict in the ledger.

Used by the first pass (read → extract → language → signals) and by the last (late editing stages while `curated/` is
written). A stage returns its rows with verdict columns; here those that leave are taken out.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.accounting import AccountingError, Counts
from pipeline.ledger import Ledger, has, preview, split_verdicts, without_verdicts
from pipeline.storage import open_input
from stages.interface import DocumentStage, Stage

LIBRARIES = ("pyarrow", "numpy", "numba", "resiliparse", "trafilatura", "fasttext", "sentencepiece", "xxhash")
"""Packages whose version shapes what the steps write; they enter every fingerprint."""


def library_versions() -> dict[str, str]:
    found = {"unicode": unicodedata.unidata_version}  # of the interpreter: the signals' character classes
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
    return cast(np.ndarray, size.to_numpy().astype(np.int64))


def run_stage(stage: DocumentStage, table: pa.Table, counts: Counts, ledger: Ledger) -> pa.Table:
    """The rows that stay, without verdict columns; the others are counted and in the ledger."""
    before = sizes(table)
    result = pa.Table.from_batches([stage.apply(as_batch(table))])
    if result.num_rows != table.num_rows:
        raise AccountingError(
            f"{stage.name}: apply returned {result.num_rows} rows for {table.num_rows}; a stage must return all "
            "its rows and say in `dropped_by` which of them leave"
        )
    return take_out(stage.name, result, before, counts, ledger)


def take_out(name: str, result: pa.Table, before: np.ndarray, counts: Counts, ledger: Ledger) -> pa.Table:
    """Splits a stage's result by its verdicts; `before` are the rows' bytes when the stage took them in."""
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
    for action, mask, column in (("dropped", dropped, "dropped_by"), ("quarantined", quarantined, "quarantined_by")):
        if not mask.any():
            continue
        rows = result.filter(pa.array(mask))
        size = before[mask]
        setattr(counts, action, getattr(counts, action) + len(size))
        setattr(counts, f"bytes_{action}", getattr(counts, f"bytes_{action}") + int(size.sum()))
        count_rules(counts, rows.column(column), size)
        ledger.add(name, action, rows, rule=rows.column(column), bytes=pa.array(size), preview=excerpt(rows))
    edited = kept & (change != 0)
    if edited.any():
        rows = result.filter(pa.array(edited))
        rule = pa.repeat(f"{name}.edited", rows.num_rows)
        size = -change[edited]
        ledger.add(name, "edited", rows, rule=rule, bytes=pa.array(size), preview=excerpt(rows))
    result = without_verdicts(result)
    return result if kept.all() else result.filter(pa.array(kept))


def excerpt(rows: pa.Table) -> pa.Array:
    if has(rows, "preview"):
        return rows.column("preview")
    return preview(rows.column("text").combine_chunks()) if has(rows, "text") else pa.nulls(rows.num_rows, pa.string())


def count_rules(counts: Counts, rules: pa.ChunkedArray, size: np.ndarray) -> None:
    table = (
        pa.table({"rule": rules, "bytes": pa.array(size)})
        .group_by("rule")
        .aggregate([("bytes", "count"), ("bytes", "sum")])
    )
    for row in table.to_pylist():
        counts.count_rule(row["rule"], row["bytes_count"], row["bytes_sum"])


# -- a stage's identity, and its files on a worker ---------------------------------------------------------------------


def read_uri(uri: str) -> bytes:
    """Content of a model or a list at a local path or a URI."""
    with open_input(uri) as stream:
        return cast(bytes, stream.read())


def stage_files(stage: Stage) -> list[str]:
    return [value for name in stage.files if (value := getattr(stage, name))]


def stage_resources(stages: Sequence[Stage]) -> dict[str, tuple[str, bytes]]:
    """URI -> (SHA-256, content) of every file that the stages name."""
    resources = {}
    for uri in sorted({uri for stage in stages for uri in stage_files(stage)}):
        content = read_uri(uri)
        resources[uri] = (hashlib.sha256(content).hexdigest(), content)
    return resources


def stage_identity(stage: Stage, resources: Mapping[str, tuple[str, bytes]]) -> dict[str, Any]:
    """What enters a fingerprint: name, version, configuration; a file counts by its content, not its name."""
    fields: dict[str, Any] = asdict(stage) if is_dataclass(stage) and not isinstance(stage, type) else {}
    for name in stage.files:
        if fields.get(name):
            fields[name] = resources[fields[name]][0]
    return {"name": stage.name, "version": stage.version, "module": type(stage).__module__, "fields": fields}


def localise(stages: Sequence[Stage], resources: Mapping[str, tuple[str, bytes]]) -> list[Any]:
    """The stages with fields that name files pointing to copies on this machine."""
    result: list[Any] = []
    for stage in stages:
        paths = {name: local_copy(uri, *resources[uri]) for name in stage.files if (uri := getattr(stage, name))}
        result.append(replace(cast(Any, stage), **paths) if paths else stage)
    return result


def local_copy(uri: str, digest: str, content: bytes) -> str:
    """A file with this content: the original where it is here, else one in the temporary folder, named by its hash."""
    if "://" not in uri and Path(uri).is_file() and Path(uri).stat().st_size == len(content):
        return uri
    folder = Path(tempfile.gettempdir()) / f"gristmill-{os.getuid()}" / digest
    target = folder / Path(uri).name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{uuid.uuid4().hex}"
        temporary.write_bytes(content)
        temporary.replace(target)
    return str(target)
