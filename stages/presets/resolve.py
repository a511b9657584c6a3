"""From names of presets and changed limits to the rows in force, and the documents that a row is asked of.

What `stages.rules` and `stages.lines` share: both take {presets: [...], set: {preset.signal: {min: ..., max: ...}}}.
Messages are one sentence with the key and the nearest valid name.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.presets.rule import Rule


def resolved(
    stage: str,
    tables: Mapping[str, tuple[Rule, ...]],
    presets: Sequence[str],
    changed: Mapping[str, Mapping[str, float | None]],
) -> list[Rule]:
    """Rows of the presets in the order named, with the changed limits. ValueError for a name that is not there."""
    rows: list[Rule] = []
    for preset in presets:
        rows += tables[known(f"{stage}.presets", "preset", preset, tables)]
    for key, limits in changed.items():
        rows = _with_limits(stage, rows, str(key), limits)
    return rows


def distinct(stage: str, rows: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rows. ValueError where two have one name."""
    seen: set[str] = set()
    for rule in rows:
        if rule.name in seen:
            raise ValueError(f"{stage}: {rule.name} occurs twice: give one of the two another name or leave it out")
        seen.add(rule.name)
    return tuple(rows)


def _with_limits(stage: str, rows: Sequence[Rule], key: str, limits: Mapping[str, float | None]) -> list[Rule]:
    names = [rule.name for rule in rows] + [rule.signal for rule in rows]
    known(f"{stage}.set", "rule or signal of the presets", key, names)
    where = f"{stage}.set.{key}"
    if not isinstance(limits, Mapping) or not limits:
        raise ValueError(f"{where}: give min, max or both, as in {{{key}: {{max: 8}}}}")
    for side in limits:
        known(where, "limit", side, ("min", "max"))
    return [
        checked(
            where,
            dataclasses.replace(
                rule,
                minimum=number(where, limits["min"]) if "min" in limits else rule.minimum,
                maximum=number(where, limits["max"]) if "max" in limits else rule.maximum,
                source=f"{rule.source}; changed by the configuration",
            ),
        )
        if key in (rule.name, rule.signal)
        else rule
        for rule in rows
    ]


def checked(where: str, rule: Rule) -> Rule:
    if rule.minimum is not None and rule.maximum is not None and rule.minimum > rule.maximum:
        raise ValueError(f"{where}: min {rule.minimum:g} is above max {rule.maximum:g}, which drops every document")
    return rule


def number(where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError(f"{where}: {value!r} is not a number: limits are numbers or null")
    return value


def listed(where: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{where}: {value!r} is not a list: write [{value}]")
    return value


def known(where: str, what: str, name: Any, valid: Collection[str]) -> str:
    found: str = name
    if found in valid:
        return found
    near = difflib.get_close_matches(str(name), list(dict.fromkeys(valid)), n=1, cutoff=0.0)
    nearest = f"the nearest is {near[0]}" if near else "there are none"
    raise ValueError(f"{where}: {name!r} is no known {what}: {nearest}")


class Scope:
    """Which rows of a batch a rule applies to; each pair of domains and languages is worked out once."""

    def __init__(self, domain: pa.Array, language: pa.Array) -> None:
        self._domain, self._language = domain, language
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], np.ndarray] = {}

    def holds(self, rule: Rule) -> np.ndarray:
        """(rows,) bool. A null domain or language is in no list."""
        key = (rule.domains, rule.languages)
        if key not in self._known:
            self._known[key] = _among(self._domain, rule.domains) & _among(self._language, rule.languages)
        return self._known[key]


def _among(column: pa.Array, names: tuple[str, ...]) -> np.ndarray:
    if not names:
        return np.ones(len(column), np.bool_)
    inside: np.ndarray = pc.is_in(column, pa.array(names, column.type)).to_numpy(zero_copy_only=False)
    return inside
