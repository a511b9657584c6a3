"""From a web page to the text of its main content, by resiliparse or trafilatura.

The page's bytes are decoded first: byte order mark, valid UTF-8, charset of the HTTP header, <meta> tag, then
resiliparse's detector (uchardet), with the labels of the WHATWG Encoding Standard. A pure function of the page: no
memory of earlier pages (trafilatura's own de-duplication is off) and no clock. What would take too long is refused by
size and by what `kernels.text.markup` counts, since building the tree is not linear: a page of 50 KB with 3,000 open
<font> tags took 10 s and 1.7 GB, one of 60,000 nested <div> 41 s.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kernels.text.markup import markup_cost

ENGINES = ("resiliparse", "trafilatura")

# in each, no two parts that repeat can match the same white space: the time stays proportional
_CHARSET = re.compile(r"charset\s*=[\s\"']*([\w.:-]+)", re.IGNORECASE)
_META = re.compile(rb"<meta[^>]{0,300}?charset\s{0,20}=[\s\"']{0,20}([\w.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"^\s*<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_DECLARATION = re.compile(rb"<\?xml[^>]*>", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
MAX_STEPS = 100_000_000
"""Comparisons for the tree, at some 2 ns each. Of 5,005 pages of the web and of documentation the most, a manual of
8 MB, comes to 3.4 million."""
MAX_COPIES = 100_000
"""Formatting elements made again, at some 2 us and 400 bytes each; of the same pages the most is 81."""
MAX_LABEL = 1000  # characters of a content type
META_BYTES = 4096  # HTML asks for the first 1,024 bytes; pages put it later
_SNIFFED = (
    "",
    "application/octet-stream",
    "unknown/unknown",
    "application/unknown",
)  # MIME Sniffing Standard, section 7


@dataclass(frozen=True)
class Extract:
    engine: str = "resiliparse"
    """resiliparse | trafilatura (more precise, some 18 times slower)."""
    max_page_bytes: int = 10_000_000
    """A larger page is quarantined as extract.too_large."""
    max_depth: int = 512
    """Elements open at once; a deeper page is quarantined as extract.too_deep. Chromium makes no deeper trees
    (kMaximumHTMLParserDOMTreeDepth); the deepest of 5,005 pages has 40."""

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("content", "content_type")
    adds: ClassVar[tuple[str, ...]] = ("text",)
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"stages.extract.engine: unknown engine {self.engine!r}; use {' or '.join(ENGINES)}")

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `text` where there is `content`, takes `content` and `content_type` away, adds two verdict columns.

        dropped_by: extract.empty, a page without text. quarantined_by: extract.too_large, too_deep, too_tangled,
        undecodable, failed. Rows without content, or already out (verdict columns are kept where they are there), stay
        as they are.
        """
        dropped = _column(batch, "dropped_by")
        quarantined = _column(batch, "quarantined_by")
        alive = pc.and_(dropped.is_null(), quarantined.is_null())
        at = np.flatnonzero(pc.and_(batch.column("content").is_valid(), alive).to_numpy(zero_copy_only=False))
        pages = batch.column("content")
        media = batch.column("content_type")
        results = [self._page(pages[i].as_py(), media[i].as_py() or "") for i in at.tolist()]
        empty = ["extract.empty" if not text and not reason else None for text, reason in results]
        failed = [f"extract.{reason}" if reason else None for _, reason in results]
        filled = {
            "text": _replace(batch.column("text"), at, [text or None for text, _ in results]),
            "dropped_by": _replace(dropped, at, empty),
            "quarantined_by": _replace(quarantined, at, failed),
        }
        stays = [name for name in batch.schema.names if name not in ("content", "content_type")]
        columns = {**{name: batch.column(name) for name in stays}, **filled}
        fields = [
            batch.schema.field(name) if name in stays else pa.field(name, column.type)
            for name, column in columns.items()
        ]
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))

    def _page(self, page: bytes, content_type: str) -> tuple[str | None, str | None]:
        """(text, None), (None, None) for a page without text, or (None, reason)."""
        if len(page) > self.max_page_bytes:
            return None, "too_large"
        if not is_html(content_type, page) and content_type.lower().startswith("text/"):
            text = decode(page, content_type, html=False)
            return (text, None) if text is not None else (None, "undecodable")
        html = decode(page, content_type)
        if html is None:
            return None, "undecodable"
        depth, steps, copies = markup_cost(html.encode("utf-8", "replace"), self.max_depth + 1, MAX_STEPS, MAX_COPIES)
        if depth > self.max_depth:
            return None, "too_deep"
        if steps > MAX_STEPS or copies > MAX_COPIES:
            return None, "too_tangled"
        try:
            main = _trafilatura(html) if self.engine == "trafilatura" else _resiliparse(html)
        except Exception:  # whatever a parser of the wild web raises is about this page alone
            return None, "failed"
        return (main if main and not main.isspace() else None), None


def is_html(content_type: str, page: bytes) -> bool:
    """By the media type; by the first bytes where the server gave none worth the name."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("text/html", "application/xhtml+xml"):
        return True
    return media in _SNIFFED and _begins_html(page[:1024])


def _begins_html(head: bytes) -> bool:
    """Whether markup of a page comes first, behind a declaration and comments."""
    head = head.lstrip()
    if declaration := _DECLARATION.match(head):
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
    encodings = [known for label in labels if (known := _codec(label))]
    # in these, text of other scripts looks like valid UTF-8
    ambiguous = [e for e in encodings if e.startswith("iso2022") or (e.startswith("utf-16") and b"\0" in page[:64])]
    for attempt in [*ambiguous, "utf-8", *encodings]:
        try:
            return page.decode(attempt)
        except UnicodeDecodeError:
            continue
    return _guess(page, encodings)


def _guess(page: bytes, stated: list[str]) -> str | None:
    from resiliparse.parse.encoding import detect_encoding

    if not stated or stated[0] == "utf-8":
        text = page.decode("utf-8", "replace")
        if text.count("\ufffd") * 100 <= len(text):  # nearly UTF-8: cut within a character, one bad comment
            return text
    detected = _codec(detect_encoding(page) or "")
    for encoding in [*([detected] if detected else []), *stated]:
        text = page.decode(encoding, "replace")
        if text.count("\ufffd") * 10 <= len(text):
            return text
    return None


def _codec(label: str) -> str | None:
    """Python's name of the encoding that the WHATWG standard means by `label`; None if it has none."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    name = map_encoding_to_html5(label, fallback_utf8=False)
    if name is None:
        return None
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return None
    return "gb18030" if codec == "gbk" else codec  # the standard decodes both as gb18030


def _resiliparse(html: str) -> str | None:
    """Main content as Bevendorff et al. 2018 (Elastic ChatNoir) extract it; formatting kept, no links and no image
    texts, as in DataComp-LM (Li et al. 2024, section 4.2)."""
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(html, main_content=True, preserve_formatting=True, alt_texts=False, links=False)
    return text.strip()


def _trafilatura(html: str) -> str | None:
    import trafilatura

    text: str | None = trafilatura.extract(html, output_format="txt", include_comments=False, deduplicate=False)
    return text


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, pa.string())


def _replace(column: pa.Array, at: np.ndarray, values: list[str | None]) -> pa.Array:
    """`column` with `values` at the rows `at`; the column itself where there are none."""
    if not len(at):
        return column
    place = np.full(len(column), -1, np.int64)
    place[at] = np.arange(len(at))
    mask = pa.array(place >= 0)
    return pc.if_else(mask, pa.array(values, column.type).take(pa.array(place, mask=place < 0)), column)
