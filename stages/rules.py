"""Rules: which documents leave because a signal is out of its limits.

A rule is a row: minimum <= signal <= maximum for the domains and languages it names. Rows come from presets
(`stages.presets`), from changed limits and from the user, in this order; a document is dropped by the first row it
fails, and a bit mask tells all that it fails, row k in bit k % 8 of byte k // 8. A null signal fails nothing.

It reads signals only, so a changed limit needs no text. It measures nothing.
"""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.document import DOMAINS, VERDICT
from stages.presets import PRESETS
from stages.presets.rule import Rule
from stages.signals import SIGNALS, own_column, with_columns

DESCRIPTION = pa.schema(
    [
        pa.field("index", pa.int32(), nullable=False),  # the row's bit in `failed`
        pa.field("rule", pa.string(), nullable=False),
        pa.field("signal", pa.string(), nullable=False),
        pa.field("minimum", pa.float64()),
        pa.field("maximum", pa.float64()),
        pa.field("domains", pa.list_(pa.string()), nullable=False),  # empty: all
        pa.field("languages", pa.list_(pa.string()), nullable=False),  # empty: all
        pa.field("source", pa.string(), nullable=False),
    ]
)

_OWN_KEYS = ("rule", "signal", "min", "max", "domains", "languages", "source")


@dataclass(frozen=True)
class Rules:
    """Drops documents whose signals are out of limits; in YAML the fields are as here, tuples as lists.

    presets: names of `stages.presets.PRESETS`, in the order in which they are tried.
    set: changed limits, {'preset.signal': {min: ..., max: ...}}; a bare signal means every preset that has it. A limit
        that is not named stays, null removes it.
    add: rules of one's own, tried after the presets: {rule: mine.words, min: 20, max: ..., signal: ...,
        domains: [...], languages: [...], source: ...}. The signal is the last part of the rule's name unless it
        is given, as a name of `SIGNALS` or as the `module:function` of `Signals.add`.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "presets", tuple(_listed("rules.presets", self.presets)))
        object.__setattr__(self, "add", tuple(_listed("rules.add", self.add)))
        if any(rule.signal == "characters_per_token" for rule in self.rules()):
            warnings.warn(
                "rules: characters_per_token is not applied, since signals are measured before a tokenizer is trained",
                stacklevel=3,
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns: the scope's and every signal of a rule, once."""
        return ("domain", "language", *dict.fromkeys(rule.signal for rule in self.rules()))

    def rules(self) -> tuple[Rule, ...]:
        """The rows in the order in which they are tried; row k is bit k of `failed`."""
        rows: list[Rule] = []
        for preset in self.presets:
            rows += PRESETS[_known("rules.presets", "preset", preset, PRESETS)]
        for key, limits in self.set.items():
            rows = _with_limits(rows, str(key), limits)
        rows += [_own_rule(row) for row in self.add]
        twice = next((r.name for k, r in enumerate(rows) if r.name in {other.name for other in rows[:k]}), None)
        if twice:
            raise ValueError(f"rules: {twice} occurs twice: give one of the two another name or leave it out")
        return tuple(rows)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `dropped_by`, `value`, `limit` and `failed`; all four are null where a document stays."""
        rows = self.rules()
        failed = np.zeros((batch.num_rows, len(rows)), np.bool_)
        first = np.full(batch.num_rows, -1, np.int64)
        value, limit = np.zeros(batch.num_rows), np.zeros(batch.num_rows)
        scope = _Scope(batch)
        for k, rule in enumerate(rows):
            signal = _as_float(batch.column(rule.signal))  # null is NaN, which is neither below nor above a limit
            low = -np.inf if rule.minimum is None else rule.minimum
            high = np.inf if rule.maximum is None else rule.maximum
            below, above = signal < low, signal > high
            failed[:, k] = (below | above) & scope.holds(rule)
            decides = failed[:, k] & (first < 0)
            first[decides] = k
            value[decides] = signal[decides]
            limit[decides] = np.where(below, low, high)[decides]
        stays = first < 0
        names = pa.array([rule.name for rule in rows], pa.string())
        masks = np.packbits(failed, axis=1, bitorder="little")
        columns = {
            "dropped_by": names.take(pa.array(first, mask=stays)),
            "value": pa.array(value, mask=stays),
            "limit": pa.array(limit, mask=stays),
            "failed": _binary(masks, stays),
        }
        return with_columns(batch, columns)


def describe(rules: Rules | Iterable[Rule]) -> pa.Table:
    """The resolved rows as a table of schema `DESCRIPTION`: what the ledger stores and the report shows."""
    rows = rules.rules() if isinstance(rules, Rules) else tuple(rules)
    return pa.table(
        [
            list(range(len(rows))),
            [rule.name for rule in rows],
            [rule.signal for rule in rows],
            [rule.minimum for rule in rows],
            [rule.maximum for rule in rows],
            [list(rule.domains) for rule in rows],
            [list(rule.languages) for rule in rows],
            [rule.source for rule in rows],
        ],
        schema=DESCRIPTION,
    )


class _Scope:
    """Which rows of a batch a rule applies to; each pair of domains and languages is worked out once."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._domain, self._language = batch.column("domain"), batch.column("language")
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], np.ndarray] = {}

    def holds(self, rule: Rule) -> np.ndarray:
        key = (rule.domains, rule.languages)
        if key not in self._known:
            self._known[key] = _among(self._domain, rule.domains) & _among(self._language, rule.languages)
        return self._known[key]


def _among(column: pa.Array, names: tuple[str, ...]) -> np.ndarray:
    if not names:
        return np.ones(len(column), np.bool_)
    return pc.is_in(column, pa.array(names, column.type)).to_numpy(zero_copy_only=False)


def _as_float(column: pa.Array) -> np.ndarray:
    return pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)


def _binary(rows: np.ndarray, missing: np.ndarray) -> pa.Array:
    """(n, width) uint8 as an Arrow binary column, null where missing."""
    count, width = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    validity = np.packbits(~missing, bitorder="little")
    return pa.Array.from_buffers(
        pa.binary(), count, [pa.py_buffer(validity), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    )


def _with_limits(rows: Sequence[Rule], key: str, limits: Mapping[str, float | None]) -> list[Rule]:
    names = [rule.name for rule in rows] + [rule.signal for rule in rows]
    _known("rules.set", "rule or signal of the presets", key, names)
    where = f"rules.set.{key}"
    if not isinstance(limits, Mapping) or not limits:
        raise ValueError(f"{where}: give min, max or both, as in {{{key}: {{max: 8}}}}")
    for side in limits:
        _known(where, "limit", side, ("min", "max"))
    return [
        _checked(
            where,
            dataclasses.replace(
                rule,
                minimum=_number(where, limits["min"]) if "min" in limits else rule.minimum,
                maximum=_number(where, limits["max"]) if "max" in limits else rule.maximum,
                source=f"{rule.source}; changed by the configuration",
            ),
        )
        if key in (rule.name, rule.signal)
        else rule
        for rule in rows
    ]


def _own_rule(row: Mapping[str, Any]) -> Rule:
    if not isinstance(row, Mapping) or "rule" not in row:
        raise ValueError(f"rules.add: {row!r} has no name: write {{rule: mine.words, min: 20}}")
    name = str(row["rule"])
    where = f"rules.add.{name}"
    for key in row:
        _known(where, "key", key, _OWN_KEYS)
    if "." not in name:
        raise ValueError(f"{where}: the name needs a prefix of your own, as in mine.{name}")
    signal = str(row.get("signal", name.rpartition(".")[2]))
    column = own_column(signal) if ":" in signal else _known(where, "signal", signal, SIGNALS)
    domains = tuple(_listed(f"{where}.domains", row.get("domains", ())))
    for domain in domains:
        _known(f"{where}.domains", "domain", domain, DOMAINS)
    rule = Rule(
        name,
        column,
        _number(where, row.get("min")),
        _number(where, row.get("max")),
        domains,
        tuple(_listed(f"{where}.languages", row.get("languages", ()))),
        str(row.get("source", "the configuration")),
    )
    if rule.minimum is None and rule.maximum is None:
        raise ValueError(f"{where}: the rule limits nothing: give min, max or both")
    return _checked(where, rule)


def _checked(where: str, rule: Rule) -> Rule:
    if rule.minimum is not None and rule.maximum is not None and rule.minimum > rule.maximum:
        raise ValueError(f"{where}: min {rule.minimum:g} is above max {rule.maximum:g}, which drops every document")
    return rule


def _number(where: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError(f"{where}: {value!r} is not a number: limits are numbers or null")
    return value


def _listed(where: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{where}: {value!r} is not a list: write [{value}]")
    return value


def _known(where: str, what: str, name: Any, valid: Collection[str]) -> str:
    if name in valid:
        return name
    near = difflib.get_close_matches(str(name), list(dict.fromkeys(valid)), n=1, cutoff=0.0)
    nearest = f"the nearest is {near[0]}" if near else "there are none"
    raise ValueError(f"{where}: {name!r} is no known {what}: {nearest}")
