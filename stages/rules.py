"""Rules: which documents leave because a signal is out of its limits.

A rule is a row: minimum <= signal <= maximum for the domains and languages it names, or a condition over several
signals (`stages.expression`) that drops. Rows come from presets (`stages.presets`), from changed limits and from the
user, in this order; a document is dropped by the first row it fails, and a bit mask tells all that it fails, row k in
bit k % 8 of byte k // 8. A null signal fails nothing.

It reads signals only, so a changed limit needs no text. It measures nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.document import DOMAINS, VERDICT
from gristmill.stages.expression import parse
from gristmill.stages.measured import MEASURED
from gristmill.stages.presets.resolve import Scope, checked, distinct, known, listed, number, resolved
from gristmill.stages.presets.rule import DESCRIPTION, Rule, describe
from gristmill.stages.presets.table import PRESETS
from gristmill.stages.signals import own_column, with_columns

__all__ = ["DESCRIPTION", "Rules", "describe"]

UNMEASURED = "characters_per_token"
"""A signal that is null in every run, as there is no tokenizer yet; the preset `code` has a limit on it."""

_OWN_KEYS = ("rule", "signal", "min", "max", "drop_when", "signals", "domains", "languages", "source")


@dataclass(frozen=True)
class Rules:
    """Drops documents whose signals are out of limits; in YAML the fields are as here, tuples as lists.

    presets: names of `stages.presets.PRESETS`, in the order in which they are tried.
    set: changed limits, {'preset.signal': {min: ..., max: ...}}; a bare signal means every preset that has it. A limit
        that is not named stays, null removes it.
    add: rules of one's own, tried after the presets: {rule: mine.words, min: 20, max: ..., signal: ...,
        domains: [...], languages: [...], source: ...}. The signal is the last part of the rule's name unless it
        is given, as a name of `stages.measured.MEASURED` or as the `module:function` of `Signals.add`. Or
        {rule: mine.thin, drop_when: "lines_without_end_mark > 0.5 and words < 200"}; what it names of one's own
        signals stands in `signals: [module:function, ...]`.

    In the ledger the value of a rule with `drop_when` is that of the first signal that it names, the limit the number
    which that signal is compared with; null where there is none.

    Raises ValueError, with the nearest valid name, for an unknown preset, signal, domain or key.
    """

    presets: tuple[str, ...] = ("gopher_quality", "gopher_repetition", "nemotron", "code")
    set: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict, hash=False)
    add: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)

    name: ClassVar[str] = "rules"
    version: ClassVar[int] = 1
    adds: ClassVar[tuple[str, ...]] = tuple(VERDICT.names[:4])
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    decides: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "presets", tuple(listed("rules.presets", self.presets)))
        object.__setattr__(self, "add", tuple(listed("rules.add", self.add)))
        rules, own = self.rules(), {row["rule"] for row in self.add}
        limited = any(
            name.rpartition(".")[2] == UNMEASURED and any(limit is not None for limit in limits.values())
            for name, limits in self.set.items()
        )
        asked = [rule.name for rule in rules if UNMEASURED in rule.signals and (limited or rule.name in own)]
        if asked:
            warnings.warn(
                f"rules: {asked[0]} is not applied, since signals are measured before a tokenizer is trained",
                stacklevel=3,
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns: the scope's and every signal of a rule, once."""
        return ("domain", "language", *dict.fromkeys(name for rule in self.rules() for name in rule.signals))

    def rules(self) -> tuple[Rule, ...]:
        """The rows in the order in which they are tried; row k is bit k of `failed`."""
        rows = resolved("rules", PRESETS, self.presets, self.set)
        return distinct("rules", rows + [_own_rule(row) for row in self.add])

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `dropped_by`, `value`, `limit` and `failed`; all four are null where a document stays."""
        rows = self.rules()
        failed = np.zeros((batch.num_rows, len(rows)), np.bool_)
        first = np.full(batch.num_rows, -1, np.int64)
        value, limit = np.full(batch.num_rows, np.nan), np.full(batch.num_rows, np.nan)
        scope = Scope(batch.column("domain"), batch.column("language"))
        for k, rule in enumerate(rows):
            signal = _as_float(batch.column(rule.signal))  # null is NaN, which is neither below nor above a limit
            if rule.expression:
                condition = parse(rule.expression)
                fails = condition.holds({name: _as_float(batch.column(name)) for name in condition.signals})
                beyond = np.full(batch.num_rows, np.nan if condition.limit is None else condition.limit)
            else:
                low = -np.inf if rule.minimum is None else rule.minimum
                high = np.inf if rule.maximum is None else rule.maximum
                below, above = signal < low, signal > high
                fails, beyond = below | above, np.where(below, low, high)
            failed[:, k] = fails & scope.holds(rule)
            decides = failed[:, k] & (first < 0)
            first[decides] = k
            value[decides] = signal[decides]
            limit[decides] = beyond[decides]
        stays = first < 0
        names = pa.array([rule.name for rule in rows], pa.string())
        masks = np.packbits(failed, axis=1, bitorder="little")
        columns = {
            "dropped_by": names.take(pa.array(first, mask=stays)),
            "value": pa.array(value, mask=np.isnan(value)),
            "limit": pa.array(limit, mask=np.isnan(limit)),
            "failed": _binary(masks, stays),
        }
        return with_columns(batch, columns)


def _as_float(column: pa.Array) -> np.ndarray:
    values: np.ndarray = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    return values


def _binary(rows: np.ndarray, missing: np.ndarray) -> pa.Array:
    """(n, width) uint8 as an Arrow binary column, null where missing."""
    count, width = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    validity = np.packbits(~missing, bitorder="little")
    return pa.Array.from_buffers(
        pa.binary(), count, [pa.py_buffer(validity), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    )


def _own_rule(row: Mapping[str, Any]) -> Rule:
    if not isinstance(row, Mapping) or "rule" not in row:
        raise ValueError(f"rules.add: {row!r} has no name: write {{rule: mine.words, min: 20}}")
    name = str(row["rule"])
    where = f"rules.add.{name}"
    for key in row:
        known(where, "key", key, _OWN_KEYS)
    if "." not in name:
        raise ValueError(f"{where}: the name needs a prefix of your own, as in mine.{name}")
    domains = tuple(listed(f"{where}.domains", row.get("domains", ())))
    for domain in domains:
        known(f"{where}.domains", "domain", domain, DOMAINS)
    scope = (domains, tuple(listed(f"{where}.languages", row.get("languages", ()))))
    if "drop_when" in row:
        text, signal = _condition(where, row)
        return Rule(name, signal, None, None, *scope, str(row.get("source", f"the configuration: {text}")), text)
    signal = str(row.get("signal", name.rpartition(".")[2]))
    if "signals" in row:
        raise ValueError(f"{where}: signals goes with drop_when: name the one signal of a limit as signal")
    column = own_column(signal) if ":" in signal else known(where, "signal", signal, MEASURED)
    source = str(row.get("source", "the configuration"))
    rule = Rule(name, column, number(where, row.get("min")), number(where, row.get("max")), *scope, source)
    if rule.minimum is None and rule.maximum is None:
        raise ValueError(f"{where}: the rule limits nothing: give min, max, both or drop_when")
    return checked(where, rule)


def _condition(where: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """(the condition with single spaces, its first signal) of `drop_when`."""
    for key in ("signal", "min", "max"):
        if key in row:
            raise ValueError(f"{where}: drop_when says it all: take {key} out or make it a rule of its own")
    own = [own_column(str(reference)) for reference in listed(f"{where}.signals", row.get("signals", ()))]
    text = " ".join(str(row["drop_when"]).split())
    try:
        condition = parse(text)
    except ValueError as error:
        raise ValueError(f"{where}.drop_when: {error}") from None
    for name in condition.signals:
        known(f"{where}.drop_when", "signal", name, (*MEASURED, *own))
    return text, condition.signals[0]
