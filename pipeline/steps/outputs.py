"""What a run leaves for people and for the trainer: the published folders and what `run.json` says of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File, Sealed
from gristmill.pipeline.engine.publish import publish
from gristmill.pipeline.steps.blend_work import BlendWork
from gristmill.pipeline.steps.first_pass import SIGNALS
from gristmill.pipeline.steps.ledger import ROLE as LEDGER
from gristmill.pipeline.steps.selection import Corpus
from gristmill.pipeline.steps.tokens import TokenizerFiles, encoder_facts
from gristmill.stages.interface import Stage
from gristmill.stages.rules import Rules, describe
from gristmill.storage.store import Store
from gristmill.tokenizer.manifest import NAME, manifest, to_bytes
from gristmill.tokenizer.shards import ShardEntry


def publish_documents(engine: Engine, stages: Sequence[Stage], corpus: Corpus, curated: Sealed) -> None:
    publish(
        engine,
        "curated",
        [(f.role.removeprefix("curated/"), f) for _, m in curated.done() for f in m.roles("curated/")],
    )
    publish(engine, "signals", [(f"part-{i:05d}.parquet", f) for i, m in corpus.read.done() for f in m.roles(SIGNALS)])
    ledger = [
        (f"{number:02d}-{sealed.name}/part-{i:05d}.parquet", file)
        for number, sealed in enumerate(s for s in engine.sealed if any(m.file(LEDGER) for _, m in s.done()))
        for i, manifest in sealed.done()
        if (file := manifest.file(LEDGER)) is not None and file.rows
    ]
    publish(engine, "ledger", ledger, {"counts.parquet": counts_table(engine), "rules.parquet": rules_table(stages)})


def counts_table(engine: Engine) -> bytes:
    """Parquet: the accounting of every step, stage and partition, with what each rule took."""
    rows: list[dict[str, Any]] = []
    for sealed in engine.sealed:
        for index, task in sealed.done():
            for stage, counts in task.counts.items():
                values = counts.to_dict()
                rules = [
                    {"rule": rule, "documents": n, "bytes": size} for rule, (n, size) in values.pop("rules").items()
                ]
                rows.append({"step": sealed.name, "stage": stage, "partition": index, **values, "rules": rules})
    return parquet_bytes(pa.Table.from_pylist(rows))


def rules_table(stages: Sequence[Stage]) -> bytes:
    tables = [describe(stage.rules()) for stage in stages if isinstance(stage, Rules)]
    return parquet_bytes(pa.concat_tables(tables) if tables else describe([]))


def publish_tokenizer(engine: Engine, model: TokenizerFiles) -> None:
    if model.trained is None:
        publish(engine, "tokenizer", [], {"tokenizer.model": model.model})
        return
    files = [file for _, manifest in model.trained.done() for file in manifest.files]
    publish(engine, "tokenizer", [(file.role.removeprefix("tokenizer/"), file) for file in files])


def publish_shards(engine: Engine, blend: BlendWork, written: Sealed, model: TokenizerFiles) -> dict[str, Any]:
    """Publishes one blend and returns what `run.json` says of it."""
    folder = f"shards/{blend.name}"
    files: list[tuple[str, File]] = []
    train: list[ShardEntry] = []
    holdout: list[ShardEntry] = []
    for index, task in written.done():
        files += [(file.role.removeprefix("shards/"), file) for file in task.files]
        if task.stats["entry"]:
            (train if index < blend.shards else holdout).append(task.stats["entry"])
    facts: dict[str, Any] = {
        "blend": blend.name,
        "seed": blend.seed,
        "tokenizer_sha256": model.digest,
        **encoder_facts(model),
    }
    whole = manifest(train, **facts)
    extra = {NAME: to_bytes(whole)}
    if holdout:
        extra[f"holdout/{NAME}"] = to_bytes(manifest(holdout, **facts))
    publish(engine, folder, files, extra)
    targets: dict[str, int] = {}
    for unit, target in zip(blend.units, blend.targets.tolist(), strict=True):
        targets[unit.domain] = targets.get(unit.domain, 0) + target
    units = [
        {**asdict(unit), "target": target, "epochs": round(target / unit.tokens, 4) if unit.tokens else 0.0}
        for unit, target in zip(blend.units, blend.targets.tolist(), strict=True)
    ]
    return {
        "tokens": whole["tokens"],
        "documents": whole["documents"],
        "shards": len(train),
        "holdout_tokens": sum(entry["tokens"] for entry in holdout),
        "target_tokens_by_domain": targets,
        "tokens_by_domain": whole["tokens_by_domain"],
        "units": units,
        "notes": list(blend.plan.notes),
    }


def tokenizer_record(store: Store, model: TokenizerFiles) -> dict[str, Any]:
    report = json.loads(store.read("tokenizer/report.json")) if model.trained else None
    return {"sha256": model.digest, "report": report}


def parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
