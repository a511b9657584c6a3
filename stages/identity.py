"""Two documents under one id: the first by handle stays, the others are quarantined as `duplicate_id`.

Handles are ordered by path and record within a source, so the first is the first by (path, record). Ids alone move.
Texts are not compared: what two records mean by one id is for the owner of the source to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from gristmill.stages.document import ID
from gristmill.stages.interface import Round
from gristmill.stages.survivor import decisions, id_order

KEY = pa.schema(
    [
        pa.field("route", pa.uint64(), nullable=False),  # the id's first eight bytes: a hash, so evenly spread
        pa.field("handle", pa.uint64(), nullable=False),
        pa.field("id", ID, nullable=False),
    ]
)


@dataclass(frozen=True)
class Identity:
    """Quarantines documents whose id an earlier document has; no configuration."""

    name: ClassVar[str] = "identity"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("id",)
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def rounds(self) -> tuple[Round, ...]:
        return (
            Round("key", over="documents", send="key", columns=("id",)),
            Round("first", over="exchange", send="document"),
        )

    def key(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.Table:
        """Rows of schema `KEY`, one a document."""
        ids = batch.column("id")
        return pa.Table.from_arrays([pa.array(id_order(ids)[0]), batch.column("handle"), ids], schema=KEY)

    def first(self, table: pa.Table) -> pa.Table:
        """Rows of schema `DECISION` for every id that occurs more than once."""
        from gristmill.kernels.text.unionfind import repeated

        table = table.filter(pa.array(repeated(table.column("route").to_numpy())))
        handles = table.column("handle").to_numpy()
        return decisions(table, id_order(table.column("id")), [handles], f"{self.name}.duplicate_id", quarantine=True)
