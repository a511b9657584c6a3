"""What must be changed in a page's tree so that its text has the page's lines: tables, code, captions, formulas.

    tables      a row is a line: what breaks lines within a cell is taken out, where the cell is short
    code        line numbers beside the lines are no part of it
    captions    without the names of photographers and agencies

Both `page_text` and the reader of fragments (chapters, posts) go through here before they extract.
"""

from __future__ import annotations

import re
from typing import Any

from gristmill.kernels.text.unspaced import is_unspaced
from gristmill.stages.page_formulas import write_formulas

NO_TEXT = ("img", "area", "svg", "object", "video", "audio", "embed")
"""CSS selectors of what has no text of its own. resiliparse drops it where it is told to drop `alt` texts, and
figures with their captions, quotes and tables as well; so it is told to keep them, and these are dropped by name."""

FORMULA, CODE, CELL, CAPTION, LONE, ALL = 1, 2, 4, 8, 16, 63
"""Of `kernels.text.page_hints`, which the process that parses does not import: it compiles nothing."""

MARK = "\ufdd0"
"""A noncharacter, which no text has."""
_LONE = re.compile(r">(\s{0,64}[\u0800-\u1fff\u3000-\ud7ff\uf900-\ufdcf\ufdf0-\uffdc])(?=\s{0,64}<)")

GUTTERS = (
    ".lineno, .linenos, .linenodiv, .line-numbers-rows, td.line-numbers, .line-number, td.gutter, .rouge-gutter, "
    ".hljs-ln-numbers, .blob-num, .crayon-nums"
)
"""Line numbers as Pygments, Rouge, Prism, highlight.js, SyntaxHighlighter, Crayon and GitHub write them."""

MAX_CELL = 1000
"""Characters of a cell that is made one line; a longer one is the page's layout, or prose."""
MAX_BREAKS = 20_000
MAX_IN_CELL = 100
MAX_FIGURES = 2000
_NOT_A_LINE = "table, pre, h1, h2, h3, h4, h5, h6, blockquote, form, article, section"
_BREAKS = "p, div, br, ul, ol, li, dl, dt, dd, figure, figcaption, center"
_IN_CELLS = f":is(td, th) > :is({_BREAKS}), :is(td, th) br"

_CREDIT = re.compile(
    r"©|\(c\)|\b(?:fotos?|photos?|photograph|bild(?:er)?|images?|imagen|imágenes|grafik|quelle|source|fuente|crédito|"
    r"crédits?|credits?|copyright|archiv(?:o|foto)?|źródło|fot)\s*(?:credit|by)?\s*[:/|]|"
    r"\b(?:photo|image)s? (?:credit|by|via|courtesy)\b|\bgetty images|\bshutterstock|\bunsplash|"
    r"\bpicture[ -]alliance|\bdpa\b|\bafp\b|\breuters\b|\bpixabay|\badobe ?stock|\bistock|\bthinkstock|"
    r"\bCC[ -]BY|\bpexels|\bflickr",
    re.IGNORECASE,
)
"""Where the credit of a picture begins; chosen on the half of trafilatura's pages that limits are chosen on."""


def with_marks(html: str) -> str:
    """A `MARK` behind every character that stands alone between two tags. Of such text resiliparse's main content
    drops what is three bytes of UTF-8, meant for the icons of fonts in the private use area: a word of one Chinese
    character in bold, or a cell of a table."""
    return _LONE.sub(rf">\1{MARK}", html)


def shape(tree: Any, hints: int) -> None:
    """Changes a `resiliparse.parse.html.HTMLTree`; `hints`: what it may hold, `kernels.text.page_hints`."""
    if hints & FORMULA:
        write_formulas(tree)
    if hints & CODE:
        for element in tree.document.query_selector_all(GUTTERS)[:MAX_BREAKS]:
            element.remove()
    if hints & CELL:
        _join_cells(tree)


def cut_credits(tree: Any) -> None:
    """Captions end where the credit of their picture begins."""
    for caption in tree.document.query_selector_all("figcaption")[:MAX_FIGURES]:
        text = " ".join((caption.text or "").split())
        if found := _CREDIT.search(text):
            caption.text = text[: found.start()].rstrip(" (|/–-,;")


def _join_cells(tree: Any) -> None:
    seen = None
    for element in tree.document.query_selector_all(_IN_CELLS)[:MAX_BREAKS]:
        cell = element.closest("td, th")
        if cell is None or cell == seen:
            continue
        seen = cell
        row = cell.parent
        if row is None or row.child_element_count < 2 or len(cell.text or "") > MAX_CELL:
            continue
        if cell.query_selector(_NOT_A_LINE) is None:
            _join(tree, cell)


def _join(tree: Any, cell: Any) -> None:
    breaks = cell.query_selector_all(_BREAKS)
    for element in breaks[:] if len(breaks) <= MAX_IN_CELL else ():
        if element.tag == "br":
            before, after = element.previous_sibling, element.next_sibling
            joined = is_unspaced(_text(before)[-1:]) and is_unspaced(_text(after)[:1])
            element.replace_with(tree.create_text_node("" if joined else " "))
        else:
            around = [
                [tree.create_text_node(" ")] if sibling is not None else []
                for sibling in (element.previous_sibling, element.next_sibling)
            ]
            element.replace_with(*around[0], *element.child_nodes[:], *around[1])


def _text(node: Any) -> str:
    return "" if node is None else (node.text or "").replace(MARK, "").strip()
