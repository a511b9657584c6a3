"""What a file is by its first bytes, whatever it is called.

    jsonl      JSON objects, one a line                parquet, arrow, warc, tar, epub, pdf    by their marks
    json       an array, an object over several        html, xml                               markup
               lines, objects one behind the other     text, binary, empty                     what is left
    zip, 7z, png, ...                                  other things with a mark of their own: `KINDS`

`content_of` looks at bytes that are no longer compressed. UTF-16 and UTF-32 are text. A first line that is damaged does
not make JSON Lines anything else: of the first lines the majority decides.
"""

from __future__ import annotations

import json
import re

from gristmill.stages.page_encoding import is_html
from gristmill.stages.text_encoding import wide_encoding

HEAD_BYTES = 1 << 18
"""Decompressed bytes that are enough to tell."""
LINES = 20  # of the beginning, that decide whether a text is JSON Lines
CUT = 12  # characters at the end of a head within which a parser may stumble because the rest is missing

KINDS = {
    "jsonl": "JSON Lines",
    "json": "JSON",
    "parquet": "Parquet",
    "arrow": "Arrow IPC",
    "warc": "WARC",
    "tar": "a tar archive",
    "epub": "EPUB",
    "pdf": "PDF",
    "html": "a web page",
    "xml": "XML",
    "text": "text",
    "binary": "binary data",
    "empty": "empty",
    "zip": "a zip archive",
    "7z": "a 7z archive",
    "rar": "a rar archive",
    "packed": "data compressed twice",
    "lz4": "data compressed with lz4",
    "compress": "data compressed with compress (.Z)",
    "lzip": "data compressed with lzip",
    "lzma": "data compressed with lzma of old",
    "snappy": "data compressed with snappy",
    "lzo": "data compressed with lzo",
    "orc": "ORC",
    "avro": "Avro",
    "feather1": "Feather of version 1",
    "sqlite": "an SQLite database",
    "image": "a picture",
    "sound": "sound or film",
    "elf": "a program",
    "hdf5": "HDF5",
    "numpy": "a numpy array",
    "pickle": "a Python pickle",
    "office": "an office document of old",
}
"""Content -> what it is called in a sentence."""

TO_UNPACK = {"zip", "7z", "rar", "lz4", "compress", "lzip", "lzma", "snappy", "lzo"}
"""Content that whoever has it can make readable."""

_MARKS = (
    (b"PAR1", "parquet"), (b"PARE", "parquet"), (b"ARROW1", "arrow"), (b"FEA1", "feather1"), (b"WARC/", "warc"),
    (b"%PDF-", "pdf"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "rar"), (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"), (b"LZIP", "lzip"), (b"\x5d\x00\x00", "lzma"), (b"\xff\x06\x00\x00sNaPpY", "snappy"),
    (b"\x89LZO", "lzo"), (b"ORC", "orc"), (b"Obj\x01", "avro"), (b"SQLite format 3\0", "sqlite"),
    (b"\x89PNG\r\n", "image"), (b"\xff\xd8\xff", "image"), (b"GIF8", "image"), (b"BM", "image"), (b"II*\0", "image"),
    (b"MM\0*", "image"), (b"RIFF", "sound"), (b"OggS", "sound"), (b"ID3", "sound"), (b"fLaC", "sound"),
    (b"\x7fELF", "elf"), (b"\x89HDF\r\n", "hdf5"), (b"\x93NUMPY", "numpy"), (b"\x80\x04\x95", "pickle"),
    (b"\x80\x05\x95", "pickle"), (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office"), (b"\x1f\x8b", "packed"),
    (b"\x28\xb5\x2f\xfd", "packed"), (b"BZh", "packed"), (b"\xfd7zXZ\x00", "packed"),
)  # fmt: skip
_TEXTUAL = ("ORC", "BM", "RIFF", "ID3", "LZIP", "Obj", "GIF8")
"""Marks that a text may begin with: they count where what follows is no text."""

BLANK = b" \t\r\n"
_CONTROLS = bytes(byte for byte in (*range(32), 127) if byte not in b"\t\n\v\f\r\x1b")
CONTROLS = 500  # a text may hold one control character among so many bytes
_PRETTY = re.compile(r"\{\s*\n\s*\"")
_DECODER = json.JSONDecoder()


def content_of(head: bytes) -> str:
    """A key of `KINDS`. head: the first bytes of a file, `HEAD_BYTES` or all of it, decompressed."""
    if not head:
        return "empty"
    for mark, kind in _MARKS:
        if head.startswith(mark) and not (mark.decode("latin-1").startswith(_TEXTUAL) and _is_text(head)):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return "epub" if b"mimetypeapplication/epub+zip" in head[:100] else "zip"
    if head[257:262] == b"ustar":
        return "tar"
    if _begins_arrow(head):
        return "arrow"
    whole = len(head) < HEAD_BYTES
    encoding = wide_encoding(head)
    if encoding is not None:
        head = head.decode(encoding, "replace").removeprefix("\ufeff").encode("utf-8", "replace")
    elif not _is_text(head):  # or JSON with damage behind its beginning
        is_json = head.lstrip(BLANK)[:1] in (b"{", b"[")
        return (is_json and _json(head.lstrip(BLANK).decode("utf-8", "replace"), whole)) or "binary"
    return _textual(head, whole)


def _is_text(head: bytes) -> bool:
    return (len(head) - len(head.translate(None, _CONTROLS))) * CONTROLS <= len(head)


def _begins_arrow(head: bytes) -> bool:
    """A stream of Arrow IPC begins with 0xFFFFFFFF and the size of its schema, a multiple of 8."""
    size = int.from_bytes(head[4:8], "little")
    return head.startswith(b"\xff\xff\xff\xff") and len(head) >= 16 and 0 < size < 1 << 28 and size % 8 == 0


def _textual(head: bytes, whole: bool) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(BLANK + b"\0")
    if not text:
        return "text"
    if text[:1] in (b"{", b"["):
        kind = _json(text.decode("utf-8", "replace"), whole)
        if kind is not None:
            return kind
    if _mostly_objects(text):
        return "jsonl"
    if is_html("", text[:1024]):
        return "html"
    return "xml" if text.startswith(b"<?xml") else "text"


def _mostly_objects(text: bytes) -> bool:
    """Of the first lines; the last one may be cut off."""
    lines = text.split(b"\n", 4 * LINES)
    lines = [line for line in (lines[:-1] if len(lines) > 1 else lines) if line.strip()][:LINES]
    return sum(map(_is_object, lines)) * 2 > len(lines)


def _is_object(line: bytes) -> bool:
    line = line.strip().removeprefix(b"\xef\xbb\xbf")
    if line[:1] != b"{" or not line.endswith(b"}"):
        return False
    try:
        return isinstance(json.loads(line.decode("utf-8", "replace")), dict)
    except (ValueError, RecursionError):
        return False


def _json(text: str, whole: bool) -> str | None:
    """jsonl, json, or None where the first value is neither. whole: the file ends where `text` does."""
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - CUT * (not whole)
        if text[0] == "{" and (cut or _PRETTY.match(text)):
            return "json" if "\n" in text or _in_records(text) else "jsonl"
        return "json" if text[0] == "[" and (cut or _has_first(text)) else None
    except RecursionError:
        return None
    rest, _, behind = text[end:].partition("\n")
    if text[0] == "[":
        of_records = isinstance(value, list) and all(isinstance(each, dict | str) for each in value[:LINES])
        in_other = rest.lstrip()[:1] in (",", "}", "]", ":")  # the middle of a line
        return "json" if of_records and not in_other else None
    if "\n" in text[:end]:
        return "json"
    if rest.strip():
        return "json" if rest.lstrip().startswith("{") and not _mostly_objects(text.encode()) else None
    only = not behind.strip() and whole
    return "json" if only and _lists_of_objects(value) and "text" not in value else "jsonl"


def _lists_of_objects(value: dict[str, object]) -> int:
    lists = (each for each in value.values() if isinstance(each, list) and each)
    return sum(isinstance(each[0], dict) for each in lists)


def _has_first(text: str) -> bool:
    """Whether the first value of an array is an object and another follows, whatever comes later."""
    start = 1 + len(text[1:]) - len(text[1:].lstrip())
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and text[end:].lstrip().startswith(",")


def _in_records(text: str) -> bool:
    """Whether the beginning of an object holds, behind fields that are no text, a list of objects."""
    found = re.search(r'"((?:[^"\\]|\\.)*)"\s*:\s*\[\s*\{', text[:4096])
    return found is not None and '"text"' not in text[: found.start()]
