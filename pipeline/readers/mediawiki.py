"""MediaWiki XML exports (pages-articles, Special:Export; schema 0.3 to 0.11): a page is a document.

A page of namespace 0 that is no redirect gives a row, with `pipeline.readers.markup.wikitext` making its text; of a
page with several revisions the last one counts. Redirects, other namespaces, pages of another content model (Lua, JSON)
and pages whose text was deleted are counted. A page is parsed for itself (`xml_records`), so a broken one is one
quarantined row, and no entity of the file is ever expanded. `record` is the offset of `<page>` in the uncompressed
file; `own_id` is `dbname:page id`, so that several wikis can be one source. Files of .bz2, .gz, .zst and .xz are read
as they are, .7z is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree.ElementTree import Element

from gristmill.pipeline.readers.markup.wikitext import Names, is_redirect, plain_text
from gristmill.pipeline.readers.markup.xml_tree import XmlError, children, parse_xml
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import blocks
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.pipeline.readers.xml_records import Shape, encoding_of, pieces
from gristmill.stages.languages import iso_code

PAGES = Shape(
    re.compile(rb"<page(?=[\s>])"),
    b"</page>",
    re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\Z|</?mediawiki\b|<\?xml\b|<siteinfo\b|<!--)"),
)
WIKITEXT = ("wikitext", "")
FILE_SPACES, CATEGORY_SPACE = ("-2", "6"), "14"

WIKIMEDIA = ("wikipedia", "wiktionary", "wikibooks", "wikiquote", "wikisource", "wikiversity", "wikivoyage")
LICENSE = "CC-BY-SA-4.0"
"""Of these projects' text, since June 2023 and of what was written before (Wikimedia Terms of Use, section 7)."""

_NAMESPACE = re.compile(r'<namespace\b[^>]{0,200}?key="(-?\d{1,6})"[^>]{0,200}>([^<]{1,200})</namespace>')
_LANGUAGE = re.compile(r'<mediawiki\b[^>]{0,1000}?xml:lang="([A-Za-z-]{2,20})"')


class Site(NamedTuple):
    """What the head of an export says."""

    name: str | None
    """The database's: enwiki."""
    pages: str | None
    """What a page's name is appended to for its URL."""
    language: str | None
    license: str | None
    names: Names
    encoding: str | None


def read_mediawiki(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    site = site_of(b"")
    limit = 2 * max_document_bytes + (1 << 20)  # of a page in XML: `&lt;` for `<`, and contributors and comments
    for piece in pieces(blocks(segment), PAGES, limit):
        if piece.kind == "head":
            site = site_of(piece.data)
        elif piece.kind == "broken":
            reason = piece.reason or "xml.malformed"
            yield quarantined(segment.path, piece.offset, reason, piece.size, piece.data)
        else:
            row = page_row(segment.path, piece.offset, piece.data, site, spec, skipped)
            if row is not None:
                yield row


def site_of(head: bytes) -> Site:
    """What stands before the first page."""
    encoding = encoding_of(head)
    text = head.decode("utf-8", "replace")
    base = _said(text, "base")
    spaces = [(key, unescape(name).strip().lower()) for key, name in _NAMESPACE.findall(text)]
    english = Names()
    names = Names(
        english.files | {name for key, name in spaces if key in FILE_SPACES},
        english.categories | {name for key, name in spaces if key == CATEGORY_SPACE},
    )
    language = _LANGUAGE.search(text)
    host = (urlsplit(base).hostname or "") if base and "[" not in base else ""
    return Site(
        _said(text, "dbname") or host or None,
        _folder(base),
        iso_code(language[1]) if language else None,
        LICENSE if host.endswith(".org") and host.split(".")[-2] in WIKIMEDIA else None,
        names,
        encoding,
    )


def _said(text: str, name: str) -> str | None:
    found = re.search(f"<{name}>([^<]{{1,1000}})</{name}>", text)
    return unescape(found[1]).strip() if found else None


def _folder(base: str | None) -> str | None:
    """From the main page's URL to what comes before its name."""
    if not base or not base.startswith(("http://", "https://")):
        return None
    if "title=" in base:
        return base.partition("title=")[0] + "title="
    return base.rpartition("/")[0] + "/"


def page_row(path: str, offset: int, data: bytes, site: Site, spec: SourceSpec, skipped: Skipped) -> Row | None:
    """None where the page is counted and no document."""
    try:
        page = parse_xml(data, site.encoding)
    except XmlError as error:
        return quarantined(path, offset, error.reason, len(data), data[:EXCERPT_BYTES])
    title = (page.findtext("title") or "").strip()
    revision = _latest(page)
    text = None if revision is None else revision.find("text")
    model = (revision.findtext("model") or "" if revision is not None else "").strip()
    if (page.findtext("ns") or "0").strip() != "0":
        reason = "other_namespace"
    elif revision is None or text is None or text.get("deleted") is not None:
        reason = "no_text"
    elif page.find("redirect") is not None or is_redirect(text.text or ""):
        reason = "redirect"
    elif model not in WIKITEXT:
        reason = "other_model"
    else:
        shown = plain_text(text.text or "", site.names)
        if shown:
            return _row(path, offset, page, revision, title, shown, site, spec)
        reason = "empty"
    skipped[f"mediawiki.{reason}"] += 1
    return None


def _latest(page: Element) -> Element | None:
    """The revision with the latest time, among equals the last one."""
    revisions = list(children(page, "revision"))
    at = (parse_timestamp(revision.findtext("timestamp")) for revision in revisions)
    ordered = sorted(range(len(revisions)), key=[(when or 0, i) for i, when in enumerate(at)].__getitem__)
    return revisions[ordered[-1]] if ordered else None


def _row(
    path: str, offset: int, page: Element, revision: Element, title: str, text: str, site: Site, spec: SourceSpec
) -> Row:
    page_id = (page.findtext("id") or "").strip()
    row = Row(path, offset, text, title=title or None, license=site.license, category="encyclopedia")
    row.own_id = f"{site.name}:{page_id}" if site.name and page_id else page_id or None
    if site.pages and title:
        row.url = site.pages + quote(title.replace(" ", "_"), safe="/:@!$*(),;~'")
    saved = revision.findtext("timestamp")
    row.timestamp = parse_timestamp(saved)
    undated = saved if row.timestamp is None else None
    row.language = spec.language or site.language
    row.metadata = metadata_json(
        spec.metadata, {"revision": revision.findtext("id"), "wiki": site.name, "timestamp": undated}
    )
    return row
