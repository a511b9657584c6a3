"""Scripts that are written without spaces between words, and what a line break between their characters is: nothing.

CSS Text 3, section 4.1.3, lets browsers remove a line break of the source between two such characters, because authors
only wrapped their lines there. Plain Python, for processes that compile nothing.
"""

from __future__ import annotations

import re

# CJK radicals to Yi (kana, Bopomofo, Han; without Hangul and enclosed letters), compatibility Han, halfwidth kana,
# Tangut, Khitan, Nushu, Han supplements:
EAST_ASIAN_BLOCKS = (
    *((0x2E80, 0x312F), (0x3190, 0x31FF), (0x3400, 0xA4CF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F)),
    *((0x16FE0, 0x1B2FF), (0x20000, 0x3FFFF)),
)
# Thai, Lao, Tibetan, Myanmar, Khmer, Tai Le, New Tai Lue, Tai Tham, Balinese, Javanese, Myanmar extended, Tai Viet:
UNSPACED_BLOCKS = (
    *EAST_ASIAN_BLOCKS,
    *((0x0E00, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19FF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F)),
    *((0xA980, 0xA9FF), (0xAA60, 0xAADF)),
)
JOINED_BLOCKS = (*UNSPACED_BLOCKS, (0xFF01, 0xFF65), (0xFFE0, 0xFFE6))
"""With the fullwidth forms, whose punctuation goes with these scripts; not the halfwidth Hangul between them."""

_RANGES = "".join(f"{chr(first)}-{chr(last)}" for first, last in JOINED_BLOCKS)
_BREAK = re.compile(f"(?<=[{_RANGES}])[ \\t\\r\\f]*\\n[ \\t\\r\\n\\f]*(?=[{_RANGES}])")


def is_unspaced(character: str) -> bool:
    """Whether it is of `JOINED_BLOCKS`; not for no character."""
    return bool(character) and any(first <= ord(character) <= last for first, last in JOINED_BLOCKS)


def folded(text: str) -> str:
    """Text without markup with its white space folded, " ".join(text.split()), less breaks between such characters."""
    if not text.isascii() and "\n" in text:
        text = _BREAK.sub("", text)
    return " ".join(text.split())
