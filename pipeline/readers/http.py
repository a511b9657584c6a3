"""A stored HTTP response: status, headers, and the payload with its transfer and content encodings undone.

Lenient where crawls are: many tools store the payload already de-chunked or decompressed under headers that say
otherwise, so a payload that does not begin like its stated encoding is taken as it is. RFC 9112, section 7.1 (chunked),
RFC 9110, section 8.4 (content encodings: gzip, deflate, br, zstd). Truncated compressed payloads give their readable
prefix.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})")
_CHUNK = re.compile(rb"\s*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")


class UndecodableError(ValueError):
    """The payload's content encoding is unknown or its data damaged from the first byte."""


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
    end = re.search(rb"\r?\n\r?\n", block)
    head, payload = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    headers: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, separator, value = line.partition(b":")
        if separator:
            headers.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("latin-1"))
    if "chunked" in headers.get("transfer-encoding", "").lower():
        payload = _unchunk(payload)
    for encoding in reversed(headers.get("content-encoding", "").lower().split(",")):
        payload = _decode(payload, encoding.strip(), max_bytes)
    return Response(int(status[1]), headers, payload)


def _unchunk(payload: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while match := _CHUNK.match(payload, at):
        size = int(match[1], 16)
        if size == 0:
            return b"".join(parts)
        part = payload[match.end() : match.end() + size]
        parts.append(part)
        at = match.end() + size
        if len(part) < size:
            return b"".join(parts)  # cut short
    return b"".join(parts) if at else payload  # cut short, or stored without its chunks


def _decode(payload: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("", "identity", "none") or not payload:
        return payload
    if encoding in ("gzip", "x-gzip"):
        return _inflate(payload, 31, max_bytes) if payload.startswith(b"\x1f\x8b") else payload
    if encoding == "deflate":  # zlib by the standard, raw deflate by many servers
        try:
            return _inflate(payload, 15, max_bytes)
        except UndecodableError:
            return _inflate(payload, -15, max_bytes)
    if encoding == "zstd":
        import zstandard

        if not payload.startswith(b"\x28\xb5\x2f\xfd"):
            return payload
        try:
            return zstandard.ZstdDecompressor().stream_reader(payload).read(max_bytes + 1)
        except zstandard.ZstdError as error:
            raise UndecodableError(str(error)) from error
    if encoding == "br":
        if payload.lstrip()[:1] == b"<":
            return payload
        return _unbrotli(payload, max_bytes)
    if payload.lstrip()[:1] == b"<":
        return payload  # a made-up encoding over plain HTML
    raise UndecodableError(f"content encoding {encoding}")


def _inflate(payload: bytes, window: int, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(wbits=window)
    parts: list[bytes] = []
    size = 0
    view = memoryview(payload)
    for start in range(0, len(view), 1 << 16):
        try:
            part = decompressor.decompress(view[start : start + (1 << 16)])
        except zlib.error as error:
            if not parts:
                raise UndecodableError(str(error)) from error
            break
        parts.append(part)
        size += len(part)
        if decompressor.eof or size > max_bytes:
            break
    return b"".join(parts)[: max_bytes + 1]


def _unbrotli(payload: bytes, max_bytes: int) -> bytes:
    try:
        from fastwarc.stream_io import BrotliReader
    except ImportError as error:
        raise UndecodableError("content encoding br") from error
    import io

    try:
        return bytes(BrotliReader(io.BytesIO(payload)).read(max_bytes + 1))
    except (OSError, ValueError) as error:
        raise UndecodableError(str(error)) from error
