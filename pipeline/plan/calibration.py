"""Rates after a finished run: its shares, sizes and speeds in the place of those measured elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from gristmill.pipeline.plan.rates import Kind, Rates, Share
from gristmill.pipeline.plan.scale import scaled
from gristmill.pipeline.steps.record import RunRecord, parsed
from gristmill.storage.store import Store


def of_run(output: str, rates: Rates) -> Rates:
    """`rates` after the last run in an output. ValueError in one sentence where there is no finished run."""
    try:
        return calibrated(rates, parsed(Store(output).read("run.json")), f"the run in {output}")
    except FileNotFoundError:
        raise ValueError(f"{output}: there is no run.json; name the output of a finished run") from None
    except (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"{output}/run.json: is not that of a finished run ({error}); run it again") from error


def calibrated(rates: Rates, record: RunRecord, name: str) -> Rates:
    """`rates` with the shares, sizes and speeds that a run's record (`run.json`) shows.

    A step that the run computed as a whole gets its seconds and its written bytes scaled to what the record says;
    steps that it found done keep the speed they have. Where all sources are of one kind, the kind is the run's too.
    """
    stages = {
        entry["stage"]: (_over(entry["kept"], entry["documents_in"]), _over(entry["bytes_kept"], entry["bytes_in"]))
        for entry in record["funnel"]
    }
    known = {stage for kind in rates.kinds.values() for stage in kind.stages}
    report = record["tokenizer"].get("report")
    measured, trained = (report.get("measured"), report.get("trained")) if report else (None, None)
    domains = measured.get("domains", {}) if measured else {}
    tokens = {domain: size for domain, entry in domains.items() if (size := entry.get("bytes_per_token"))}
    sized = replace(
        rates,
        stages={**rates.stages, **{s: share for s, share in stages.items() if s not in known and "/" not in s}},
        kinds=_kinds(rates, record, stages, known),
        bytes_per_token={**rates.bytes_per_token, **tokens},
        vocabulary=trained.get("vocab_size", rates.vocabulary) if trained else rates.vocabulary,
    )
    source = f"{name} of {_date(record['started'])} on {record['host']}"
    try:
        return replace(scaled(sized, record), source=source, machine=record["host"])
    except ValueError as error:  # a stage of somebody's own that is not here
        return replace(sized, source=f"{source}; but speeds are {rates.source}, since {error}")


def _kinds(rates: Rates, record: RunRecord, stages: Mapping[str, Share], known: set[str]) -> dict[str, Kind]:
    """Kinds with the record's funnel, where its sources are all of one."""
    sources = record["configuration"]["sources"]
    names = {"machine" if source["uri"].startswith("machine:") else source["format"] for source in sources}
    kinds = dict(rates.kinds)
    name = names.pop() if len(names) == 1 else None
    if name is None or name not in kinds:
        return kinds
    kind, read = kinds[name], record["funnel"][0]
    curated = sum(group["bytes"] for group in record["groups"])
    groups = tuple((g["domain"], g["language"], _over(g["bytes"], curated)) for g in record["groups"])
    kinds[name] = replace(
        kind,
        document_bytes=_over(read["bytes_in"], read["documents_in"]),
        stages={stage: stages[stage] for stage in stages if stage in known},
        groups=groups or kind.groups,
    )
    return kinds


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
