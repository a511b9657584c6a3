"""What a stage is. Stages know nothing of Ray, files or the engine.

A stage is a frozen dataclass whose fields are its configuration. It is one of two kinds: a *document stage* has
`apply`, a *corpus stage* has `rounds`, which the engine runs in order while it moves the rows between them. What is
configured as one stage may be several: its `parts()` are then what the engine runs in its place.

What the engine must know of a stage are class attributes: those of `Stage`, which every stage has, and those of
`Traits`, which have defaults. The engine never asks for a stage's name. Methods that a stage may have beside them:

    rules()          of a document stage that decides: its rules in order, for the ledger and the report (`rules_of`)
    tally(table)     what it counts beside documents and bytes, by name, from what `apply` returned
    reasons(text, domain, language)    for `gristmill try`: of each line whether it stays, and why not
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from gristmill.stages.presets.rule import Rule


@runtime_checkable
class Stage(Protocol):
    """Class attributes or properties: `needs` may depend on the configuration, as that of rules does."""

    @property
    def name(self) -> str:
        """Its key in the configuration, and its name in the ledger and the report."""
        ...

    @property
    def version(self) -> int:
        """An integer, raised whenever its output changes for the same input and fields: what is done is done again."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that it reads. A configuration in which no earlier stage adds them is wrong."""
        ...

    @property
    def adds(self) -> tuple[str, ...]:
        """Columns that it adds or fills."""
        ...

    @property
    def edits(self) -> bool:
        """Whether it changes or creates text."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its fields that hold paths or URIs of models and lists: files, folders or patterns, or tuples of
        them. The engine hashes their content into the fingerprint and gives workers a stage whose fields name local
        files."""
        ...


@dataclass(frozen=True)
class Traits:
    """What a stage may say of itself beside `Stage`: class attributes of these names, each with its default."""

    decides: bool = False
    """Chooses documents by what the first pass measured, so the first pass ends before it. True for a corpus stage."""
    measures: bool = False
    """What it adds are signals: numbers that rules may limit."""
    clusters: bool = False
    """Its decisions put documents into clusters of duplicates: `cluster` becomes the id of the survivor."""
    joins: tuple[str, ...] = ()
    """Domains whose chosen documents it joins into larger ones. It runs last, and is a `JoiningStage`."""
    libraries: tuple[str, ...] = ()
    """Distributions that it calls beside numpy, pyarrow, numba and xxhash. Its steps run again where one of them has
    another version."""


def traits(stage: object) -> Traits:
    """Of a stage or a stage's class."""
    given = {each.name: getattr(stage, each.name) for each in fields(Traits) if hasattr(stage, each.name)}
    return Traits(**{"decides": hasattr(stage, "rounds"), **given})


def parts_of(stage: Stage) -> tuple[Stage, ...]:
    """The stages that stand for a configured one: itself, or what its `parts` are."""
    parts = getattr(stage, "parts", None)
    return (stage,) if parts is None else parts()


def rules_of(stage: object) -> tuple[Rule, ...]:
    """The rules by which a document stage decides, in the order in which they are tried; row k is bit k of `failed`.

    Empty for every other stage: rules for lines, say, are not about documents.
    """
    return tuple(stage.rules()) if has_rules(stage) else ()  # type: ignore[attr-defined]


def has_rules(stage: object) -> bool:
    """Whether a stage, or a stage's class, decides on documents by rules that it can list."""
    return traits(stage).decides and callable(getattr(stage, "rules", None))


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
        pa.field("rule", pa.string()),  # `stage.reason` by which it leaves; null where it stays
    ]
)
"""One row for every document in a cluster of two or more, survivors included; no row: untouched.

The ledger names the survivor. The document's `cluster` changes only if the stage says that it `clusters`."""


class Arrangement(NamedTuple):
    """How rows are joined."""

    order: np.ndarray
    """(n,) int64: rows in the order in which they are joined."""
    document: np.ndarray
    """(n,) int64: number of the document of each row in that order, from 0, ascending."""
    ordinal: np.ndarray
    """(documents,) int64: number of each document within its group."""


MERGED = "merged"
"""Column of `JoiningStage.combine`: how many rows a document was made of (int64)."""


@runtime_checkable
class JoiningStage(DocumentStage, Protocol):
    """Joins the documents of a group into larger ones, while `curated/` is written.

    The engine brings the rows of a group together by `route`, holds their keys alone, and takes the text of the rows of
    some documents at a time.
    """

    def route(self, batch: pa.RecordBatch) -> pa.Array:
        """(n,) uint64: a hash, equal for the rows of a group; null for a row that stays alone."""
        ...

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """(n,) rows of what `arrange` needs, of one schema, with the column `bytes`: of the text in what is joined."""
        ...

    def arrange(self, keys: pa.Table) -> Arrangement:
        """keys: of all rows of whole groups, in any order; the arrangement must not depend on theirs."""
        ...

    def combine(self, rows: pa.Table, document: np.ndarray, ordinal: np.ndarray) -> pa.Table:
        """The documents of rows that lie in their order, with the column `MERGED` at the end."""
        ...


ATTRIBUTES: Sequence[str] = tuple(name for name, value in vars(Stage).items() if isinstance(value, property))
"""What a class must have to be a stage, in the order of `Stage`."""

JOINING: Sequence[str] = ("route", "keys", "arrange", "combine")
"""Methods of `JoiningStage`."""
