"""Parquet, files, source trees, archives, dates."""

from __future__ import annotations

import gzip
import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from reading import read_rows, read_table

from gristmill.pipeline.readers.rows import READ
from gristmill.pipeline.readers.source import FORMATS, SourceSpec, format_by_name
from gristmill.pipeline.readers.timestamps import parse_timestamp


def parquet(path: Path, rows: int = 100, row_group_size: int = 10) -> Path:
    table = pa.table(
        {
            "text": [f"text {i}" for i in range(rows)],
            "date": pa.array([datetime(2020, 1, 1, 0, 0, i % 60, tzinfo=UTC) for i in range(rows)]),
            "score": [i / 2 for i in range(rows)],
        }
    )
    pq.write_table(table, path, row_group_size=row_group_size, compression="none", use_dictionary=False)
    return path


def test_parquet_rows_are_the_same_by_file_and_by_row_groups(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet")
    whole = read_table(SourceSpec("s", str(file), columns={"timestamp": "date"}))
    split = read_table(SourceSpec("s", str(file), columns={"timestamp": "date"}), partition_bytes=600)
    assert whole.schema == READ
    assert whole.to_pylist() == split.to_pylist()
    assert whole.column("record").to_pylist() == list(range(100))
    assert whole.column("text").to_pylist() == [f"text {i}" for i in range(100)]
    assert whole.column("metadata")[3].as_py() == '{"score":1.5}'
    assert whole.column("timestamp")[61].as_py() == datetime(2020, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_a_parquet_string_that_is_not_utf8_quarantines_its_row_alone(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe", None, b"fine"], pa.binary())
    texts = pa.StringArray.from_buffers(4, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0], 1)
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet")
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [
        ("good", None), (None, "read.invalid_utf8"), (None, "read.no_text"), ("fine", None),
    ]  # fmt: skip


def test_of_a_damaged_parquet_file_the_row_groups_before_the_damage_are_kept(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet")
    data = bytearray(file.read_bytes())
    at = pq.ParquetFile(file).metadata.row_group(5).column(0).data_page_offset
    data[at : at + 40] = b"\xff" * 40
    file.write_bytes(data)
    rows = read_rows(file)
    assert [row["text"] for row in rows[:-1]] == [f"text {i}" for i in range(50)]
    assert (rows[-1]["quarantined_by"], rows[-1]["record"]) == ("read.truncated", 50)


def test_a_parquet_file_without_a_footer_is_one_row(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    (row,) = read_rows(file)
    assert (row["quarantined_by"], row["read_bytes"]) == ("read.truncated", file.stat().st_size)


def tree(root: Path) -> Path:
    files = {
        "a/main.py": b"print('\xc3\xa9')\n", "a/nul.c": b"int x;\0\n",
        "b/bad.rs": b"\xff\xfe fn", "b/logo.png": b"\x89PNG\0",
        "b/LICENSE": b"free\n", "c/page.html": b"<p>x</p>", "c/Makefile": b"all:\n", "empty.py": b"", ".git/x.py": b"x",
    }  # fmt: skip
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


SOURCE_FILES = [
    ("a/main.py", "python", "print('é')\n", None), ("a/nul.c", "c", "int x;\0\n", None),
    ("b/bad.rs", None, None, "read.invalid_utf8"), ("c/Makefile", "makefile", "all:\n", None),
    ("c/page.html", "html", "<p>x</p>", None),
]  # fmt: skip


def test_a_source_file_of_a_tree_is_a_document_with_its_language(tmp_path: Path) -> None:
    rows = read_rows(tree(tmp_path), format="tree", domain="code")
    found = [(row["path"], row["language"], row["text"], row["quarantined_by"]) for row in rows]
    assert found == SOURCE_FILES
    assert {row["domain"] for row in rows} == {"code"}
    assert {row["record"] for row in rows} == {0}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_an_archive_reads_like_the_tree_it_holds(tmp_path: Path, suffix: str) -> None:
    root = tree(tmp_path / "tree")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and ".git" not in p.parts):
            archive.add(root / name, name)
    data = buffer.getvalue()
    pack = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.zst": zstandard.ZstdCompressor().compress}[suffix]
    file = tmp_path / f"t{suffix}"
    file.write_bytes(pack(data))
    rows = read_rows(file, domain="code")
    found = [(row["path"], row["language"], row["text"], row["quarantined_by"]) for row in rows]
    assert found == [(f"t{suffix}/{path}", *rest) for path, *rest in SOURCE_FILES]

    file.write_bytes(pack(data[: 512 * 5]))  # header and data of the first two files, header of the third
    rows = read_rows(file, domain="code")
    assert [row["quarantined_by"] for row in rows] == [None, None, "read.truncated"]


def test_prose_is_read_as_it_is_and_a_web_page_waits_for_extraction(tmp_path: Path) -> None:
    rows = read_rows(tree(tmp_path), format="tree", domain="english")
    found = {row["path"]: row for row in rows}
    assert found["b/LICENSE"]["text"] == "free\n"
    assert (found["c/page.html"]["content"], found["c/page.html"]["text"]) == (b"<p>x</p>", None)
    assert "b/logo.png" not in found
    assert found["a/nul.c"]["text"] == "int x;\0\n" if "a/nul.c" in found else True


def test_a_compressed_text_is_a_document_and_a_cut_one_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfno mark"))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"text " * 1000)[:-20])
    (tmp_path / "c.txt").write_bytes("größer".encode() + b"\xff")
    (tmp_path / "d.txt").write_bytes(b"x" * 200)
    rows = read_rows(tmp_path / "*.txt*", limits={"max_document_bytes": 100})
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [
        ("no mark", None), (None, "read.truncated"), (None, "read.invalid_utf8"), (None, "read.too_large"),
    ]  # fmt: skip


def test_a_missing_file_is_an_error_of_the_storage_and_no_row(tmp_path: Path) -> None:
    from gristmill.pipeline.readers.formats import read
    from gristmill.pipeline.readers.segments import Partition, Segment

    segment = Segment(str(tmp_path / "gone.jsonl"), "gone.jsonl", 10, 0, 10)
    with pytest.raises(FileNotFoundError):
        list(read(Partition(0, "s", (segment,), 10), SourceSpec("s", str(tmp_path))))


def test_every_format_has_a_reader() -> None:
    from gristmill.pipeline.readers.formats import reader_for

    assert all(callable(reader_for(name)) for name in FORMATS)
    names = {"a.warc.wet.gz": "wet", "x/B.JSONL.zst": "jsonl", "a.tgz": "tree", "c.tar.xz": "tree", "d.dat": None}
    assert {name: format_by_name(name) for name in names} == names


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("2011-11-28 8:32:24 -0400", "2011-11-28T12:32:24"), ("2015-03-01", "2015-03-01T00:00:00"),
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05"),
        ("2020-01-02T03:04:05.123456789+05:30", "2020-01-01T21:34:05.123456"),
        ("2020-01-02 03:04", "2020-01-02T03:04:00"), ("2015/3/1", "2015-03-01T00:00:00"),
        ("1999", "1999-01-01T00:00:00"), ("2008-07", "2008-07-01T00:00:00"),
        ("20110128083224", "2011-01-28T08:32:24"), ("20110128", "2011-01-28T00:00:00"),
        ("Wed, 27 Mar 2019 06:10:48 GMT", "2019-03-27T06:10:48"),
        ("Mon, 20 Nov 1995 19:12:08 -0500", "1995-11-21T00:12:08"), ("March 1, 2015", "2015-03-01T00:00:00"),
        ("1 Mar. 2015", "2015-03-01T00:00:00"), ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        (1577934245, "2020-01-02T03:04:05"), (1577934245000, "2020-01-02T03:04:05"),
        (1577934245000000, "2020-01-02T03:04:05"), (1577934245000000000, "2020-01-02T03:04:05"),
        (1577934245.5, "2020-01-02T03:04:05.500000"), ("1577934245", "2020-01-02T03:04:05"), ("03/04/2015", None),
        ("yesterday", None), ("", None), ("2015-13-01", None), ("2015-02-30", None), (True, None), (None, None),
        ("9" * 20, None), (float("nan"), None), (float("inf"), None), ([2015], None), ("0000-01-01", None),
    ],
)  # fmt: skip
def test_dates_as_they_are_found(found: object, meant: str | None) -> None:
    micros = parse_timestamp(found)
    if meant is None:
        assert micros is None
    else:
        assert micros is not None
        assert datetime.fromtimestamp(0, UTC) + (
            datetime.fromisoformat(meant) - datetime(1970, 1, 1)
        ) == datetime.fromtimestamp(micros // 10**6, UTC).replace(microsecond=micros % 10**6)


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.datetimes()))
def test_no_value_is_too_odd_for_a_date(value: object) -> None:
    micros = parse_timestamp(value)
    assert micros is None or pa.scalar(micros).cast(pa.timestamp("us", tz="UTC")).as_py().year >= 1


@given(st.datetimes(min_value=datetime(1, 1, 2), timezones=st.timezones()))
def test_iso_dates_come_back(moment: datetime) -> None:
    try:
        expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
        text = moment.isoformat()
    except OverflowError:
        return
    if len(text.rpartition("+")[2]) > 5 and text.rpartition("+")[2].count(":") > 1:
        return  # offsets with seconds, before time zones were
    micros = parse_timestamp(text)
    if micros is not None:
        assert abs(micros / 1e6 - expected) < 1e-3
