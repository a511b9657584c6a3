"""Columns of numbers in committed files: Arrow streams, written in batches and checked when they are read.

A file is read batch by batch, or some files end to end into arrays whose length is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.manifest import File, Role
from gristmill.pipeline.engine.sending import OPTIONS
from gristmill.storage.store import Store

BATCH_ROWS = 1 << 20


@contextmanager
def writing(
    output: Output, role: Role, schema: pa.Schema, name: str = ""
) -> Iterator[Callable[[pa.RecordBatch | pa.Table], None]]:
    """A function that adds a table or a record batch of `schema` to a new file."""
    with output.open(role, ".arrows", name) as file, pa.ipc.new_stream(file, schema, options=OPTIONS) as stream:

        def add(rows: pa.RecordBatch | pa.Table) -> None:
            stream.write(rows)
            file.rows += rows.num_rows

        yield add


def write(output: Output, role: Role, columns: Mapping[str, np.ndarray], name: str = "") -> None:
    """One file of columns of equal length."""
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    with writing(output, role, table.schema, name) as add:
        for start in range(0, table.num_rows, BATCH_ROWS):
            add(table.slice(start, BATCH_ROWS))


def batches(store: Store, file: File) -> Iterator[pa.RecordBatch]:
    with open_checked(store, file) as source, pa.ipc.open_stream(source) as stream:
        yield from stream


def read(store: Store, files: Sequence[File], rows: int) -> dict[str, np.ndarray]:
    """The columns of some files end to end, `rows` in all. At least one file, all with the same columns."""
    result: dict[str, np.ndarray] = {}
    at = 0
    for file in files:
        with open_checked(store, file) as source, pa.ipc.open_stream(source) as stream:
            for field in stream.schema:
                result.setdefault(field.name, np.empty(rows, field.type.to_pandas_dtype()))
            for batch in stream:
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    result[name][at : at + len(column)] = column.to_numpy()
                at += batch.num_rows
    return result
