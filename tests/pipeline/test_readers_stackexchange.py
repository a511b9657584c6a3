"""Posts.xml: questions joined with their answers, in order and within bounds."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.spill import Spill

HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n'


def post(number: int, parent: int | None = None, score: int = 0, body: str = "", **more: str) -> str:
    kind = {"PostTypeId": "1"} if parent is None else {"PostTypeId": "2", "ParentId": str(parent)}
    values = {
        "Id": str(number), **kind, "CreationDate": "2019-01-02T03:04:05.678", "Score": str(score),
        "Body": body or f"<p>Body {number}.</p>", **more,
    }  # fmt: skip
    return "  <row " + " ".join(f"{name}={quoteattr(value)}" for name, value in values.items()) + " />\r\n"


def written(folder: Path, *rows: str, name: str = "Posts.xml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEAD + "".join(rows) + "</posts>\r\n", encoding="utf-8", newline="")
    return folder / name


def test_a_question_and_its_answers_by_score_are_one_document(tmp_path: Path) -> None:
    body = "<p>How do I <code>print</code> &amp; exit?</p>\n\n<pre><code>for x in y:\n    print(x)\n</code></pre>\n"
    path = written(
        tmp_path / "math.stackexchange.com",
        post(1, score=5, body=body, Title="Print &amp; exit", Tags="<python><io>", AcceptedAnswerId="4"),
        post(2, Title="Other", CreationDate="2009-01-01T00:00:00.000"),
        post(3, parent=1, score=-1),
        post(4, parent=1, score=9),
        post(5, parent=1, score=9),
    )
    first, second = read_rows(path.parent.parent, format="stackexchange")
    assert first["text"] == (
        "Q: Print &amp; exit\n\nHow do I print & exit?\n\nfor x in y:\n    print(x)\n\n"
        "A: Body 4.\n\nA: Body 5.\n\nA: Body 3."
    )
    assert second["text"] == "Q: Other\n\nBody 2."
    assert first["url"] == first["own_id"] == "https://math.stackexchange.com/questions/1"
    assert first["timestamp"].isoformat() == "2019-01-02T03:04:05.678000+00:00"
    assert (first["license"], second["license"]) == ("CC-BY-SA-4.0", "CC-BY-SA-2.5")
    assert json.loads(first["metadata"]) == {
        "accepted_answer": 4, "answer_scores": [9, 9, -1], "answers": [4, 5, 3], "post": 1, "score": 5,
        "tags": ["python", "io"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("date", "stated", "license"),
    [
        ("2011-04-07T23:59:59", None, "CC-BY-SA-2.5"),
        ("2011-04-08T00:00:00", None, "CC-BY-SA-3.0"),
        ("2018-05-01T23:59:59", None, "CC-BY-SA-3.0"),
        ("2018-05-02T00:00:00", None, "CC-BY-SA-4.0"),
        ("2020-01-01T00:00:00", "CC BY-SA 3.0", "CC-BY-SA-3.0 AND CC-BY-SA-4.0"),
    ],
)
def test_the_licence_is_the_posts_own_or_that_of_its_day(tmp_path: Path, date, stated, license) -> None:
    more = {"ContentLicense": stated} if stated else {}
    answer = [post(2, parent=1, ContentLicense="CC BY-SA 4.0")] if stated else []
    (row,) = read_rows(written(tmp_path, post(1, CreationDate=date, **more), *answer), format="stackexchange")
    assert row["license"] == license


def test_record_is_the_offset_of_the_question_and_the_path_may_name_no_site(tmp_path: Path) -> None:
    path = written(tmp_path, post(1, body="<p>é</p>"), post(2), post(3, parent=2))
    rows = read_rows(path, format="stackexchange")
    data = path.read_bytes()
    assert [data[row["record"] :].startswith(f'<row Id="{i}"'.encode()) for i, row in enumerate(rows, 1)] == [True] * 2
    assert [(row["own_id"], row["url"]) for row in rows] == [(None, None)] * 2
    (tmp_path / "p.gz").write_bytes(gzip.compress(data))
    assert [row["record"] for row in read_rows(tmp_path / "p.gz", format="stackexchange")] == [
        row["record"] for row in rows
    ]


def test_answers_without_a_question_and_other_posts_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    written(folder, post(1), post(2, parent=7), post(3, parent=7), post(4, PostTypeId="5"))
    written(folder, "<row Id='1' Name='x' />", name="Users.xml")
    assert [row["path"] for row in read_rows(folder, format="stackexchange")] == ["Posts.xml"]
    assert read_skipped(folder, format="stackexchange") == {
        "stackexchange.no_question": 2, "stackexchange.other_post": 1, "stackexchange.other_table": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda row: row.replace(' Id="2"', ' Id="2" Id="2"'), "xml.malformed"),
        (lambda row: row.replace(' Id="2"', ' Id="x"'), "stackexchange.no_id"),
        (lambda row: row.replace("Body 2", "&#x1;"), "xml.malformed"),
        (lambda row: row.replace("Body 2", "&laugh;"), "xml.malformed"),
        (lambda row: row.replace("<row", "<rqw"), "xml.malformed"),
        (lambda row: row.replace("/>", ""), "xml.malformed"),
        (lambda row: row.replace("Body 2.", "&lt;b&gt;" * 3000), "markup.too_deep"),
        (lambda row: row.replace("Body 2.", "x" * 3_000_000), "read.too_large"),
    ],
)
def test_a_broken_row_is_one_row_and_the_others_are_read(tmp_path: Path, damage, reason: str) -> None:
    path = written(tmp_path, post(1), damage(post(2)).replace("&amp;lt;", "&lt;"), post(3))
    rows = read_rows(path, format="stackexchange", limits={"max_document_bytes": 1_000_000})
    assert [row["quarantined_by"] for row in rows if row["text"] is None] == [reason]
    assert [row["text"] for row in rows if row["text"]] == ["Q: Body 1.", "Q: Body 3."]


def test_of_a_truncated_dump_the_posts_before_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path, post(1), post(2, parent=1), post(3))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b'<row Id="3"') + 40])
    rows = read_rows(path, format="stackexchange")
    assert sorted((row["text"] or "", row["quarantined_by"] or "") for row in rows) == [
        ("", "read.truncated"), ("Q: Body 1.\n\nA: Body 2.", ""),
    ]  # fmt: skip
    path.write_bytes(b"7z\xbc\xaf\x27\x1c" + b"x" * 50)
    assert [row["quarantined_by"] for row in read_rows(path, format="stackexchange")] == ["read.7z"]


def test_joining_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [post(i) for i in range(1, 40)] + [post(100 + i, parent=1 + i % 39, score=i % 7) for i in range(200)]
    expected = [row["text"] for row in read_rows(written(tmp_path, *rows), format="stackexchange")]
    random.Random(1).shuffle(rows)
    assert [row["text"] for row in read_rows(written(tmp_path, *rows), format="stackexchange")] == expected
    assert len(expected) == 39
    assert all(text.count("A: ") in (5, 6) for text in expected)


@given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=20)), max_size=200), st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_a_spill_sorts_as_the_standard_library_does(records: list[tuple[int, bytes]], run_bytes: int) -> None:
    spill = Spill(run_bytes, fan_in=3)
    for number, data in records:
        spill.add((number,), data)
    assert list(spill.sorted()) == sorted((((n,), data) for n, data in records), key=lambda record: record[0])


@pytest.mark.slow
def test_a_spill_holds_no_more_than_a_run() -> None:
    tracemalloc.start()
    spill = Spill(run_bytes=1 << 20, fan_in=8)
    for i in range(20_000):
        spill.add((i * 7919 % 20_000,), b"x" * 2000)
    keys = [key for key, _ in groupby(spill.sorted(), key=lambda record: record[0])]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert keys == [(i,) for i in range(20_000)]
    assert peak < 15_000_000  # 40 MB went through
