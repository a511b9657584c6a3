"""Whether a page is XHTML by its own account, and such a page for an HTML parser.

XHTML is what the media type says is XML, what begins with an XML declaration, or what has XHTML's namespace. Pages of
the web that say so are often not well-formed, so none is refused: `kernels.text.xhtml` writes what XML means otherwise
than HTML, and the rest is read as HTML. Prefixes of the namespaces of XHTML, MathML and SVG are taken off
(`<h:p>`, `<m:math>`), and entities that the doctype declares as plain text are that text.
"""

from __future__ import annotations

import re

from gristmill.kernels.text.xhtml import as_html

HEAD_BYTES = 4096
"""Bytes at the beginning of which one must say it: declaration, doctype and the tag of <html>."""
MAX_ENTITIES = 100
MAX_REPLACED = 10_000
"""References to them that are written out: there is no guard around this."""

_XML_TYPES = re.compile(r"\s*[\w.-]+/(?:[\w.-]+\+)?xml\s*(?:;|$)", re.IGNORECASE)
_DECLARATION = re.compile(rb"\s*<\?xml\b")
_NAMESPACE = re.compile(rb"<[\w:.-]+\s[^<>]*?\bxmlns(?::[\w.-]+)?\s*=\s*[\"']http://www\.w3\.org/1999/xhtml[\"']")
_PREFIX = re.compile(
    rb"\bxmlns:([A-Za-z][\w.-]{0,63})\s{0,9}=\s{0,9}[\"']http://www\.w3\.org/(?:1999/xhtml|1998/Math/MathML|2000/svg)/?[\"']"
)
_SUBSET = re.compile(rb"<!DOCTYPE\b[^<>\[]{0,1000}\[", re.IGNORECASE)
_ENTITY = re.compile(rb"<!ENTITY\s+([A-Za-z][\w.-]{0,63})\s+(?:\"([^\"<&%]{0,1000})\"|'([^'<&%]{0,1000})')\s*>")
_CHARACTER = re.compile(rb"<!ENTITY\s+([A-Za-z][\w.-]{0,63})\s+[\"'](&#\w{1,8};)[\"']\s*>")


def is_xhtml(content_type: str, page: bytes) -> bool:
    """content_type: of the HTTP header, the package or nothing. page: UTF-8."""
    head = page[:HEAD_BYTES]
    return (
        _XML_TYPES.match(content_type) is not None
        or _DECLARATION.match(head) is not None
        or (b"/1999/xhtml" in head and _NAMESPACE.search(head) is not None)
    )


def html_of(page: bytes) -> bytes:
    """`page`, XHTML in UTF-8, as HTML of at most twice its size."""
    declared = _declared(page)
    if declared:
        names = b"|".join(map(re.escape, declared))
        replaced = re.sub(rb"&(" + names + rb");", lambda found: declared[found[1]], page, count=MAX_REPLACED)
        page = replaced if len(replaced) <= 2 * len(page) else page
    if b"xmlns:" in page:
        prefixes = b"|".join(sorted({re.escape(found) for found in _PREFIX.findall(page)})[:16])
        if prefixes:
            page = re.sub(rb"<(/?)(?:" + prefixes + rb"):(?=[A-Za-z])", rb"<\1", page)
    return as_html(page)


def _declared(page: bytes) -> dict[bytes, bytes]:
    """Entities of the internal subset that stand for text without markup, or for one character."""
    head = page[: 16 * HEAD_BYTES]
    if (subset := _SUBSET.search(head)) is None:
        return {}
    plain = {name: one or other for name, one, other in _ENTITY.findall(head, subset.end())[:MAX_ENTITIES]}
    return plain | dict(_CHARACTER.findall(head, subset.end())[:MAX_ENTITIES])
