"""What the plan reckons with: seconds, bytes and memory per unit of work of every step, and where they were measured.

    seconds of a task    task_seconds + seconds · units + segment_seconds · segments read and written
    bytes it writes      task_written + written · units, and to an exchange sent · sent_units + segment_bytes · segments
    its peak memory      memory + memory_per_unit · units, of what it holds at a time

`rates.json` beside this file was written by `benchmarks/plan.py`. `calibrated` replaces shares and speeds by those of a
finished run. A step that was never measured, as one of a user's own stage, has the rates of the most similar one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gristmill.storage.json_values import Json

FILE = Path(__file__).with_suffix(".json")

Share = tuple[float, float]
"""Of documents and of bytes that a stage keeps."""


@dataclass(frozen=True)
class StepRate:
    """One step. `unit` is what its seconds, bytes and memory are proportional to."""

    unit: str
    """bytes (of text) | documents | copies (documents of a blend, repeats counted) | tokens"""
    seconds: float
    task_seconds: float
    first_seconds: float
    """More for the first task in a worker: imports, compiled kernels, models."""
    written: float
    task_written: float
    rows: float
    """Sent to an exchange per document or copy."""
    sent: float
    """Bytes sent per `sent_unit`, beside `segment_bytes` for every segment."""
    sent_unit: str
    segment_bytes: float
    memory: float
    memory_per_unit: float
    held_bytes: float
    """Of text (of ids: 4 a token) that a task holds at a time, whatever it has in all; 0: it holds all."""


@dataclass(frozen=True)
class Kind:
    """A kind of input, by its reader: what its stored bytes become and what the first pass makes of them."""

    seconds: float
    """Of the first pass, per byte as it is read, uncompressed."""
    expansion: Mapping[str, float]
    """Bytes as read per stored byte, by compression; '' for none."""
    document_bytes: float
    """As read, of a document."""
    files: bool
    """A file is a document, near enough."""
    documents: float
    """Bytes of the first pass's documents, stored, per byte as read."""
    signals: float
    """Bytes of its signals and its ledger, likewise."""
    stages: Mapping[str, Share]
    """First-pass stage -> what it keeps."""
    groups: tuple[tuple[str, str, float], ...]
    """(domain, language, share of the curated bytes)."""


@dataclass(frozen=True)
class Rates:
    source: str
    """A sentence: which measurement, which machine, when."""
    machine: str
    step_seconds: float
    """A step costs, tasks aside."""
    commit_seconds: float
    """A task costs the driver: sending, committing."""
    publish_seconds: float
    """To publish a file."""
    start_seconds: float
    """To start Ray."""
    segment_seconds: float
    """To read or write a segment of an exchange, its rows aside."""
    index_seconds: float
    """To read a byte of an exchange's index."""
    steps: Mapping[str, StepRate]
    """Blend's name left out: `blend/order`; `merge` for every merge round."""
    kinds: Mapping[str, Kind]
    column_bytes: float
    """Stored, of a document's columns beside its text."""
    piece_bytes: float
    """Of a tokenizer's files, per piece of its vocabulary."""
    stages: Mapping[str, Share]
    """Stages after the first pass."""
    bytes_per_token: Mapping[str, float]
    """By domain, of a tokenizer of `vocabulary` pieces."""
    vocabulary: int
    doubling: float
    """A vocabulary of half the pieces has tokens shorter by this share."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Of stages that the runs behind `steps` did not have: seconds a byte of text taken in, by benchmarks/chain.py."""

    def step(self, name: str, like: str) -> StepRate:
        """The rates of a step, or those of the one that it is like."""
        return self.steps.get(name) or self.steps[like]

    def kind(self, name: str) -> Kind:
        return self.kinds.get(name) or self.kinds["jsonl"]

    def token_bytes(self, domain: str, vocabulary: int | None = None) -> float:
        """Bytes a token, of a tokenizer of so many pieces (None: as measured): linear in their logarithm.

        With more pieces than measured tokens are longer still, but by how much is not known: they count as measured.
        """
        known = self.bytes_per_token.get(domain) or sum(self.bytes_per_token.values()) / len(self.bytes_per_token)
        doublings = min(0.0, math.log2(vocabulary / self.vocabulary)) if vocabulary else 0.0
        return max(1.0, known * (1 + self.doubling * doublings))

    def measured(self, name: str) -> bool:
        found = name in self.stages or any(name in kind.stages for kind in self.kinds.values())
        return found or name in self.stage_seconds

    def to_dict(self) -> dict[str, Json]:
        return asdict(self)

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Rates:
        kinds = {
            name: Kind(
                **{
                    **kind,
                    "stages": _shares(kind["stages"]),
                    "groups": tuple((domain, language, share) for domain, language, share in kind["groups"]),
                }
            )
            for name, kind in value["kinds"].items()
        }
        steps = {name: StepRate(**step) for name, step in value["steps"].items()}
        return Rates(**{**value, "kinds": kinds, "steps": steps, "stages": _shares(value["stages"])})


def _shares(value: Mapping[str, Share]) -> dict[str, Share]:
    return {name: (documents, size) for name, (documents, size) in value.items()}


def canonical(step: str) -> str:
    """The name of a step in `Rates.steps`: without the blend's name, and one for all merge rounds."""
    if ".merge" in step:
        return "merge"
    first, _, rest = step.partition("/")
    return f"blend/{rest.rpartition('/')[2]}" if first == "blend" and rest else step


def shipped() -> Rates:
    """Those of `rates.json`. RuntimeError where the file is not there or is not what the benchmark writes."""
    try:
        return Rates.from_dict(json.loads(FILE.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"{FILE}: cannot be used ({error}); write it again: python benchmarks/plan.py") from error
