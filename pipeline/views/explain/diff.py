"""The difference between two texts as hunks of lines, with the changed words marked.

Lines (sentences, where a line is long) are matched first: common beginning and end, then those that occur once in both
in the longest order they share (patience diff; where none does, `RUNS` of them), and difflib only in what is small
between. The replaced parts are matched word by word in the same way. Time is O(n log n) in the number of lines and
words, whatever they are: recursion is bounded by `DEPTH`, the one quadratic step by `SMALL` and in all by `WORK`. Texts
are compared as if they ended in a line feed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, pairwise

SMALL = 40_000
"""Products of lengths up to which difflib compares every pair: 200 × 200."""
WORK = 20_000_000
"""Of such products in all; what is left then counts as replaced."""
DEPTH = 16
RUNS = (1, 4, 16)
"""Lengths of the runs that are looked for, one after the other until some occur once on both sides."""
MAX_CHARACTERS = 4_000_000
"""Of each text; what is beyond is not compared."""
CONTEXT = 2
LONG_LINE = 160  # characters; a longer line is cut into sentences, so that a book on one line is no single unit
SIMILAR = 0.3  # share of a replaced part that must be in both for its words to be marked

_SENTENCE = re.compile(r".{20,}?[.!?;:。！？；।]+[\s\"'”’)\]]*|.+", re.S)
_WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]|\w+|\s+|.", re.S)


@dataclass
class Work:
    """What is left of `WORK`."""

    left: int

    def allows(self, product: int) -> bool:
        if product > min(SMALL, self.left):
            return False
        self.left -= product
        return True


Spans = list[tuple[str, bool]]
"""(piece of text, whether it is only on this side)."""


@dataclass(frozen=True)
class Line:
    mark: str
    """'-' only in the first text, '+' only in the second, ' ' in both."""
    spans: Spans


@dataclass(frozen=True)
class Hunk:
    first_line: int
    """Of the first text, from 1."""
    second_line: int
    lines: list[Line]


@dataclass(frozen=True)
class Difference:
    equal: bool
    similarity: float
    """Characters that both have in common order, as a share of the mean length: 2 · common / (first + second)."""
    removed: int
    """Characters that only the first has."""
    added: int
    hunks: list[Hunk]
    cut: bool
    """Whether the texts were longer than what is compared."""


def difference(first: str, second: str) -> Difference:
    cut = max(len(first), len(second)) > MAX_CHARACTERS
    a, b = (units(ended(text[:MAX_CHARACTERS])) for text in (first, second))
    work = Work(WORK)
    parts = replaced(matches(*_numbered(a, b), work), len(a), len(b))
    removed = added = 0
    changes = []
    for a_low, a_high, b_low, b_high in parts:
        minus, plus = words("".join(a[a_low:a_high]), "".join(b[b_low:b_high]), work)
        removed += sum(len(text) for text, changed in minus if changed)
        added += sum(len(text) for text, changed in plus if changed)
        changes.append((a_low, a_high, b_low, b_high, minus, plus))
    total = sum(map(len, a)) + sum(map(len, b))
    similarity = 1.0 if not total else 1 - (removed + added) / total
    return Difference(first == second, similarity, removed, added, _hunks(a, b, changes), cut)


def ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def units(text: str) -> list[str]:
    """Lines with their ends; long ones as sentences."""
    lines = text.splitlines(keepends=True)
    return list(chain.from_iterable([line] if len(line) <= LONG_LINE else _SENTENCE.findall(line) for line in lines))


def words(first: str, second: str, work: Work) -> tuple[Spans, Spans]:
    """Both texts as spans; all of them changed where too little is in both to be worth reading."""
    a, b = _WORD.findall(first), _WORD.findall(second)
    blocks = matches(*_numbered(a, b), work)
    common = sum(len(token) for i, _, n in blocks for token in a[i : i + n])
    if common < SIMILAR * max(len(first), len(second)):
        return [(first, True)] if first else [], [(second, True)] if second else []
    return _spans(a, [(i, n) for i, _, n in blocks]), _spans(b, [(j, n) for _, j, n in blocks])


def matches(a: Sequence[int], b: Sequence[int], work: Work) -> list[tuple[int, int, int]]:
    """(i, j, n) in order: a[i : i + n] == b[j : j + n]."""
    found: list[tuple[int, int, int]] = []
    waiting = [(0, len(a), 0, len(b), 0)]
    while waiting:
        a_low, a_high, b_low, b_high, depth = waiting.pop()
        start = a_low
        while a_low < a_high and b_low < b_high and a[a_low] == b[b_low]:
            a_low, b_low = a_low + 1, b_low + 1
        if a_low > start:
            found.append((start, b_low - (a_low - start), a_low - start))
        end = a_high
        while a_low < a_high and b_low < b_high and a[a_high - 1] == b[b_high - 1]:
            a_high, b_high = a_high - 1, b_high - 1
        if end > a_high:
            found.append((a_high, b_high, end - a_high))
        if a_low == a_high or b_low == b_high:
            continue
        area = (a_low, a_high, b_low, b_high)
        anchors = next(filter(None, (_anchors(a, b, area, run) for run in RUNS)), []) if depth < DEPTH else []
        if anchors:
            bounds = [(a_low, b_low), *anchors, (a_high, b_high)]
            waiting += [(i, next_i, j, next_j, depth + 1) for (i, j), (next_i, next_j) in pairwise(bounds)]
        elif work.allows((a_high - a_low) * (b_high - b_low)):
            small = SequenceMatcher(None, a[a_low:a_high], b[b_low:b_high], autojunk=False)
            found += [(a_low + i, b_low + j, n) for i, j, n in small.get_matching_blocks() if n]
    return sorted(found)


def replaced(blocks: Sequence[tuple[int, int, int]], a_end: int, b_end: int) -> list[tuple[int, int, int, int]]:
    """(a_low, a_high, b_low, b_high) of the parts between the matching blocks."""
    parts = []
    a_low = b_low = 0
    for i, j, n in [*blocks, (a_end, b_end, 0)]:
        if i > a_low or j > b_low:
            parts.append((a_low, i, b_low, j))
        a_low, b_low = i + n, j + n
    return parts


def _numbered(a: Sequence[str], b: Sequence[str]) -> tuple[list[int], list[int]]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(x, len(numbers)) for x in a], [numbers.setdefault(x, len(numbers)) for x in b]


def _anchors(a: Sequence[int], b: Sequence[int], area: tuple[int, int, int, int], run: int) -> list[tuple[int, int]]:
    """Places of the runs that occur once on both sides: the longest series that rises in both (patience sorting)."""
    a_low, a_high, b_low, b_high = area
    keys_a, keys_b = _runs(a[a_low:a_high], run), _runs(b[b_low:b_high], run)
    a_count, b_count = Counter(keys_a), Counter(keys_b)
    place = {key: j for j, key in enumerate(keys_b, b_low) if b_count[key] == 1}
    pairs = [(i, place[key]) for i, key in enumerate(keys_a, a_low) if a_count[key] == 1 and key in place]
    tops: list[int] = []
    top_pairs: list[int] = []
    before: list[int] = []
    for number, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(top_pairs[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [j]
        top_pairs[pile : pile + 1] = [number]
    series = []
    at = top_pairs[-1] if top_pairs else -1
    while at >= 0:
        series.append(pairs[at])
        at = before[at]
    return series[::-1]


def _runs(items: Sequence[int], run: int) -> Sequence[int | tuple[int, ...]]:
    return items if run == 1 else list(zip(*(items[k:] for k in range(run))))


def _spans(tokens: Sequence[str], common: Sequence[tuple[int, int]]) -> Spans:
    spans: Spans = []
    at = 0
    for start, count in [*common, (len(tokens), 0)]:
        spans += [("".join(tokens[at:start]), True), ("".join(tokens[start : start + count]), False)]
        at = start + count
    return [span for span in spans if span[0]]


Change = tuple[int, int, int, int, Spans, Spans]


def _hunks(a: Sequence[str], b: Sequence[str], changes: Sequence[Change]) -> list[Hunk]:
    """Changes with `CONTEXT` units around them; those whose contexts touch are one hunk."""
    hunks: list[Hunk] = []
    line_a = line_b = 1  # line numbers at units `at_a` and `at_b`
    at_a = at_b = 0
    for number, (a_low, a_high, b_low, _, minus, plus) in enumerate(changes):
        previous_end = changes[number - 1][1] if number else 0
        following = changes[number + 1][0] if number + 1 < len(changes) else len(a)
        joins = number > 0 and a_low - previous_end <= 2 * CONTEXT
        start = previous_end if joins else max(previous_end, a_low - CONTEXT)
        skipped = b_low - (a_low - start)
        line_a += sum(unit.endswith("\n") for unit in a[at_a:start])
        line_b += sum(unit.endswith("\n") for unit in b[at_b:skipped])
        at_a, at_b = start, skipped
        lines = [*as_lines(" ", [("".join(a[start:a_low]), False)]), *as_lines("-", minus), *as_lines("+", plus)]
        if following - a_high > 2 * CONTEXT or number + 1 == len(changes):
            lines += as_lines(" ", [("".join(a[a_high : min(following, a_high + CONTEXT)]), False)])
        if joins:
            hunks[-1].lines.extend(lines)
        else:
            hunks.append(Hunk(line_a, line_b, lines))
    return hunks


def as_lines(mark: str, spans: Spans) -> list[Line]:
    """Spans cut at line ends; of these only a carriage return that is itself changed stays as a span."""
    lines: list[Line] = []
    current: Spans = []
    for text, changed in spans:
        for piece in text.splitlines(keepends=True):
            body = piece.rstrip("\r\n")
            if body:
                current.append((body, changed))
            if changed and "\r" in piece[len(body) :]:
                current.append(("\r", True))
            if len(body) < len(piece):
                lines.append(Line(mark, current))
                current = []
    return [*lines, Line(mark, current)] if current else lines
