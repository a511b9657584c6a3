"""What another limit would keep: the rules of a finished run over `signals/` as they were, and as they would be.

Exact at the rules step (`pipeline.views.whatif.scan`), and checked: what the rules as they were keep must be what the
run counted. Tokens are estimates, bytes over the bytes per token of the language. Later steps are not computed: what
passes may still be a duplicate. No text is read, and nothing is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.pipeline.engine.publish import check_layout
from gristmill.pipeline.steps.record import RunRecord, measured_by, parsed
from gristmill.pipeline.views.rerun import command
from gristmill.pipeline.views.whatif.expression import Change, change, parse
from gristmill.pipeline.views.whatif.scan import Example, Scan, Tally
from gristmill.stages.interface import has_rules, traits
from gristmill.stages.registry import STAGES, load
from gristmill.stages.rules import Rules
from gristmill.stages.signals import own_column
from gristmill.storage.json_values import Json
from gristmill.storage.store import Store


@dataclass(frozen=True)
class Answer:
    change: Change
    groups: Mapping[tuple[str, str], Tally]
    """By (domain, language)."""
    rates: Mapping[tuple[str, str], float]
    """Bytes per token of each group; empty without a tokenizer."""
    rates_from: str
    examples: tuple[Example, ...]
    later: tuple[str, ...]
    """Steps after the rules that may remove more."""
    missing: tuple[int, ...] = field(default=())
    """Partitions that the run left out."""
    expressions: Mapping[str, str] = field(default_factory=dict)
    """Of the rules that drop by a condition, before and after, by name."""
    command: str = ""
    """Makes it so, from the current folder; empty where nothing would change."""


def whatif(output: str, expressions: Sequence[str]) -> Answer:
    """Answers for the run in the folder or URI `output`.

    ValueError where an expression or the output is wrong, RuntimeError where `signals/` is not what the run counted.
    """
    conditions = [parse(text) for text in expressions]
    store = Store(output)
    record = _record(store)
    stages = [(name, fields) for item in record["configuration"]["stages"] for name, fields in item.items()]
    names = [name for name, _ in stages]
    ruled = [name for name in names if name in STAGES and has_rules(load(name))]
    if len(ruled) != 1:
        many = "several stages `rules`: whatif answers for one" if ruled else "no stage `rules`"
        raise ValueError(f"{store.location()}: its configuration has {many}; name the output of another run")
    rules = _rules(dict(stages)[ruled[0]])
    at = names.index(ruled[0])
    missing = _missing(record, ["read", "identity", *names[: at + 1]])
    files = _signal_files(store, missing)
    changed = change(rules, conditions, _own_signals(store, files, dict(stages)))
    scan = Scan(store, rules, changed.rules, record["configuration"]["seed"], ("identity", *names[:at]))
    for path in files:
        scan.file(path)
    _check(store, record, scan.groups, ruled[0])
    rates, source = token_rates(record)
    return Answer(
        changed,
        scan.groups,
        {group: _rate(rates, group) for group in scan.groups} if rates else {},
        source,
        scan.examples(),
        tuple(names[at + 1 :]),
        tuple(missing),
        {rule.name: rule.expression for each in (rules, changed.rules) for rule in each.rules() if rule.expression},
        command(output, record, changed.assignments) if changed.assignments else "",
    )


def token_rates(record: RunRecord) -> tuple[dict[tuple[str | None, str | None], float], str]:
    """(bytes per token, where they come from) by (domain, language), (domain, None) and (None, None).

    From the tokenizer's report; where the run was given a tokenizer, from the tokens that its blends counted over the
    bytes curated. Empty where the run has neither.
    """
    measured = measured_by(record["tokenizer"])
    counts: list[tuple[str | None, str | None, float, float]] = []
    if measured:
        counts = [(row["domain"], row["language"], row["bytes"], row["tokens"]) for row in measured["languages"]]
        source = "the tokenizer's report"
    else:
        mean: dict[tuple[str | None, str | None], float] = {
            (each["domain"], each["language"]): each["bytes"] / each["documents"] for each in record["groups"]
        }
        blend = next(iter(record["blends"].values()), None)
        # units lack held-out documents, so bytes are by the mean size of a document
        for unit in blend["units"] if blend else ():
            document = mean.get((unit["domain"], unit["language"]), 0)
            counts.append((unit["domain"], unit["language"], document * unit["documents"], unit["tokens"]))
        source = "the token counts of the blend"
    sums: dict[tuple[str | None, str | None], list[float]] = {}
    for domain, language, size, tokens in counts:
        for group in ((domain, language), (domain, None), (None, None)):
            entry = sums.setdefault(group, [0.0, 0.0])
            entry[0] += size
            entry[1] += tokens
    return {group: size / tokens for group, (size, tokens) in sums.items() if size and tokens}, source


def _rate(rates: Mapping[tuple[str | None, str | None], float], group: tuple[str, str]) -> float:
    domain, language = group
    return rates.get((domain, language)) or rates.get((domain, None)) or rates[(None, None)]


def _record(store: Store) -> RunRecord:
    if not store.exists("run.json"):
        raise ValueError(f"{store.location()}: holds no run.json; name the output of a finished run with --output")
    check_layout(store)
    return parsed(store.read("run.json"))


def _rules(fields: Mapping[str, Any]) -> Rules:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the run said so already
        return Rules(**fields)


def _missing(record: RunRecord, names: Sequence[str]) -> list[int]:
    """Partitions that failed in a step up to the rules, and so never came to them."""
    steps = [step["missing"] for step in record["steps"] if step["name"] in names]
    return sorted({index for missing in steps for index in missing})


def _signal_files(store: Store, missing: Sequence[int]) -> list[str]:
    left_out = {f"signals/part-{index:05d}.parquet" for index in missing}
    files = [name for name in store.files("signals") if name.startswith("signals/part-")]
    if not files:
        raise ValueError(f"{store.location()}: holds no signals/; name the output of a finished run with --output")
    return [name for name in files if name not in left_out]


def _own_signals(
    store: Store, files: Sequence[str], stages: Mapping[str, Mapping[str, Json]]
) -> dict[str, tuple[str, bool]]:
    measuring = [name for name in stages if name in STAGES and traits(load(name)).measures]
    added = [stages[name].get("add") for name in measuring]
    references = [str(each) for given in added if isinstance(given, list) for each in given]
    if not references or not files:
        return {}
    with store.open_input(files[0]) as handle:
        schema = pq.read_schema(handle)
    return {own_column(each): (each, pa.types.is_integer(schema.field(own_column(each)).type)) for each in references}


def _check(store: Store, record: RunRecord, groups: Mapping[tuple[str, str], Tally], stage: str) -> None:
    """What is counted here for the run's own rules is what the run counted."""
    counted = next((entry for entry in record["funnel"] if entry["stage"] == stage), None)
    if counted is None:
        return
    whole = sum(groups.values(), Tally())
    found = (whole.documents, whole.bytes, whole.kept_before, whole.bytes_before)
    told = (counted["documents_in"], counted["bytes_in"], counted["kept"], counted["bytes_kept"])
    if found != told:
        raise RuntimeError(
            f"{store.location()}: signals/ gives {found[2]:,} of {found[0]:,} documents kept by the rules, run.json "
            f"says {told[2]:,} of {told[0]:,}; run again, which publishes both anew"
        )
