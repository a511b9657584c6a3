"""CSV and TSV: rows are documents, whatever programs write; a broken row costs no other."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

Shown = list[tuple[str | None, int, str | None]]


def rows_of(path: Path, data: bytes | str, **fields: Any) -> Shown:
    """(text, record, reason) of every row."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [(row["text"], row["record"], row["quarantined_by"]) for row in read_rows(path, **fields)]


def test_values_are_text_and_records_are_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'id,text,lang,score\n007,"one, two",en,1.50\n8,"a ""word"" and\na line",en,\n\n9,three,,0x1\n'
    )
    rows = read_rows(tmp_path / "a.csv", columns={"id": "id", "language": "lang"})
    assert [(row["own_id"], row["text"], row["record"]) for row in rows] == [
        ("007", "one, two", 2), ("8", 'a "word" and\na line', 3), ("9", "three", 6),
    ]  # fmt: skip
    assert [row["language"] for row in rows] == ["en", "en", None]
    assert [row["metadata"] for row in rows] == ['{"score":"1.50"}', None, '{"score":"0x1"}']
    assert read_skipped(tmp_path / "a.csv") == {"csv.empty_line": 1}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_separators_ends_of_lines_and_compression(tmp_path: Path, separator: str, ending: str, pack: Any) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=ending)
    texts = [f"text {i}: a, b; c | d" for i in range(20)]
    writer.writerows([["id", "text"], *([i, text] for i, text in enumerate(texts))])
    found = rows_of(tmp_path / "a.csv", pack(out.getvalue().encode()))
    assert found == [(text, i + 2, None) for i, text in enumerate(texts)]


def test_tsv_is_separated_by_tabs_whatever_it_holds(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.tsv", "text\na, b, c\nd, e, f\n") == [("a, b, c", 2, None), ("d, e, f", 3, None)]
    assert rows_of(tmp_path / "b.csv", "text\na, b, c\nd\n") == [("a, b, c", 2, None), ("d", 3, None)]


def test_rows_that_do_not_fit_the_header(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "id,text\n1,a\n2\n3,b,c\n4,d,\n5,e\n") == [
        ("a", 2, None), (None, 3, "csv.ragged"), (None, 4, "csv.ragged"), ("d", 5, None), ("e", 6, None),
    ]  # fmt: skip


def test_quotes_that_do_not_fit_cost_one_line(tmp_path: Path) -> None:
    unclosed = 'id,text\n1,"never closed\n2,b\n3,c\n'
    behind = 'id,text\n1,"closed" and more\n2,b\n3,c\n'
    until_next = 'id,text\n1,"never closed\n2,b\n3,"c"\n'
    for data in (unclosed, behind, until_next):
        assert rows_of(tmp_path / "a.csv", data) == [
            (None, 2, "csv.malformed"), ("b", 3, None), ("c", 4, None)
        ]  # fmt: skip
    assert rows_of(tmp_path / "b.csv", 'id,text\n1,5" pipe\n') == [('5" pipe', 2, None)]


def test_files_without_rows(tmp_path: Path) -> None:
    for data, reason in (("id,text\n", "csv.no_rows"), ("\n\n", "csv.empty"), ("id,text", "csv.no_rows")):
        assert rows_of(tmp_path / "a.csv", data) == []
        assert read_skipped(tmp_path / "a.csv")[reason] == 1


def test_a_header_that_comes_again_is_no_row(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "a.csv", "id,text\n1,a\nid,text\n2,b\n") == [("a", 2, None), ("b", 4, None)]
    assert read_skipped(tmp_path / "a.csv") == {"csv.header_again": 1}


def test_columns_of_one_name_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv has two columns named 'text', number 2 and number 4"):
        rows_of(tmp_path / "a.csv", "id,text,n,text\n1,a,2,b\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id,text,text\n1,a,b\n"))
    with pytest.raises(ValueError, match="two columns named 'text'"):
        read_rows(tmp_path / "a.csv.gz")


def test_what_pandas_writes(tmp_path: Path) -> None:
    texts = ['a "quoted" word', "two\nlines", "comma, comma", " spaces ", "größer", "tab\there", "\\n no break", "NA"]
    frame = pd.DataFrame({"id": [f"{i:04d}" for i in range(len(texts))], "text": texts, "n": [1.5] * len(texts)})
    for index in (True, False):
        for separator in ",;\t|":
            frame.to_csv(tmp_path / "a.csv", sep=separator, index=index)
            rows = read_rows(tmp_path / "a.csv", columns={"id": "id"})
            assert [(row["own_id"], row["text"]) for row in rows] == list(zip(frame["id"], texts, strict=True))
            assert ("column_1" in json.loads(rows[0]["metadata"])) == index


def test_a_value_of_many_megabytes_and_one_that_is_too_long(tmp_path: Path) -> None:
    long = "word " * 400_000
    data = f'id,text\n1,"{long}"\n2,b\n'
    assert rows_of(tmp_path / "a.csv", data) == [(long, 2, None), ("b", 3, None)]
    lines = "\n".join(["x" * 1000] * 4000)
    data = f'id,text\n1,"{lines}"\n2,b\n'
    limits = {"max_document_bytes": 500_000}
    assert rows_of(tmp_path / "b.csv", data, limits=limits) == [(None, 2, "read.too_large"), ("b", 4002, None)]
    assert rows_of(tmp_path / "c.csv", f"text\n{long}\nb\n", limits=limits)[1:] == [("b", 3, None)]


def test_a_cut_compressed_table_keeps_its_rows(tmp_path: Path) -> None:
    texts = [os.urandom(40).hex() for _ in range(200)]
    data = gzip.compress("\n".join(["id,text", *(f"{i},{text}" for i, text in enumerate(texts))]).encode(), mtime=0)
    (tmp_path / "a.csv.gz").write_bytes(data[: len(data) // 2])
    rows = read_rows(tmp_path / "a.csv.gz")
    kept = [row["text"] for row in rows if row["quarantined_by"] is None]
    assert kept == texts[: len(kept)]
    assert len(kept) > 50
    assert rows[-1]["quarantined_by"] == "read.truncated"


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12)


@given(st.lists(st.tuples(cells, cells), max_size=12), st.sampled_from(",;\t|"))
@settings(max_examples=150, deadline=None)
def test_any_table_comes_back(pairs: list[tuple[str, str]], separator: str) -> None:
    import tempfile

    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["key", "text"], *pairs])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(out.getvalue().encode())
        rows = read_rows(path)
    wanted = [pair[1] for pair in pairs if [each.strip() for each in pair] != ["key", "text"]]
    assert [row["text"] for row in rows] == wanted
    assert len({row["id"] for row in rows}) == len(rows)


@given(st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "é", "\ufeff", "\0", ";", "id,text"]), max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_rows_and_all_lines_are_accounted_for(parts: list[str]) -> None:
    import tempfile

    data = ("id,text\n" + "".join(parts)).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        rows = read_rows(path)
    assert len({row["record"] for row in rows}) == len(rows)
    assert all(row["quarantined_by"] or row["text"] is not None for row in rows)


def test_many_stray_quotes_take_no_longer_than_the_file(tmp_path: Path) -> None:
    import time

    started = time.process_time()
    for line in ('1,"open', '1,"a"b', '"', '1,""', '1,"a""', '""",'):
        found = rows_of(tmp_path / "a.csv", "id,text\n" + f"{line}\n" * 30_000)
        assert len(found) > 1
    assert time.process_time() - started < 30
