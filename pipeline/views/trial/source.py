"""The documents of one file, one URL or standard input, read as a source of a run would be.

The format follows from the name as for a source; a source file in a programming language is read as one of a tree;
where the name says nothing, from the first bytes. A web page from a URL is read as a crawl would have stored it, a WARC
response with the server's headers. What comes from a pipe is copied to a temporary file first.
"""

from __future__ import annotations

import io
import json
import posixpath
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa

from gristmill.pipeline.readers.admission import ENCODED, encoding_of, format_here, look
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec, format_by_name, format_of
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks
from gristmill.stages.extract import is_html
from gristmill.stages.languages import language_of_path
from gristmill.storage.uris import Found, is_local, open_input

if TYPE_CHECKING:
    from email.message import Message

STDIN = "-"
NUMBERED = ("jsonl", "json", "parquet", "arrow", "csv", "warc", "wet")
"""Formats of files of many records."""
HEAD_BYTES = 1 << 16
BATCH_BYTES = 1 << 20  # one document is wanted, not sixteen megabytes of them
TIMEOUT_S = 30
AGENT = "gristmill-try"


@dataclass(frozen=True)
class Input:
    """What the readers take."""

    spec: SourceSpec
    segment: Segment
    format: str
    name: str
    """What it is called where people read of it."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What in it was no document, by the reader's reason, as far as it has been read."""

    def place(self, path: str, record: int) -> str:
        """Where in it a document stands, as people read it."""
        member = path.removeprefix(self.segment.path)
        where = self.name + (f": {member.lstrip('/')}" if member else "")
        return f"{where}, record {record}" if record or self.format in NUMBERED else where


@contextmanager
def opened(where: str, spec: SourceSpec, max_document_bytes: int) -> Iterator[Input]:
    """`where`: a path, a URI, an http(s) URL or '-'. `spec`: what the source would say; its `uri` does not count.

    ValueError where there is no such file, RuntimeError where a server does not give it.
    """
    with TemporaryDirectory(prefix="gristmill-") as folder:
        if where == STDIN:
            target = Path(folder) / "stdin"
            with target.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            yield replace(_input(str(target), "stdin", spec), name="standard input")
        elif where.startswith(("http://", "https://")) and _is_page(where, spec):
            yield _fetched(where, spec, Path(folder), max_document_bytes)
        elif is_local(where):
            path = Path(where.removeprefix("file://"))
            if path.is_dir():
                raise ValueError(f"{where}: is a folder; name one file of it")
            if not path.exists():
                raise ValueError(f"{where}: no such file; name a file, a URL, or - for standard input")
            if not path.is_file():  # a pipe, as of <(...), can be read once
                target = Path(folder) / path.name
                with path.open("rb") as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                path = target
            yield _input(str(path), path.name, spec)
        else:
            yield _input(where, _name(where), spec)


def documents(given: Input, count: int, record: int | None, max_document_bytes: int) -> Iterator[pa.RecordBatch]:
    """The first `count` documents, or those at `record`, as batches of one row of schema `pipeline.readers.rows.READ`.

    `record`: as the ledger has it: byte offset (JSONL, WARC), row (Parquet), 0 (a file that is a document).
    """
    partition = Partition(0, given.spec.name, (given.segment,), given.segment.size)
    batches = read(
        partition,
        given.spec,
        max_document_bytes=max_document_bytes,
        batch_bytes=BATCH_BYTES,
        skipped=given.skipped,
    )
    rows = (batch.take(pa.array([i])) for batch in batches for i in range(batch.num_rows))
    if record is not None:
        rows = (row for row in rows if row.column("record")[0].as_py() == record)
    yield from islice(rows, count)


def _input(uri: str, name: str, spec: SourceSpec) -> Input:
    """A file on any storage under the name that it is known by."""
    try:
        with open_input(uri) as file:
            size = file.size()
    except FileNotFoundError:
        raise ValueError(f"{uri}: no such file; check its name") from None
    spec = replace(spec, uri=uri, format=None if spec.format == "machine" else spec.format)
    segment = Segment(uri, name, size, 0, size)
    if spec.format is None and format_by_name(name) is None:
        if language_of_path(name) is not None:
            spec = replace(spec, format="tree")
        else:
            format_name, extension = _sniffed(segment)
            spec, segment = replace(spec, format=format_name), replace(segment, path=name + extension)
    else:
        seen = look(Found(uri, name, size))
        format_name = format_here(spec, seen)
        encoding = encoding_of(spec, seen) if format_name in ENCODED else None
        segment = replace(segment, format=format_name, encoding=encoding)
    return Input(spec, segment, segment.format or format_of(spec, segment.path), name)


def _sniffed(segment: Segment) -> tuple[str, str]:
    """(format, extension without which its reader would not know it) from the first bytes."""
    head = b""
    try:
        for block in blocks(segment):
            head += block
            if len(head) >= HEAD_BYTES:
                break
    except BrokenStreamError:
        pass  # the reader says what is wrong
    if head.startswith(b"PAR1"):
        return "parquet", ""
    if head.startswith(b"WARC/"):
        return "warc", ""
    if head[257:262] == b"ustar":  # POSIX.1-1988, tar's header block
        return "tree", ".tar"
    if is_html("", head):
        return "text", ".html"
    line = head.strip().partition(b"\n")[0]
    if line.startswith(b"{"):
        try:
            json.loads(line)
        except ValueError:
            return "text", ""
        return "jsonl", ""
    return "text", ""


def _name(url: str) -> str:
    return posixpath.basename(urlsplit(url).path) or "index"


def _is_page(url: str, spec: SourceSpec) -> bool:
    """Whether it is fetched as a page; archives and tables are read through the storage, a part at a time."""
    if spec.format is not None:
        return spec.format == "text"
    name = _name(url)
    return format_by_name(name) in (None, "text")


def _fetched(url: str, spec: SourceSpec, folder: Path, max_document_bytes: int) -> Input:
    answer, final, payload = _get(url, max_document_bytes)
    media = answer.get_content_type()
    name = _name(final)
    page = is_html(media, payload)
    if not page and (language_of_path(name) is not None or (media.startswith("text/") and media != "text/plain")):
        target = folder / "download"
        target.write_bytes(payload)
        return _input(str(target), name, spec)
    target = folder / "response.warc"
    target.write_bytes(_response_record(final, answer, payload))
    size = target.stat().st_size
    spec = replace(spec, uri=str(target), format="warc")
    return Input(spec, Segment(str(target), name, size, 0, size), "warc", url)


def _get(url: str, max_bytes: int) -> tuple[Message, str, bytes]:
    """(headers, URL after redirects, payload of at most `max_bytes` + 1 bytes)."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url, headers={"User-Agent": AGENT}), timeout=TIMEOUT_S) as response:
            return response.headers, response.geturl(), response.read(max_bytes + 1)
    except HTTPError as error:
        raise RuntimeError(f"{url}: the server answers {error.code} {error.reason}; check the address") from None
    except (URLError, HTTPException, TimeoutError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RuntimeError(f"{url}: cannot be fetched ({reason}); check the address and the network") from None


def _response_record(url: str, headers: Message, payload: bytes) -> bytes:
    """A WARC response (ISO 28500) of what was fetched; chunks are already joined."""
    http = io.BytesIO()
    http.write(b"HTTP/1.1 200 OK\r\n")
    for name, value in headers.items():
        if name.lower() != "transfer-encoding":
            http.write(f"{name}: {value}\r\n".encode("latin-1", "replace"))
    http.write(b"\r\n" + payload)
    block = http.getvalue()
    target = url.encode("ascii", "replace").decode()
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {target}\r\nContent-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"
