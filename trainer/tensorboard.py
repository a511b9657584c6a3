"""Event files that TensorBoard reads, written without it.

    file    records (TFRecord): length u64 · masked CRC-32C of the length u32 · data · masked CRC-32C of the data u32
    data    protobuf Event {wall_time 1: double, step 2: int64, file_version 3: text, summary 5, session_log 7}
    summary {value 1: {tag 1: text, simple_value 2: float}}, one value per tag

Little-endian; mask(c) = (c rotated right by 15) + 0xa282ead8. The first record says "brain.Event:2". A resumed run
opens a new file that begins with a session start at its first step: TensorBoard then drops what older files have from
there on. Only scalars are written.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_DOUBLE, _VARINT, _BYTES, _FLOAT = 1, 0, 2, 5  # protobuf wire types
_SESSION_START = 1


class EventFile:
    """A new event file in `folder`. resumed_at: finished steps of the checkpoint; what is later is superseded."""

    def __init__(self, folder: str | Path, resumed_at: int):
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 1_000_000_000:010d}.gristmill.{time.time_ns() % 10**9:09d}"
        self._file = open(Path(folder) / name, "wb")  # noqa: SIM115 (closed in close)
        self._record(_event(0, _field(3, _BYTES, b"brain.Event:2")))
        self._record(_event(resumed_at + 1, _field(7, _BYTES, _field(1, _VARINT, _SESSION_START))))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One event with a value per tag."""
        summary = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, value))
            for tag, value in values.items()
        )
        self._record(_event(step, _field(5, _BYTES, summary)))

    def close(self) -> None:
        self._file.close()

    def _record(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        self._file.write(length + _masked(length) + data + _masked(data))
        self._file.flush()


def crc32c(data: bytes) -> int:
    """CRC-32C as in RFC 3720; crc32c(b"123456789") is 0xe3069283."""
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _table() -> list[int]:
    out = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        out.append(value)
    return out


_TABLE = _table()


def _masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _event(step: int, content: bytes) -> bytes:
    return _field(1, _DOUBLE, time.time()) + _field(2, _VARINT, step) + content


def _field(number: int, wire: int, value: float | bytes) -> bytes:
    key = _varint(number << 3 | wire)
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if wire == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if wire == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
