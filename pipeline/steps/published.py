"""Rows as they stand in the folders that people open, and back to what the steps work with.

In `curated/` and `ledger/` an id is 32 hexadecimal characters, and a column that names a folder (`domain=…`,
`language=…`, `step=…`) is not in the file: pandas and pyarrow refuse a folder whose files repeat such a column. Readers
that know no such folders (Hugging Face datasets) find both in `subset`, which every file of `curated/` has.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.kernels.text.hexadecimal import hex_field, in_bytes, in_hex
from gristmill.stages.document import CURATED, ID
from gristmill.storage import hive

KEYS = ("domain", "language")
"""Columns of a curated document that name its folder."""

PUBLISHED = pa.schema(
    [
        *(hex_field(field) if field.type == ID else field for field in CURATED if field.name not in KEYS),
        pa.field("subset", pa.string(), nullable=False),  # domain-language, as the data set card names it
    ]
)
"""A file of `curated/`."""


def subset(domain: str | None, language: str | None) -> str:
    """The name of a (domain, language): `english-en`."""
    return f"{domain or hive.UNKNOWN}-{language or hive.UNKNOWN}"


def as_published(table: pa.Table, name: str) -> pa.Table:
    """Rows of `CURATED` as a file of `curated/` has them; name: of their subset."""
    names = pa.repeat(pa.scalar(name, pa.string()), table.num_rows)
    return in_hex(table.drop_columns([*KEYS])).append_column(PUBLISHED.field("subset"), names)


def has(parquet: pq.ParquetFile, path: str, column: str) -> bool:
    """Whether a published file has the column, or its folders name it."""
    return column in parquet.schema_arrow.names or column in hive.values(path)


def row_group(parquet: pq.ParquetFile, path: str, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """One row group of the published file at `path`, ids as 16 bytes, with the columns that its folders name.

    columns: those wanted, in order; None: all.
    """
    stored = None if columns is None else [name for name in columns if name in parquet.schema_arrow.names]
    if stored == []:  # keys alone: the table still has its rows
        rows = pa.nulls(parquet.metadata.row_group(group).num_rows)
        return hive.with_keys(pa.table({"": rows}), path, columns)
    return hive.with_keys(in_bytes(parquet.read_row_group(group, columns=stored)), path, columns)
