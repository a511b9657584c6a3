"""What a configuration says about one source, and which reader its files need.

`SourceSpec` is plain data: it is part of the first pass's fingerprint. `format_of` decides by the file's name
(after .gz, .zst, .bz2, .xz) unless the source says `format:`; what is inside enters in `pipeline.readers.admission`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gristmill.pipeline.readers.format_table import FORMATS, format_named
from gristmill.stages.text_encoding import known_encoding

__all__ = ["COLUMNS", "FORMATS", "SourceSpec", "format_by_name", "format_of", "stored_name"]

COMPRESSIONS = (".gz", ".gzip", ".bgz", ".zst", ".zstd", ".bz2", ".bzip2", ".xz")
"""Ends of names that say nothing of what is inside. What a file is compressed with is told by its first bytes."""

PROSE_DOMAINS = ("english", "multilingual", "prose")
"""Domains of a source that holds no code."""

COLUMNS = {
    "text": "text",
    "url": "url",
    "timestamp": "timestamp",
    "language": "language",
    "programming_language": "programming_language",
    "title": "title",
    "license": "license",
}
"""Columns of a JSONL or Parquet source that are used unless it names others; `id`, `category` and `content` (a raw
HTML page) are used only where it names them. All other columns go to `metadata`."""


@dataclass(frozen=True)
class SourceSpec:
    name: str
    uri: str
    """A file, a folder, a pattern, `machine:` or `machine:/other/root`."""
    format: str | None = None
    """A name of `FORMATS`, or `module:function`: a reader of one's own. None: by the names of the files."""
    domain: str | None = None
    """english | multilingual | code: the source holds only this; prose: no code, `language` decides between the other
    two; None: what is no code by keys, paths or content is prose."""
    category: str | None = None
    """None: web for WARC and WET, legal for licences of packages, misc for the rest."""
    priority: int = 0
    """Among duplicates of the same age the lower one stays."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Ours -> theirs: id, text, content, url, timestamp, language, programming_language, category, title,
    license. Theirs is the name of a column or a dotted path (`pipeline.readers.field_paths`)."""
    max_bytes: int | None = None
    """Cap on the bytes of the files taken (uncompressed for `machine:`, stored otherwise); whole files, chosen by
    hash."""
    language: str | None = None
    """What the source says its language is; for a source of code, its programming language."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Constants added to each document's metadata."""
    encoding: str | None = None
    """Of the texts, by a name that Python or the WHATWG knows; None: UTF-8, or what the bytes say."""
    ids: Literal["per_source", "per_file"] = "per_source"
    """Within what an id of the column `id` names one record. per_file: files that each count from 0; a document's own
    id is then `path#id`."""

    def __post_init__(self) -> None:
        if self.format is not None:
            try:
                format_named(self.format)
            except ValueError as error:
                raise ValueError(f"sources.{self.name}.format: {error}") from error
        if self.domain not in (None, *PROSE_DOMAINS, "code"):
            domains = ", ".join(PROSE_DOMAINS)
            raise ValueError(
                f"sources.{self.name}: unknown domain {self.domain!r}; use {domains}, code or leave it out"
            )
        known = {*COLUMNS, "id", "category", "content"}
        unknown = sorted(set(self.columns) - known)
        if unknown:
            raise ValueError(
                f"sources.{self.name}.columns: unknown column {unknown[0]!r}; use one of {', '.join(sorted(known))}"
            )
        if self.encoding is not None and known_encoding(self.encoding) is None:
            raise ValueError(
                f"sources.{self.name}.encoding: {self.encoding!r} is no encoding of text; write one such as utf-8, "
                "cp1252, gb18030, shift_jis or koi8-r, or leave it out"
            )
        if self.ids not in ("per_source", "per_file"):
            raise ValueError(f"sources.{self.name}.ids: {self.ids!r} is neither per_source nor per_file; use one")
        if "\0" in self.name or "/" in self.name or not self.name:
            raise ValueError(f"sources: {self.name!r} cannot be a source's name; use letters, digits, '-' and '_'")

    @property
    def stated(self) -> str | None:
        """The format that its URI's scheme or else `format` states; None: the names of the files tell."""
        schemes = (each.name for each in FORMATS.values() if each.scheme and self.uri.startswith(each.scheme))
        return next(schemes, self.format)

    @property
    def is_machine(self) -> bool:
        """Whether it is the text that is already on this computer."""
        return self.stated == "machine"

    def own_id(self, path: str, identifier: str) -> str:
        """A document's own id: what its record has, after the file's path where ids are per file."""
        return f"{path}#{identifier}" if self.ids == "per_file" else identifier

    def columns_in_use(self) -> dict[str, str]:
        return {**COLUMNS, **self.columns}


def stored_name(path: str) -> str:
    """The last part of a path, without the extension of a compression: notes.txt.gz is a text."""
    name = posixpath.basename(path)
    for compression in COMPRESSIONS:
        if name.lower().endswith(compression):
            name = name[: -len(compression)]
    return name


def format_by_name(path: str) -> str | None:
    """The format that a file's name announces, None if it announces none."""
    name = stored_name(path).lower()
    return next((each.name for each in FORMATS.values() if name.endswith(each.extensions)), None)


def format_of(spec: SourceSpec, path: str) -> str:
    """The reader for one file of the source. ValueError in one sentence where the name does not tell."""
    decided = spec.stated or format_by_name(path)
    if decided is None:
        raise ValueError(
            f"sources.{spec.name}: the name of {path} does not tell its format; add `format:` to the source"
        )
    return decided
