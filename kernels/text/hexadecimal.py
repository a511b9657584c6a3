"""128-bit ids as 32 hexadecimal characters, and back, a column at a time.

    to_hex    fixed_size_binary(16) -> string of 32 lower-case digits, the first byte first
    from_hex  the other way

Both look up whole columns in a table of 256 entries, with NumPy; a null stays null.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ID = pa.binary(16)
ID_COLUMNS = ("id", "cluster", "survivor")
DIGITS = 32
_PAIRS = np.array([int.from_bytes(f"{i:02x}".encode(), "little") for i in range(256)], "<u2")
"""Byte -> its two digits, the higher first in memory."""
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16, dtype=np.uint8)


def to_hex(ids: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    """(n,) string of (n,) 16-byte ids."""
    whole = _whole(ids)
    digits = _PAIRS[id_bytes(whole).reshape(-1)].view(np.uint8)
    valid = whole.is_valid().to_numpy(zero_copy_only=False)
    lengths = np.where(valid, DIGITS, 0)
    if not valid.all():
        digits = digits.reshape(-1, DIGITS)[valid].reshape(-1)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    if lengths.sum() > np.iinfo(np.int32).max:
        raise ValueError(f"{len(whole):,} ids are too many for one column of strings; give fewer at a time")
    missing = None if valid.all() else pa.array(valid).buffers()[1]
    return pa.StringArray.from_buffers(len(whole), pa.py_buffer(offsets), pa.py_buffer(digits), missing)


def from_hex(digits: pa.Array | pa.ChunkedArray) -> pa.FixedSizeBinaryArray:
    """(n,) 16-byte ids of (n,) strings. ValueError where one is not 32 hexadecimal digits."""
    whole = _whole(digits).cast(pa.string())
    valid = whole.is_valid().to_numpy(zero_copy_only=False)
    filled = pc.fill_null(whole, "0" * DIGITS)
    lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False)
    if (lengths != DIGITS).any():
        raise ValueError(f"{filled[int(np.argmax(lengths != DIGITS))]} is no id: it has not {DIGITS} digits")
    if len(filled) == 0:
        return pa.array([], ID)
    start = np.frombuffer(filled.buffers()[1], np.int32)[filled.offset]
    characters = np.frombuffer(filled.buffers()[2], np.uint8)[start : start + DIGITS * len(filled)]
    nibbles = _NIBBLES[characters].reshape(-1, 2)
    if (nibbles == 255).any():
        row = int(np.argmax((nibbles == 255).any(1))) // 16
        raise ValueError(f"{filled[row]} is no id: it is not hexadecimal")
    content = (nibbles[:, 0] << 4) | nibbles[:, 1]
    missing = None if valid.all() else pa.array(valid).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(filled), [missing, pa.py_buffer(content)])


def hex_field(field: pa.Field) -> pa.Field:
    """The field of a column of ids when they are text."""
    return pa.field(field.name, pa.string(), nullable=field.nullable)


def in_hex(table: pa.Table) -> pa.Table:
    """The table with every column of 16-byte ids as text."""
    for place, field in enumerate(table.schema):
        if field.type == ID:
            table = table.set_column(place, hex_field(field), to_hex(table.column(place)))
    return table


def in_bytes(table: pa.Table, columns: Sequence[str] = ID_COLUMNS) -> pa.Table:
    """The table with those of the columns that are text as 16-byte ids."""
    for place, field in enumerate(table.schema):
        if field.name in columns and pa.types.is_string(field.type):
            made = pa.field(field.name, ID, nullable=field.nullable)
            table = table.set_column(place, made, from_hex(table.column(place)))
    return table


def id_bytes(ids: pa.Array) -> np.ndarray:
    """(n, 16) uint8 of a column of 16-byte ids; a null's bytes are anything."""
    buffer = ids.buffers()[1]
    if not len(ids) or buffer is None:
        return np.zeros((len(ids), 16), np.uint8)
    values = np.frombuffer(buffer, np.uint8)
    return values[ids.offset * 16 : (ids.offset + len(ids)) * 16].reshape(-1, 16)


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
