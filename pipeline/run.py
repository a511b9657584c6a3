"""One run: from a configuration to `curated/`, `signals/`, `ledger/`, `tokenizer/`, `shards/` and `run.json`.

The driver: it plans each step from what the ones before it committed, and holds the lease. No document passes through
it. What a rerun finds sealed or committed it does not compute again.
"""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from gristmill.pipeline.config.keys import Config
from gristmill.pipeline.config.order import order
from gristmill.pipeline.engine.accounting import Counts, check_chain
from gristmill.pipeline.engine.engine import ATTEMPTS, Engine, Executor, Inline, Progress, Silent, missing_tasks
from gristmill.pipeline.engine.manifest import Sealed
from gristmill.pipeline.engine.metrics import Metrics
from gristmill.pipeline.engine.process import prepare, release_memory
from gristmill.pipeline.plan.command import rates_for
from gristmill.pipeline.plan.prediction import predicted
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.machine import missing
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.steps.blending import build, resolve
from gristmill.pipeline.steps.chain import library_versions
from gristmill.pipeline.steps.curate import curate
from gristmill.pipeline.steps.first_pass import first_pass
from gristmill.pipeline.steps.outputs import publish_documents, publish_shards, publish_tokenizer, tokenizer_record
from gristmill.pipeline.steps.removal import describe
from gristmill.pipeline.steps.removal import load as load_removed
from gristmill.pipeline.steps.rounds import run_rounds
from gristmill.pipeline.steps.selection import Corpus, select
from gristmill.pipeline.steps.tokens import TokenizerFiles, tokenize, tokenizer
from gristmill.pipeline.steps.units import count_units
from gristmill.stages.interface import CorpusStage, DocumentStage, Stage
from gristmill.storage.lease import Lease
from gristmill.storage.retrying import is_storage_failure
from gristmill.storage.store import Store
from gristmill.storage.uris import redacted_values


@dataclass
class Result:
    """What came out; `summary` is three lines for a person."""

    output: str
    summary: list[str]
    report: str | None = None
    record: dict[str, Any] = field(default_factory=dict)


def run(
    config: Config,
    *,
    workers: int | None = None,
    inline: bool = False,
    allow_missing: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Runs everything that is not done yet.

    Raises LeaseHeld, StepFailed, AccountingError, ValueError; each with a sentence for the user.
    """
    prepare()
    store = Store(config.output)
    progress = Metrics(store, progress or Silent())
    with Lease(store) as lease:
        notes: list[str] = []
        files = inventory(config.sources, notes)
        executor: Executor
        if inline:
            executor = Inline()
        else:
            executor = on_ray(config, store, workers)
        engine = Engine(store, executor, progress, allow_missing, lease.check)
        try:
            plan = predicted(config, files, workers, rates_for(config, None)).to_dict()
            result = Driver(config, engine, files, plan, notes).run()
            result.report = described(store, result.record)
            return result
        finally:
            executor.close()


def described(store: Store, record: dict[str, Any]) -> str | None:
    """Writes datasheet and report; where the report is. A storage that fails in that does not undo the run."""
    from gristmill.pipeline.views import datasheet
    from gristmill.pipeline.views.report.write import write

    release_memory()
    for attempt in range(ATTEMPTS):
        try:
            datasheet.write(store, record)
            return write(store.uri)
        except OSError as error:
            if not is_storage_failure(error):
                raise
            if attempt == ATTEMPTS - 1:
                warnings.warn(f"the run is done, its report is not: {error}; gristmill report writes it", stacklevel=2)
    return None


def on_ray(config: Config, store: Store, workers: int | None) -> Executor:
    """Ray as it is given or started here. ValueError where the output would be lost or is not seen by every node."""
    from gristmill.pipeline.engine.ray_executor import RayExecutor, lost_with_the_job

    if lost_with_the_job(store):
        raise ValueError(
            f"output {store.location()} is in the job's copy of the working directory, which Ray deletes; give a "
            "URI or an absolute path that every node sees"
        )
    executor = RayExecutor(workers or config.runtime.workers, config.runtime.memory_per_worker)
    blind = executor.blind_nodes(store) if store.local and executor.nodes() > 1 else []
    if blind:
        executor.close()
        raise ValueError(
            f"output {store.location()} is not the same folder on {', '.join(blind)}; give a shared folder or a URI"
        )
    return executor


class Driver:
    """The steps of one run in order, and what it publishes."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        files: Sequence[Any],
        plan: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """plan: what was predicted, for the record. notes: what the inventory has to say."""
        self.plan = plan
        self.config = config
        self.engine = engine
        self.files = files
        self.started = time.time()
        self.funnel: list[tuple[str, Counts]] = []
        self.removed = load_removed(engine.store)
        self.notes = [*notes]
        self.notes += [sentence for spec in config.sources if spec.is_machine for sentence in missing(spec)]
        self.notes += [describe(self.removed)] if self.removed else []

    def run(self) -> Result:
        config, engine = self.config, self.engine
        stages = order(config.stages)
        corpus = self.read(stages.first)
        for stage in stages.deciding:
            corpus = self.decide(corpus, stage)
        curated = curate(
            engine,
            corpus,
            stages.late,
            seed=config.seed,
            partition_bytes=config.plan.partition_bytes,
            max_segments=config.plan.max_segments,
        )
        sent = next(sealed for sealed in reversed(engine.sealed) if sealed.name == "curate.send")
        self.funnel += [*sent.counts().items(), *curated.counts().items()]
        self.check(self.funnel)
        publish_documents(engine, config.stages, corpus, curated)
        model = tokenizer(engine, curated, as_dict(config.tokenizer), seed=config.seed)
        publish_tokenizer(engine, model)
        tokenized = tokenize(engine, curated, model)
        self.funnel += tokenized.counts().items()
        self.check(self.funnel)
        counted = count_units(engine, tokenized, seed=config.seed, holdout=config.shards.holdout)
        blends = {name: self.blend(name, tokenized, counted, model) for name in config.blends}
        return self.finish(curated, model, blends)

    def check(self, chain: list[tuple[str, Counts]]) -> None:
        """The totals of successive steps; where a failed task was allowed they differ by what it would have kept."""
        if not any(missing_tasks(sealed) for sealed in self.engine.sealed):
            check_chain("all", chain)

    def read(self, stages: Sequence[DocumentStage]) -> Corpus:
        config = self.config
        sealed = first_pass(
            self.engine,
            config.sources,
            self.files,
            partitions(self.files, config.plan.partition_bytes),
            stages,
            seed=config.seed,
            max_document_bytes=config.plan.max_document_bytes,
            removed=self.removed,
        )
        for index, manifest in sealed.done():
            check_chain(index, list(manifest.counts.items()))
        self.funnel += sealed.counts().items()
        corpus = Corpus(sealed)
        if any(manifest.stats["own_ids"] for _, manifest in sealed.done()):
            from gristmill.stages.identity import Identity

            corpus = self.decide(corpus, Identity())
        return corpus

    def decide(self, corpus: Corpus, stage: Stage) -> Corpus:
        if isinstance(stage, CorpusStage):
            options = {"seed": self.config.seed, "max_segments": self.config.plan.max_segments}
            following = run_rounds(self.engine, corpus, stage, **options)
        elif isinstance(stage, DocumentStage):
            following = select(self.engine, corpus, stage, self.config.seed)
        else:
            raise TypeError(f"stage {stage.name} has neither apply nor rounds; see docs/stages.md")
        for index, manifest in following.last().done():
            before = corpus.last().manifests[index]
            if before is not None:
                check_chain(index, [*list(before.counts.items())[-1:], *manifest.counts.items()])
        self.funnel += following.last().counts().items()
        return following

    def blend(self, name: str, tokenized: Sealed, counted: Sealed, model: TokenizerFiles) -> dict[str, Any]:
        config, engine = self.config, self.engine
        blend = resolve(
            name,
            counted,
            as_dict(config.blends[name]),
            seed=config.seed,
            holdout=config.shards.holdout,
            tokens_per_shard=config.shards.tokens_per_shard,
        )
        self.notes += list(blend.plan.notes)
        written = build(engine, tokenized, counted, blend, max_segments=config.plan.max_segments)
        scattered = next(s for s in reversed(engine.sealed) if s.name == f"blend/{name}/scatter")
        self.check([self.funnel[-1], *scattered.counts().items()])
        return publish_shards(engine, blend, written, model) | {"counts": scattered.counts()[f"blend/{name}"].to_dict()}

    def inputs(self) -> dict[str, Any]:
        """What was read: files and stored bytes by source, and the records that hold no document, by reason."""
        sources = {spec.name: {"files": 0, "bytes": 0} for spec in self.config.sources}
        for entry in self.files:
            sources[entry.source]["files"] += 1
            sources[entry.source]["bytes"] += entry.size
        read = next(sealed for sealed in self.engine.sealed if sealed.name == "read")
        skipped: dict[str, int] = {}
        for _, manifest in read.done():
            for reason, number in manifest.stats.get("skipped", {}).items():
                skipped[reason] = skipped.get(reason, 0) + number
        return {
            "files": len(self.files),
            "bytes": sum(entry["bytes"] for entry in sources.values()),
            "sources": sources,
            "skipped": dict(sorted(skipped.items())),
        }

    def finish(self, curated: Sealed, model: TokenizerFiles, blends: Mapping[str, Any]) -> Result:
        store = self.engine.store
        if self.engine.repaired:
            number = len(self.engine.repaired)
            self.notes.append(f"{number} committed files were damaged or missing and have been computed again")
        groups: dict[str, dict[str, Any]] = {}
        for _, manifest in curated.done():
            for name, group in manifest.stats["groups"].items():
                entry = groups.setdefault(name, {**group, "documents": 0, "bytes": 0})
                entry["documents"] += group["documents"]
                entry["bytes"] += group["bytes"]
        clusters: dict[str, dict[str, int]] = {}
        for sealed in self.engine.sealed:
            for _, manifest in sealed.done():
                for size, number in manifest.stats.get("cluster_sizes", {}).items():
                    sizes = clusters.setdefault(sealed.name, {})
                    sizes[size] = sizes.get(size, 0) + number
        record: dict[str, Any] = {
            "started": self.started,
            "seconds": time.time() - self.started,
            "host": platform.node(),
            "workers": self.plan["workers"] if self.plan else None,
            "python": platform.python_version(),
            "libraries": library_versions(),
            "configuration": redacted_values(self.config.to_dict()),
            "inputs": self.inputs(),
            "steps": [
                {
                    "name": sealed.name,
                    "fingerprint": sealed.fingerprint,
                    "tasks": len(sealed.manifests),
                    "reused": sealed.reused,
                    "computed": self.engine.recomputed.get(sealed.name, 0),
                    "adopted": self.engine.adopted.get(sealed.name, 0),
                    "seconds": round(sealed.seconds, 3),
                    "missing": [i for i, manifest in enumerate(sealed.manifests) if manifest is None],
                    "bytes_written": sum(f.bytes for _, m in sealed.done() for f in m.files),
                }
                for sealed in self.engine.sealed
            ],
            "funnel": [{"stage": stage, **counts.to_dict()} for stage, counts in self.funnel],
            "groups": [groups[name] for name in sorted(groups)],
            "clusters": clusters,
            "tokenizer": tokenizer_record(store, model),
            "blends": dict(blends),
            "plan": self.plan,
            "repaired": self.engine.repaired,
            "notes": self.notes,
            "summary": summary(self.funnel, groups, blends, self.notes),
        }
        store.write("run.json", json.dumps(record, indent=1, ensure_ascii=False).encode())
        return Result(store.shown, record["summary"], None, record)


def summary(
    funnel: Sequence[tuple[str, Counts]], groups: Mapping[str, Any], blends: Mapping[str, Any], notes: Sequence[str]
) -> list[str]:
    from gristmill.pipeline.engine.progress import size_text

    first = funnel[0][1]
    kept = sum(group["documents"] for group in groups.values())
    size = sum(group["bytes"] for group in groups.values())
    lines = [
        f"{first.documents_in:,} documents ({size_text(first.bytes_in)}) in, {kept:,} ({size_text(size)}) curated, "
        f"in {len({g['language'] for g in groups.values() if g['domain'] != 'code'})} languages and "
        f"{len({g['language'] for g in groups.values() if g['domain'] == 'code'})} programming languages"
    ]
    for name, blend in blends.items():
        whole = max(1, sum(blend["tokens_by_domain"].values()))
        shares = ", ".join(f"{domain} {100 * n / whole:.2f} %" for domain, n in blend["tokens_by_domain"].items())
        lines.append(f"blend {name}: {blend['tokens']:,} tokens in {blend['shards']} shards: {shares}")
    return lines + list(notes)


def as_dict(value: Any) -> dict[str, Any]:
    """A part of the configuration as a mapping."""
    if hasattr(value, "model_dump"):
        return dict(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return dict(value)
