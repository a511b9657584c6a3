"""Joining code in whole runs: every file is in exactly one document, whatever the order and size of what is read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from corpus import differences, records, rows_of, tree

from gristmill.pipeline.config.keys import ConfigError, load
from gristmill.pipeline.run import Result, run
from gristmill.pipeline.steps.joining import joined
from gristmill.pipeline.upkeep.verify import verify
from gristmill.stages.document import CURATED
from gristmill.stages.join_code import JoinCode

pytestmark = pytest.mark.slow

TOKENS = 4_000
SKETCH = "import sys\n\n\ndef main(arguments):\n    # print them\n    for each in arguments:\n        print(each, {})\n"


@pytest.fixture(scope="module")
def config_path(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records that name their repository, an archive, a tree of two repositories, and prose."""
    folder = tmp_path_factory.mktemp("joining")
    inputs = folder / "input"
    (inputs / "tree" / "one" / "src").mkdir(parents=True)
    (inputs / "tree" / "two").mkdir()
    rows = list(records(shared_data / "code" / "code-permissive.jsonl.zst", 8000))[::20]
    for number in range(3):
        lines = []
        for row in rows[number::3]:
            named = {name: row[name] for name in ("text", "path", "programming_language", "license")}
            lines.append(json.dumps(named | {"repo_name": row["source"]}))
        lines.append(json.dumps({"text": SKETCH.format(number), "path": "x.py", "programming_language": "Python"}))
        (inputs / f"code-{number}.jsonl").write_text("\n".join(lines), "utf-8")
    for number, name in enumerate(("one/b.py", "one/a.py", "one/src/c.py", "two/d.py", "alone.py")):
        (inputs / "tree" / name).write_text(SKETCH.format(100 + number))
    with tarfile.open(inputs / "packed.tar.gz", "w:gz") as archive:
        for number, name in enumerate(("z.py", "m/y.py", "x.lua")):
            data = SKETCH.format(200 + number).replace("# print", "-- print" if name == "x.lua" else "# print")
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data.encode()))
    prose = list(records(sorted((shared_data / "english").glob("*.jsonl.zst"))[0], 40))
    (inputs / "prose.jsonl").write_text("\n".join(json.dumps({"text": row["text"]}) for row in prose), "utf-8")
    config = {
        "output": str(folder / "out"),
        "sources": [
            {"name": "records", "uri": str(inputs / "code-*.jsonl"), "domain": "code"},
            {"name": "tree", "uri": str(inputs / "tree"), "format": "tree", "domain": "code"},
            {"name": "packed", "uri": str(inputs / "packed.tar.gz"), "format": "tree", "domain": "code"},
            {"name": "prose", "uri": str(inputs / "prose.jsonl")},
        ],
        "stages": [{"code_language": {}}, {"exact_dedup": {}}, {"join_code": {"max_document_tokens": TOKENS}}],
        "tokenizer": {"vocab_size": 1100, "sample_bytes": 100_000},
        "blends": {"pretrain": {"domains": {"code": 1.0}, "tokens": 20_000, "max_epochs": 4}},
        "shards": {"tokens_per_shard": 100_000, "holdout": 0.02},
        "plan": {"partition_bytes": 400_000, "max_segments": 4},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def done(config_path: Path) -> Result:
    return run(load(str(config_path)), inline=True)


@pytest.fixture(scope="module")
def unjoined(config_path: Path) -> Path:
    """The same without joining: the files as they would be curated."""
    folder = config_path.parent / "unjoined"
    run(load(str(config_path), [f"output={folder}", "stages=[code_language: {}, exact_dedup: {}]"]), inline=True)
    return folder


def curated(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((output / "curated").rglob("*.parquet")) for row in rows_of(path)]


def binary(row: dict[str, Any]) -> dict[str, Any]:
    """A curated document as the steps know it."""
    return row | {name: bytes.fromhex(row[name]) for name in ("id", "cluster")}


def files_of(row: dict[str, Any]) -> list[list[str]] | None:
    """What a document lists as its files; None for one that is a file."""
    said = json.loads(row["metadata"] or "{}")
    return said.get("files")


def test_every_file_is_in_exactly_one_document(done: Result, unjoined: Path) -> None:
    before = {row["id"]: row for row in curated(unjoined)}
    after = curated(Path(done.output))
    seen: list[str] = []
    for row in after:
        files = files_of(row)
        if files is None:
            seen.append(row["id"])
            assert row == before[seen[-1]] | {"cluster": row["cluster"]}
            continue
        assert len(files) > 1
        assert row["text"] == "\n".join(before[name]["text"] for _, name in files)
        assert [path for path, _ in files] == sorted(path for path, _ in files)
        assert {before[name]["language"] for _, name in files} == {row["language"]}
        seen += [name for _, name in files]
    assert sorted(seen) == sorted(before)
    assert len(after) < 0.8 * len(before)


def test_documents_end_at_files_and_only_a_single_file_is_larger_than_the_limit(done: Result) -> None:
    rows = [row for row in curated(Path(done.output)) if row["domain"] == "code"]
    limit = 3 * TOKENS
    assert all(len(row["text"].encode()) <= limit for row in rows if files_of(row))
    assert any(len(row["text"].encode()) > limit for row in rows)
    numbered: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        if files_of(row):
            numbered.setdefault((row["source"], row["path"], row["language"]), []).append(row["record"])
    assert any(len(found) > 1 for found in numbered.values())
    assert all(len(set(found)) == len(found) for found in numbered.values())


def test_repositories_come_from_records_archives_and_folders(done: Result) -> None:
    rows = {row["path"]: row for row in curated(Path(done.output)) if files_of(row) and row["source"] != "records"}
    assert {path: [name for name, _ in files_of(row) or ()] for path, row in rows.items()} == {
        "one": ["one/a.py", "one/b.py", "one/src/c.py"],
        "packed.tar.gz": ["packed.tar.gz/m/y.py", "packed.tar.gz/z.py"],
    }
    alone = [row["text"] for row in curated(Path(done.output)) if row["source"] == "records" and not files_of(row)]
    assert all(SKETCH.format(number) in alone for number in range(3))


def test_the_accounting_holds_and_the_ledger_names_every_merged_file(done: Result) -> None:
    output = Path(done.output)
    assert verify(done.output) == []
    (counts,) = [entry for entry in done.record["funnel"] if entry["stage"] == "join_code"]
    joins = [row for row in curated(output) if files_of(row)]
    parts = sum(len(files_of(row) or ()) for row in joins)
    assert counts["merged"] == parts - len(joins) > 50
    assert counts["kept"] == len(curated(output))
    assert counts["bytes_added"] == parts - len(joins)
    rows = [row for path in (output / "ledger").rglob("part-*.parquet") for row in pq.read_table(path).to_pylist()]
    merged = {row["id"]: row["survivor"] for row in rows if row["action"] == "merged"}
    assert merged == {name: row["id"] for row in joins for _, name in files_of(row) or ()}


def test_a_reversed_listing_writes_the_same_bytes(
    done: Result, config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gristmill.pipeline.readers.inventory

    find = gristmill.pipeline.readers.inventory.find
    monkeypatch.setattr(
        gristmill.pipeline.readers.inventory, "find", lambda uri, **given: list(reversed(find(uri, **given)))
    )
    result = run(load(str(config_path), [f"output={tmp_path / 'out'}"]), inline=True)
    assert differences(tree(Path(result.output)), tree(Path(done.output))) == []


def test_another_size_of_partitions_gives_the_same_documents(
    done: Result, config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gristmill.pipeline.steps.curate

    def documents(output: str | Path) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in curated(Path(output))}

    monkeypatch.setattr(gristmill.pipeline.steps.curate, "JOIN_BYTES", 50_000)
    result = run(load(str(config_path), [f"output={tmp_path / 'out'}", "plan.partition_bytes=150000"]), inline=True)
    python = list((tmp_path / "out" / "curated" / "domain=code" / "language=python").iterdir())
    assert len(python) > 2
    assert documents(result.output) == documents(done.output)
    assert verify(result.output) == []


def test_a_stage_after_join_code_is_an_error(config_path: Path, tmp_path: Path) -> None:
    stages = "stages=[exact_dedup: {}, join_code: {}, join_code: {}]"
    with pytest.raises(ConfigError, match="make it the last one"):
        load(str(config_path), [f"output={tmp_path / 'out'}", stages])


def test_code_is_joined_where_nothing_else_decides(config_path: Path, tmp_path: Path) -> None:
    config = load(str(config_path), [f"output={tmp_path / 'out'}", "stages=[language: {}, join_code: {}]"])
    found = run(config, inline=True).record["funnel"]
    assert [entry["merged"] > 0 for entry in found if entry["stage"] == "join_code"] == [True]


def test_a_bucket_larger_than_what_may_be_held_is_joined_the_same(unjoined: Path) -> None:
    paths = sorted((unjoined / "curated" / "domain=code").rglob("*.parquet"))
    tables = [pa.Table.from_pylist([binary(row) for row in rows_of(path)], CURATED) for path in paths]
    stage = JoinCode(max_document_tokens=TOKENS)

    def all_of(order: list[pa.Table], held: int, group: int) -> pa.Table:
        return pa.concat_tables([documents for documents, _, _ in joined(stage, order, group, held)])

    whole = all_of(tables, 1 << 40, 1 << 40)
    halves = [
        piece for table in tables for piece in (table.slice(0, table.num_rows // 2), table.slice(table.num_rows // 2))
    ]
    assert all_of(halves[::-1], 0, 20_000).equals(whole)
    largest = max(documents.nbytes for documents, _, _ in joined(stage, tables, 20_000, 0))
    assert largest < max(200_000, 3 * int(np.max(np.array([len(t) for t in whole.column("text").to_pylist()]))))
