"""Rates after a finished run: each step's seconds and bytes scaled by what the run took over what it would have.

The run is planned again from its own record (`run.json`), with the volumes that it had; the quotient of actual and
planned, step by step, corrects the rates. So overheads that a single run cannot tell apart keep their measured shares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from gristmill.pipeline.plan.rates import Rates, StepRate, canonical
from gristmill.pipeline.steps.record import RunRecord, source_of

if TYPE_CHECKING:
    from gristmill.pipeline.config.keys import Config
    from gristmill.pipeline.plan.volumes import Part

Built = TypeVar("Built")

LEAST_S = 0.5
"""A step shorter than this tells nothing of its speed."""


def scaled(rates: Rates, record: RunRecord) -> Rates:
    """`rates` with the speeds and sizes of the record's steps; those that it found done stay as they are."""
    from gristmill.pipeline.plan.prediction import compare, plan_of

    config = config_of(record)
    workers = record.get("workers") or config.runtime.workers or os.cpu_count()
    plan = plan_of(config, [part_of(record, rates)], workers, rates)
    steps = dict(rates.steps)
    kinds = dict(rates.kinds)
    sums: dict[str, list[float]] = {}
    for row in compare(plan, record)[:-1]:
        if row["seconds"] is None or not row["predicted_seconds"]:
            continue
        entry = sums.setdefault(canonical(row["step"]), [0.0, 0.0, 0.0, 0.0])
        figures = (row["seconds"], row["predicted_seconds"], row["bytes"], row["predicted_bytes"])
        for i, figure in enumerate(figures):
            entry[i] += figure or 0
    for name, (seconds, foreseen, size, planned) in sums.items():
        speed = seconds / foreseen if foreseen and max(seconds, foreseen) > LEAST_S else 1.0
        volume = size / planned if planned and size else 1.0
        if name in steps:
            steps[name] = faster(steps[name], speed, volume)
        if name == "read":
            kind = part_of(record, rates).kind
            held = rates.kind(kind)
            kinds[kind] = replace(
                held, seconds=held.seconds * speed, documents=held.documents * volume, signals=held.signals * volume
            )
    return replace(rates, steps=steps, kinds=kinds)


def faster(rate: StepRate, speed: float, volume: float) -> StepRate:
    """The rate with its times and its bytes multiplied."""
    times = {name: getattr(rate, name) * speed for name in ("seconds", "task_seconds", "first_seconds")}
    sizes = {name: getattr(rate, name) * volume for name in ("written", "task_written", "sent", "segment_bytes")}
    return replace(rate, **times, **sizes)


def part_of(record: RunRecord, rates: Rates) -> Part:
    """What the run read, as one source; of the kind of its first source."""
    from gristmill.pipeline.plan.volumes import Part

    read, source = record["funnel"][0], record["configuration"]["sources"][0]
    partitions = next(step["tasks"] for step in record["steps"] if step["name"] == "read")
    kind = "machine" if source["uri"].startswith("machine:") else source["format"] or "jsonl"
    curated = sum(group["bytes"] for group in record["groups"]) or 1
    return Part(
        source["name"],
        kind,
        partitions,
        record["inputs"]["files"],
        record["inputs"]["bytes"],
        read["bytes_in"],
        read["bytes_in"] / partitions,
        read["documents_in"],
        None,
        source["category"] or "misc",
        any(step["name"] == "identity" for step in record["steps"]),
        tuple((group["domain"], group["language"], group["bytes"] / curated) for group in record["groups"]),
    )


def config_of(record: RunRecord) -> Config:
    """The record's configuration, without asking whether its files are still there."""
    import warnings

    from gristmill.pipeline.config.keys import Config, PlanConfig, RuntimeConfig, ShardsConfig, TokenizerConfig
    from gristmill.stages.blend import Blend
    from gristmill.stages.registry import load

    given = record["configuration"]

    def build(cls: Callable[..., Built], values: Mapping[str, Any]) -> Built:
        known = signature(cls).parameters
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known})

    with warnings.catch_warnings():  # they were said when the run was configured
        warnings.simplefilter("ignore")
        stages = [build(load(name), values) for entry in given["stages"] for name, values in entry.items()]
    return Config(
        sources=tuple(source_of(source) for source in given["sources"]),
        output=given["output"],
        seed=given["seed"],
        stages=tuple(stages),
        tokenizer=build(TokenizerConfig, given["tokenizer"]),
        blends={name: build(Blend, blend) for name, blend in given["blends"].items()},
        shards=build(ShardsConfig, given["shards"]),
        plan=build(PlanConfig, given["plan"]),
        runtime=build(RuntimeConfig, given["runtime"]),
    )
