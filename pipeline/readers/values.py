"""What JSON and Arrow have for a value, and how a value is written as an identifier."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

Value: TypeAlias = (
    "bool | int | float | str | bytes | date | time | timedelta | Decimal | UUID"
    " | list[Value] | tuple[Value, ...] | dict[str, Value] | None"
)
"""A datetime is a date."""
Record = dict[str, Value]

NO_IDS = ("nan", "NaN", "NaT", "<NA>", "NA", "None", "null", "NULL")
"""What Python, pandas, R and databases write for a missing value. A record that really has one of them for an id is
known by its place, as all records without an id are."""

_EXACT = 2**53
"""Whole numbers below it are exact as float64."""


def is_nan(value: Value) -> bool:
    return isinstance(value, float | Decimal) and value != value


def written(value: Value) -> str | None:
    """A value as text: bytes as UTF-8 where they are, a whole number without a fraction, because a column of numbers
    is one of floats where some are missing. None for nothing, for NaN, and for a number of more digits than Python
    writes."""
    if value is None or is_nan(value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return text_or_hex(value)
    if (isinstance(value, float) and abs(value) < _EXACT) or isinstance(value, Decimal):
        try:
            return str(int(value)) if value == value // 1 else str(value)
        except ArithmeticError:
            return str(value)
    try:
        return str(value)
    except ValueError:
        return None


def identifier(value: Value) -> str | None:
    """A record's own id; None where it has none: nothing, NaN, white space, one of `NO_IDS`."""
    text = written(value)
    return None if text is None or not text.strip() or text in NO_IDS else text


def text_or_hex(value: bytes) -> str:
    """Bytes as the text that they are in UTF-8, else as hexadecimal digits."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()
