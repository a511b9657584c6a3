"""EPUB 2 and 3 (IDPF OCF and OPF; W3C EPUB 3.3): a book is a document.

    META-INF/container.xml -> package document -> the items of its spine, in order -> text of each, empty lines between

Items are XHTML and go through `fragment`; what of the spine is no text (pictures, `linear="no"`, the navigation
document) is left out. Title, author, language, date, rights and publisher are those of the package. A book of
which an item of the spine is encrypted is quarantined; obfuscated fonts are no encryption. What is read of an archive
is bounded before it is decompressed: entries, compression methods, bytes of each and of all.
"""

from __future__ import annotations

import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from gristmill.pipeline.readers.folder import open_segment
from gristmill.pipeline.readers.markup.fragment import FragmentError, fragment_text
from gristmill.pipeline.readers.markup.xml_tree import XmlError, all_text, child, children, parse_xml
from gristmill.pipeline.readers.parquet import Watched
from gristmill.pipeline.readers.rows import Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.stages.extract import decode
from gristmill.stages.languages import iso_code

MAX_DIRECTORY_BYTES = 1 << 24
MAX_ENTRIES = 20_000  # of the archive; books have tens to some thousand
MAX_PACKAGE_BYTES = 1 << 24
END_OF_DIRECTORY = struct.Struct("<4s4H2LH")  # PKWARE APPNOTE, 4.3.16
XHTML = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
FONT_OBFUSCATION = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""Algorithms of `encryption.xml` that hide fonts and nothing else (EPUB 3.3, section 4.3; Adobe's of EPUB 2)."""


class EpubError(Exception):
    """`reason` is that of the quarantined row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_epub(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    if spec.format == "epub" and "." in posixpath.basename(segment.path) and not segment.path.lower().endswith(".epub"):
        skipped["files.unwanted_name"] += 1
        return
    with open_segment(segment) as file:
        watched = Watched(file)
        try:
            with _opened(watched, segment.size) as archive:
                yield _book(archive, segment, spec, max_document_bytes)
        except (EpubError, XmlError, FragmentError) as error:
            yield quarantined(segment.path, 0, error.reason, segment.size)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError,
                struct.error, KeyError, OverflowError) as error:  # fmt: skip
            # whatever the standard library raises of a damaged archive
            watched.raise_if_storage_failed(error)
            yield quarantined(segment.path, 0, "epub.damaged", segment.size)


def _opened(file: Watched, size: int) -> zipfile.ZipFile:
    """The archive, if its directory is of a size that can be held."""
    tail_bytes = min(size, END_OF_DIRECTORY.size + 65_535)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < END_OF_DIRECTORY.size:
        raise EpubError("epub.damaged")
    *_, entries, directory_bytes, _, _ = END_OF_DIRECTORY.unpack_from(tail, at)
    if entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:  # 0xffff, 0xffffffff: the numbers are elsewhere
        raise EpubError("epub.too_many_files")
    file.seek(0)
    archive = zipfile.ZipFile(file)  # type: ignore[arg-type]
    if len(archive.infolist()) > MAX_ENTRIES:
        raise EpubError("epub.too_many_files")
    return archive


def _book(archive: zipfile.ZipFile, segment: Segment, spec: SourceSpec, max_document_bytes: int) -> Row:
    place = _package_place(archive)
    package = parse_xml(_read(archive, place, MAX_PACKAGE_BYTES))
    parts = _spine(package, posixpath.dirname(place))
    if _encrypted(archive) & {place, *parts}:
        raise EpubError("epub.encrypted")
    texts: list[str] = []
    left = 4 * max_document_bytes  # of markup
    size = 0
    missing = 0
    for part in parts:
        if part not in archive.NameToInfo:
            missing += 1
            continue
        data = _read(archive, part, left)
        left -= len(data)
        page = decode(data, "application/xhtml+xml")
        if page is None:
            raise EpubError("read.invalid_utf8")
        text = fragment_text(page)
        size += len(text)
        if size > max_document_bytes:
            raise EpubError("read.too_large")
        if text:
            texts.append(text)
    if not texts:
        raise EpubError("read.no_text")
    row = Row(segment.path, 0, "\n\n".join(texts), category="books", language=spec.language)
    _describe(row, child(package, "metadata"), spec, missing)
    return row


def _package_place(archive: zipfile.ZipFile) -> str:
    if "META-INF/container.xml" not in archive.NameToInfo:
        raise EpubError("epub.no_package")
    container = parse_xml(_read(archive, "META-INF/container.xml", MAX_PACKAGE_BYTES))
    for root in children(child(container, "rootfiles"), "rootfile"):
        place = posixpath.normpath(root.get("full-path", ""))
        if place in archive.NameToInfo:
            return place
    raise EpubError("epub.no_package")


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """What an entry decompresses to, however long it says that it is. zlib makes no more than is asked for; other
    methods, which an EPUB must not use (OCF 3.3, section 4.2), might."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise EpubError("epub.compression")
    if info.flag_bits & 1:
        raise EpubError("epub.encrypted")
    with archive.open(info) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise EpubError("read.too_large")
    return data


def _spine(package: Element, folder: str) -> list[str]:
    """Names in the archive of the items with text, in reading order, each once."""
    items = {item.get("id"): item for item in children(child(package, "manifest"), "item")}
    result: dict[str, None] = {}
    for reference in children(child(package, "spine"), "itemref"):
        item = items.get(reference.get("idref"))
        if item is None or reference.get("linear") == "no" or item.get("media-type") not in XHTML:
            continue
        if "nav" in (item.get("properties") or "").split():
            continue
        href = unquote((item.get("href") or "").partition("#")[0])
        result[posixpath.normpath(posixpath.join(folder, href))] = None
    return list(result)


def _encrypted(archive: zipfile.ZipFile) -> set[str]:
    """What `encryption.xml` lists, fonts aside."""
    if "META-INF/encryption.xml" not in archive.NameToInfo:
        return set()
    root = parse_xml(_read(archive, "META-INF/encryption.xml", MAX_PACKAGE_BYTES))
    result = set()
    for data in root.iter("EncryptedData"):
        method = child(data, "EncryptionMethod")
        reference = child(data, "CipherData", "CipherReference")
        if reference is not None and (method is None or method.get("Algorithm") not in FONT_OBFUSCATION):
            result.add(posixpath.normpath(unquote(reference.get("URI", ""))))
    return result


def _describe(row: Row, metadata: Element | None, spec: SourceSpec, missing: int) -> None:
    """Dublin Core (EPUB 3.3, section 5.5.3), the first of each; all authors."""

    def said(name: str) -> str | None:
        return next((text for found in children(metadata, name) if (text := all_text(found))), None)

    row.title = said("title")
    row.license = said("rights")
    language = said("language")
    if row.language is None and language:
        row.language = iso_code(language)
    dates = {found.get("event"): all_text(found) for found in children(metadata, "date")}
    modified = next((all_text(m) for m in children(metadata, "meta") if m.get("property") == "dcterms:modified"), None)
    stated = dates.get("publication") or next(iter(dates.values()), None) or modified
    row.timestamp = parse_timestamp(stated)
    authors = [text for found in children(metadata, "creator") if (text := all_text(found))]
    more: dict[str, str | int | None] = {
        "author": "; ".join(authors) or None,
        "publisher": said("publisher"),
        "identifier": said("identifier"),
        "date": stated if row.timestamp is None else None,
        "missing_parts": missing or None,
    }
    row.metadata = metadata_json(spec.metadata, more)
