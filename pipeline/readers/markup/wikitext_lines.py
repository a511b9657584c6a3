"""The lines of a wiki page: headings, lists, tables, quotes of apostrophes. The second half of `wikitext`.

A line's kind is in its first characters (mediawiki.org, Help:Formatting); lines of plain text that follow each other
are one paragraph and become one line. What stands between NULs is literal and put in at the end.
"""

from __future__ import annotations

import re
from html import unescape

BREAK = "\1"
"""A line break that stays one, as <br> makes it."""

_HEADING = re.compile(r"(={1,6})(.+?)\1[ \t]*$")
_LIST = re.compile(r"([*#:;]+)[ \t]*(.*)")
_QUOTES = re.compile(r"'{2,5}")
_BLANKS = re.compile(r"\n{3,}")
_KEPT = re.compile("\0(\\d+)\0")
_SPACES = re.compile(r"[ \xa0\u2009\u202f]{2,}|[\xa0\u2009\u202f]")
_EMPTY = re.compile(r"\([,;:\s]*+\)")  # what a template that is not shown leaves of "(born ...)"
_OPENED = re.compile(r"\(\s*+[,;]\s*+")


class _Page:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.levels: list[int] = []
        """Of each line, that of its heading; 0: no heading, -1: empty."""
        self.table: list[str] | None = None
        """Cells of the open row."""
        self.tables = 0
        self.numbers: list[int] = []
        """Of the open numbered lists."""
        self.in_paragraph = False

    def put(self, line: str, level: int = 0) -> None:
        self.lines.append(line)
        self.levels.append(level if line.strip() else -1)
        self.in_paragraph = False

    def put_text(self, line: str) -> None:
        if self.in_paragraph and line:
            self.lines[-1] += " " + line
        else:
            self.put(line)
            self.in_paragraph = bool(line)


def plain_lines(text: str, kept: list[str]) -> str:
    page = _Page()
    for line in text.split("\n"):
        _line(page, line)
    _end_row(page)
    return _put_in("\n".join(_without_empty_sections(page)), kept)


def _line(page: _Page, line: str) -> None:
    bare = line.strip()
    if bare.startswith(("{|", ":{|")):
        _end_row(page)
        page.tables += 1
        page.table = []
    elif page.tables and bare.startswith("|}"):
        _end_row(page)
        page.tables -= 1
        page.table = [] if page.tables else None
        if rest := bare[2:].strip():
            _line(page, rest)
        else:
            page.put("")
    elif page.tables:
        _table_line(page, bare)
    else:
        _text_line(page, line)


def _table_line(page: _Page, line: str) -> None:
    assert page.table is not None
    if line.startswith("|-"):
        _end_row(page)
    elif line.startswith("|+"):
        _end_row(page)
        page.put(_cell(line[2:]))
    elif line.startswith(("|", "!")):
        line_of_head = line[0] == "!"
        cells = line[1:].replace("!!", "||") if line_of_head else line[1:]
        page.table += [_cell(cell) for cell in cells.split("||")]
    elif line:
        if page.table:
            page.table[-1] = f"{page.table[-1]} {_clean(line)}".strip()
        else:
            page.table.append(_clean(line))


def _end_row(page: _Page) -> None:
    if page.table:
        cells = "\t".join(page.table).strip()
        if cells:
            page.put(cells)
        page.table = []


def _cell(cell: str) -> str:
    """Attributes stand before a pipe."""
    attributes, pipe, rest = cell.partition("|")
    return _clean(rest if pipe and "=" in attributes else cell).replace(BREAK, " ").strip()


def _text_line(page: _Page, line: str) -> None:
    bare = line.strip()
    if (heading := _HEADING.fullmatch(bare)) is not None:
        page.numbers = []
        title = _clean(heading[2]).strip()
        if title:
            page.put("")
            page.put(title, len(heading[1]))
            page.put("")
    elif (item := _LIST.fullmatch(line.rstrip())) is not None:
        _item(page, item[1], _clean(item[2]).strip())
    else:
        page.numbers = []
        page.put_text("" if bare.startswith("----") else _clean(bare))
        if line.startswith(" "):  # preformatted
            page.in_paragraph = False


def _item(page: _Page, marks: str, text: str) -> None:
    depth = min(len(marks), 10)
    page.numbers = page.numbers[:depth] + [0] * (depth - len(page.numbers))
    last = marks[-1]
    page.numbers[depth - 1] = page.numbers[depth - 1] + 1 if last == "#" else 0
    if not text:
        return
    indent = "  " * depth
    if last == "*":
        page.put(f"{indent}• {text}")
    elif last == "#":
        page.put(f"{indent}{page.numbers[depth - 1]}. {text}")
    else:
        page.put(text)


def _clean(text: str) -> str:
    """Without the marks of bold and italics, with spaces folded."""
    if "''" in text:
        text = _QUOTES.sub(_apostrophes, text)
    if "&" in text:
        text = unescape(text)
    text = _SPACES.sub(" ", text)
    if "(" in text:
        text = _OPENED.sub("(", _EMPTY.sub("", text))
        text = _SPACES.sub(" ", text)
    return text


def _apostrophes(found: re.Match[str]) -> str:
    """Two are italics, three bold, five both; of four one is text."""
    return "'" if len(found[0]) == 4 else ""


def _without_empty_sections(page: _Page) -> list[str]:
    """Without headings that no text follows before one of the same or a higher level."""
    keep = [True] * len(page.lines)
    deepest = 0  # level up to which a heading here has nothing below it: the next line of text is in another section
    for i in range(len(page.lines) - 1, -1, -1):
        level = page.levels[i]
        if level == 0:
            deepest = 7
        elif level > 0:
            keep[i] = level < deepest
            # a heading that stays is text for those above it and ends what is below its level
            deepest = level if keep[i] else deepest
    return [line for line, stays in zip(page.lines, keep, strict=True) if stays]


def _put_in(text: str, kept: list[str]) -> str:
    parts = text.split(BREAK)
    text = "\n".join([part.rstrip(" \t") if i == 0 else part.strip(" \t") for i, part in enumerate(parts)])
    text = _BLANKS.sub("\n\n", text).strip("\n")
    return _KEPT.sub(lambda found: kept[int(found[1])], text)
