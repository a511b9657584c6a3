"""Dates as they are found, as microseconds since 1970 in UTC.

Understood: ISO 8601 with any separator and offset, also `2011-11-28 8:32:24 -0400`, bare dates, months and years;
RFC 2822; dates with English month names. A time without an offset is taken as UTC, one with a name of a zone that has
several meanings (`stages.moments.ZONES`) is None. Nothing is guessed between day and month: `03/04/2015` gives None.

A number, or a string of digits, is what its digits say before it is a count of seconds:

    YYYY, YYYYMM, YYYYMMDD, YYYYMMDDhhmm, YYYYMMDDhhmmss    where that is a date of 1900 to `LAST_YEAR`; in a string
                                                            YYYY, YYYYMMDD and YYYYMMDDhhmmss of any year
    else at least nine digits                               seconds, milliseconds, microseconds or nanoseconds since
                                                            1970, told apart by size
    else                                                    None: counters, years of two digits, serial days

As seconds all the forms of the first row would be days of January or August 1970, the year 1976 or the far future. What
no document can have (`stages.moments.plausible`) is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from gristmill.stages.moments import (
    FIRST_YEAR,
    LAST_YEAR,
    MICROSECOND,
    MONTHS,
    ZONES,
    from_mail,
    micros,
    plausible,
    zone,
)

FIRST_NUMBER_YEAR = 1900
LEAST_SECONDS = 10**8
"""March 1973. Smaller numbers are counters more often than times, and the oldest copy of a text stays."""

_ZONE_NAMES = "|".join(sorted(ZONES, key=len, reverse=True))
_NUMERIC = re.compile(
    rf"""(?P<year>\d{{4}}) (?: [-/.](?P<month>\d{{1,2}}) (?: [-/.](?P<day>\d{{1,2}})
        (?: (?:[T\s]\s*) (?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})
            (?: :(?P<second>\d{{2}}) (?:[.,](?P<fraction>\d{{1,9}}))? )?
            \s* (?P<zone> {_ZONE_NAMES} | [+-]\d{{2}}:?(?:\d{{2}})? )? )? )? )?""",
    re.VERBOSE | re.IGNORECASE,
)
_COMPACT = re.compile(rf"(\d{{8}})T(\d{{4}}|\d{{6}})({_ZONE_NAMES}|[+-]\d{{2}}:?(?:\d{{2}})?)?|(\d{{14}})Z", re.I)
_DIGITS = re.compile(r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?)?)?")
_NUMBER = re.compile(r"(-?\d{1,19})(?:\.(\d{1,20}))?")
_WRITTEN = (4, 8, 14)
"""Digits of the forms that a string can have of any year: old papers and books are dated so."""
_NAMED = re.compile(r"(?:([A-Za-z]{3,9})\.?\s+(\d{1,2})|(\d{1,2})\.?\s+([A-Za-z]{3,9})\.?),?\s+(\d{4})")


def parse_timestamp(value: object) -> int | None:
    """Microseconds since 1970-01-01T00:00Z, None if `value` (str, int, float, Decimal, datetime, date) is no date."""
    try:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float | Decimal):
            return _from_number(value)
        if isinstance(value, datetime):
            return plausible(micros(value if value.tzinfo else value.replace(tzinfo=UTC)))
        if isinstance(value, date):
            return plausible(micros(datetime(value.year, value.month, value.day, tzinfo=UTC)))
        if isinstance(value, str) and len(value) <= 100:
            return _from_text(value.strip())
    except (ValueError, OverflowError, TypeError, IndexError, ArithmeticError):
        pass
    return None


def is_missing(value: object) -> bool:
    """Whether a value of a date's column says that there is no date, so that nothing was left unread."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _from_text(text: str) -> int | None:
    number = _NUMBER.fullmatch(text)
    if number and not (number[2] or "").strip("0"):  # 2015.0 is what a column of numbers with gaps has for 2015
        first_year = FIRST_YEAR if len(number[1]) in _WRITTEN else FIRST_NUMBER_YEAR
        found = _from_digits(number[1], first_year)
        return _since_epoch(int(number[1])) if found is None else found
    if match := _NUMERIC.fullmatch(text):
        return _from_fields(match.groupdict())
    if number:
        return _since_epoch(Decimal(text))
    if match := _COMPACT.fullmatch(text):
        return _from_digits(match[4] or match[1] + match[2], FIRST_YEAR, match[3] or "Z")
    if match := _NAMED.fullmatch(text):
        month = MONTHS.get((match[1] or match[4])[:3].lower())
        if not month:
            return None
        return plausible(micros(datetime(int(match[5]), month, int(match[2] or match[3]), tzinfo=UTC)))
    return from_mail(text)


def _from_fields(found: Mapping[str, str | None]) -> int | None:
    year, month, day, hour, minute, second = (
        int(found[name] or default)
        for name, default in (("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))
    )
    fraction = int((found["fraction"] or "0").ljust(6, "0")[:6])
    leap = timedelta(seconds=1) if second == 60 else timedelta(0)
    moment = datetime(year, month, day, hour, minute, min(second, 59), fraction, tzinfo=zone(found["zone"] or "Z"))
    return plausible(micros(moment) + leap // MICROSECOND, to_the_day=found["day"] is not None)


def _from_number(value: int | float | Decimal) -> int | None:
    if value == value // 1:
        found = _from_digits(str(int(value)), FIRST_NUMBER_YEAR)
        if found is not None:
            return found
    return _since_epoch(value)


def _from_digits(text: str, first_year: int, zone_name: str = "Z") -> int | None:
    """What digits say as a date of `first_year` to `LAST_YEAR`; None where they say none."""
    match = _DIGITS.fullmatch(text)
    if match is None or not first_year <= int(match[1]) <= LAST_YEAR:
        return None
    names = ("year", "month", "day", "hour", "minute", "second")
    fields = {**dict(zip(names, match.groups())), "fraction": None, "zone": zone_name}
    try:
        return _from_fields(fields)
    except ValueError:
        return None


def _since_epoch(value: int | float | Decimal) -> int | None:
    """Seconds below 10^11 (the year 5138), then milliseconds, microseconds, nanoseconds, by a factor of 1,000 each."""
    size = abs(float(value))
    if size < LEAST_SECONDS:
        return None
    for limit, numerator, denominator in ((1e11, 10**6, 1), (1e14, 10**3, 1), (1e17, 1, 1), (1e20, 1, 10**3)):
        if size < limit:
            if isinstance(value, int):
                return plausible(value * numerator // denominator)
            return plausible(round(value * numerator / denominator))
    return None
