"""A date as pages write it, as microseconds since 1970 in UTC.

Understood: ISO 8601 with any offset, also cut short or followed by other text; `20110128`; RFC 2822; `31.10.2019`,
which is day first wherever it is written with full stops; `10/31/2019` where only one order is possible; English month
names; a URL's `/2019/10/31/`. A time without an offset is taken as UTC, one with the name of a zone that has several
meanings is None. So is what no document can have: a year before 1000, the future, the zero of a clock
(`stages.moments.plausible`).
"""

from __future__ import annotations

import re
from datetime import datetime

from gristmill.stages.moments import MONTHS, from_mail, micros, plausible, zone

MAX_CHARACTERS = 100

_ISO = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"
    r"(?:[T\s]{1,2}(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d{1,9})?)?\s?([+-]\d{2}:?(?:\d{2})?|[A-Z]{2,5}\b)?)?"
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?!\d)")
_NUMBERS = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?!\d)")
_MONTH_FIRST = re.compile(r"([A-Za-z]{3,9})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})(?!\d)")
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?\.? ([A-Za-z]{3,9})\.?,? (\d{4})(?!\d)")
_IN_URL = re.compile(r"/((?:19|20)\d{2})[/-](\d{1,2})[/-](\d{1,2})(?:[/-]|$)")


def parse_date(text: str) -> int | None:
    """Microseconds since 1970-01-01T00:00Z, None where `text` is no date or could be two."""
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        return None
    try:
        if match := _ISO.match(text):
            return _moment(*match.groups())
        if match := _COMPACT.match(text):
            return _moment(*match.groups())
        if match := _NUMBERS.match(text):
            first, mark, second, year = match.groups()
            if mark == "." or int(first) > 12:
                return _moment(year, second, first)
            return _moment(year, first, second) if int(second) > 12 or first == second else None
        if match := _MONTH_FIRST.search(text):
            return _named(match[3], match[1], match[2])
        if "," not in text[:5] and (match := _DAY_FIRST.match(text)):
            return _named(match[3], match[2], match[1])
        return from_mail(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def date_in_url(url: str) -> int | None:
    """Of a path such as /2019/10/31/, the day's begin."""
    match = _IN_URL.search(url[:2000])
    try:
        return _moment(*match.groups()) if match else None
    except (ValueError, OverflowError):
        return None


def _named(year: str, month: str, day: str) -> int | None:
    number = MONTHS.get(month[:3].lower())
    return _moment(year, str(number), day) if number else None


def _moment(
    year: str,
    month: str,
    day: str,
    hour: str | None = None,
    minute: str | None = None,
    second: str | None = None,
    zone_name: str | None = None,
) -> int | None:
    moment = datetime(
        *(int(year), int(month), int(day), int(hour or 0), int(minute or 0), min(int(second or 0), 59)),
        tzinfo=zone(zone_name or "Z"),
    )
    return plausible(micros(moment))
