"""Title, date, address and site: each place where pages say them, their order, and real pages against the truth."""

from __future__ import annotations

import json
import re
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from gristmill.stages.document import DOCUMENT, RAW
from gristmill.stages.extract import Extract
from gristmill.stages.page_dates import date_in_url, parse_date
from gristmill.stages.page_metadata import Metadata, metadata

LD = '<script type="application/ld+json">{}</script>'
URL = "https://www.example.com/2019/a.html"


def said(head: str, url: str | None = URL, body: str = "<p>x") -> Metadata:
    return metadata(HTMLTree.parse(f"<html><head>{head}</head><body>{body}"), url)


def day(micros: int | None) -> str | None:
    return None if micros is None else datetime.fromtimestamp(micros / 1e6, UTC).isoformat().removesuffix("+00:00")


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("<title> A &amp; B\n c</title>", "A & B c"), ("<meta property=og:title content=O><title>T</title>", "O"),
        (LD.format('{"@graph":[{"@type":"X"},{"headline":"H"}]}') + "<title>T</title>", "H"),
        ("<title>Story - Example.com</title>", "Story"), ("<title>Example | Story</title>", "Story"),
        ("<meta property=og:site_name content='La Stampa'><title>Story | LA STAMPA</title>", "Story"),
        ("<title>Re: a - b</title>", "Re: a - b"), ("<title></title>", None), ("", None),
        ("<svg><title>icon</title></svg><title>T</title>", "T"),
        ("<meta name='twitter:title dc.title' content=W><title>T</title>", "W"),
    ],
)  # fmt: skip
def test_titles(head: str, title: str | None) -> None:
    assert said(head).title == title


def test_a_heading_with_which_the_title_begins_is_the_title() -> None:
    assert said("<title>Big News – Politics – Somewhere</title>", body="<h1>Big News</h1>").title == "Big News"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("<meta property=article:published_time content=2020-02-01T10:00:00+02:00>", "2020-02-01T08:00:00"),
        (LD.format('[{"datePublished":"2020-02-01"}]') + "<meta name=date content=1999-01-01>", "2020-02-01T00:00:00"),
        ("<meta name=DC.date.issued content=2020-02-01>", "2020-02-01T00:00:00"),
        ("<time datetime='2020-02-01 10:30'>yesterday</time>", "2020-02-01T10:30:00"),
        ("<meta name=date content=soon><time datetime=2020-02-01>", "2020-02-01T00:00:00"),
        ("<script type='application/ld+json'>{broken</script>", None), ("<meta name=date content=0001-01-01>", None),
    ],
)  # fmt: skip
def test_dates_of_publication(head: str, expected: str | None) -> None:
    assert day(said(head).published) == expected


def test_the_day_in_the_address_is_the_last_resort() -> None:
    assert day(said("", "http://x.org/2019/10/31/story").published) == "2019-10-31T00:00:00"
    assert date_in_url("http://x.org/2019/13/31/story") is None
    assert date_in_url("http://x.org/12019/10/31") is None


@pytest.mark.parametrize(
    ("head", "address"),
    [
        ("<link rel=canonical href=/b?c>", "https://www.example.com/b?c"),
        ("<base href=http://other.org/x/><link rel=Canonical href=y>", "http://other.org/x/y"),
        ("<meta property=og:url content=https://a.b/>", "https://a.b/"), ("<link rel=stylesheet href=/s.css>", None),
        ("<link rel=canonical href=javascript:x>", None), ("<link rel=canonical href='http://[broken'>", None),
        ("<link rel=canonical href='http:///no'><meta property=og:url content=//c.d/e>", "https://c.d/e"),
    ],
)  # fmt: skip
def test_canonical_addresses(head: str, address: str | None) -> None:
    assert said(head).canonical_url == address


def test_an_address_needs_a_base() -> None:
    assert said("<link rel=canonical href=/b>", None) == Metadata(None, None, None, None)
    assert said("<link rel=canonical href=http://www.a.b/c>", None).site == "a.b"


def test_the_site_is_its_name_or_its_host() -> None:
    assert said("<meta property=og:site_name content=' The  Site '>").site == "The Site"
    assert said("").site == "example.com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2011-11-28 8:32:24 -0400", "2011-11-28T12:32:24"), ("2020-02-01T10:00:00.123Z", "2020-02-01T10:00:00"),
        ("20200201", "2020-02-01T00:00:00"), ("31.10.2019", "2019-10-31T00:00:00"),
        ("10/31/2019", "2019-10-31T00:00:00"), ("31/10/2019", "2019-10-31T00:00:00"), ("03/04/2015", None),
        ("April 3, 2015", "2015-04-03T00:00:00"),
        ("3 Apr 2015", "2015-04-03T00:00:00"), ("Fri, 03 Apr 2015 10:00:00 GMT", "2015-04-03T10:00:00"), ("", None),
        ("2020-13-01", None), ("yesterday", None), ("2020-02-01T25:00", None), ("9" * 200, None),
    ],
)  # fmt: skip
def test_dates_as_pages_write_them(text: str, expected: str | None) -> None:
    assert day(parse_date(text)) == expected


@given(st.text("0123456789-/.:TZ+ aprMay,", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_date_or_none(text: str) -> None:
    found = parse_date(text)
    assert found is None or isinstance(found, int)


@pytest.mark.slow
def test_a_page_of_many_tags_takes_no_longer_than_in_proportion() -> None:
    """The collections of the parser are quadratic to iterate: 40,000 tags would take an hour."""
    assert said("<meta name=date content=2020-02-01>" * 40_000).published is not None


def test_columns_are_filled_and_what_is_known_stays() -> None:
    page = b"<title>From the page</title><meta name=date content=2020-02-01><p>" + b"Some words of text. " * 20
    same = {"id": bytes(16), "source": "s", "path": "p", "priority": 0, "url": URL, "content_type": "text/html"}
    given = [(page, None), (page, "known"), (None, None)]
    rows = [same | {"record": i, "content": content, "title": title} for i, (content, title) in enumerate(given)]
    result = Extract().apply(pa.RecordBatch.from_pylist(rows, RAW))
    assert result.column("title").to_pylist() == ["From the page", "known", None]
    assert result.column("site").to_pylist() == ["example.com", "example.com", None]
    assert result.column("published").null_count == 1
    assert [result.schema.field(name) for name in ("title", "published", "canonical_url", "site")] == [
        DOCUMENT.field(name) for name in ("title", "published", "canonical_url", "site")
    ]
    bare = pa.RecordBatch.from_pylist(rows, RAW).drop_columns(["title", "published", "canonical_url", "site", "url"])
    assert Extract().apply(bare).column("title").to_pylist() == ["From the page"] * 2 + [None]


def test_titles_and_dates_of_real_pages(shared_data: Path) -> None:
    """trafilatura's evaluation pages, truth by hand (it often has the heading where the page says another title)."""
    expected, content = {}, {}
    with (shared_data / "web" / "html-trafilatura-eval.tar.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.endswith("evaldata.json"):
                    expected = json.load(archive.extractfile(member))  # type: ignore[arg-type]
                elif member.isfile() and len(content) < 300:
                    content[member.name.rpartition("/")[2]] = archive.extractfile(member).read()  # type: ignore[union-attr]
    titles, dates = [], []
    for url, truth in expected.items():
        if truth["file"] in content:
            found = metadata(HTMLTree.parse(content[truth["file"]].decode("utf-8", "replace")), url)
            if truth.get("title"):
                titles.append(_letters(truth["title"]) == _letters(found.title))
            if re.fullmatch(r"\d{4}-\d\d-\d\d", truth.get("date") or "") and found.published is not None:
                dates.append((day(found.published) or "")[:10] == truth["date"])
    assert len(titles) > 100
    assert sum(titles) / len(titles) > 0.7
    assert sum(dates) / len(dates) > 0.85


def _letters(text: str | None) -> str:
    return re.sub(r"\W+", " ", text or "").casefold().strip()
