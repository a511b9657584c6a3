"""What a stage is. Stages know nothing of Ray, files or the engine.

A stage is a frozen dataclass whose fields are its configuration, with class attributes

    name      its key in the configuration
    version   integer, raised whenever its output changes for the same input and configuration
    needs     columns it reads
    adds      columns it adds (or fills)
    edits     True if it changes or creates text
    files     names of its fields that hold paths or URIs of models and lists, files, folders or patterns, or
              tuples of them; the engine hashes their content into the fingerprint and gives workers a stage whose
              fields name local files
    libraries (may be left out) distributions that it calls, beside those that kernels call (numpy, pyarrow, numba,
              xxhash); its steps run again where one of them has another version

    libraries may be there too: distributions whose version decides what this configuration of the stage writes, beyond
              pyarrow, numpy, numba and xxhash

and it is one of two kinds. A *document stage* has `apply`. A *corpus stage* has `rounds`: the engine runs
them in order and moves the rows between them. What is configured as one stage may be several: its `parts()` are
then what the engine runs in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa


@runtime_checkable
class Stage(Protocol):
    """Class attributes or properties: `needs` may depend on the configuration, as that of rules does."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def adds(self) -> tuple[str, ...]: ...
    @property
    def edits(self) -> bool: ...
    @property
    def files(self) -> tuple[str, ...]: ...


@runtime_checkable
class DocumentStage(Stage, Protocol):
    """Per document, and a pure function of it: the same row gives the same result in any batch."""

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Returns the rows in the same number and order, with columns added or replaced.

        May add the columns of `stages.document.VERDICT` (all five or those it uses). It does not remove rows.
        """
        ...


@dataclass(frozen=True)
class Round:
    """One round of a corpus stage: a method called per batch of documents or per exchanged partition.

    over='documents': `method(batch, received)` is called for every batch of the documents still alive, with
        the columns `columns`, `handle` (uint64) and, if an earlier round sent rows to documents, the table
        `received` of those addressed to this partition (else None). Results of the batches are concatenated.
    over='exchange': `method(table)` is called once with everything routed to one partition, in the order of the
        sending partitions, then of their rows. A partition to which nothing was sent is not called.
    send: where the returned rows go next.
        'key'      to the partition that the uint64 column `route` falls in (equal routes meet; spread it evenly)
        'one'      all to a single task
        'document' back to the documents: the row's uint64 column `handle`
    """

    method: str
    over: Literal["documents", "exchange"]
    send: Literal["key", "one", "document"]
    columns: tuple[str, ...] = ()


@runtime_checkable
class CorpusStage(Stage, Protocol):
    """Needs the whole corpus. The last round sends to 'document' a table of schema `DECISION`.

    A stage may decide for itself instead: its last round sends anything to 'document', and its method
    `decide(batch, received)` is called for every batch of the documents still alive, with the columns `needs` and the
    table of what was sent to this partition (None: nothing); it returns the batch as a document stage's `apply` does.
    """

    def rounds(self) -> tuple[Round, ...]: ...


DECISION = pa.schema(
    [
        pa.field("handle", pa.uint64(), nullable=False),
        pa.field("keep", pa.bool_(), nullable=False),
        pa.field("survivor", pa.binary(16), nullable=False),  # id of the document kept for this cluster
        pa.field("size", pa.int64(), nullable=False),  # documents in the cluster
        pa.field("quarantine", pa.bool_()),  # True: not dropped as a duplicate but quarantined
    ]
)
"""One row for every document in a cluster of two or more, survivors included; no row: untouched."""
