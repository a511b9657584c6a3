"""Lines that rules remove and phrases that they cut, over the UTF-8 bytes of many documents.

    edit(data, offsets, scope, rules) -> text bytes, offsets, counts

A line is what stands between two U+000A; it is judged without the white space at its ends and kept with it. The rules
are tried in order on each line as those before left it: a limit on a measure of `line_rules` removes the line, an edit
cuts something out of it and removes it if nothing is left. Lines that stay are the same bytes in the same order. Where
lines were removed between two that stay, of the blank lines there the first run stays, and none at the ends of the
text; the text ends with a new line if it did. White space that a cut leaves at an end of its line goes with it. A text
of which no line would stay is left as it was, for who drops it to show.

It knows neither documents' languages nor what a rule is called: `scope` says which rules a document is asked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gristmill.kernels.text import line_rules, utf8
from gristmill.kernels.text.line_cuts import cut, may_cut
from gristmill.kernels.text.line_rules import (
    CHARACTERS,
    COUNTER,
    DIGITS,
    EDITS,
    LONGEST,
    MEASURES,
    SCANNED,
    UPPERCASE,
    WORDS,
)
from gristmill.kernels.text.line_scan import measure_line
from gristmill.kernels.text.uncounted import inlined, uncounted

LONG_LINE = 200
"""Characters. Xue et al. 2021 (mT5), section 3.1: "at least three lines of text with 200 or more characters"."""

COUNTS = (
    *("lines", "lines_removed", "lines_edited", "words", "words_kept", "words_flagged", "long_lines"),
    *(f"lines_removed_by_{name}" for name in (*MEASURES, *EDITS)),
)
"""Columns of `edit`'s counts. Lines are those that hold more than white space; words before and after; long_lines:
lines that stay and have at least `LONG_LINE` characters."""

BLANK_KEPT, KEPT, BLANK_REMOVED, EDITED = -1, -2, -3, -100
"""Fates of a line, beside the number of the rule that removed it: EDITED - k was cut by rule k, and stays."""

_FIRST_EDIT = len(MEASURES)
_LINES, _REMOVED, _EDITED, _WORDS, _WORDS_KEPT, _FLAGGED, _LONG, _BY = range(8)
_MAX_RULES = 64
"""Bits of `scope`."""


class Rules(NamedTuple):
    """In the order in which they are tried; arrays of equal length, at most 64."""

    measure: np.ndarray  # int64: index in (*MEASURES, *EDITS)
    minimum: np.ndarray  # float64, -inf: none
    maximum: np.ndarray  # float64, inf: none; of an edit inf: nothing is cut
    flagging: np.ndarray  # bool: words that it removes count as `words_flagged`


def edit(
    data: np.ndarray, offsets: np.ndarray, scope: np.ndarray, rules: Rules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every document without the lines that its rules remove.

    data: (bytes,) uint8, valid UTF-8. offsets: (rows + 1,) int64, ascending. scope: (rows,) uint64, bit k: rule k is
    asked of the document. Returns (bytes,) uint8, (rows + 1,) int64 from 0, and (rows, len(COUNTS)) int64. A document
    with an empty scope is as it was and has the counts 0; one whose lines are all removed is as it was. ValueError for
    more than 64 rules.
    """
    out, ends, counts, _ = _run(data, offsets, scope, rules, np.zeros(0, np.int32))
    return out[: ends[-1]], ends, counts


def fates(data: np.ndarray, scope: int, rules: Rules) -> np.ndarray:
    """(lines,) int32: what became of each line of one document, see `KEPT`. Lines as by splitting at U+000A."""
    found = np.full(int(np.count_nonzero(data == 10)) + 1, BLANK_KEPT, np.int32)
    if len(data):
        _run(data, np.array([0, len(data)]), np.array([scope], np.uint64), rules, found)
    return found


def _run(
    data: np.ndarray, offsets: np.ndarray, scope: np.ndarray, rules: Rules, found: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if len(rules.measure) > _MAX_RULES:
        raise ValueError(f"lines: {len(rules.measure)} rules: at most {_MAX_RULES} can be asked at once")
    table = line_rules.table()
    data, offsets = _frozen(data), _frozen(offsets)
    size = int(offsets[-1] - offsets[0]) if len(offsets) > 1 else 0
    longest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    out, room = np.empty(size, np.uint8), np.empty(longest, np.uint8)  # what is not written takes no memory
    ends, counts = np.zeros(max(1, len(offsets)), np.int64), np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    scratch = np.zeros(SCANNED, np.int64), np.zeros(_MAX_RULES, np.int64)
    _edit(
        *(data, offsets, scope, *rules, *table, out, room, _frozen(room), ends, counts, found),
        *scratch,
    )
    return out, ends, counts, found


def _frozen(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written, as Arrow's buffers cannot: the kernel is compiled for these alone."""
    view = array.view()
    view.flags.writeable = False
    return view


@uncounted
def _edit(
    data,
    offsets,
    scope,
    measure,
    minimum,
    maximum,
    flagging,
    blocks,
    classes,
    flags,
    out,
    room,
    line,
    ends,
    counts,
    found,
    scanned,
    asked,
):
    limits, table = (measure, minimum, maximum, flagging), (blocks, classes, flags)
    to = 0
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        many = 0
        for k in range(len(measure)):
            if scope[row] >> np.uint64(k) & np.uint64(1):
                asked[many] = k
                many += 1
        c = counts[row]
        start = to
        source = kept_to = begin  # bytes that stay and are not written yet: up to the last line that stays
        blank_begin = blank_end = begin  # the first run of blank lines behind them
        blank_first = blank_last = number = 0  # the lines of that run, and the line at hand
        removed = False  # a line behind them was removed
        i = begin
        while i < end and many:
            stop = i
            while stop < end and data[stop] != 10:
                stop += 1
            behind = min(stop + 1, end)
            first, last = _trimmed(data, i, stop, blocks, classes, flags)
            if first == last:
                if blank_begin == blank_end:
                    blank_begin, blank_first = i, number
                    blank_end, blank_last = behind, number + 1
                elif blank_end == i:
                    blank_end, blank_last = behind, number + 1
                _mark(found, number, number + 1, BLANK_REMOVED)
                number += 1
                i = behind
                continue
            measure_line(data, first, last, blocks, classes, flags, scanned)
            c[_LINES] += 1
            c[_WORDS] += scanned[WORDS]
            rule = cut_by = -1
            cut_begin, size = 0, last - first
            for n in range(many):
                k = asked[n]
                m = measure[k]
                if m >= _FIRST_EDIT:
                    if maximum[k] == np.inf or not may_cut(data, first, last, m - _FIRST_EDIT, scanned):
                        continue
                    _copy(data, first, last, room, 0)
                    rule, cut_by, cut_begin, size, flagged = _judge_edited(
                        room, line, size, asked[n:many], limits, table, scanned
                    )
                    c[_FLAGGED] += flagged
                    break
                if m == LONGEST:
                    asks = minimum[k] > 1 or line_rules.may_be_longer(data, first, last, maximum[k])
                else:
                    asks = m == COUNTER and scanned[DIGITS] > 0
                if asks:
                    fails = _fails(data, first, last, m, minimum[k], maximum[k], blocks, classes, flags, scanned)
                else:
                    value = np.float64(scanned[m])
                    if m in (UPPERCASE, DIGITS):
                        value /= scanned[CHARACTERS]
                    fails = value < minimum[k] or value > maximum[k]
                if fails:
                    rule = k
                    c[_FLAGGED] += scanned[WORDS] if flagging[k] else 0
                    break
            if rule >= 0:
                removed = True
                c[_REMOVED] += 1
                c[_BY + measure[rule]] += 1
                _mark(found, number, number + 1, rule)
            else:
                c[_WORDS_KEPT] += scanned[WORDS]
                c[_LONG] += scanned[CHARACTERS] >= LONG_LINE
                if removed:
                    to = _copy(data, source, kept_to, out, to)
                    if to == start:
                        blank_end = blank_begin
                    to = _copy(data, blank_begin, blank_end, out, to)
                    source = i
                if blank_end > blank_begin:
                    _mark(found, blank_first, blank_last, BLANK_KEPT)
                if cut_by >= 0:
                    c[_EDITED] += 1
                    to = _copy(data, source, first, out, to)
                    to = _copy(room, cut_begin, size, out, to)
                    source = last
                _mark(found, number, number + 1, KEPT if cut_by < 0 else EDITED - cut_by)
                kept_to = blank_begin = blank_end = behind
                removed = False
            number += 1
            i = behind
        to = _copy(data, source, kept_to if removed else end, out, to)
        if removed:
            if to > start and data[end - 1] != 10:  # the last line had no new line, so neither has the one now last
                to -= 1
                if to > start and out[to - 1] == 13:
                    to -= 1
        elif blank_end > blank_begin:
            _mark(found, blank_first, blank_last, BLANK_KEPT)
        if c[_LINES] > 0 and c[_REMOVED] == c[_LINES]:
            to = _copy(data, begin, end, out, start)
        ends[row + 1] = to


@uncounted
def _judge_edited(room, line, size, asked, limits, table, scanned):
    """The rules `asked` of a copy of a line, which they cut: (rule that removes it or -1, last rule that cut it or -1,
    where it begins and ends, words that flagging rules removed). line: `room`, as what is only read."""
    measure, minimum, maximum, flagging = limits
    blocks, classes, flags = table
    cut_by = -1
    begin = flagged = 0
    for k in asked:
        m = measure[k]
        before = scanned[WORDS]
        if m < _FIRST_EDIT:
            if _fails(line, begin, size, m, minimum[k], maximum[k], blocks, classes, flags, scanned):
                return k, -1, begin, size, flagged + (before if flagging[k] else 0)
        elif maximum[k] != np.inf and may_cut(line, begin, size, m - _FIRST_EDIT, scanned):
            now = cut(room, begin, size, m - _FIRST_EDIT, blocks, classes, flags)
            if now < size:
                cut_by = k
                begin, size = _trimmed(line, begin, now, blocks, classes, flags)
                if begin == size:
                    return k, -1, begin, size, flagged + (before if flagging[k] else 0)
                measure_line(line, begin, size, blocks, classes, flags, scanned)
                flagged += before - scanned[WORDS] if flagging[k] else 0
    return -1, cut_by, begin, size, flagged


@uncounted
def _fails(data, first, last, m, minimum, maximum, blocks, classes, flags, scanned):
    if m == LONGEST:
        scanned[LONGEST] = line_rules.longest_word(data, first, last, blocks, classes, flags)
    value = np.float64(scanned[m])
    if m in (UPPERCASE, DIGITS):
        value /= scanned[CHARACTERS]
    elif m == COUNTER:
        value = np.float64(line_rules.is_counter(data, first, last, blocks, classes, flags))
    return value < minimum or value > maximum


@inlined
def _copy(data, begin, end, out, to):
    first, place = np.uint64(begin), np.uint64(to)  # unsigned, or an index could count from the end
    for b in range(np.uint64(end - begin)):
        out[place + b] = data[first + b]
    return to + end - begin


@uncounted
def _trimmed(data, begin, end, blocks, classes, flags):
    """(first, last) of bytes begin .. end without the white space at both ends; equal where there is nothing else."""
    while begin < end:
        if 32 < data[begin] < 128:
            break
        code, width = utf8.decode(data, begin, end)
        if not flags[classes[blocks[code >> 8], code & 255]] & utf8.SPACE:
            break
        begin += width
    while begin < end:
        if 32 < data[end - 1] < 128:
            break
        at = end - 1
        while at > begin and data[at] & 0xC0 == 0x80 and end - at < 4:
            at -= 1
        code, _ = utf8.decode(data, at, end)
        if not flags[classes[blocks[code >> 8], code & 255]] & utf8.SPACE:
            break
        end = at
    return begin, end


@inlined
def _mark(found, first, last, fate):
    for k in range(first, min(last, len(found))):
        found[k] = fate
