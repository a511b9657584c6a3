"""From the families of an input to sources: each with what its records hold, families that hold the same in one.

A few records of a few files of each family are read. Families of one format go together where no column of one is
something else in another, and none of them is code while the others are prose: the folders of a collection whose parts
have other metadata become sources of their own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from gristmill.pipeline.init.columns import Mapped, category_of, mapped
from gristmill.pipeline.init.domains import MOST_CODE, Shares, shares_of
from gristmill.pipeline.init.kinds import Kind
from gristmill.pipeline.init.layout import Family, Layout, _below, joined, uris_of
from gristmill.pipeline.init.values import Column, columns_of
from gristmill.pipeline.readers.field_paths import value_at
from gristmill.pipeline.readers.first_records import NAMED, FirstRecords, first_records
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.values import Record
from gristmill.storage.uris import Found

SAMPLED_FAMILIES = 200
SAMPLED_FILES = 3
RECORDS = 100  # of a file
FILE_BYTES = 8 << 20
FILE_SECONDS = 5.0
TOTAL_SECONDS = 60.0
SAMPLED_DOCUMENTS = 60  # files that are documents
SOME_CODE = 0.1
MANY_HOSTS = 5

CATEGORIES = {"mediawiki": "encyclopedia", "epub": "books", "jats": "papers", "latex": "papers", "html": "web",
              "stackexchange": "web"}  # fmt: skip
"""Of formats that are of one kind of text; WARC and WET are web anyhow."""
HOSTS = {"wikipedia.org": "encyclopedia", "wikisource.org": "books", "gutenberg.org": "books", "arxiv.org": "papers",
         "ncbi.nlm.nih.gov": "papers", "biorxiv.org": "papers"}  # fmt: skip
NO_FAULTS = frozenset({"warc.not_text", "warc.redirect", "warc.empty", "warc.status", "warc.not_http"})
"""What every crawl has, and a run counts."""
LARGE_TEXT = 64_000_000
"""`plan.max_document_bytes`."""


@dataclass
class Source:
    """A source of the configuration to be."""

    uri: str
    format: str
    files: list[Found]
    name: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    domain: str | None = None
    category: str | None = None
    per_file: bool = False
    shares: Shares = field(default_factory=Shares)
    notes: list[str] = field(default_factory=list)
    unusable: str | None = None
    """Why it is not read after all: no text in its records."""

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass
class _Sampled:
    family: Family
    found: list[FirstRecords]
    mapping: Mapped
    columns: list[Column]
    shares: Shares

    @property
    def records(self) -> list[Record]:
        return [record for first in self.found for record in first.records]


def sources_of(layout: Layout, model: str, deadline: float | None = None) -> list[Source]:
    """model: the language model's path. OSError where a file cannot be read."""
    end = deadline or time.monotonic() + TOTAL_SECONDS
    result = [_code_source(layout, folder, model) for folder in layout.code]
    formats: dict[Kind, list[Family]] = {}
    for family in layout.families:
        formats.setdefault(family.kind, []).append(family)
    if Kind("warc") in formats and Kind("wet") in formats:  # one reader reads both
        formats[Kind("warc")] += formats.pop(Kind("wet"))
    for kind, families in formats.items():
        assert kind.format is not None
        result += _of_format(layout, kind.format, families, model, end, kind.code)
    return result


def _code_source(layout: Layout, folder: str, model: str) -> Source:
    files = [file for file in layout.files if _below(file.path, folder) and ".git" not in file.path.split("/")]
    source = Source(joined(layout.uri, folder), "tree", files, domain="code")
    source.shares = Shares(domains=Counter(code=1), identified=True)
    return source


def _of_format(
    layout: Layout, format_name: str, families: Sequence[Family], model: str, end: float, code: bool
) -> Iterator[Source]:
    groups: list[list[_Sampled]] = []
    looked = families[:SAMPLED_FAMILIES]
    for family in looked:
        sampled = _sample(family, format_name, model, end)
        group = next((group for group in groups if all(_agree(each, sampled) for each in group)), None)
        if group is None:
            groups.append([sampled])
        else:
            group.append(sampled)
    if groups and len(families) > len(looked):
        largest = max(groups, key=len)
        largest += [_Sampled(family, [], Mapped(), [], Shares()) for family in families[len(looked) :]]
    for group in groups:
        yield from _placed(layout, _source(format_name, group, code), group)


def _sample(family: Family, format_name: str, model: str, end: float) -> _Sampled:
    found: list[FirstRecords] = []
    many = SAMPLED_FILES if format_name in NAMED else SAMPLED_DOCUMENTS
    for file in _spread([file for file in family.files if file.size], many):
        if found and time.monotonic() > end:
            break
        segment = Segment(file.uri, file.path, file.size, 0, file.size)
        spec = SourceSpec("sample", file.uri, format_name if format_name != "code" else "tree")
        found.append(
            first_records(segment, format_name, spec, count=RECORDS, max_bytes=FILE_BYTES, seconds=FILE_SECONDS)
        )
        if format_name not in NAMED and sum(len(first.records) for first in found) >= RECORDS:
            break
    mapping, columns = _mapping(found) if format_name in NAMED else (Mapped({"text": "text", "content": "content"}), [])
    records = [record for first in found for record in first.records]
    readable = {"text", "content"} & set(mapping.columns)
    shares = shares_of(records, mapping.columns, model) if readable else Shares()
    return _Sampled(family, found, mapping, columns, shares)


def _spread(files: Sequence[Found], count: int) -> list[Found]:
    if len(files) <= count:
        return list(files)
    return [files[i * (len(files) - 1) // (count - 1)] for i in range(count)]


def _mapping(found: Sequence[FirstRecords]) -> tuple[Mapped, list[Column]]:
    names = list(dict.fromkeys(name for first in found for name in first.fields))
    by_file = [_columns(names, first.records) for first in found if first.records]
    columns = _columns(names, [record for first in found for record in first.records])
    return mapped(columns, by_file), columns


def _columns(names: Sequence[str], records: Sequence[Record]) -> list[Column]:
    return columns_of(names, [[value_at(record, name) for name in names] for record in records])


def _agree(first: _Sampled, second: _Sampled) -> bool:
    """Whether one source can read both."""
    if not first.records or not second.records:
        return True
    one, other = first.mapping.columns, second.mapping.columns
    if ("text" in one or "content" in one) != ("text" in other or "content" in other):
        return False
    same = all(one[role] == other[role] for role in one.keys() & other.keys())
    return same and first.shares.is_code == second.shares.is_code


def _placed(layout: Layout, source: Source, group: Sequence[_Sampled]) -> Iterator[Source]:
    """The source by its URI; where it takes several, a source each, with the columns that its own files have."""
    if source.unusable is not None:
        yield source
        return
    for i, (uri, files) in enumerate(uris_of(layout, source.files, source.format)):
        paths = {file.path for file in files}
        found = [f for sampled in group if paths & {file.path for file in sampled.family.files} for f in sampled.found]
        names = {name for first in found for name, types in first.fields.items() if types != {"null"}}
        columns = {role: name for role, name in source.columns.items() if name in names or not found}
        yield replace(source, uri=uri, files=files, columns=columns, notes=source.notes if i == 0 else [])


def _source(format_name: str, group: Sequence[_Sampled], code: bool) -> Source:
    files = [file for sampled in group for file in sampled.family.files]
    source = Source(files[0].uri, format_name, files, domain="code" if code else None)
    found = [first for sampled in group for first in sampled.found]
    records = [record for first in found for record in first.records]
    mapping, columns = _mapping(found) if len(group) > 1 else (group[0].mapping, group[0].columns)
    if format_name in NAMED:
        source.columns, source.per_file = mapping.columns, mapping.per_file
        source.notes += mapping.notes
        _look_for_text(source, mapping, columns, records, found)
        category = category_of(columns, set(mapping.columns.values()))
        if category is not None:
            name, values = category
            source.notes.append(f"`{name}` is {', '.join(values[:5])}{', …' if len(values) > 5 else ''}")
    for sampled in group:
        source.shares.domains += sampled.shares.domains
        source.shares.languages += sampled.shares.languages
        source.shares.records += sampled.shares.records
        source.shares.code_records += sampled.shares.code_records
        source.shares.by_keys += sampled.shares.by_keys
        source.shares.by_content += sampled.shares.by_content
        source.shares.identified |= sampled.shares.identified
    if source.domain is None and source.shares.is_code:
        keys = (
            source.shares.by_keys >= MOST_CODE * source.shares.records and "programming_language" not in source.columns
        )
        if keys:
            source.notes.append("source code, recognised by its keys")
        source.domain = None if keys else "code"
    elif SOME_CODE * source.shares.records < source.shares.code_records:
        share = source.shares.code_records / source.shares.records
        source.notes.append(f"{share:.0%} of the records look like source code")
    source.category = CATEGORIES.get(format_name) or _category_of_hosts(records, source.columns)
    _say_faults(source, found)
    return source


def _look_for_text(
    source: Source, mapping: Mapped, columns: Sequence[Column], records: Sequence[Record], found: Sequence[FirstRecords]
) -> None:
    if {"text", "content"} & set(mapping.columns) or not records:
        if not records:
            faults = Counter[str]()
            for first in found:
                faults += first.faults
            why = ", ".join(f"{number} {reason}" for reason, number in faults.most_common(2))
            source.unusable = f"none of its records can be read ({why})" if why else "it has no records"
        return
    names = {column.name.split(".")[-1] for column in columns}
    swh = {"blob_id", "content_id"} & names and "src_encoding" in names
    if swh:
        source.unusable = "its records name files of Software Heritage and hold no text; download the contents first"
        return
    longest = max(columns, key=lambda column: column.characters, default=None)
    said = f"; the longest column is `{longest.name}`" if longest is not None and longest.characters else ""
    source.unusable = f"no column of its records holds text{said}"


def _category_of_hosts(records: Sequence[Record], columns: dict[str, str]) -> str | None:
    if "url" not in columns:
        return None
    hosts: Counter[str] = Counter()
    for record in records:
        url = value_at(record, columns["url"])
        if isinstance(url, str):
            try:
                hosts[(urlsplit(url if "://" in url else f"//{url}").hostname or "").removeprefix("www.")] += 1
            except ValueError:
                continue
    del hosts[""]
    if not hosts:
        return None
    for ending, category in HOSTS.items():
        if sum(n for host, n in hosts.items() if host == ending or host.endswith(f".{ending}")) > 0.9 * hosts.total():
            return category
    return "web" if len(hosts) >= MANY_HOSTS and len(hosts) > 0.1 * hosts.total() else None


def _say_faults(source: Source, found: Sequence[FirstRecords]) -> None:
    faults: Counter[str] = Counter()
    for first in found:
        faults += first.faults
    faults = Counter({reason: number for reason, number in faults.items() if reason not in NO_FAULTS})
    if faults:
        said = ", ".join(f"{number} {reason}" for reason, number in faults.most_common(3))
        source.notes.append(f"of the records looked at, some cannot be read: {said}")
    large = [file for file in source.files if file.size > LARGE_TEXT]
    if source.format == "text" and large:
        source.notes.append(
            f"{len(large)} files are larger than plan.max_document_bytes; a text file is one document, so split them"
        )
