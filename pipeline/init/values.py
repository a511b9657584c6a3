"""What the values of one column look like, whatever the column is called.

Every measure is a share of the values that are there (null, NaN and "" are not), 0 to 1, so that a few odd ones decide
nothing. Values are cut to `CHARACTERS` first: a sample has texts of megabytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from gristmill.pipeline.init.names import LANGUAGE_NAMES, OTHER_LANGUAGE_CODES
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.pipeline.readers.values import Value
from gristmill.stages.languages import DEFAULT_LANGUAGES, PROGRAMMING_LANGUAGES, iso_code, programming_language

CHARACTERS = 20_000
EARLIEST_YEAR = 1900
DAY_US = 86_400_000_000
YEAR_US = 365.2425 * DAY_US
MAX_ID_CHARACTERS = 300
MAX_TITLE_CHARACTERS = 300

_URL = re.compile(r"(?:https?|ftp)://[^\s]+|www\.[\w-]+\.[^\s]+", re.I)
_BARE_URL = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[^\s]*)?", re.I)
_LANGUAGE = re.compile(r"(?:__label__)?([a-z]{2,3})(?:[-_][a-z]{2,4})?(?:[-_][a-z0-9]{2,8})?", re.I)
_IDENTIFIER = re.compile(
    r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}|[0-9a-f]{40}|[0-9a-f]{64}|<urn:uuid:[0-9a-f-]{36}>", re.I
)
"""UUIDs, bare or as WARC writes them; SHA-1, SHA-256; MD5 has the form of a UUID without its dashes."""
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{200,}")
_DATE_FORM = re.compile(r"\d{4}-\d{1,2}(?:-\d{1,2})?(?:[T ].*)?|\w{3},? \d{1,2} \w{3} \d{4}.*|\d{8}(?:T?\d{6})?")
_WORD_BREAK = re.compile(r"\s")
_SPACELESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_TAGS = re.compile(r"</?(?:html|head|body|div|p|a|span|br|li|table|script|h[1-6])\b[^<>]*>|<!doctype html", re.I)

LANGUAGE_CODES = frozenset(DEFAULT_LANGUAGES) | OTHER_LANGUAGE_CODES
"""Of the recipe's languages and of the others that lid.176 has labels for."""


@dataclass(frozen=True)
class Column:
    """The values of one dotted name in the records of a sample."""

    name: str
    values: tuple[Value, ...]
    """Those that are there, in the order of the records."""
    records: int
    """How many records were looked at."""

    @cached_property
    def filled(self) -> float:
        """Share of the records that have a value."""
        return len(self.values) / self.records if self.records else 0.0

    @cached_property
    def strings(self) -> tuple[str, ...]:
        return tuple(value[:CHARACTERS] for value in self.values if isinstance(value, str))

    @cached_property
    def text(self) -> float:
        """Share that is text."""
        return len(self.strings) / len(self.values) if self.values else 0.0

    @cached_property
    def characters(self) -> float:
        """Of a value that is text, on average."""
        return sum(map(len, self.strings)) / len(self.strings) if self.strings else 0.0

    @cached_property
    def urls(self) -> float:
        """Share that begins as a URL does."""
        return self._share(lambda text: _URL.fullmatch(text.strip()) is not None)

    @cached_property
    def bare_urls(self) -> float:
        """Share that is a URL, with or without `http://`."""
        return self._share(lambda text: bool(_URL.fullmatch(text.strip()) or _BARE_URL.fullmatch(text.strip())))

    @cached_property
    def dates(self) -> float:
        """Share that is read as a date from 1900 to tomorrow."""
        return _share(self.values, lambda value: is_date(value))

    @cached_property
    def written_dates(self) -> float:
        """Share that is a date and could be nothing else: a date of Arrow's, or text of the form of one."""
        return _share(
            self.values,
            lambda value: (
                is_date(value)
                and (
                    isinstance(value, date)
                    or (isinstance(value, str) and _DATE_FORM.fullmatch(value.strip()) is not None)
                )
            ),
        )

    @cached_property
    def identifiers(self) -> float:
        """Share that has the form of a UUID or a hash."""
        return self._share(lambda text: _IDENTIFIER.fullmatch(text.strip()) is not None)

    @cached_property
    def languages(self) -> float:
        """Share that is the code or the English name of a natural language."""
        return self._share(is_language)

    @cached_property
    def programming_languages(self) -> float:
        """Share that names a programming language."""
        return self._share(is_programming_language)

    @cached_property
    def pages(self) -> float:
        """Share that is HTML."""
        return self._share(lambda text: len(_TAGS.findall(text[:4000])) >= 2 and "<" in text[:200].lstrip()[:1])

    @cached_property
    def prose(self) -> float:
        """Share that is several words or characters of a script without spaces, and no data."""
        return self._share(is_prose)

    @cached_property
    def short(self) -> float:
        """Share that has one line and at most `MAX_TITLE_CHARACTERS`."""
        return self._share(lambda text: len(text) <= MAX_TITLE_CHARACTERS and "\n" not in text.strip())

    @cached_property
    def distinct(self) -> float:
        """Share of different values."""
        return len({_key(value) for value in self.values}) / len(self.values) if self.values else 0.0

    @cached_property
    def whole_numbers(self) -> float:
        return _share(self.values, lambda value: isinstance(value, int) and not isinstance(value, bool))

    @cached_property
    def short_scalars(self) -> float:
        """Share that may be an identifier: a whole number, or a word of some length."""
        return _share(self.values, _may_identify)

    @cached_property
    def lists_of_strings(self) -> float:
        return _share(
            self.values, lambda value: isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
        )

    @property
    def parts(self) -> list[str]:
        """Its name's words: `metadata.WARC-Target-URI` is metadata, warc, target, uri."""
        return words_of(self.name)

    def _share(self, test: Callable[[str], bool]) -> float:
        return sum(map(test, self.strings)) / len(self.values) if self.values else 0.0


def words_of(name: str) -> list[str]:
    """The words of a column's name, lower case: docID, doc_id and doc-id are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[^\w]+|_+", spaced.lower()) if word]


def is_date(value: Value) -> bool:
    moment = parse_timestamp(value)
    if moment is None:
        return False
    year = 1970 + moment / YEAR_US
    return year >= EARLIEST_YEAR and moment <= time.time() * 1e6 + DAY_US


def is_language(text: str) -> bool:
    text = text.strip()
    match = _LANGUAGE.fullmatch(text)
    return text.lower() in LANGUAGE_NAMES or (match is not None and iso_code(text) in LANGUAGE_CODES)


def is_programming_language(text: str) -> bool:
    return len(text) < 40 and programming_language(text) in PROGRAMMING_LANGUAGES


def is_prose(text: str) -> bool:
    if _ENCODED.fullmatch(text.strip()[:CHARACTERS]) or (
        text.lstrip()[:1] in ("[", "{") and text.rstrip()[-1:] in "]}"
    ):
        return False
    return len(_WORD_BREAK.findall(text[:4000])) >= 3 or len(_SPACELESS.findall(text[:400])) >= 4


def _may_identify(value: Value) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (
        isinstance(value, str) and len(value) <= MAX_ID_CHARACTERS and "\n" not in value and value.count(" ") <= 2
    )


def _key(value: Value) -> object:
    return repr(value) if isinstance(value, dict | list) else (type(value) is bool, value)


def _share(values: Sequence[Value], test: Callable[[Value], bool]) -> float:
    return sum(map(test, values)) / len(values) if values else 0.0


def columns_of(names: Iterable[str], rows: Sequence[Sequence[Value]]) -> list[Column]:
    """names: dotted names; rows: per record the value under each, in their order."""
    return [
        Column(name, tuple(v for v in (row[i] for row in rows) if is_there(v)), len(rows))
        for i, name in enumerate(names)
    ]


def is_there(value: Value) -> bool:
    return not (value is None or value == "" or value != value)
