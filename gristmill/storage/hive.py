"""Folders that name the value of a column, as Hive, Arrow, Spark and DuckDB lay out tables: `language=c%2B%2B`.

All bytes of a value but ASCII letters, digits and `_.-~` are percent-encoded (RFC 3986), so a value with '/' or '=' is
still one folder. Readers decode it. `unknown` stands for null: pandas cannot read Hive's own name for it,
`__HIVE_DEFAULT_PARTITION__`, beside other values.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote

import pyarrow as pa

UNKNOWN = "unknown"
MAX_BYTES = 120
"""Of an encoded value: names of files repeat it, and a name of more than 255 bytes fits no file system."""


def folder(key: str, value: str | None) -> str:
    """`key=value`; `unknown` where there is no value, or where it is too long to be a name."""
    encoded = quote(value or UNKNOWN, safe="")
    return f"{key}={encoded if len(encoded) <= MAX_BYTES else UNKNOWN}"


def values(path: str) -> dict[str, str | None]:
    """The keys that a path's folders name, with their values; None for `unknown`."""
    parts = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {key: None if value == UNKNOWN else unquote(value) for key, _, value in parts}


def with_keys(table: pa.Table, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table read from `path` with the columns that its folders name, as strings.

    columns: those wanted, in order; None: all. A column that the table has is left as it is.
    """
    for key, value in values(path).items():
        if key not in table.column_names and (columns is None or key in columns):
            table = table.append_column(key, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return table if columns is None else table.select(list(columns))
