"""Which column of a source's records is the text, the id, the URL and so on: by what it is called and what it holds.

    found = mapped([column, ...], several_files=True)
    found.columns     {"text": "content", "url": "metadata.url", ...}: ours -> theirs, as `columns:` of a source
    found.notes       what is ambiguous, a sentence each

A role is a row of `ROLES`: how well a name's words fit it (a whole name counts more than its last word), and what share
of the values must look like it. A name alone never decides: a `date` that holds no dates is none. Values alone decide
only where they can be nothing else, as URLs, UUIDs and the longest text. A nested column counts less than one of the
record itself. Where two columns fit one role as well, the better filled wins and a note names the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gristmill.pipeline.init import names
from gristmill.pipeline.init.values import Column, words_of

LIKELY = 0.9
"""Share of the values that must look like what the column is taken for."""
MOST_FILLED = 0.5
"""Share of the records that must have a value; a column that is mostly empty may be of one part of a collection."""
SOME_FILLED = 0.02
NEAR = 0.25
"""A text column this long, relative to the longest, is believed by its name."""
MIN_TEXT = 40
"""Characters of a text on average where only its length speaks for it."""
NESTED_LOSS = 0.6

Exact = dict[str, float]


@dataclass(frozen=True)
class Role:
    """How a column is recognised. Words and names are lower case, joined by `_`."""

    name: str
    names: tuple[str, ...]
    """Whole names, the surest first."""
    words: frozenset[str]
    """The last word of a name of several, or one next to it."""
    fits: Callable[[Column], bool]
    """Whether the values can be that."""
    alone: Callable[[Column], bool] = lambda column: False
    """Whether they can be nothing else, whatever they are called."""
    not_words: frozenset[str] = frozenset()
    """Words that say that a column is about something else: the URL of a picture."""


@dataclass
class Mapped:
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    per_file: bool = False
    """Whether ids count from the beginning in every file."""


def _is_url(column: Column) -> bool:
    return column.urls >= LIKELY


def _is_url_by_name(column: Column) -> bool:
    return column.bare_urls >= LIKELY


def _is_date(column: Column) -> bool:
    return column.dates >= LIKELY


def _is_written_date(column: Column) -> bool:
    return column.written_dates >= LIKELY


def _is_language(column: Column) -> bool:
    return column.languages >= LIKELY


def _is_programming_language(column: Column) -> bool:
    return column.programming_languages >= 0.8 and column.languages < LIKELY


def _is_title(column: Column) -> bool:
    return column.short >= LIKELY and column.urls < 0.1 and column.dates < 0.5 and column.characters >= 3


def _is_license(column: Column) -> bool:
    listed = column.lists_of_strings >= LIKELY
    return listed or (column.short >= LIKELY and column.distinct <= max(0.5, 12 / max(1, len(column.values))))


def _is_id(column: Column) -> bool:
    return (
        column.short_scalars >= 0.99 and column.distinct >= 0.99 and column.filled >= 0.99 and not _is_counted(column)
    )


def _is_counted(column: Column) -> bool:
    """Numbers that stand for an amount or a row, not for a document."""
    return column.parts[-1] in ("index", "idx", "row", "rank", "position", "0")


def _is_uuid(column: Column) -> bool:
    return _is_id(column) and column.identifiers >= LIKELY


ROLES = (
    Role("url", names.URL, names.URL_WORDS, _is_url_by_name, _is_url, names.NO_URL_WORDS),
    Role(
        "timestamp",
        names.TIMESTAMP,
        names.TIMESTAMP_WORDS,
        _is_date,
        _is_written_date,
        names.NO_TIMESTAMP_WORDS,
    ),
    Role(
        "programming_language",
        names.PROGRAMMING_LANGUAGE,
        names.PROGRAMMING_LANGUAGE_WORDS,
        _is_programming_language,
        not_words=names.NO_PROGRAMMING_LANGUAGE_WORDS,
    ),
    Role("language", names.LANGUAGE, names.LANGUAGE_WORDS, _is_language, not_words=names.NO_LANGUAGE_WORDS),
    Role("title", names.TITLE, names.TITLE_WORDS, _is_title, not_words=names.NO_TITLE_WORDS),
    Role("license", names.LICENSE, names.LICENSE_WORDS, _is_license, not_words=names.NO_LICENSE_WORDS),
    Role("id", names.ID, names.ID_WORDS, _is_id, _is_uuid, names.NO_ID_WORDS),
)
"""All roles but the text, in the order in which they take their columns."""


MAX_CATEGORIES = 20


def mapped(columns: Sequence[Column], by_file: Sequence[Sequence[Column]] = ()) -> Mapped:
    """What the columns are. Without a text column `columns` has neither `text` nor `content`, and a note says why.

    by_file: the same columns, of each file that was looked at, where there are several.
    """
    found = Mapped()
    text = _text(columns, found)
    if text is not None:
        found.columns["text"] = text.name
    elif (page := _page(columns)) is not None:
        found.columns["content"] = page.name
        found.notes.append(f"`{page.name}` holds HTML, whose main text is extracted")
    taken = set(found.columns.values())
    for role in ROLES:
        if role.name == "language" and found.columns.get("programming_language") in ("language", "lang"):
            continue
        chosen = _best(role, [column for column in columns if column.name not in taken], found.notes)
        if chosen is not None:
            found.columns[role.name] = chosen.name
            taken.add(chosen.name)
    if "id" not in found.columns and len(by_file) > 1:
        _id_within_files([c for c in columns if c.name not in taken], by_file, found)
    _say_contradictions(columns, found)
    order = ("text", "content", "id", "url", "timestamp", "language", "programming_language", "title", "license")
    found.columns = {name: found.columns[name] for name in order if name in found.columns}
    return found


def category_of(columns: Sequence[Column], taken: set[str]) -> tuple[str, list[str]] | None:
    """(column, its values) that divides the records into a few named parts, for who wants to blend by them."""
    for column in sorted(columns, key=lambda column: "." in column.name):
        if column.name in taken or column.name.split(".")[-1].lower() not in names.CATEGORY:
            continue
        values = sorted({value for value in column.strings if len(value) <= 60 and "/" not in value})
        if column.filled >= LIKELY and 2 <= len(values) <= MAX_CATEGORIES and column.text >= LIKELY:
            return column.name, values
    return None


def name_score(column: Column, names: Sequence[str], words: frozenset[str], not_words: frozenset[str]) -> float:
    """0 (the name says nothing) to 1 (it is the surest of the names)."""
    last = "_".join(words_of(column.name.split(".")[-1])) or column.name.lower()
    whole = "_".join(column.parts)
    best = 0.0
    for name, loss in ((last, 0.0), (whole, 0.1)):
        if name in names:
            best = max(best, 1.0 - loss - 0.5 * names.index(name) / len(names))
    if not best:
        parts = words_of(column.name.split(".")[-1])
        if parts and parts[-1] in words:
            best = 0.35
        elif words & set(parts) or (parts and "id" in words and re.fullmatch(r"\w{1,4}id", parts[-1])):
            best = 0.2
        if not_words & set(parts):
            best = 0.0
    elif not_words & set(column.parts) - set("_".join(names).split("_")):
        best /= 2
    return best * (NESTED_LOSS if "." in column.name else 1.0)


def _best(role: Role, columns: Sequence[Column], notes: list[str]) -> Column | None:
    scored: list[tuple[float, Column]] = []
    for column in columns:
        if column.filled < SOME_FILLED:
            continue
        named = name_score(column, role.names, role.words, role.not_words)
        excluded = bool(role.not_words & set(column.parts)) and not named
        if named and role.fits(column):
            score = 0.5 + named
        elif not excluded and role.alone(column) and not _claimed(column, role):
            score = 0.4 * (NESTED_LOSS if "." in column.name else 1.0)
        else:
            continue
        scored.append((score * (0.4 + 0.6 * min(1.0, column.filled / MOST_FILLED)), column))
    if not scored:
        return None
    scored.sort(key=lambda pair: -pair[0])
    best = scored[0][1]
    others = [
        column for score, column in scored[1:] if score >= 0.5 * scored[0][0] and role.name in ("url", "timestamp")
    ]
    if others:
        names = ", ".join(f"`{column.name}`" for column in others[:3])
        notes.append(f"{role.name} could also be {names}")
    return best


def _claimed(column: Column, role: Role) -> bool:
    """Whether it is another role's by name and values: an `id` that holds URLs is the id."""
    return any(
        other is not role
        and name_score(column, other.names, other.words, other.not_words) >= 0.5 * NESTED_LOSS
        and other.fits(column)
        for other in ROLES
    )


def _text(columns: Sequence[Column], found: Mapped) -> Column | None:
    """The longest text; a shorter one where its name says so and it is not much shorter."""
    texts = [
        column
        for column in columns
        if column.text >= 0.5 and column.filled >= 0.1 and column.urls < 0.5 and column.written_dates < 0.5
    ]
    texts = [column for column in texts if column.pages < 0.5]
    prose = [column for column in texts if column.prose >= 0.5 or _named_text(column) >= 0.5]
    if not prose:
        return None
    weight = {column.name: column.characters * column.filled for column in prose}
    longest = max(prose, key=lambda column: weight[column.name])
    named = [c for c in prose if _named_text(c) and weight[c.name] >= NEAR * weight[longest.name]]
    best = max(named, key=lambda c: 2 * _named_text(c) + min(1.0, weight[c.name] / weight[longest.name]), default=None)
    if best is None:
        by_title = name_score(longest, ROLES[4].names, ROLES[4].words, frozenset())
        if longest.characters < MIN_TEXT or (by_title and longest.short >= LIKELY):
            found.notes.append(f"the longest text is `{longest.name}`, {longest.characters:.0f} characters on average")
            return None
        best = longest
        found.notes.append(f"`{best.name}` is taken for the text because it is the longest")
    rivals = [c for c in prose if c is not best and weight[c.name] >= 0.5 * weight[best.name] and c.distinct > 0.5]
    if rivals:
        names = ", ".join(f"`{column.name}`" for column in rivals[:3])
        found.notes.append(f"text is also in {names}")
    return best


def _named_text(column: Column) -> float:
    return name_score(column, names.TEXT, names.TEXT_WORDS, names.NO_TEXT_WORDS)


def _page(columns: Sequence[Column]) -> Column | None:
    pages = [column for column in columns if column.pages >= 0.5]
    return max(pages, key=lambda c: c.characters * c.filled, default=None)


def _id_within_files(columns: Sequence[Column], by_file: Sequence[Sequence[Column]], found: Mapped) -> None:
    """An id that every file counts from the beginning."""
    role = ROLES[-1]
    for column in sorted(columns, key=lambda c: -name_score(c, role.names, role.words, role.not_words)):
        if not name_score(column, role.names, role.words, role.not_words):
            return
        alike = [each for file in by_file for each in file if each.name == column.name]
        if len(alike) == len(by_file) and all(role.fits(each) for each in alike):
            found.columns["id"] = column.name
            found.per_file = True
            found.notes.append(f"`{column.name}` begins anew in every file, so an id counts within its file")
            return


def _say_contradictions(columns: Sequence[Column], found: Mapped) -> None:
    """Columns whose name promises what their values do not hold."""
    names = {"id": "id", "url": "url", "timestamp": "timestamp", "date": "timestamp", "language": "language"}
    for column in columns:
        role = names.get(column.name)
        if role is None or column.name in found.columns.values() or role in found.columns or not column.values:
            continue
        if role == "id":
            why = (
                f"{1 - column.distinct:.0%} of its values repeat"
                if column.distinct < 0.99
                else "not every record has one"
            )
        else:
            what = {"url": "URLs", "timestamp": "dates that can be read", "language": "codes of languages"}[role]
            why = f"its values are not {what}"
        found.notes.append(f"`{column.name}` is not used as {role}: {why}")
