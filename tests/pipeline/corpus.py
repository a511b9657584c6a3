"""A small corpus of real documents in several formats, and what the whole-run tests do with it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
import yaml
import zstandard

PUBLISHED = ("curated", "signals", "ledger", "tokenizer", "shards", "manifests")


def records(path: Path, limit: int) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8")):
            if number >= limit:
                return
            yield json.loads(line)


def lay_out(shared_data: Path, folder: Path, model: Path) -> Path:
    """Copies some of the real data below `folder` and writes a configuration; returns its path."""
    import gzip

    inputs = folder / "input"
    inputs.mkdir(parents=True)
    for number, path in enumerate(sorted((shared_data / "english").glob("*.jsonl.zst"))):
        lines = [json.dumps(record) for record in records(path, 120)]
        with gzip.open(inputs / f"english-{number}.jsonl.gz", "wt") as file:
            file.write("\n".join(lines))
    for number, path in enumerate(sorted((shared_data / "multilingual").glob("*.jsonl.zst"))[:8]):
        lines = [json.dumps(record, ensure_ascii=False) for record in records(path, 120)]
        (inputs / f"other-{number}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code = [json.dumps(r) for r in records(shared_data / "code" / "code-permissive.jsonl.zst", 900)]
    (inputs / "code.jsonl").write_text("\n".join(code), encoding="utf-8")
    config = {
        "output": str(folder / "out"),
        "sources": [
            {"name": "english", "uri": str(inputs / "english-*.jsonl.gz"), "priority": 2, "columns": {"id": "id"}},
            {"name": "other", "uri": str(inputs / "other-*.jsonl")},
            {"name": "code", "uri": str(inputs / "code.jsonl"), "domain": "code"},
            {"name": "crawl", "uri": str(shared_data / "web" / "warc" / "*.warc.gz")},
            {"name": "crawl-plain", "uri": str(shared_data / "web" / "warc" / "*.warc")},
        ],
        "stages": [
            {"extract": {}},
            {"language": {"model": str(model)}},
            {"rules": {"presets": ["gopher_quality", "gopher_repetition", "nemotron", "code"]}},
            {"exact_dedup": {}},
            {"near_dedup": {}},
        ],
        "tokenizer": {"vocab_size": 3000, "sample_bytes": 2_000_000},
        "blends": {
            "pretrain": {
                "domains": {"english": 0.70, "multilingual": 0.15, "code": 0.15},
                "within": {"multilingual": {"unimax": {"epochs": 4}}},
                "tokens": "max",
                "max_epochs": 4,
                "on_shortage": "renormalize",
            }
        },
        "shards": {"tokens_per_shard": 200_000, "holdout": 0.02},
        "plan": {"partition_bytes": 1_500_000, "max_segments": 6},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def lay_out_small(shared_data: Path, folder: Path, model: Path, documents: int = 60) -> Path:
    """A few hundred documents with ids of their own in plain JSONL, for tests that run the whole mill many times."""
    inputs = folder / "input"
    inputs.mkdir(parents=True)
    english = [r for p in sorted((shared_data / "english").glob("*.jsonl.zst")) for r in records(p, documents)]
    other = [
        r for p in sorted((shared_data / "multilingual").glob("*.jsonl.zst"))[:4] for r in records(p, documents // 2)
    ]
    code = list(records(shared_data / "code" / "code-permissive.jsonl.zst", 3 * documents))
    for name, rows in (("english", english + english[::7]), ("other", other), ("code", code)):
        kept = [{**row, "id": f"{name}-{number}"} for number, row in enumerate(rows) if len(row["text"]) < 30_000]
        lines = [json.dumps(row, ensure_ascii=False) for row in kept]
        (inputs / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "output": str(folder / "out"),
        "sources": [
            {"name": "english", "uri": str(inputs / "english.jsonl"), "columns": {"id": "id"}},
            {"name": "other", "uri": str(inputs / "other.jsonl"), "columns": {"id": "id"}},
            {"name": "code", "uri": str(inputs / "code.jsonl"), "domain": "code", "columns": {"id": "id"}},
        ],
        "stages": [{"language": {"model": str(model)}}, {"rules": {}}, {"exact_dedup": {}}, {"near_dedup": {}}],
        "tokenizer": {"vocab_size": 1600, "sample_bytes": 300_000},
        "blends": {
            "pretrain": {
                "domains": {"english": 0.70, "multilingual": 0.15, "code": 0.15},
                "tokens": "max",
                "max_epochs": 4,
                "on_shortage": "renormalize",
            }
        },
        "shards": {"tokens_per_shard": 100_000, "holdout": 0.02},
        "plan": {"partition_bytes": 500_000, "max_segments": 3},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def tree(output: Path) -> dict[str, bytes]:
    """Every published file with its content."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for top in PUBLISHED
        for path in sorted((output / top).rglob("*"))
        if path.is_file()
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of one published file of Parquet, with the columns that its folders name."""
    named = {key: unquote(value) for key, _, value in (part.partition("=") for part in path.parts[:-1]) if value}
    return [row | named for row in pq.read_table(path).to_pylist()]


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that only one has or that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
