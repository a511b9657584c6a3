"""Code points and what they are, for kernels that read UTF-8 bytes.

Every code point has one class, every class a set of flags: class = classes[blocks[cp >> 8], cp & 255],
its flags flags[class]. The two-level table is built from `unicodedata` on first use (0.4 s, 42 kB), so
its content is that of the interpreter's Unicode version. Bytes below 128 index classes[0] at once.

The **word unit**: a word is a run of characters without white space, except in the scripts that are written without
spaces between words (`UNSPACED_BLOCKS`): there each letter is a word, together with the marks and punctuation that
follow it. So "漢字かな, abc。" is five words: 漢 字 か "な," "abc。"

It does not normalise, segment or lower-case text.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.uncounted import inlined
from gristmill.kernels.text.unspaced import EAST_ASIAN_BLOCKS, UNSPACED_BLOCKS

SPACE = 1 << 0  # str.isspace()
NEWLINE = 1 << 1  # U+000A alone
LETTER = 1 << 2  # str.isalpha(): general category L*
ALNUM = 1 << 3  # general category L* or N*
DIGIT = 1 << 4  # general category Nd
UNSPACED = 1 << 5  # a letter of a script written without spaces
UNMEASURED = 1 << 6  # a letter of a script whose word lengths the limits for English do not fit
UNSTOPPED = 1 << 7  # a letter of a script that has no full stop
BRACKET = 1 << 8
PLAIN = 1 << 9  # ASCII letters and digits, new line, ? ! , .
END = 1 << 10  # ends a sentence, or is a quote
BULLET = 1 << 11
DASH = 1 << 12  # - and *, list marks of plain text
HASH = 1 << 13
ELLIPSIS = 1 << 14  # U+2026 alone
EAST_ASIAN = 1 << 15  # UNSPACED, and a word has about two letters of it; of the others it has four
LOWER = 1 << 16  # str.islower()
TERMINAL = 1 << 17  # ends a sentence
SOFT = 1 << 18  # TERMINAL, but not before a lower-case letter: full stops that end abbreviations too, the ellipsis
CLOSING = 1 << 19  # quotes and closing brackets, which may stand after the mark that ends a sentence

LETTERS_PER_WORD = (2, 4)
"""Letters of an average word in the East Asian and in the other scripts written without spaces."""

SPELLED_LETTERS = 3
"""Letters of an alphabet that say what one East Asian letter says: the same paragraphs (XQuAD) are 3.1 times as long in
English as in Chinese, and within 20 % of English in Arabic, German, Greek, Hindi, Russian, Thai and Vietnamese."""

# Rae's 3 to 10 characters a word is a statement about letters of alphabets. A Hangul syllable is two or three letters
# (Korean means are 3.3 and up, too close to 3); in Malayalam, vowel signs and viramas make 12 % of honest documents
# exceed 10 code points a word (measured on Wikipedia, children's stories and health information).
UNMEASURED_BLOCKS = (
    *UNSPACED_BLOCKS,
    *((0x0D00, 0x0D7F), (0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),
)
UNSTOPPED_BLOCKS = ((0x0E00, 0x0EFF), (0x1950, 0x19FF), (0xAA80, 0xAADF))  # Thai, Lao, Tai Le, New Tai Lue, Tai Viet

# Unicode Sentence_Terminal: beyond the Basic Plane, then in it
_TERMINAL_RANGES = (
    *((0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89), (0x11047, 0x11048), (0x110BE, 0x110C1)),
    *((0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD), (0x111DE, 0x111DF), (0x11238, 0x11239)),
    *((0x1123B, 0x1123C), (0x112A9, 0x112A9), (0x1144B, 0x1144C), (0x115C2, 0x115C3), (0x115C9, 0x115D7)),
    *((0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944), (0x11946, 0x11946), (0x11A42, 0x11A43)),
    *((0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8), (0x11F43, 0x11F44), (0x16A6E, 0x16A6F)),
    *((0x16AF5, 0x16AF5), (0x16B37, 0x16B38), (0x16B44, 0x16B44), (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F)),
    (0x1DA88, 0x1DA88),
)
TERMINAL_MARKS = frozenset(
    ".?!…\u037e\u0589\u05c3\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965"
    "\u0df4\u0f0d\u0f0e\u104a\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945"
    "\u1aa8\u1aa9\u1aaa\u1aab\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047\u2048\u2049"
    "\u2e2e\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d\uaa5e\uaa5f"
    "\uaaf0\uaaf1\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61\u1b7d\u1b7e\u2e3c\u2e53\u2e54"
) | {chr(code) for first, last in _TERMINAL_RANGES for code in range(first, last + 1)}  # and the ellipsis
SOFT_MARKS = frozenset(".…\ufe52\uff0e")  # Unicode Standard Annex 29, ATerm, and the ellipsis
QUOTES = frozenset("\"'‘’‚‛“”„‟«»‹›「」『』〝〞〟＂＇｢｣")
END_MARKS = TERMINAL_MARKS | QUOTES  # Raffel et al. 2020, section 2.2, for all scripts
BULLETS = frozenset("•‣⁃⁌⁍∙○●◘◦⦾⦿")  # NeMo Curator, BulletsFilter
BRACKETS = frozenset("{}[]()⟨⟩")  # NeMo Curator, ParenthesesFilter
PLAIN_MARKS = frozenset("\n?!,.")  # NeMo Curator, NonAlphaNumericFilter, beside ASCII letters and digits

_PLANES = (range(0x40000), range(0xE0000, 0xE1000))  # nothing is assigned elsewhere but private use


class Table(NamedTuple):
    blocks: np.ndarray  # (0x1100,) uint16: block of 256 code points -> row of `classes`
    classes: np.ndarray  # (blocks, 256) uint8; row 0 is U+0000 to U+00FF
    flags: np.ndarray  # (classes,) int64


def flags_of(character: str) -> int:
    """Flags of one character; the definition that the table caches."""
    category = unicodedata.category(character)
    code = ord(character)
    letter = category[0] == "L"
    value = SPACE * character.isspace() | NEWLINE * (character == "\n")
    value |= LETTER * letter | ALNUM * (category[0] in "LN") | DIGIT * (category == "Nd")
    if letter:
        value |= UNSPACED * _within(code, UNSPACED_BLOCKS) | UNMEASURED * _within(code, UNMEASURED_BLOCKS)
        value |= EAST_ASIAN * _within(code, EAST_ASIAN_BLOCKS)
        value |= UNSTOPPED * _within(code, UNSTOPPED_BLOCKS)
    value |= BRACKET * (character in BRACKETS) | END * (character in END_MARKS) | BULLET * (character in BULLETS)
    value |= PLAIN * (character in PLAIN_MARKS or (code < 128 and character.isalnum()))
    value |= LOWER * character.islower() | TERMINAL * (character in TERMINAL_MARKS) | SOFT * (character in SOFT_MARKS)
    value |= CLOSING * (character in QUOTES or category in ("Pe", "Pf", "Pi"))
    return value | DASH * (character in "-*") | HASH * (character == "#") | ELLIPSIS * (character == "…")


@functools.cache
def table() -> Table:
    """The table of all code points, the same arrays at every call."""
    classes: dict[int, int] = {0: 0}
    rows: dict[bytes, int] = {}
    blocks = np.zeros(0x1100, np.uint16)
    for block in range(0x1100):
        if any(block << 8 in plane for plane in _PLANES):
            row = bytes(classes.setdefault(flags_of(chr(block << 8 | low)), len(classes)) for low in range(256))
        else:
            row = bytes(256)
        blocks[block] = rows.setdefault(row, len(rows))
    return Table(
        blocks, np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 256), np.fromiter(classes, np.int64, len(classes))
    )


def _within(code: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in blocks)


@inlined
def decode(data, i, end):
    """(code point, width in bytes) of the character at byte i < end; a broken sequence is U+FFFD, one byte wide."""
    lead = np.int64(data[i])
    if lead < 0x80:
        return lead, 1
    if 0xC0 <= lead < 0xE0 and i + 1 < end:
        return (lead & 0x1F) << 6 | np.int64(data[i + 1]) & 0x3F, 2
    if 0xE0 <= lead < 0xF0 and i + 2 < end:
        return (lead & 0x0F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6 | np.int64(data[i + 2]) & 0x3F, 3
    if 0xF0 <= lead < 0xF5 and i + 3 < end:
        code = (lead & 0x07) << 18 | (np.int64(data[i + 1]) & 0x3F) << 12
        code |= (np.int64(data[i + 2]) & 0x3F) << 6 | np.int64(data[i + 3]) & 0x3F
        if code < 0x110000:
            return code, 4
    return 0xFFFD, 1


def buffers(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(data, offsets) of a string column without a copy: (bytes,) uint8 and (rows + 1,) int64.

    text: Arrow large_string (or string, which costs a copy of the offsets); slices keep their place. Row i is
    data[offsets[i]:offsets[i + 1]]; what a null row spans is undefined.
    """
    if not pa.types.is_large_string(text.type):
        text = text.cast(pa.large_string())
    _, offsets, data = text.buffers()
    if offsets is None or len(text) == 0:
        return _read_only(np.zeros(0, np.uint8)), _read_only(np.zeros(len(text) + 1, np.int64))
    first = _read_only(np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1])
    return _read_only(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)), first


def _read_only(array: np.ndarray) -> np.ndarray:
    """Wherever the buffer comes from: a kernel is compiled once for arrays that it may write to and once for others."""
    array.flags.writeable = False
    return array
