"""Reading a whole Parquet file, so that nothing of it goes on once it is read.

`pyarrow.parquet.read_table` goes through Arrow's data sets. Their threads may still hold the file when the table is
there, and a Python file needs the interpreter to be let go: where that happens while the process ends, it ends by
`terminate called without an active exception` and signal 6 in place of its exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(source: str | BinaryIO | pa.NativeFile, columns: Sequence[str] | None = None) -> pa.Table:
    """columns: None: all; the names of the folders that a path goes through are none. Raises what Arrow raises."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        return file.read(columns=None if columns is None else list(columns))
