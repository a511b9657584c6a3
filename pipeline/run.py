"""One run: from a configuration to `curated/`, `signals/`, `ledger/`, `tokenizer/`, `shards/` and `run.json`.

The driver: it plans each step from what the ones before it committed, and holds the lease. No document passes through
it. What a rerun finds sealed or committed it does not compute again.
"""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gristmill.pipeline.config.keys import AUTO, SIZED, Config, settled
from gristmill.pipeline.config.order import order
from gristmill.pipeline.engine.accounting import Counts, check_chain
from gristmill.pipeline.engine.commit import check_work
from gristmill.pipeline.engine.engine import ATTEMPTS, Engine, Executor, Inline, Progress, Silent, missing_tasks
from gristmill.pipeline.engine.manifest import Sealed
from gristmill.pipeline.engine.metrics import Metrics
from gristmill.pipeline.engine.process import prepare, release_memory
from gristmill.pipeline.plan.command import rates_for
from gristmill.pipeline.plan.foreseen import after_pass, after_step, examined, holdout_finding, of_totals
from gristmill.pipeline.plan.prediction import predicted
from gristmill.pipeline.readers.inventory import FileEntry, inventory
from gristmill.pipeline.readers.left_out import LeftOut
from gristmill.pipeline.readers.machine import missing
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.steps.blending import build, resolve
from gristmill.pipeline.steps.chain import library_versions
from gristmill.pipeline.steps.curate import CuratedGroup, CuratedStats, curate
from gristmill.pipeline.steps.findings import FAILED, WRONG, Finding, judge
from gristmill.pipeline.steps.first_pass import Volume, first_pass
from gristmill.pipeline.steps.outputs import (
    finish_publishing,
    publish_documents,
    publish_shards,
    publish_tokenizer,
    shard_layout,
    tokenizer_record,
)
from gristmill.pipeline.steps.pass_check import check as check_pass
from gristmill.pipeline.steps.pass_check import check_ids, passed
from gristmill.pipeline.steps.record import (
    BlendRecord,
    InputsRecord,
    InvocationRecord,
    PlanRecord,
    RunRecord,
    SourceFiles,
    as_written,
)
from gristmill.pipeline.steps.removal import describe
from gristmill.pipeline.steps.removal import load as load_removed
from gristmill.pipeline.steps.rounds import run_rounds
from gristmill.pipeline.steps.selection import Corpus, Decided, select
from gristmill.pipeline.steps.tokens import TokenizerFiles, TokenStats, tokenize, tokenizer_at, trained_tokenizer
from gristmill.pipeline.steps.units import UnitStats, count_units
from gristmill.stages.interface import CorpusStage, DocumentStage, Stage
from gristmill.stages.registry import UNIQUE_IDS
from gristmill.stages.registry import load as load_stage
from gristmill.storage.lease import Lease
from gristmill.storage.retrying import is_storage_failure
from gristmill.storage.store import Store
from gristmill.storage.uris import redacted_values
from gristmill.tokenizer.manifest import MEGATRON
from gristmill.wording import plural

Say: TypeAlias = Callable[[str], None]


def quiet(sentence: str) -> None:
    """Says nothing; the record has it."""


@dataclass
class Result:
    """What came out; `summary` is three lines for a person."""

    output: str
    summary: list[str]
    report: str | None
    record: RunRecord


def run(
    config: Config,
    *,
    workers: int | None = None,
    inline: bool = False,
    allow_missing: bool = False,
    progress: Progress | None = None,
    strict: bool = False,
    say: Say = quiet,
    invocation: InvocationRecord | None = None,
) -> Result:
    """Runs everything that is not done yet. invocation: how it was started, for the record.

    strict: every finding is an error. say: told each finding as it is made. Raises LeaseHeld, StepFailed,
    AccountingError, ValueError (`Void` for findings); each with a sentence for the user.
    """
    prepare()
    store = Store(config.output)
    progress = Metrics(store, progress or Silent())
    with Lease(store) as lease:
        check_work(store)
        notes: list[str] = []
        left_out: list[LeftOut] = []
        files = inventory(config.sources, notes, left_out)
        found = Noticed(strict, say)
        found.notice(examined(config, files, left_out), WRONG)
        for note in notes:
            if note not in found.said():
                say(note)
        executor: Executor
        if inline:
            executor = Inline()
        else:
            executor = on_ray(config, store, workers)
        engine = Engine(store, executor, progress, allow_missing, lease.check)
        try:
            plan = predicted(config, files, workers, rates_for(config, None)).to_dict()
            if sizes := plan.get("sizes"):
                say(sizes)
            steps = {step["name"]: step["seconds"] for step in plan["steps"]}
            progress.foresee(steps, plan["publish_s"], executor.under_way)
            driver = Driver(config, engine, files, plan, notes, left_out, found)
            driver.invocation = invocation
            result = driver.run()
            result.report = described(store, result.record)
            return result
        finally:
            executor.close()


@dataclass
class Noticed:
    """The findings of a run so far."""

    strict: bool = False
    say: Say = quiet
    findings: list[Finding] = field(default_factory=list)

    def notice(self, findings: Sequence[Finding], exit_code: int = FAILED) -> None:
        """Says each. Raises `Void` where the run is not to go on with one of them."""
        self.findings += findings
        for finding in findings:
            if not (finding.void or self.strict):
                self.say(finding.sentence)
        judge(findings, exit_code, self.strict)

    def said(self) -> list[str]:
        return [finding.sentence for finding in self.findings]


def described(store: Store, record: RunRecord) -> str | None:
    """Writes datasheet, card and report; where the report is. A storage that fails in that does not undo the run."""
    from gristmill.pipeline.views import card, datasheet
    from gristmill.pipeline.views.report.write import write

    release_memory()
    for attempt in range(ATTEMPTS):
        try:
            datasheet.write(store, record)
            card.write(store, record)
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
        files: Sequence[FileEntry],
        plan: PlanRecord | None = None,
        notes: Sequence[str] = (),
        left_out: Sequence[LeftOut] = (),
        noticed: Noticed | None = None,
    ) -> None:
        """plan: what was predicted, for the record. notes, left_out: what the inventory has to say."""
        self.left_out = left_out
        self.plan = plan
        self.invocation: InvocationRecord | None = None
        self.given = config
        self.noticed = noticed or Noticed()
        self.config = settled(config, files)
        self.engine = engine
        self.files = files
        self.started = time.time()
        self.funnel: list[tuple[str, Counts]] = []
        self.skipped: dict[str, int] = {}
        """Records that held no document, by reason."""
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
        groups = [group for _, manifest in corpus.last().done() for group in manifest.stats.groups.values()]
        self.noticed.notice(self.holdout(sum(group.documents for group in groups)))
        curated = curate(
            engine,
            corpus,
            stages.late,
            seed=config.seed,
            partition_bytes=config.sizes.partition_bytes,
            max_segments=config.plan.max_segments,
        )
        self.noticed.notice(of_totals(self.given, curated_totals(curated), "after curate"))
        self.funnel += [*self.counts("curate.send").items(), *curated.counts().items()]
        self.check(self.funnel)
        publish_documents(engine, config.stages, corpus, curated)
        model = self.tokenizer(curated)
        self.noticed.notice(trained_finding(self.given, model))
        publish_tokenizer(engine, model)
        tokenized = tokenize(engine, curated, model)
        self.funnel += tokenized.counts().items()
        self.check(self.funnel)
        counted = count_units(engine, tokenized, seed=config.seed, holdout=config.sizes.holdout)
        blends = {name: self.blend(name, tokenized, counted, model) for name in config.blends}
        return self.finish(curated, model, blends)

    def counts(self, step: str) -> dict[str, Counts]:
        """Of a step of this run."""
        return next(sealed for sealed in reversed(self.engine.sealed) if sealed.name == step).counts()

    def tokenizer(self, curated: Sealed[CuratedStats]) -> TokenizerFiles:
        """The one that is named, or one trained on the curated corpus."""
        config = self.config.tokenizer
        if config.path:
            return tokenizer_at(config.path)
        return trained_tokenizer(
            self.engine,
            curated,
            vocab_size=self.config.sizes.vocab_size,
            may_grow=self.given.tokenizer.vocab_size == AUTO,
            sample_bytes=self.config.sizes.sample_bytes,
            alpha=config.alpha,
            shares=config.shares,
            seed=self.config.seed,
        )

    def check(self, chain: list[tuple[str, Counts]]) -> None:
        """The totals of successive steps; where a failed task was allowed they differ by what it would have kept."""
        if not any(missing_tasks(sealed) for sealed in self.engine.sealed):
            check_chain("all", chain)

    def read(self, stages: Sequence[DocumentStage]) -> Corpus:
        config = self.config
        cut = partitions(self.files, config.sizes.partition_bytes)
        sealed = first_pass(
            self.engine,
            config.sources,
            self.files,
            cut,
            stages,
            seed=config.seed,
            max_document_bytes=config.plan.max_document_bytes,
            removed=self.removed,
        )
        for index, manifest in sealed.done():
            check_chain(index, list(manifest.counts.items()))
        self.funnel += sealed.counts().items()
        corpus = Corpus(sealed)
        for _, manifest in sealed.done():
            for reason, number in manifest.stats.skipped.items():
                self.skipped[reason] = self.skipped.get(reason, 0) + number
        origins = [partition.source for partition in cut]
        sources = passed(config.sources, origins, sealed)
        left = sum(source.left.documents for source in sources)
        self.noticed.notice(check_pass(sources) + after_pass(self.given, sources) + self.holdout(left))
        if any(manifest.stats.own_ids for _, manifest in sealed.done()):
            corpus = self.decide(corpus, load_stage(UNIQUE_IDS)())
            self.noticed.notice(check_ids(sources, origins, corpus.last()))
        return corpus

    def holdout(self, documents: int) -> list[Finding]:
        """Said once: of what the first pass leaves, or of what the decisions leave."""
        found = holdout_finding(self.config, self.given, documents)
        return [] if any(known.kind == each.kind for known in self.noticed.findings for each in found) else found

    def decide(self, corpus: Corpus, stage: Stage) -> Corpus:
        if isinstance(stage, CorpusStage):
            seed, max_segments = self.config.seed, self.config.plan.max_segments
            following = run_rounds(self.engine, corpus, stage, seed=seed, max_segments=max_segments)
        elif isinstance(stage, DocumentStage):
            following = select(self.engine, corpus, stage, self.config.seed)
        else:
            raise TypeError(f"stage {stage.name} has neither apply nor rounds; see docs/stages.md")
        for index, manifest in following.last().done():
            before = corpus.last().manifests[index]
            if before is not None:
                check_chain(index, [*list(before.counts.items())[-1:], *manifest.counts.items()])
        self.funnel += following.last().counts().items()
        self.noticed.notice(after_step(self.given, following.last()))
        return following

    def blend(
        self, name: str, tokenized: Sealed[TokenStats], counted: Sealed[UnitStats], model: TokenizerFiles
    ) -> BlendRecord:
        config, engine = self.config, self.engine
        blend = resolve(
            name,
            counted,
            config.blends[name],
            seed=config.seed,
            holdout=config.sizes.holdout,
            tokens_per_shard=config.sizes.tokens_per_shard,
        )
        self.notes += list(blend.plan.notes)
        layout = shard_layout(config.shards.dtype, config.shards.formats, model)
        written = build(engine, tokenized, counted, blend, layout, max_segments=config.plan.max_segments)
        scattered = self.counts(f"blend/{name}/scatter")
        self.check([self.funnel[-1], *scattered.items()])
        return publish_shards(engine, blend, written, model, layout, scattered[f"blend/{name}"])

    def inputs(self) -> InputsRecord:
        sources = {spec.name: SourceFiles(files=0, bytes=0) for spec in self.config.sources}
        for entry in self.files:
            sources[entry.source]["files"] += 1
            sources[entry.source]["bytes"] += entry.size
        return {
            "files": len(self.files),
            "bytes": sum(entry["bytes"] for entry in sources.values()),
            "sources": sources,
            "skipped": dict(sorted(self.skipped.items())),
            "left_out": [row.record() for row in self.left_out],
        }

    def clusters(self) -> dict[str, dict[str, int]]:
        """How many clusters have how many documents, by the step that decided."""
        found: dict[str, dict[str, int]] = {}
        for sealed in self.engine.sealed:
            for _, manifest in sealed.done():
                for size, number in manifest.stats.cluster_sizes.items() if isinstance(manifest.stats, Decided) else ():
                    sizes = found.setdefault(sealed.name, {})
                    sizes[str(size)] = sizes.get(str(size), 0) + number
        return found

    def finish(self, curated: Sealed[CuratedStats], model: TokenizerFiles, blends: dict[str, BlendRecord]) -> Result:
        store = self.engine.store
        if self.engine.repaired:
            number = len(self.engine.repaired)
            were, have = ("file was", "has") if number == 1 else ("files were", "have")
            self.notes.append(f"{number:,} committed {were} damaged or missing and {have} been computed again")
        groups: dict[str, CuratedGroup] = {}
        for _, manifest in curated.done():
            for name, more in manifest.stats.groups.items():
                groups[name] = groups[name] + more if name in groups else more
        record: RunRecord = {
            "started": self.started,
            "seconds": time.time() - self.started,
            "host": platform.node(),
            "workers": self.plan["workers"] if self.plan else None,
            "python": platform.python_version(),
            "libraries": library_versions(),
            "configuration": as_written(redacted_values(self.config.to_dict())),
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
            "groups": [groups[name].record() for name in sorted(groups)],
            "clusters": self.clusters(),
            "tokenizer": tokenizer_record(store, model),
            "blends": blends,
            "plan": self.plan,
            "repaired": self.engine.repaired,
            "notes": self.notes,
            "findings": [finding.record() for finding in self.noticed.findings],
            "summary": summary(
                store.shown, self.funnel, groups, blends, list(dict.fromkeys([*self.noticed.said(), *self.notes]))
            ),
        }
        record["automatic"] = [f"{SIZED[name]}.{name}" for name in self.given.automatic()]
        if self.invocation is not None:
            record["invocation"] = redacted_values(self.invocation)
        finish_publishing(store, blends)
        store.write("run.json", json.dumps(record, indent=1, ensure_ascii=False).encode())
        return Result(store.shown, record["summary"], None, record)


def summary(
    output: str,
    funnel: Sequence[tuple[str, Counts]],
    groups: Mapping[str, CuratedGroup],
    blends: Mapping[str, BlendRecord],
    notes: Sequence[str],
) -> list[str]:
    from gristmill.pipeline.engine.progress import size_text

    first = funnel[0][1]
    kept = sum(group.documents for group in groups.values())
    size = sum(group.bytes for group in groups.values())
    code = {group.language for group in groups.values() if group.domain == "code"}
    languages = {group.language for group in groups.values() if group.domain != "code"}
    spoken = [plural(len(languages), "language")] if languages else []
    spoken += [plural(len(code), "programming language")] if code else []
    lines = [
        f"{plural(first.documents_in, 'document')} ({size_text(first.bytes_in)}) in, {kept:,} ({size_text(size)}) "
        f"curated, in {' and '.join(spoken) or 'no language'}"
    ]
    for name, blend in blends.items():
        whole = max(1, sum(blend["tokens_by_domain"].values()))
        shares = ", ".join(f"{domain} {100 * n / whole:.2f} %" for domain, n in blend["tokens_by_domain"].items())
        lines.append(
            f"blend {name}: {plural(blend['tokens'], 'token')} in {plural(blend['shards'], 'shard')}: {shares}"
        )
        lines.append(f"blend {name}: epochs: {epochs(blend)}")
        lines.append(f"blend {name} in Megatron-LM: cd {output}/shards/{name}, then --data-args-path {MEGATRON}")
    return lines + list(notes)


def epochs(blend: BlendRecord) -> str:
    """'english 1.0, multilingual 4.0, code 0.4 (60 % of it left out)', by domain in order of the shares."""
    there: dict[str, int] = {}
    targets: dict[str, int] = {}
    for unit in blend["units"]:
        there[unit["domain"]] = there.get(unit["domain"], 0) + unit["tokens"]
        targets[unit["domain"]] = targets.get(unit["domain"], 0) + unit["target"]
    parts = []
    for domain in sorted(there, key=lambda domain: (-targets[domain], domain)):
        unused = sum(max(0, u["tokens"] - u["target"]) for u in blend["units"] if u["domain"] == domain)
        share = unused / max(1, there[domain])
        left = f" ({share:.0%} of it left out)" if share >= 0.005 else ""
        parts.append(f"{domain} {targets[domain] / max(1, there[domain]):.1f}{left}")
    return ", ".join(parts)


def trained_finding(given: Config, model: TokenizerFiles) -> list[Finding]:
    """Where fewer pieces came of the text than were asked for."""
    trained = model.trained.manifests[0] if model.trained else None
    wanted = given.tokenizer.vocab_size
    if trained is None or wanted == AUTO or trained.stats.vocab_size >= wanted:
        return []
    sentence = (
        f"tokenizer.vocab_size is {wanted:,}, and the text gives {trained.stats.vocab_size:,}; write that or auto, or "
        "add text"
    )
    figures = {"asked": float(wanted), "given": float(trained.stats.vocab_size)}
    return [Finding("tokenizer.fewer_pieces", sentence, figures=figures)]


def curated_totals(curated: Sealed[CuratedStats]) -> dict[tuple[str, str], Volume]:
    totals: dict[tuple[str, str], Volume] = {}
    for _, manifest in curated.done():
        for group in manifest.stats.groups.values():
            key = (group.domain, group.language)
            totals[key] = totals.get(key, Volume()) + Volume(group.documents, group.bytes)
    return totals
