"""In which languages a sample is: shares of English, of other languages and of source code, by characters.

By the language model where it is there, as the stage `language` will do it; without it by what the records state, and
else by the most frequent words of English. Code is what the readers and the stage `code_domain` take for it. These are
estimates to write a configuration by; a run measures.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import pyarrow as pa

from gristmill.pipeline.init.values import is_language
from gristmill.pipeline.readers.field_paths import value_at
from gristmill.pipeline.readers.records import record_row
from gristmill.pipeline.readers.rows import Row, row_batch
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.values import Record, Value
from gristmill.stages.code_domain import CodeDomain
from gristmill.stages.languages import iso_code
from gristmill.user_data import found as fetched_or_there

CHARACTERS = 4_000
"""Of a text that are looked at."""
RECORDS = 300
ENGLISH = frozenset({"the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "was", "with", "on", "as", "are"})
ENGLISH_SHARE = 0.12
"""Of the words of English prose some 25 % are among these; of other European languages under 5 %."""
MOST_CODE, TOLD_BY_CONTENT = 0.9, 0.55
"""Least shares of the records of a source of code. Of 3,000 files in 42 languages, Markdown and YAML among them, the
text alone tells 60 %; of articles one in a thousand."""
MOST_BYTES = 64_000_000  # of a document

_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^<>]*>", re.S | re.I)


@dataclass
class Shares:
    """Characters of a sample."""

    domains: Counter[str] = field(default_factory=Counter)
    """english | multilingual | code -> characters."""
    languages: Counter[str] = field(default_factory=Counter)
    """ISO 639-1 code -> characters, of what is no code."""
    records: int = 0
    code_records: int = 0
    by_content: int = 0
    """Of the code: records of which only the text says it."""
    by_keys: int = 0
    """Of the code: records whose keys say so, which a reader recognises by itself and whose language it then knows."""
    identified: bool = False
    """Whether the model was there to say so."""

    @property
    def is_code(self) -> bool:
        """Nearly all records name it; or, where none does, more than half of the texts are told by their content."""
        by_content = self.by_content == self.code_records
        least = TOLD_BY_CONTENT if by_content else MOST_CODE
        return self.records > 0 and self.code_records >= least * self.records

    def share(self, domain: str) -> float:
        total = self.domains.total()
        return self.domains[domain] / total if total else 0.0


def default_model() -> str:
    """Where the stage `language` finds its model, or would look for it."""
    from gristmill.stages.registry import load

    return fetched_or_there(str(load("language")().model))


def shares_of(records: Sequence[Record], columns: dict[str, str], model: str) -> Shares:
    """columns: ours -> theirs, as a source's; `text` or `content` at least."""
    found = Shares()
    records = records[:: max(1, len(records) // RECORDS)]
    prose: list[str] = []
    stated: list[str | None] = []
    for record, text, code in zip(records, _texts(records, columns), _code(records, columns), strict=True):
        if not text:
            continue
        found.records += 1
        if code is None:
            prose.append(text)
            stated.append(_stated(record, columns))
            continue
        found.code_records += 1
        found.by_keys += code == "keys"
        found.by_content += code == "content"
        found.domains["code"] += len(text)
    codes, found.identified = _codes(prose, stated, model)
    for text, code in zip(prose, codes, strict=True):
        found.languages[code] += len(text)
        found.domains["english" if code == "en" else "multilingual"] += len(text)
    return found


def _texts(records: Sequence[Record], columns: dict[str, str]) -> Iterator[str]:
    """The beginning of each, '' where there is none; of pages what stands between tags."""
    for record in records:
        text = value_at(record, columns["text"]) if "text" in columns else None
        content = value_at(record, columns["content"]) if "content" in columns else None
        yield (_shown(text) or _TAG.sub(" ", _shown(content)))[: 10 * CHARACTERS].strip()


def _shown(value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _code(records: Sequence[Record], columns: dict[str, str]) -> list[str | None]:
    """What says that a record is source code, as a run would see it: its programming language or reader, its `keys`, or
    its `content`; None where nothing does."""
    spec = SourceSpec("sample", "sample", columns=columns)
    rows: list[Row] = []
    for i, record in enumerate(records):
        path = record.get("path") if "domain" in record else None
        row = record_row(path if isinstance(path, str) else "", i, deepcopy(record), spec.columns_in_use(), spec)
        rows.append(row or Row("", i))
    said = [row.domain for row in rows]
    decided = CodeDomain().apply(row_batch(rows, spec, MOST_BYTES)).column("domain").to_pylist()
    return [_why(*each, columns) for each in zip(records, said, decided, strict=True)]


def _why(record: Record, said: str | None, decided: str | None, columns: dict[str, str]) -> str | None:
    if columns.get("text") == "text" and record.get("domain") == "code":
        return "reader"
    if said == "code":
        return "language" if "programming_language" in columns else "keys"
    return "content" if decided == "code" else None


def _stated(record: Record, columns: dict[str, str]) -> str | None:
    value = value_at(record, columns["language"]) if "language" in columns else None
    return iso_code(value) if isinstance(value, str) and is_language(value) else None


def _codes(texts: Sequence[str], stated: Sequence[str | None], model: str) -> tuple[list[str], bool]:
    if texts and os.path.isfile(model):
        from gristmill.stages.language import identify

        languages, _ = identify(pa.array([text[:CHARACTERS] for text in texts], pa.large_string()), model)
        return [code or "und" for code in languages.to_pylist()], True
    return [code or _guessed(text) for text, code in zip(texts, stated, strict=True)], False


def _guessed(text: str) -> str:
    words = re.findall(r"\w+", text[:CHARACTERS].lower())
    return "en" if words and sum(word in ENGLISH for word in words) >= ENGLISH_SHARE * len(words) else "und"
