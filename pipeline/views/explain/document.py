"""A document that is explained: where it is from and what is known of it, as JSON values."""

from __future__ import annotations

from typing import TypedDict


class Document(TypedDict):
    """Beside its text and signals; None: not known."""

    id: str
    own_id: str | None
    source: str
    path: str
    record: int
    domain: str | None
    category: str | None
    language: str | None
    url: str | None
    timestamp: str | None
    priority: int | None
    metadata: str | None
    bytes: int | None
    partition: int | None
    row: int | None
