"""Own ids of records: what is none, what is the same, and ids that are unique within a file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import read_rows

from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.values import NO_IDS, identifier


def lines(path: Path, ids: list[Any]) -> Path:
    path.write_text("".join(json.dumps({"id": each, "text": f"text {i}"}) + "\n" for i, each in enumerate(ids)))
    return path


@pytest.mark.parametrize("none", ["", " \t\n", "\u00a0", *NO_IDS, None, float("nan")])
def test_what_says_nothing_is_no_id(tmp_path: Path, none: object) -> None:
    rows = read_rows(lines(tmp_path / "a.jsonl", [none, none, "a"]), columns={"id": "id"})
    assert [row["own_id"] for row in rows] == [None, None, "a"]
    assert len({row["id"] for row in rows}) == 3
    assert identifier(none) is None  # type: ignore[arg-type]


def test_a_whole_number_is_written_without_a_fraction(tmp_path: Path) -> None:
    rows = read_rows(lines(tmp_path / "a.jsonl", [1, 1.0, "1", 1.5, 2**60, 1e300]), columns={"id": "id"})
    assert [row["own_id"] for row in rows] == ["1", "1", "1", "1.5", str(2**60), "1e+300"]


def test_a_column_with_a_gap_has_the_ids_of_one_without(tmp_path: Path) -> None:
    for name, ids in (("a", pa.array([1.0, None, float("nan")])), ("b", pa.array([1, 2, 3]))):
        pq.write_table(pa.table({"id": ids, "text": ["x", "y", "z"]}), tmp_path / f"{name}.parquet")
    rows = read_rows(tmp_path / "*.parquet", columns={"id": "id"})
    assert [row["own_id"] for row in rows] == ["1", None, None, "1", "2", "3"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ids_per_file_are_unique_in_the_source(tmp_path: Path, kind: str) -> None:
    for k in range(3):
        if kind == "jsonl":
            lines(tmp_path / f"{k}.jsonl", [0, 1, None])
        else:
            pq.write_table(pa.table({"id": [0, 1, None], "text": ["x", "y", "z"]}), tmp_path / f"{k}.parquet")
    uri = tmp_path / f"*.{kind}"
    alone = read_rows(uri, columns={"id": "id"})
    assert len({row["id"] for row in alone}) == 2 + 3
    rows = read_rows(uri, columns={"id": "id"}, ids="per_file")
    assert len({row["id"] for row in rows}) == 9
    assert [row["own_id"] for row in rows[:3]] == [f"0.{kind}#0", f"0.{kind}#1", None]


def test_explain_finds_a_document_by_such_an_id(tmp_path: Path) -> None:
    from gristmill.pipeline.views.explain.find import parse

    lines(tmp_path / "a.jsonl", [0])
    [row] = read_rows(tmp_path / "*.jsonl", name="mine", columns={"id": "id"}, ids="per_file")
    assert row["id"] in parse("a.jsonl#0", ["mine"]).ids
    assert row["id"] in parse("mine:a.jsonl#0", ["mine"]).ids


def test_another_way_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"sources.a.ids: 'none' is neither per_source nor per_file; use one"):
        SourceSpec("a", "x", ids="none")  # type: ignore[arg-type]


def test_an_address_that_says_nothing_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "url": ""}\n{"text": "b", "url": NaN}\n{"text": "c", "url": "http://x"}\n')
    assert [row["url"] for row in read_rows(path)] == [None, None, "http://x"]
