"""Dates of records: digits that read as a date are one, and what no document can have is none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read_table

from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.timestamps import is_missing, parse_timestamp
from gristmill.pipeline.steps.first_pass import brought_by
from gristmill.stages.moments import END, FIRST, LAST_YEAR
from gristmill.stages.page_dates import parse_date

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(text: str | None) -> int | None:
    return None if text is None else (datetime.fromisoformat(text + "+00:00") - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        (20230304, "2023-03-04T00:00:00"), ("20230304", "2023-03-04T00:00:00"), (20230304.0, "2023-03-04T00:00:00"),
        (2015, "2015-01-01T00:00:00"), ("2015.0", "2015-01-01T00:00:00"), (Decimal(2015), "2015-01-01T00:00:00"),
        (1900, "1900-01-01T00:00:00"), (201503, "2015-03-01T00:00:00"), ("201503", "2015-03-01T00:00:00"),
        (20150304120000, "2015-03-04T12:00:00"), (201503041200, "2015-03-04T12:00:00"), (LAST_YEAR + 1, None),
        (1899, None), (20231301, None), (20150230, None), (201513, None), (20150304250000, None), (1234, None),
        ("1813", "1813-01-01T00:00:00"), ("18640512", "1864-05-12T00:00:00"), ("0987", None), ("002015", None),
        ("20150304T120000Z", "2015-03-04T12:00:00"), ("20150304T1200+0200", "2015-03-04T10:00:00"),
    ],
)  # fmt: skip
def test_digits_that_read_as_a_date_are_one(found: object, meant: str | None) -> None:
    assert parse_timestamp(found) == micros(meant)


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("as_text", [False, True])
def test_other_numbers_count_from_1970_in_the_unit_that_their_size_tells(factor: int, as_text: bool) -> None:
    number = 1425463200 * factor
    assert parse_timestamp(str(number) if as_text else number) == micros("2015-03-04T10:00:00")


@pytest.mark.parametrize("found", [1, 7, 123, 43831, 99_999_999, -1, -5.5, "12", 0, "0", 0.0])
def test_small_numbers_are_counters(found: object) -> None:
    assert parse_timestamp(found) is None


def test_a_negative_number_of_seconds_is_before_1970() -> None:
    assert parse_timestamp(-(10**9)) == micros("1938-04-24T22:13:20")


@given(st.datetimes(datetime(1900, 1, 2), datetime(LAST_YEAR, 12, 31)))
def test_compact_forms_are_what_iso_says(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    expected = parse_timestamp(moment.isoformat())
    assert parse_timestamp(int(moment.strftime("%Y%m%d%H%M%S"))) == expected
    assert parse_timestamp(moment.strftime("%Y%m%d%H%M%S")) == expected
    assert parse_timestamp(int(moment.strftime("%Y%m%d"))) == parse_timestamp(moment.date())


@pytest.mark.parametrize(
    "found",
    [
        "1970-01-01T00:00:00Z", "1970-01-01", "1970-01-01 01:00:00", "1969-12-31 19:00:00", "1969-12-31T23:59:59Z",
        "Thu, 01 Jan 1970 00:00:00 GMT", "0001-01-01", "0001-01-01T00:00:00", "9999-12-31", "2099-01-01", 4102444800,
        "1900-01-01T00:00:00", "1899-12-30", "1601-01-01", "1753-01-01", "0000-00-00", datetime(1970, 1, 1),
        date(1, 1, 1), datetime(9999, 12, 31), date(1900, 1, 1), 19700101, 19000101, "January 1, 1970",
    ],
)  # fmt: skip
def test_zeros_of_clocks_the_future_and_year_1_are_no_dates(found: object) -> None:
    assert parse_timestamp(found) is None
    if isinstance(found, str):
        assert parse_date(found) is None


@pytest.mark.parametrize(
    ("found", "meant"),
    [("1970", "1970-01-01T00:00:00"), ("1970-01", "1970-01-01T00:00:00"), (1970, "1970-01-01T00:00:00"),
     ("1900", "1900-01-01T00:00:00"), ("1970-01-02", "1970-01-02T00:00:00"), ("1904-01-01", "1904-01-01T00:00:00")],
)  # fmt: skip
def test_a_year_or_a_month_alone_is_no_zero(found: object, meant: str) -> None:
    assert parse_timestamp(found) == micros(meant)


@pytest.mark.parametrize("zone", ["CET", "CEST", "BST", "IST", "AST", "Europe/Berlin", "A", "PM"])
@pytest.mark.parametrize("form", ["Wed, 27 Mar 2019 06:10:48 {}", "2019-03-27 06:10:48 {}", "2019-03-27T06:10:48{}"])
def test_a_zone_of_several_meanings_is_not_utc(form: str, zone: str) -> None:
    assert parse_timestamp(form.format(zone)) is None


@pytest.mark.parametrize(("zone", "hour"), [("EST", 11), ("EDT", 10), ("PST", 14), ("GMT", 6), ("utc", 6), ("Z", 6)])
@pytest.mark.parametrize("form", ["Wed, 27 Mar 2019 06:10:48 {}", "2019-03-27 06:10:48 {}", "2019-03-27T06:10:48{}"])
def test_zones_of_mail_have_their_offsets(form: str, zone: str, hour: int) -> None:
    assert parse_timestamp(form.format(zone)) == micros(f"2019-03-27T{hour:02}:10:48")


def test_pages_are_told_the_same_of_zones() -> None:
    assert parse_date("2019-03-27T06:10:48 CET") is None
    assert parse_date("2019-03-27T06:10:48 EST") == micros("2019-03-27T11:10:48")
    assert parse_date("Wed, 27 Mar 2019 06:10:48 CET") is None
    assert parse_date("2019-03-27 06:10 Uhr") == micros("2019-03-27T06:10:00")


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.datetimes(), st.decimals(), st.dates()))
def test_every_date_is_one_that_a_document_can_have(value: object) -> None:
    found = parse_timestamp(value)
    assert found is None or FIRST <= found < END


def test_what_could_not_be_read_is_kept_and_counted(tmp_path: Path) -> None:
    dates: list[object] = ["2015-03-04", 0, "soon", None, "", "9999-12-31", 20150304]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {i}", "date": each}) + "\n" for i, each in enumerate(dates)))
    table = read_table(SourceSpec("s", str(path), columns={"timestamp": "date"}))
    kept = [None if row is None else json.loads(row)["timestamp"] for row in table.column("metadata").to_pylist()]
    assert kept == [None, 0, "soon", None, None, "9999-12-31", None]
    assert table.column("timestamp").null_count == 5
    assert brought_by(table.combine_chunks().to_batches()[0]).unread_dates == 3
    assert [is_missing(each) for each in (None, "", " \t", float("nan"), "x", 0)] == [True] * 4 + [False] * 2
