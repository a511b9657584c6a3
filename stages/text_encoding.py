"""The encoding of a text that comes without a label: a file's bytes as text.

A byte order mark decides; then UTF-16 and UTF-32 without one, told by their NULs; then valid UTF-8 is UTF-8; then what
a source file says of itself (PEP 263); then `stages.encoding_guess`. A pure function of the bytes.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""The longer ones first: a mark of UTF-32 begins with one of UTF-16."""
WIDE = (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2))
MAX_DAMAGED = 0.01  # share of characters
WIDE_BYTES = 4096  # of the beginning, that tell UTF-16 and UTF-32 without a mark
MAX_SCRIPTS = 4  # of 256 characters each; all of Chinese and Japanese, and all of Korean, are one
_CODING = re.compile(rb"^[ \t\f]*(?:#|//|--|;|%|/?\*).*?coding[:=][ \t]*([-\w.]+)")
_NO_TEXT = {"idna", "punycode", "utf_7", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
_CONTROLS = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")


def known_encoding(label: str) -> str | None:
    """Python's name of an encoding of text; None for what is none, such as rot13, punycode or utf-7."""
    from gristmill.stages.page_encoding import codec_of

    if (meant := codec_of(label)) is not None:
        return meant
    try:
        codec = codecs.lookup(label)
        "".encode(codec.name)  # LookupError where it makes bytes of bytes
    except (LookupError, ValueError):
        return None
    return None if codec.name.replace("-", "_") in _NO_TEXT else codec.name


def wide_encoding(head: bytes) -> str | None:
    """utf-16-le, -be, utf-32-le, -be, by the mark or by where the NULs are; None for anything else.

    head: the first bytes of a text. Without a mark every character must be one that texts are made of.
    """
    for mark, encoding in MARKS[1:]:
        if head.startswith(mark):
            return encoding
    head = head[:WIDE_BYTES]
    if b"\0" not in head or (_is_utf8(head) and head.count(0) * 4 < len(head) and not _CONTROLS.search(head)):
        return None
    return next((encoding for encoding, width in WIDE if _is_prose(head, encoding, width)), None)


def _is_utf8(head: bytes) -> bool:
    """Whether all of it is, but for a character that is cut off at the end."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def _is_prose(head: bytes, encoding: str, width: int) -> bool:
    head = head[: len(head) - len(head) % width]
    if encoding.startswith("utf-16") and head:
        last = int.from_bytes(head[-2:], "little" if encoding.endswith("le") else "big")
        head = head[:-2] if 0xD800 <= last < 0xDC00 else head  # half a character
    if len(head) < 2 * width:
        return False
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError:
        return False
    scripts = set()
    written = plain = 0
    for character in text:
        kind = unicodedata.category(character)
        if kind in ("Cn", "Co", "Cs") or (kind == "Cc" and character not in "\t\n\r\f"):
            return False
        code = ord(character)
        plain += code < 128
        written += code < 128 or kind[0] in "LMNZ"
        if kind[0] in "LM":
            scripts.add(
                "ideographs" if 0x2E80 <= code <= 0x9FFF else "hangul" if 0xAC00 <= code < 0xD7A4 else code >> 8
            )
    return written * 10 >= len(text) * 6 and plain > 0 and 0 < len(scripts) <= MAX_SCRIPTS


@dataclass(frozen=True)
class Decoded:
    text: str
    encoding: str | None
    """Python's name of it; None for UTF-8."""


def decoded(data: bytes, stated: str | None = None, is_code: bool = False) -> Decoded | None:
    """The text of a whole file, without its byte order mark; None where no encoding fits.

    stated: what the source says its encoding is; a byte order mark goes before it. is_code: a source file, whose first
    two lines may name one (PEP 263).
    """
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    wide = wide_encoding(data) if data[:1] in b"\xff\xfe\0" or b"\0" in data[:WIDE_BYTES] else None
    if wide is not None:
        return _tolerant(data, wide)
    if stated is not None:
        named = known_encoding(stated)
        return _strict(data, named) if named else None
    if b"\x1b" in data and b"\x1b$" in data and (japanese := _strict(data, "iso2022_jp")) is not None:
        return japanese
    try:
        return Decoded(data.decode(), None)
    except UnicodeDecodeError:
        pass
    if is_code and (named := stated_in_source(data)) is not None and (found := _strict(data, named)) is not None:
        return found
    from gristmill.stages.encoding_guess import guess

    guessed = guess(data)
    return _tolerant(data, guessed) if guessed else None


def stated_in_source(data: bytes) -> str | None:
    """The encoding that one of the first two lines of a source file names, as Python and Emacs read it."""
    for line in data.split(b"\n", 2)[:2]:
        found = _CODING.match(line[:200])
        if found:
            return known_encoding(found[1].decode("ascii"))
    return None


def _strict(data: bytes, encoding: str) -> Decoded | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return Decoded(text.removeprefix("\ufeff"), None if encoding == "utf-8" else encoding)


def _tolerant(data: bytes, encoding: str) -> Decoded | None:
    """A few characters may be damaged and become U+FFFD."""
    text = data.decode(encoding, "replace").removeprefix("\ufeff")
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    fits = text.count("\ufffd") <= MAX_DAMAGED * (len(text) if encoding.startswith("utf") else beyond)
    return Decoded(text, encoding) if fits else None
