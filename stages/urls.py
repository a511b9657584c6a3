"""Drops documents by their URL, before anything is extracted from them: lists of domains, lists of words.

The scheme of RefinedWeb (Penedo et al. 2023, appendix G.1): a blocklist of domains, then words in the URL, of which
some decide wherever they stand, some as whole words, and some only two together. No list comes with Gristmill.

Lists are text, an item a line; lines that begin with # or ! are comments. A list of domains may hold domains (which
stand for all their subdomains too, also a top-level domain), URLs (which stand for all that begins with them, up to the
end of a part of the path), or be a hosts file. Case, port, user, a dot at the end, `*.` and `www.`-less domains make no
difference; international domains may be written either way.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.url_lists import list_items
from gristmill.kernels.text.url_words import Automaton, automaton, inside, word_table, words
from gristmill.kernels.text.urls import Table, find, places, table
from gristmill.kernels.text.utf8 import buffers
from gristmill.stages.signals import with_columns

SOFT_WORDS = 2
"""Different soft words with which a URL is dropped, "at least two": RefinedWeb, appendix G.1."""

_FILES = ("domains", "words", "subwords", "soft_words", "allow")


@dataclass(frozen=True)
class Urls:
    """Each field: a file, a folder (all files in it) or several of those; nothing where it is empty."""

    domains: tuple[str, ...] = ()
    """Domains and URLs that are dropped."""
    words: tuple[str, ...] = ()
    """One of these in the URL, between characters that are no letters or digits, drops it."""
    subwords: tuple[str, ...] = ()
    """One of these anywhere in the URL's letters and digits, whatever stands between those, drops it."""
    soft_words: tuple[str, ...] = ()
    """Two different ones of these in the URL, as whole words, drop it."""
    allow: tuple[str, ...] = ()
    """Domains and URLs that stay whatever the other lists say."""

    name: ClassVar[str] = "urls"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("url",)
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = _FILES

    def __post_init__(self) -> None:
        for name in _FILES:
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given or ()))
        if not any(getattr(self, name) for name in _FILES[:-1]):
            raise ValueError(
                "stages.urls: no list to drop by; give a file as domains, words, subwords or soft_words, or leave the "
                "stage out"
            )

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `dropped_by`, `value`, `limit`. In the order of decision:

            urls.domain      value: the number of the list's line
            urls.word        value: the number of the list's line
            urls.subword     value: the number of the list's line
            urls.soft_words  value: how many different ones, limit: 2

        Lines are counted from 1, through a list's files in the order of their names. Rows without a URL, or already
        out, stay as they are.
        """
        lists = _lists(tuple((name, _stamped(getattr(self, name))) for name in _FILES))
        rows = batch.num_rows
        data, offsets = buffers(batch.column("url"))
        there = batch.column("url").is_valid().to_numpy(zero_copy_only=False)
        for name in ("dropped_by", "quarantined_by"):
            if name in batch.schema.names:
                there = there & batch.column(name).is_null().to_numpy(zero_copy_only=False)
        urls = places(data, offsets[:-1], np.where(there, offsets[1:], offsets[:-1]))
        reason = np.full(rows, -1, np.int8)
        value, limit = np.zeros(rows), np.zeros(rows)

        def decide(number: int, lines: np.ndarray, found: np.ndarray) -> None:
            hit = (found >= 0) & (reason < 0)
            reason[hit] = number
            value[hit] = lines[found[hit]] + 1

        if lists.domains is not None:
            decide(0, lists.domains.lines, find(urls, lists.domains.items))
        if lists.words is not None:
            decide(1, lists.words.lines, words(urls, lists.words.items)[0])
        if lists.subwords is not None:
            decide(2, lists.subwords.lines, inside(urls, lists.subwords.items))
        if lists.soft_words is not None:
            count = words(urls, lists.soft_words.items)[1]
            hit = (count >= SOFT_WORDS) & (reason < 0)
            reason[hit], value[hit], limit[hit] = 3, count[hit], SOFT_WORDS
        if lists.allow is not None:
            reason[find(urls, lists.allow.items) >= 0] = -1
        return with_columns(batch, _verdicts(batch, reason, value, limit))


_REASONS = pa.array(["urls.domain", "urls.word", "urls.subword", "urls.soft_words"])


def _verdicts(batch: pa.RecordBatch, reason: np.ndarray, value: np.ndarray, limit: np.ndarray) -> dict[str, pa.Array]:
    """Verdict columns; those of rows that stay are as they were."""
    import pyarrow.compute as pc

    stays = reason < 0
    found = {
        "dropped_by": _REASONS.take(pa.array(reason, mask=stays)),
        "value": pa.array(value, mask=stays),
        "limit": pa.array(limit, mask=stays | (reason != 3)),
    }
    before = {name: batch.column(name) for name in found if name in batch.schema.names}
    return {name: pc.coalesce(column, before[name]) if name in before else column for name, column in found.items()}


class _Domains(NamedTuple):
    items: Table
    lines: np.ndarray


class _Words(NamedTuple):
    items: Table
    lines: np.ndarray


class _Subwords(NamedTuple):
    items: Automaton
    lines: np.ndarray


class _Lists(NamedTuple):
    domains: _Domains | None
    words: _Words | None
    subwords: _Subwords | None
    soft_words: _Words | None
    allow: _Domains | None


_Stamped = tuple[tuple[str, int, int], ...]


def _stamped(given: tuple[str, ...]) -> _Stamped:
    """(path, size, modification time) of each file: a list that changes while a process lives is read again."""
    found = []
    for path in given:
        inner = Path(path)
        files = sorted(p for p in inner.rglob("*") if p.is_file()) if inner.is_dir() else [inner]
        for file in files:
            try:
                state = os.stat(file)
            except FileNotFoundError:
                raise FileNotFoundError(f"stages.urls: no file {file}; give the path of a list") from None
            found.append((str(file), state.st_size, state.st_mtime_ns))
    return tuple(found)


@functools.lru_cache(maxsize=4)
def _lists(given: tuple[tuple[str, _Stamped], ...]) -> _Lists:
    files = {name: b"".join(_content(path) for path, _, _ in stamped) for name, stamped in given if stamped}
    made = {name: _domains(files[name]) for name in ("domains", "allow") if name in files}
    plain = {name: _plain(files[name]) for name in ("words", "subwords", "soft_words") if name in files}
    words_of = {name: _Words(word_table(items), lines) for name, (items, lines) in plain.items() if name != "subwords"}
    subwords = _Subwords(automaton(plain["subwords"][0]), plain["subwords"][1]) if "subwords" in plain else None
    return _Lists(made.get("domains"), words_of.get("words"), subwords, words_of.get("soft_words"), made.get("allow"))


def _content(path: str) -> bytes:
    data = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    return data if data.endswith(b"\n") or not data else data + b"\n"


def _domains(data: bytes) -> _Domains:
    starts, ends, lines = list_items(data)
    return _Domains(table(places(np.frombuffer(data, np.uint8), starts, ends)), lines)


def _plain(data: bytes) -> tuple[list[bytes], np.ndarray]:
    """The words of a list in lower case and their lines, from 0."""
    found = list(_word_lines(data))
    return [word for _, word in found], np.array([line for line, _ in found], np.int64)


def _word_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for line, text in enumerate(data.decode("utf-8", "replace").split("\n")):
        word = text.strip()
        if not word or word[0] in "#!":
            continue
        if any(character.isascii() and not character.isalnum() for character in word):
            raise ValueError(
                f"stages.urls: {word!r} in line {line + 1} of a list of words is not one word; write letters and "
                "digits alone, a word a line"
            )
        yield line, word.lower().encode()
