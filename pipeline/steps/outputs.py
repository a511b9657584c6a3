"""What a run leaves for people and for the trainer: the published folders and what `run.json` says of them."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.engine.accounting import Counts, Totals
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import Role, Sealed
from gristmill.pipeline.engine.publish import MANIFESTS, publish, publish_root, publish_tables
from gristmill.pipeline.steps.blend_work import BlendWork
from gristmill.pipeline.steps.curate import CuratedStats
from gristmill.pipeline.steps.record import BlendRecord, TokenizerRecord, UnitRecord
from gristmill.pipeline.steps.selection import Corpus
from gristmill.pipeline.steps.sharding import Shard, ShardStats
from gristmill.pipeline.steps.tokens import TokenizerFiles, encoder_facts
from gristmill.stages.interface import Stage, has_rules, rules_of
from gristmill.stages.presets.rule import describe
from gristmill.storage.hive import folder
from gristmill.storage.store import Store
from gristmill.tokenizer.manifest import MEGATRON, NAME, ShardManifest, data_args, manifest, to_bytes
from gristmill.tokenizer.shards import Dtype, Format, Layout

COUNTS, RULES = f"{MANIFESTS}/counts.parquet", f"{MANIFESTS}/rules.parquet"
"""Tables of a run: its accounting by step, stage and partition; its rules in order."""


def publish_documents(engine: Engine, stages: Sequence[Stage], corpus: Corpus, curated: Sealed[CuratedStats]) -> None:
    publish(engine, "curated", [(file.name, file) for file in curated.files(Role.CURATED)])
    signals = [(f"part-{i:05d}.parquet", f) for i, m in corpus.read.done() for f in m.all(Role.SIGNALS)]
    publish(engine, "signals", signals)
    ledger = []
    times: Counter[str] = Counter()
    for sealed in engine.sealed:
        files = [(i, file) for i, m in sealed.done() if (file := m.file(Role.LEDGER)) is not None and file.rows]
        times[sealed.name] += bool(files)
        name = sealed.name if times[sealed.name] < 2 else f"{sealed.name}.{times[sealed.name]}"
        ledger += [(f"{folder('step', name)}/part-{i:05d}.parquet", file) for i, file in files]
    publish(engine, "ledger", ledger)
    publish_tables(engine, {"counts.parquet": counts_table(engine), "rules.parquet": rules_table(stages)})


def finish_publishing(store: Store, blends: Iterable[str]) -> None:
    """The root record, over all that a run has published."""
    publish_root(store, ["curated", "signals", "ledger", "tokenizer", *(f"shards/{name}" for name in blends)])


class RuleCounts(TypedDict):
    rule: str
    documents: int
    bytes: int


class CountsRow(Totals):
    """A row of `manifests/counts.parquet`."""

    step: str
    stage: str
    partition: int
    tallies: NotRequired[dict[str, int]]
    rules: list[RuleCounts]


def counts_table(engine: Engine) -> bytes:
    """Parquet: the accounting of every step, stage and partition, with what each rule took."""
    rows: list[CountsRow] = []
    for sealed in engine.sealed:
        for index, task in sealed.done():
            for stage, counts in task.counts.items():
                row: CountsRow = {
                    "step": sealed.name,
                    "stage": stage,
                    "partition": index,
                    **counts.totals(),
                    "tallies": dict(sorted(counts.tallies.items())),
                    "rules": [
                        {"rule": rule, "documents": n, "bytes": size}
                        for rule, (n, size) in sorted(counts.rules.items())
                    ],
                }
                if not counts.tallies:
                    del row["tallies"]
                rows.append(row)
    return parquet_bytes(pa.Table.from_pylist(rows))


def rules_table(stages: Sequence[Stage]) -> bytes:
    tables = [describe(rules_of(stage)) for stage in stages if has_rules(stage)]
    return parquet_bytes(pa.concat_tables(tables) if tables else describe([]))


def publish_tokenizer(engine: Engine, model: TokenizerFiles) -> None:
    if model.trained is None:
        publish(engine, "tokenizer", [], {"tokenizer.model": model.model})
        return
    publish(engine, "tokenizer", [(file.name, file) for file in model.trained.files(Role.TOKENIZER)])


def shard_layout(dtype: Dtype, formats: Sequence[Format], model: TokenizerFiles) -> Layout:
    """How a run writes its shards; datatrove's metadata names the tokenizer by the hash of its model."""
    return Layout.of(dtype, formats, encoder_facts(model)["vocab_size"], f"gristmill-{model.digest[:16]}")


def publish_shards(
    engine: Engine,
    blend: BlendWork,
    written: Sealed[ShardStats],
    model: TokenizerFiles,
    layout: Layout,
    counts: Counts,
) -> BlendRecord:
    """Publishes one blend and returns what `run.json` says of it. counts: of what was scattered."""
    shards = [(index, task.stats.shard) for index, task in written.done() if task.stats.shard is not None]
    train = [shard for index, shard in shards if index < blend.shards]
    holdout = [shard for index, shard in shards if index >= blend.shards]
    facts = encoder_facts(model)

    def described(shards: Sequence[Shard]) -> ShardManifest:
        entries = [shard.entry() for shard in shards]
        return manifest(
            entries, blend=blend.name, seed=blend.seed, tokenizer_sha256=model.digest, dtype=layout.dtype, **facts
        )

    files = [(file.name, file) for file in written.files(Role.SHARD)]
    if layout.token_bytes and layout.same_bytes:
        files += [(name.removesuffix(".bin") + ".ds", file) for name, file in files if name.endswith(".bin")]
    whole = described(train)
    extra = {NAME: to_bytes(whole), MEGATRON: data_args(whole)}
    if holdout:
        held = described(holdout)
        extra |= {f"holdout/{NAME}": to_bytes(held), f"holdout/{MEGATRON}": data_args(held)}
    publish(engine, f"shards/{blend.name}", files, extra)
    targets: dict[str, int] = {}
    for unit, target in zip(blend.units, blend.targets.tolist(), strict=True):
        targets[unit.domain] = targets.get(unit.domain, 0) + target
    units: list[UnitRecord] = [
        {
            "domain": unit.domain,
            "category": unit.category,
            "source": unit.source,
            "language": unit.language,
            "tokens": unit.tokens,
            "documents": unit.documents,
            "target": target,
            "epochs": round(target / unit.tokens, 4) if unit.tokens else 0.0,
        }
        for unit, target in zip(blend.units, blend.targets.tolist(), strict=True)
    ]
    return {
        "tokens": whole["tokens"],
        "documents": whole["documents"],
        "shards": len(train),
        "holdout_tokens": sum(shard.tokens for shard in holdout),
        "target_tokens_by_domain": targets,
        "tokens_by_domain": whole["tokens_by_domain"],
        "units": units,
        "notes": list(blend.plan.notes),
        "counts": counts.to_dict(),
    }


def tokenizer_record(store: Store, model: TokenizerFiles) -> TokenizerRecord:
    report = json.loads(store.read("tokenizer/report.json")) if model.trained else None
    return {"sha256": model.digest, "report": report}


def parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
