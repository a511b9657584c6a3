"""Which moments a document can have, and what the names of time zones mean: the part that all readers of dates share.

A moment is microseconds since 1970-01-01T00:00Z. Two parsers make moments of text: `pipeline.readers.timestamps` of
the values of records, `stages.page_dates` of what web pages say. Both give None for a moment that `plausible` refuses,
because the oldest copy of a text stays: one wrong date in the past decides about every copy.

    before the year 1000, after `LAST_YEAR`     placeholders, mistakes in the unit of a number, events to come
    the zero of a clock, exact to the day       1970-01-01 and the others of `ZEROS`: what programs write for "no date"

A year or a month alone is never a zero: a book may be of 1970. No clock is asked, because the same input must give the
same output on any day; so the last year is a constant of the release.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FIRST_YEAR = 1000
LAST_YEAR = 2027
"""The year after this release. Raise it with every release of a new year."""


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


FIRST = micros(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC))
END = micros(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))

_UNIX_ZERO = (micros(datetime(1969, 12, 31, 10, tzinfo=UTC)), micros(datetime(1970, 1, 1, 14, tzinfo=UTC)))
"""The zero of Unix as local time anywhere: programs in zones from UTC-14 to UTC+14 write it without their offset, as
1969-12-31 19:00 or 1970-01-01 01:00. Minus one second, the usual sign of an error, lies in it too."""

ZEROS = {
    micros(datetime(year, month, day, tzinfo=UTC))
    for year, month, day in (
        (1601, 1, 1),  # Windows: FILETIME
        (1753, 1, 1),  # SQL Server: the least datetime
        (1899, 12, 30),  # OLE Automation, spreadsheets
        (1899, 12, 31),  # spreadsheets: serial number 0, where the first day is 1
        (1900, 1, 1),  # SQL Server: datetime of an empty string; spreadsheets: serial number 1
    )
}
"""Zeros of other clocks, at midnight. 1904-01-01 (old Macintosh) and 1980-01-01 (DOS, ZIP) are days like any other
here: nobody writes them where the date of a text belongs."""

ZONES = {
    "UT": 0, "UTC": 0, "GMT": 0, "Z": 0,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Names of zones with one meaning: RFC 822, section 5.1, and UTC. Hours east of Greenwich. Other names are used for
several zones, or change with the season as CET does; a time with one of them is None rather than hours off."""

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
"""By the first three letters."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WORD = re.compile(r"[A-Za-z][A-Za-z/_]*")
_COMMENT = re.compile(r"\([^()]*\)")


def zone(name: str) -> timezone:
    """Of one of `ZONES` in any case, or of an offset as +01:00, -0400, +5. ValueError for any other."""
    if name[:1] in ("+", "-"):
        digits = name[1:].replace(":", "")
        hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(offset if name[0] == "+" else -offset)
    if name.upper() not in ZONES:
        raise ValueError(f"{name!r} is not a time zone with one meaning")
    return timezone(timedelta(hours=ZONES[name.upper()]))


def plausible(moment: int, to_the_day: bool = True) -> int | None:
    """`moment` if a document can have it, else None. to_the_day: the source gave a day, not only a year or a month."""
    if not FIRST <= moment < END:
        return None
    if to_the_day and (_UNIX_ZERO[0] <= moment <= _UNIX_ZERO[1] or moment in ZEROS):
        return None
    return moment


def from_mail(text: str) -> int | None:
    """A date as mail, HTTP and `date` write it. ValueError or TypeError where it is none.

    The library passes over words that it does not know, and with them the names of zones and `pm`: here they are none.
    """
    for word in _WORD.findall(_COMMENT.sub("", text)):
        if word[:3].lower() not in (*MONTHS, *_DAYS) and word.upper() not in ZONES:
            raise ValueError(f"{word!r} is neither a day, a month nor a time zone with one meaning")
    parsed = parsedate_to_datetime(text)
    return plausible(micros(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)))
