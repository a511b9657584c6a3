"""Rows of the Parquet tables that a run publishes, as the views read them: a class a table, its columns as keys."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, Required, TypeAlias, TypedDict

Binary: TypeAlias = bytes
"""Where a class has a key `bytes`."""


class RuleRow(TypedDict):
    """`manifests/rules.parquet`: schema `stages.rules.DESCRIPTION`."""

    index: int
    """Bit of the rule in `failed`."""
    rule: str
    signal: str
    minimum: float | None
    maximum: float | None
    domains: list[str]
    """Empty: all."""
    languages: list[str]
    """Empty: all."""
    source: str
    expression: NotRequired[str | None]
    """Of a rule without limits: what it drops. Not in the tables of early versions."""


class SampleRow(TypedDict):
    """What is shown of a document that left or was edited: columns of the ledger."""

    id: bytes
    value: float | None
    limit: float | None
    language: str | None
    source: str
    path: str
    record: int
    survivor: bytes | None
    preview: str | None


class LedgerRow(SampleRow):
    """`ledger/`: schema `pipeline.steps.ledger.LEDGER`."""

    stage: str
    partition: int
    action: str
    """dropped | edited | merged | quarantined"""
    rule: str
    failed: Binary | None
    """Little-endian bit mask over the rows of `manifests/rules.parquet`."""
    bytes: int
    domain: str | None
    url: str | None


class MemberRow(TypedDict, total=False):
    """A document of a cluster. Of one that an earlier run kept only the id is known."""

    id: Required[Binary]
    source: str
    path: str
    record: int
    domain: str | None
    language: str | None
    preview: str | None
    bytes: int
    """Of text."""
    url: str | None


class SignalsRow(TypedDict, total=False):
    """`signals/`: the columns that are no signals (`pipeline.steps.first_pass.IDENTIFYING`), and a signal by name."""

    id: bytes
    source: str
    path: str
    record: int
    domain: str | None
    category: str | None
    language: str | None
    url: str | None
    text_bytes: int
    language_score: float | None


class StoredRow(TypedDict, total=False):
    """A document with its text as the first pass stored it, as it is in `curated/`, or read again from its source."""

    id: bytes
    text: str | None
    raw: str | None
    """The first bytes of a record that is no text."""
    own_id: str | None
    source: str
    path: str
    record: int
    domain: str | None
    category: str | None
    language: str | None
    url: str | None
    timestamp: datetime | None
    priority: int
    metadata: str | None
    quarantined_by: str | None
