"""Compiled message catalogues of gettext (GNU gettext manual, section 10.3, "The Format of GNU MO Files").

Read here and not by the standard library's `gettext`, which tests compare with: it believes a file that says that it
has four thousand million messages, or that each of its messages is the whole file.
"""

from __future__ import annotations

import re
import struct

_CHARSET = re.compile(rb"charset=[ \t]*([\w.:+-]{1,40})", re.ASCII)
_NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
"""Names of codecs of Python's that are no character sets."""


class MalformedCatalogueError(ValueError):
    pass


def catalogue_text(data: bytes) -> str:
    """The translations, one a line, in the order of their originals, without those that are like their original."""
    lines = sorted((key, text) for key, text in _messages(data).items() if key != "" and text)
    # a message left in English is no text of the catalogue's language
    return "\n".join(text for key, text in lines if text != key)


def text_codec(name: bytes) -> str:
    """Python's name of a character set. LookupError for what is none."""
    import codecs

    label = name.decode("ascii", "replace").lower()
    if label.replace("_", "-") in _NO_CHARSETS:
        raise LookupError(label)
    return codecs.lookup(label).name


def _messages(data: bytes) -> dict[str, str]:
    """Original -> translation; a plural's forms as `('original', 0)` and so on, as `gettext` keeps them."""
    codec = "ascii"
    found: dict[str, str] = {}
    for original, translation in _pairs(data):
        if not original:
            stated = _CHARSET.search(translation)
            codec = text_codec(stated[1]) if stated else codec
            found[""] = translation.decode(codec)
            continue
        if b"\0" in original:
            key = original.partition(b"\0")[0].decode(codec)
            for number, form in enumerate(translation.split(b"\0")):
                found[str((key, number))] = form.decode(codec)
        else:
            found[original.decode(codec)] = translation.decode(codec)
    return found


def _pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(data[:4])
    if order is None or len(data) < 20:
        raise MalformedCatalogueError("no catalogue")
    version, count, originals, translations = struct.unpack_from(order + "4I", data, 4)
    if version >> 16 > 1 or max(originals, translations) + 8 * count > len(data):
        raise MalformedCatalogueError("its tables are not within the file")
    result = []
    left = 2 * len(data)  # originals and translations, which no program lays over each other
    for i in range(count):
        pair = []
        for table in (originals, translations):
            size, start = struct.unpack_from(order + "2I", data, table + 8 * i)
            left -= size
            if start + size > len(data) or left < 0:
                raise MalformedCatalogueError("its messages are not within the file")
            pair.append(data[start : start + size])
        result.append((pair[0], pair[1]))
    return result
