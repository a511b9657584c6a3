"""PDF with a text layer: a document is a document; a file, or a folder or tar of them.

PDFium reads it in a process of its own (`stages.guard`), with limits of CPU time, which grow with the file, and of
memory. A scan without recognised text is quarantined as read.pdf_no_text, so that the ledger names it; so is what needs
a password (pdf.encrypted), what is broken (pdf.damaged, pdf.crashed) and what takes too long (pdf.timeout). Title,
author, producer and dates are those of the document information dictionary. No pictures, no forms, no attachments.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone

from gristmill.pipeline.readers.archive import Entry, entries, is_packed
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, encodable, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.stages.guard import Guarded

EXTENSION = ".pdf"
PAGES = "gristmill.pipeline.readers.markup.pdf_pages:reader"
SECONDS, SECONDS_PER_MB = 60.0, 30.0
"""CPU time for a document: plain text is 250 pages a second, and 1 MB of it some 800 pages."""
CHILD_BYTES = 2 << 30
"""Address space of the process: of the file twice, of PDFium's caches and of the document's lines."""
NO_TITLE = re.compile(
    r"(?:untitled.*|microsoft (?:word|powerpoint) - .*|.*\.(?:docx?|dvi|pdf|tex|indd|qxd|pptx?))", re.I
)
"""What programs write for a title: the name of a file, or nothing."""
_DATE = re.compile(
    r"D?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?\s*(?:Z|([+-])(\d\d)'?(\d\d)?)?", re.ASCII
)  # ISO 32000-2, section 7.9.4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_pdf(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    guarded = _guarded(max_document_bytes, os.getpid())
    for entry in entries(segment, 4 * max_document_bytes, is_pdf, skipped):
        if entry.data is None:
            yield quarantined(entry.path, entry.record, entry.reason or "read.truncated", entry.size)
        elif is_packed(entry):
            yield quarantined(entry.path, entry.record, "read.packed_twice", entry.size, entry.data[:EXCERPT_BYTES])
        elif not entry.data.strip():
            skipped["files.empty"] += 1
        else:
            yield _row(entry, entry.data, spec, guarded)


def is_pdf(name: str) -> bool:
    return name.lower().endswith(EXTENSION) or "." not in name


@functools.cache
def _guarded(max_document_bytes: int, pid: int) -> Guarded:
    """This process's; pid: a fork must not use its parent's."""
    return Guarded(PAGES, str(max_document_bytes), "pdf: the process that reads documents", CHILD_BYTES)


def _row(entry: Entry, data: bytes, spec: SourceSpec, guarded: Guarded) -> Row:
    found = guarded.ask(data, None, SECONDS + SECONDS_PER_MB * len(data) / 1e6)
    if isinstance(found, str):
        reason = {"too_large": "read.too_large", "failed": "pdf.damaged"}.get(found, f"pdf.{found}")
        return quarantined(entry.path, entry.record, reason, entry.size, data[:EXCERPT_BYTES])
    if found.text is None:
        return quarantined(entry.path, entry.record, "read.pdf_no_text", entry.size, data[:EXCERPT_BYTES])
    said: Mapping[str, str] = found.more["information"]
    row = Row(entry.path, entry.record, found.text, language=spec.language)
    title = _clean(said.get("Title"))
    row.title = None if title is None or NO_TITLE.fullmatch(title) else title
    date = _clean(said.get("CreationDate"))
    row.timestamp = _moment(date) if date else None
    more: dict[str, str | int | None] = {
        "author": _clean(said.get("Author")),
        "subject": _clean(said.get("Subject")),
        "keywords": _clean(said.get("Keywords")),
        "producer": _clean(said.get("Producer")),
        "pages": found.more["pages"],
        "pages_without_text": found.more["pages_without_text"] or None,
        "pages_unreadable": found.more["pages_unreadable"] or None,
        "date": date if row.timestamp is None else None,
    }
    row.metadata = metadata_json(spec.metadata, more)
    return row


def _clean(text: str | None) -> str | None:
    return encodable(" ".join(text.replace("\0", " ").split())) or None if text else None


def _moment(text: str) -> int | None:
    """µs since 1970 in UTC of a date as PDF writes it; a time without a zone counts as UTC."""
    match = _DATE.match(text)
    if match is None:
        return None
    year, *rest = (int(part) if part else None for part in match.groups()[:6])
    month, day, hour, minute, second = (
        default if part is None else part for part, default in zip(rest, (1, 1, 0, 0, 0))
    )
    away = timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0))
    try:
        zone = timezone(-away if match[7] == "-" else away)
        moment = datetime(year or 0, month, day, hour, minute, min(second, 59), tzinfo=zone)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None
