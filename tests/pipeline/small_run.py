"""A small run over text that every checkout has: this project's documents and the interpreter's standard library."""

from __future__ import annotations

import json
import re
import sysconfig
from pathlib import Path
from typing import Any

import yaml

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.run import run

ROOT = Path(__file__).parents[2]
LICENCES = ("Apache-2.0", "CC-BY-4.0", None, ["MIT", "BSD"], '<script>alert("licence")</script> | two', 7)
"""What the prose says of its licence, in turn: strings, nothing, and values that are no strings."""


def prose() -> list[dict[str, Any]]:
    """Sections of the documents, some twice and some nearly twice."""
    sections = [
        " ".join(section.split("\n\n")[:40])
        for path in sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
        for section in re.split(r"(?m)^#+ ", path.read_text("utf-8"))
        if len(section) > 200
    ]
    twice = [*sections, *sections[:9], *(f"{section}\nAnd one line more." for section in sections[9:25])]
    rows = []
    for i, text in enumerate(twice):
        row = {"text": text, "url": f"https://example.org/{i}"}
        rows.append(row | ({"license": LICENCES[i % 6]} if LICENCES[i % 6] is not None else {"n": i}))
    return rows


def code() -> list[dict[str, Any]]:
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:70]
    texts = [(path.name, path.read_text("utf-8", "replace")) for path in paths]
    return [
        {"text": text, "path": name, "programming_language": "python", "licence": "PSF-2.0"}
        for name, text in texts
        if 0 < len(text) < 40_000
    ]


def small_run(folder: Path, model: Path) -> dict[str, Any]:
    """Runs it into `folder/out` and returns its record. `model`: fastText's lid.176.ftz."""
    return run(load(str(small_configuration(folder, model))), inline=True).record


def small_configuration(folder: Path, model: Path) -> Path:
    """Writes the documents and a configuration that reads them."""
    for name, rows in (("prose", prose()), ("code", code())):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    config = {
        "output": str(folder / "out"),
        "sources": [
            {"name": "prose", "uri": str(folder / "prose.jsonl")},
            {"name": "code", "uri": str(folder / "code.jsonl"), "domain": "code"},
        ],
        "stages": [
            {"extract": {}},
            {"language": {"model": str(model)}},
            {"rules": {"presets": ["gopher_quality", "gopher_repetition", "code"]}},
            {"exact_dedup": {}},
            {"near_dedup": {}},
        ],
        "tokenizer": {"vocab_size": 1500, "sample_bytes": 300_000},
        "blends": {
            "pretrain": {"domains": {"english": 0.7, "code": 0.3}, "on_shortage": "renormalize"},
        },
        "shards": {"tokens_per_shard": 100_000, "holdout": 0.05},
        "plan": {"partition_bytes": 300_000},
    }
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
