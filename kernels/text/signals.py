"""Every count that the rules need, from one pass over a document's UTF-8 bytes.

    count(data, offsets) -> (rows, len(COUNTS)) int64

Runs of ASCII letters are taken eight bytes at a time, with the flags that `utf8` gives to letters of their case
(`counts.letter_classes`); other code points are classed by `utf8.table`, and what depends on single characters is a
histogram of classes. Where words, lines and paragraphs end they are hashed (`wide`), and
`repetition` tells what recurs. Units:

    word       see `utf8`: a run without white space, or one letter of a script written without spaces
    line       what stands between U+000A, white space at both ends removed (so CRLF is a line end); not blank
    paragraph  a run of lines without a blank line between, joined by one new line each
    sentence   words of one line with a letter or digit among them, up to the first that ends in a sentence's end mark
               (Unicode Sentence_Terminal, "…", ":" after Armenian, ";" after Greek) or in one and quotes or closing
               brackets after it, or to the end of the line. A full stop or "…" does not end one before a word that
               starts with a lower-case letter, nor after a single letter. In scripts without a full stop (Thai, Lao)
               white space ends one.

A signal is a ratio of two counts: that is `stages.signals`. Units are compared as they are: nothing is lower-cased.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np

from gristmill.kernels.text import phrases, repetition, utf8
from gristmill.kernels.text.counts import (
    ANCHOR,
    AT,
    COLON,
    COUNTS,
    DOT,
    SOFT_END,
    STOP_WORDS,
    byte_classes,
    count_stop_words,
    end_line,
    end_of_url,
    end_word,
    letter_classes,
    sentence_end,
    sum_classes,
    word_weight,
)
from gristmill.kernels.text.uncounted import inlined, uncounted
from gristmill.kernels.text.wide import byte_mask, capitals, fold, letter_run, load8, ones, span_hash, trailing_zeros

__all__ = ["AT", "COUNTS", "STOP_WORDS", "count"]

_MORE = COLON | DOT | ANCHOR
_RUN = 8
_BASIS, _SECOND, _THIRD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xA0761D6478BD642F), np.uint64(0x8EBC6AF09C88C6E3)
_A1, _A2, _A3, _A4 = (int(byte) for byte in phrases.ANCHORS)
MAX_BYTES = 1 << 31


def count(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Counts per document.

    data: (bytes,) uint8, valid UTF-8 (a broken byte counts as U+FFFD). offsets: (rows + 1,) int64, ascending.
    Returns (rows, len(COUNTS)) int64. A document of 2 GiB or more is an error.

    Scratch is up to 20 bytes a word and 24 a distinct word, line, sentence and paragraph of the longest document.
    """
    if len(offsets) < 2:
        return np.zeros((0, len(COUNTS)), np.int64)
    longest = int(np.diff(offsets).max())
    if longest >= MAX_BYTES:
        raise ValueError(f"signals: a document has {longest} bytes: cut documents below 2 GiB (max_document_bytes)")
    most = longest // 2 + 1  # words, lines and paragraphs: each takes two bytes, but for the last
    table = utf8.table()
    classes, flags = byte_classes(table)
    out, seen = np.zeros((len(offsets) - 1, len(COUNTS)), np.int64), np.zeros(len(flags), np.int64)
    _count(out, seen, data, offsets, table.blocks, classes, flags, *letter_classes(classes, flags), *_room(most))
    return out


_held = threading.local()
_HELD_WORDS = 1 << 20
"""Up to so many words' room is held from call to call, 120 MB at most: new pages take a tenth of a batch's time."""


def _room(most: int) -> tuple[Any, ...]:
    """Scratch and tables for documents of at most `most` words. Of what is made here only the pages that are written
    become memory."""
    held = getattr(_held, "room", None)
    if held is not None and len(held[1]) > most and all(t.state[0] < 1 << 30 for t in held[2:]):
        return cast(tuple[Any, ...], held)
    most = max(most, _HELD_WORDS)
    scratch, before = np.empty((repetition.SCRATCH, most), np.int32), np.zeros(most + 1, np.int32)
    room = (scratch, before, *(repetition.table(most) for _ in range(4)))
    if most == _HELD_WORDS:
        _held.room = room
    return room


@uncounted
def _count(
    out,
    seen,
    data,
    offsets,
    blocks,
    classes,
    flags,
    capital,
    small,
    scratch,
    before,
    word_table,
    line_table,
    part_table,
    span_table,
):
    # Scratch comes from outside, so that Numba can do without counting references (_nrt), which took half of the time.
    rows = len(offsets) - 1
    words = scratch[0]
    capital_flags, small_flags = flags[capital], flags[small]
    for row in range(rows):
        begin, end = offsets[row], offsets[row + 1]
        if begin == end:
            continue
        c = out[row]
        seen[:] = 0
        n_words, n_lines, n_parts, n_sentences, characters = 0, 0, 0, 0, 0
        n_letters, n_capitals = 0, 0  # of the runs
        word_length, word_begin, word_flags, word_signs, unspaced = 0, begin, 0, 0, False
        line_open, line_begin, line_end, line_first, line_last, line_weight = False, begin, begin, 0, 0, 0
        line_from, line_to, part_length, part_hash = 0, 0, 0, _BASIS  # in characters
        sentence_begin, sentence_flags, pending = begin, 0, 0
        before_last, last_sentence = _BASIS, _BASIS
        policy, notice, script = False, False, False
        dots_end, url_end = begin, begin
        f = 0
        i = begin
        while i <= end:
            if i + _RUN <= end and (not unspaced if word_length else line_open and not pending):
                x = load8(data, i)
                run = letter_run(x)
                if run:
                    if word_length == 0:
                        word_begin, word_flags, word_signs, unspaced = i, 0, 0, False
                    found = byte_mask(x, _A1) | byte_mask(x, _A2) | byte_mask(x, _A3) | byte_mask(x, _A4)
                    while found:
                        at = trailing_zeros(found) >> 3
                        if at >= run:
                            break
                        phrase = phrases.phrase_at(data, i + at, begin, end)
                        if phrase >= 0:
                            notice |= phrase < phrases.NOTICES
                            policy |= phrase < phrases.POLICY
                            script |= phrase == phrases.JAVASCRIPT
                            c[AT.lorem_ipsum] += phrase == phrases.LOREM_IPSUM
                        found &= found - np.uint64(1)
                    word_length += run
                    characters += run
                    i += run
                    large = capitals(x, run)
                    n_large = ones(large)
                    n_letters += run
                    n_capitals += n_large
                    word_flags |= (capital_flags if large else 0) | (small_flags if n_large < run else 0)
                    f = capital_flags if np.int64(large) < 0 else small_flags
                    if run == _RUN:
                        continue
            last = f
            if i == end:  # after the last byte stands a new line that is not counted
                width, f = 1, utf8.SPACE | utf8.NEWLINE
            else:
                code, width = np.int64(data[i]), 1
                if code < 0x80:
                    k = classes[0, code]
                else:
                    code, width = utf8.decode(data, i, end)
                    k = classes[blocks[code >> 8], code & 255]
                seen[k] += 1
                f = flags[k]

            if word_length and (f & (utf8.SPACE | utf8.UNSPACED) or (unspaced and f & utf8.ALNUM)):
                word_hash = span_hash(data, word_begin, i)
                words[n_words] = repetition.number(word_hash, word_table)
                before[n_words + 1] = before[n_words] + word_length
                n_words += 1
                end_word(c, word_hash, word_length, word_flags, word_signs)
                line_weight += word_weight(word_flags)
                sentence_flags |= word_flags
                pending = f & utf8.SPACE and word_flags & utf8.UNSTOPPED
                if not last & utf8.ALNUM:
                    pending |= sentence_end(data, word_begin, i, blocks, classes, flags)
                line_end, line_to, line_last = i, characters, last
                word_length = 0

            if not f & utf8.SPACE:
                if word_length == 0:
                    if not line_open:
                        line_open, line_begin, line_from, line_first, line_weight = True, i, characters, f, 0
                        sentence_begin, sentence_flags, pending = i, 0, 0
                    elif pending and sentence_flags & utf8.ALNUM and not (pending == SOFT_END and f & utf8.LOWER):
                        sentence = span_hash(data, sentence_begin, line_end)
                        if n_sentences > 1:
                            repetition.number(_span(before_last, last_sentence, sentence), span_table)
                        before_last, last_sentence = last_sentence, sentence
                        n_sentences += 1
                        sentence_begin, sentence_flags = i, 0
                    word_begin, word_flags, word_signs = i, 0, 0
                    unspaced = f & utf8.UNSPACED != 0
                word_length += 1
                word_flags |= f
                word_signs += (f & utf8.HASH) != 0
                if f & _MORE:
                    if f & COLON and i >= url_end:
                        url_end = end_of_url(data, i, begin, end, c)
                    elif f & DOT and i >= dots_end and i + 2 < end and data[i + 1] == 46 and data[i + 2] == 46:
                        c[AT.ellipses] += 1
                        dots_end = i + 3
                    elif f & ANCHOR:
                        phrase = phrases.phrase_at(data, i, begin, end)
                        if phrase >= 0:
                            notice |= phrase < phrases.NOTICES
                            policy |= phrase < phrases.POLICY
                            script |= phrase == phrases.JAVASCRIPT
                            c[AT.lorem_ipsum] += phrase == phrases.LOREM_IPSUM
            elif f & utf8.NEWLINE:
                if line_open:
                    if sentence_flags & utf8.ALNUM:
                        sentence = span_hash(data, sentence_begin, line_end)
                        if n_sentences > 1:
                            repetition.number(_span(before_last, last_sentence, sentence), span_table)
                        before_last, last_sentence = last_sentence, sentence
                        n_sentences += 1
                    n_lines += 1
                    length = line_to - line_from
                    line_hash = span_hash(data, line_begin, line_end)
                    if repetition.number(line_hash, line_table) + c[AT.duplicate_lines] + 1 < n_lines:
                        c[AT.duplicate_lines] += 1
                        c[AT.duplicate_line_characters] += length
                    end_line(c, data, line_begin, line_end, line_first, line_last, length, line_weight)
                    c[AT.policy_lines] += policy
                    c[AT.javascript_lines] += script
                    part_length += length + (part_length > 0)
                    part_hash = fold(part_hash ^ line_hash, _SECOND)
                    policy, script = False, False
                if part_length and (i == end or not line_open):
                    n_parts += 1
                    if repetition.number(part_hash, part_table) + c[AT.duplicate_paragraphs] + 1 < n_parts:
                        c[AT.duplicate_paragraphs] += 1
                        c[AT.duplicate_paragraph_characters] += part_length
                    c[AT.paragraph_characters] += part_length
                    c[AT.boilerplate_paragraphs] += notice
                    part_length, part_hash, notice = 0, _BASIS, False
                line_open = False
            characters += 1
            i += width

        seen[small] += n_letters - n_capitals
        seen[capital] += n_capitals
        c[AT.words], c[AT.lines], c[AT.paragraphs] = n_words, n_lines, n_parts
        if c[AT.lorem_ipsum]:
            c[AT.boilerplate_paragraphs] = n_parts
        step = sum_classes(c, seen, flags, end - begin)
        c[AT.total_lines] = c[AT.line_breaks] + (data[end - 1] != 10)
        c[AT.sentences], c[AT.sentence_spans] = n_sentences, max(0, n_sentences - 2)
        c[AT.duplicate_sentence_spans] = c[AT.sentence_spans] - span_table.state[2]
        repetition.count_occurrences(scratch, n_words, word_table.state[2])
        count_stop_words(c, scratch[1], word_table)
        repetition.grams(scratch, before, n_words, step, word_table, c[AT.top_2_gram_characters :])
        repetition.clear(word_table)
        repetition.clear(line_table)
        repetition.clear(part_table)
        repetition.clear(span_table)


@inlined
def _span(first, second, third):
    return fold(fold(first ^ _SECOND, second ^ _THIRD) ^ _BASIS, third ^ _SECOND)
