"""Which of the files that a source's URI names are read, as which format, and why the others are not.

Where the source states a format, what is in a file decides, not what it is called: `part-r-00000`, `x.jsonl.zstd` and
Parquet under the name of JSON Lines are read. The name decides between formats that look alike (CSV and text) and where
the bytes are damaged. Left out are hidden files, what other programs leave beside their data (`_SUCCESS`, checksums),
and what holds something else; each is counted. Where no format is stated a folder must hold one, and the files of a
pattern are each taken for what they are.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import xxhash

from gristmill.pipeline.readers.content import HEAD_BYTES, KINDS, TO_UNPACK, content_of
from gristmill.pipeline.readers.csv_shape import head_lines, header_of, is_table
from gristmill.pipeline.readers.files import PROSE, wanted
from gristmill.pipeline.readers.folder import open_file
from gristmill.pipeline.readers.format_table import FOREIGN, FORMATS, format_named
from gristmill.pipeline.readers.source import SourceSpec, format_by_name, stored_name
from gristmill.pipeline.readers.stream import INPUT_BYTES, beginning, compression_of
from gristmill.stages.languages import language_of_path
from gristmill.stages.text_encoding import known_encoding, wide_encoding
from gristmill.storage.uris import Found, is_local

Reach = Literal["file", "pattern", "folder"]
"""What a URI is."""

SIDE_FOLDERS = {"_delta_log", "_temporary", "_spark_metadata", "_symlink_format_manifest", "__MACOSX", "__pycache__"}
_SIDE = re.compile(
    r"_SUCCESS|_metadata|_common_metadata|_(?:started|committed|STARTED|COMMITTED)(?:_\d+)?|.*\.crc|Thumbs\.db|desktop\.ini"
)
_ABOUT = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""What Hugging Face `datasets` writes beside data."""
_DOCUMENTATION = re.compile(
    r"(?:readme|licen[cs]e|copying|notice|citation|authors|contributing|changelog|changes|code_of_conduct|security)"
    r"(?:[._-].*)?",
    re.I,
)

RECORDS = {"jsonl", "json", "parquet", "arrow", "csv"}
"""Formats whose records have named values: any of them can stand in for another."""
ENCODED = ("jsonl", "json", "csv")
"""Formats whose files are recoded as a whole where they are not UTF-8."""
READ_AS = {"jsonl": "jsonl", "json": "json", "parquet": "parquet", "arrow": "arrow", "warc": "warc", "tar": "tree",
           "epub": "epub", "pdf": "pdf", "html": "text"}  # fmt: skip
"""Content -> the format that it is where nothing else says one."""
_PROSE_NAMES = {*PROSE, ".log", ".org", ".adoc", ".asciidoc", ".asc", ".me", ".1st", ".nfo", ".srt", ".vtt"}
_NO_PROSE = {
    ".csv",
    ".tsv",
    ".md5",
    ".sha1",
    ".sha256",
    ".sha512",
    ".sig",
    ".idx",
    ".index",
    ".lst",
    ".map",
    ".po",
    ".pot",
}
EMPTY = "it is empty"
_TEXTUAL = ("text", "html", "xml", "json", "jsonl", "empty")


@dataclass(frozen=True)
class Seen:
    """A file, and what its first bytes say."""

    found: Found
    content: str
    """A key of `pipeline.readers.content.KINDS`."""
    compression: str | None
    encoding: str | None
    """utf-16-le and the like, where its text is in that."""
    head: bytes = field(repr=False, default=b"")
    """The first bytes of a text; `without_head` of many files are held at once."""
    is_table: bool = False
    """Whether its first lines are those of a table of separated values."""
    columns: tuple[str, ...] = ()
    """Of what may be such a table."""
    digest: str | None = None
    """xxh3_128 of a small local file, which has been read whole."""

    def without_head(self) -> Seen:
        return replace(self, head=b"")


@dataclass
class Admitted:
    """What becomes of the files of a source."""

    files: list[tuple[Seen, str]] = field(default_factory=list)
    """With the format that each is read as."""
    left_out: list[tuple[str, int, str]] = field(default_factory=list)
    """(path, bytes, why)."""
    notes: list[str] = field(default_factory=list)


def look(found: Found, of_tables: bool = False) -> Seen:
    """of_tables: whether a text whose name says nothing may be one. OSError where the file cannot be read."""
    with open_file(found.uri) as file:
        first = file.read(INPUT_BYTES)
        seen = looked(found, first, file.read, of_tables)
    if is_local(found.uri) and len(first) == found.size < INPUT_BYTES:
        return replace(seen, digest=xxhash.xxh3_128_hexdigest(first))
    return seen


def looked(found: Found, first: bytes, more: Callable[[int], bytes], of_tables: bool = False) -> Seen:
    """first: the file's first bytes; more: gives those that follow."""
    compression = compression_of(first)
    head, broken = beginning(first, more, HEAD_BYTES)
    content = content_of(head) if head or not broken else "binary"
    encoding = wide_encoding(head) if content in _TEXTUAL else None
    if content != "text":
        return Seen(found, content, compression, encoding)
    named = format_by_name(found.path)
    if named != "csv" and (named is not None or not of_tables):
        return Seen(found, content, compression, encoding, head)
    columns = tuple(header_of(head_lines(head), found.path))
    return Seen(found, content, compression, encoding, head, is_table(head, found.path), columns)


def admit(spec: SourceSpec, reach: Reach, files: Sequence[Seen]) -> Admitted:
    """files: those that `is_beside` does not name, sorted by path. ValueError in one sentence where none is read."""
    if reach == "file":
        return _each(spec, files)
    if spec.stated is None:
        return _each(spec, files) if reach == "pattern" else _of_one_kind(spec, files)
    return _stated(spec, spec.stated, files, reach)


def format_here(spec: SourceSpec, seen: Seen) -> str:
    """The format of a file that is named alone. ValueError where nothing tells."""
    if spec.stated is not None:
        return _as_named(spec.stated, seen)
    named = format_by_name(seen.found.path)
    if named is not None:
        return _as_named(named, seen)
    told = _told(seen)
    if told is None or _SIDE.fullmatch(posixpath.basename(seen.found.path)):
        raise ValueError(
            f"sources.{spec.name}: the name of {seen.found.path} does not tell its format, and it holds "
            f"{KINDS[seen.content]}; add `format:` to the source"
        )
    return told


def encoding_of(spec: SourceSpec, seen: Seen) -> str | None:
    """Of a file of records that is not UTF-8 as its beginning or the source says; None: UTF-8 or to be found out."""
    stated = known_encoding(spec.encoding) if spec.encoding is not None else None
    return seen.encoding or (None if stated == "utf-8" else stated)


def is_beside(path: str, records: bool) -> str | None:
    """Why a file is not looked at, by its path; None for one that is. records: the source has records."""
    *folders, name = path.split("/")
    if any(part.startswith(".") for part in (*folders, name)):
        return "hidden"
    if SIDE_FOLDERS & set(folders) or _SIDE.fullmatch(name) or (records and name in _ABOUT):
        return "written by a program beside its data"
    return None


def has_records(spec: SourceSpec) -> bool:
    return spec.stated is None or spec.stated in RECORDS


def _as_named(named: str, seen: Seen) -> str:
    """The format of a file that is called, or said to be, `named`."""
    content = seen.content
    if named in RECORDS:
        if content in RECORDS:
            return content
        is_other = content not in ("text", "binary", "empty")
        return FOREIGN if is_other else named
    if named in ("warc", "wet", "text") and content in ("parquet", "arrow"):
        return content
    return named


def _told(seen: Seen) -> str | None:
    """What a file is whose name does not say it."""
    told = READ_AS.get(seen.content)
    if told is None and seen.content == "text":
        extension = posixpath.splitext(stored_name(seen.found.path))[1].lower()
        told = "text" if extension in _PROSE_NAMES else None
    return told if told in FORMATS else None


def _each(spec: SourceSpec, files: Sequence[Seen]) -> Admitted:
    """Every file for what it is."""
    result = Admitted()
    first: ValueError | None = None
    for seen in files:
        try:
            result.files.append((seen, format_here(spec, seen)))
            if seen.content == "empty":  # it stays, so that a source of it alone is no mistake
                result.left_out.append((seen.found.path, seen.found.size, EMPTY))
        except ValueError as error:
            first = first or error
            why = f"its name does not tell its format, and it holds {KINDS[seen.content]}; add `format:` to the source"
            result.left_out.append((seen.found.path, seen.found.size, why))
    if not result.files and first is not None:
        raise first
    return _with_notes(spec, result)


def _stated(spec: SourceSpec, stated: str, files: Sequence[Seen], reach: Reach) -> Admitted:
    result = Admitted()
    row = format_named(stated)
    for seen in files:
        chosen, why = _fits(spec, stated, seen, reach)
        if chosen is not None:
            result.files.append((seen, chosen))
        if why is not None:
            result.left_out.append((seen.found.path, seen.found.size, why))
    if not result.files and files:  # the reader says what is wrong with each
        empty = [each for each in result.left_out if each[2] == EMPTY]
        result = Admitted([(seen, _as_named(stated, seen)) for seen in files], empty)
    return _with_notes(spec, result) if row.contents else result


def _fits(spec: SourceSpec, stated: str, seen: Seen, reach: Reach) -> tuple[str | None, str | None]:
    """(the format that it is read as, why it is left out), of a file of a folder or a pattern."""
    contents = format_named(stated).contents
    path, content = seen.found.path, seen.content
    if not contents:
        return stated, None
    if stated == "tree":
        unwanted = "by its name it is no source code and no text" if not wanted(path, spec) else None
        binary = "it holds binary data" if unwanted is None and content == "binary" else None
        return stated, unwanted or binary  # its reader counts them too
    if content == "empty" and stated != "text":
        return None, EMPTY
    named = format_by_name(path)
    if stated == "text":
        return _fits_text(spec, seen, named, reach)
    if stated == "csv" and content == "text" and (named == "csv" or (named is None and seen.is_table)):
        return stated, None
    if content in contents and content != "text":
        return (content if stated in RECORDS else stated), None
    if named == stated or {named, stated} <= {"jsonl", "json"} or {named, stated} <= {"warc", "wet"}:
        return _as_named(stated, seen), None
    return None, _holds(content, f"the source says format: {stated}")


def _holds(content: str, asked: str) -> str:
    remedy = "; unpack it first" if content in TO_UNPACK else ""
    return f"it holds {KINDS[content]}, and {asked}{remedy}"


def _fits_text(spec: SourceSpec, seen: Seen, named: str | None, reach: Reach) -> tuple[str | None, str | None]:
    path, content = seen.found.path, seen.content
    if content == "tar":
        return "text", None
    if content not in _TEXTUAL:
        promises = named == "text" and content == "binary"  # damaged, or of an encoding that nobody knows
        return ("text", None) if promises else (None, _holds(content, "the source says format: text"))
    if content == "empty":
        return "text", EMPTY
    if reach == "pattern" or named == "text":
        return "text", None if wanted(path, spec) else "by its name it is binary data"
    extension = posixpath.splitext(stored_name(path))[1].lower()
    if extension in _PROSE_NAMES or spec.domain == "code":
        return "text", None
    if named is not None or extension in _NO_PROSE or language_of_path(path) is not None:
        return None, "by its name it is data or source code, and the source says format: text"
    return "text", None if wanted(path, spec) else "by its name it is binary data"


def _of_one_kind(spec: SourceSpec, files: Sequence[Seen]) -> Admitted:
    """A folder whose source states no format: all of one, or a sentence that says which there are."""
    kinds = [_kind(seen) for seen in files]
    data = Counter(
        kind for seen, kind in zip(files, kinds, strict=True) if kind and not (kind == "text" and _documents(seen))
    ) or Counter(kind for kind in kinds if kind)
    one = "jsonl" if set(data) == {"jsonl", "json"} else next(iter(data)) if len(data) == 1 else None
    if one is None or one == "code":
        known = ", ".join(f"{kind} {number:,}" for kind, number in data.most_common())
        if not known:
            held = Counter(KINDS[seen.content] for seen in files)
            there = ", ".join(f"{kind} {number:,}" for kind, number in held.most_common(5))
            raise ValueError(
                f"sources.{spec.name}: {spec.uri} is a folder without a file whose format can be told ({there}); "
                "add `format:` to the source if it holds data"
            )
        if set(data) == {"code"}:
            raise ValueError(
                f"sources.{spec.name}: {spec.uri} is a folder of source code ({data['code']:,}); "
                "add `format: tree` for source code"
            )
        remedy = "`format: tree` for source code, or " if "code" in data else ""
        raise ValueError(
            f"sources.{spec.name}: {spec.uri} is a folder of files that are not all of one format ({known}); "
            f"add {remedy}`format:` with the one to read"
            + (", and a source for each other one" if len(data) > 1 else "")
        )
    result = Admitted()
    family = {"jsonl", "json"} if one in ("jsonl", "json") else {one}
    for seen, kind in zip(files, kinds, strict=True):
        if kind in family and not (one != "text" and _documents(seen)):
            result.files.append((seen, _as_named(kind or one, seen)))
        else:
            why = _holds(seen.content, f"the folder is read as {one}")
            result.left_out.append((seen.found.path, seen.found.size, why))
    return _with_notes(spec, result)


def _documents(seen: Seen) -> bool:
    """Whether it is a file about the others, as the README of a data set."""
    return _DOCUMENTATION.fullmatch(posixpath.basename(seen.found.path)) is not None


def _kind(seen: Seen) -> str | None:
    named = format_by_name(seen.found.path)
    if named is not None:
        return seen.content if named in RECORDS and seen.content in RECORDS else named
    told = _told(seen)
    return "code" if told is None and language_of_path(seen.found.path) is not None else told


def _with_notes(spec: SourceSpec, result: Admitted) -> Admitted:
    """What is read as something else than it is called, and what is quarantined whole, by what it is."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for seen, chosen in result.files:
        named = format_by_name(seen.found.path) or spec.stated or chosen
        if chosen == FOREIGN or (
            named != chosen and {named, chosen} <= RECORDS and {named, chosen} != {"json", "jsonl"}
        ):
            groups.setdefault((seen.content, named, chosen), []).append(seen.found.path)
    for (content, named, chosen), paths in groups.items():
        which = f"{paths[0]!r} is" if len(paths) == 1 else f"{len(paths):,} files, {paths[0]!r} one of them, are"
        what = "quarantined" if chosen == FOREIGN else "read as what is inside"
        what += "; unpack it first" if content in TO_UNPACK else ""
        result.notes.append(f"source {spec.name}: {which} {named} by name and {KINDS[content]} by content; {what}")
    return result
