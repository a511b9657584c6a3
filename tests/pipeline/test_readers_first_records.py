"""The first records of a file: names, types and values as they stand in it, within limits."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from gristmill.pipeline.readers.first_records import FirstRecords, first_records, value_at
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec


def _first(path: Path, format_name: str, **limits: int) -> FirstRecords:
    size = path.stat().st_size
    segment = Segment(str(path), path.name, size, 0, size)
    return first_records(segment, format_name, SourceSpec("a", str(path)), **limits)


RECORDS = [
    {"body": "Flour is ground from grain.", "n": i, "meta": {"url": f"https://example.org/{i}", "tags": ["a"]}}
    for i in range(300)
]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_names_of_json_lines_are_dotted_and_values_as_they_stand(tmp_path: Path, pack) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(pack("".join(json.dumps(record) + "\n" for record in RECORDS).encode()))
    found = _first(path, "jsonl", count=50)
    assert list(found.records) == RECORDS[:50]
    assert {name: set(types) for name, types in found.fields.items()} == {
        "body": {"string"}, "n": {"integer"}, "meta": {"object"}, "meta.url": {"string"}, "meta.tags": {"list"},
    }  # fmt: skip
    assert not found.whole
    assert _first(path, "jsonl", count=301).whole


def test_columns_of_parquet_that_are_null_everywhere_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({
        "content": ["one", "two"], "when": pa.nulls(2, pa.timestamp("us")),
        "meta": pa.array([{"url": None}, None], pa.struct({"url": pa.string()})),
    })  # fmt: skip
    pq.write_table(table, path)
    found = _first(path, "parquet")
    assert found.fields["when"] == {"null"}
    assert set(found.fields) == {"content", "when", "meta", "meta.url"}
    assert found.whole
    assert len(found.records) == 2


def test_reading_ends_at_the_limit_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for _ in range(50):
            file.write(json.dumps({"text": "x" * 1_000_000}) + "\n")
    found = _first(path, "jsonl", max_bytes=5_000_000)
    assert 4 <= len(found.records) <= 5
    assert not found.whole
    assert not found.faults


def test_broken_lines_are_counted_and_not_records(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n\nno json\n[1]\n\xff\n{"text": "b"}')
    found = _first(path, "jsonl")
    assert [record["text"] for record in found.records] == ["a", "b"]
    assert found.faults == {"read.malformed_json": 2, "read.invalid_utf8": 1}


def test_a_damaged_file_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and no more")
    assert _first(path, "parquet").faults == {"read.truncated": 1}
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 5000)[:-20])
    assert _first(path, "jsonl", count=10_000).faults == {"read.truncated": 1}


def _warc(pages: int, size: int) -> bytes:
    out = b""
    for i in range(pages):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>" + b"x" * size
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://example.org/{i}\r\n"
        out += f"{head}WARC-Date: 2021-01-01T00:00:00Z\r\nContent-Length: {len(block)}\r\n\r\n".encode()
        out += block + b"\r\n\r\n"
    return out


def test_documents_of_other_formats_come_under_our_names(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    path.write_bytes(gzip.compress(_warc(30, 100_000)))
    found = _first(path, "warc", max_bytes=1_000_000)
    assert len(found.records) == 9
    assert found.records[0]["url"] == "https://example.org/0"
    assert {"url", "content_type", "timestamp", "content"} <= set(found.fields)
    assert not found.faults
    assert not found.whole
    assert _first(path, "warc").whole


def test_a_text_file_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Grain in.\n" * 10_000)
    found = _first(path, "text")
    assert len(found.records) == 1
    assert str(found.records[0]["text"]).startswith("Grain in.")
    assert found.whole


def test_a_dotted_name_finds_objects_and_keys_that_have_the_dots_in_them() -> None:
    record = {"a": {"b": {"c": 1}, "d.e": 2}, "a.f": 3, "g": None}
    assert [value_at(record, name) for name in ("a.b.c", "a.d.e", "a.f", "g", "g.h", "x.y")] == [
        1, 2, 3, None, None, None,
    ]  # fmt: skip
