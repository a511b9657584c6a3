"""Lines of pages to the text of a document: running heads dropped, words joined, paragraphs with empty lines between.

A line at a page's top or bottom that stands at the same height with the same words on three pages, numbers aside, is a
running head or a page number. A line ends a paragraph where the next stands further below, is larger or smaller,
indented, or begins a list; a line that is short though the next word had room is broken on purpose, and
stays a line. A hyphen at a line's end goes where the next line goes on in lower case, unless the document has the word
with the hyphen elsewhere; a paragraph that goes on in the next column or on the next page is one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gristmill.pipeline.readers.markup.pdf_layout import SOFT_HYPHEN, Line

EDGE_LINES = 2  # at the top and at the bottom of a page that may be running heads
REPEATED = 3  # pages on which they stand, at least
SAME_HEIGHT = 3.0  # points
FURTHER = 1.35  # of the usual distance of lines, between paragraphs
OTHER_SIZE = 1.18  # of the height: that of a heading, a note
INDENT = 0.8  # of the height
ROOM = 1.4  # times what the next word is estimated to take; it may have wide letters
TERMINAL = frozenset(".!?…。！？।؟۔")
_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(r"\W*(?:page\W*)?(?:\d{1,5}|[ivxlc]{1,8})(?:\W*(?:of|/)\W*\d{1,5})?\W*", re.IGNORECASE)
_ITEM = re.compile(r"[•◦▪‣●○■□–—-] |\(?(?:\d{1,3}|[a-z])[.)] |\d{1,3}(?:\.\d{1,3})+\.? |\[\d{1,3}\]")
_LEADER = re.compile(r"(?:[.·…] ?){5,}\W*\w{0,6}$")  # of a table of contents
_HYPHENATED = re.compile(r"(\w*[^\W\d_])[-\u2010\u00ad]$")
_RANGE = re.compile(r"\d[-\u2010\u2013]$")
_TAIL = 120  # characters of a line's end that these look at
_WORD = re.compile(r"\w[\w'’]*(?:[-\u2010]\w[\w'’]*)*")
_UNSPACED = re.compile("[\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Scripts that are written without spaces between words: Han, Kana, and their punctuation."""


@dataclass
class _Paragraph:
    lines: list[Line]
    breaks: list[bool]
    """Whether the line is broken on purpose, a line each."""


def document_text(pages: list[list[list[Line]]]) -> str:
    """pages: for each its blocks in reading order, `pdf_layout.page_lines`."""
    heads = _running_heads(pages)
    paragraphs: list[_Paragraph] = []
    for number, blocks in enumerate(pages):
        for block in blocks:
            kept = [line for line in block if (number, id(line)) not in heads]
            for i, paragraph in enumerate(_paragraphs(kept)):
                if i == 0 and paragraphs and _goes_on(paragraphs[-1], paragraph):
                    paragraphs[-1].lines += paragraph.lines
                    paragraphs[-1].breaks[-1] = False
                    paragraphs[-1].breaks += paragraph.breaks
                else:
                    paragraphs.append(paragraph)
    words = Counter(word.lower() for paragraph in paragraphs for word in _whole_words(paragraph.lines))
    texts = (_joined(paragraph, words) for paragraph in paragraphs)
    return "\n\n".join(text for text in texts if text)


def _running_heads(pages: list[list[list[Line]]]) -> set[tuple[int, int]]:
    """(page, id of the line)"""
    places: dict[str, list[tuple[float, int, int]]] = {}
    for number, blocks in enumerate(pages):
        lines = sorted((line for block in blocks for line in block), key=lambda line: -line.middle)
        edge = {id(line): line for line in (*lines[:EDGE_LINES], *lines[-EDGE_LINES:])}
        for line in edge.values():
            for key in _repeating(line.text, number):
                places.setdefault(key, []).append((line.middle, number, id(line)))
    found: set[tuple[int, int]] = set()
    for place in places.values():
        place.sort()
        start = 0
        for i in range(len(place)):
            if i + 1 == len(place) or place[i + 1][0] - place[i][0] > SAME_HEIGHT:
                together = place[start : i + 1]
                if len({number for _, number, _ in together}) >= REPEATED:
                    found.update((number, line) for _, number, line in together)
                start = i + 1
    for number, blocks in enumerate(pages):  # a page with nothing else, as a slide: no head but its number
        lines = [line for block in blocks for line in block]
        if all((number, id(line)) in found for line in lines):
            found -= {(number, id(line)) for line in lines if not _PAGE_NUMBER.fullmatch(line.text)}
    return found


def _repeating(text: str, page: int) -> Iterator[str]:
    """What of a line is the same on other pages if it is a running head."""
    if _PAGE_NUMBER.fullmatch(text):
        yield "#"
        return
    yield _NUMBER.sub("#", " ".join(text.split()))
    words = text.split()
    for word in {words[0], words[-1]} if words else ():
        if word.isdecimal() and len(word) < 6:
            yield f"{int(word) - page:+}"  # a page number beside the words of a chapter


def _paragraphs(lines: list[Line]) -> Iterator[_Paragraph]:
    if not lines:
        return
    steps = [above.middle - below.middle for above, below in pairwise(lines)]
    usual = float(np.median([step for step in steps if step > 0] or [0.0]))
    left = float(np.quantile([line.left for line in lines], 0.1))
    right = float(np.quantile([line.right for line in lines], 0.95))
    current = _Paragraph([lines[0]], [False])
    for i, step in enumerate(steps, start=1):
        above, line = lines[i - 1], lines[i]
        following = lines[i + 1] if i + 1 < len(lines) else None
        had_room = (
            above.right + ROOM * _first_word(line) < right
            or _LEADER.search(above.text[-_TAIL:]) is not None
            or (above.parted and line.parted)
        )
        if _begins(current, above, line, following, step, usual, left, had_room):
            yield current
            current = _Paragraph([], [])
        else:
            current.breaks[-1] = had_room and not _hyphenated(above.text)
        current.lines.append(line)
        current.breaks.append(False)
    yield current


def _begins(
    current: _Paragraph,
    above: Line,
    line: Line,
    following: Line | None,
    step: float,
    usual: float,
    left: float,
    had_room: bool,
) -> bool:
    """Whether `line` is the first of a paragraph."""
    height = max(line.height, above.height)
    if max(line.height, above.height) > OTHER_SIZE * min(line.height, above.height):
        return True
    ended = above.text[-1:] in TERMINAL
    if usual and step > FURTHER * max(usual, 0.9 * height):
        return True
    if _hyphenated(above.text) and line.text[:1].islower():
        return False
    if (had_room and ended) or (_ITEM.match(line.text) and (ended or had_room)):
        return True
    indented = line.left - above.left > INDENT * height
    if indented and (following is None or line.left - following.left > 0.5 * height) and ended:
        return True
    hanging = (
        len(current.lines) > 1 and above.left - line.left > INDENT * height and above.left - left > INDENT * height
    )
    return hanging and ended


def _first_word(line: Line) -> float:
    """Points that it takes, with a space before it."""
    characters = len(line.text.split(" ", 1)[0]) + 1
    return (line.right - line.left) * characters / max(1, len(line.text))


def _goes_on(before: _Paragraph, after: _Paragraph) -> bool:
    last, first = before.lines[-1], after.lines[0]
    if not 1 / OTHER_SIZE < last.height / first.height < OTHER_SIZE:
        return False
    if _UNSPACED.match(last.text[-1:]) and _UNSPACED.match(first.text[:1]):
        return last.text[-1:] not in TERMINAL
    return first.text[:1].islower() and last.text[-1:] not in TERMINAL


def _whole_words(lines: Iterable[Line]) -> Iterator[str]:
    """Words that do not end at a line's end with a hyphen, or begin a line."""
    for line in lines:
        found = _WORD.findall(line.text)
        yield from found[1:-1] if len(found) > 2 else ()


def _joined(paragraph: _Paragraph, words: Counter[str]) -> str:
    parts: list[str] = []
    broken = False
    for line, breaks in zip(paragraph.lines, paragraph.breaks, strict=True):
        if line.text:
            if parts:
                parts[-1], between = _between(parts[-1], line.text, words, broken)
                parts.append(between)
            parts.append(line.text)
        broken = breaks
    return unicodedata.normalize("NFC", "".join(parts).replace(SOFT_HYPHEN, "")).strip()


def _hyphenated(text: str) -> re.Match[str] | None:
    return _HYPHENATED.search(text[-_TAIL:]) if text[-1:] in ("-", "\u2010", SOFT_HYPHEN) else None


def _between(above: str, line: str, words: Counter[str], broken: bool) -> tuple[str, str]:
    """(the line above, perhaps without its hyphen; what stands between it and `line`)"""
    hyphenated = _hyphenated(above)
    following = _WORD.match(line) if hyphenated is not None else None
    if hyphenated is not None and following is not None:
        if line[0].islower():
            whole, with_hyphen = (f"{hyphenated[1]}{sign}{following[0]}".lower() for sign in ("", "-"))
            keep = above[-1] != SOFT_HYPHEN and words[with_hyphen] > words[whole]
            return (above if keep else above[:-1]), ""
        if not broken:  # before a capital or a digit: of a compound
            return above, ""
    if not broken and _RANGE.search(above[-_TAIL:]) and line[0].isdecimal():
        return above, ""
    if broken:
        return above, "\n"
    return above, "" if _UNSPACED.match(above[-1]) and _UNSPACED.match(line) else " "
