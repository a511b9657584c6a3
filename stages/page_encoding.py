"""A page's bytes as text, and whether they are HTML.

The encoding is that of the byte order mark, else UTF-8 where the bytes are valid UTF-8, else the charset of the HTTP
header, else that of the <meta> tag or XML declaration, else what resiliparse's detector (uchardet) says; labels mean
what the WHATWG Encoding Standard has browsers take them for. A pure function of the bytes and the header.
"""

from __future__ import annotations

import codecs
import re

# in each, no two parts that repeat can match the same white space: the time stays proportional
_CHARSET = re.compile(r"charset\s*=[\s\"']*([\w.:-]+)", re.IGNORECASE)
_META = re.compile(rb"<meta[^>]{0,300}?charset\s{0,20}=[\s\"']{0,20}([\w.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_HTML = re.compile(rb"<(?:!doctype\s+(?:[\w.-]+:)?html|(?:[\w.-]+:)?html|head|body)\b", re.IGNORECASE)
_DECLARATION = re.compile(rb"<\?xml[^>]*>", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
MAX_LABEL = 1000  # characters of a content type
META_BYTES = 4096  # HTML asks for the first 1,024 bytes; pages put it later
_SNIFFED = (
    "",
    "application/octet-stream",
    "unknown/unknown",
    "application/unknown",
)  # MIME Sniffing Standard, section 7


def is_html(content_type: str, page: bytes) -> bool:
    """By the media type; by the first bytes where the server gave none worth the name."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("text/html", "application/xhtml+xml"):
        return True
    return media in (*_SNIFFED, "application/xml", "text/xml") and _begins_html(page[:1024])


def _begins_html(head: bytes) -> bool:
    """Whether markup of a page comes first, behind a declaration and comments."""
    head = head.lstrip()
    while declaration := _DECLARATION.match(head):
        head = head[declaration.end() :].lstrip()
    while head.startswith(b"<!--"):
        head = head[4:].partition(b"-->")[2].lstrip()
    return _HTML.match(head) is not None


def decode(page: bytes, content_type: str, html: bool = True) -> str | None:
    """The page as text, None where no encoding fits.

    A byte order mark decides; then valid UTF-8 is UTF-8 whatever the label says, because text of another encoding
    hardly ever is; then the labels, of the header before those of the page; then the detector. Of the encoding so
    found up to one character in ten may be invalid and becomes U+FFFD, as in a browser.
    """
    for bom, encoding in _BOMS:
        if page.startswith(bom):
            return page[len(bom) :].decode(encoding, "replace")
    labels = _CHARSET.findall(content_type[:MAX_LABEL])
    if html:
        head = page[:META_BYTES]
        labels += [label.decode("ascii") for label in _META.findall(head)[:1] + _XML.findall(head)[:1]]
    encodings = [known for label in labels if (known := codec_of(label))]
    # in these, text of other scripts looks like valid UTF-8
    ambiguous = [e for e in encodings if e.startswith("iso2022") or (e.startswith("utf-16") and b"\0" in page[:64])]
    if (unmarked := _unmarked(page)) is not None:
        ambiguous.append(unmarked)
    for attempt in [*ambiguous, "utf-8", *encodings]:
        try:
            return page.decode(attempt)
        except UnicodeDecodeError:
            continue
    return _guess(page, encodings)


def _unmarked(page: bytes) -> str | None:
    """Encodings of more than one byte that are valid UTF-8 too, told by their NULs or escape sequences."""
    even, odd = page[:64:2], page[1:64:2]
    if b"\0" in odd and odd.count(0) * 2 > len(odd) and 0 not in even:  # markup, which is ASCII, comes first
        return "utf-16-le"
    if b"\0" in even and even.count(0) * 2 > len(even) and 0 not in odd:
        return "utf-16-be"
    return "iso2022_jp" if b"\x1b$B" in page or b"\x1b$@" in page else None


def _guess(page: bytes, stated: list[str]) -> str | None:
    from resiliparse.parse.encoding import detect_encoding

    if not stated or stated[0] == "utf-8":
        text = page.decode("utf-8", "replace")
        replaced = text.count("\ufffd")
        valid = len(text) - len(text.encode("ascii", "ignore")) - replaced
        if replaced * 10 <= valid or (replaced == 1 and text.endswith("\ufffd")):  # one bad comment; cut in a character
            return text
    detected = codec_of(detect_encoding(page, html5_compatible=False) or "")
    for encoding in [*([detected] if detected else []), *stated]:
        text = page.decode(encoding, "replace")
        if text.count("\ufffd") * 10 <= len(text):
            return text
    return None


def codec_of(label: str) -> str | None:
    """Python's name of the encoding that the WHATWG standard means by `label`; None if it has none."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    name = map_encoding_to_html5(label, fallback_utf8=False) or _DETECTED.get(label.lower())
    if name is None:
        return None
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return None
    return _WIDER.get(codec, codec)


_DETECTED = {"cp949": "cp949", "uhc": "cp949"}
"""What the detector says and the standard has no label for."""
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs"}
"""Python's narrow codec -> the one that the standard decodes under its label."""
