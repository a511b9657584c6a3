"""What a described corpus takes on a described cluster (`pipeline.plan.described`), step by step.

    computing   core-seconds over the cores in use, or its longest task
    network     bytes read and written over the bandwidth of the nodes that have a task
    requests    GETs and PUTs, each worker waiting for one at a time
    driver      tasks, each committed by the driver, some at a time

The longest of the four is the step's estimate and its *bound*; steps follow one another, so their sum is the run's.
Overlap within a step is taken as complete, failures and stragglers as none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from gristmill.pipeline.config.sizes import AUTO, BYTES_PER_TOKEN, PAGE_FORMATS, PAGE_TEXT, Amounts
from gristmill.pipeline.engine.engine import COMMITTERS
from gristmill.pipeline.plan.described import Described
from gristmill.pipeline.plan.prediction import Plan, plan_of
from gristmill.pipeline.plan.rates import Rates
from gristmill.pipeline.plan.volumes import Part
from gristmill.pipeline.steps.record import PlanRecord
from gristmill.storage.json_values import Json
from gristmill.wording import plural

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config

TASK_MEMORY = 0.7
"""Of a node's memory: Ray keeps 30 % for its object store by default, tasks share the rest."""

COMMIT_REQUESTS = 2
"""Of the driver for a task: whether the manifest is there, and writing it (`gristmill.storage.store.Store.create`)."""

EDGE_BYTES = 16
"""Two handles: near_dedup.components holds them all in one task."""

SMALL_SEGMENT, MANY_SEGMENTS = 64_000, 100_000_000
"""Bytes below which, and number above which, segments are warned of: a request each, and as many bytes of framing."""

SCALE = {
    "plan.partition_bytes": 256_000_000,
    "shards.tokens_per_shard": 100_000_000,
    "tokenizer.sample_bytes": 500_000_000,
}
"""What a described corpus is planned with where the configuration has less, as one for a sample has, and no --set
says so. What `auto` is for a large corpus."""


@dataclass(frozen=True)
class StepTime:
    name: str
    computing_s: float
    network_s: float
    requests_s: float
    driver_s: float

    @property
    def seconds(self) -> float:
        return max(self.bounds.values())

    @property
    def bounds(self) -> dict[str, float]:
        return {
            "computing": self.computing_s,
            "network": self.network_s,
            "requests": self.requests_s,
            "driver": self.driver_s,
        }

    @property
    def bound(self) -> str:
        return max(self.bounds, key=lambda name: self.bounds[name])


class EstimateRecord(TypedDict):
    """An `Estimate` as JSON values."""

    described: dict[str, Json]
    seconds: float
    seconds_by_bound: dict[str, float]
    core_hours_by_stage: dict[str, float]
    workers_per_node: int
    bytes_per_token: float
    near_duplicate_edges: int
    work_bytes: int
    output_bytes: int
    gets: int
    puts: int
    warnings: list[str]
    times: list[dict[str, Json]]
    plan: PlanRecord


@dataclass(frozen=True)
class Estimate:
    described: Described
    plan: Plan
    """Its `seconds` are those of computing alone."""
    workers_per_node: int
    bytes_per_token: float
    edges: int
    times: tuple[StepTime, ...]
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return sum(time.seconds for time in self.times)

    def seconds_by_bound(self) -> dict[str, float]:
        """Sums over the steps: what each bound alone would take."""
        names = ("computing", "network", "requests", "driver")
        return {name: sum(time.bounds[name] for time in self.times) for name in names}

    def to_dict(self) -> EstimateRecord:
        steps = [{**asdict(time), "seconds": time.seconds, "bound": time.bound} for time in self.times]
        return {
            "described": asdict(self.described),
            "seconds": self.seconds,
            "seconds_by_bound": self.seconds_by_bound(),
            "core_hours_by_stage": {stage: each / 3600 for stage, each in self.plan.by_stage().items()},
            "workers_per_node": self.workers_per_node,
            "bytes_per_token": self.bytes_per_token,
            "near_duplicate_edges": self.edges,
            "work_bytes": self.plan.bytes_written,
            "output_bytes": self.plan.published_bytes,
            "gets": sum(step.gets for step in self.plan.steps),
            "puts": sum(step.puts for step in self.plan.steps),
            "warnings": list(self.warnings),
            "times": steps,
            "plan": self.plan.to_dict(),
        }


def estimate(described: Described, config: Config, rates: Rates, assigned: Sequence[str] = ()) -> Estimate:
    """`assigned`: the keys that --set gave, which stand however small they are. ValueError as `plan_of`."""
    from gristmill.pipeline.config.keys import chosen

    config, sized = scaled_up(config, assigned)
    found = amounts(described, rates)
    sizes = chosen(config, found)
    config = config.settled(found)
    per_token, token_note = bytes_per_token(described, config, rates)
    part, size_note = corpus(described, config, rates, per_token)
    workers = max(1, min(described.cores, int(TASK_MEMORY * described.memory / config.runtime.memory_per_worker)))
    plan = plan_of(config, [part], workers * described.nodes, rates)
    mix = "domains are mixed as the first blend has them, languages within as measured"
    repeats = "survivors and near-duplicates are those of what was measured; --measured OUT has those of a sample"
    plan = replace(
        plan, sources=(*plan.sources, *token_note, *size_note, mix), notes=(*sized, repeats, *plan.notes), sizes=sizes
    )
    commit = rates.commit_seconds + COMMIT_REQUESTS * described.request_s / COMMITTERS
    times = []
    for step in plan.steps:
        nodes = min(described.nodes, step.tasks)
        busy = min(workers * described.nodes, step.tasks)
        times.append(
            StepTime(
                step.name,
                max(step.core_seconds / (workers * described.nodes), step.longest_s),
                (step.bytes_read + step.bytes_written) / (nodes * described.network),
                (step.gets + step.puts) * described.request_s / busy,
                rates.step_seconds + step.tasks * commit,
            )
        )
    edges = near_duplicate_edges(plan)
    warnings = list(warned(described, plan, workers, edges, config))
    return Estimate(described, plan, workers, per_token, edges, tuple(times), tuple(warnings))


def scaled_up(config: Config, assigned: Sequence[str]) -> tuple[Config, list[str]]:
    """The configuration with partitions, shards and sample of a size for a corpus, and what was changed."""
    notes = []
    for key, least in SCALE.items():
        section, name = key.split(".")
        part = getattr(config, section)
        if (
            (value := getattr(part, name)) != AUTO
            and value < least
            and not any(key.startswith(given) for given in assigned)
        ):
            notes.append(f"{key} is taken as {least:_}, not {value:_}, which is for a sample; --set keeps it")
            config = replace(config, **{section: replace(part, **{name: least})})
    return config, notes


def amounts(described: Described, rates: Rates) -> Amounts:
    """What the sizes that are `auto` follow from; a token is taken as four bytes."""
    if described.tokens is not None:
        size = round(described.tokens * (described.bytes_per_token or BYTES_PER_TOKEN))
        return Amounts(size, size)
    read = (described.size or 0) * rates.kind(described.kind).expansion.get(described.compression or "", 1.0)
    return Amounts(round(read), round(read * (PAGE_TEXT if described.kind in PAGE_FORMATS else 1)))


def domains(config: Config) -> Mapping[str, float]:
    """Shares of the first blend's domains."""
    given: Mapping[str, float] = next(
        (blend.domains for blend in config.blends.values() if blend.domains), {"english": 1.0}
    )
    whole = sum(given.values()) or 1.0
    return {domain: share / whole for domain, share in given.items()}


def bytes_per_token(described: Described, config: Config, rates: Rates) -> tuple[float, list[str]]:
    """Of the whole corpus, by the domains' shares of bytes; and where it comes from."""
    if described.bytes_per_token:
        return described.bytes_per_token, []
    vocabulary = None if config.tokenizer.path else config.sizes.vocab_size
    known = {domain: rates.token_bytes(domain, vocabulary) for domain in domains(config)}
    value = 1 / sum(share / known[domain] for domain, share in domains(config).items())
    each = ", ".join(f"{domain} {size:.2f}" for domain, size in known.items())
    pieces = f"measured with {rates.vocabulary:,} pieces; with more, tokens are longer and fewer"
    return value, [f"{value:.2f} bytes a token ({each}), {pieces}"]


def corpus(described: Described, config: Config, rates: Rates, per_token: float) -> tuple[Part, list[str]]:
    """The one source that stands for the corpus, in full partitions."""
    kind = rates.kind(described.kind)
    if described.tokens is not None:
        size, stored = described.tokens * per_token, described.tokens * per_token / kind.expansion.get("gz", 4.0)
        notes = ["tokens are those of the text that is read; it is taken as stored in gz"]
    elif described.compression is None:
        size, stored = float(described.size or 0), float(described.size or 0) / kind.expansion.get("gz", 4.0)
        notes = ["the text is taken as stored in gz"]
    else:
        stored = float(described.size or 0)
        expansion = kind.expansion.get(described.compression, 1.0)
        size, notes = stored * expansion, []
        if described.compression:
            notes = [f"{expansion:.1f} bytes as read per stored byte of {described.form}, measured"]
    document = described.document_bytes or kind.document_bytes
    if not described.document_bytes:
        notes.append(f"{document / 1000:.1f} kB a document, as measured over {described.kind}")
    count = max(1, round(size / config.sizes.partition_bytes))
    measured = rates.kind("machine").groups
    groups = []
    for domain, share in domains(config).items():
        inside = [(language, each) for name, language, each in measured if name == domain] or [("unknown", 1.0)]
        whole = sum(each for _, each in inside)
        groups += [(domain, language, share * each / whole) for language, each in inside]
    largest, documents = size / count, size / document
    part = Part("corpus", described.kind, count, count, round(stored), size, largest, documents, groups=tuple(groups))
    return part, notes


def near_duplicate_edges(plan: Plan) -> int:
    """Edges that near_dedup.components holds; 0 without such a step."""
    return next((step.rows for step in plan.steps if step.name == "near_dedup.edges"), 0)


def warned(described: Described, plan: Plan, workers: int, edges: int, config: Config) -> list[str]:
    """Sentences on what does not fit, is refused, or would be slow."""
    found = []
    if described.nodes > 1 and described.storage == "local":
        found.append("a local output on several nodes must be a folder that all of them share; else s3, gs or hdfs")
    for step in plan.steps:
        if step.memory > described.memory and step.tasks == 1:
            why = f" ({edges:,} edges of {EDGE_BYTES} bytes and their union-find)" if "components" in step.name else ""
            found.append(
                f"{step.name} is a single task of {step.memory / 1e9:,.0f} GB{why}: it does not fit a node of "
                f"{described.memory / 1e9:,.0f} GB"
            )
        elif step.tasks > 1 and step.memory * min(workers, step.tasks) > described.memory:
            fit = max(1, int(described.memory // step.memory))
            found.append(
                f"{step.name}: {plural(workers, 'task')} of {step.memory / 1e9:,.1f} GB do not fit a node of "
                f"{described.memory / 1e9:,.0f} GB; {fit} do: --set runtime.memory_per_worker={round(step.memory):_}"
            )
    small = [step for step in plan.steps if ".merge" not in step.name and 0 < step.sent < SMALL_SEGMENT * step.segments]
    small = [step for step in small if step.segments > MANY_SEGMENTS]
    if small:
        worst = max(small, key=lambda step: step.segments)
        found.append(
            f"the exchanges of {plural(len(small), 'step')} are in very small segments, {worst.name} in "
            f"{worst.segments:,} of {worst.sent / worst.segments:,.0f} bytes: fewer and larger partitions "
            f"move less, as with --set plan.partition_bytes={4 * config.sizes.partition_bytes:_}"
        )
    if workers < described.cores:
        found.append(
            f"only {workers} of {described.cores} cores a node are used, since each task reserves "
            f"{config.runtime.memory_per_worker / 1e9:.1f} GB: lower runtime.memory_per_worker"
        )
    return found
