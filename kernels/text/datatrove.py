"""What datatrove's filters measure, with its quirks, from a text's bytes and the spans of its words.

    count(data, offsets, words=None, line_sentences=None) -> (rows, len(COUNTS)) int64

For the four filters Gopher quality, Gopher repetition, FineWeb quality and C4 quality of datatrove 0.10.1, whose
decisions `stages.presets.datatrove` repeats from these counts. The quirks, beside units of their own for each filter:

    an n-gram's key is its words, joined by a space for the top n-gram, by nothing for duplicate ones
    the top n-gram is the most frequent one, the first of those, even if it occurs once; all its occurrences count whole
    a duplicate n-gram counts once, with all its characters, and the search goes on n words further
    mean word length is that of words that are not all punctuation; "１" is punctuation
    lines of Gopher's quality are those of str.splitlines, of its repetition runs without U+000A, of FineWeb unstripped
    C4 counts a line's words before it removes citations and its end mark after that

It decides nothing, and it does not lower-case other letters than ASCII ones.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from gristmill.kernels.text import repetition, tokens, utf8
from gristmill.kernels.text.datatrove_c4 import STOP, SYMBOL, c4, last_character, line_end, stripped, three_dots
from gristmill.kernels.text.datatrove_c4 import kinds as datatrove_kinds
from gristmill.kernels.text.uncounted import uncounted
from gristmill.kernels.text.wide import hash_of, span_hash

COUNTS = (
    *("characters", "words", "real_words", "real_word_characters", "hashes", "ellipses", "lines", "bullet_lines"),
    *("ellipsis_lines", "alpha_words", "stop_words"),
    *("paragraphs", "duplicate_paragraphs", "duplicate_paragraph_characters", "runs", "duplicate_runs"),
    "duplicate_run_characters",
    *(f"top_{n}_gram_characters" for n in repetition.TOP_GRAMS),
    *(f"duplicate_{n}_gram_characters" for n in repetition.DUPLICATE_GRAMS),
    *("full_lines", "ended_lines", "short_lines", "duplicate_full_line_characters", "line_characters", "line_breaks"),
    *("sentences", "lorem_ipsum_lines", "curly_lines"),
)
"""Columns of `count`: Gopher quality's, Gopher repetition's ("runs" are its lines), FineWeb's, C4's.

line_characters: characters but U+000A. sentences, lorem_ipsum_lines, curly_lines: of the lines that C4 keeps, and those
for which it drops the document.
"""

AT: Any = namedtuple("AT", COUNTS)(*range(len(COUNTS)))

_SHORT_LINE = 30  # FineWebQualityFilter

_STOP_HASHES = np.array(
    [hash_of(w.encode()) for w in ("the", "be", "to", "of", "and", "that", "have", "with")], np.uint64
)


def count(
    data: np.ndarray,
    offsets: np.ndarray,
    words: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    line_sentences: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Counts per document.

    data: (bytes,) uint8, valid UTF-8. offsets: (rows + 1,) int64, ascending. words: (starts, ends, offsets), all int64:
    the words of row r are data[starts[k]:ends[k]] for offsets[r] <= k < offsets[r + 1], ascending, without overlap;
    where it is None, `tokens.split` gives them. line_sentences: (counts, offsets), int64: sentences of each line of
    str.splitlines, as C4 reads it, stripped and without citations; where it is None, `tokens.sentences` counts them.
    Returns (rows, len(COUNTS)) int64.
    """
    out = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64)
    if len(offsets) < 2:
        return out
    longest = int(np.diff(offsets).max())
    scratch = np.empty((6, 2 * longest + 2), np.int64)
    joined = np.empty((2, 2 * longest + 2), np.uint8)
    given = words if words is not None else (np.zeros(0, np.int64),) * 3
    sentences = line_sentences if line_sentences is not None else (np.zeros(0, np.int64),) * 2
    table = repetition.table(longest + 2)
    _count(out, data, offsets, *given, *sentences, datatrove_kinds(), tokens.kinds(), scratch, joined, table)
    return out


@uncounted
def _count(
    out, data, offsets, starts, ends, word_offsets, sentences, line_offsets, kinds, cuts, scratch, joined, table
):
    decisions = scratch[4, :0]
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        c = out[row]
        if len(word_offsets):
            first, n = word_offsets[row], word_offsets[row + 1] - word_offsets[row]
            own_starts, own_ends = starts[first : first + n], ends[first : first + n]
        else:
            n = tokens.split(data, begin, end, cuts, scratch[0], scratch[1], scratch[2], scratch[3])
            own_starts, own_ends = scratch[2, :n], scratch[3, :n]
        _words(c, data, own_starts, own_ends, kinds)
        _grams(c, data, own_starts, own_ends, scratch[4], scratch[5], joined, table)
        _characters(c, data, begin, end, kinds)
        _lines(c, data, begin, end, kinds)
        _repeated(c, data, begin, end, kinds, table)
        given = len(line_offsets) > 0
        at = line_offsets[row] if given else 0
        found = c4(data, begin, end, sentences, at, given, kinds, cuts, scratch, joined[0], decisions)
        _, c[AT.sentences], c[AT.lorem_ipsum_lines], c[AT.curly_lines] = found


@uncounted
def _words(c, data, starts, ends, kinds):
    stop_words = 0
    for k in range(len(starts)):
        length, kind, real = 0, 0, False
        i = starts[k]
        while i < ends[k]:
            code, width = utf8.decode(data, i, ends[k])
            kind |= kinds[code]
            real |= kinds[code] & SYMBOL == 0
            length += 1
            i += width
        c[AT.alpha_words] += kind & tokens.ALPHA != 0
        c[AT.real_words] += real
        c[AT.real_word_characters] += length * real
        if 2 <= ends[k] - starts[k] <= 4:
            hashed = span_hash(data, starts[k], ends[k])
            for s in range(len(_STOP_HASHES)):
                if hashed == _STOP_HASHES[s]:
                    stop_words |= 1 << s
    c[AT.words] = len(starts)
    while stop_words:
        stop_words &= stop_words - 1
        c[AT.stop_words] += 1


@uncounted
def _grams(c, data, starts, ends, places, lengths, joined, table):
    """joined: (2, bytes + words) uint8, filled with the words one after another, and so with a space after each.

    places: of the words in the former; in the latter word k begins k bytes further. lengths: characters before word k.
    """
    n = len(starts)
    at = 0
    lengths[0] = 0
    for k in range(n):
        places[k] = at
        length = 0
        for i in range(starts[k], ends[k]):
            joined[0, at] = data[i]
            joined[1, at + k] = data[i]
            length += data[i] & 0xC0 != 0x80
            at += 1
        joined[1, at + k] = 32
        lengths[k + 1] = lengths[k] + length
    places[n] = at
    counts, firsts = lengths[n + 1 :], places[n + 1 :]
    for g in range(2, 5):
        repetition.clear(table)
        for k in range(n - g + 1):
            before = table.state[2]
            number = repetition.number(span_hash(joined[1], places[k] + k, places[k + g] + k + g - 1), table)
            if number == before:
                counts[number], firsts[number] = 0, k
            counts[number] += 1
        top = 0
        for number in range(table.state[2]):
            if counts[number] > counts[top]:
                top = number
        if n >= g:
            k = firsts[top]
            c[AT.top_2_gram_characters + g - 2] = (lengths[k + g] - lengths[k] + g - 1) * counts[top]
    for g in range(5, 11):
        repetition.clear(table)
        k = 0
        while k < n - g + 1:
            before = table.state[2]
            repetition.number(span_hash(joined[0], places[k], places[k + g]), table)
            if table.state[2] == before:
                c[AT.duplicate_5_gram_characters + g - 5] += lengths[k + g] - lengths[k]
                k += g
            else:
                k += 1


@uncounted
def _characters(c, data, begin, end, kinds):
    dots_end = i = begin
    while i < end:
        code, width = utf8.decode(data, i, end)
        c[AT.characters] += 1
        c[AT.hashes] += code == 35
        c[AT.line_breaks] += code == 10
        c[AT.ellipses] += code == 0x2026
        if code == 46 and i >= dots_end and i + 2 < end and data[i + 1] == 46 and data[i + 2] == 46:
            c[AT.ellipses] += 1
            dots_end = i + 3
        i += width
    c[AT.line_characters] = c[AT.characters] - c[AT.line_breaks]


@uncounted
def _lines(c, data, begin, end, kinds):
    at = begin
    while at < end:
        stop, after = line_end(data, at, end, kinds)
        low, high = stripped(data, at, stop, kinds)
        if low < high:
            code, _ = utf8.decode(data, low, high)
            c[AT.bullet_lines] += code == 0x2022 or code == 45
            c[AT.ellipsis_lines] += last_character(data, low, high)[0] == 0x2026 or three_dots(data, low, high)
        c[AT.lines] += 1
        at = after


@uncounted
def _length(data, begin, end):
    length = 0
    for i in range(begin, end):
        length += data[i] & 0xC0 != 0x80
    return length


@uncounted
def _repeated(c, data, begin, end, kinds, table):
    """Paragraphs, runs without a line break, and lines that hold more than white space."""
    low, high = stripped(data, begin, end, kinds)
    _split_at_breaks(c, data, low, high, 2, AT.paragraphs, table)
    _split_at_breaks(c, data, begin, end, 1, AT.runs, table)
    repetition.clear(table)
    at = begin
    while at <= end:
        stop = at
        while stop < end and data[stop] != 10:
            stop += 1
        low, high = stripped(data, at, stop, kinds)
        if low < high:
            length = _length(data, at, stop)
            c[AT.full_lines] += 1
            c[AT.ended_lines] += kinds[last_character(data, at, stop)[0]] & STOP != 0
            c[AT.short_lines] += length <= _SHORT_LINE
            before = table.state[2]
            repetition.number(span_hash(data, at, stop), table)
            c[AT.duplicate_full_line_characters] += length * (table.state[2] == before)
        at = stop + 1


@uncounted
def _split_at_breaks(c, data, begin, end, least, column, table):
    """Pieces between `least` or more U+000A in a row: their number, the repeated ones, and characters of these."""
    repetition.clear(table)
    at = i = begin
    while True:
        breaks = 0
        while i + breaks < end and data[i + breaks] == 10:
            breaks += 1
        if breaks < least and i < end:
            i += max(breaks, 1)
            continue
        before = table.state[2]
        repetition.number(span_hash(data, at, i), table)
        c[column] += 1
        if table.state[2] == before:
            c[column + 1] += 1
            c[column + 2] += _length(data, at, i)
        if i == end:
            return
        i += breaks
        at = i
