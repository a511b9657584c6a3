"""Predicts a run: its steps in order with tasks, bytes, segments, merge rounds, seconds and memory, before it starts.

    tasks     as the engine cuts them: partitions of the inventory, buckets of `curated/`, token files, shards
    volumes   `pipeline.plan.volumes`; shuffles `pipeline.plan.exchange`; rates `pipeline.plan.rates`
    seconds   of a step: overheads + longer of (all tasks over the workers in whole waves, its longest task)

Needs the inventory's sizes only; nothing is run, nothing written. `compare` sets a plan beside what a run recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from gristmill.pipeline.plan.costs import Costs, StepPlan
from gristmill.pipeline.plan.rates import Rates, shipped
from gristmill.pipeline.plan.steps import Planning
from gristmill.pipeline.plan.volumes import Part, parts, volumes
from gristmill.pipeline.steps.record import PlanRecord, RunRecord

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config
    from gristmill.pipeline.readers.inventory import FileEntry


@dataclass(frozen=True)
class Plan:
    """Steps in order of the run. `sources` says where the rates come from, `notes` what is uncertain."""

    steps: tuple[StepPlan, ...]
    workers: int
    start_s: float
    """To start Ray; not in `seconds`."""
    publish_s: float
    published_bytes: int
    """Of `curated/`, `signals/`, `ledger/`, `tokenizer/` and `shards/`; on a local disk hard links to `work/`."""
    volumes: Mapping[str, float]
    """documents, bytes, curated_documents, curated_bytes, tokens, blend_tokens."""
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sizes: str | None = None
    """What was chosen where the configuration leaves a size to the input."""
    findings: tuple[str, ...] = ()
    """What the check of the sources found."""

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps) + self.publish_s

    @property
    def bytes_written(self) -> int:
        return sum(step.bytes_written for step in self.steps)

    @property
    def core_seconds(self) -> float:
        return sum(step.core_seconds for step in self.steps)

    @property
    def memory(self) -> int:
        """At the peak of the largest task of all."""
        return max((step.memory for step in self.steps), default=0)

    def by_stage(self) -> dict[str, float]:
        """Core-seconds by stage in order of the run."""
        result: dict[str, float] = {}
        for step in self.steps:
            result[step.stage] = result.get(step.stage, 0.0) + step.core_seconds
        return result

    def to_dict(self) -> PlanRecord:
        return {
            "steps": [step.to_dict() for step in self.steps],
            "workers": self.workers,
            "start_s": self.start_s,
            "publish_s": self.publish_s,
            "published_bytes": self.published_bytes,
            "volumes": dict(self.volumes),
            "sources": list(self.sources),
            "notes": list(self.notes),
            "sizes": self.sizes,
            "findings": list(self.findings),
            "totals": {
                "seconds": self.seconds,
                "bytes_written": self.bytes_written,
                "core_seconds": self.core_seconds,
                "memory": self.memory,
            },
            "core_seconds_by_stage": self.by_stage(),
        }

    @staticmethod
    def from_dict(value: PlanRecord) -> Plan:
        return Plan(
            tuple(StepPlan(**step) for step in value["steps"]),
            value["workers"],
            value["start_s"],
            value["publish_s"],
            value["published_bytes"],
            value["volumes"],
            tuple(value["sources"]),
            tuple(value["notes"]),
            value.get("sizes"),
            tuple(value.get("findings", ())),
        )


def predicted(
    config: Config, inventory: Sequence[FileEntry], workers: int | None = None, rates: Rates | None = None
) -> Plan:
    """The plan of a run with this configuration over these files. workers None: as configured, else all cores."""
    from gristmill.pipeline.config.keys import chosen
    from gristmill.pipeline.config.sizes import amounts

    rates, found = rates or shipped(), amounts(inventory)
    sizes = chosen(config, found)
    config = config.settled(found)
    return replace(plan_of(config, parts(config, inventory, rates), workers, rates), sizes=sizes)


def plan_of(config: Config, found: Sequence[Part], workers: int | None, rates: Rates) -> Plan:
    """As `predicted`, where what the first pass reads is known, of a configuration whose sizes are settled."""
    import os

    amounts = volumes(config, found, rates)
    costs = Costs(rates, workers or config.runtime.workers or os.cpu_count() or 1, config.plan.max_segments)
    Planning(config, amounts, costs).run()
    return Plan(
        tuple(costs.steps),
        costs.workers,
        rates.start_seconds,
        costs.published * rates.publish_seconds,
        round(costs.published_bytes),
        {
            "documents": amounts.read.documents,
            "bytes": amounts.read.bytes,
            "curated_documents": amounts.curated.documents,
            "curated_bytes": amounts.curated.bytes,
            "tokens": amounts.tokens,
            "blend_tokens": float(sum(blend.tokens for blend in amounts.blends.values())),
        },
        (f"speeds, sizes and survivors: {rates.source}",),
        amounts.notes,
    )


class ComparedStep(TypedDict):
    """A step as it was planned and as it went; None on the side that has no such step."""

    step: str
    predicted_tasks: int | None
    tasks: int | None
    predicted_seconds: float | None
    seconds: float | None
    predicted_bytes: int | None
    bytes: int | None


def compare(plan: Plan, record: RunRecord) -> list[ComparedStep]:
    """Rows of (step, predicted and actual tasks, seconds, bytes_written), in order of the run, and a row `total`.

    record: `run.json`. A side that has no such step is None; so are the seconds of a step that was found done.
    """
    planned = {step.name: step for step in plan.steps}
    actual = {step["name"]: step for step in record["steps"]}
    names = [*actual, *(name for name in planned if name not in actual)]
    rows: list[ComparedStep] = []
    for name in names:
        mine, real = planned.get(name), actual.get(name)
        computed = real is not None and not real.get("reused")
        rows.append(
            {
                "step": name,
                "predicted_tasks": mine.tasks if mine else None,
                "tasks": real["tasks"] if real else None,
                "predicted_seconds": round(mine.seconds, 3) if mine else None,
                "seconds": real["seconds"] if real and computed else None,
                "predicted_bytes": mine.bytes_written if mine else None,
                "bytes": real["bytes_written"] if real else None,
            }
        )
    rows.append(
        {
            "step": "total",
            "predicted_tasks": sum(step.tasks for step in plan.steps),
            "tasks": sum(step["tasks"] for step in record["steps"]),
            "predicted_seconds": round(plan.seconds, 3),
            "seconds": record["seconds"] if all(row["seconds"] is not None for row in rows if row["tasks"]) else None,
            "predicted_bytes": plan.bytes_written,
            "bytes": sum(step["bytes_written"] for step in record["steps"]),
        }
    )
    return rows
