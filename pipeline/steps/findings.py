"""Findings: what a run noticed of its sources, each one sentence that names the source, the place and the remedy.

A finding is a note unless the run would be void with it: then it is an error. `--strict` makes an error of each. They
follow from the inputs and the committed steps alone, so a run that resumes has the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gristmill.pipeline.steps.record import FindingRecord

WRONG, FAILED = 2, 1
"""Exit codes: before anything was computed, and after."""


@dataclass(frozen=True)
class Finding:
    kind: str
    """`columns.absent`, `text.empty`, …: docs/operations.md lists them."""
    sentence: str
    source: str | None = None
    void: bool = False
    """Whether there is no use in going on."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What was counted, for programs."""

    def record(self) -> FindingRecord:
        return {
            "kind": self.kind,
            "source": self.source,
            "sentence": self.sentence,
            "figures": dict(self.figures),
        }


class Void(ValueError):
    """The run stops: its findings, one sentence a line."""

    def __init__(self, findings: Iterable[Finding], exit_code: int, strict: bool) -> None:
        found = list(findings)
        lines = [finding.sentence for finding in found]
        if strict and not all(finding.void for finding in found):
            lines.append("--strict makes an error of each of these; without it the run goes on")
        super().__init__("\n".join(lines))
        self.exit_code = exit_code


def judge(findings: Iterable[Finding], exit_code: int, strict: bool) -> None:
    """Raises `Void` where one of them is void; where `strict`, where there is one at all."""
    found = list(findings)
    stopping = found if strict else [finding for finding in found if finding.void]
    if stopping:
        raise Void(stopping, exit_code, strict)
