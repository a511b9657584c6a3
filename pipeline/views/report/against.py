"""What changed since another run: two `run.json`s side by side, in counts, rules, shares and configuration.

A row is shown where the two differ; what both have alike is left out. The other run may be of any version whose record
can be read: what it does not record counts as absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from gristmill.pipeline.steps.record import RunRecord, parsed
from gristmill.storage.json_values import Json
from gristmill.storage.store import Store
from gristmill.storage.uris import redacted_values

OUTSIDE = ("output", "runtime")
"""Keys of the configuration that shape nothing in the corpus."""


class Change(TypedDict):
    """A figure then and now; None where a run does not have it."""

    name: str
    before: float | None
    now: float | None


class Setting(TypedDict):
    """A key of the configuration, or a library, with its values as text."""

    name: str
    before: str | None
    now: str | None


class Comparison(TypedDict):
    """What `gristmill report --against OTHER --json` prints. Counts are documents unless the key says otherwise."""

    other: str
    totals: list[Change]
    sources: list[Change]
    """Bytes of input, as stored, by source."""
    stages: list[Change]
    """Share of the documents that a stage took in which it dropped, merged or quarantined."""
    rules: list[Change]
    """Share of a stage's documents that left by a rule; the name is `stage: rule`."""
    languages: list[Change]
    """Share of the curated bytes, by `domain/language`."""
    blends: list[Change]
    """Share of a blend's tokens, by `blend: domain`."""
    settings: list[Setting]
    libraries: list[Setting]


@dataclass(frozen=True)
class Shares:
    stages: dict[str, float]
    rules: dict[str, float]
    languages: dict[str, float]
    blends: dict[str, float]


def compare(record: RunRecord, store: Store) -> Comparison:
    """Against the run in `store`. ValueError in one sentence where there is none."""
    if not store.exists("run.json"):
        raise ValueError(f"{store.path('run.json')}: missing; give --against the output of a finished run")
    try:
        other = parsed(store.read("run.json"))
        mine, theirs = shares(record), shares(other)
        return {
            "other": store.shown,
            "totals": changes(totals(other), totals(record)),
            "sources": changes(sources(other), sources(record)),
            "stages": changes(theirs.stages, mine.stages),
            "rules": changes(theirs.rules, mine.rules),
            "languages": changes(theirs.languages, mine.languages),
            "blends": changes(theirs.blends, mine.blends),
            "settings": settings(configured(other), configured(record)),
            "libraries": settings(other["libraries"], record["libraries"]),
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{store.path('run.json')}: not the record of a run ({error}); run it again") from error


def totals(record: RunRecord) -> dict[str, float]:
    first = record["funnel"][0]
    found: dict[str, float] = {
        "input files": record["inputs"]["files"],
        "input bytes": record["inputs"]["bytes"],
        "documents read": first["documents_in"],
        "documents curated": sum(group["documents"] for group in record["groups"]),
        "curated bytes": sum(group["bytes"] for group in record["groups"]),
        "languages": len({(group["domain"] == "code", group["language"]) for group in record["groups"]}),
    }
    for name, blend in record["blends"].items():
        found[f"tokens of {name}"] = blend["tokens"]
    return found


def sources(record: RunRecord) -> dict[str, float]:
    return {name: entry["bytes"] for name, entry in record["inputs"]["sources"].items()}


def shares(record: RunRecord) -> Shares:
    stages: dict[str, float] = {}
    rules: dict[str, float] = {}
    for entry in record["funnel"]:
        taken = max(1, entry["documents_in"])
        stages[entry["stage"]] = (entry["dropped"] + entry["merged"] + entry["quarantined"]) / taken
        for rule, (documents, _) in entry["rules"].items():
            rules[f"{entry['stage']}: {rule}"] = documents / taken
    size = max(1, sum(group["bytes"] for group in record["groups"]))
    languages = {f"{group['domain']}/{group['language']}": group["bytes"] / size for group in record["groups"]}
    blends = {
        f"{name}: {domain}": tokens / max(1, blend["tokens"])
        for name, blend in record["blends"].items()
        for domain, tokens in blend["tokens_by_domain"].items()
    }
    return Shares(stages, rules, languages, blends)


def configured(record: RunRecord) -> dict[str, Json]:
    """The configuration by dotted keys, without credentials; a source or a stage stands under its name."""
    found: dict[str, Json] = {}
    configuration: dict[str, Json] = json.loads(json.dumps(redacted_values(record["configuration"])))
    for key, value in configuration.items():
        if key not in OUTSIDE:
            _flatten(key, value, found)
    return found


def _flatten(key: str, value: Json, found: dict[str, Json]) -> None:
    if isinstance(value, dict) and value:
        for name, below in value.items():
            _flatten(f"{key}.{name}", below, found)
        return
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        for number, entry in enumerate(value):
            assert isinstance(entry, dict)
            named = entry.get("name")
            if isinstance(named, str):
                inside = {at: below for at, below in entry.items() if at != "name"}
                _flatten(f"{key}.{named}", inside, found)
            else:  # a stage: its name is its one key
                _flatten(key if len(entry) == 1 else f"{key}.{number}", entry, found)
        return
    if value != {}:
        found[key] = value


def changes(before: Mapping[str, float], now: Mapping[str, float]) -> list[Change]:
    """Those that differ, the largest difference first."""
    names = dict.fromkeys([*now, *before])
    found: list[Change] = [
        {"name": name, "before": before.get(name), "now": now.get(name)}
        for name in names
        if before.get(name) != now.get(name)
    ]
    return sorted(found, key=lambda change: -abs((change["now"] or 0.0) - (change["before"] or 0.0)))


def settings(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[Setting]:
    """Those that differ, in the order in which the run has them."""
    return [
        {"name": name, "before": _text(before, name), "now": _text(now, name)}
        for name in dict.fromkeys([*now, *before])
        if _text(before, name) != _text(now, name)
    ]


def _text(values: Mapping[str, Json], name: str) -> str | None:
    return str(values[name]) if name in values else None


def sections(comparison: Comparison) -> Sequence[tuple[str, list[Change]]]:
    """Title and rows of the tables that hold shares."""
    return (
        ("What each stage took away", comparison["stages"]),
        ("What each rule took away", comparison["rules"]),
        ("Languages, by bytes", comparison["languages"]),
        ("Blends, by tokens", comparison["blends"]),
    )
