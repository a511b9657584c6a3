"""The datasheet says what the run counted, reads as plain text, and its configuration is the run's."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus import rows_of
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.views.datasheet import datasheet, write
from gristmill.pipeline.views.report.limitations import limitations
from gristmill.pipeline.views.report.markdown import WIDTH, cell, table
from gristmill.pipeline.views.report.sums import (
    MAX_LICENCE,
    NOT_STATED,
    SourceSums,
    licences,
    shard_tokens,
    source_sums,
)
from gristmill.storage.store import Store


@pytest.fixture(scope="module")
def output(small_output: Path) -> Path:
    return small_output


@pytest.fixture(scope="module")
def record(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "run.json").read_text())
    return found


@pytest.fixture(scope="module")
def text(output: Path, record: dict[str, Any]) -> str:
    return datasheet(record, Store(str(output)))


def tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, the head first, the rule line left out."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.M):
        rows = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        assert all(set("".join(row)) <= set("-:") for row in rows[1:2])
        found.append([rows[0], *rows[2:]])
    return found


def titled(text: str, *head: str) -> list[dict[str, str]]:
    (found,) = [rows for rows in tables(text) if rows[0][: len(head)] == list(head)]
    return [dict(zip(found[0], row, strict=True)) for row in found[1:]]


def curated(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((output / "curated").rglob("*.parquet")) for row in rows_of(path)]


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def test_sources_have_their_documents_and_licences(output: Path, text: str, record: dict[str, Any]) -> None:
    kept = curated(output)
    sources = titled(text, "source", "where")
    assert sum(number(row["documents read"]) for row in sources) == record["funnel"][0]["documents_in"]
    for row in sources:
        assert number(row["documents curated"]) == sum(doc["source"] == row["source"] for doc in kept)
    stated: Counter[tuple[str, str]] = Counter()
    for doc in kept:
        metadata = json.loads(doc["metadata"] or "{}")
        value = doc["license"] or metadata.get("license", metadata.get("licence", NOT_STATED))
        stated[doc["source"], ", ".join(value) if isinstance(value, list) else str(value)] += 1
    shown = {(row["source"], row["licence"]): number(row["documents"]) for row in titled(text, "source", "licence")}
    assert shown == {(source, cell(licence)): n for (source, licence), n in stated.items()}
    assert "<script>" not in text


def test_files_and_bytes_of_each_source_are_shown_where_the_record_has_them(
    output: Path, record: dict[str, Any]
) -> None:
    inputs = record["inputs"] | {"sources": {"prose": {"files": 12, "bytes": 3_400_000}}}
    rows = titled(datasheet(record | {"inputs": inputs}, Store(str(output))), "source", "where")
    assert [(row["files"], row["bytes"]) for row in rows] == [("12", "3.40 MB"), ("–", "–")]


def test_credentials_of_a_source_are_not_written(output: Path, record: dict[str, Any]) -> None:
    source = {**record["configuration"]["sources"][0], "uri": "s3://KEY:SECRET@bucket/crawl/*.gz?region=eu"}
    configuration = record["configuration"] | {"sources": [source]}
    found = datasheet(record | {"configuration": configuration}, Store(str(output)))
    assert "SECRET" not in found
    assert "s3://bucket/crawl/*.gz?region=eu" in found


def test_every_stage_and_rule_has_its_removal_rate(text: str, record: dict[str, Any]) -> None:
    stages = titled(text, "stage", "documents in")
    assert [row["stage"] for row in stages] == [entry["stage"] for entry in record["funnel"]]
    for row, entry in zip(stages, record["funnel"], strict=True):
        assert number(row["documents in"]) == number(row["kept"]) + number(row["left"]) == entry["documents_in"]
    rules = {row["rule"]: row for row in titled(text, "rule", "stays if")}
    for entry in record["funnel"]:
        for rule, (documents, _) in entry["rules"].items():
            assert number(rules[rule]["documents"]) == documents
            assert rules[rule]["source"]
    assert rules["gopher_quality.words"]["stays if"] == "50 – 100,000"
    assert rules["gopher_quality.words"]["source"] == "Rae et al. 2021, A1.1"


def test_languages_and_blend_units_have_the_tokens_of_the_shards(
    output: Path, text: str, record: dict[str, Any]
) -> None:
    groups = {(row["domain"], row["language"]): row for row in titled(text, "domain", "language")}
    assert {key: number(row["documents"]) for key, row in groups.items()} == {
        (g["domain"], g["language"]): g["documents"] for g in record["groups"]
    }
    whole = sum(documents(output / "shards" / "pretrain"))
    units = titled(text, "domain", "category", "source")
    assert sum(number(row["taken"]) for row in units) == whole == record["blends"]["pretrain"]["tokens"]
    held = sum(documents(output / "shards" / "pretrain" / "holdout"))
    there = sum(unit["tokens"] for unit in record["blends"]["pretrain"]["units"])
    assert sum(number(row["tokens"]) for row in groups.values()) == there + held


def documents(folder: Path) -> list[int]:
    return [n for path in folder.glob("*.docs.parquet") for n in pq.read_table(path)["tokens"].to_pylist()]


def test_shard_tokens_are_a_sum_by_unit(output: Path) -> None:
    rows = [r for p in (output / "shards/pretrain").glob("*.docs.parquet") for r in pq.read_table(p).to_pylist()]
    sums: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in rows:
        key = tuple(row[name] or "" for name in ("domain", "category", "source", "language"))
        n, tokens = sums.get(key, (0, 0))
        sums[key] = n + 1, tokens + row["tokens"]
    assert shard_tokens(Store(str(output)), "shards/pretrain") == sums


def test_its_configuration_is_the_runs(text: str, output: Path, tmp_path: Path) -> None:
    (configuration,) = re.findall(r"```yaml\n(.*?)\n```", text, re.S)
    (tmp_path / "pipeline.yaml").write_text(configuration)
    assert load(str(tmp_path / "pipeline.yaml")) == load(str(output.parent / "pipeline.yaml"))


def test_it_says_how_to_reproduce_and_to_remove(text: str, record: dict[str, Any]) -> None:
    assert "gristmill remove --ids FILE" in text
    assert record["tokenizer"]["sha256"] in text
    for step in record["steps"]:
        assert step["fingerprint"][:16] in text
    for name, found in record["libraries"].items():
        assert {"package": name, "version": found} in titled(text, "package", "version")
    for section in ("Motivation", "Composition", "Preprocessing", "Tokenizer", "Uses", "Maintenance"):
        assert re.search(rf"^## {section}", text, re.M)


def test_it_holds_no_host_and_no_time_but_the_date(text: str, record: dict[str, Any], output: Path) -> None:
    other = record | {"host": "another", "seconds": 1e6, "started": record["started"] - record["started"] % 86_400}
    other["steps"] = [step | {"seconds": 99.0} for step in record["steps"]]
    assert datasheet(other, Store(str(output))) == text


def test_it_reads_as_plain_text(text: str) -> None:
    prose = text[: text.index("```yaml")]
    for line in prose.splitlines():
        assert line == line.rstrip()
        assert line.startswith("|") or len(line) <= WIDTH
        assert "\u00a0" not in line
    for block in re.findall(r"(?:^\|.*\n)+", prose, re.M):
        assert len({len(line) for line in block.splitlines()}) == 1, "columns stand below each other"


def test_a_run_writes_it_beside_its_record(output: Path, record: dict[str, Any], text: str) -> None:
    store = Store(str(output))
    assert write(store, record) == "datasheet.md"
    assert (output / "datasheet.md").read_text("utf-8") == text


def test_a_given_tokenizer_and_no_blend_are_no_error(output: Path, record: dict[str, Any]) -> None:
    bare = record | {"blends": {}, "clusters": {}, "tokenizer": {"sha256": "ab" * 32, "report": None}}
    found = datasheet(bare, Store(str(output)))
    assert "It was given, not trained in this run." in " ".join(found.split())
    assert "## Blend" not in found


def test_limitations_follow_from_the_stages() -> None:
    record: dict[str, Any] = {"blends": {}, "steps": [], "notes": ["a note"]}
    with_pii = record | {"configuration": {"stages": [{"pii": {}}, {"rules": {}}]}}
    stated = {"a": SourceSums(1, 1, 1, 1, {"MIT": 1})}
    found = limitations(with_pii, stated)
    assert not [sentence for sentence in found if "Licences" in sentence or "was not looked for" in sentence]
    assert [sentence for sentence in found if "Benchmarks were not taken out" in sentence]
    assert found[-1] == "a note"
    unstated = limitations(with_pii, stated | {"b": SourceSums(1, 1, 1, 1, {NOT_STATED: 1})})
    assert unstated[0].startswith("Licences of documents of b are not stated")


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=100)
VALUES = st.none() | WORDS | st.integers(-9, 9) | st.lists(st.text("ab<|", max_size=4), max_size=3)
METADATA = st.dictionaries(st.sampled_from(["license", "licence", "title", "n"]), VALUES, max_size=4)


@given(st.lists(st.none() | METADATA.map(json.dumps), max_size=12))
def test_licences_are_what_the_metadata_says_row_by_row(rows: list[str | None]) -> None:
    expected = []
    for row in rows:
        entry = json.loads(row or "{}")
        found = next((entry[key] for key in ("license", "licence") if entry.get(key) is not None), "")
        value = ", ".join(found) if isinstance(found, list) else str(found)
        clean = re.sub(r"[\t\n\f\r ]+", " ", value)
        expected.append(clean)
    shown = licences(pa.nulls(len(rows), pa.string()), pa.array(rows, pa.string())).to_pylist()
    for one, clean in zip(shown, expected, strict=True):
        assert one == (clean.strip()[:MAX_LICENCE] or NOT_STATED)


@pytest.mark.parametrize("row", ["[]", "not json", '{"license": {"name": "MIT"}}', '{"license": "a", "license": "b"}'])
def test_odd_metadata_is_no_error(row: str) -> None:
    shown = licences(pa.nulls(3, pa.string()), pa.array([row, '{"license": "MIT"}', None])).to_pylist()
    assert shown[1:] == ["MIT", NOT_STATED]


def test_many_licences_of_one_source_are_counted_together_beyond_a_limit(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipeline.views.report.sums.MAX_LICENCES", 2)
    found = source_sums(Store(str(output)))["prose"]
    assert len(found.licences) == 3
    assert sum(found.licences.values()) == found.curated


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_no_text_breaks_out_of_a_table(rows: list[list[str]]) -> None:
    lines = table(("a", "b"), rows, "lr").split("\n")
    assert len(lines) == 2 + len(rows)
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
        assert not re.search(r"<[a-zA-Z/!?]", line)
