"""An output as a run publishes it, with markup planted in every text, and a reader of the page made from it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from gristmill.pipeline.engine.accounting import Counts, check
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File, Role
from gristmill.pipeline.engine.publish import publish, publish_tables
from gristmill.pipeline.steps.ledger import Ledger
from gristmill.pipeline.steps.outputs import parquet_bytes
from gristmill.stages.rules import Rules, describe
from gristmill.storage.store import Store

PLANTED = [
    '<script>alert(1)</script> "quoted" & more',
    "<img src=http://example.com/x.png onerror=alert(2)>",
    "</blockquote></details></section><style>*{display:none}</style>",
    '"><svg onload=alert(3)>',
    "\x00\x1b[31m control",
    "مرحبا بالعالم",
]
RULES = ("gopher_quality.words", "gopher_repetition.duplicate_lines", "nemotron.urls")
STAGES = ("read", "extract", "language", "rules", "near_dedup", "curate", "tokenize")


def ledger_rows(partition: int, rows: int) -> pa.Table:
    """Rows that failed one to three rules, some without a preview, those of the last rule all."""
    texts = [None if i % 5 == 0 or i % 3 == 2 else f"{' '.join(PLANTED)} {partition}.{i}" for i in range(rows)]
    masks = [bytes(mask) for mask in ([1, 0, 0], [0, 7, 0], [3, 0, 0], [0, 0, 128])]
    return pa.table(
        {
            "id": pa.array([xxhash.xxh3_128_digest(f"{partition}/{i}".encode()) for i in range(rows)], pa.binary(16)),
            "source": ["web <b>"] * rows,
            "path": ["a/<i>b</i>.jsonl"] * rows,
            "record": list(range(rows)),
            "language": ["en"] * rows,
            "rule": [RULES[i % len(RULES)] for i in range(rows)],
            "value": np.arange(rows) / 7,
            "limit": [50.0] * rows,
            "failed": [masks[i % 4] for i in range(rows)],
            "bytes": [100 + i for i in range(rows)],
            "preview": texts,
        }
    )


def funnel(rules: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Counts that hold together: pages shrink to a tenth, then the rules and duplicates take theirs."""
    dropped, away = (sum(column) for column in zip(*rules.values(), strict=True))
    documents, size, result = 5000, 90_000_000, []
    for stage in STAGES:
        counts = Counts(documents, kept=documents, bytes_in=size, bytes_kept=size)
        if stage == "extract":
            counts.bytes_kept, counts.bytes_edited_away = size // 10, size - size // 10
        if stage == "rules":
            counts.rules, counts.dropped, counts.bytes_dropped = rules, dropped, away
        if stage == "near_dedup":
            counts.rules, counts.dropped, counts.bytes_dropped = {"near_dedup.duplicate": [90, 9000]}, 90, 9000
        counts.kept -= counts.dropped
        counts.bytes_kept -= counts.bytes_dropped
        check(stage, 0, counts)
        result.append({"stage": stage, **counts.to_dict()})
        documents, size = counts.kept, counts.bytes_kept
    return result


def identity(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode())


def signals(store: Store, partition: int) -> File:
    """Measured documents: English, Arabic, and a programming language whose name is markup."""
    output = Output(store, "work/read", partition)
    draws = np.random.default_rng(partition)
    rows = 500
    domains = [("english", "en"), ("multilingual", "ar"), ("multilingual", "de"), ("code", 'x"<b>'), ("code", "c")]
    kinds = [domains[i] for i in draws.integers(0, len(domains), rows)]
    columns: dict[str, Any] = {
        "id": pa.array([identity(f"kept {partition}.{i}") for i in range(rows)], pa.binary(16)),
        "source": ["web <b>"] * rows,
        "path": [f"{PLANTED[i % 6]}/{i}" for i in range(rows)],
        "record": list(range(rows)),
        "domain": [domain for domain, _ in kinds],
        "language": [language for _, language in kinds],
        "url": pa.nulls(rows, pa.string()),
        "text_bytes": draws.integers(1, 1 << 20, rows),
        "words": (10 ** draws.uniform(0, 5, rows)).astype(np.int64),
        "urls": pa.array(np.maximum(0, draws.normal(0, 0.2, rows)), mask=draws.random(rows) < 0.1),
        "mine_<i>": draws.normal(0, 9, rows),
        "preview": [f"{PLANTED[i % 6]} {i}" for i in range(rows)],
    }
    output.table(Role.SIGNALS, pa.table(columns))
    return output.files[0]


def duplicates(store: Store) -> File:
    """Two clusters: 40 copies of a document that stayed, and one of a document of an earlier run."""
    output = Output(store, "work/near_dedup", 9)
    ledger = Ledger(output, 9, seed=1)
    rows = ledger_rows(9, 41)
    survivors = [identity("kept 0.7")] * 40 + [identity("of an earlier run")]
    columns = {"rule": pa.array(["near_dedup.duplicate"] * 41), "survivor": pa.array(survivors, pa.binary(16))}
    ledger.add("near_dedup", "dropped", rows.drop_columns(["rule"]), **columns, **columns_of(rows, 41))
    ledger.close()
    return output.files[0]


def shard() -> pa.Table:
    units = [(unit["domain"], unit["category"], unit["source"], unit["language"]) for unit in blend()["units"]]
    names = ("domain", "category", "source", "language")
    columns = {name: [unit[i] for unit in units for _ in range(2)] for i, name in enumerate(names)}
    return pa.table({**columns, "tokens": pa.array([355, 355, 75, 75, 70, 70], pa.int32())})


def blend() -> dict[str, Any]:
    units: list[dict[str, Any]] = [
        {"domain": d, "category": c, "source": s, "language": language, "tokens": n, "documents": 10, "target": t}
        for d, c, s, language, n, t in (
            ("english", "web", "crawl", "en", 500, 700),
            ("multilingual", None, "crawl", "ar", 300, 150),
            ("code", "code", "git <x>", "python", 50, 150),
        )
    ]
    targets = {"english": 700, "multilingual": 150, "code": 150}
    return {
        "tokens": 1000,
        "documents": 30,
        "shards": 2,
        "holdout_tokens": 7,
        "target_tokens_by_domain": targets,
        "tokens_by_domain": {**targets, "code": 140, "english": 710},
        "units": [{**unit, "epochs": unit["target"] / unit["tokens"]} for unit in units],
        "notes": ["<script>note</script>"],
    }


def tokenizer_figures() -> dict[str, Any]:
    row: dict[str, Any] = {"documents": 9, "tokens": 500, "round_trip_failures": 0, "bytes_per_token": 4.25}
    row |= {"characters_per_token": 4.0, "fertility": 1.5, "byte_fallback_rate": 0.001, "coverage": 0.9999}
    languages = [{"domain": "english", "language": "en", **row}, {"domain": "multilingual", "language": "ja", **row}]
    languages[1]["fertility"] = None
    pieces = {"of_text": 2000, "used": 1500}
    return {"tokenizer": {"vocab_size": 2304}, "all": row, "languages": languages, "pieces": pieces}


def make(folder: Path, *, full: bool) -> Path:
    """An output as a run publishes it; `full`: with a tokenizer, a blend and clusters."""
    store = Store(str(folder))
    engine = Engine(store)
    files: list[tuple[str, File]] = []
    rules: dict[str, list[int]] = {}
    for partition in range(2):
        output = Output(store, "work/rules", partition)
        ledger = Ledger(output, partition, seed=1)
        table = ledger_rows(partition, 120)
        columns = {name: table.column(name) for name in ("rule", "value", "limit", "failed", "bytes", "preview")}
        ledger.add("rules", "dropped", table, **columns)
        ledger.add("pii", "edited", table.slice(0, 4), **{**columns_of(table, 4), "rule": pa.array(["pii.edited"] * 4)})
        ledger.close()
        for rule, size in zip(table["rule"].to_pylist(), table["bytes"].to_pylist(), strict=True):
            entry = rules.setdefault(rule, [0, 0])
            entry[0], entry[1] = entry[0] + 1, entry[1] + size
        files.append((f"step=rules/part-{partition:05d}.parquet", output.files[0]))
    presets = Rules(presets=("gopher_quality", "gopher_repetition", "nemotron"))
    if full:
        files.append(("step=near_dedup/part-00000.parquet", duplicates(store)))
    publish(engine, "ledger", files)
    publish_tables(engine, {"rules.parquet": parquet_bytes(describe(presets))})
    if full:
        publish(engine, "signals", [(f"part-{i:05d}.parquet", signals(store, i)) for i in range(2)])
        store.write("shards/pretrain/shard-00000.docs.parquet", parquet_bytes(shard()))
    step = {"fingerprint": "f" * 64, "tasks": 2, "reused": 0, "seconds": 1.5, "missing": [], "bytes_written": 10}
    record = {
        "started": 1_790_000_000.0,
        "seconds": 12.5,
        "host": "<host>",
        "python": "3.11.7",
        "libraries": {"pyarrow": "26.0.1"},
        "configuration": {
            "seed": 1,
            "sources": [{"name": "web", "uri": "https://example.com/x.jsonl", "domain": None}],
            "blends": {"pretrain": {"domains": {"english": 70, "multilingual": 15, "code": 15}}},
        },
        "inputs": {"files": 3, "bytes": 91_000_000},
        "steps": [{"name": name, **step} for name in ("read", "rules", "blend/<script>")],
        "funnel": funnel(dict(sorted(rules.items()))),
        "groups": [
            {"domain": "english", "language": "en", "documents": 3000, "bytes": 6_000_000},
            {"domain": "multilingual", "language": "ar", "documents": 1000, "bytes": 2_000_000},
            {"domain": "code", "language": "python", "documents": 670, "bytes": 900_000},
        ],
        "clusters": {"near_dedup": {"2": 30, "3": 5, "41": 1}} if full else {},
        "tokenizer": {"sha256": "ab" * 32, "report": {"measured": tokenizer_figures()} if full else None},
        "blends": {"pretrain": blend()} if full else {},
        "notes": ["<script>note</script>", "another note"] if full else [],
    }
    if full:
        planned = {"tasks": 3, "seconds": 0.5, "bytes_written": 11}
        record["plan"] = {"steps": [{"name": name, **planned} for name in ("read", "rules", "never <i>run</i>")]}
    store.write("run.json", json.dumps(record).encode())
    return folder


def columns_of(table: pa.Table, rows: int) -> dict[str, pa.ChunkedArray]:
    return {name: table.column(name).slice(0, rows) for name in ("bytes", "preview")}


def metrics(path: Path, steps: int, entropy: float | None = 6.5) -> list[float]:
    """A training run as the trainer writes it; returns its losses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    losses = [9 - 5 * i / steps + (i % 7) / 10 for i in range(steps)]
    lines = [{"event": "start", "parameters": 1_500_000, **({"unigram_entropy": entropy} if entropy else {})}]
    for i, loss in enumerate(losses):
        line = {"event": "step", "step": i + 1, "tokens": 1024 * (i + 1), "loss": loss, "seconds": 0.5}
        lines.append({**line, "learning_rate": 3e-4, "grad_norm": 1.0, "tokens_per_s": 2048.0})
    domains = {"english": {"tokens": 10, "loss": 4.5, "bits_per_byte": None}}
    lines.append({"event": "evaluation", "tokens": 10, "loss": 4.5, "bits_per_byte": 1.25, "domains": domains})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"event": "step", "lo', "utf-8")
    return losses


class Document(HTMLParser):
    """Tags, attributes, texts, and elements left open."""

    VOID = {"meta", "link", "input", "wbr", "br"}

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.texts)


def shown_as(text: str) -> str:
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", text)
