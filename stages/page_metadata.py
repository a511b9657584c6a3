"""What a page says about itself: title, date of publication, canonical address, site.

    title          og:title, else the headline of JSON-LD, else another <meta> title, else <title>; without the site's
                   name at its begin or end
    published      article:published_time, else datePublished of JSON-LD, else <meta> of that meaning (`DATES`), else
                   <time datetime>, else the day in the address
    canonical_url  link rel=canonical, else og:url; resolved against <base> and the document's address
    site           og:site_name, else the host of the address without `www.`

Read from the tree that the text is taken from, with one query; nothing is guessed from the text. The Open Graph
protocol (ogp.me), schema.org's Article, Dublin Core.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from gristmill.stages.page_dates import date_in_url, parse_date

MAX_TITLE = 1000
MAX_SITE = 200
MAX_URL = 2083  # the longest that Internet Explorer took; servers and indexes keep to it
MAX_ELEMENTS = 10_000
MAX_LD_CHARACTERS = 1_000_000
MAX_LD_OBJECTS = 1000
MAX_HEADINGS = 5
MIN_NAME = 3  # letters of a site's name that is looked for in a host; "dw" would be in too many
BESIDE_NAME = 8  # letters of a part beside the host's: "Stack Overflow Blog" on stackoverflow

TITLES = ("twitter:title", "citation_title", "dcterms.title", "dc.title", "dc:title", "parsely-title")
"""Names of <meta> with a title, after og:title."""

DATES = (
    "article:published_time",
    "og:article:published_time",
    "og:published_time",
    "article:published",
    "og:pubdate",
    "datepublished",
    "pubdate",
    "publishdate",
    "publish_date",
    "publish-date",
    "publication_date",
    "dc.date.issued",
    "dcterms.issued",
    "dcterms.created",
    "dcterms.date",
    "dc.date",
    "dc.date.created",
    "citation_publication_date",
    "citation_date",
    "citation_online_date",
    "rnews:datepublished",
    "dcterms.available",
    "parsely-pub-date",
    "sailthru.date",
    "cxenseparse:recs:publishtime",
    "last-published",
    "date",
)
"""Names and properties of <meta> with the date of publication, the most specific first."""

_QUERY = (
    "h1, meta[content], base[href], link[rel=canonical i][href], time[datetime], "
    "script[type='application/ld+json' i], [itemprop=datePublished]"
)
_SPACE = re.compile(r"\s+")
_SEPARATOR = re.compile(r"\s+[|·•«»–—:-]{1,2}\s+|\s*[|»]\s*")
_NO_LETTERS = re.compile(r"[\W_]+")


class Metadata(NamedTuple):
    title: str | None
    published: int | None
    """Microseconds since 1970 in UTC."""
    canonical_url: str | None
    site: str | None


def metadata(tree: Any, url: str | None) -> Metadata:
    """Of a `resiliparse.parse.html.HTMLTree` found at `url`; None for what the page does not say."""
    meta: dict[str, str] = {}
    base = canonical = None
    times: list[str] = []
    headings: list[str] = []
    headline = dated = None
    for element in tree.document.query_selector_all(_QUERY)[:MAX_ELEMENTS]:  # a slice: to iterate is quadratic
        tag = element.tag
        if tag == "meta":
            name = element.getattr("property") or element.getattr("name") or element.getattr("itemprop")
            content = element.getattr("content")
            if name and content and content.strip():
                for word in name.lower().split():
                    meta.setdefault(word, content)
        elif tag == "h1":
            if len(headings) < MAX_HEADINGS:
                headings.append(element.text or "")
        elif tag == "base":
            base = base or element.getattr("href")
        elif tag == "link":
            canonical = canonical or element.getattr("href")
        elif tag == "script":
            if headline is None or dated is None:
                found, written = _linked_data(element.text or "")
                headline, dated = headline or found, dated or written
        elif element.getattr("itemprop") == "datePublished":
            times.insert(0, element.getattr("datetime") or element.getattr("content") or element.text or "")
        else:
            times.append(element.getattr("datetime") or "")
    where = _joined(url or "", base) or url if base else url
    address = _joined(where or "", canonical) or _joined(where or "", meta.get("og:url"))
    named = _clean(meta.get("og:site_name"), MAX_SITE)
    host = _host(url) or _host(address)
    stated = (meta.get("og:title"), headline, *(meta.get(name) for name in TITLES), tree.title)
    title = next((text for each in stated if (text := _clean(each, MAX_TITLE))), None)
    title = _without_site(title, named, host, [_clean(heading, MAX_TITLE) for heading in headings])
    days = [meta.get(DATES[0]), dated, *(meta.get(name) for name in DATES[1:]), *times[:5]]
    published = next((day for text in days if text and (day := parse_date(text)) is not None), None)
    if published is None:
        published = date_in_url(url or address or "")
    return Metadata(title, published, address, named or host)


def _linked_data(text: str) -> tuple[str | None, str | None]:
    """(headline, datePublished) of the first objects of JSON-LD that have them."""
    if len(text) > MAX_LD_CHARACTERS or ("headline" not in text and "datePublished" not in text):
        return None, None
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None, None
    headline = dated = None
    for count, found in enumerate(_objects(data)):
        if count == MAX_LD_OBJECTS or (headline and dated):
            break
        if isinstance(found.get("headline"), str):
            headline = headline or found["headline"]
        if isinstance(found.get("datePublished"), str):
            dated = dated or found["datePublished"]
    return headline, dated


def _objects(data: Any) -> Iterator[dict[str, Any]]:
    """JSON objects at the top, in lists and in @graph, and what a page is said to be about."""
    waiting = [data]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, list):
            waiting[:0] = item[:MAX_LD_OBJECTS]
        elif isinstance(item, dict):
            yield item
            waiting += [item[key] for key in ("@graph", "mainEntity", "mainEntityOfPage") if key in item]


def _clean(text: str | None, most: int) -> str | None:
    """White space folded, cut at `most` characters; None if nothing is left."""
    return _SPACE.sub(" ", (text or "").replace("\0", " ")).strip()[:most].rstrip() or None


def _without_site(title: str | None, site: str | None, host: str | None, headings: list[str | None]) -> str | None:
    """The title less a first or last part that names the site; a heading that it begins with, if there is one."""
    if title is None:
        return None
    parts = list(_SEPARATOR.finditer(title))
    for part in parts:
        if part.start() and title[: part.start()] in headings:
            return title[: part.start()]
    names = {_letters(name) for name in (site, host) if name} - {""}
    if parts and _names_site(title[parts[-1].end() :], names):
        title = title[: parts[-1].start()]
    elif parts and _names_site(title[: parts[0].start()], names):
        title = title[parts[0].end() :]
    return title.strip() or None


def _names_site(part: str, names: set[str]) -> bool:
    """Whether a part of a title is the site's name or in its host: 'La Stampa' on lastampa.it."""
    letters = _letters(part)
    return len(letters) >= MIN_NAME and any(
        letters in name or (name in letters and len(letters) <= len(name) + BESIDE_NAME) for name in names
    )


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", text).casefold()


def _joined(base: str, reference: str | None) -> str | None:
    """The address that `reference` means on a page at `base`; None if that is none of http."""
    if not reference or len(reference) > MAX_URL:
        return None
    try:
        url = urljoin(base, reference.strip())
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and len(url) <= MAX_URL
    except ValueError:
        return None
    return url if fits and not _SPACE.search(url) else None


def _host(url: str | None) -> str | None:
    try:
        host = urlsplit(url or "").hostname
    except ValueError:
        return None
    return (host or "").rstrip(".").removeprefix("www.")[:MAX_SITE] or None
