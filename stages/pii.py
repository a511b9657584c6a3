"""Personal data and keys: found, counted, and replaced by placeholders, or the document dropped.

Kinds: e-mail and public IP addresses, telephone, payment card, bank account (IBAN) and national identity numbers, keys
and tokens. What exactly is taken says `kernels.text.pii` and its tables; a checksum or a fixed layout, or else a word
before the number that announces it, because what is wrongly replaced is lost too. Names and postal addresses of people
are not looked for: that takes a model.

Replaced as in StarCoder (Li et al. 2023, section 4.2: <EMAIL>, <KEY>); `style` has the placeholders of Dolma and
FineWeb. Dolma (Soldaini et al. 2024, appendix on PII) drops documents with more than five: `max_per_document: 5`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.document import DOMAINS
from gristmill.stages.signals import with_columns

COLUMNS = {
    "email": "pii_emails",
    "ip": "pii_ips",
    "phone": "pii_phones",
    "card": "pii_cards",
    "iban": "pii_ibans",
    "national_id": "pii_national_ids",
    "key": "pii_keys",
}
"""Kind -> the column that counts it."""

_TAGS = {
    "email": "<EMAIL>",
    "ip": "<IP_ADDRESS>",
    "phone": "<PHONE_NUMBER>",
    "card": "<CARD_NUMBER>",
    "iban": "<BANK_ACCOUNT>",
    "national_id": "<NATIONAL_ID>",
    "key": "<KEY>",
}
STYLES: dict[str, dict[str, str]] = {
    "starcoder": _TAGS,
    "dolma": {kind: f"|||{tag[1:-1]}|||" for kind, tag in _TAGS.items()} | {"email": "|||EMAIL_ADDRESS|||"},
    "fineweb": _TAGS | {"email": "email@example.com", "ip": "192.0.2.1"},
}
"""Placeholders by kind. StarCoder has <EMAIL> and <KEY>, Dolma |||EMAIL_ADDRESS|||, |||PHONE_NUMBER||| and
|||IP_ADDRESS|||, FineWeb email@example.com; the others are made alike. FineWeb's IP addresses are public ones that
answered no ping; ours is of RFC 5737, which nobody can have, so a second application finds nothing."""


@dataclass(frozen=True)
class Pii:
    kinds: tuple[str, ...] = tuple(COLUMNS)
    """What is looked for: email, ip, phone, card, iban, national_id, key."""
    action: Literal["replace", "drop"] = "replace"
    style: Literal["starcoder", "dolma", "fineweb"] = "starcoder"
    replacements: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Kind -> another placeholder than the style's."""
    max_per_document: int | None = None
    """A document with more findings of all kinds is dropped; null: none is where they are replaced, and with
    `action: drop` every document with one."""
    scope: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Kind -> languages or domains in which it is looked for; a kind that is not named: everywhere."""

    name: ClassVar[str] = "pii"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "language")
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(self.kinds))
        for key, given in (("kinds", self.kinds), ("replacements", self.replacements), ("scope", self.scope)):
            for kind in given:
                if kind not in COLUMNS:
                    raise ValueError(f"stages.pii.{key}: unknown kind {kind!r}; use {', '.join(COLUMNS)}")
        if self.style not in STYLES:
            raise ValueError(f"stages.pii.style: unknown style {self.style!r}; use {', '.join(STYLES)}")
        if self.action not in ("replace", "drop"):
            raise ValueError(f"stages.pii.action: unknown action {self.action!r}; use replace or drop")
        if self.max_per_document is not None and self.max_per_document < 0:
            raise ValueError(
                f"stages.pii.max_per_document: {self.max_per_document} is negative; give 0 or more, or null"
            )

    @property
    def edits(self) -> bool:
        return self.action == "replace"

    @property
    def adds(self) -> tuple[str, ...]:
        return tuple(COLUMNS[kind] for kind in COLUMNS if kind in self.kinds)

    def tally(self, table: pa.Table) -> dict[str, int]:
        """'kind \\t documents' and 'kind \\t found' -> how many."""
        found: dict[str, int] = {}
        for kind in self.kinds:
            column = table.column(COLUMNS[kind])
            found[f"{kind}\tdocuments"] = pc.sum(pc.greater(column, 0), min_count=0).as_py()
            found[f"{kind}\tfound"] = pc.sum(column, min_count=0).as_py()
        return found

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Edits `text`; fills a count (int64) for each kind, and dropped_by, value, limit:

            pii.too_many    value: findings of all kinds, limit: max_per_document

        Rows without text, or already out, stay as they are, with null counts.
        """
        from gristmill.kernels.text.pii import replaced, scan
        from gristmill.kernels.text.pii_patterns import KINDS
        from gristmill.kernels.text.utf8 import buffers

        rows = batch.num_rows
        text, dropped = batch.column("text"), _column(batch, "dropped_by", pa.string())
        alive = pc.and_(text.is_valid(), dropped.is_null())
        if "quarantined_by" in batch.schema.names:
            alive = pc.and_(alive, batch.column("quarantined_by").is_null())
        at = np.flatnonzero(alive.to_numpy(zero_copy_only=False))
        texts = text if len(at) == rows else text.take(pa.array(at))
        data, offsets = buffers(texts)
        scopes, wanted = self._scopes(batch, at)
        found = scan(data, offsets, scopes, wanted)
        counts = np.bincount(found[0] * len(KINDS) + found[3], minlength=len(at) * len(KINDS)).reshape(-1, len(KINDS))
        total = counts.sum(1)

        limit = self.max_per_document
        if limit is None and self.action == "drop":
            limit = 0
        leaves = np.zeros(rows, np.bool_)
        values = np.zeros(rows)
        if limit is not None:
            leaves[at] = total > limit
            values[at] = total
        reason = pa.array(np.where(leaves, "pii.too_many", ""), pa.string(), mask=~leaves)
        columns = {
            **{
                COLUMNS[kind]: _scattered(counts[:, KINDS.index(kind)], at, rows)
                for kind in COLUMNS
                if kind in self.kinds
            },
            "dropped_by": pc.coalesce(dropped, reason),
            "value": pc.if_else(leaves, values, _column(batch, "value", pa.float64())),
            "limit": pc.if_else(leaves, float(limit or 0), _column(batch, "limit", pa.float64())),
        }
        edited = np.flatnonzero((total > 0) & ~leaves[at])
        if self.edits and len(edited):
            words = [{**STYLES[self.style], **self.replacements}[kind].encode() for kind in KINDS]
            content, bounds = replaced(
                data,
                offsets,
                found,
                np.frombuffer(b"".join(words) + b"\0", np.uint8),
                np.cumsum([0, *map(len, words)]),
            )
            buffer = [None, pa.py_buffer(bounds), pa.py_buffer(content)]
            new = pa.Array.from_buffers(pa.large_string(), len(at), buffer).take(pa.array(edited))
            mask = np.zeros(rows, np.bool_)
            mask[at[edited]] = True
            columns["text"] = pc.replace_with_mask(text, pa.array(mask), new)
        return with_columns(batch, columns)

    def _scopes(self, batch: pa.RecordBatch, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the rows `at`: what the kernel knows of language and domain (int64), and the kinds to look for (bool)."""
        from gristmill.kernels.text.pii_patterns import KINDS, scope_bits

        places = pc.binary_join_element_wise(
            pc.fill_null(batch.column("domain").cast(pa.string()), ""),
            pc.fill_null(batch.column("language").cast(pa.string()), ""),
            "\0",
        )
        coded = places.take(pa.array(at)).dictionary_encode()
        bits, looked_for = [], []
        for place in coded.dictionary.to_pylist():
            domain, _, language = place.partition("\0")
            bits.append(scope_bits(language or None, domain == "code"))
            looked_for.append([kind in self.kinds and self._holds(kind, domain, language) for kind in KINDS])
        codes = coded.indices.to_numpy(zero_copy_only=False)
        return np.array(bits, np.int64)[codes], np.array(looked_for, np.bool_).reshape(-1, len(KINDS))[codes]

    def _holds(self, kind: str, domain: str, language: str) -> bool:
        named = self.scope.get(kind)
        return named is None or language in named or (domain in named and domain in DOMAINS)


def _column(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> Any:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)


def _scattered(values: np.ndarray, at: np.ndarray, rows: int) -> pa.Array:
    """`values` (int64) at the rows `at`, null elsewhere."""
    out, missing = np.zeros(rows, np.int64), np.ones(rows, np.bool_)
    out[at], missing[at] = values, False
    return pa.array(out, pa.int64(), mask=missing)
