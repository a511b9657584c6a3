"""EPUB 2 and 3 (IDPF OCF and OPF; W3C EPUB 3.3): a book is a document.

    META-INF/container.xml -> package document -> the items of its spine, in order -> text of each, empty lines between

Items are XHTML and go through `fragment`; of one that is something else, the fallback that the package names. Every
item of the spine is accounted for: it is in the text, or counted (`epub.not_linear`, `epub.navigation`, `epub.no_text`:
pictures and other media, `epub.empty_part`: a page without text, `epub.missing_part`), or, where it cannot be read, a
quarantined row of its own; a book of which nothing else is left is one such row. Title, author, language, date, rights
and publisher are those of the package. A book of which an item of the spine is encrypted is quarantined; obfuscated
fonts are no encryption. What is read of an archive is bounded before it is decompressed: entries, compression methods,
bytes of each and of all.
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
TEXT_TYPES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
TEXT_NAMES = (".xhtml", ".html", ".htm", ".xht")
"""Of an item without a media type, or with that of XML."""
MAX_FALLBACKS = 10
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
                yield from _book(archive, segment, spec, max_document_bytes, skipped)
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


def _book(
    archive: zipfile.ZipFile, segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped
) -> Iterator[Row]:
    place = _package_place(archive)
    package = parse_xml(_read(archive, place, MAX_PACKAGE_BYTES))
    parts, left_out = _spine(package, posixpath.dirname(place))
    if _encrypted(archive) & {place, *parts}:
        raise EpubError("epub.encrypted")
    texts: list[str] = []
    broken: list[Row] = []
    left = 4 * max_document_bytes  # of markup
    size = 0
    for part, media_type in parts.items():
        if part not in archive.NameToInfo:
            left_out["epub.missing_part"] += 1
            continue
        data = _read(archive, part, left)
        left -= len(data)
        try:
            page = decode(data, "application/xhtml+xml")
            if page is None:
                raise FragmentError("read.invalid_utf8")
            text = fragment_text(page, media_type)
        except FragmentError as error:
            broken.append(quarantined(f"{segment.path}/{part}", 0, error.reason, len(data), data))
            continue
        size += len(text)
        if size > max_document_bytes:
            raise EpubError("read.too_large")
        if text:
            texts.append(text)
        else:
            left_out["epub.empty_part"] += 1
    skipped.update(left_out)
    if not texts:
        raise EpubError((broken[0].quarantined_by if broken else None) or "read.no_text")
    row = Row(segment.path, 0, "\n\n".join(texts), category="books", language=spec.language)
    _describe(row, child(package, "metadata"), spec, left_out["epub.missing_part"])
    yield row
    yield from broken


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


def _spine(package: Element, folder: str) -> tuple[dict[str, str], Skipped]:
    """(names in the archive of the items with text, in reading order, each once, with their media types; how many
    items are no such thing, by reason)."""
    items = {item.get("id"): item for item in children(child(package, "manifest"), "item")}
    result: dict[str, str] = {}
    left_out = Skipped()
    for reference in children(child(package, "spine"), "itemref"):
        item = items.get(reference.get("idref"))
        if item is None:
            left_out["epub.missing_part"] += 1
        elif reference.get("linear") == "no":
            left_out["epub.not_linear"] += 1
        elif "nav" in (item.get("properties") or "").split():
            left_out["epub.navigation"] += 1
        elif (text := _with_text(item, items)) is None:
            left_out["epub.no_text"] += 1
        else:
            href = unquote((text.get("href") or "").partition("#")[0])
            result[posixpath.normpath(posixpath.join(folder, href))] = text.get("media-type") or "application/xhtml+xml"
    return result, left_out


def _with_text(item: Element, items: dict[str | None, Element]) -> Element | None:
    """The item, or the first of its fallbacks (EPUB 3.3, section 5.6.2.1), that is a page."""
    found: Element | None = item
    for _ in range(MAX_FALLBACKS):
        if found is None:
            return None
        media_type = (found.get("media-type") or "").strip().lower()
        named = (found.get("href") or "").partition("#")[0].lower().endswith(TEXT_NAMES)
        if media_type in TEXT_TYPES or (named and media_type in ("", "text/xml", "application/xml", "text/plain")):
            return found
        found = items.get(found.get("fallback"))
    return None


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
