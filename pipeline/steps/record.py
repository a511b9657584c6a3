"""The shape of `run.json`, the record of a run: written by `pipeline.run`, read by views, plans and calibration.

Each class is one JSON object, its keys in the order in which they are written. The tokenizer's report and the shards'
manifests have their types in `gristmill.tokenizer`, the rows of the published tables in `pipeline.views.tables`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NotRequired, TypedDict

from gristmill.pipeline.engine.accounting import CountsRecord
from gristmill.pipeline.readers.left_out import LeftOutRecord
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.storage.json_values import Json
from gristmill.tokenizer.report import Report
from gristmill.tokenizer.sample import SampleRecord
from gristmill.tokenizer.train import TrainedRecord


class SourceRecord(TypedDict):
    """`pipeline.readers.source.SourceSpec` as JSON values."""

    name: str
    uri: str
    format: str | None
    domain: str | None
    category: str | None
    priority: int
    columns: dict[str, str]
    max_bytes: int | None
    language: str | None
    metadata: dict[str, str]
    encoding: NotRequired[str | None]


class BlendSettings(TypedDict):
    """`stages.blend.Blend` as JSON values."""

    domains: dict[str, float]
    within: dict[str, dict[str, Json]]
    tokens: int | str
    max_epochs: float
    on_shortage: str


class TokenizerSettings(TypedDict):
    vocab_size: int
    path: str | None
    sample_bytes: int
    alpha: float
    shares: dict[str, float] | None


class ShardsSettings(TypedDict):
    tokens_per_shard: int
    holdout: float
    dtype: NotRequired[str]
    formats: NotRequired[list[str]]


class PlanSettings(TypedDict):
    partition_bytes: int
    max_segments: int
    max_document_bytes: int


class RuntimeSettings(TypedDict):
    memory_per_worker: int
    workers: int | None


class ConfigurationRecord(TypedDict):
    """The resolved configuration: `pipeline.config.keys.Config.to_dict`, without credentials."""

    sources: list[SourceRecord]
    output: str
    seed: int
    languages: list[str] | None
    stages: list[dict[str, dict[str, Json]]]
    """One key a stage: its name, with its fields."""
    tokenizer: TokenizerSettings
    blends: dict[str, BlendSettings]
    shards: ShardsSettings
    plan: PlanSettings
    runtime: RuntimeSettings


class SourceFiles(TypedDict):
    files: int
    bytes: int
    """As stored."""


class InputsRecord(TypedDict):
    """What was read."""

    files: int
    bytes: int
    sources: dict[str, SourceFiles]
    skipped: dict[str, int]
    """Records that hold no document, by reason."""
    left_out: NotRequired[list[LeftOutRecord]]
    """Files that lie among the inputs and are not read, by source, extension and reason; not in early records."""


class StepRecord(TypedDict):
    name: str
    fingerprint: str
    tasks: int
    reused: int
    """Tasks that were found committed."""
    computed: NotRequired[int]
    """Tasks that were run; not in the records of early versions."""
    adopted: NotRequired[int]
    """Tasks whose result was taken over from another fingerprint of the step; likewise."""
    seconds: float
    missing: list[int]
    bytes_written: int


class FunnelEntry(CountsRecord):
    stage: str


class GroupRecord(TypedDict):
    """One (domain, language) of `curated/`."""

    domain: str
    language: str
    documents: int
    bytes: int


class TokenizerReport(TypedDict):
    """`tokenizer/report.json` of a run that trained its tokenizer."""

    trained: NotRequired[TrainedRecord]
    sample: NotRequired[SampleRecord]
    measured: Report


class TokenizerRecord(TypedDict):
    sha256: str
    report: TokenizerReport | None
    """None where the tokenizer was given."""


class UnitRecord(TypedDict):
    """One (domain, category, source, language): what there is of it, and what the blend takes."""

    domain: str
    category: str | None
    source: str
    language: str | None
    tokens: int
    documents: int
    target: int
    """In tokens."""
    epochs: float
    """Target over tokens."""


class BlendRecord(TypedDict):
    tokens: int
    documents: int
    shards: int
    holdout_tokens: int
    target_tokens_by_domain: dict[str, int]
    tokens_by_domain: dict[str, int]
    units: list[UnitRecord]
    notes: list[str]
    counts: NotRequired[CountsRecord]


class PlannedStep(TypedDict):
    """`pipeline.plan.costs.StepPlan` as JSON values."""

    name: str
    tasks: int
    files: int
    bytes_read: int
    bytes_written: int
    core_seconds: float
    longest_s: float
    seconds: float
    memory: int
    gets: int
    puts: int
    sent: int
    segments: int
    rows: int


class PlanTotals(TypedDict):
    seconds: float
    bytes_written: int
    core_seconds: float
    memory: int


class PlanRecord(TypedDict):
    """`pipeline.plan.prediction.Plan` as JSON values: what was predicted before the run."""

    steps: list[PlannedStep]
    workers: int
    start_s: float
    publish_s: float
    published_bytes: int
    volumes: dict[str, float]
    sources: list[str]
    notes: list[str]
    sizes: NotRequired[str | None]
    """What was chosen where the configuration leaves a size to the input."""
    findings: NotRequired[list[str]]
    """What the check of the sources found, where a plan was asked for."""
    totals: PlanTotals
    core_seconds_by_stage: dict[str, float]


class FindingRecord(TypedDict):
    """What the run noticed of its sources: `pipeline.steps.findings`."""

    kind: str
    source: str | None
    """None: of all of them."""
    sentence: str
    figures: dict[str, float]
    """What was counted."""


class InvocationRecord(TypedDict):
    """How a run was started from a command line, without credentials."""

    config: str
    """Absolute path, or URI."""
    directory: str
    """The folder that relative paths of the configuration start from."""
    set: list[str]
    output: str | None
    """As `--output` said."""


class RunRecord(TypedDict):
    started: float
    """Seconds since 1970."""
    seconds: float
    host: str
    workers: int | None
    python: str
    libraries: dict[str, str]
    configuration: ConfigurationRecord
    automatic: NotRequired[list[str]]
    """Dotted keys of the configuration that were `auto`: it has what they became. Not in early records."""
    invocation: NotRequired[InvocationRecord]
    """Not in the records of early versions, or of runs that Python code started."""
    inputs: InputsRecord
    steps: list[StepRecord]
    funnel: list[FunnelEntry]
    """The stages in the order of the run."""
    groups: list[GroupRecord]
    clusters: dict[str, dict[str, int]]
    """Step -> documents in a cluster, in decimal -> clusters of so many."""
    tokenizer: TokenizerRecord
    blends: dict[str, BlendRecord]
    plan: PlanRecord | None
    repaired: list[str]
    """Committed files that were damaged or missing and have been computed again."""
    notes: list[str]
    findings: NotRequired[list[FindingRecord]]
    """Not in the records of early versions."""
    summary: list[str]


def parsed(content: bytes) -> RunRecord:
    """What `run.json` holds. ValueError where it is not JSON."""
    found = json.loads(content)
    if isinstance(found, dict) and (tokenizer := found.get("tokenizer")):
        report = tokenizer.get("report")
        if report and "measured" not in report:  # early versions recorded the figures alone
            tokenizer["report"] = {"measured": report}
    record: RunRecord = found
    return record


def as_written(configuration: Mapping[str, Json]) -> ConfigurationRecord:
    """The configuration as the record has it, when it is read again."""
    record: ConfigurationRecord = json.loads(json.dumps(configuration))
    return record


def measured_by(tokenizer: TokenizerRecord) -> Report | None:
    """What the run measured of its tokenizer; None where the tokenizer was given."""
    report = tokenizer.get("report") if tokenizer else None
    return report["measured"] if report else None


def source_of(record: SourceRecord) -> SourceSpec:
    """The source that was configured."""
    return SourceSpec(
        record["name"],
        record["uri"],
        record.get("format"),
        record.get("domain"),
        record.get("category"),
        record.get("priority", 0),
        record.get("columns", {}),
        record.get("max_bytes"),
        record.get("language"),
        record.get("metadata", {}),
        record.get("encoding"),
    )
