"""Every count that the rules need, from one pass over a document's UTF-8 bytes.

    count(data, offsets) -> (rows, len(COUNTS)) int64

Code points are classed by `utf8.table`; what depends on single characters is a histogram of classes, so a character
costs one look-up and one increment. On the way words, lines and paragraphs are hashed (FNV-1a, 64 bits: Fowler, Noll,
Vo) and their lengths noted; `repetition` counts what recurs. Units:

    word       see `utf8`: a run without white space, or one letter of a script written without spaces
    line       what stands between U+000A, white space at both ends removed (so CRLF is a line end); not blank
    paragraph  a run of lines without a blank line between, joined by one new line each

A signal is a ratio of two counts: that is `stages.signals`. Lines are compared as they are: nothing is lower-cased.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numba
import numpy as np

from kernels.text import phrases, repetition, utf8

COUNTS = (
    *("bytes", "characters", "letters", "digits", "spaces", "brackets", "plain", "hashes", "ellipses"),
    *("url_characters", "pornographic_urls", "words", "word_characters", "longest_word", "measured_words"),
    *("measured_word_characters", "measured_characters", "measured_spaces", "alpha_words", "symbol_words"),
    *("stop_words", "stop_word_occurrences", "total_lines", "line_breaks", "lines", "line_characters", "short_lines"),
    *("bullet_lines", "bullet_or_dash_lines", "ellipsis_lines", "stopped_lines", "unended_lines"),
    *("paragraphs", "paragraph_characters", "boilerplate_paragraphs", "duplicate_lines", "duplicate_line_characters"),
    *("duplicate_paragraphs", "duplicate_paragraph_characters"),
    *(f"top_{n}_gram_characters" for n in repetition.TOP_GRAMS),
    *(f"duplicate_{n}_gram_characters" for n in repetition.DUPLICATE_GRAMS),
)
"""Columns of `count`. What is not plain from its name:

plain                   ASCII letters and digits, new lines, ? ! , .
hashes, ellipses        "#"; "..." (runs cut into threes) and U+2026
url_characters          in matches of https?:// and one or more of ! $ to _ a to z
pornographic_urls       of those URLs, the ones with "porn" in any case
measured_words          words of scripts that limits in letters of English fit, without `utf8.UNMEASURED_BLOCKS`;
                        with it go `measured_word_characters`, those words' characters, `measured_characters` and
                        `measured_spaces`, all of the text's; all four are 0 where those words are fewer than half
symbol_words            words that are an ellipsis (`phrases.ELLIPSES`) or more than half "#"
stop_words              how many of `STOP_WORDS` occur; `stop_word_occurrences`: words that are one of them
total_lines             lines as an editor counts them, blank ones too; `line_breaks`: U+000A
short_lines             lines of at most 30 characters
stopped_lines           lines, or 0 where over half of the letters are of scripts without a full stop
unended_lines           of those, the ones that end in none of `utf8.END_MARKS`; ":" after an Armenian and ";" after a
                        Greek letter are such marks too
top_..., duplicate_...  see `repetition`; where most words are single letters, a word of an n-gram is two or four
                        (`utf8.LETTERS_PER_WORD`)
boilerplate_paragraphs  with one of `phrases.PHRASES`; all of them if "lorem ipsum" occurs
"""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Rae et al. 2021, A1.1. A word counts if it is equal, in lower case and without punctuation."""

SHORT_LINE = 30  # characters; Penedo et al. 2024 (FineWeb), section 3.4

_FNV_BASIS = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio
_HIGH = np.uint64(32)


def _fnv(word: str) -> int:
    value = int(_FNV_BASIS)
    for byte in word.encode():
        value = (value ^ byte) * int(_FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


_STOP_HASHES = np.array([_fnv(word) for word in STOP_WORDS], np.uint64)
_ELLIPSIS_HASHES = np.array([_fnv(word) for word in phrases.ELLIPSES], np.uint64)

_COLON, _DOT, _PHRASE = 1 << 16, 1 << 17, 1 << 18  # bytes that may start more than a word, beside utf8's flags
_MORE = _COLON | _DOT | _PHRASE

AT: Any = namedtuple("AT", COUNTS)(*range(len(COUNTS)))
"""Column of each count."""


def count(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Counts per document.

    data: (bytes,) uint8, valid UTF-8 (a broken byte counts as U+FFFD). offsets: (rows + 1,) int64, ascending.
    Returns (rows, len(COUNTS)) int64.
    """
    if len(offsets) < 2:
        return np.zeros((0, len(COUNTS)), np.int64)
    table = utf8.table()
    most = int(np.diff(offsets).max()) // 2 + 1  # words, lines and paragraphs: each takes two bytes, but for the last
    # Room for the worst case, of which only the pages that are written become memory.
    hashes = np.empty(most, np.uint64), np.empty(most, np.uint64), np.empty(most, np.uint64)
    lengths = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    slots, keys = np.zeros(repetition.table_size(most), np.int64), np.empty(most, np.uint64)
    return _count(data, offsets, table.blocks, *_with_byte_flags(table), hashes, lengths, slots, keys)


def _with_byte_flags(table: utf8.Table) -> tuple[np.ndarray, np.ndarray]:
    """(classes, flags) in which ASCII bytes that start a URL, an ellipsis or a phrase have classes of their own."""
    classes, flags = table.classes.copy(), [int(value) for value in table.flags]
    for byte in range(128):
        value = flags[classes[0, byte]]
        value |= _COLON * (byte == ord(":")) | _DOT * (byte == ord(".")) | _PHRASE * int(phrases.IS_ANCHOR[byte])
        if value not in flags:
            flags.append(value)
        classes[0, byte] = flags.index(value)
    return classes, np.array(flags, np.int64)


@numba.njit(cache=True)
def _count(data, offsets, blocks, classes, flags, hashes, lengths, slots, keys):
    # Scratch comes from outside: arrays that are replaced in the loop would be reference-counted at every byte.
    word_hashes, line_hashes, part_hashes = hashes
    word_lengths, line_lengths, part_lengths = lengths
    rows = len(offsets) - 1
    out = np.zeros((rows, len(COUNTS)), np.int64)
    seen = np.zeros(len(flags), np.int64)
    generation = 1
    for row in range(rows):
        begin, end = offsets[row], offsets[row + 1]
        if begin == end:
            continue
        c = out[row]
        seen[:] = 0
        words, lines, parts, characters = 0, 0, 0, 0
        word_length, word_begin, word_flags, word_signs, unspaced = 0, begin, 0, 0, False
        word_hash, gap_hash, line_hash, part_hash = _FNV_BASIS, _FNV_BASIS, _FNV_BASIS, _FNV_BASIS
        line_open, line_begin, line_end, line_first, line_last = False, begin, begin, 0, 0
        line_from, line_to, part_length = 0, 0, 0  # in characters
        boilerplate, lorem = False, False
        dots_end, url_end = begin, begin
        i = begin
        while i <= end:
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
                word_hashes[words], word_lengths[words] = word_hash, word_length
                words += 1
                _end_word(c, word_hash, word_length, i - word_begin, word_flags, word_signs)
                line_hash = _fold(_fold(line_hash, gap_hash), word_hash)
                gap_hash = _FNV_BASIS
                word_length = 0

            if not f & utf8.SPACE:
                if word_length == 0:
                    word_begin, word_flags, word_signs, word_hash = i, 0, 0, _FNV_BASIS
                    unspaced = f & utf8.UNSPACED != 0
                    if not line_open:
                        line_open, line_begin, line_from, line_first = True, i, characters, f
                        line_hash, gap_hash = _FNV_BASIS, _FNV_BASIS
                word_length += 1
                word_flags |= f
                word_signs += (f & utf8.HASH) != 0
                for b in range(i, i + width):
                    word_hash = (word_hash ^ np.uint64(data[b])) * _FNV_PRIME
                line_end, line_to, line_last = i + width, characters + 1, f
                if f & _MORE:
                    if f & _COLON and i >= url_end:
                        url_end = _end_of_url(data, i, begin, end, c)
                    elif f & _DOT and i >= dots_end and i + 2 < end and data[i + 1] == 46 and data[i + 2] == 46:
                        c[AT.ellipses] += 1
                        dots_end = i + 3
                    elif f & _PHRASE:
                        phrase = phrases.phrase_at(data, i, begin, end)
                        boilerplate |= phrase >= 0
                        lorem |= phrase == phrases.LOREM_IPSUM
            elif not f & utf8.NEWLINE:
                for b in range(i, i + width):
                    gap_hash = (gap_hash ^ np.uint64(data[b])) * _FNV_PRIME
            else:
                if line_open:
                    line_hashes[lines], line_lengths[lines] = line_hash, line_to - line_from
                    lines += 1
                    _end_line(c, data, line_begin, line_end, line_first, line_last, line_to - line_from)
                    part_length += line_to - line_from + (part_length > 0)
                    part_hash = _fold(part_hash, line_hash)
                if part_length and (i == end or not line_open):
                    part_hashes[parts], part_lengths[parts] = part_hash, part_length
                    parts += 1
                    c[AT.paragraph_characters] += part_length
                    c[AT.boilerplate_paragraphs] += boilerplate
                    part_length, part_hash, boilerplate = 0, _FNV_BASIS, False
                line_open = False
            characters += 1
            i += width

        c[AT.words], c[AT.lines], c[AT.paragraphs] = words, lines, parts
        if lorem:
            c[AT.boilerplate_paragraphs] = parts
        step = _sum_classes(c, seen, flags, end - begin)
        c[AT.total_lines] = c[AT.line_breaks] + (data[end - 1] != 10)
        repetition.grams(word_hashes, word_lengths, words, step, slots, generation, keys, c[AT.top_2_gram_characters :])
        generation += 10 * step
        d = repetition.duplicates(line_hashes, line_lengths, lines, slots, generation, keys)
        c[AT.duplicate_lines], c[AT.duplicate_line_characters] = d
        d = repetition.duplicates(part_hashes, part_lengths, parts, slots, generation + 1, keys)
        c[AT.duplicate_paragraphs], c[AT.duplicate_paragraph_characters] = d
        generation += 2
    return out


@numba.njit(cache=True)
def _end_word(c, word_hash, length, size, flags, signs):
    """length in characters, size in bytes, flags: of its characters, or-ed; signs: how many are #."""
    c[AT.longest_word] = max(c[AT.longest_word], length)
    if not flags & utf8.UNMEASURED:
        c[AT.measured_words] += 1
        c[AT.measured_word_characters] += length
    if flags & utf8.LETTER:
        c[AT.alpha_words] += 1
        if 2 <= size <= 4:
            for s in range(len(_STOP_HASHES)):
                if word_hash == _STOP_HASHES[s]:
                    c[AT.stop_word_occurrences] += 1
                    c[AT.stop_words] |= 1 << s
    if signs * 2 > length:
        c[AT.symbol_words] += 1
    elif length <= 5 and not flags & utf8.LETTER:
        for s in range(len(_ELLIPSIS_HASHES)):
            if word_hash == _ELLIPSIS_HASHES[s]:
                c[AT.symbol_words] += 1


@numba.njit(cache=True)
def _end_line(c, data, begin, end, first, last, length):
    """first, last: flags of its first and last character; length in characters."""
    c[AT.line_characters] += length
    c[AT.short_lines] += length <= SHORT_LINE
    c[AT.bullet_lines] += first & utf8.BULLET != 0
    c[AT.bullet_or_dash_lines] += first & (utf8.BULLET | utf8.DASH) != 0
    if not last & utf8.END:
        before = np.int64(data[end - 3]) << 8 | np.int64(data[end - 2]) if end - begin > 2 else 0
        armenian = data[end - 1] == 58 and 0xD4B0 <= before <= 0xD68F  # U+0530 to U+058F in UTF-8
        greek = data[end - 1] == 59 and 0xCDB0 <= before <= 0xCFBF  # U+0370 to U+03FF
        c[AT.unended_lines] += not (armenian or greek)
    c[AT.ellipsis_lines] += phrases.ends_with_ellipsis(data, begin, end)


@numba.njit(cache=True)
def _end_of_url(data, colon, begin, end, c):
    """Counts the URL whose ":" stands at `colon` and returns where it ends; `colon` if there is none."""
    start = colon - 4 if colon == begin or data[colon - 1] != 115 else colon - 5  # https or http
    if start < begin or colon + 3 >= end or data[colon + 1] != 47 or data[colon + 2] != 47:
        return colon
    if data[start] != 104 or data[start + 1] != 116 or data[start + 2] != 116 or data[start + 3] != 112:
        return colon
    i = colon + 3
    porn = False
    while i < end and (data[i] == 33 or 36 <= data[i] <= 95 or 97 <= data[i] <= 122):
        i += 1
        if data[i - 1] | 32 == 110:  # n, of porn; what stands before "://" cannot complete it
            porn |= data[i - 2] | 32 == 114 and data[i - 3] | 32 == 111 and data[i - 4] | 32 == 112
    if i == colon + 3:
        return colon
    c[AT.url_characters] += i - start
    c[AT.pornographic_urls] += porn
    return i


@numba.njit(cache=True)
def _sum_classes(c, seen, flags, size):
    """The counts that are sums over classes of characters, and those that are void where a script makes them so.

    Returns how many of the document's words make a word of an n-gram.
    """
    c[AT.bytes] = size
    no_stop = unspaced = east_asian = 0
    for k in range(len(flags)):
        f, n = flags[k], seen[k]
        c[AT.characters] += n
        c[AT.letters] += n * (f & utf8.LETTER != 0)
        c[AT.digits] += n * (f & utf8.DIGIT != 0)
        c[AT.spaces] += n * (f & utf8.SPACE != 0)
        c[AT.brackets] += n * (f & utf8.BRACKET != 0)
        c[AT.plain] += n * (f & utf8.PLAIN != 0)
        c[AT.hashes] += n * (f & utf8.HASH != 0)
        c[AT.ellipses] += n * (f & utf8.ELLIPSIS != 0)
        c[AT.line_breaks] += n * (f & utf8.NEWLINE != 0)
        no_stop += n * (f & utf8.UNSTOPPED != 0)
        unspaced += n * (f & utf8.UNSPACED != 0)
        east_asian += n * (f & utf8.EAST_ASIAN != 0)
    c[AT.word_characters] = c[AT.characters] - c[AT.spaces]
    c[AT.stopped_lines] = c[AT.lines]
    if no_stop * 2 > c[AT.letters]:
        c[AT.stopped_lines], c[AT.unended_lines] = 0, 0
    if c[AT.measured_words] * 2 < c[AT.words]:
        c[AT.measured_words], c[AT.measured_word_characters] = 0, 0
    else:
        c[AT.measured_characters], c[AT.measured_spaces] = c[AT.characters], c[AT.spaces]
    bits, c[AT.stop_words] = c[AT.stop_words], 0
    while bits:
        bits &= bits - 1
        c[AT.stop_words] += 1
    if unspaced * 2 <= c[AT.words]:
        return 1
    return utf8.LETTERS_PER_WORD[0] if east_asian * 2 >= unspaced else utf8.LETTERS_PER_WORD[1]


@numba.njit(cache=True)
def _fold(hashed, value):
    """A hash of a sequence of hashes, one at a time."""
    mixed = (hashed ^ value) * _GOLDEN
    return mixed ^ (mixed >> _HIGH)
