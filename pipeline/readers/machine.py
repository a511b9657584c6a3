"""`machine:`, the text already on this computer: a real corpus of prose and source code, no download.

    kind    files                                                              document
    man     /usr/share/man: English and translated pages                       the page rendered to text
    doc     /usr/share/doc, and READMEs and the like of Python packages        the file; a web page as `content`
    mo      message catalogues: /usr/share/locale, .mo of Python packages      the translations, one a line
    python  the interpreter's standard library and site-packages               a source file
    code    the same folders, /usr/lib, libraries of Perl and Tcl              a source file in another language

Only the folders in `ROOTS` and the running interpreter's own are read; no user site, no editable installs, nothing in
/etc or a home unless the interpreter itself lives there; links are not followed. `choose` shares `max_bytes` over
kinds, and within a kind over languages, so that no kind is first come; within a language files are taken by the hash
of their path. Timestamps are null: a file's date says when it was installed.
"""

from __future__ import annotations

import os
import posixpath
import re
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import xxhash

from gristmill.pipeline.readers.files import BINARY, HTML
from gristmill.pipeline.readers.markup.catalogue import catalogue_text, text_codec
from gristmill.pipeline.readers.markup.roff import render
from gristmill.pipeline.readers.markup.roff_requests import ExpandedError
from gristmill.pipeline.readers.names import text_name
from gristmill.pipeline.readers.rows import Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, read_all
from gristmill.stages.languages import DEFAULT_LANGUAGES, iso_code, language_of_path
from gristmill.storage.uris import Found

ROOTS = {
    "man": "/usr/share/man",
    "doc": "/usr/share/doc",
    "locale": "/usr/share/locale",
    "lib": "/usr/lib",
    "perl": "/usr/share/perl",
    "perl5": "/usr/share/perl5",
    "tcltk": "/usr/share/tcltk",
}
"""First part of a document's path -> folder. The last three are where Debian keeps libraries that elsewhere are in
/usr/lib."""

LIBRARIES = ("stdlib", "site-packages", "lib", "perl", "perl5", "tcltk")

EXPECTED = {
    "man": "manual pages, in English and translated",
    "doc": "package documentation",
    "locale": "message catalogues, most of the multilingual text",
}

CODE_KINDS = ("python", "code")

MAX_RENDERED_BYTES = 10_000_000  # of a manual page; the longest of Debian's has 3 MB

_DOCUMENTS = ("", ".txt", ".md", ".rst", ".debian", ".news", ".changes", *HTML)
_DOCUMENT_NAMES = re.compile(
    r"(readme|changes|changelog|news|history|authors|copyright|licen[cs]e|copying|notice|todo|faq|thanks)\b", re.I
)
_NO_SOURCE = re.compile(
    r"[.\-]min\.(js|css)$|\.json$|(^|/)\."
)  # machine-made or settings; the rest is for the rules to judge
_SKIPPED_FOLDERS = {"__pycache__", "debug", "firmware", "modules", "node_gyp_cache"}


@dataclass(frozen=True)
class Candidate:
    kind: str
    group: str
    """The language within the kind: budgets are shared over groups too."""
    path: str
    uri: str
    stored: int
    size: int
    """Uncompressed bytes."""


def choose(spec: SourceSpec) -> list[Found]:
    """The files that `spec` takes, at most `max_bytes` of them uncompressed."""
    candidates = [c for c in _candidates(root_of(spec)) if spec.domain in (None, *_domains(c.kind, c.group))]
    if not candidates:
        raise ValueError(f"sources.{spec.name}: nothing to read on this computer; name files of your own as a source")
    groups: dict[str, dict[str, list[Candidate]]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.kind, {}).setdefault(candidate.group, []).append(candidate)
    total = sum(candidate.size for candidate in candidates)
    budgets = shares({k: sum(c.size for g in groups[k].values() for c in g) for k in groups}, spec.max_bytes or total)
    chosen: list[Candidate] = []
    for kind in sorted(groups):
        sizes = {name: sum(c.size for c in group) for name, group in groups[kind].items()}
        recipe = {name: size for name, size in sizes.items() if kind in CODE_KINDS or name in DEFAULT_LANGUAGES}
        parts = shares(recipe, budgets[kind])  # languages that the recipe does not take get what these leave over
        parts |= shares({n: sizes[n] for n in sizes if n not in recipe}, budgets[kind] - sum(parts.values()))
        for name in sorted(parts):
            chosen += _within(groups[kind][name], parts[name])
    return [Found(c.uri, c.path, c.stored) for c in chosen]


def _domains(kind: str, language: str) -> tuple[str, ...]:
    """What the place of a file promises, as a source may state it; the stage `language` decides."""
    if kind in CODE_KINDS:
        return ("code",)
    return ("english" if language == "en" else "multilingual", "prose")


def shares(available: Mapping[str, int], budget: int) -> dict[str, int]:
    """Splits `budget` evenly; what one cannot fill goes to the others. Nobody gets more than is available."""
    result: dict[str, int] = {}
    waiting = sorted(available, key=lambda name: (available[name], name))
    while waiting:
        share = budget // len(waiting)
        name = waiting.pop(0)
        result[name] = min(available[name], share)
        budget -= result[name]
    return result


def missing(spec: SourceSpec) -> list[str]:
    """A sentence for each expected folder that this computer does not have; the run goes on without it."""
    root = root_of(spec)
    found = []
    for name, what in EXPECTED.items():
        folder = posixpath.join(root, ROOTS[name].lstrip("/"))
        if not any(True for _ in _walk(folder, set())):
            found.append(f"source {spec.name}: {folder} has no files, so the corpus lacks {what}")
    return found


def root_of(spec: SourceSpec) -> str:
    """`machine:` is this computer, `machine:/some/folder` one whose files lie below that folder."""
    return spec.uri.removeprefix("machine:") or "/"


def read_machine(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    """At most one row: none for a manual page that only points to another, or a file that turns out to be binary."""
    kind, group = classify(segment.path) or ("doc", "en")
    limit = min(max_document_bytes, MAX_RENDERED_BYTES) if kind.startswith("man") else max_document_bytes
    try:
        data = read_all(segment, limit)
    except BrokenStreamError as error:
        yield quarantined(segment.path, 0, error.reason, segment.size)
        return
    if data is None:
        yield quarantined(segment.path, 0, "read.too_large", segment.size)
        return
    if kind != "mo" and b"\0" in data:
        skipped["machine.binary"] += 1
        return
    row = Row(segment.path, 0, metadata=metadata_json(spec.metadata, {"kind": kind}))
    try:
        if kind in CODE_KINDS:
            row.domain, row.language, row.text = "code", group, data.decode("utf-8")
        elif kind == "mo":
            row.language, row.text = group, catalogue_text(data)
        elif kind == "doc":
            _document(row, data)
        else:
            row.language, row.text = group, render(_decoded_page(data))
    except UnicodeDecodeError:
        yield quarantined(segment.path, 0, "read.invalid_utf8", len(data), data)
        return
    except ExpandedError:
        yield quarantined(segment.path, 0, "read.expansion", len(data), data)
        return
    except (ValueError, LookupError):
        reason = "read.malformed_catalogue" if kind == "mo" else "read.unknown_encoding"
        yield quarantined(segment.path, 0, reason, len(data), data)
        return
    if row.text or row.content:
        yield row
    else:
        skipped["machine.no_words"] += 1


def classify(path: str) -> tuple[str, str] | None:
    """(kind, group) of a path that begins with a name of `ROOTS`, `stdlib` or `site-packages`; None: not wanted."""
    root, _, rest = path.partition("/")
    name = posixpath.basename(path)
    plain = name.removesuffix(".gz")
    extension = posixpath.splitext(plain)[1].lower()
    if root == "man":
        language = rest.partition("/")[0]
        if re.fullmatch(r"man\d\w*", language):
            return "man-en", "en"
        code = iso_code(language)
        return ("man-en", "en") if code == "en" else ("man-other", code)
    if extension == ".mo":
        folders = path.split("/")
        if folders[-2:-1] != ["LC_MESSAGES"] or len(folders) < 3:
            return None
        return "mo", iso_code(folders[-3])
    if root == "locale" or extension in BINARY or _NO_SOURCE.search(rest.removesuffix(".gz")):
        return None
    programming = language_of_path(plain)
    if root == "doc":
        if extension in _DOCUMENTS or _DOCUMENT_NAMES.match(plain):
            return "doc", "en"
        return ("python" if programming == "python" else "code", programming) if programming else None
    if (
        name == "METADATA"
        or extension in (".rst", ".md")
        or (_DOCUMENT_NAMES.match(plain) and extension in ("", ".txt"))
    ):
        return "doc", "en"
    if programming is None or name != plain:
        return None
    return ("python" if programming == "python" else "code", programming)


def _document(row: Row, data: bytes) -> None:
    name = posixpath.basename(row.path).removesuffix(".gz").lower()
    if name.endswith(HTML):
        row.content, row.content_type = data, "text/html"
        return
    if name == "copyright" or name.startswith(("licen", "copying", "notice")):
        row.category = "legal"
    row.text = data.decode("utf-8")
    if name == "metadata":  # of a wheel: headers, an empty line, the README
        row.text = data.decode("utf-8").partition("\n\n")[2]


def _decoded_page(data: bytes) -> str:
    """UTF-8 unless the first line says otherwise, as man-db reads it: '\\" -*- coding: EUC-JP -*-."""
    coding = re.match(rb"['.]\\\".*?-\*-.*?coding:[ \t]*([\w-]{1,40})", data[:1000])
    return data.decode(text_codec(coding[1]) if coding else "utf-8")


def _within(group: list[Candidate], budget: int) -> Iterator[Candidate]:
    """By the hash of the path; a file that no longer fits is passed over for smaller ones."""
    for candidate in sorted(group, key=lambda c: xxhash.xxh3_128_digest(c.path.encode())):
        if candidate.size <= budget:
            budget -= candidate.size
            yield candidate


def _candidates(root: str) -> Iterator[Candidate]:
    interpreter = sysconfig.get_paths()
    folders = {
        "stdlib": interpreter["stdlib"],
        "site-packages": interpreter["purelib"],
        "site-packages/": interpreter["platlib"],  # another folder on some distributions
        **ROOTS,
    }
    visited: set[str] = set()
    for name, folder in folders.items():
        start = posixpath.join(root, folder.lstrip("/"))
        for path in _walk(start, visited):
            logical = f"{name.rstrip('/')}/{posixpath.relpath(path, start)}"
            if (found := classify(logical)) is not None:
                try:
                    stored = os.lstat(path).st_size
                    size = _uncompressed(path, stored)
                except OSError:
                    continue  # removed since it was listed, or for others' eyes only
                if size:
                    yield Candidate(*found, text_name(os.fsencode(logical)), text_name(os.fsencode(path)), stored, size)


def _walk(start: str, visited: set[str]) -> Iterator[str]:
    """Files below `start`, no links, no folder twice. A site-packages is reached by its own name alone."""
    start = os.path.realpath(start)
    for folder, below, names in os.walk(start):
        if folder in visited:
            below.clear()
            continue
        visited.add(folder)
        below[:] = sorted(b for b in below if b not in _SKIPPED_FOLDERS and b != "site-packages")
        for name in sorted(names):
            path = posixpath.join(folder, name)
            if not name.startswith("__editable__") and not os.path.islink(path) and os.path.isfile(path):
                yield path


def _uncompressed(path: str, stored: int) -> int:
    """gzip keeps the length in its last four bytes (RFC 1952, section 2.3.1)."""
    if not path.endswith(".gz") or stored < 18:
        return stored
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")
