"""What datatrove's C4 quality filter does with each line of a text, and how many sentences it keeps.

    line_decisions(data, begin, end)     `KEPT` or why not, for each line of str.splitlines
    c4(...)                              the same within a kernel, with what its decision on the document needs

A line is stripped; a word over 1,000 characters drops it; citations are removed; it must then end in . ? ! " or ' but
not in "..."; it must have had three words; "lorem ipsum" and "{" drop the document, "javascript" and the policy phrases
the line. Letters are lower-cased in ASCII alone.
"""

from __future__ import annotations

import functools

import numpy as np

from gristmill.kernels.text import phrases, tokens, utf8
from gristmill.kernels.text.uncounted import uncounted

KEPT, LONG_WORD, UNENDED, FEW_WORDS, LOREM_IPSUM, JAVASCRIPT, CURLY, POLICY = range(8)
"""What C4 does with a line: keeps it, or drops it for the first of these; 4 and 6 drop the document."""

BREAK, SYMBOL, STOP = 1 << 15, 1 << 5, 1 << 14  # beside `tokens`' SPACE, ALPHA and DIGIT
_LONG_WORD, _FEW_WORDS = 1000, 3  # C4QualityFilter
_EDIT = np.frombuffer(b"[edit]", np.uint8)
_CITATION = np.frombuffer(b"[citation needed]", np.uint8)


@functools.cache
def kinds() -> np.ndarray:
    """(0x110000,) uint16: SPACE, ALPHA and DIGIT of `tokens`; BREAK: ends a line for str.splitlines; SYMBOL and STOP:
    datatrove's PUNCTUATION_SET and TERMINAL_PUNCTUATION."""
    out = tokens.kinds() & np.uint16(tokens.SPACE | tokens.ALPHA | tokens.DIGIT)
    stops = utf8.TERMINAL_MARKS - set("…;׃෴།༎") | set("៖៙៚")
    controls = [*range(9), *range(11, 32), *range(127, 160)]
    symbols = "«´»–—’“”„…∶━►、。〈〉《》「」【】！％（），．１：；？～"
    ascii_symbols = [code for code in range(33, 127) if not chr(code).isalnum()]
    out[[*controls, *ascii_symbols, *map(ord, symbols), *map(ord, stops)]] |= SYMBOL
    out[[ord(c) for c in stops]] |= STOP
    out[[10, 11, 12, 13, 28, 29, 30, 0x85, 0x2028, 0x2029]] |= BREAK
    return out


def line_decisions(data: np.ndarray, begin: int, end: int) -> list[int]:
    """What C4 does with each line of data[begin:end]: `KEPT` or why not."""
    longest = end - begin
    scratch, joined = np.empty((6, 2 * longest + 2), np.int64), np.empty(2 * longest + 2, np.uint8)
    decisions = np.zeros(longest + 1, np.int64)
    lines, *_ = c4(data, begin, end, decisions, 0, False, kinds(), tokens.kinds(), scratch, joined, decisions)
    return [int(value) for value in decisions[:lines]]


@uncounted
def c4(data, begin, end, sentences, first, given, kinds, cuts, scratch, line, decisions):
    """(lines, sentences of kept lines, lines with lorem ipsum, lines with a curly bracket) of data[begin:end].

    sentences: of line k of the document at first + k, if given. scratch: (4, >= bytes + 2) int64; line: (bytes,) uint8,
    for a line without citations. decisions: (lines,), filled unless it is empty.
    """
    at, k, kept, lorem_ipsum, curly = begin, 0, 0, 0, 0
    while at < end:
        stop, after = line_end(data, at, end, kinds)
        low, high = stripped(data, at, stop, kinds)
        decision, size = _line_decision(data, low, high, kinds, line)
        lorem_ipsum += decision == LOREM_IPSUM
        curly += decision == CURLY
        if decision == KEPT:
            if given:
                kept += sentences[first + k]
            else:
                n = tokens.split(line, 0, size, cuts, scratch[0], scratch[1], scratch[2], scratch[3])
                kept += tokens.sentences(line, scratch[2], scratch[3], n, cuts)
        if len(decisions):
            decisions[k] = decision
        k += 1
        at = after
    return k, kept, lorem_ipsum, curly


@uncounted
def _line_decision(data, begin, end, kinds, line):
    """(what C4 does with the line, bytes of it without citations, which are written to `line`)."""
    words = length = 0
    i = begin
    while i < end:
        code, width = utf8.decode(data, i, end)
        if kinds[code] & tokens.SPACE:
            length = 0
        else:
            words += length == 0
            length += 1
            if length > _LONG_WORD:
                return LONG_WORD, 0
        i += width
    size, i = 0, begin
    while i < end:
        cut = _citation(data, i, end, kinds) if data[i] == 91 else 0
        if cut == 0:
            line[size] = data[i]
            size += 1
        i += max(cut, 1)
    last = line[size - 1] if size else 0
    if not (last == 46 or last == 63 or last == 33 or last == 34 or last == 39) or three_dots(line, 0, size):
        return UNENDED, size
    if words < _FEW_WORDS:
        return FEW_WORDS, size
    found = 0
    for i in range(size):
        found |= 1 << (phrases.phrase_at(line, i, 0, size) + 1)
        found |= (1 << 31) * (line[i] == 123)
    if found >> (phrases.LOREM_IPSUM + 1) & 1:
        return LOREM_IPSUM, size
    if found >> (phrases.JAVASCRIPT + 1) & 1:
        return JAVASCRIPT, size
    if found >> 31:
        return CURLY, size
    return (POLICY if found >> 1 & ((1 << phrases.POLICY) - 1) else KEPT), size


@uncounted
def _citation(data, at, end, kinds):
    """Bytes of a citation that begins with the "[" at `at`: [12], [], [edit] or [citation needed]; 0 if none does."""
    for mark in (_EDIT, _CITATION):
        k = 0
        while k < len(mark) and at + k < end and data[at + k] == mark[k]:
            k += 1
        if k == len(mark):
            return k
    i = at + 1
    while i < end:
        code, width = utf8.decode(data, i, end)
        if code == 93:
            return i + 1 - at
        if not kinds[code] & tokens.DIGIT:
            return 0
        i += width
    return 0


@uncounted
def stripped(data, begin, end, kinds):
    """(begin, end) without the white space at both ends."""
    while begin < end:
        code, width = utf8.decode(data, begin, end)
        if not kinds[code] & tokens.SPACE:
            break
        begin += width
    while begin < end:
        code, start = last_character(data, begin, end)
        if not kinds[code] & tokens.SPACE:
            break
        end = start
    return begin, end


@uncounted
def last_character(data, begin, end):
    """(code point, place) of the last character of data[begin:end]; (0, begin) where there is none."""
    start = end - 1
    while start > begin and data[start] & 0xC0 == 0x80:
        start -= 1
    if begin == end:
        return 0, begin
    return utf8.decode(data, start, end)[0], start


@uncounted
def line_end(data, begin, end, kinds):
    """(end, begin of the next) of the line of str.splitlines that begins at `begin`."""
    i = begin
    while i < end:
        code, width = utf8.decode(data, i, end)
        if kinds[code] & BREAK:
            return i, i + width + (code == 13 and i + 1 < end and data[i + 1] == 10)
        i += width
    return end, end


@uncounted
def three_dots(data, begin, end):
    return end - begin > 2 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
