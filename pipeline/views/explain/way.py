"""A document's way through the steps of the last run: what each stage did with it, and by which value and limit.

`run.json` says which steps there were, `manifests/counts.parquet` which stages ran in them, and the ledger which of
them changed the document or took it out. Stages that are not in the ledger kept it. `failed` of a ledger row is the bit
mask over the rows of `manifests/rules.parquet`. Nothing here reads text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import cast

from gristmill.pipeline.config.recorded import anchored
from gristmill.pipeline.engine.commit import StepFolder
from gristmill.pipeline.engine.manifest import Manifest
from gristmill.pipeline.engine.publish import check_layout
from gristmill.pipeline.steps.outputs import COUNTS, RULES
from gristmill.pipeline.steps.record import ConfigurationRecord, RunRecord, parsed
from gristmill.pipeline.views.explain.find import Place, over, rows_with_id
from gristmill.pipeline.views.published import ledger_files, step_of
from gristmill.pipeline.views.tables import LedgerRow, RuleRow, SignalsRow
from gristmill.storage.json_values import Json
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store
from gristmill.wording import plural

LEAVES = ("dropped", "quarantined", "merged")


@dataclass(frozen=True)
class RecordedStep:
    """What `run.json` says of a step."""

    name: str
    fingerprint: str | None = None
    missing: tuple[int, ...] = ()
    """Tasks that failed and were left out."""


@dataclass(frozen=True)
class Run:
    """What an output says of the run that wrote it."""

    store: Store
    record: RunRecord | None
    """`run.json`; None where it is missing."""

    @cached_property
    def configuration(self) -> ConfigurationRecord | None:
        """Its relative paths are found from the current folder."""
        recorded = self.record.get("configuration") if self.record else None
        if self.record is None or recorded is None:
            return None
        invocation = self.record.get("invocation")
        return cast("ConfigurationRecord", anchored(dict(recorded), invocation["directory"] if invocation else None))

    def settings(self, stage: str) -> Mapping[str, Json]:
        """The configured fields of a stage; empty where it has none."""
        stages = self.configuration.get("stages", []) if self.configuration else []
        return next((entry[stage] for entry in stages if stage in entry), None) or {}

    @cached_property
    def stages(self) -> dict[str, list[str]]:
        """Step → its stages in order, of the steps that move documents."""
        result: dict[str, list[str]] = {}
        if self.store.exists(COUNTS):
            table = read_table(io.BytesIO(self.store.read(COUNTS)), columns=["step", "stage"])
            for row in table.group_by(["step", "stage"], use_threads=False).aggregate([]).to_pylist():
                result.setdefault(row["step"], []).append(row["stage"])
        return result

    @cached_property
    def steps(self) -> list[RecordedStep]:
        """Steps in order; names alone where `run.json` is missing."""
        steps = self.record.get("steps", []) if self.record else []
        recorded = [RecordedStep(s["name"], s.get("fingerprint"), tuple(s.get("missing", ()))) for s in steps]
        return recorded or [RecordedStep(name) for name in self.stages]

    @cached_property
    def ledger(self) -> list[str]:
        """The ledger's files in the order of the steps."""
        return ledger_files(self.store, [step.name for step in self.steps])

    @cached_property
    def rules(self) -> list[list[RuleRow]]:
        """The rows of each configured list of rules; their order is that of the bits in `failed`."""
        lists: list[list[RuleRow]] = []
        if self.store.exists(RULES):
            for row in read_table(io.BytesIO(self.store.read(RULES))).to_pylist():
                if row["index"] == 0:
                    lists.append([])
                lists[-1].append(row)
        return lists

    @cached_property
    def documents(self) -> dict[int, Manifest]:
        """Partition → what the first pass committed, as far as `work/` still has it."""
        fingerprint = next((step.fingerprint for step in self.steps if step.name == "read"), None)
        if fingerprint is None:
            return {}
        folder = StepFolder(self.store, "read", fingerprint)
        sealed = folder.sealed()
        if sealed is None:
            return folder.committed()
        return {manifest.index: manifest for manifest in sealed if manifest is not None}


def open_run(store: Store) -> Run:
    """ValueError where the store holds no output of a run."""
    check_layout(store)
    if not store.files("signals"):
        raise ValueError(
            f"{store.shown}: holds no signals/, so there is nothing to explain; name the output of a finished "
            "`gristmill run`"
        )
    return Run(store, parsed(store.read("run.json")) if store.exists("run.json") else None)


@dataclass(frozen=True)
class Limit:
    """One rule beside what was measured of the document."""

    rule: str
    signal: str
    value: float | None
    minimum: float | None
    maximum: float | None
    domains: list[str]
    languages: list[str]
    applies: bool
    failed: bool
    source: str
    expression: str | None = None
    """Of a rule without limits: what it drops."""


@dataclass(frozen=True)
class Step:
    """What one stage of a step did with the document."""

    step: str
    stage: str
    action: str
    """kept | edited | dropped | quarantined | merged | missing | not reached | written"""
    detail: str
    fingerprint: str | None
    parts: list[str]
    """The steps below `work/` that make it up."""
    rule: str | None = None
    value: float | None = None
    limit: float | None = None
    failing: list[str] = field(default_factory=list)
    """All rules that the document fails, in configured order."""
    survivor: str | None = None
    bytes: int | None = None
    """That left with the document, or that an edit removed."""


def ledger_rows(run: Run, place: Place) -> list[LedgerRow]:
    """The document's rows in the order of the steps; of its partition's files, of all where it has none."""
    files = run.ledger
    if place.partition is not None:
        part = f"/part-{place.partition:05d}.parquet"
        # files of code are joined in the tasks of `curate`, which have partitions of their own
        files = [path for path in files if path.endswith(part) or step_of(path) == "curate"]
    found = over(run.store, files, lambda path: rows_with_id(run.store, path, [place.id]))
    rows = [row for _, hits in found for _, row in hits]
    return [row for row in rows if (row["source"], row["path"], row["record"]) == place.document[1:]]


def departure(rows: Sequence[LedgerRow]) -> LedgerRow | None:
    """The row that says where the document left; None: it was kept."""
    return next((row for row in rows if row["action"] in LEAVES), None)


def limits(
    run: Run, measured: SignalsRow, signals: Mapping[str, float | None], rows: Sequence[LedgerRow]
) -> list[Limit]:
    """Every configured rule against the document's signals; what a mask in the ledger says counts."""
    masks = {row["rule"]: int.from_bytes(row["failed"], "little") for row in rows if row["failed"]}
    result = []
    for table in run.rules:
        mask = next((masks[rule["rule"]] for rule in table if rule["rule"] in masks), None)
        for rule in table:
            value = signals.get(rule["signal"])
            applies = (not rule["domains"] or measured.get("domain") in rule["domains"]) and (
                not rule["languages"] or measured.get("language") in rule["languages"]
            )
            low, high = rule["minimum"], rule["maximum"]
            outside = value is not None and ((low is not None and value < low) or (high is not None and value > high))
            failed = applies and outside if mask is None else bool(mask >> rule["index"] & 1)
            result.append(
                Limit(
                    rule["rule"],
                    rule["signal"],
                    value,
                    low,
                    high,
                    rule["domains"],
                    rule["languages"],
                    applies,
                    failed,
                    rule["source"],
                    rule.get("expression"),
                )
            )
    return result


def way(
    run: Run,
    place: Place,
    rows: Sequence[LedgerRow],
    details: Mapping[str, tuple[str, str]],
    failing: Sequence[str],
) -> list[Step]:
    """One entry a stage, in order. `details`: stage or step → (action, what there is to say) where it was kept."""
    result: list[Step] = []
    left = False
    aligned = True  # up to here a step's tasks are the partitions of the first pass
    by_stage = {row["stage"]: row for row in rows}
    for name, parts in groups(run.steps):
        fingerprint = parts[-1].fingerprint
        stages = [stage for part in parts for stage in run.stages.get(part.name, ())] or [name]
        aligned &= name != "curate"
        lost = place.partition is not None and any(
            place.partition in part.missing
            for part in parts
            if (aligned and part.name == name) or part.name == "curate.send"
        )
        for stage in stages:
            row = by_stage.get(stage)
            made = partial(Step, name, stage, fingerprint=fingerprint, parts=[part.name for part in parts])
            if left:
                result.append(made(action="not reached", detail=""))
            elif lost and row is None:
                left = True
                text = f"the task of its partition {place.partition} failed and the run went on without it"
                result.append(made(action="missing", detail=text))
            elif row is None:
                action, text = details.get(stage, ("kept", ""))
                result.append(made(action=action, detail=text))
            else:
                left = row["action"] in LEAVES
                result.append(_ledger_step(row, failing, details, made))
    return result


def groups(steps: Sequence[RecordedStep]) -> list[tuple[str, list[RecordedStep]]]:
    """(name, steps) in order: the rounds of a stage with the stage, the parts of a blend or a tokenizer together."""
    names = {step.name for step in steps}
    result: dict[str, list[RecordedStep]] = {}
    for step in steps:
        name = step.name
        if name.startswith("blend/"):
            name = "/".join(name.split("/")[:2])
        elif name.startswith("tokenizer."):
            name = "tokenizer"
        else:
            dots = name.split(".")
            name = next(n for i in range(len(dots)) if (n := ".".join(dots[: i + 1])) in names)
        result.setdefault(name, []).append(step)
    return list(result.items())


def _ledger_step(
    row: LedgerRow, failing: Sequence[str], details: Mapping[str, tuple[str, str]], made: Callable[..., Step]
) -> Step:
    survivor = row["survivor"].hex() if row["survivor"] else None
    if row["action"] == "edited":
        change = f"{plural(abs(row['bytes']), 'byte')} {'taken out' if row['bytes'] >= 0 else 'added'}"
        known = details.get(row["stage"], ("", ""))[1]
        text = f"{change}; {known}" if known else change
    else:
        text = row["rule"]
        if row["value"] is not None and row["limit"] is not None:
            sign = "<" if row["value"] < row["limit"] else ">"
            text += f": {number(row['value'])} {sign} {number(row['limit'])}"
        elif row["value"] is not None:
            text += f": {number(row['value'])}"
        if survivor:
            text += f" of {survivor}"
    return made(
        action=row["action"],
        detail=text,
        rule=row["rule"],
        value=row["value"],
        limit=row["limit"],
        failing=list(failing) if row["failed"] else [],
        survivor=survivor,
        bytes=row["bytes"],
    )


def number(value: float | None) -> str:
    """Four significant digits, thousands apart; counts in full."""
    if value is None:
        return ""
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
