"""JATS XML (PMC's and publishers' full texts): an article is a document.

A file, or a tar archive of files (.xml, .nxml; PMC's open access packages), or a file of several articles
(`<pmc-articleset>`). `own_id` is the DOI, else PMC's or PubMed's number. The licence is that of `permissions`, the
date the first day on which any form of the article was published. `record` is 0, in an archive the offset of the
member's header; of a file of several articles the ordinal of the article is added to it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from gristmill.pipeline.readers.archive import Entry, entries, is_packed
from gristmill.pipeline.readers.markup.jats_text import article_text
from gristmill.pipeline.readers.markup.xml_tree import XmlError, all_text, child, children, parse_xml
from gristmill.pipeline.readers.rows import EXCERPT_BYTES, Row, Skipped, metadata_json, quarantined
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.timestamps import parse_timestamp
from gristmill.stages.languages import iso_code

EXTENSIONS = ("", ".xml", ".nxml", ".jats")
MAX_LICENSE_CHARACTERS = 200
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)/(\d\.\d)|publicdomain/(zero)/(\d\.\d))", re.IGNORECASE
)


def read_jats(segment: Segment, spec: SourceSpec, max_document_bytes: int, skipped: Skipped) -> Iterator[Row]:
    limit = 4 * max_document_bytes  # of an article in XML
    for entry in entries(segment, limit, _may_be_article, skipped):
        if entry.data is None:
            yield quarantined(entry.path, entry.record, entry.reason or "read.truncated", entry.size)
        elif is_packed(entry):
            yield quarantined(entry.path, entry.record, "read.packed_twice", entry.size, entry.data[:EXCERPT_BYTES])
        elif not entry.data.strip():
            skipped["files.empty"] += 1
        else:
            yield from _articles(entry, entry.data, spec)


def _may_be_article(name: str) -> bool:
    return posixpath.splitext(name.lower())[1] in EXTENSIONS


def _articles(entry: Entry, data: bytes, spec: SourceSpec) -> Iterator[Row]:
    try:
        root = parse_xml(data)
    except XmlError as error:
        yield quarantined(entry.path, entry.record, error.reason, entry.size, data[:EXCERPT_BYTES])
        return
    articles = [root] if root.tag == "article" else list(root.iter("article"))
    if not articles:
        yield quarantined(entry.path, entry.record, "jats.no_article", entry.size, data[:EXCERPT_BYTES])
    for i, article in enumerate(articles):
        text = article_text(article)
        if text:
            yield _row(entry.path, entry.record + i, text, article, spec)
        else:
            yield quarantined(entry.path, entry.record + i, "read.no_text", entry.size, data[:EXCERPT_BYTES])


def _row(path: str, record: int, text: str, article: Element, spec: SourceSpec) -> Row:
    meta = child(article, "front", "article-meta")
    ids: dict[str, str] = {}
    for found in children(meta, "article-id"):
        ids.setdefault(found.get("pub-id-type", ""), all_text(found))
    doi, pmc = ids.get("doi"), ids.get("pmcid") or ids.get("pmc") or ids.get("pmcaid")
    pmc = pmc and (pmc if pmc.upper().startswith("PMC") else f"PMC{pmc}")
    row = Row(path, record, text, category="academic", language=spec.language)
    row.title = all_text(child(meta, "title-group", "article-title")) or None
    row.own_id = doi or pmc or ids.get("pmid") or None
    if doi:
        row.url = f"https://doi.org/{doi}"
    elif pmc:
        row.url = f"https://www.ncbi.nlm.nih.gov/pmc/articles/{pmc}/"
    row.license = _license(meta)
    row.timestamp, stated = _published(meta)
    if row.language is None and article.get("lang"):
        row.language = iso_code(article.get("lang", ""))
    journal = child(article, "front", "journal-meta")
    more: dict[str, str | list[str] | None] = {
        "journal": all_text(child(journal, "journal-title-group", "journal-title"))
        or all_text(child(journal, "journal-title"))
        or None,
        "timestamp": stated if row.timestamp is None else None,
        "article_type": article.get("article-type"),
        "pmid": ids.get("pmid"),
        "pmcid": pmc,
        "keywords": [all_text(found) for group in children(meta, "kwd-group") for found in group.iter("kwd")] or None,
    }
    row.metadata = metadata_json(spec.metadata, more)
    return row


def _license(meta: Element | None) -> str | None:
    """SPDX's name of a Creative Commons licence by its address; else what the article says, or its type."""
    permissions = child(meta, "permissions")
    for found in children(permissions, "license"):
        # the address may be an attribute, `license_ref` (NISO RP-22) or a link in the text
        places = [found.get("href") or "", *(all_text(ref) for ref in found.iter("license_ref"))]
        places += [link.get("href") or "" for link in found.iter("ext-link")]
        text = all_text(found)
        for place in [*places, text]:
            if match := _CREATIVE_COMMONS.search(place):
                return f"CC-{match[1].upper()}-{match[2]}" if match[1] else f"CC0-{match[4]}"
        said = text or next(filter(None, places), "") or found.get("license-type") or ""
        if said:
            return said[:MAX_LICENSE_CHARACTERS]
    return all_text(child(permissions, "copyright-statement"))[:MAX_LICENSE_CHARACTERS] or None


def _published(meta: Element | None) -> tuple[int | None, str | None]:
    """(the earliest of the dates, the first as it is stated)."""
    stated: list[str] = []
    found = []
    for date in children(meta, "pub-date"):
        year, month, day = (all_text(date.find(part)) for part in ("year", "month", "day"))
        parts = [part for part in (year, month if year else "", day if month else "") if part]
        when = parse_timestamp("-".join(parts)) if parts else None
        stated += ["-".join(parts)] if parts else []
        if when is not None:
            # a year alone is taken as its first day, which must not come before a date that is known to the day
            found.append((-len(parts), when))
    return min(found)[1] if found else None, next(iter(stated), None)
