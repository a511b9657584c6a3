"""What a line is measured by, and what is cut out of it: the parts of `kernels.text.lines`.

    scan(data, begin, end, ...) -> the measures of one line, from one pass over its bytes
    cut_*(data, begin, end) -> end                the line edited in place, shorter or as it was

A line comes without the white space at its ends. Characters are classed as in `utf8`, whose flags are extended by
`UPPER` and by the bytes at which a phrase may be found. Words are those of `utf8`, but that letters of scripts written
without spaces count as a half (East Asian scripts) or a quarter (Thai, Khmer, others) of a word, rounded up for the
line, as in n-grams. Phrases match any case of ASCII letters. Which measure is limited how is no matter of this file.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

from gristmill.kernels.text import utf8
from gristmill.kernels.text.hashing import two_levels
from gristmill.kernels.text.uncounted import inlined, uncounted

MEASURES = ("words", "longest_word", "end_mark", "javascript", "policy", "uppercase", "digits", "counter")
"""What a line can be asked for. What is not plain from the name:

end_mark            1: ends in one of `utf8.END_MARKS`, but neither in "..." nor in "…"; 0: in another character; not
                    asked (1) where over half of the line's letters are of scripts without a full stop
javascript, policy  1: contains "javascript", one of `POLICIES`
uppercase, digits   share of the line's characters, spaces included
counter             1: a number and one of `COUNTED`, as in "3 likes", and nothing else but punctuation
"""

EDITS = ("citation_numbers", "citation_notes", "items_in_cart", "read_more", "sign_in")
"""What can be cut out of a line. citation_numbers: "[1]", "[]"; citation_notes: `NOTES`; the other three, in lines of
at most `EDITED_WORDS` words: "items in cart" anywhere, "read more..." at the end, "sign-in" at the beginning, with the
white space character beside it."""

POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
"""tensorflow_datasets, text/c4_utils.py, _POLICY_SUBSTRINGS; datatrove, POLICY_SUBSTRINGS."""

NOTES = ("[edit]", "[citation needed]")
"""The same, citation_regex."""

COUNTED = (
    *("likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes"),
    *("downloads", "views", "followers"),
)
"""DCLM, counter_line_modifier, for the "3 likes" of Penedo et al. 2023, G.2."""

EDITED_WORDS = 10  # Penedo et al. 2023 (RefinedWeb), G.2: "if it is short (<= 10 words) and matches a pattern (edit)"

WORDS, LONGEST, END_MARK, JAVASCRIPT, POLICY, UPPERCASE, DIGITS, COUNTER = range(len(MEASURES))
CHARACTERS = len(MEASURES)  # of `scan`'s result, beside the measures, in whole numbers:
BRACKETS = CHARACTERS + 1  # "[" in the line
SCANNED = CHARACTERS + 2

UPPER, MARK, ANCHOR, OPEN = 1 << 40, 1 << 41, 1 << 42, 1 << 43  # beside utf8's flags


def packed(phrases: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(bytes,) uint8 and (phrases + 1,) int64, where each begins."""
    encoded = [phrase.encode() for phrase in phrases]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]).astype(np.int64)


_JAVASCRIPT = "javascript"
_PHRASES = (_JAVASCRIPT, *POLICIES)
_ANCHORS = {phrase: next(c for c in "jvkf" if c in phrase) for phrase in _PHRASES}  # letters that are rare in English
_DATA, _OFFSETS = packed(_PHRASES)
_AT = np.array([phrase.index(_ANCHORS[phrase]) for phrase in _PHRASES], np.int64)

_COUNTED_DATA, _COUNTED_OFFSETS = packed(COUNTED)


class Table(NamedTuple):
    blocks: np.ndarray  # (0x1100,) int64: block of 256 code points -> row of `classes`
    classes: np.ndarray  # (blocks, 256) uint8
    flags: np.ndarray  # (classes,) int64


@functools.cache
def table() -> Table:
    """`utf8.table` with the flags of this file; row 0 of `classes` is U+0000 to U+00FF."""
    base = utf8.table()
    codes = base.classes[base.blocks].astype(np.int64).ravel()
    flat = base.flags[codes]
    places = {ord(c) for c in _ANCHORS.values()} | {ord(c.upper()) for c in _ANCHORS.values()}
    for code in (*range(0x1F200), *range(0xE0000, 0xE0200)):  # no upper-case letter or mark stands elsewhere
        character = chr(code)
        flat[code] |= UPPER * character.isupper() | MARK * (unicodedata.category(character)[0] == "M")
        flat[code] |= ANCHOR * (code in places) | OPEN * (character == "[")
    flags, classes = np.unique(flat, return_inverse=True)
    roots, leaves = two_levels(classes.astype(np.uint8))
    first = roots[0]  # the row of U+0000 changes places with the first, so that ASCII needs no look-up of the row
    roots = np.where(roots == first, 0, np.where(roots == 0, first, roots))
    leaves[[0, first]] = leaves[[first, 0]]
    return Table(roots, leaves, flags)


@uncounted
def scan(data, begin, end, blocks, classes, flags, out):
    """Fills `out`, (SCANNED,) int64: words, 1 (see `longest_word`), end mark, javascript, policy, upper-case
    characters, digits, 0 (see `is_counter`), characters and brackets of bytes begin .. end, in which no new line
    stands."""
    characters = upper = digits = letters = stopless = words = brackets = asian = other = 0
    state = _BETWEEN
    suspect = False
    i = begin
    while i < end:
        f, width = flags_at(data, i, end, blocks, classes, flags)
        now = _next(state, f)
        words += now == _WORD and state != _WORD
        if now == _LETTER and f & utf8.UNSPACED:
            asian += (f & utf8.EAST_ASIAN) != 0
            other += (f & utf8.EAST_ASIAN) == 0
        state = now
        upper += (f & UPPER) != 0
        digits += (f & utf8.DIGIT) != 0
        letters += (f & utf8.LETTER) != 0
        stopless += (f & utf8.UNSTOPPED) != 0
        brackets += data[i] == 91
        suspect |= (f & ANCHOR) != 0
        characters += 1
        i += width
    out[WORDS] = words + (2 * asian + other + 3) // 4
    out[END_MARK] = has_end(data, begin, end, blocks, classes, flags) or stopless * 2 > letters
    out[JAVASCRIPT], out[POLICY], out[LONGEST], out[COUNTER] = 0, 0, 1, 0
    if suspect:
        find_phrases(data, begin, end, out)
    out[UPPERCASE], out[DIGITS], out[CHARACTERS], out[BRACKETS] = upper, digits, characters, brackets


@uncounted
def add_wide(data, begin, end, blocks, classes, flags, out):
    """Adds to `out`, which knows of ASCII alone, what it needs of the other characters, and the end mark. True where
    that will not do, because of white space beyond ASCII or of a script written without spaces."""
    upper = digits = 0
    found = np.int64(0)
    characters = end - begin
    i = begin
    while i < end:
        if data[i] < 0x80:
            i += 1
            continue
        f, width = flags_at(data, i, end, blocks, classes, flags)
        found |= f
        upper += (f & UPPER) != 0
        digits += (f & utf8.DIGIT) != 0
        characters -= width - 1
        i += width
    if found & (utf8.SPACE | utf8.UNSPACED | utf8.UNSTOPPED):
        return True
    out[UPPERCASE] += upper
    out[DIGITS] += digits
    out[CHARACTERS] = characters
    out[END_MARK] = has_end(data, begin, end, blocks, classes, flags)
    return False


@uncounted
def longest_word(data, begin, end, blocks, classes, flags):
    """Characters of the longest word; a letter of a script written without spaces is a word with what follows it."""
    longest = length = 0
    state = _BETWEEN
    i = begin
    while i < end:
        f, width = flags_at(data, i, end, blocks, classes, flags)
        now = _next(state, f)
        if now == _BETWEEN:
            length = 0
        elif now != state or (now == _LETTER and f & utf8.UNSPACED):
            length = 1
        else:
            length += 1
        longest = max(longest, length)
        state = now
        i += width
    return longest


@uncounted
def may_be_longer(data, begin, end, characters):
    """False only if no word has more characters (float64): then no more bytes than that stand without a space. Looks
    at the line every so many bytes."""
    if not characters >= 0:
        return True
    if end - begin <= characters:
        return False
    most = np.int64(characters)
    space = begin - 1  # behind it no word that began before goes on
    while end - 1 - space > most:
        at = space + most + 1
        while at > space and data[at] != 32:
            at -= 1
        if at == space:
            return True
        space = at
    return False


_BETWEEN, _WORD, _LETTER = 0, 1, 2  # between words, in one, in a letter that is a word or the marks behind it


@inlined
def _next(state, f):
    if f & utf8.SPACE:
        return _BETWEEN
    if f & utf8.UNSPACED:
        return _LETTER
    if state == _LETTER and not f & utf8.ALNUM:
        return _LETTER
    return _WORD


@uncounted
def has_end(data, begin, end, blocks, classes, flags):
    """Whether a line, which is not empty, ends in an end mark and in no ellipsis."""
    if data[end - 1] < 0x80:
        return has_ascii_end(data, begin, end) or _ends_with_a_scripts_own_mark(
            data, begin, end, blocks, classes, flags
        )
    at = end - 1
    while at > begin and data[at] & 0xC0 == 0x80:
        at -= 1
    f, _ = flags_at(data, at, end, blocks, classes, flags)
    return f & utf8.END != 0 and f & utf8.ELLIPSIS == 0


@uncounted
def has_ascii_end(data, begin, end):
    """The measure end_mark of a line of ASCII that is not empty."""
    byte = data[end - 1]
    if byte == 46:
        return end - begin < 3 or data[end - 2] != 46 or data[end - 3] != 46
    return byte == 33 or byte == 34 or byte == 39 or byte == 63


@uncounted
def find_phrases(data, begin, end, out):
    """The measures javascript and policy."""
    for i in range(begin, end):
        byte = data[i] | 32
        if byte == 106 or byte == 118 or byte == 107 or byte == 102:  # the anchors
            phrase = _phrase_at(data, i, begin, end)
            if phrase == 0:
                out[JAVASCRIPT] = 1
            elif phrase > 0:
                out[POLICY] = 1


@uncounted
def _ends_with_a_scripts_own_mark(data, begin, end, blocks, classes, flags):
    """ ":" behind an Armenian letter and ";" behind a Greek one end a sentence, up to 3 quotes or the like between."""
    if data[end - 1] != 58 and data[end - 1] != 59:
        return False
    behind = end - 1
    for _ in range(4):
        at = behind - 1
        while at > begin and data[at] & 0xC0 == 0x80:
            at -= 1
        if at < begin:
            return False
        code, _ = utf8.decode(data, at, behind)
        f = flags[classes[blocks[code >> 8], code & 255]]
        if f & utf8.ALNUM:
            return 0x530 <= code <= 0x58F if data[end - 1] == 58 else 0x370 <= code <= 0x3FF
        if f & utf8.SPACE:
            return False
        behind = at
    return False


@uncounted
def is_counter(data, begin, end, blocks, classes, flags):
    """A number, perhaps with k, m or b, white space and one of `COUNTED`, any punctuation around; the line's trimmed
    bytes begin .. end."""
    i = begin
    while i < end:  # what is no word character
        f, width = flags_at(data, i, end, blocks, classes, flags)
        if f & (utf8.ALNUM | MARK) or data[i] == 95:
            break
        i += width
    if i == end or not flags_at(data, i, end, blocks, classes, flags)[0] & utf8.DIGIT:
        return False
    while i < end:
        f, width = flags_at(data, i, end, blocks, classes, flags)
        if not f & utf8.DIGIT and data[i] != 44 and data[i] != 46:
            break
        i += width
    if i < end and (data[i] | 32 == 107 or data[i] | 32 == 109 or data[i] | 32 == 98):  # k, m, b
        i += 1
    spaces = 0
    while i < end:
        f, width = flags_at(data, i, end, blocks, classes, flags)
        if not f & utf8.SPACE:
            break
        spaces += 1
        i += width
    if not spaces:
        return False
    for p in range(len(_COUNTED_OFFSETS) - 1):
        first, behind = _COUNTED_OFFSETS[p], _COUNTED_OFFSETS[p + 1]
        if equal(data, i, end, _COUNTED_DATA[first:behind]):
            j = i + behind - first
            while j < end:
                f, width = flags_at(data, j, end, blocks, classes, flags)
                if f & (utf8.ALNUM | MARK) or data[j] == 95:
                    return False
                j += width
            return True
    return False


@inlined
def lower(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@uncounted
def _phrase_at(data, at, begin, end):
    """Index in `_PHRASES` of the first phrase whose anchor is byte `at` and which lies in begin .. end, or -1."""
    byte = lower(data[at])
    for p in range(len(_AT)):
        first = _OFFSETS[p]
        there = _DATA[first + _AT[p]] == byte and at - _AT[p] >= begin
        if there and equal(data, at - _AT[p], end, _DATA[first : _OFFSETS[p + 1]]):
            return p
    return -1


@uncounted
def equal(data, at, end, phrase):
    """Whether `phrase`, in lower case, stands at byte `at` in any case of ASCII letters."""
    if at + len(phrase) > end:
        return False
    for k in range(len(phrase)):  # noqa: SIM110 (compiled)
        if lower(data[at + k]) != phrase[k]:
            return False
    return True


@inlined
def flags_at(data, i, end, blocks, classes, flags):
    code, width = utf8.decode(data, i, end)
    return flags[classes[blocks[code >> 8], code & 255]], width
