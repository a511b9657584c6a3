"""How each signal is distributed, by domain and language, with what the rules' limits cut off.

Two passes over `signals/`, batch by batch. The first looks at SAMPLE_ROWS rows at most, from files and places that do
not depend on order, and chooses an axis for each signal: linear, or logarithmic where values span decades. The second
counts every document into at most MAX_BINS fixed bins, the outer ones taking what lies beyond; what is below and above
each limit; and how many of a bin's documents a limit of the signal cuts off. A rule is asked of the documents in its
scope that have the signal; equal limits of several rules are one. Memory: groups x signals x bins. Of a corpus of more
than MAX_DOCUMENTS every second file is counted, or every third and so on, and `every` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.pipeline.engine.publish import entries_of
from gristmill.pipeline.views.published import parts
from gristmill.pipeline.views.report.axes import Axis, axis_of
from gristmill.pipeline.views.report.sums import column_batches
from gristmill.pipeline.views.tables import RuleRow
from gristmill.storage.store import Store

MAX_DOCUMENTS = 50_000_000
"""About four minutes on one core."""
SAMPLE_ROWS = 262_144
SAMPLE_FILES = 64
MAX_GROUPS = 1024
"""Pairs of domain and language counted apart; what comes after them counts under the domain alone."""
LANGUAGES = 12
"""Languages of a domain that can be chosen, those with the most documents."""
APART = ("id", "source", "path", "record", "domain", "category", "language", "url", "text_bytes", "preview")
"""Columns of `signals/` that are no signals."""

Pair = tuple[str, str]
Cut = tuple[str, float | None, float | None]
"""Signal, minimum, maximum."""
Scope = tuple[tuple[str, ...], tuple[str, ...]]
"""Domains and languages; none: all."""


@dataclass(frozen=True)
class Limit:
    """One limit or pair of limits on a signal, and the rules that have it. figures: pair -> asked, below, above."""

    rules: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    source: str
    figures: Mapping[Pair, tuple[int, int, int]]

    def outside(self, pairs: Sequence[Pair]) -> tuple[int, int, int]:
        found = [self.figures[pair] for pair in pairs if pair in self.figures]
        return tuple(int(sum(column)) for column in zip(*found, strict=True)) if found else (0, 0, 0)  # type: ignore[return-value]


@dataclass(frozen=True)
class Distribution:
    signal: str
    axis: Axis
    counts: Mapping[Pair, np.ndarray]
    """(domain, language) -> (bins,) int64."""
    lost: Mapping[Pair, np.ndarray]
    """The same of documents that are outside a limit that is asked of them."""
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Distributions:
    documents: Mapping[Pair, int]
    signals: tuple[Distribution, ...]
    every: int = 1
    """1: all files of `signals/` were counted; n: each n-th."""


def distributions(store: Store, rules: Sequence[RuleRow]) -> Distributions | None:
    """None where there are no signals. rules: rows of `manifests/rules.parquet`."""
    paths = parts(store, "signals")
    every = stride(store)
    paths = paths[::every]
    names = signal_names(store, paths)
    if not names:
        return None
    rules = [rule for rule in rules if not rule.get("expression")]  # a condition over several signals cuts none
    axes = choose_axes(store, paths, names, rules)
    tally = Tally(axes, [rule for rule in rules if rule["signal"] in axes])
    for batch in column_batches(store, paths, ["domain", "language", *axes]):
        tally.add(batch)
    return replace(tally.result(), every=every)


def stride(store: Store) -> int:
    """Each how many-th file is counted, from the rows that the list of `signals/` has."""
    rows = sum(entry["rows"] for entry in entries_of(store, "signals"))
    return max(1, -(-rows // MAX_DOCUMENTS))


def signal_names(store: Store, paths: Sequence[str]) -> list[str]:
    """Numeric columns of the first file; all files of a run have the same."""
    for path in paths[:1]:
        with store.open_input(path) as handle:
            schema = pq.read_schema(handle)
        kinds = (pa.types.is_integer, pa.types.is_floating)
        return [f.name for f in schema if f.name not in APART and any(kind(f.type) for kind in kinds)]
    return []


# -- the axes ----------------------------------------------------------------------------------------------------------


def choose_axes(store: Store, paths: Sequence[str], names: Sequence[str], rules: Sequence[RuleRow]) -> dict[str, Axis]:
    """An axis for each signal that has a value in the sample."""
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    whole: dict[str, bool] = {}
    for batch in sample(store, paths, names):
        for name in names:
            column = batch.column(name)
            whole[name] = pa.types.is_integer(column.type)
            values[name].append(_values(column.drop_null()))
    limits: dict[str, list[float]] = {}
    for rule in rules:
        limits.setdefault(rule["signal"], []).extend(x for x in (rule["minimum"], rule["maximum"]) if x is not None)
    found = {}
    for name in names:
        known = np.concatenate([np.empty(0), *values[name]])
        known = known[np.isfinite(known)]
        if len(known):
            found[name] = axis_of(known, limits.get(name, []), whole[name])
    return found


def sample(store: Store, paths: Sequence[str], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """At most SAMPLE_ROWS rows: the beginnings of at most SAMPLE_FILES files, evenly spaced in the sorted list."""
    step = max(1, -(-len(paths) // SAMPLE_FILES))
    chosen = paths[::step]
    for path in chosen:
        left = max(1, SAMPLE_ROWS // len(chosen))
        for batch in column_batches(store, [path], list(names)):
            yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                break


# -- counting ----------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts by (domain, language), a row a pair in every array."""

    axes: Mapping[str, Axis]
    rules: Sequence[RuleRow]
    pairs: dict[Pair, int] = field(default_factory=dict)
    documents: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    bins: dict[str, np.ndarray] = field(default_factory=dict)  # (pairs, bins)
    lost: dict[str, np.ndarray] = field(default_factory=dict)  # (pairs, bins)
    cuts: dict[Cut, np.ndarray] = field(default_factory=dict)  # (pairs, 3)

    def __post_init__(self) -> None:
        for name, axis in self.axes.items():
            self.bins[name] = np.zeros((0, len(axis.edges) - 1), np.int64)
            self.lost[name] = self.bins[name]
        for rule in self.rules:
            self.cuts[_cut(rule)] = np.zeros((0, 3), np.int64)

    def add(self, batch: pa.RecordBatch) -> None:
        group = self.groups(batch)
        n = len(self.pairs)
        self.documents = _grown(self.documents, n)
        self.documents += np.bincount(group, minlength=n)
        for name, axis in self.axes.items():
            column = batch.column(name)
            there = column.is_valid().to_numpy(zero_copy_only=False)
            values, where = _values(column.drop_null()), group[there]
            finite = ~np.isnan(values)
            values, where = values[finite], where[finite]
            place = np.searchsorted(axis.edges[1:-1], values, side="right")
            self.bins[name] = _binned(self.bins[name], n, where, place)
            outside = np.zeros(len(values), np.bool_)
            for cut in self.cuts:
                if cut[0] == name:
                    below, above = _beyond(cut, values)
                    counts = [np.bincount(each, minlength=n) for each in (where, where[below], where[above])]
                    self.cuts[cut] = _grown(self.cuts[cut], n) + np.stack(counts, axis=1)
                    outside |= (below | above) & self.asked(cut)[where]
            self.lost[name] = _binned(self.lost[name], n, where[outside], place[outside])

    def asked(self, cut: Cut) -> np.ndarray:
        """(pairs,) bool: whether a rule with this limit is asked of the pair."""
        rules = [rule for rule in self.rules if _cut(rule) == cut]
        return np.array(
            [any(in_scope(rule["domains"], rule["languages"], pair) for rule in rules) for pair in self.pairs]
        )

    def groups(self, batch: pa.RecordBatch) -> np.ndarray:
        """(rows,) int64: each row's pair by its number; new pairs get the next."""
        names = [pc.fill_null(batch.column(name).cast(pa.string()), "") for name in ("domain", "language")]
        coded = pc.binary_join_element_wise(*names, "\0").dictionary_encode()
        numbers = []
        for value in coded.dictionary.to_pylist():
            domain, _, language = value.partition("\0")
            pair = (domain, language)
            if pair not in self.pairs and len(self.pairs) >= MAX_GROUPS:
                pair = (domain, "")
            numbers.append(self.pairs.setdefault(pair, len(self.pairs)))
        return np.array(numbers, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]

    def result(self) -> Distributions:
        order = sorted(self.pairs)
        rows = [self.pairs[pair] for pair in order]
        n = len(self.pairs)
        documents = {pair: int(self.documents[row]) for pair, row in zip(order, rows, strict=True)}
        found = [
            Distribution(
                name,
                axis,
                {pair: _grown(self.bins[name], n)[row] for pair, row in zip(order, rows, strict=True)},
                {pair: _grown(self.lost[name], n)[row] for pair, row in zip(order, rows, strict=True)},
                self.limits(name, order),
            )
            for name, axis in self.axes.items()
        ]
        return Distributions(documents, tuple(found))

    def limits(self, signal: str, order: Sequence[Pair]) -> tuple[Limit, ...]:
        """Equal limits with an equal scope are one, in configured order."""
        merged: dict[tuple[Cut, Scope], list[RuleRow]] = {}
        for rule in self.rules:
            if rule["signal"] == signal:
                scope = (tuple(rule["domains"]), tuple(rule["languages"]))
                merged.setdefault((_cut(rule), scope), []).append(rule)
        found = []
        for (cut, (domains, languages)), rules in merged.items():
            table = _grown(self.cuts[cut], len(self.pairs))
            figures = {
                pair: tuple(int(x) for x in table[self.pairs[pair]])
                for pair in order
                if in_scope(domains, languages, pair)
            }
            sources = tuple(dict.fromkeys(rule["source"] for rule in rules))
            names = tuple(rule["rule"] for rule in rules)
            found.append(Limit(names, cut[1], cut[2], domains, languages, "; ".join(sources), figures))  # type: ignore[arg-type]
        return tuple(found)


def in_scope(domains: Sequence[str], languages: Sequence[str], pair: Pair) -> bool:
    """As `stages.rules` reads a rule's scope: no names mean all."""
    return (not domains or pair[0] in domains) and (not languages or pair[1] in languages)


def _cut(rule: RuleRow) -> Cut:
    return rule["signal"], rule["minimum"], rule["maximum"]


def _beyond(cut: Cut, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool each: below the minimum, above the maximum."""
    _, minimum, maximum = cut
    none = np.zeros(len(values), np.bool_)
    return none if minimum is None else values < minimum, none if maximum is None else values > maximum


def _binned(counts: np.ndarray, pairs: int, where: np.ndarray, place: np.ndarray) -> np.ndarray:
    """counts, (pairs, bins), with one more for each value: `where` its pair, `place` its bin."""
    bins = counts.shape[1]
    found = np.bincount(where * bins + place, minlength=pairs * bins)
    return _grown(counts, pairs) + found.reshape(pairs, bins)


def _values(column: pa.Array) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _grown(array: np.ndarray, rows: int) -> np.ndarray:
    if len(array) == rows:
        return array
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])
