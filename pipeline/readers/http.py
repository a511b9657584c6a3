"""A stored HTTP response: status, headers, and the payload with its transfer and content encodings undone.

Lenient where crawls are: many tools store the payload already de-chunked or decompressed under headers that say
otherwise, so a payload that does not begin like its stated encoding is taken as it is. RFC 9112, section 7.1 (chunked),
RFC 9110, section 8.4 (content encodings: gzip, deflate, br, zstd). Truncated compressed payloads give their readable
prefix. A payload that grows as no page does is refused.
"""

from __future__ import annotations

import io
import re
import zlib
from typing import NamedTuple

from gristmill.pipeline.readers.stream import MAX_RATIO

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})")
_CHUNK = re.compile(rb"[ \t\r\n]{0,4}([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
MAX_HEAD_BYTES = 1 << 20  # servers send at most some 16 KB
MAX_ENCODINGS = 4
FREE_BYTES = 4 << 20
"""What a payload may give, and beyond it `MAX_RATIO` times its own size: whole pages are seldom larger."""


class UndecodableError(ValueError):
    """The payload's content encoding is unknown or its data damaged from the first byte."""


class ExpandingError(UndecodableError):
    """The payload decompresses to more than a page can."""


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    """Lower-case names; of a repeated header the first."""
    payload: bytes


def parse_response(block: bytes, max_bytes: int) -> Response | None:
    """None if `block` is no HTTP response. UndecodableError as above; a payload longer than `max_bytes` ends after
    `max_bytes` + 1 bytes, which is enough to refuse it."""
    status = _STATUS.match(block)
    if status is None:
        return None
    end = _END_OF_HEAD.search(block, 0, MAX_HEAD_BYTES)
    head, payload = (block[: end.start()], block[end.end() :]) if end else (block[:MAX_HEAD_BYTES], b"")
    headers: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, separator, value = line.partition(b":")
        if separator:
            headers.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("latin-1"))
    if "chunked" in headers.get("transfer-encoding", "").lower():
        payload = _unchunk(payload)
    encodings = headers.get("content-encoding", "").lower().split(",", MAX_ENCODINGS)
    if len(encodings) > MAX_ENCODINGS:
        raise UndecodableError("more content encodings than anyone uses")
    for encoding in reversed(encodings):
        payload = _decode(payload, encoding.strip(), max_bytes)
    return Response(int(status[1]), headers, payload)


def _unchunk(payload: bytes) -> bytes:
    whole = bytearray()
    at = 0
    while match := _CHUNK.match(payload, at):
        size = int(match[1], 16)
        end = match.end() + size
        cut_short = end >= len(payload) and payload[match.end() - 2 : match.end()] == b"\r\n"
        if at == 0 and size and payload[end : end + 1] not in (b"\r", b"\n") and not cut_short:
            return payload  # text that begins like a number, stored without its chunks
        if size == 0:
            return bytes(whole)
        whole += payload[match.end() : end]
        at = end
    return bytes(whole) if at else payload  # cut short, or stored without its chunks


def _decode(payload: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("", "identity", "none") or not payload:
        return payload
    limit = min(max_bytes, max(FREE_BYTES, MAX_RATIO * len(payload))) + 1
    decoded = _decoded(payload, encoding, limit)
    if decoded is not payload and limit <= max_bytes and len(decoded) >= limit:
        raise ExpandingError(f"{len(payload)} bytes of {encoding} give more than {limit}")
    return decoded


def _decoded(payload: bytes, encoding: str, limit: int) -> bytes:
    """At most `limit` bytes; `payload` itself where it was stored without the encoding."""
    if encoding in ("gzip", "x-gzip"):
        return _inflate(payload, 31, limit) if payload.startswith(b"\x1f\x8b") else payload
    is_html = payload.lstrip()[:1] == b"<"
    if encoding == "deflate":  # zlib by the standard, raw deflate by many servers
        for window in (15, -15):
            try:
                return _inflate(payload, window, limit)
            except UndecodableError:
                continue
        if is_html:
            return payload
        raise UndecodableError("content encoding deflate")
    if encoding == "zstd":
        return _unzstandard(payload, limit) if payload.startswith(b"\x28\xb5\x2f\xfd") else payload
    if is_html:
        return payload  # of Brotli no magic number tells; or a made-up encoding over plain HTML
    if encoding == "br":
        return _unbrotli(payload, limit)
    raise UndecodableError(f"content encoding {encoding}")


def _inflate(payload: bytes, window: int, limit: int) -> bytes:
    """UndecodableError where not a byte comes out before the damage; raw deflate, which any bytes may look like, must
    come to its end or be cut."""
    decompressor = zlib.decompressobj(wbits=window)
    try:
        whole = decompressor.decompress(payload, limit)
    except zlib.error:
        whole = _readable_prefix(payload, window, limit)
        if not whole or window < 0:
            raise UndecodableError("damaged from the first byte") from None
    return whole


def _readable_prefix(payload: bytes, window: int, limit: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=window)
    whole = bytearray()
    for start in range(0, len(payload), 256):
        try:
            whole += decompressor.decompress(payload[start : start + 256], limit - len(whole))
        except zlib.error:
            break
        if len(whole) >= limit or decompressor.eof:
            break
    return bytes(whole)


def _unzstandard(payload: bytes, limit: int) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(payload) as reader:
            return bytes(reader.read(limit))
    except zstandard.ZstdError as error:
        raise UndecodableError(str(error)) from error


def _unbrotli(payload: bytes, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    reader = BrotliReader(io.BytesIO(payload))
    whole = bytearray()
    try:
        while len(whole) < limit and (part := reader.read(min(1 << 16, limit - len(whole)))):
            whole += part
    except (OSError, ValueError) as error:
        if not whole:
            raise UndecodableError(str(error)) from error
    return bytes(whole)
