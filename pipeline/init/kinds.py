"""What one file is: the format that reads it, or why none does.

`pipeline.readers.content` tells what the bytes are; here it is decided which of our formats that means: MediaWiki, JATS
and Stack Exchange are all XML, WARC and WET are both WARC, an archive may hold source code, pages or papers.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from gristmill.pipeline.readers.admission import Seen, looked
from gristmill.pipeline.readers.content import HEAD_BYTES, KINDS
from gristmill.pipeline.readers.csv_shape import is_table
from gristmill.pipeline.readers.folder import open_file
from gristmill.pipeline.readers.format_table import FORMATS
from gristmill.pipeline.readers.forward import Forward
from gristmill.pipeline.readers.names import text_name
from gristmill.pipeline.readers.source import format_by_name, stored_name
from gristmill.pipeline.readers.stream import INPUT_BYTES, beginning
from gristmill.pipeline.readers.tar import BrokenArchiveError, members
from gristmill.stages.languages import language_of_path
from gristmill.storage.uris import Found

MEMBERS = 200  # of an archive that are looked at
NO_CODE = frozenset({
    "markdown", "html", "json", "xml", "yaml", "restructuredtext", "tex", "gettext", "css", "roff", "bibtex", "ini",
    "properties", "toml", "jupyter", "diff", "sql", "turtle",
})  # fmt: skip
"""Languages of `stages.code_names` that lie among texts and data as well: no sign that a folder is a repository."""
PROSE = frozenset(
    {"", ".txt", ".text", ".md", ".markdown", ".rst", ".log", ".org", ".adoc", ".asciidoc", ".srt", ".vtt"}
)
HTML = frozenset({".html", ".htm", ".xhtml", ".shtml"})
TABLES = frozenset({".csv", ".tsv", ".tab"})

_ROOT = re.compile(rb"<(?![?!])([\w:.-]+)")
_WIKI = re.compile(rb"<mediawiki[\s>]")
_POSTS = re.compile(rb"<posts>")
_EXCHANGE = re.compile(rb"<(users|comments|votes|badges|tags|postlinks|posthistory)>\s*<row ", re.I)
_JATS = re.compile(rb"-//NLM//DTD (?:JATS|Journal)", re.I)


@dataclass(frozen=True)
class Kind:
    format: str | None
    """A name of `FORMATS`, or `code` for a source file; None: it is left out."""
    why: str = ""
    """Why it is left out, as "it holds a picture"."""
    code: bool = False
    """An archive of source code."""


LEFT_OUT_XML = "it holds XML of a kind that no reader knows"


def kind_of(found: Found) -> Kind:
    """OSError where the file cannot be read."""
    with open_file(found.uri) as file:
        first = file.read(INPUT_BYTES)
        seen = looked(found, first, file.read)
        head = seen.head
        if not head and seen.content in ("xml", "warc", "tar", "html"):
            file.seek(0)
            head = beginning(file.read(INPUT_BYTES), file.read, HEAD_BYTES)[0]
    return _kind(seen, head)


def _kind(seen: Seen, head: bytes) -> Kind:
    path, content = seen.found.path, seen.content
    extension = posixpath.splitext(stored_name(path).lower())[1]
    if content in ("jsonl", "json", "parquet", "arrow", "epub", "pdf"):
        return _if_read("jsonl" if content == "json" and "json" not in FORMATS else content, content)
    if content == "warc":
        return _warc(head)
    if content == "tar":
        return _archive(head)
    if content in ("xml", "html") or (content == "text" and extension in (".xml", ".nxml")):
        return _markup(head, extension)
    if content == "text":
        return _text(seen, extension)
    if content == "empty":
        return Kind(None, "it is empty")
    if content == "zip":
        return Kind(None, "it holds a zip archive; unpack it first")
    named = format_by_name(path)
    if content == "binary" and named is not None and seen.compression is not None:
        return Kind(named)  # damaged: its reader says what is wrong
    return Kind(None, f"it holds {KINDS[content]}")


def _if_read(name: str, content: str) -> Kind:
    return Kind(name) if name in FORMATS else Kind(None, f"it holds {KINDS[content]}, which no reader reads yet")


def _warc(head: bytes) -> Kind:
    types = Counter(match.lower() for match in re.findall(rb"(?im)^WARC-Type:\s*(\w+)", head))
    if types[b"response"] or not types:
        return Kind("warc")
    if types[b"conversion"]:
        return Kind("wet")
    if types[b"metadata"] and not types[b"request"]:
        return Kind(None, "it holds records about pages (WAT), no pages")
    return Kind("warc")


def _archive(head: bytes) -> Kind:
    """By most of the names in its beginning."""
    kinds: Counter[str] = Counter()
    try:
        for member in islice(members(Forward(iter([head])), 0, lambda name: False), MEMBERS):
            if member.kind == "file":
                kinds[_member(text_name(member.name))] += 1
    except BrokenArchiveError:
        pass
    for name in ("nothing", "other"):
        del kinds[name]
    if not kinds:
        return Kind(None, "it holds a tar archive of nothing that is read")
    most = max(sorted(kinds), key=lambda name: kinds[name])
    return Kind("tree", code=True) if most == "code" else Kind(most)


def _member(name: str) -> str:
    base = posixpath.basename(name)
    if base.startswith("."):
        return "nothing"
    extension = posixpath.splitext(base.lower())[1]
    if extension in HTML:
        return "html"
    if extension == ".nxml":
        return "jats"
    if extension in (".tex", ".gz"):
        return "latex"
    language = language_of_path(name)
    if language is not None and language not in NO_CODE:
        return "code"
    return "text" if extension in (".txt", ".text", ".md", ".rst") else "other"


def _markup(head: bytes, extension: str) -> Kind:
    beginning = head[:65536]
    if _WIKI.search(beginning):
        return Kind("mediawiki")
    if _POSTS.search(beginning):
        return Kind("stackexchange")
    if other := _EXCHANGE.search(beginning):
        return Kind(None, f"it holds {other[1].decode().lower()} of Stack Exchange, no posts")
    root = _ROOT.search(beginning)
    of_xml = extension in (".xml", ".nxml") or beginning.lstrip()[:5].lower() == b"<?xml"
    if _JATS.search(beginning[:8192]) or (of_xml and root is not None and root[1] in (b"article", b"pmc-articleset")):
        return Kind("jats")
    if extension in HTML or (root is not None and root[1].lower() in (b"html", b"head", b"body")):
        return Kind("html")
    if not of_xml:
        return Kind("html")
    return Kind(None, LEFT_OUT_XML)


def _text(seen: Seen, extension: str) -> Kind:
    path = seen.found.path
    named = format_by_name(path)
    if extension in TABLES or (extension not in PROSE and named is None and is_table(seen.head, path)):
        return _if_read("csv", "text") if "csv" in FORMATS else Kind(None, "it holds a table of text")
    if named == "jsonl":
        return Kind("jsonl")
    if extension == ".tex":
        return Kind("latex")
    if extension in PROSE or named == "text":
        return Kind("text")
    language = language_of_path(path)
    if language is not None:
        return Kind("code")
    return Kind("text") if extension[1:].isdigit() else Kind(None, "by its name it is data about others")


def is_code_name(path: str) -> bool:
    """Whether the name is that of a source file, and of nothing that lies among texts as well."""
    language = language_of_path(path)
    return language is not None and language not in NO_CODE


def most_common(kinds: Iterable[Kind]) -> Kind:
    counted = Counter(kinds)
    return max(counted, key=lambda kind: (counted[kind], kind.format or ""))
