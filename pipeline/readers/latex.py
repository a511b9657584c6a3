"""TeX sources of papers, as arXiv keeps them: a paper is a document.

    paper.tex               a paper of one file; also .gz
    paper.tar.gz            a paper of several files: `latex_source` finds the main one and puts in what it includes
    arXiv_src_2101_001.tar  an archive of papers, each a .gz of one of the above: each a document

The text is `latex_text`'s. Where the name of a file is a paper's number at arXiv, it is `own_id`, with its URL, and
the month in it the date: sources say neither. `record` is 0, in an archive of papers the offset of the member's header.
What is beside the TeX (figures, styles, PDFs) is counted. A paper's TeX is held whole, up to four times
`max_document_bytes`; what a .gz within an archive decompresses to as well.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections.abc import Iterator

from gristmill.pipeline.readers.archive import Entry, entries, is_archive, is_packed, is_tar
from gristmill.pipeline.readers.forward import Forward
from gristmill.pipeline.readers.markup.latex_source import LatexError, decode_tex, paper_of
from gristmill.pipeline.readers.markup.latex_text import latex_text, title_of
from gristmill.pipeline.readers.names import text_name
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec, stored_name
from gristmill.pipeline.readers.stream import compression_of
from gristmill.pipeline.readers.tar import BrokenArchiveError, members
from gristmill.pipeline.readers.timestamps import parse_timestamp

TEX = (".tex", ".ltx", ".latex")
_EXTENSION = re.compile(r"\.(?:tex|ltx|latex|tar|tgz|\d{4,5}(?:v\d+)?)", re.IGNORECASE)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_NEW_NUMBER = re.compile(r"(\d{2})(\d{2})\.\d{4,5}(?:v\d+)?")
_OLD_NUMBER = re.compile(r"([a-z-]{2,10})(?:\.[A-Z]{2})?[/_]?((\d{2})(\d{2})\d{3}(?:v\d+)?)")
_FIRST_YEAR = 91  # of arXiv: 91 to 99 are 1991 to 1999


def read_latex(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    limit = 4 * max_document_bytes
    if not is_archive(segment):
        for entry in entries(segment, limit, is_tex_name, skipped):
            if entry.data is None:
                yield quarantined(entry.path, 0, entry.reason or "read.truncated", entry.size)
            else:
                yield from _paper(entry.path, 0, {entry.name: entry.data}, spec, limit, skipped)
        return
    files: dict[str, bytes] = {}
    size = 0
    for entry in entries(segment, limit, is_tex_name, skipped):
        if entry.data is None:
            yield quarantined(entry.path, entry.record, entry.reason or "read.truncated", entry.size)
        elif is_packed(entry) or is_tar(entry.data[:512]):
            yield from _packed(entry, entry.data, spec, limit, skipped)
        elif not entry.name.lower().endswith(TEX):
            skipped["files.unwanted_name"] += 1
        else:
            size += len(entry.data)
            if size <= limit:
                files[entry.path.removeprefix(f"{segment.path}/")] = entry.data
    if size > limit:
        yield quarantined(segment.path, 0, "read.too_large", size)
    elif files:
        yield from _paper(segment.path, 0, files, spec, limit, skipped)


def is_tex_name(name: str) -> bool:
    """By the name without the extension of a compression: TeX, an archive, arXiv's numbers, or no extension."""
    extension = posixpath.splitext(name)[1]
    return extension == "" or _EXTENSION.fullmatch(extension) is not None


def _packed(entry: Entry, data: bytes, spec: SourceSpec, limit: int, skipped: Skipped) -> Iterator[Row]:
    """A paper within an archive of papers."""

    def refuse(reason: str) -> Row:
        return quarantined(entry.path, entry.record, reason, entry.size, data[:EXCERPT_BYTES])

    compression = compression_of(data[:16])
    if compression == "gz":
        unpacked = zlib.decompressobj(wbits=31)
        try:
            data = unpacked.decompress(data, limit + 1)
        except zlib.error:
            yield refuse("read.truncated")
            return
        if len(data) > limit or not unpacked.eof:
            yield refuse("read.too_large" if len(data) > limit else "read.truncated")
            return
    elif compression is not None:
        yield refuse("read.packed_twice")
        return
    if not is_tar(data[:512]):
        yield from _paper(entry.path, entry.record, {entry.name: data}, spec, limit, skipped)
        return
    try:
        inner = members(Forward(iter([data])), limit, lambda name: text_name(name).lower().endswith(TEX))
        files = {text_name(each.name.removeprefix(b"./")): each.data for each in inner if each.data is not None}
    except BrokenArchiveError:
        yield refuse("read.truncated")
        return
    if files:
        yield from _paper(entry.path, entry.record, files, spec, limit, skipped)
    else:
        skipped["latex.no_tex"] += 1


def _paper(
    path: str, record: int, files: dict[str, bytes], spec: SourceSpec, limit: int, skipped: Skipped
) -> Iterator[Row]:
    size = sum(map(len, files.values()))
    if any(b"\0" in data for data in files.values()) or all(data.startswith(b"%PDF") for data in files.values()):
        skipped["files.binary"] += 1
        return
    decoded = {name: decode_tex(data) for name, data in files.items()}
    if not any(_COMMAND.search(text) for text in decoded.values()):
        skipped["latex.no_tex"] += 1
        return
    try:
        paper = paper_of(decoded, limit)
    except LatexError as error:
        yield quarantined(path, record, error.reason, size)
        return
    title = title_of(paper.text)
    body = latex_text(paper.text)
    if not body:
        yield quarantined(path, record, "read.no_text", size)
        return
    row = Row(path, record, body if title is None else f"{title}\n\n{body}", title=title, category="academic")
    row.language = spec.language
    _number(row, stored_name(path))
    more = {"main": paper.main if len(files) > 1 else None, "missing_files": paper.missing or None}
    row.metadata = metadata_json(spec.metadata, more)
    yield row


def _number(row: Row, name: str) -> None:
    """What arXiv's number of the paper says (info.arxiv.org, "Understanding the arXiv identifier")."""
    for extension in (*TEX, ".tar", ".tgz"):
        name = name.removesuffix(extension)
    if found := _NEW_NUMBER.fullmatch(name):
        number, year, month = name, found[1], found[2]
    elif found := _OLD_NUMBER.fullmatch(name):
        number, year, month = f"{found[1]}/{found[2]}", found[3], found[4]
    else:
        return
    row.timestamp = parse_timestamp(f"{19 if int(year) >= _FIRST_YEAR else 20}{year}-{month}")
    row.own_id = f"arXiv:{number}"
    row.url = f"https://arxiv.org/abs/{number}"
