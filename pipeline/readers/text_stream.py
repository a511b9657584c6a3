"""Decompressed bytes of a text file as UTF-8, whatever encoding it is in.

UTF-16 and UTF-32 are recoded as a stream, by their mark or by where their NULs are; so is what a source states as its
`encoding`. What does not decode is passed on as bytes that are no UTF-8, so that its line or record is quarantined and
not the file. Everything else comes as it is: of a file whose lines are no UTF-8 `line_encoding` says what they are.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import cached_property
from itertools import chain

from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks, plain_blocks
from gristmill.stages.encoding_guess import SAMPLE_BYTES, guess, sample_of
from gristmill.stages.text_encoding import known_encoding, wide_encoding

LOOK_BYTES = 64 << 20  # of a file, in which its encoding is looked for
MIN_LINES = 3  # that are no UTF-8, before a file is taken for one in another encoding
DAMAGED = 0.1  # share of the lines beyond ASCII that may be UTF-8 nevertheless


def text_blocks(segment: Segment, spec: SourceSpec) -> Iterator[bytes]:
    """Of a whole file. BrokenStreamError as in `stream.blocks`."""
    return as_utf8(blocks(segment), segment.encoding or spec.encoding)


def as_utf8(chunks: Iterator[bytes], stated: str | None) -> Iterator[bytes]:
    """The same stream where it is neither in a wide encoding nor in a stated one that is not UTF-8."""
    first = next(chunks, b"")
    encoding = wide_encoding(first)
    if encoding is None and stated is not None and (named := known_encoding(stated)) != "utf-8":
        encoding = named
    if not first:
        return
    chunks = chain([first], chunks)
    yield from chunks if encoding is None else recoded(chunks, encoding)


def recoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    wide = encoding.startswith(("utf-16", "utf-32"))
    errors = "surrogatepass" if wide else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    first = True
    try:
        for chunk in chunks:
            text = decoder.decode(chunk)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            if text:
                yield text.encode("utf-8", errors)
        if rest := decoder.decode(b"", True):
            yield rest.encode("utf-8", errors)
    except UnicodeDecodeError:
        yield b"\xff"  # half a character, or none at all: the rest of the file cannot be told


class LineEncoding:
    """What the lines of a file are in that are no UTF-8; looked for when the first of them is met."""

    def __init__(self, segment: Segment, spec: SourceSpec) -> None:
        self.segment = segment
        self.is_stated = segment.encoding is not None or spec.encoding is not None

    @cached_property
    def found(self) -> str | None:
        """None where the file is UTF-8 with damaged lines, or where no encoding fits.

        Follows from the beginning of the file, whatever part of it is read.
        """
        return None if self.is_stated else line_encoding(self.segment)


def line_encoding(segment: Segment) -> str | None:
    chunks = blocks(segment) if segment.is_whole else plain_blocks(segment)
    parts: list[bytes] = []
    size = seen = valid = 0
    held = b""
    try:
        for chunk in chunks:
            seen += len(chunk)
            whole, _, held = (held + chunk).rpartition(b"\n")
            sample = sample_of(whole)
            for line in sample.split(b"\n") if sample else ():
                valid += _is_utf8(line)
                parts.append(line)
                size += len(line)
            if size >= SAMPLE_BYTES or seen >= LOOK_BYTES:
                break
        else:
            if last := sample_of(held):
                valid += _is_utf8(last)
                parts.append(last)
    except BrokenStreamError:
        pass  # what comes before the damage is enough
    if len(parts) - valid < MIN_LINES or valid > DAMAGED * len(parts):
        return None
    return guess(b"\n".join(parts))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
