"""How well a tokenizer fits a corpus, by language and programming language.

    fertility            tokens / words, a word being a run of characters without white space
    bytes_per_token      UTF-8 bytes / tokens
    byte_fallback_rate   byte pieces / tokens
    coverage             characters that have a piece / characters

Fertility is null for languages that write without spaces. Counts are sums over documents, end-of-text not among
them, so measurements of parts add up to that of the whole. Columns in, columns out; no pictures here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.tokenizer.encode import Encoder

SPACELESS = frozenset({"bo", "ja", "km", "lo", "my", "th", "zh"})
"""ISO 639-1 codes of languages whose words are not set off by spaces."""

WORD = r"[^\s\v\x{85}\p{Z}]+"  # RE2; \s is ASCII, \p{Z} the separators of Unicode

COUNTS = (
    "documents",
    "bytes",
    "characters",
    "words",
    "tokens",
    "byte_tokens",
    "byte_characters",
    "round_trip_failures",
)


class Figures(TypedDict):
    """What was counted (COUNTS), and the ratios of the head of this file; None where there is nothing to divide by."""

    documents: int
    bytes: int
    characters: int
    words: int
    tokens: int
    byte_tokens: int
    byte_characters: int
    round_trip_failures: int
    bytes_per_token: float | None
    characters_per_token: float | None
    fertility: float | None
    byte_fallback_rate: float | None
    coverage: float | None


class LanguageFigures(Figures):
    domain: str
    language: str


class Model(TypedDict):
    model_sha256: str
    vocab_size: int


class Pieces(TypedDict):
    """of_text: pieces that are neither bytes nor control pieces; used: those of them that the corpus needed."""

    of_text: int
    used: int


class Report(TypedDict):
    """The figures of a corpus as JSON values; languages by size, largest first."""

    tokenizer: Model
    all: Figures
    domains: dict[str, Figures]
    languages: list[LanguageFigures]
    pieces: Pieces


@dataclass
class Measurement:
    """Sums per (domain, language) in the order of COUNTS, and how often each piece was used: (vocab_size,) int64."""

    groups: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    pieces: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, other: Measurement) -> None:
        """Takes another part of the corpus in."""
        for key, counts in other.groups.items():
            self.groups[key] = self.groups.get(key, np.zeros(len(COUNTS), np.int64)) + counts
        pieces = np.zeros(max(len(self.pieces), len(other.pieces)), np.int64)
        for part in (self.pieces, other.pieces):
            pieces[: len(part)] += part
        self.pieces = pieces


def report(encoder: Encoder, batches: Iterable[pa.RecordBatch | pa.Table]) -> Report:
    """The figures of a corpus, read in batches with the columns text, domain, language."""
    return figures(measure_all(batches, encoder), encoder)


def measure(batch: pa.RecordBatch | pa.Table, encoder: Encoder) -> Measurement:
    """Encodes and decodes the documents of a batch with columns text, domain, language."""
    texts = batch["text"].cast(pa.large_string())
    values, offsets = encoder.encode_batch(texts)
    is_lead = encoder.is_byte.copy()  # the first byte of a character spelled in bytes; the rest are 10xxxxxx
    byte_ids = np.flatnonzero(encoder.is_byte)
    is_lead[byte_ids] = encoder.piece_bytes[encoder.piece_offsets[byte_ids]] & 0xC0 != 0x80
    failed = pc.not_equal(encoder.decode_binary(values, offsets), texts.cast(pa.large_binary()))
    table = pa.table(
        {
            "domain": pc.fill_null(batch["domain"].cast(pa.string()), ""),
            "language": pc.fill_null(batch["language"].cast(pa.string()), ""),
            "documents": np.ones(len(texts), np.int64),
            "bytes": pc.cast(pc.binary_length(texts), pa.int64()),
            "characters": pc.cast(pc.utf8_length(texts), pa.int64()),
            "words": pc.cast(pc.count_substring_regex(texts, WORD), pa.int64()),
            "tokens": np.diff(offsets),
            "byte_tokens": _per_document(encoder.is_byte[values], offsets),
            "byte_characters": _per_document(is_lead[values], offsets),
            "round_trip_failures": pc.cast(failed, pa.int64()),
        }
    )
    sums = table.group_by(["domain", "language"]).aggregate([(name, "sum") for name in COUNTS])
    counts = np.stack([sums[f"{name}_sum"].to_numpy() for name in COUNTS], axis=1)
    keys = zip(sums["domain"].to_pylist(), sums["language"].to_pylist(), strict=True)
    return Measurement(dict(zip(keys, counts, strict=True)), np.bincount(values, minlength=encoder.vocab_size))


def measure_all(batches: Iterable[pa.RecordBatch | pa.Table], encoder: Encoder) -> Measurement:
    """The sum over batches."""
    whole = Measurement(pieces=np.zeros(encoder.vocab_size, np.int64))
    for batch in batches:
        whole.add(measure(batch, encoder))
    return whole


def figures(measurement: Measurement, encoder: Encoder) -> Report:
    """The figures as JSON values: the whole, by domain, and by (domain, language), largest first."""
    domains: dict[str, np.ndarray] = {}
    for (domain, _), counts in sorted(measurement.groups.items()):
        domains[domain] = domains.get(domain, np.zeros(len(COUNTS), np.int64)) + counts
    whole = np.sum([np.zeros(len(COUNTS), np.int64), *domains.values()], axis=0)
    groups = sorted(measurement.groups.items(), key=lambda item: (-item[1][COUNTS.index("bytes")], item[0]))
    given = encoder.is_byte.copy()
    given[[encoder.unk_id, encoder.pad_id, encoder.bos_id, encoder.eos_id]] = True
    used = int((measurement.pieces[~given] > 0).sum())
    return {
        "tokenizer": {"model_sha256": encoder.model_sha256, "vocab_size": encoder.vocab_size},
        "all": _figures(whole, with_words=True),
        "domains": {domain: _figures(counts, with_words=True) for domain, counts in domains.items()},
        "languages": [
            {"domain": domain, "language": language, **_figures(counts, language not in SPACELESS)}
            for (domain, language), counts in groups
        ],
        "pieces": {"of_text": int((~given).sum()), "used": used},
    }


def _figures(counts: np.ndarray, with_words: bool) -> Figures:
    count = {name: int(value) for name, value in zip(COUNTS, counts, strict=True)}
    return {
        "documents": count["documents"],
        "bytes": count["bytes"],
        "characters": count["characters"],
        "words": count["words"],
        "tokens": count["tokens"],
        "byte_tokens": count["byte_tokens"],
        "byte_characters": count["byte_characters"],
        "round_trip_failures": count["round_trip_failures"],
        "bytes_per_token": _ratio(count["bytes"], count["tokens"]),
        "characters_per_token": _ratio(count["characters"], count["tokens"]),
        "fertility": _ratio(count["tokens"], count["words"]) if with_words else None,
        "byte_fallback_rate": _ratio(count["byte_tokens"], count["tokens"]),
        "coverage": _ratio(count["characters"] - count["byte_characters"], count["characters"]),
    }


def _ratio(above: int, below: int) -> float | None:
    return above / below if below else None


def _per_document(flags: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(n,) int64: how many flags are set in each document."""
    running = np.zeros(len(flags) + 1, np.int64)
    np.cumsum(flags, out=running[1:])
    sums: np.ndarray = running[offsets[1:]] - running[offsets[:-1]]
    return sums
