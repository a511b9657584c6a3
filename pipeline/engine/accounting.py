"""Counting documents and bytes so that nothing can be lost unseen.

For every stage of every task

    documents: in + split = kept + merged + dropped + quarantined
    bytes:     in + added = kept + edited_away + dropped + quarantined

Bytes are UTF-8 bytes of text (of the raw page before extraction). `check` raises where an identity does not hold;
`check_chain` where a stage did not take in what the one before it kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import NotRequired, TypedDict


class AccountingError(RuntimeError):
    """Documents or bytes were lost or made up: the run stops, and nobody tries again."""

    final = True


class Totals(TypedDict):
    """Documents and bytes of `Counts`."""

    documents_in: int
    split: int
    kept: int
    merged: int
    dropped: int
    quarantined: int
    bytes_in: int
    bytes_added: int
    bytes_kept: int
    bytes_edited_away: int
    bytes_dropped: int
    bytes_quarantined: int


class CountsRecord(Totals):
    """`Counts` as JSON values."""

    rules: dict[str, list[int]]
    """First failing rule or reason -> [documents, bytes]."""
    tallies: NotRequired[dict[str, int]]


@dataclass
class Counts:
    documents_in: int = 0
    split: int = 0
    kept: int = 0
    merged: int = 0
    dropped: int = 0
    quarantined: int = 0
    bytes_in: int = 0
    bytes_added: int = 0
    bytes_kept: int = 0
    bytes_edited_away: int = 0
    bytes_dropped: int = 0
    bytes_quarantined: int = 0
    rules: dict[str, list[int]] = field(default_factory=dict)
    """First failing rule or quarantine reason -> [documents, bytes]."""
    tallies: dict[str, int] = field(default_factory=dict)
    """What else the stage counted, by a name of its own: sums over documents, for the report."""

    def add(self, other: Counts) -> None:
        for f in fields(self):
            if f.name not in ("rules", "tallies"):
                setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))
        self.tally(other.tallies)
        for rule, (documents, size) in other.rules.items():
            self.count_rule(rule, documents, size)

    def count_rule(self, rule: str, documents: int, size: int) -> None:
        entry = self.rules.setdefault(rule, [0, 0])
        entry[0] += documents
        entry[1] += size

    def tally(self, found: Mapping[str, int]) -> None:
        for name, number in found.items():
            self.tallies[name] = self.tallies.get(name, 0) + number

    def totals(self) -> Totals:
        return {
            "documents_in": self.documents_in,
            "split": self.split,
            "kept": self.kept,
            "merged": self.merged,
            "dropped": self.dropped,
            "quarantined": self.quarantined,
            "bytes_in": self.bytes_in,
            "bytes_added": self.bytes_added,
            "bytes_kept": self.bytes_kept,
            "bytes_edited_away": self.bytes_edited_away,
            "bytes_dropped": self.bytes_dropped,
            "bytes_quarantined": self.bytes_quarantined,
        }

    def to_dict(self) -> CountsRecord:
        record: CountsRecord = {
            **self.totals(),
            "rules": dict(sorted(self.rules.items())),
            "tallies": dict(sorted(self.tallies.items())),
        }
        if not self.tallies:
            del record["tallies"]
        return record

    @staticmethod
    def total(parts: Iterable[Counts]) -> Counts:
        result = Counts()
        for part in parts:
            result.add(part)
        return result


def check(stage: str, partition: int, counts: Counts) -> None:
    c = counts
    if c.documents_in + c.split != c.kept + c.merged + c.dropped + c.quarantined:
        raise AccountingError(
            f"{stage}, partition {partition}: {c.documents_in} documents in + {c.split} split, but {c.kept} kept "
            f"+ {c.merged} merged + {c.dropped} dropped + {c.quarantined} quarantined; the run is stopped, "
            "nothing after this step was built from it"
        )
    if c.bytes_in + c.bytes_added != c.bytes_kept + c.bytes_edited_away + c.bytes_dropped + c.bytes_quarantined:
        raise AccountingError(
            f"{stage}, partition {partition}: {c.bytes_in} bytes in + {c.bytes_added} added, but {c.bytes_kept} kept "
            f"+ {c.bytes_edited_away} edited away + {c.bytes_dropped} dropped + {c.bytes_quarantined} quarantined; "
            "the run is stopped, nothing after this step was built from it"
        )


def check_chain(partition: int | str, chain: list[tuple[str, Counts]]) -> None:
    """Each stage must take in, in documents and bytes, what the one before it kept."""
    for (before, first), (after, second) in pairwise(chain):
        if (first.kept, first.bytes_kept) != (second.documents_in, second.bytes_in):
            raise AccountingError(
                f"partition {partition}: {before} kept {first.kept} documents of {first.bytes_kept} bytes, but {after} "
                f"took in {second.documents_in} of {second.bytes_in}; the run is stopped"
            )
