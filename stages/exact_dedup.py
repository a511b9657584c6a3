"""Exact de-duplication of documents: one of those with the same text stays.

The same text: equal xxh3_128 after NFC, CRLF -> LF and an outer strip (`kernels.text.hashing.text_hashes`). Keys meet
by hash; the survivor is `stages.survivor`'s, where of copies of one age and priority the one with the fewest characters
that normalisation removes comes first: no stray spaces. 80 bytes a document move. Paragraphs and lines are not
compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from gristmill.stages.document import ID
from gristmill.stages.interface import Round
from gristmill.stages.survivor import CANDIDATE, COLUMNS, Keep, candidates, decisions, id_order, ranking, require_keep

Scope = Literal["global", "source"]

KEY = pa.schema(
    [
        pa.field("route", pa.uint64(), nullable=False),  # the hash's first eight bytes
        pa.field("hash", ID, nullable=False),  # of the text, XOR a salt of the scope
        *CANDIDATE,
        pa.field("stray", pa.int32(), nullable=False),  # characters that normalisation removes
    ]
)


@dataclass(frozen=True)
class ExactDedup:
    """Keeps one document of every text.

    keep: which one: oldest, newest or longest, ties as in `stages.survivor`.
    scope: global, or source: only documents of one source are compared.
    """

    keep: Keep = "oldest"
    scope: Scope = "global"

    name: ClassVar[str] = "exact_dedup"
    version: ClassVar[int] = 3
    needs: ClassVar[tuple[str, ...]] = ("id", "text", "source", "timestamp", "priority")
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    clusters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_keep(self.name, self.keep)
        require_scope(self.name, self.scope)

    def rounds(self) -> tuple[Round, ...]:
        columns = ("text", *COLUMNS) if self.scope == "global" else ("text", "source", *COLUMNS)
        return (
            Round("key", over="documents", send="key", columns=columns),
            Round("survivors", over="exchange", send="document"),
        )

    def key(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.Table:
        """Rows of schema `KEY`, one a document."""
        from gristmill.kernels.text.draw import id_array
        from gristmill.kernels.text.hashing import text_hashes_and_stray

        digests, stray = text_hashes_and_stray(batch.column("text"))
        hashes = digests.view("<u8")  # (n, 2)
        if self.scope == "source":
            hashes = hashes ^ source_salts(batch.column("source"))[:, None]
        stored = id_array(hashes)
        route, removed = pa.array(id_order(stored)[0]), pa.array(stray.astype(np.int32))
        return pa.Table.from_arrays([route, stored, *candidates(batch), removed], schema=KEY)

    def survivors(self, table: pa.Table) -> pa.Table:
        """Rows of schema `DECISION` for every document whose text occurs more than once."""
        from gristmill.kernels.text.unionfind import repeated

        table = table.filter(pa.array(repeated(table.column("route").to_numpy())))
        rank = ranking(table, self.keep, table.column("stray").to_numpy())
        return decisions(table, id_order(table.column("hash")), rank, f"{self.name}.duplicate")


def require_scope(stage: str, scope: str) -> None:
    if scope not in ("global", "source"):
        raise ValueError(f"{stage}.scope is {scope!r}: use global or source")


def source_salts(sources: pa.Array) -> np.ndarray:
    """(n,) uint64: xxh3_64 of each row's source name."""
    from xxhash import xxh3_64_intdigest

    encoded = sources.dictionary_encode()
    salts = np.array([xxh3_64_intdigest(name.encode()) for name in encoded.dictionary.to_pylist()], np.uint64)
    of_rows: np.ndarray = salts[encoded.indices.to_numpy()]
    return of_rows
