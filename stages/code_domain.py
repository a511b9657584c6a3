"""Which documents are source code, where their source does not say so and their keys did not.

A name proposes, the text confirms: a file's path, a record's path or own id, its URL or stated language may name a
programming language, and then a text that does not read as prose is code. A text without a name is code where its shape
says so beyond doubt (`stages.code_shape`), or says so and has the signs of a language (`stages.code_content`). Markup
and data (`code_names.MARKUP`) are never code by name and shape alone, because prose is written in Markdown, HTML and
TeX too; a record with keys of a repository is (`stages.code_keys`).

    stage `code_domain`: domain code and the programming language for the rows that are; the others stay as they are

It runs by itself before the other stages look at text. Rows whose domain is decided stay as they are: `domain:` of a
source restricts. Of rows that are prose by their format or their source it only takes that word away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_content import alone
from gristmill.stages.code_keys import known_language
from gristmill.stages.code_language import detect
from gristmill.stages.code_names import MARKUP, candidates_of_path
from gristmill.stages.code_places import PATH_KEYS
from gristmill.stages.code_shape import scores
from gristmill.stages.signals import with_columns

SERVED = frozenset(("php", "hack", "perl", "coldfusion", "gosu", "stata", "awk", "apex", "visual-basic"))
"""Languages of programs that make web pages: an address ends in .php, .pl, .cfm, .gsp, .do, and the page is prose."""

LOOSE = frozenset(("yaml", "toml", "ini", "properties"))
"""Languages whose signs are in prose too: `Name: value` lines, headings in brackets."""

SURE, LIKELY, NAMED = 3.0, -1.0, -3.0
"""Least scores: of a text by itself; with the signs of a language, an address or a stated language; with a path."""
LOOSELY = 1.5
"""With the signs of a loose language."""
HEAD_CHARACTERS = 4096  # that are searched for the signs of languages
LEAST_LINES = 2
"""Of a text that is too short for a score: a title alone may have a word of a language."""

_METADATA_PATH = '"(?:{})":"'.format("|".join(PATH_KEYS))
_MARKUP_OPENING = r"^[\s\x{feff}]*(?:<[^?]|\{|\[\s*[\[{\"\d])"
"""Of HTML, XML and JSON."""
_EXTENSION = r"[\w)\]-]\.[A-Za-z][A-Za-z0-9+]{0,11}$"


@dataclass(frozen=True)
class CodeDomain:
    """No configuration: a source that holds no code says `domain: prose`."""

    name: ClassVar[str] = "code_domain"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "language", "path", "own_id", "url", "metadata")
    adds: ClassVar[tuple[str, ...]] = ("domain", "language")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `domain` and `language` of rows that are code."""
        undecided = pc.and_(batch.column("text").is_valid(), batch.column("domain").is_null())
        for name in ("dropped_by", "quarantined_by"):
            if name in batch.schema.names:
                undecided = pc.and_(undecided, batch.column(name).is_null())
        chosen = undecided.to_numpy(zero_copy_only=False)
        at, languages = self._code(batch, chosen) if chosen.any() else (np.zeros(0, np.int64), pa.nulls(0, pa.string()))
        given = batch.column("domain")
        said = pc.fill_null(pc.equal(given, "prose"), False)
        if not len(at) and not pc.any(said, min_count=0).as_py():
            return batch
        place = np.full(batch.num_rows, -1, np.int64)
        place[at] = np.arange(len(at))
        language = pc.coalesce(languages.take(pa.array(place, mask=place < 0)), batch.column("language"))
        rest = pc.if_else(said, pa.scalar(None, pa.string()), given)  # `language` decides
        return with_columns(batch, {"domain": pc.if_else(pa.array(place >= 0), "code", rest), "language": language})

    def _code(self, batch: pa.RecordBatch, chosen: np.ndarray) -> tuple[np.ndarray, pa.Array]:
        """(rows that are code, their programming languages)."""
        texts = batch.column("text")
        score, enough = scores(texts, chosen)
        paths = _paths(batch, chosen)
        named = np.array([path is not None for path in paths], np.bool_)
        if named.any():
            again, long = scores(texts, named, all_of_them=True)
            score[named], enough[named] = again[named], long[named]
        by_path = named & (~enough | (score >= NAMED))
        stated = _hints(batch, np.flatnonzero(chosen & ~by_path & enough & (score >= LIKELY)), paths, by_path)

        rest = np.flatnonzero(chosen & ~by_path & ((score >= LIKELY) | ~enough))
        rest = rest[~np.isin(rest, list(stated))]
        heads = pc.utf8_slice_codeunits(texts.take(pa.array(rest)), 0, HEAD_CHARACTERS)
        opened = pc.match_substring_regex(heads, _MARKUP_OPENING).to_pylist()
        breaks = pc.count_substring_regex(heads, r"[\n\r]+\s*\S").to_pylist()
        for row, language, markup, lines in zip(rest.tolist(), alone(heads).to_pylist(), opened, breaks, strict=True):
            if markup or language in MARKUP or not (enough[row] or lines >= LEAST_LINES - 1):
                continue
            least = SURE if language is None else LOOSELY if language in LOOSE else LIKELY
            if score[row] >= least if enough[row] else language and language not in LOOSE:
                stated[row] = language or "other"

        at = np.flatnonzero(by_path)
        found = detect(texts.take(pa.array(at)), pa.array([paths[row] for row in at], pa.string()))
        languages = dict(zip(at.tolist(), found.to_pylist(), strict=True)) | stated
        rows = sorted(languages)
        return np.array(rows, np.int64), pa.array([languages[row] or "other" for row in rows], pa.string())


def _paths(batch: pa.RecordBatch, chosen: np.ndarray) -> list[str | None]:
    """Of each chosen row the path that names a programming language: of its file, of its record, or its own id."""
    found: list[str | None] = [None] * batch.num_rows
    files = batch.column("path").dictionary_encode()
    named = np.array([_names(path) for path in files.dictionary.to_pylist()] or [False], np.bool_)
    rows = np.flatnonzero(chosen & named[files.indices.to_numpy()])
    for row in rows.tolist():
        found[row] = batch.column("path")[row].as_py()
    for column, pattern in (("own_id", _EXTENSION), ("metadata", _METADATA_PATH)):
        values = batch.column(column)
        if values.null_count == len(values):
            continue
        matches = pc.fill_null(pc.match_substring_regex(values, pattern), False).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(chosen & matches).tolist():
            text = values[row].as_py()
            path = _first_path(text) if column == "metadata" else text
            if path and "://" not in path and _names(path):
                found[row] = path
    return found


def _first_path(metadata: str) -> str | None:
    said = json.loads(metadata)
    return next((value for key in PATH_KEYS if isinstance(value := said.get(key), str) and value), None)


def _names(path: str, but: frozenset[str] = MARKUP) -> bool:
    candidates = candidates_of_path(path)
    return bool(candidates) and candidates[0] not in but


def _hints(
    batch: pa.RecordBatch, rows: np.ndarray, paths: list[str | None], by_path: np.ndarray
) -> dict[int, str | None]:
    """Of rows that may be code: those whose address names a language get it as their path, and of those whose stated
    language is a programming language that is returned."""
    stated: dict[int, str | None] = {}
    urls, languages = batch.column("url"), batch.column("language")
    for row in rows.tolist():
        url = urls[row].as_py()
        language = known_language(languages[row].as_py())
        if url and _names(path := urlsplit(url[:2000]).path, MARKUP | SERVED):
            paths[row], by_path[row] = path, True
        elif language and language not in MARKUP:
            stated[row] = language
    return stated
