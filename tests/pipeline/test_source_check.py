"""The source check before anything is read: what a source says against the first records of its files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.left_out import LeftOut
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.findings import FAILED, WRONG, Finding, Void, judge
from gristmill.pipeline.steps.source_check import FILES, check, files_left_out, look

TEXT = "The old mill stands by the river, and the water runs slowly between the willows all summer long. " * 3


def written(folder: Path, name: str, records: list[dict[str, Any]]) -> str:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return str(path)


def found(uri: str | Path, **fields: Any) -> list[Finding]:
    spec = SourceSpec("a", str(uri), **fields)
    return check(look([spec], inventory([spec])))


def one(uri: str | Path, **fields: Any) -> Finding:
    [finding] = found(uri, **fields)
    return finding


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
@pytest.mark.parametrize(
    ("ours", "theirs", "hint"),
    [
        ("url", "url2", "did you mean 'metadata.url', as in columns: {url: metadata.url}"),
        ("timestamp", "dat", "did you mean 'metadata.date'"),
        ("title", "headline", "there is id, text, metadata, metadata.url, metadata.date"),
        ("id", "idd", "did you mean 'id'"),
        ("url", "url", "did you mean 'metadata.url'"),
        ("license", "metadata.licence.name", "there is"),
    ],
)
def test_a_mapped_column_that_no_record_has_is_an_error_that_names_near_ones(
    tmp_path: Path, name: str, ours: str, theirs: str, hint: str
) -> None:
    records = [{"id": f"r{i}", "text": TEXT, "metadata": {"url": "http://a/b", "date": "2020-01-01"}} for i in range(3)]
    findings = found(written(tmp_path, name, records), columns={ours: theirs})
    [finding] = [each for each in findings if each.void]
    assert finding.kind == "columns.absent"
    assert finding.sentence.startswith(f"source a: columns.{ours} is {theirs!r}, which none of the first 3 records of ")
    assert hint in finding.sentence


def test_a_column_that_one_record_of_one_file_has_is_there(tmp_path: Path) -> None:
    written(tmp_path, "1.jsonl", [{"text": TEXT}] * 20)
    written(tmp_path, "2.jsonl", [{"text": TEXT}, {"text": TEXT, "meta": {"link": None}}])
    assert found(tmp_path / "*.jsonl", columns={"url": "meta.link"}) == []


def test_a_path_into_a_string_of_json_or_a_list_is_there(tmp_path: Path) -> None:
    rows = [{"text": TEXT, "meta": json.dumps({"link": "http://a/b", "dates": ["2020"]}), "tags": ["x", "y"]}]
    columns = {"url": "meta.link", "category": "tags.1", "timestamp": "meta.dates.0"}
    assert found(written(tmp_path, "x.jsonl", rows), columns=columns) == []
    assert "did you mean 'meta.link'" in one(written(tmp_path, "x.jsonl", rows), columns={"url": "link"}).sentence


@pytest.mark.parametrize("column", ["content", "raw_content", "body", "article_html", "Markdown"])
def test_text_under_another_name_is_an_error_that_says_what_to_write(tmp_path: Path, column: str) -> None:
    finding = one(written(tmp_path, "x.jsonl", [{"n": i, "short": "words", column: TEXT} for i in range(5)]))
    assert (finding.kind, finding.void) == ("text.absent", True)
    assert finding.sentence == (
        f"source a: none of the first 5 records of its file has `text`; add columns: {{text: {column}}} to the source"
    )


def test_text_that_is_looked_for_in_vain_under_a_name_of_one_s_own(tmp_path: Path) -> None:
    path = written(tmp_path, "x.jsonl", [{"content": TEXT}] * 2)
    assert "columns.text is 'contents', which none" in one(path, columns={"text": "contents"}).sentence
    assert "add columns: {text: content}" in one(path, columns={"text": "contents"}).sentence


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    rows = [{"text": [{"role": "user", "content": TEXT}], "markdown": TEXT}]
    finding = one(written(tmp_path, "x.jsonl", rows))
    assert finding.void
    assert "`text` holds lists and no text" in finding.sentence
    assert "columns: {text: markdown}" in finding.sentence
    nothing = one(written(tmp_path, "y.jsonl", [{"n": 1}]))
    assert "nothing else that could be text: there is n" in nothing.sentence


def test_files_without_text_among_others_are_counted_and_not_void(tmp_path: Path) -> None:
    written(tmp_path, "1.jsonl", [{"text": TEXT}])
    written(tmp_path, "2.jsonl", [{"content": TEXT}])
    finding = one(tmp_path / "*.jsonl")
    assert (finding.kind, finding.void, finding.figures) == ("text.absent_files", False, {"files": 1})
    assert "1 of 2 files have no `text` in their first records, 2.jsonl first: there is content" in finding.sentence


def test_well_known_columns_that_are_not_mapped_are_named_with_the_remedy(tmp_path: Path) -> None:
    rows = [{"id": f"{i}", "text": TEXT, "created": "2020-01-02", "meta": {"url": f"http://a/{i}"}} for i in range(5)]
    path = written(tmp_path, "x.jsonl", rows)
    finding = one(path)
    assert (finding.kind, finding.void) == ("columns.unmapped", False)
    assert "`id`, `created` and `meta.url` are in the data and not mapped" in finding.sentence
    mapped = {"id": "id", "timestamp": "created", "url": "meta.url"}
    assert "add columns: {id: id, timestamp: created, url: meta.url}" in finding.sentence
    assert found(path, columns=mapped) == []


@pytest.mark.parametrize(
    "record",
    [
        {"text": TEXT, "url": "http://a/b", "timestamp": "2020"},  # these two are used as they are
        {"text": TEXT, "date": "yesterday"},
        {"text": TEXT, "link": "see below"},
        {"text": TEXT, "id": "commoncrawl"},
    ],
)
def test_what_is_used_or_is_not_what_its_name_says_is_not_proposed(tmp_path: Path, record: dict[str, Any]) -> None:
    assert found(written(tmp_path, "x.jsonl", [record, record])) == []


def test_files_that_each_count_from_0_are_an_error_unless_it_is_said(tmp_path: Path) -> None:
    for name in "1234":
        written(tmp_path, f"{name}.jsonl", [{"id": i, "text": f"{TEXT} {name} {i}"} for i in range(5)])
    uri = tmp_path / "*.jsonl"
    finding = one(uri, columns={"id": "id"})
    assert (finding.kind, finding.void) == ("ids.repeated", True)
    assert "15 of 20 ids (75%) occur more than once" in finding.sentence
    assert "ids: per_file" in finding.sentence
    assert found(uri, columns={"id": "id"}, ids="per_file") == []


def test_ids_that_are_none_do_not_count_as_repeated(tmp_path: Path) -> None:
    rows = [{"id": "", "text": TEXT}] * 12 + [{"id": float("nan"), "text": TEXT}] * 12
    assert found(written(tmp_path, "x.jsonl", rows), columns={"id": "id"}) == []


def test_columns_of_files_that_have_none_are_said_to_do_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(TEXT)
    finding = one(tmp_path / "x.txt", columns={"url": "link"})
    assert (finding.kind, finding.void) == ("columns.ignored", False)
    assert found(tmp_path / "x.txt") == []


def test_files_that_are_left_out_are_findings() -> None:
    rows = [
        LeftOut("a", ".csv", 3, 30, "its extension says CSV", "x.csv"),
        LeftOut("a", "", 1, 5, "its extension says CSV", "y"),
        LeftOut("a", ".db", 2, 9, "it is binary", "z.db"),
    ]
    first, second = files_left_out(rows)
    assert (first.kind, first.source, first.figures) == ("files.left_out", "a", {"files": 4, "bytes": 35})
    assert "3 .csv" in first.sentence
    assert second.figures["files"] == 2


def test_thousands_of_files_take_seconds_and_the_same_ones_each_time(tmp_path: Path) -> None:
    number = 2 * FILES
    for i in range(number):
        written(tmp_path, f"{i}.jsonl", [{"text": TEXT, "k": j} for j in range(30)])
    spec = SourceSpec("a", str(tmp_path / "*.jsonl"))
    files = inventory([spec])
    began = time.monotonic()
    [seen] = look([spec], files)
    assert time.monotonic() - began < 30
    assert (len(seen.found), seen.files) == (FILES, number)
    [again] = look([spec], list(reversed(files)))
    assert list(again.found) == list(seen.found)
    assert seen.where() == f"the first {20 * FILES:,} records of {FILES:,} of {number:,} files"


def test_void_findings_stop_and_strict_stops_for_all() -> None:
    note, error = Finding("k", "a note", "a"), Finding("k", "an error", "a", void=True)
    judge([note], WRONG, strict=False)
    with pytest.raises(Void, match=r"^an error$") as stopped:
        judge([note, error], WRONG, strict=False)
    assert stopped.value.exit_code == 2
    with pytest.raises(Void, match=r"(?s)^a note\n--strict makes an error") as strict:
        judge([note], FAILED, strict=True)
    assert strict.value.exit_code == 1
