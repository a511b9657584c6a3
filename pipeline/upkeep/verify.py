"""Checks an output: every published file against its checksum, the accounting, the shards' headers and counts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from gristmill.pipeline.engine.accounting import AccountingError, Counts, check
from gristmill.pipeline.engine.publish import MANIFESTS, check_layout, problems, published_folders, root_problems
from gristmill.pipeline.steps.outputs import COUNTS
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store

FOLDERS = ("curated", "signals", "ledger", "tokenizer")


def verify(output: str) -> list[str]:
    """Every problem as one sentence; an empty list: all is as it was written."""
    store = Store(output)
    if not store.exists("run.json"):
        return [f"{output}: holds no run.json; it is not an output of `gristmill run`, or the run has not finished"]
    try:
        check_layout(store)
    except ValueError as error:
        return [str(error)]
    folders = [*FOLDERS, *published_folders(store), *(f"shards/{name}" for name in store.folders("shards")), MANIFESTS]
    found = [problem for folder in dict.fromkeys(folders) for problem in problems(store, folder)]
    return root_problems(store) + found + accounting_problems(store) + shard_problems(store)


def accounting_problems(store: Store) -> list[str]:
    path = COUNTS
    if not store.exists(path):
        return []
    try:
        with store.open_input(path) as handle:
            rows = read_table(handle).to_pylist()
    except (OSError, ValueError):
        return [f"{store.path(path)}: cannot be read; run again to restore it"]
    result = []
    for row in rows:
        counts = Counts(**{f.name: row[f.name] for f in fields(Counts) if f.name not in ("rules", "tallies")})
        try:
            check(f"{row['step']}, {row['stage']}", row["partition"], counts)
        except AccountingError as error:
            result.append(str(error))
    return result


def shard_problems(store: Store) -> list[str]:
    """The shards' own manifests, headers and counts; local outputs only, others are covered by their checksums."""
    if not store.local:
        return []
    from gristmill.tokenizer.manifest import NAME, verify_shards

    folders = [Path(store.path(f"shards/{name}")) for name in store.folders("shards")]
    folders += [folder / "holdout" for folder in folders if (folder / "holdout" / NAME).exists()]
    return [problem for folder in folders for problem in verify_shards(str(folder))]
