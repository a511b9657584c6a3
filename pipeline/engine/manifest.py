"""What a task leaves behind: its files, its manifest, and the finished step.

A manifest is what the driver commits (`pipeline.engine.commit`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gristmill.pipeline.engine.accounting import Counts


@dataclass(frozen=True)
class File:
    """One committed file: `role` is what it is to the steps that read it, `path` is below the output's root."""

    role: str
    path: str
    rows: int
    bytes: int
    checksum: str
    blocks: tuple[str, ...] = ()
    """Checksums of its blocks: `pipeline.engine.checked`."""


@dataclass(frozen=True)
class Manifest:
    index: int
    files: tuple[File, ...]
    counts: dict[str, Counts]
    stats: dict[str, Any]
    key: str = ""
    """Of all that the task read: a task with the same key would write the same files. `pipeline.engine.task_inputs`."""

    def file(self, role: str) -> File | None:
        return next((file for file in self.files if file.role == role), None)

    def roles(self, prefix: str) -> list[File]:
        return [file for file in self.files if file.role.startswith(prefix)]

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "index": self.index,
                "files": [asdict(file) for file in self.files],
                "counts": {stage: counts.to_dict() for stage, counts in self.counts.items()},
                "stats": self.stats,
                "key": self.key,
            },
            ensure_ascii=False,
        ).encode()

    @staticmethod
    def from_json(content: bytes | str) -> Manifest:
        value = json.loads(content)
        return Manifest(
            value["index"],
            tuple(File(**{**file, "blocks": tuple(file["blocks"])}) for file in value["files"]),
            {stage: Counts(**counts) for stage, counts in value["counts"].items()},
            value["stats"],
            value["key"],
        )


@dataclass(frozen=True)
class Sealed:
    """A finished step: one manifest per task, in order of the tasks; None where a failed task was allowed."""

    name: str
    fingerprint: str
    folder: str
    manifests: Sequence[Manifest | None]
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

    def done(self) -> Iterator[tuple[int, Manifest]]:
        return ((i, manifest) for i, manifest in enumerate(self.manifests) if manifest is not None)
