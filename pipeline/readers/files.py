"""Files that are documents: plain text, source trees, and tar archives of either.

`text`: a file is a document; a web page (.html) becomes `content` for extraction. `tree`: a source file is a document
of domain code with its programming language; under `domain: english` or `multilingual` the files are prose, as in
`text`. Files with no row, because they are no text of the kind asked for: in a tree of code those whose name names no
programming language; everywhere those with an extension of pictures, archives, programs and other binary data, and
those with a NUL in their first 8 KB where the name promises nothing. A file that should be text and is not valid
UTF-8 is quarantined, and NULs in it are kept.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator

from pipeline.partition import Segment
from pipeline.readers.rows import Row, metadata_json, quarantined
from pipeline.readers.source import SourceSpec
from pipeline.readers.stream import BrokenStreamError, blocks, read_all
from stages.languages import language_of_path

HTML = (".html", ".htm", ".xhtml")
PROSE = ("", ".txt", ".text", ".md", ".markdown", ".rst", ".tex", *HTML)
NUL_BYTES = 8192  # git looks for a NUL in the first 8,000 bytes to call a file binary

BINARY = frozenset(
    {
        ".a", ".aac", ".avi", ".avif", ".bin", ".bmp", ".bz2", ".class", ".dat", ".db", ".deb", ".dll", ".doc", ".docx",
        ".dylib", ".egg", ".eot", ".epub", ".exe", ".flac", ".gif", ".gz", ".h5", ".ico", ".iso", ".jar", ".jpeg",
        ".jpg", ".lib", ".mkv", ".mo", ".mov", ".mp3", ".mp4", ".npy", ".npz", ".o", ".obj", ".odt", ".ogg", ".onnx",
        ".otf", ".parquet", ".pdf", ".pickle", ".pkl", ".png", ".ppt", ".pptx", ".psd", ".pt", ".pth", ".pyc", ".rar",
        ".rpm", ".safetensors", ".so", ".sqlite", ".tar", ".tgz", ".tif", ".tiff", ".ttf", ".wasm", ".wav", ".webm",
        ".webp", ".whl", ".woff", ".woff2", ".xls", ".xlsx", ".xz", ".zip", ".zst", ".7z",
    }
)  # fmt: skip


def read_files(segment: Segment, spec: SourceSpec, max_document_bytes: int) -> Iterator[Row]:
    """One file, or the members of a tar archive (`archive/member` is their path) in the archive's order."""
    if _is_archive(segment.path):
        yield from _members(segment, spec, max_document_bytes)
        return
    if not wanted(segment.path, spec):
        return
    try:
        data = read_all(segment.uri, max_document_bytes)
    except BrokenStreamError:
        yield quarantined(segment.path, 0, "read.truncated", segment.size)
        return
    if data is None:
        yield quarantined(segment.path, 0, "read.too_large", segment.size)
        return
    row = file_row(segment.path, data, spec)
    if row is not None:
        yield row


def wanted(path: str, spec: SourceSpec) -> bool:
    """Whether the name allows a document; no row at all for those it does not."""
    name = posixpath.basename(path)
    extension = posixpath.splitext(name)[1].lower()
    if extension in BINARY and posixpath.splitext(_stored_name(name))[1].lower() in BINARY:
        return False
    return _is_prose(spec) or language_of_path(name) is not None


def file_row(path: str, data: bytes, spec: SourceSpec) -> Row | None:
    """The document that a file's bytes are; None for binary data under a name that promises nothing."""
    name = _stored_name(posixpath.basename(path))
    extension = posixpath.splitext(name)[1].lower()
    language = None if _is_prose(spec) else language_of_path(name)
    metadata = metadata_json(spec.metadata) if spec.metadata else None
    if language is None and extension in HTML:
        return Row(path, 0, content=data, content_type="text/html", language=spec.language, metadata=metadata)
    if language is None and extension not in PROSE and b"\0" in data[:NUL_BYTES]:
        return None
    if not data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        if extension == "" and b"\0" in data[:NUL_BYTES]:
            return None
        return quarantined(path, 0, "read.invalid_utf8", len(data), data)
    domain = "code" if language else None
    return Row(path, 0, text, domain=domain, language=language or spec.language, metadata=metadata)


def _is_prose(spec: SourceSpec) -> bool:
    return spec.domain in ("english", "multilingual") or (spec.format != "tree" and spec.domain != "code")


def _stored_name(name: str) -> str:
    """Without the extension of a compression: notes.txt.gz is a text."""
    for compression in (".gz", ".zst", ".bz2", ".xz"):
        name = name.removesuffix(compression)
    return name


def _is_archive(path: str) -> bool:
    return _stored_name(path.lower()).endswith((".tar", ".tgz"))


def _members(segment: Segment, spec: SourceSpec, max_document_bytes: int) -> Iterator[Row]:
    stream = BlockStream(blocks(segment.uri))
    seen = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = f"{segment.path}/{member.name.removeprefix('./')}"
                seen = member.offset
                if not member.isreg() or not wanted(path, spec):
                    continue
                if member.size > max_document_bytes:
                    yield quarantined(path, 0, "read.too_large", member.size)
                    continue
                file = archive.extractfile(member)
                data = file.read() if file else b""
                if len(data) < member.size:
                    raise BrokenStreamError("the archive ends within a member")
                row = file_row(path, data, spec)
                if row is not None:
                    yield row
        if stream.broken:
            raise BrokenStreamError("the archive ends too early")
    except (tarfile.TarError, BrokenStreamError, EOFError):
        yield quarantined(segment.path, seen, "read.truncated", max(0, stream.position - seen))


class BlockStream(io.RawIOBase):
    """Blocks as a file that can only be read forwards. Ends where the data is broken, with `broken` set."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._held = memoryview(b"")
        self.position = 0
        """Bytes handed out."""
        self.broken = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes unless the stream ends."""
        parts, missing = [], size if size >= 0 else 1 << 62
        while missing > 0:
            if not self._held:
                try:
                    self._held = memoryview(next(self._source))
                except StopIteration:
                    break
                except BrokenStreamError:
                    self.broken = True
                    break
            part = self._held[:missing]
            parts.append(part)
            missing -= len(part)
            self._held = self._held[len(part) :]
        data = b"".join(parts)
        self.position += len(data)
        return data

    def readline(self, limit: int = -1) -> bytes:  # type: ignore[override]
        """Up to and with the next line feed, or `limit` bytes, or the end."""
        parts: list[bytes] = []
        size = 0
        while True:
            if not self._held:
                try:
                    self._held = memoryview(next(self._source))
                except StopIteration:
                    break
                except BrokenStreamError:
                    self.broken = True
                    break
            window = self._held.tobytes() if len(self._held) < 4096 else bytes(self._held[:4096])
            end = window.find(b"\n") + 1
            part = window[: end or len(window)]
            if 0 <= limit < size + len(part):
                part = part[: limit - size]
                end = len(part)
            parts.append(part)
            size += len(part)
            self._held = self._held[len(part) :]
            if end or size == limit:
                break
        self.position += size
        return b"".join(parts)
