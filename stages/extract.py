"""From a web page to the text of its main content and what it says about itself.

    bytes -> text of the page (`page_encoding`), as HTML where it is XHTML (`page_xhtml`)
          -> what the tree would cost (`kernels.text.markup`)
          -> lines joined where a script has no spaces (`kernels.text.source_breaks`)
          -> main content (`page_text`, or trafilatura) and metadata (`page_metadata`), in a process of their own
             (`page_guard`)

A function of the page alone. What would take too long is refused by size and by what building the tree would cost,
which is counted and is not linear: a page of 50 KB with 3,000 open <font> tags took 10 s and 1.7 GB, one of 60,000
nested <div> 41 s. The limit of CPU time behind that is the one thing here that another machine could decide otherwise;
the worst pages that could be made take 12 s with resiliparse (10 MB of `<br>` in a cell of a table) and some 16 s with
trafilatura.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.extras import require
from gristmill.kernels.text.markup import markup_counts
from gristmill.kernels.text.page_hints import UNSPACED
from gristmill.kernels.text.source_breaks import without_source_breaks
from gristmill.stages.document import TIMESTAMP
from gristmill.stages.page_encoding import decode, is_html
from gristmill.stages.page_engine import ENGINES, Extracted
from gristmill.stages.page_guard import guard
from gristmill.stages.page_xhtml import html_of, is_xhtml

__all__ = ["MAX_COPIES", "MAX_STEPS", "Extract", "decode", "is_html"]

MAX_STEPS = 100_000_000
"""Comparisons for the tree, at some 2 ns each. Of 5,005 pages of the web and of documentation the most, a manual of
8 MB, comes to 3.4 million."""
MAX_COPIES = 100_000
"""Formatting elements made again, at some 2 us and 400 bytes each; of the same pages the most is 81."""
TRAFILATURA_STEPS = 5_000_000
"""The same for trafilatura, which goes over what is below an element for each that is around it: up to 3.1 us a step
(8,000 links in 200 nested <div>: 10 s), so 16 s for the worst page."""
TRAFILATURA_DEPTH = 240
"""libxml2 leaves out, without an error, what is nested deeper than 256 (xmlParserMaxDepth), <html> and <body>
included."""

_FOUND = {"title": pa.string(), "published": TIMESTAMP, "canonical_url": pa.string(), "site": pa.string()}
_VERDICTS = {"dropped_by": pa.string(), "quarantined_by": pa.string()}


class _Counted(NamedTuple):
    html: bytes
    """UTF-8."""
    hints: int
    """`kernels.text.page_hints`."""


@dataclass(frozen=True)
class Extract:
    engine: str = "resiliparse"
    """resiliparse | trafilatura (more precise, many times slower)."""
    max_page_bytes: int = 10_000_000
    """A larger page is quarantined as extract.too_large."""
    max_depth: int = 512
    """Elements open at once; a deeper page is quarantined as extract.too_deep. Chromium makes no deeper trees
    (kMaximumHTMLParserDOMTreeDepth); the deepest of 5,005 pages has 40. With trafilatura at most 240."""
    max_page_seconds: float = 60.0
    """CPU seconds after which a page is quarantined as extract.timeout."""

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 4
    needs: ClassVar[tuple[str, ...]] = ("content", "content_type")
    adds: ClassVar[tuple[str, ...]] = ("text", *_FOUND)
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()

    @property
    def libraries(self) -> tuple[str, ...]:
        return ("resiliparse", "trafilatura") if self.engine == "trafilatura" else ("resiliparse",)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"stages.extract.engine: unknown engine {self.engine!r}; use {' or '.join(ENGINES)}")
        if self.engine == "trafilatura":
            require("trafilatura", "stages.extract.engine: trafilatura")
        if not self.max_page_seconds > 0:
            raise ValueError(f"stages.extract.max_page_seconds: {self.max_page_seconds} s; give more than 0")

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `text` where there is `content`, and `title`, `published`, `canonical_url`, `site` where they are null
        and the page says them; takes `content` and `content_type` away; adds two verdict columns.

        dropped_by: extract.empty, a page without text. quarantined_by: extract.too_large, too_deep, too_tangled,
        undecodable, failed, crashed, timeout. Rows without content, or already out (verdict columns are kept where
        they are there), stay as they are.
        """
        columns = {
            name: batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)
            for name, kind in (*_FOUND.items(), *_VERDICTS.items())
        }
        alive = pc.and_(columns["dropped_by"].is_null(), columns["quarantined_by"].is_null())
        at = np.flatnonzero(pc.and_(batch.column("content").is_valid(), alive).to_numpy(zero_copy_only=False))
        pages, media = batch.column("content"), batch.column("content_type")
        urls = batch.column("url") if "url" in batch.schema.names else pa.nulls(batch.num_rows, pa.string())
        results = [self._page(pages[i].as_py(), media[i].as_py() or "", urls[i].as_py()) for i in at.tolist()]
        pages_found = [found if isinstance(found, Extracted) else Extracted(None) for found in results]
        columns["text"] = _replace(batch.column("text"), at, [found.text for found in pages_found])
        for name in _FOUND:
            said = _replace(columns[name], at, [getattr(found, name) for found in pages_found])
            columns[name] = pc.coalesce(columns[name], said) if len(at) else columns[name]
        columns["dropped_by"] = _replace(
            columns["dropped_by"],
            at,
            ["extract.empty" if isinstance(found, Extracted) and found.text is None else None for found in results],
        )
        columns["quarantined_by"] = _replace(
            columns["quarantined_by"], at, [f"extract.{found}" if isinstance(found, str) else None for found in results]
        )
        stays = [name for name in batch.schema.names if name not in ("content", "content_type")]
        columns = {**{name: batch.column(name) for name in stays}, **columns}
        fields = [
            batch.schema.field(name) if name in stays else pa.field(name, column.type)
            for name, column in columns.items()
        ]
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))

    def _page(self, page: bytes, content_type: str, url: str | None) -> Extracted | str:
        """What the page gives, or the reason why it is quarantined."""
        counted = self._counted(page, content_type)
        if isinstance(counted, _Counted):
            return guard(self.engine, self.max_page_seconds, os.getpid()).extract(counted.html, url, counted.hints)
        return counted

    def _counted(self, page: bytes, content_type: str) -> _Counted | Extracted | str:
        """The page where it is HTML that may be parsed; else what it gives, or why it is quarantined."""
        if len(page) > self.max_page_bytes:
            return "too_large"
        if not is_html(content_type, page) and content_type.lower().startswith("text/"):
            text = decode(page, content_type, html=False)
            return "undecodable" if text is None else Extracted(text or None)
        html = decode(page, content_type)
        if html is None:
            return "undecodable"
        utf8 = html.encode("utf-8", "replace")
        if is_xhtml(content_type, utf8):
            utf8 = html_of(utf8)
            if len(utf8) > self.max_page_bytes:
                return "too_large"
        slow = self.engine == "trafilatura"
        most_depth = min(self.max_depth, TRAFILATURA_DEPTH) if slow else self.max_depth
        most_steps = TRAFILATURA_STEPS if slow else MAX_STEPS
        depth, steps, copies, hints = markup_counts(utf8, most_depth + 1, most_steps, MAX_COPIES)
        if depth > most_depth:
            return "too_deep"
        if steps > most_steps or copies > MAX_COPIES:
            return "too_tangled"
        return _Counted(without_source_breaks(utf8) if hints & UNSPACED else utf8, hints)


def _replace(column: pa.Array, at: np.ndarray, values: list[Any]) -> pa.Array:
    """`column` with `values` at the rows `at`; the column itself where there are none."""
    if not len(at):
        return column
    place = np.full(len(column), -1, np.int64)
    place[at] = np.arange(len(at))
    mask = pa.array(place >= 0)
    return pc.if_else(mask, pa.array(values, column.type).take(pa.array(place, mask=place < 0)), column)
