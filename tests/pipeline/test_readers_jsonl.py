"""JSON Lines: columns, broken lines and files, byte ranges, limits."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import WHOLE, read_rows, read_table

from gristmill.pipeline.readers.jsonl import split_lines
from gristmill.pipeline.readers.source import SourceSpec

EN = {"id": "id", "timestamp": "date", "language": "lang"}


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def line(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def test_columns_find_their_place_and_the_rest_is_sorted_metadata(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl",
        line(text="Müller", id=7, date="2015-03-01", lang="de", url="http://x", z=1, b=[2], c=None),
    )
    (row,) = read_rows(file, columns=EN, category="news", priority=3, metadata={"licence": "CC0"})
    assert (row["text"], row["own_id"], row["language"], row["url"]) == ("Müller", "7", "de", "http://x")
    assert (row["category"], row["priority"], row["path"], row["record"]) == ("news", 3, "a.jsonl", 0)
    assert row["timestamp"].isoformat() == "2015-03-01T00:00:00+00:00"
    assert row["metadata"] == '{"b":[2],"licence":"CC0","z":1}'
    assert row["read_bytes"] == len("Müller".encode())
    assert row["id"] == xxhash.xxh3_128_digest(b"source\x007")


def test_without_an_id_column_the_place_in_the_file_identifies(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", line(text="one", id="x"), line(text="two"))
    first, second = read_rows(file)
    assert first["own_id"] is None
    assert '"id":"x"' in first["metadata"]
    assert second["record"] == len(line(text="one", id="x")) + 1
    assert second["id"] == xxhash.xxh3_128_digest(b"source\x00a.jsonl\x00%d" % second["record"])


def test_a_broken_line_is_a_row_and_its_neighbours_are_read(tmp_path: Path) -> None:
    bad = [b'{"text": "\xff"}', b'{"text": ', b"[1]", line(title="no text"), line(text=3), b'{"text": "\\ud800"}']
    lines = [line(text="first"), *bad, b"", b"  ", line(text="nul\0stays"), line(text="last")]
    rows = read_rows(write(tmp_path / "a.jsonl", *lines))
    assert [row["quarantined_by"] for row in rows] == [
        None, "read.invalid_utf8", "read.malformed_json", "read.malformed_json", "read.no_text", "read.no_text",
        "read.invalid_utf8", None, None,
    ]  # fmt: skip
    assert [row["text"] for row in rows if row["text"]] == ["first", "nul\0stays", "last"]
    assert rows[1]["content"] == bad[0]
    assert rows[1]["read_bytes"] == len(bad[0]) + 1


def test_an_unreadable_date_is_null_and_stays_in_the_metadata(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path / "a.jsonl", line(text="x", date="yesterday")), columns=EN)
    assert row["timestamp"] is None
    assert row["metadata"] == '{"timestamp":"yesterday"}'


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_of_a_truncated_file_the_readable_prefix_is_kept_and_the_tail_is_one_row(tmp_path: Path, suffix: str) -> None:
    lines = [line(text=f"document {i} {xxhash.xxh3_128_hexdigest(b'%d' % i)}") for i in range(5000)]
    data = b"".join(one + b"\n" for one in lines)
    packed = gzip.compress(data) if suffix == ".gz" else zstandard.ZstdCompressor().compress(data)
    whole, cut = tmp_path / f"whole.jsonl{suffix}", tmp_path / f"cut.jsonl{suffix}"
    whole.write_bytes(packed)
    cut.write_bytes(packed[: len(packed) // 2])
    complete, rows = read_rows(whole), read_rows(cut)
    assert len(complete) == 5000
    assert 0 < len(rows) < 5000
    assert [row["text"] for row in rows[:-1]] == [row["text"] for row in complete[: len(rows) - 1]]
    assert [row["quarantined_by"] for row in rows].count("read.truncated") == 1
    assert rows[-1]["quarantined_by"] == "read.truncated"


def test_damage_within_a_compressed_file_keeps_what_came_before(tmp_path: Path) -> None:
    members = [gzip.compress(line(text=f"member {i}") + b"\n") for i in range(4)]
    members[2] = b"\x1f\x8b" + b"\xff" * (len(members[2]) - 2)
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(b"".join(members))
    rows = read_rows(file)
    assert [row["text"] for row in rows] == ["member 0", "member 1", None]
    assert rows[-1]["quarantined_by"] == "read.truncated"


def test_compression_is_told_by_content_and_padding_after_it_is_no_damage(tmp_path: Path) -> None:
    file = tmp_path / "misnamed.jsonl"
    file.write_bytes(gzip.compress(line(text="a") + b"\n") + gzip.compress(line(text="b")) + b"\0" * 512)
    assert [row["text"] for row in read_rows(file)] == ["a", "b"]


def test_documents_over_the_limit_are_quarantined_and_never_held(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.jsonl", line(text="x" * 101), line(text="é" * 50), line(text="y" * 5_000_000), line(text="z")
    )
    rows = read_rows(file, limits={"max_document_bytes": 100})
    assert [row["quarantined_by"] for row in rows] == ["read.too_large", None, "read.too_large", None]
    assert rows[0]["read_bytes"] == 101
    assert rows[2]["read_bytes"] == 5_000_000 + len(line(text="")) + 1
    assert len(rows[2]["content"]) == 1024


@pytest.mark.slow
@given(
    st.lists(st.text(alphabet="abé\r ", max_size=12), max_size=12),
    st.integers(1, 60),
    st.booleans(),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_byte_ranges_neither_lose_nor_repeat_a_line(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], partition_bytes: int, ends: bool, block: int
) -> None:
    file = tmp_path_factory.mktemp("ranges") / "a.jsonl"
    data = b"\n".join(line(text=text) for text in texts) + (b"\n" if ends else b"")
    file.write_bytes(data)
    whole = [(row["record"], row["text"], row["id"]) for row in read_rows(file)]
    split = [(row["record"], row["text"], row["id"]) for row in read_rows(file, partition_bytes)]
    assert split == whole
    assert [text for _, text, _ in whole] == texts
    chunks = iter([data[i : i + block] for i in range(0, len(data), block)])
    lines = list(split_lines(chunks, 0, 1 << 20))
    assert [found.data for found in lines] == (data.split(b"\n") if data[-1:] != b"\n" else data.split(b"\n")[:-1])[
        : len(lines)
    ]
    assert sum(found.size for found in lines) == len(data)


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", *(line(text="x" * 1000) for _ in range(100)), line(text="y" * 50_000))
    spec = SourceSpec("s", str(file))
    sizes = [chunk.nbytes for chunk in read_table(spec, WHOLE, batch_bytes=10_000).column("text").chunks]
    assert len(sizes) > 10
    assert sorted(sizes)[-2] <= 10_000


def test_code_is_known_by_its_column_its_source_or_its_path(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "a.jsonl", line(text="x", programming_language="C++"), line(text="prose")))
    assert [(row["domain"], row["language"]) for row in rows] == [("code", "cpp"), (None, None)]
    file = write(
        tmp_path / "b.jsonl", line(text="x", path="src/Makefile"), line(text="x", path="a/b.rs"), line(text="x")
    )
    assert [row["language"] for row in read_rows(file, domain="code")] == ["makefile", "rust", "other"]


def test_a_column_of_pages_becomes_content(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path / "a.jsonl", line(html="<p>é", text="unused")), columns={"content": "html"})
    assert row["text"] is None
    assert row["content"] == "<p>é".encode()
    assert row["content_type"] == "text/html; charset=utf-8"


def test_real_files_are_read_to_the_last_document(shared_data: Path) -> None:
    rows = read_rows(shared_data / "english" / "news-digitalgov.jsonl.zst", columns=EN)
    stamped = [row for row in rows if row["timestamp"]]
    assert len(rows) > 1000
    assert not any(row["quarantined_by"] for row in rows)
    assert len(stamped) == len(rows)  # dates like 2011-11-28 8:32:24 -0400
    assert len({row["id"] for row in rows}) == len(rows)
