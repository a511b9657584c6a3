"""Reads a source whole, as the first pass would, for the tests of readers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.rows import READ
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.readers.source import SourceSpec

WHOLE = 1 << 40


def read_table(spec: SourceSpec, partition_bytes: int = WHOLE, **limits: int) -> pa.Table:
    batches = [batch for p in partitions(inventory([spec]), partition_bytes) for batch in read(p, spec, **limits)]
    return pa.Table.from_batches(batches, READ)


def read_skipped(uri: Path | str, **fields: Any) -> Counter[str]:
    """What the source holds that is no document, by reason."""
    skipped: Counter[str] = Counter()
    spec = SourceSpec(fields.pop("name", "source"), str(uri), **fields)
    for partition in partitions(inventory([spec]), WHOLE):
        for _ in read(partition, spec, skipped=skipped):
            pass
    return skipped


def read_rows(
    uri: Path | str, partition_bytes: int = WHOLE, *, limits: dict[str, int] | None = None, **fields: Any
) -> list:
    """Rows of one source as dictionaries; `fields` are those of its SourceSpec."""
    spec = SourceSpec(fields.pop("name", "source"), str(uri), **fields)
    return read_table(spec, partition_bytes, **(limits or {})).to_pylist()
