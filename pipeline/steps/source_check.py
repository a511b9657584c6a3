"""What a source says, checked against the first records of its files before the run believes it.

    files.left_out      files that the inventory leaves out, by reason
    columns.absent      a mapped column that no record has                                          void
    text.absent         no record has text where it is looked for, or what is there is no text      void
    text.absent_files   some files have none
    columns.unmapped    ids, dates or addresses that are there under a name that is not mapped
    columns.ignored     columns are mapped and the format has no names
    ids.repeated        half of the ids or more occur before, as where each file counts from 0       void

Of each file the first records are looked at: at most `COUNT` of it and `RECORDS` of a source, within `BYTES` of a
source. Of a source with more than `FILES` files those count whose paths have the smallest hashes, so it is the same
files each time. What is seen depends on the files alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import xxhash

from gristmill.pipeline.readers.field_paths import field_names, has_field, value_at
from gristmill.pipeline.readers.first_records import NAMED, FirstRecords, first_records, type_of
from gristmill.pipeline.readers.inventory import FileEntry
from gristmill.pipeline.readers.left_out import LeftOut, sentences
from gristmill.pipeline.readers.records import Value
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import COLUMNS, SourceSpec
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.pipeline.steps.findings import Finding

FILES = 1_000
COUNT, RECORDS = 100, 20_000
LEAST_BYTES, MOST_BYTES, BYTES = 256_000, 4_000_000, 256_000_000
"""Of a file at least and at most, and of a source: seconds of reading."""
THREADS = 16

VOID_SHARE = 0.5
"""Of ids that occur before: two files that count from 0 alike."""
FEW = 10
"""Ids with which a share says nothing."""

TEXTS = (
    "text", "content", "raw_content", "body", "article", "document", "page_content", "text_content", "maintext",
    "markdown", "story", "passage", "code", "html",
)  # fmt: skip
IDS = ("id", "doc_id", "docid", "document_id", "_id", "uuid", "warc_record_id", "page_id", "article_id", "blob_id")
DATES = (
    "date", "created", "created_at", "created_date", "published", "published_at", "publish_date", "date_published",
    "publication_date", "pub_date", "pubdate", "warc_date", "crawl_date", "date_crawled", "date_download", "datetime",
    "updated", "updated_at", "last_modified", "added", "time", "timestamp",
)  # fmt: skip
URLS = ("link", "source_url", "page_url", "web_url", "canonical_url", "target_uri", "warc_target_uri", "uri", "url")
WELL_KNOWN = {"id": IDS, "timestamp": DATES, "url": URLS}
"""Our columns, and what datasets call them: the last part of a dotted name, lower case, `-` as `_`."""

WHAT_IT_COSTS = {
    "id": "the ids are not kept as ids",
    "timestamp": "the oldest of several copies is not known",
    "url": "lists of URLs and `explain URL` find nothing",
}


@dataclass
class Seen:
    """The first records of a source's files."""

    spec: SourceSpec
    files: int = 0
    """Of the source."""
    found: dict[str, FirstRecords] = field(default_factory=dict)
    """Path -> what was seen, of files whose records have names."""

    @property
    def records(self) -> int:
        return sum(len(first.records) for first in self.found.values())

    def fields(self) -> dict[str, frozenset[str]]:
        """Every name and path that `columns:` may give, of any file -> the types of its values."""
        names: dict[str, set[str]] = {}
        for first in self.found.values():
            for name, types in first.fields.items():
                names.setdefault(name, set()).update(types)
            for record in first.records:
                for name in field_names(record):
                    if name not in first.fields:  # in a string of JSON, or in a list
                        names.setdefault(name, set()).add(type_of(value_at(record, name)))
        return {name: frozenset(types) for name, types in names.items()}

    def has(self, name: str) -> bool:
        return any(has_field(record, name) for first in self.found.values() for record in first.records)

    def values(self, name: str) -> Iterable[Value]:
        for first in self.found.values():
            for record in first.records:
                yield value_at(record, name)

    def where(self) -> str:
        """'the first 100 records of 3 files'."""
        looked = "" if len(self.found) == self.files else f"{len(self.found):,} of "
        files = f"{looked}{self.files:,} files" if self.files != 1 else "its file"
        return f"the first {self.records:,} records of {files}" if self.records != 1 else f"the record of {files}"


def look(sources: Sequence[SourceSpec], files: Sequence[FileEntry]) -> list[Seen]:
    """The first records of every source. OSError where the storage fails."""
    seen = [Seen(spec) for spec in sources]
    tasks: list[tuple[Seen, FileEntry, int, int]] = []
    for source in seen:
        entries = [entry for entry in files if entry.source == source.spec.name]
        source.files = len(entries)
        named = [entry for entry in entries if entry.format in NAMED]
        if len(named) > FILES:
            named = sorted(named, key=lambda entry: xxhash.xxh3_128_digest(entry.path.encode()))[:FILES]
        count = max(1, min(COUNT, RECORDS // max(1, len(named))))
        size = min(MOST_BYTES, max(LEAST_BYTES, BYTES // max(1, len(named))))
        tasks += [(source, entry, count, size) for entry in sorted(named, key=lambda entry: entry.path)]
    with ThreadPoolExecutor(THREADS) as pool:
        for (source, entry, *_), first in zip(tasks, pool.map(_first, tasks), strict=True):
            source.found[entry.path] = first
    return seen


def _first(task: tuple[Seen, FileEntry, int, int]) -> FirstRecords:
    source, entry, count, size = task
    segment = Segment(entry.uri, entry.path, entry.size, 0, entry.size)
    return first_records(segment, entry.format, source.spec, count=count, max_bytes=size, seconds=float("inf"))


def files_left_out(rows: Sequence[LeftOut]) -> list[Finding]:
    """One for each source and reason."""
    groups: dict[tuple[str, str], list[LeftOut]] = {}
    for row in rows:
        groups.setdefault((row.source, row.why), []).append(row)
    return [
        Finding(
            "files.left_out",
            sentences(group)[0],
            source,
            figures={"files": sum(row.files for row in group), "bytes": sum(row.bytes for row in group)},
        )
        for (source, _), group in groups.items()
    ]


def check(seen: Sequence[Seen]) -> list[Finding]:
    """What is wrong of the sources, in their order."""
    return [finding for source in seen for finding in _check(source)]


def _check(source: Seen) -> Iterable[Finding]:
    spec = source.spec
    if not source.found:
        if spec.columns and source.files and ":" not in (spec.format or ""):
            yield Finding(
                "columns.ignored",
                f"source {spec.name}: its files have no named columns, so `columns` does nothing; take it out",
                spec.name,
            )
        return
    if not source.records:
        return
    fields = source.fields()
    absent = {ours: each for ours, each in spec.columns.items() if each not in fields and not source.has(each)}
    for ours, theirs in absent.items():
        if ours not in ("text", "content"):
            yield _absent(source, ours, theirs, fields)
    yield from _text(source, fields)
    yield from _unmapped(source, fields)
    if "id" in spec.columns and "id" not in absent and spec.ids == "per_source":
        yield from _ids(source)


def _absent(source: Seen, ours: str, theirs: str, fields: Mapping[str, frozenset[str]]) -> Finding:
    near = nearest(ours, theirs, fields)
    hint = f"did you mean {near[0]!r}, as in columns: {{{ours}: {near[0]}}}" if near else _listed(fields)
    return Finding(
        "columns.absent",
        f"source {source.spec.name}: columns.{ours} is {theirs!r}, which none of {source.where()} has; {hint}",
        source.spec.name,
        void=True,
        figures={"records": source.records},
    )


def nearest(ours: str, theirs: str, fields: Iterable[str]) -> list[str]:
    """Names that there are and that may be meant, the likeliest first."""
    names = list(fields)
    tail = plain(theirs)
    alike = [name for name in names if plain(name) == tail]
    # of dotted names the beginning is alike in any case
    near = difflib.get_close_matches(theirs, names, n=3, cutoff=0.75 if "." in theirs else 0.6)
    tails = {plain(name): name for name in reversed(names)}
    near_tails = [tails[name] for name in difflib.get_close_matches(tail, list(tails), n=3, cutoff=0.6)]
    known = [name for usual in WELL_KNOWN.get(ours, ()) for name in names if plain(name) == usual]
    return list(dict.fromkeys([*alike, *near, *near_tails, *known]))


def plain(name: str) -> str:
    """The last part of a dotted name, as the tables above have it."""
    return name.rpartition(".")[2].lower().replace("-", "_").replace(" ", "_")


def _listed(fields: Iterable[str], most: int = 12) -> str:
    names = list(fields)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"there is {', '.join(names[:most])}{more}" if names else "there are no columns at all"


def _text(source: Seen, fields: Mapping[str, frozenset[str]]) -> Iterable[Finding]:
    """What is wrong of where the text, or the page that holds it, is looked for."""
    spec = source.spec
    ours = "content" if "content" in spec.columns else "text"
    theirs = spec.columns_in_use()[ours]
    head = f"source {spec.name}: "
    if theirs not in fields:
        candidates = texts(source, fields)
        near = nearest(ours, theirs, candidates) if ours in spec.columns else []
        best = next(iter([*near, *candidates]), None)
        if best is None:
            remedy = f"and nothing else that could be text: {_listed(fields)}"
        else:
            column = "content" if plain(best) == "html" else "text"
            remedy = f"add columns: {{{column}: {best}}} to the source"
        if ours in spec.columns:
            said = f"{head}columns.{ours} is {theirs!r}, which none of {source.where()} has; {remedy}"
        else:
            said = f"{head}none of {source.where()} has `{theirs}`; {remedy}"
        yield Finding("text.absent", said, spec.name, void=True, figures={"records": source.records})
        return
    kinds = fields[theirs] - {"null"}
    if kinds and not kinds & {"string", "bytes"}:
        held = " or ".join(f"{kind}s" for kind in sorted(kinds))
        yield Finding(
            "text.absent",
            f"{head}`{theirs}` holds {held} and no text, in {source.where()}; name the column that holds text, as in "
            f"columns: {{text: {next(iter(texts(source, fields)), 'text')}}}",
            spec.name,
            void=True,
            figures={"records": source.records},
        )
        return
    without = [path for path, first in source.found.items() if first.records and theirs not in first.fields]
    if without:
        names = source.found[without[0]].fields
        yield Finding(
            "text.absent_files",
            f"{head}{len(without):,} of {len(source.found):,} files have no `{theirs}` in their first records, "
            f"{without[0]} first: {_listed(names)}; give them a source of their own, or leave them out of its uri",
            spec.name,
            figures={"files": len(without)},
        )


def texts(source: Seen, fields: Mapping[str, frozenset[str]]) -> list[str]:
    """Columns that may hold the text: those with a usual name, in their order, then those with the longest strings."""
    strings = [name for name, types in fields.items() if types & {"string", "bytes"} and not types & {"object"}]
    lengths = {name: _length(source.values(name)) for name in strings}
    usual = [name for word in TEXTS for name in strings if plain(name) == word and lengths[name]]
    longest = sorted((name for name in strings if lengths[name] >= LEAST_TEXT), key=lambda name: -lengths[name])
    return list(dict.fromkeys([*usual, *longest]))


LEAST_TEXT = 100
"""Characters, on average, of a column that may be text whatever it is called."""


def _length(values: Iterable[Value]) -> float:
    sizes = [len(value) for value in values if isinstance(value, str | bytes)]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _unmapped(source: Seen, fields: Mapping[str, frozenset[str]]) -> Iterable[Finding]:
    spec = source.spec
    in_use = set(spec.columns_in_use().values())
    proposed: dict[str, str] = {}
    for ours, usual in WELL_KNOWN.items():
        if ours in spec.columns or COLUMNS.get(ours) in fields:
            continue
        likely = (name for word in usual for name in fields if plain(name) == word and name not in in_use)
        found = next((name for name in likely if _fits(ours, source, name)), None)
        if found is not None:
            proposed[ours] = found
    if proposed:
        names = listing([f"`{theirs}`" for theirs in proposed.values()])
        costs = listing([WHAT_IT_COSTS[ours] for ours in proposed])
        mapped = ", ".join(f"{ours}: {theirs}" for ours, theirs in proposed.items())
        yield Finding(
            "columns.unmapped",
            f"source {spec.name}: {names} {'is' if len(proposed) == 1 else 'are'} in the data and not mapped, so "
            f"{costs}; add columns: {{{mapped}}} to the source",
            spec.name,
        )


def listing(parts: Sequence[str]) -> str:
    """'a, b and c'."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _fits(ours: str, source: Seen, name: str) -> bool:
    """Whether the values are what the name promises: different ids, dates that can be read, addresses."""
    values = [value for value in source.values(name) if value not in (None, "")]
    if not values:
        return False
    if ours == "id":
        return all(isinstance(value, str | int) for value in values) and repeated(values) == 0
    if ours == "timestamp":
        return sum(parse_timestamp(value) is not None for value in values) > len(values) / 2
    return all(isinstance(value, str) and "://" in value for value in values)


def repeated(values: Sequence[Value]) -> int:
    """How many of the values occur before."""
    return len(values) - len({repr(value) if isinstance(value, float) else str(value) for value in values})


def _ids(source: Seen) -> Iterable[Finding]:
    spec = source.spec
    theirs = spec.columns["id"]
    values = [value for value in source.values(theirs) if is_id(value)]
    again = repeated(values)
    if len(values) >= FEW and again / len(values) >= VOID_SHARE:
        yield repeated_ids(spec, again, len(values), f"in {source.where()}", void=True)


def is_id(value: Value) -> bool:
    """Nothing, an empty string and NaN are no id."""
    return value is not None and value != "" and value == value


def repeated_ids(spec: SourceSpec, again: int, whole: int, where: str, void: bool) -> Finding:
    drop = f"take `id: {spec.columns.get('id')}` out of its columns"
    per_file = "add `ids: per_file` to the source if each file has ids of its own, or "
    remedy = drop if spec.ids == "per_file" else per_file + drop
    return Finding(
        "ids.repeated",
        f"source {spec.name}: {again:,} of {whole:,} ids ({again / whole:.0%}) occur more than once {where}, and of "
        f"documents with one id only the first stays; {remedy}",
        spec.name,
        void,
        {"documents": whole, "repeated": again, "share": again / whole},
    )
