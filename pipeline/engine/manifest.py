"""What a task leaves behind: its files, its manifest, and the finished step.

A manifest is what the driver commits (`pipeline.engine.commit`). What a step's tasks say of what they did is a
dataclass of the step's own, its statistics; a manifest's JSON follows from its fields (`pipeline.engine.records`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.records import from_json, to_json


class Role(StrEnum):
    """What a committed file is to the steps that read it. Where a task writes several of a role each has a name."""

    EXCHANGE = "exchange"
    DOCUMENTS = "documents"
    SIGNALS = "signals"
    LEDGER = "ledger"
    SELECTION = "selection"
    MEASURED = "measured"
    CURATED = "curated"
    """Name: where it is below `curated/`."""
    SAMPLE = "sample"
    TOKENIZER = "tokenizer"
    """Name: where it is below `tokenizer/`."""
    TOKENS = "tokens"
    COPIES = "copies"
    SHARD = "shards"
    """Name: where it is below the blend's folder."""
    LINES = "lines"
    """Name: the language."""
    PIECES = "sentencepiece.model"
    IDS = "ids"
    WORDS = "words"
    ORDER = "order"
    """Name: the length of the n-grams."""
    LANGUAGE_MODEL = "model"
    """Name: where it is below the language's folder."""


@dataclass(frozen=True, slots=True)
class File:
    """One committed file; `path` is below the output's root."""

    role: Role
    path: str
    rows: int
    bytes: int
    checksum: str
    blocks: tuple[str, ...] = ()
    """Checksums of its blocks: `pipeline.engine.checked`."""
    name: str = ""
    """Which one it is of the task's files of this role."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What a task says of what it did: the base of each step's statistics, frozen dataclasses like this one."""


Reported: TypeAlias = Stats | None
"""The statistics of any step; None where its tasks have nothing to say."""
StatsT = TypeVar("StatsT", bound=Reported)
StatsCo = TypeVar("StatsCo", bound=Reported, covariant=True)


@dataclass(frozen=True)
class Manifest(Generic[StatsCo]):
    index: int
    files: tuple[File, ...]
    counts: dict[str, Counts]
    stats: StatsCo
    key: str = ""
    """Of all that the task read: a task with the same key would write the same files. `pipeline.engine.task_inputs`."""

    def file(self, role: Role) -> File | None:
        return next((file for file in self.files if file.role == role), None)

    def all(self, role: Role) -> list[File]:
        return [file for file in self.files if file.role == role]

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "index": self.index,
                "files": [to_json(file) for file in self.files],
                "counts": {stage: counts.to_dict() for stage, counts in self.counts.items()},
                "stats": to_json(self.stats),
                "key": self.key,
            },
            ensure_ascii=False,
        ).encode()

    @staticmethod
    def from_json(content: bytes | str, stats: type[StatsT]) -> Manifest[StatsT]:
        """stats: what the step's tasks return; `NoneType` passes over what there is."""
        value = json.loads(content)
        return Manifest(
            value["index"],
            tuple([from_json(File, file) for file in value["files"]]),
            {stage: Counts(**counts) for stage, counts in value["counts"].items()},
            from_json(stats, value["stats"] if issubclass(stats, Stats) else None),
            value["key"],
        )


@dataclass(frozen=True)
class Sealed(Generic[StatsCo]):
    """A finished step: one manifest per task, in order of the tasks; None where a failed task was allowed."""

    name: str
    fingerprint: str
    folder: str
    manifests: Sequence[Manifest[StatsCo] | None]
    seconds: float = 0.0
    reused: int = 0
    """Tasks that were found committed."""

    def counts(self) -> dict[str, Counts]:
        """Totals over all tasks, by stage in the order of the first task."""
        result: dict[str, Counts] = {}
        for manifest in self.manifests:
            for stage, counts in manifest.counts.items() if manifest else ():
                result.setdefault(stage, Counts()).add(counts)
        return result

    def done(self) -> Iterator[tuple[int, Manifest[StatsCo]]]:
        return ((i, manifest) for i, manifest in enumerate(self.manifests) if manifest is not None)

    def files(self, role: Role) -> list[File]:
        """Those of a role that the tasks wrote, in their order."""
        return [file for _, manifest in self.done() for file in manifest.all(role)]
