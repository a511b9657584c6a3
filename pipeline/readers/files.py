"""Files that are documents: plain text, source trees, and tar archives of either.

`text`: a file is a document; a web page (.html) becomes `content` for extraction. `tree`: a source file is a document
of domain code with its programming language; under `domain: english` or `multilingual` the files are prose, as in
`text`. Files with no row, because they are no text of the kind asked for: in a tree of code those whose name names no
programming language; everywhere those with an extension of pictures, archives, programs and other binary data, and
those with a NUL in their first 8 KB where the name promises nothing; empty ones, and what else an archive holds. They
are counted by reason. Text of another encoding than UTF-8 is decoded (`stages.text_encoding`), which its metadata
tells as `encoding`; where none fits, the file is quarantined. NULs are kept. An archive in an archive is not opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from gristmill.pipeline.readers.archive import ARCHIVES, is_tar
from gristmill.pipeline.readers.forward import Forward
from gristmill.pipeline.readers.names import text_name
from gristmill.pipeline.readers.rows import Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import PROSE_DOMAINS, SourceSpec, stored_name
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks, compression_of, joined
from gristmill.pipeline.readers.tar import BLOCK, BrokenArchiveError, checksum_fits, members
from gristmill.stages.languages import language_of_path
from gristmill.stages.text_encoding import decoded, wide_encoding

HTML = (".html", ".htm", ".xhtml")
PROSE = ("", ".txt", ".text", ".md", ".markdown", ".rst", ".tex", *HTML)
SHEBANG_BYTES = 400
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


def read_files(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    """One file, or the members of a tar archive (`archive/member` is their path, the place of their header their
    record) in the archive's order."""
    if _is_archive(segment.path):
        yield from _members(segment, blocks(segment), spec, max_document_bytes, skipped)
        return
    if not wanted(segment.path, spec):
        skipped["files.unwanted_name"] += 1
        return
    chunks = blocks(segment)
    try:
        first = next(chunks, b"")
        chunks = chain([first], chunks)
        if is_tar(first[:BLOCK]) and checksum_fits(first[:BLOCK]):  # whatever it is called
            yield from _members(segment, chunks, spec, max_document_bytes, skipped)
            return
        data = joined(chunks, max_document_bytes)
    except BrokenStreamError as error:
        yield quarantined(segment.path, 0, error.reason, segment.size)
        return
    if data is None:
        yield quarantined(segment.path, 0, "read.too_large", segment.size)
        return
    yield from _row(segment.path, 0, data, spec, skipped)


def _row(path: str, record: int, data: bytes, spec: SourceSpec, skipped: Skipped) -> Iterator[Row]:
    row = file_row(path, record, data, spec) if data else None
    if row is not None:
        yield row
    else:
        reason = "binary" if b"\0" in data[:NUL_BYTES] else "unknown_content"
        skipped[f"files.{reason}" if data else "files.empty"] += 1


def wanted(path: str, spec: SourceSpec) -> bool:
    """Whether the name allows a document; no row at all for those it does not."""
    name = posixpath.basename(path)
    extension = posixpath.splitext(name)[1].lower()
    if extension in BINARY and posixpath.splitext(stored_name(name))[1].lower() in BINARY:
        return False
    return _is_prose(spec) or language_of_path(name) is not None or _may_be_script(name, spec)


def _may_be_script(name: str, spec: SourceSpec) -> bool:
    """In a source of code, a name that says nothing: the first line may."""
    return spec.domain == "code" and "." not in stored_name(name)


def _script_language(data: bytes) -> str | None:
    if not data.startswith(b"#!"):
        return None
    from gristmill.stages.code_content import stated

    head = data[:SHEBANG_BYTES].decode("utf-8", "replace")
    language: str | None = stated(pa.array([head], pa.large_string()))[0].as_py()
    return language


def page_type(name: str) -> str:
    """The media type of a page in a file of this name."""
    return "application/xhtml+xml" if name.lower().endswith(".xhtml") else "text/html"


def file_row(path: str, record: int, data: bytes, spec: SourceSpec) -> Row | None:
    """The document that a file's bytes are; None for binary data under a name that promises nothing."""
    name = stored_name(path)
    extension = posixpath.splitext(name)[1].lower()
    language = None if _is_prose(spec) else language_of_path(name)
    metadata = metadata_json(spec.metadata) if spec.metadata else None
    if language is None and _may_be_script(name, spec):
        language = _script_language(data)
        if language is None:
            return None
    if language is None and extension in HTML:
        return Row(path, record, content=data, content_type=page_type(name), language=spec.language, metadata=metadata)
    has_nul = b"\0" in data[:NUL_BYTES] and (spec.encoding is not None or wide_encoding(data) is None)
    if language is None and extension not in PROSE and has_nul:
        return None
    found = decoded(data, spec.encoding, language is not None)
    if found is None:
        if extension == "" and has_nul:
            return None
        return quarantined(path, record, "read.invalid_utf8", len(data), data)
    text = found.text
    if language is None and "\ufeff" in text:  # where another file was put behind the first
        text = text.replace("\n\ufeff", "\n")
    if found.encoding is not None:
        metadata = metadata_json(spec.metadata, {"encoding": found.encoding})
    domain = "code" if language else None
    return Row(path, record, text, domain=domain, language=language or spec.language, metadata=metadata)


def _is_prose(spec: SourceSpec) -> bool:
    return spec.domain in PROSE_DOMAINS or (spec.format != "tree" and spec.domain != "code")


def _is_archive(path: str) -> bool:
    return stored_name(path.lower()).endswith(ARCHIVES)


def _members(
    segment: Segment, chunks: Iterator[bytes], spec: SourceSpec, max_document_bytes: int, skipped: Skipped
) -> Iterator[Row]:
    stream = Forward(chunks)
    folder = f"{segment.path}/"
    try:
        for member in members(stream, max_document_bytes, lambda name: wanted(text_name(name), spec)):
            path = folder + text_name(member.name.removeprefix(b"./"))
            if member.kind not in ("file", "sparse"):
                skipped[f"tar.{member.kind}"] += 1
            elif _is_archive(path):
                yield quarantined(path, member.offset, "read.packed_twice", member.size)
            elif not wanted(path, spec):
                skipped["files.unwanted_name"] += 1
            elif member.kind == "sparse":
                yield quarantined(path, member.offset, "read.sparse", member.size)
            elif member.data is None:
                yield quarantined(path, member.offset, "read.too_large", member.size)
            elif stored_name(path) != posixpath.basename(path) and compression_of(
                member.data
            ):  # perhaps a bomb in a bomb
                yield quarantined(path, member.offset, "read.packed_twice", member.size, member.data)
            else:
                yield from _row(path, member.offset, member.data, spec, skipped)
    except BrokenArchiveError as error:
        (offset,) = error.args
        stream.drain()
        reason = stream.damage.reason if stream.damage else "read.truncated"
        yield quarantined(segment.path, offset, reason, stream.position - offset)
