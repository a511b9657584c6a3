"""Dates as they are found, as microseconds since 1970 in UTC.

Understood: ISO 8601 with any separator and offset, also `2011-11-28 8:32:24 -0400`, bare dates, months and years;
`20110128083224`; RFC 2822; dates with English month names; numbers of seconds, milliseconds, microseconds or
nanoseconds since 1970, told apart by size. A time without an offset is taken as UTC. Nothing is guessed between
day and month: `03/04/2015` gives None. Years 1 to 9999.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999

_NUMERIC = re.compile(
    r"""(?P<year>\d{4}) (?: [-/.](?P<month>\d{1,2}) (?: [-/.](?P<day>\d{1,2})
        (?: (?:[T\s]\s*) (?P<hour>\d{1,2}):(?P<minute>\d{2}) (?: :(?P<second>\d{2}) (?:[.,](?P<fraction>\d{1,9}))? )?
            \s* (?P<zone> Z | UTC | GMT | [+-]\d{2}:?(?:\d{2})? )? )? )? )?""",
    re.VERBOSE | re.IGNORECASE,
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T?(\d{2})(\d{2})(\d{2})Z?)?")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_NAMED = re.compile(r"(?:([A-Za-z]{3,9})\.?\s+(\d{1,2})|(\d{1,2})\.?\s+([A-Za-z]{3,9})\.?),?\s+(\d{4})")


def parse_timestamp(value: object) -> int | None:
    """Microseconds since 1970-01-01T00:00Z, None if `value` (str, int, float, datetime, date) is no date."""
    try:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            return _from_number(value)
        if isinstance(value, datetime):
            return _micros(value if value.tzinfo else value.replace(tzinfo=UTC))
        if isinstance(value, date):
            return _micros(datetime(value.year, value.month, value.day, tzinfo=UTC))
        if isinstance(value, str) and len(value) <= 100:
            return _from_text(value.strip())
    except (ValueError, OverflowError, TypeError, IndexError):
        pass
    return None


def _from_text(text: str) -> int | None:
    if match := _NUMERIC.fullmatch(text):
        return _from_fields(match.groupdict())
    if match := _COMPACT.fullmatch(text):
        return _micros(datetime(*(int(part or 0) for part in match.groups()), tzinfo=UTC))  # type: ignore[arg-type,misc]
    if re.fullmatch(r"-?\d{9,19}(\.\d+)?", text):
        return _from_number(float(text) if "." in text else int(text))
    if match := _NAMED.fullmatch(text):
        month = _MONTHS.get((match[1] or match[4])[:3].lower())
        return _micros(datetime(int(match[5]), month, int(match[2] or match[3]), tzinfo=UTC)) if month else None
    parsed = parsedate_to_datetime(text)
    return _micros(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def _from_fields(found: dict[str, str | None]) -> int:
    zone, text = UTC, (found["zone"] or "").upper()
    if text[:1] in ("+", "-"):
        digits = text[1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        zone = timezone(offset if text[0] == "+" else -offset)
    year, month, day, hour, minute, second = (
        int(found[name] or default)
        for name, default in (("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))
    )
    fraction = int((found["fraction"] or "0").ljust(6, "0")[:6])
    leap = timedelta(seconds=1) if second == 60 else timedelta(0)
    return (
        _micros(datetime(year, month, day, hour, minute, min(second, 59), fraction, tzinfo=zone)) + leap // MICROSECOND
    )


def _from_number(value: int | float) -> int | None:
    """Seconds below 10^11 (the year 5138), then milliseconds, microseconds, nanoseconds, by a factor of 1,000 each."""
    for limit, numerator, denominator in ((1e11, 10**6, 1), (1e14, 10**3, 1), (1e17, 1, 1), (1e20, 1, 10**3)):
        if abs(value) < limit:
            scaled = (
                value * numerator // denominator if isinstance(value, int) else round(value * numerator / denominator)
            )
            return int(scaled) if FIRST <= scaled <= LAST else None
    return None


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND
