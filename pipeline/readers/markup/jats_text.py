"""The text of an article in JATS (ANSI/NISO Z39.96; NLM's journal DTDs before it): abstract, body and appendices.

    sections         their title is a line; empty lines around it and between paragraphs
    lists            `•` or a number; definitions `term: definition`
    tables           label and caption, then a line a row with tabs between cells
    figures          label and caption
    formulas         TeX where the article has it ($inline$, $$displayed$$), else as TeX what the MathML says
    superscripts     ^ before numbers (10^6), so that they do not read as 106; with a citation in it: dropped

References, footnotes, acknowledgements, supplements, permissions and reviews (`sub-article`) are left out; citations
stay as the text has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from gristmill.kernels.text.unspaced import folded
from gristmill.pipeline.readers.markup.xml_tree import all_text, child
from gristmill.stages.page_mathml import TOKENS, Math, mathml_tex

_DROPPED = frozenset(
    {
        "fn", "fn-group", "ref-list", "ack", "glossary-group", "supplementary-material",
        "inline-supplementary-material",
        "media", "graphic", "inline-graphic", "permissions", "object-id", "alt-text", "long-desc", "attrib", "x",
        "processing-meta", "sec-meta", "sub-article", "response", "table-wrap-foot", "alternatives-graphic", "label",
        "contrib-group", "kwd-group", "related-article", "related-object", "custom-meta-group", "index-term",
    }
)  # fmt: skip
_BLOCKS = frozenset(
    {
        "p", "disp-quote", "boxed-text", "speech", "statement", "verse-group", "app", "abstract", "body", "verse-line",
    }
)  # fmt: skip
_LISTS = frozenset({"list", "def-list"})
_STRUCTURE = re.compile(r"[\\^_{]")
_FORMULAS = {"inline-formula": "$", "disp-formula": "$$"}
_NUMBER = re.compile(r"[+−–-]?\d[\d.,]*|[+−–-]|[a-z]")
_ORDERED = frozenset(
    {
        "order", "number", "alpha-lower", "alpha-upper", "roman-lower", "roman-upper",
    }
)  # fmt: skip


def article_text(article: Element) -> str:
    """Title, abstracts, body and appendices; empty lines between."""
    text = _Text()
    meta = child(article, "front", "article-meta")
    text.paragraph(all_text(child(meta, "title-group", "article-title")))
    for abstract in [] if meta is None else meta.findall("abstract"):
        if abstract.get("abstract-type") in (None, "summary", "section", "executive-summary", "plain-language-summary"):
            text.walk(abstract)
    for part in (child(article, "body"), child(article, "back", "app-group"), child(article, "back", "app")):
        if part is not None:
            text.walk(part)
    return "\n\n".join(text.blocks)


class _Text:
    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._line: list[str] = []
        """Of the open paragraph."""

    def paragraph(self, line: str) -> None:
        if line:
            self.blocks.append(line)

    def flush(self) -> None:
        line = folded("".join(self._line))
        self._line = []
        self.paragraph(line)

    def walk(self, element: Element) -> None:
        """Blocks of a section or of a paragraph; at most `xml_tree.MAX_DEPTH` calls deep."""
        self.flush()
        self._line.append(element.text or "")
        for part in element:
            self._part(part)
            self._line.append(part.tail or "")
        self.flush()

    def _part(self, part: Element) -> None:
        name = part.tag
        if name in _DROPPED:
            return
        if name in ("sec", "app", "sec-group", "app-group") or name in _BLOCKS:
            self.walk(part)
        elif name in ("title", "subtitle"):
            self.flush()
            self.paragraph(all_inline(part))
        elif name in _LISTS:
            self.flush()
            self.paragraph("\n".join(_list_lines(part, 1)))
        elif name in ("fig", "table-wrap", "fig-group", "table-wrap-group", "chem-struct-wrap"):
            self.flush()
            self._float(part)
        elif name == "table":
            self.flush()
            self.paragraph("\n".join(_rows(part)))
        elif name == "disp-formula":
            self.flush()
            self.paragraph(_formula(part))
        elif name in ("preformat", "code"):
            self.flush()
            self.paragraph("".join(part.itertext()).strip("\n"))
        else:
            self._line.append(_inline(part))

    def _float(self, part: Element) -> None:
        caption = part.find("caption")
        said = [all_text(part.find("label"))]
        if caption is not None:
            said += [all_inline(each) for each in caption]
        self.paragraph(" ".join(each for each in said if each))
        for table in _outermost(part, frozenset({"table"})):
            self.paragraph("\n".join(_rows(table)))
        for inner in part:
            if inner.tag in ("fig", "table-wrap"):
                self._float_caption(inner)

    def _float_caption(self, part: Element) -> None:
        caption = part.find("caption")
        said = [all_text(part.find("label")), all_inline(caption) if caption is not None else ""]
        self.paragraph(" ".join(each for each in said if each))


def all_inline(element: Element) -> str:
    """The element's text on one line."""
    return folded(_content(element))


def _content(element: Element, without: frozenset[str] = frozenset()) -> str:
    parts = [element.text or ""]
    for part in element:
        parts += [_inline(part, without), part.tail or ""]
    return "".join(parts)


def _inline(part: Element, without: frozenset[str] = frozenset()) -> str:
    name = part.tag
    if name in _DROPPED or name in without:
        return ""
    if name in _FORMULAS or name in ("tex-math", "math", "alternatives"):
        return _formula(part)
    if name == "sup":
        if next(part.iter("xref"), None) is not None:
            return ""
        text = _content(part, without)
        return f"^{text}" if _NUMBER.fullmatch(text.strip()) else text
    if name == "break":
        return "\n"  # a space, or nothing between characters of a script without spaces
    if name in _BLOCKS or name in ("title", "list-item", "def", "td", "th"):
        return f" {_content(part, without)} "
    return _content(part, without)


def _formula(part: Element) -> str:
    mark = _FORMULAS.get(part.tag, "$")
    tex = next((found.text for found in part.iter("tex-math") if found.text), None) or next(
        (a.text for a in part.iter("annotation") if "tex" in (a.get("encoding") or "").lower() and a.text), None
    )
    if tex:
        _, begins, body = tex.partition("\\begin{document}")  # PMC's are documents of their own
        bare = " ".join((body.partition("\\end{document}")[0] if begins else tex).split()).strip("$").strip()
        return f"{mark}{bare}{mark}" if bare else ""
    formula = next(part.iter("math"), None)
    if formula is not None:
        written = mathml_tex(_math(formula))
        return f"{mark}{written}{mark}" if _STRUCTURE.search(written) else "".join(written.split())
    return folded(_content(part))


def _math(element: Element) -> Math:
    text = "" if len(element) and element.tag not in TOKENS else "".join(element.itertext())
    return Math(element.tag, text, dict(element.attrib), [_math(child) for child in element])


def _list_lines(part: Element, depth: int) -> list[str]:
    lines = []
    ordered = part.get("list-type") in _ORDERED
    number = 0
    for item in part:
        if item.tag == "def-item":
            term = item.find("term")
            definitions = [all_inline(found) for found in item.findall("def")]
            lines.append(f"{'' if term is None else all_inline(term)}: {' '.join(definitions)}")
            continue
        if item.tag != "list-item":
            continue
        number += 1
        own = folded(_content(item, _LISTS))
        if own:
            lines.append(f"{'  ' * depth}{f'{number}.' if ordered else '•'} {own}")
        for inner in _outermost(item, _LISTS):
            lines += _list_lines(inner, depth + 1)
    return lines


def _outermost(element: Element, names: frozenset[str]) -> Iterator[Element]:
    """What of these names is in the element and in no other of them."""
    for part in element:
        if part.tag in names:
            yield part
        else:
            yield from _outermost(part, names)


def _rows(table: Element) -> list[str]:
    rows = []
    for row in _outermost(table, frozenset({"tr"})):
        cells = "\t".join(all_inline(cell) for cell in row if cell.tag in ("td", "th"))
        if cells.strip():
            rows.append(cells.strip())
    return rows
