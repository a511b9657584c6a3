"""Columns by dotted paths: into objects, strings of JSON and lists, in every format that has named values."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read_rows

from gristmill.pipeline.readers.field_paths import field_names, has_field, remove, value_at

RECORD: dict[str, Any] = {
    "text": "t",
    "meta": {"url": "u", "n": {"deep": 1}, "none": None},
    "a.b": "its own",
    "a": {"b": "inner", "c.d": "dotted inside"},
    "json": '{"url": "j", "rest": 1}',
    "warc_headers": {"warc-target-uri": "w"},
    "languages": ["en", "de"],
    "spans": [{"label": "x"}],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "t"), ("meta.url", "u"), ("meta.n.deep", 1), ("meta.none", None), ("a.b", "its own"),
        ("a.c.d", "dotted inside"), ("json.url", "j"), ("warc_headers.warc-target-uri", "w"), ("languages.1", "de"),
        ("spans.0.label", "x"), ("meta.gone", None), ("gone.url", None), ("text.url", None), ("languages.7", None),
        ("languages.x", None), (".", None), ("meta.", None), (".meta", None), ("", None),
    ],
)  # fmt: skip
def test_the_value_at_a_path(name: str, value: object) -> None:
    assert value_at(RECORD, name) == value


def test_whether_there_is_a_place() -> None:
    there = ["meta.none", "meta.n", "json.rest", "languages.0", "a.b", "a.c.d"]
    assert [name for name in (*there, "meta.x", "languages.2", "x.y") if has_field(RECORD, name)] == there


def test_what_is_taken_out_leaves_the_rest() -> None:
    record = copy.deepcopy(RECORD)
    for name in ("meta.url", "meta.n.deep", "a.b", "a.c.d", "json.url", "languages.0", "warc_headers.warc-target-uri"):
        remove(record, name)
    assert record["meta"] == {"none": None}
    assert record["a"] == {"b": "inner"}
    assert json.loads(record["json"]) == {"rest": 1}
    assert record["languages"] == ["en", "de"]
    assert "a.b" not in record
    assert "warc_headers" not in record
    remove(record, "no.such.path")


def test_names_that_a_configuration_can_give() -> None:
    names = field_names(RECORD)
    assert [name for name in names if value_at(RECORD, name) is None] == ["meta.none"]
    assert {"text", "meta", "meta.url", "meta.n.deep", "json.url", "languages.0", "a.c.d"} <= set(names)


keys = st.sampled_from(["a", "b", "a.b", "a.b.c", "c"])
objects = st.recursive(
    st.none() | st.integers(), lambda inner: st.dictionaries(keys, inner, max_size=3) | st.lists(inner, max_size=2)
)


@given(st.dictionaries(keys, objects, max_size=4), st.lists(st.sampled_from("abc0"), min_size=1, max_size=4))
def test_nothing_but_what_stands_at_the_path_is_taken(record: dict[str, Any], parts: list[str]) -> None:
    name = ".".join(parts)
    before = {each: value_at(record, each) for each in field_names(record)}
    found, there = value_at(record, name), has_field(record, name)
    remove(record, name)
    lost = {each for each in before if not has_field(record, each)}
    assert there or (not lost and found is None)
    assert all(each == name or each.startswith(f"{name}.") or f"{name}.".startswith(f"{each}.") for each in lost)


ROW = {
    "text": "words",
    "metadata": {"url": "http://a.example/x", "id": 7, "label": "en", "date": "2015-03-04", "more": [1, 2]},
}
COLUMNS = {"id": "metadata.id", "url": "metadata.url", "language": "metadata.label", "timestamp": "metadata.date"}


def written(path: Path, kind: str) -> Path:
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([ROW]), path)
    elif kind == "string":
        path.write_text(json.dumps({**ROW, "metadata": json.dumps(ROW["metadata"])}) + "\n")
    else:
        path.write_text(json.dumps(ROW) + ("\r\n" if kind == "lines" else "\n"))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "lines", "string", "parquet"])
@pytest.mark.parametrize("whole", [True, False])
def test_every_format_with_named_values_takes_paths(tmp_path: Path, kind: str, whole: bool) -> None:
    path = written(tmp_path / ("a.parquet" if kind == "parquet" else "a.jsonl"), kind)
    columns = COLUMNS if whole else {**COLUMNS, "content": "page"}  # a page is read line by line
    [row] = read_rows(path, columns=columns)
    found = (row["own_id"], row["url"], row["language"], row["timestamp"].isoformat())
    assert found == ("7", "http://a.example/x", "en", "2015-03-04T00:00:00+00:00")
    rest = json.loads(row["metadata"])["metadata"]
    assert (json.loads(rest) if isinstance(rest, str) else rest) == {"more": [1, 2]}


def test_paths_lead_into_maps_of_parquet(tmp_path: Path) -> None:
    headers = pa.array([[("warc-target-uri", "http://a.example"), ("n", "1")]], pa.map_(pa.string(), pa.string()))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"content": ["words"], "warc_headers": headers}), path)
    [row] = read_rows(path, columns={"text": "content", "url": "warc_headers.warc-target-uri"})
    assert (row["text"], row["url"], row["metadata"]) == ("words", "http://a.example", '{"warc_headers":{"n":"1"}}')


def test_a_text_can_stand_at_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"data": {"text": "words", "n": 1}}\n')
    [row] = read_rows(path, columns={"text": "data.text"})
    assert (row["text"], row["metadata"]) == ("words", '{"data":{"n":1}}')
