"""JSON over several lines: arrays, lists in an object, objects one behind the other."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.json_documents import Values

RECORDS: list[dict[str, Any]] = [
    {"text": "plain", "id": 1},
    {"text": 'brackets ]}{[ and "quotes" \\ and \\" both', "more": [[1, {"a": "]"}], {}]},
    {"id": "x", "text": "line\nfeeds\u2028\t", "deep": {"a": {"b": [1, 2, {"c": "}"}]}}},
    {"text": "größer 🌲", "none": None, "n": -1.5e3},
]
LAYOUTS = {
    "array": lambda records: json.dumps(records),
    "a line each": lambda records: "[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n",
    "pretty": lambda records: json.dumps(records, indent=2, ensure_ascii=False),
    "objects": lambda records: "\n".join(json.dumps(record, indent=4) for record in records),
    "no line": lambda records: "".join(map(json.dumps, records)),
    "list": lambda records: json.dumps({"version": "1.0", "data": records}),
    "list, pretty": lambda records: json.dumps({"a": {"b": [1]}, "data": records, "c": "]"}, indent=1),
    "two arrays": lambda records: json.dumps(records[:2]) + "\n" + json.dumps(records[2:]) + "\n",
    "lines": lambda records: "\n".join(map(json.dumps, records)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_records_are_the_same_however_they_are_laid_out(tmp_path: Path, layout: str, name: str) -> None:
    content = LAYOUTS[layout](RECORDS)
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    rows = read_rows(tmp_path / name, columns={"id": "id"})
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [(r["text"], None) for r in RECORDS]
    assert [row["own_id"] for row in rows] == ["1", None, "x", None]
    assert json.loads(rows[1]["metadata"]) == {"more": RECORDS[1]["more"]}
    for row, record in zip(rows, RECORDS, strict=True):  # its record is where it begins
        value, _ = json.JSONDecoder().raw_decode(data[row["record"] :].decode())
        assert value == record


def test_what_an_array_may_hold_beside_objects(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["first", "second"]')
    assert [(row["text"], row["record"]) for row in read_rows(tmp_path / "a.json")] == [("first", 1), ("second", 10)]
    (tmp_path / "b.json").write_text('[{"text": "a"}, 7, null, {"text": }, {"text": "b"}]')
    rows = read_rows(tmp_path / "b.json")
    assert [row["text"] or row["quarantined_by"] for row in rows] == ["a", *["read.malformed_json"] * 3, "b"]
    (tmp_path / "c.json").write_text("[]")
    assert read_rows(tmp_path / "c.json") == []


def test_an_object_with_a_text_is_a_record_and_one_with_two_lists_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"text": "a", "refs": [{"x": 1}]}, indent=1))
    assert [row["text"] for row in read_rows(tmp_path / "a.json")] == ["a"]
    (tmp_path / "b.json").write_text(json.dumps({"train": [{"text": "a"}], "test": [{"text": "b"}]}))
    (row,) = read_rows(tmp_path / "b.json")
    assert (row["quarantined_by"], row["read_bytes"]) == ("json.several_lists", (tmp_path / "b.json").stat().st_size)
    (tmp_path / "c.json").write_text(json.dumps({"name": "settings", "values": [1, 2]}, indent=1))
    assert [row["quarantined_by"] for row in read_rows(tmp_path / "c.json")] == ["read.no_text"]
    (tmp_path / "d.json").write_text(json.dumps({"body": "a", "refs": [{"x": 1}]}, indent=1))
    assert [row["text"] for row in read_rows(tmp_path / "d.json", columns={"text": "body"})] == ["a"]


def test_of_a_cut_file_the_records_before_the_cut_are_kept(tmp_path: Path) -> None:
    for layout in ("array", "pretty", "list, pretty", "objects"):
        data = LAYOUTS[layout](RECORDS * 3).encode()
        whole = read_rows(write(tmp_path / "a.json", data))
        starts = [row["record"] for row in whole]
        for cut in range(len(data) // 2, len(data), 17):
            rows = read_rows(write(tmp_path / "a.json", data[:cut]))
            kept = [row for row in rows if row["quarantined_by"] is None]
            assert len(kept) >= sum(start < cut for start in starts) - 1
            assert [row["text"] for row in kept] == [row["text"] for row in whole][: len(kept)]
            assert {row["quarantined_by"] for row in rows[len(kept) :]} <= {"read.truncated", "read.malformed_json"}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), values, max_size=4), max_size=6),
    st.integers(0, 3),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_any_array_is_cut_into_its_values(records: list[Any], indent: int, size: int) -> None:
    data = json.dumps(records, indent=indent or None).encode()
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    found = list(Values(10_000, None).of(chunks))
    assert [json.loads(line.data) for line in found] == records
    assert all(data[line.offset : line.offset + line.size] == line.data for line in found)


def test_a_large_array_is_read_a_record_at_a_time(tmp_path: Path) -> None:
    import tracemalloc

    from gristmill.pipeline.readers.formats import read
    from gristmill.pipeline.readers.inventory import inventory
    from gristmill.pipeline.readers.segments import partitions
    from gristmill.pipeline.readers.source import SourceSpec

    with (tmp_path / "a.json").open("wb") as file:
        file.write(b'{"data": [')
        for i in range(3000):
            file.write(b"%b\n%b" % (b"," if i else b"", json.dumps({"text": f"{i} " * 5000}).encode()))
        file.write(b"]}")
    spec = SourceSpec("s", str(tmp_path / "a.json"))
    (partition,) = partitions(inventory([spec]), 1 << 40)
    rows = 0
    tracemalloc.start()
    for batch in read(partition, spec, batch_bytes=1_000_000):
        rows += batch.num_rows
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 3000
    assert peak < 60_000_000  # of 80 MB


def test_a_record_that_is_too_long_costs_no_other(tmp_path: Path) -> None:
    records = [{"text": "a"}, {"text": "x" * 3_000_000}, {"text": "b"}]
    for layout in ("array", "objects", "list"):
        write(tmp_path / "a.json", LAYOUTS[layout](records).encode())
        rows = read_rows(tmp_path / "a.json", limits={"max_document_bytes": 500_000})
        assert [row["text"] or row["quarantined_by"] for row in rows] == ["a", "read.too_large", "b"]


def test_brackets_without_end(tmp_path: Path) -> None:
    for data in (
        b"[" * 300_000,
        b'{"a":' * 100_000,
        b"[" + b'{"text": "a"},' * 10 + b"{" * 100_000,
        b'["' + b"\\" * 99_999,
    ):
        (tmp_path / "a.json").write_bytes(data)
        rows = read_rows(tmp_path / "a.json")
        assert rows[-1]["quarantined_by"] is not None
        assert len([row for row in rows if row["text"] == "a"]) == (10 if b"text" in data else 0)


def test_empty_lines_of_json_lines_are_still_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n\n\n{"text": "b"}\n')
    assert read_skipped(tmp_path / "a.jsonl") == {"jsonl.empty_line": 2}
    assert len(read_rows(tmp_path / "a.jsonl")) == 2


def test_datasets_reads_the_same(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    records = [{"text": f"text {i}", "n": i} for i in range(5)]
    for layout in ("array", "pretty"):
        (tmp_path / "a.json").write_bytes(LAYOUTS[layout](records).encode())
        theirs = datasets.load_dataset("json", data_files=str(tmp_path / "a.json"), cache_dir=str(tmp_path / "c"))[
            "train"
        ]
        assert [row["text"] for row in read_rows(tmp_path / "a.json")] == theirs["text"][:]
    (tmp_path / "b.json").write_bytes(json.dumps({"version": 1, "data": records}).encode())
    theirs = datasets.load_dataset(
        "json", data_files=str(tmp_path / "b.json"), field="data", cache_dir=str(tmp_path / "c")
    )
    assert [row["text"] for row in read_rows(tmp_path / "b.json")] == theirs["train"]["text"][:]
