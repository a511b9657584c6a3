"""The counts that `signals` takes of a document, and what a word, a line and a document add to them.

`COUNTS` are the columns, `AT` their places. The functions here are called where a unit ends; the scan that finds the
units is `signals`. They take c, the document's row, (len(COUNTS),) int64, and add to it.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from gristmill.kernels.text import phrases, repetition, utf8
from gristmill.kernels.text.uncounted import inlined, uncounted
from gristmill.kernels.text.wide import hash_of

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
    *("sentences", "sentence_spans", "duplicate_sentence_spans", "few_word_lines", "under_five_word_lines"),
    *("terminal_lines", "javascript_lines", "policy_lines", "lorem_ipsum", "curly_brackets"),
    "spelled_characters",
)
"""Columns of `signals.count`. What is not plain from its name:

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
                        Greek letter are such marks too; `terminal_lines`: the others, but for "..." and U+2026
top_..., duplicate_...  see `repetition`; where most words are single letters, a word of an n-gram is two or four
                        (`utf8.LETTERS_PER_WORD`)
boilerplate_paragraphs  with one of the notices of `phrases`; all of them if "lorem ipsum" occurs
sentences               see `signals`; `sentence_spans`: three sentences in a row; `duplicate_sentence_spans`: those
                        whose three sentences stood so before, byte for byte
few_word_lines          lines of fewer than 3 words, `under_five_word_lines` of fewer than 5; of a script written
                        without spaces two or four letters are a word
javascript_lines        lines that hold "javascript", `policy_lines` one of C4's phrases, in any case
curly_brackets          "{"
spelled_characters      characters, a letter of an East Asian script counted `utf8.SPELLED_LETTERS` times
"""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Rae et al. 2021, A1.1. A word counts if it is equal, in lower case and without punctuation."""

SHORT_LINE = 30  # characters; Penedo et al. 2024 (FineWeb), section 3.4
FEW_WORDS, FIVE_WORDS = 3, 5  # Raffel et al. 2020: 3 in the code that made C4, 5 in the paper's section 2.2
WORD_WEIGHT = utf8.LETTERS_PER_WORD[1]  # of a word; a letter of a script without spaces weighs 2 or 1

_STOP_HASHES = np.array([hash_of(word.encode()) for word in STOP_WORDS], np.uint64)
_ELLIPSIS_HASHES = np.array([hash_of(word.encode()) for word in phrases.ELLIPSES], np.uint64)

AT: Any = namedtuple("AT", COUNTS)(*range(len(COUNTS)))
"""Column of each count."""


@uncounted
def end_word(c, word_hash, length, flags, signs):
    """length in characters, flags: of its characters, or-ed; signs: how many are #."""
    c[AT.longest_word] = max(c[AT.longest_word], length)
    if not flags & utf8.UNMEASURED:
        c[AT.measured_words] += 1
        c[AT.measured_word_characters] += length
    if flags & utf8.LETTER:
        c[AT.alpha_words] += 1
    elif length <= 5:
        for s in range(len(_ELLIPSIS_HASHES)):
            if word_hash == _ELLIPSIS_HASHES[s]:
                c[AT.symbol_words] += 1
    if signs * 2 > length:
        c[AT.symbol_words] += 1


@uncounted
def count_stop_words(c, occurrences, table):
    """occurrences: of the words' numbers in the table."""
    for s in range(len(_STOP_HASHES)):
        word = repetition.find(_STOP_HASHES[s], table)
        if word >= 0:
            c[AT.stop_words] += 1
            c[AT.stop_word_occurrences] += occurrences[word]


@inlined
def word_weight(flags):
    """In quarters of a word: a letter of a script without spaces is half a word or a quarter."""
    if not flags & utf8.UNSPACED:
        return WORD_WEIGHT
    return WORD_WEIGHT // utf8.LETTERS_PER_WORD[0] if flags & utf8.EAST_ASIAN else 1


@uncounted
def end_line(c, data, begin, end, first, last, length, weight):
    """first, last: flags of its first and last character; length in characters; weight in quarters of a word."""
    c[AT.line_characters] += length
    c[AT.short_lines] += length <= SHORT_LINE
    c[AT.few_word_lines] += weight < FEW_WORDS * WORD_WEIGHT
    c[AT.under_five_word_lines] += weight < FIVE_WORDS * WORD_WEIGHT
    c[AT.bullet_lines] += first & utf8.BULLET != 0
    c[AT.bullet_or_dash_lines] += first & (utf8.BULLET | utf8.DASH) != 0
    c[AT.ellipsis_lines] += phrases.ends_with_ellipsis(data, begin, end)
    if not last & utf8.END and not ends_in_a_letterlike_mark(data, begin, end):
        c[AT.unended_lines] += 1
    elif not last & utf8.ELLIPSIS and not (
        end - begin > 2 and data[end - 1] == 46 and data[end - 2] == 46 and data[end - 3] == 46
    ):
        c[AT.terminal_lines] += 1


@uncounted
def ends_in_a_letterlike_mark(data, begin, end):
    """Whether the bytes end with an Armenian letter and ":" or a Greek one and ";", as full stop and question mark."""
    before = np.int64(data[end - 3]) << 8 | np.int64(data[end - 2]) if end - begin > 2 else 0
    armenian = data[end - 1] == 58 and 0xD4B0 <= before <= 0xD68F  # U+0530 to U+058F in UTF-8
    return armenian or (data[end - 1] == 59 and 0xCDB0 <= before <= 0xCFBF)  # U+0370 to U+03FF


HARD_END, SOFT_END = 1, 2


@uncounted
def sentence_end(data, begin, end, blocks, classes, flags):
    """0, or `HARD_END` if the word in bytes begin .. end ends a sentence, `SOFT_END` if no lower case may follow."""
    at = end
    while at > begin:
        start = at - 1
        while start > begin and data[start] & 0xC0 == 0x80:
            start -= 1
        code, _ = utf8.decode(data, start, at)
        f = flags[classes[blocks[code >> 8], code & 255]]
        if not f & utf8.CLOSING or f & utf8.TERMINAL:
            break
        at = start
    if at == begin:
        return 0
    if f & utf8.SOFT:
        if start == begin:
            return SOFT_END
        first, width = utf8.decode(data, begin, end)
        initial = begin + width == start and flags[classes[blocks[first >> 8], first & 255]] & utf8.LETTER
        return 0 if initial else SOFT_END
    return HARD_END if f & utf8.TERMINAL or ends_in_a_letterlike_mark(data, begin, at) else 0


@uncounted
def end_of_url(data, colon, begin, end, c):
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


@uncounted
def sum_classes(c, seen, flags, size):
    """The counts that are sums over classes of characters, and those that are void where a script makes them so.

    Returns how many of the document's words make a word of an n-gram.
    """
    c[AT.bytes] = size
    no_stop = unspaced = east_asian = 0
    for k in range(len(flags)):
        f, n = flags[k], seen[k]
        if n == 0:
            continue
        c[AT.characters] += n
        c[AT.letters] += n * (f & utf8.LETTER != 0)
        c[AT.digits] += n * (f & utf8.DIGIT != 0)
        c[AT.spaces] += n * (f & utf8.SPACE != 0)
        c[AT.brackets] += n * (f & utf8.BRACKET != 0)
        c[AT.plain] += n * (f & utf8.PLAIN != 0)
        c[AT.hashes] += n * (f & utf8.HASH != 0)
        c[AT.ellipses] += n * (f & utf8.ELLIPSIS != 0)
        c[AT.line_breaks] += n * (f & utf8.NEWLINE != 0)
        c[AT.curly_brackets] += n * (f & CURLY != 0)
        no_stop += n * (f & utf8.UNSTOPPED != 0)
        unspaced += n * (f & utf8.UNSPACED != 0)
        east_asian += n * (f & utf8.EAST_ASIAN != 0)
    c[AT.word_characters] = c[AT.characters] - c[AT.spaces]
    c[AT.spelled_characters] = c[AT.characters] + (utf8.SPELLED_LETTERS - 1) * east_asian
    c[AT.stopped_lines] = c[AT.lines]
    if no_stop * 2 > c[AT.letters]:
        c[AT.stopped_lines] = c[AT.unended_lines] = c[AT.terminal_lines] = 0
    if c[AT.measured_words] * 2 < c[AT.words]:
        c[AT.measured_words], c[AT.measured_word_characters] = 0, 0
    else:
        c[AT.measured_characters], c[AT.measured_spaces] = c[AT.characters], c[AT.spaces]
    if unspaced * 2 <= c[AT.words]:
        return 1
    return utf8.LETTERS_PER_WORD[0] if east_asian * 2 >= unspaced else utf8.LETTERS_PER_WORD[1]


COLON, DOT, CURLY, ANCHOR = 1 << 24, 1 << 25, 1 << 26, 1 << 27
"""Flags beside those of `utf8`: bytes that may start a URL, an ellipsis, a curly bracket, a phrase."""


BESIDE = COLON | DOT | CURLY | ANCHOR


def letter_classes(classes: np.ndarray, flags: np.ndarray) -> tuple[int, int]:
    """The class that stands for the ASCII capitals, and that for the small letters, where a run of letters is counted
    without a look at each.

    classes, flags: of `byte_classes`. Every flag of `utf8` must be the same for all letters of a case: ValueError where
    one is not, for then a run cannot be counted so. Flags beside those of `utf8` are not of runs.
    """
    found = []
    for first in "Aa":
        letters = range(ord(first), ord(first) + 26)
        kinds = {int(flags[classes[0, letter]]) & ~BESIDE for letter in letters}
        if len(kinds) > 1:
            differing = bin(min(kinds) ^ max(kinds))
            raise ValueError(f"signals: letters of one case differ in the flags {differing}: runs cannot be counted")
        found.append(next(k for k in classes[0, letters[0] : letters[-1] + 1] if not flags[k] & BESIDE))
    return int(found[0]), int(found[1])


def byte_classes(table: utf8.Table) -> tuple[np.ndarray, np.ndarray]:
    """(classes, flags) in which the ASCII bytes that the scan looks at twice have classes of their own."""
    classes, flags = table.classes.copy(), [int(value) for value in table.flags]
    for byte in range(128):
        value = flags[classes[0, byte]]
        value |= COLON * (byte == ord(":")) | DOT * (byte == ord(".")) | CURLY * (byte == ord("{"))
        value |= ANCHOR * (byte | 0x20 in phrases.ANCHORS and chr(byte).isalpha())
        if value not in flags:
            flags.append(value)
        classes[0, byte] = flags.index(value)
    return classes, np.array(flags, np.int64)
