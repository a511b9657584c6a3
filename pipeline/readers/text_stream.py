"""Decompressed bytes of a text file as UTF-8, whatever wide encoding it is in.

UTF-16 and UTF-32 are recoded as a stream, by their mark or by where their NULs are; so is what a source states as its
`encoding`. What does not decode is passed on as bytes that are no UTF-8, so that its line or record is quarantined and
not the file. Everything else comes as it is.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import chain

from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import blocks
from gristmill.stages.text_encoding import known_encoding, wide_encoding


def text_blocks(segment: Segment, spec: SourceSpec) -> Iterator[bytes]:
    """Of a whole file. BrokenStreamError as in `stream.blocks`."""
    return as_utf8(blocks(segment), spec.encoding)


def as_utf8(chunks: Iterator[bytes], stated: str | None) -> Iterator[bytes]:
    """The same stream where it is neither in a wide encoding nor in a stated one that is not UTF-8."""
    first = next(chunks, b"")
    encoding = wide_encoding(first)
    if encoding is None and stated is not None and (named := known_encoding(stated)) != "utf-8":
        encoding = named
    if not first:
        return iter(())
    chunks = chain([first], chunks)
    return chunks if encoding is None else recoded(chunks, encoding)


def recoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    wide = encoding.startswith(("utf-16", "utf-32"))
    errors = "surrogatepass" if wide else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    first = True
    for chunk in chunks:
        text = decoder.decode(chunk)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        if text:
            yield text.encode("utf-8", errors)
    try:
        rest = decoder.decode(b"", True)
    except UnicodeDecodeError:
        rest = ""
        yield b"\xff"  # half a character at the end
    if rest:
        yield rest.encode("utf-8", errors)
