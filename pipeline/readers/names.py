"""File names as text: a name is bytes on a disk and in an archive, a document's `path` is valid UTF-8.

A byte b >= 0x80 that is not part of valid UTF-8 becomes the character U+EF00 + b (U+EF80 to U+EFFF, the private range
in which the MirBSD OPTU encoding keeps raw bytes). The rare names that hold these characters themselves have each of
their bytes written the same way. So every name has one text, different names have different texts, `stored_name` gives
the bytes back, and a name of valid UTF-8 stays as it is, with its spaces, line feeds and percent signs.
"""

from __future__ import annotations

import re

_KEPT_BYTES = re.compile("[\uef80-\uefff]")


def text_name(name: bytes) -> str:
    """The name as valid UTF-8 text; `stored_name` is its inverse."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isascii():
        return text
    text = _KEPT_BYTES.sub(lambda found: "".join(chr(0xEF00 + byte) for byte in found[0].encode()), text)
    return "".join(chr(ord(c) - 0xDC00 + 0xEF00) if "\udc80" <= c <= "\udcff" else c for c in text)


def stored_name(text: str) -> bytes:
    """The bytes that `text_name` was given."""
    return _KEPT_BYTES.sub(lambda found: chr(ord(found[0]) - 0xEF00 + 0xDC00), text).encode("utf-8", "surrogateescape")


def is_plain(text: str) -> bool:
    """Whether the text is the name itself: nothing in it stands for a byte."""
    return text.isascii() or _KEPT_BYTES.search(text) is None
