"""From token counts to shards: which copy of which document goes where, exact to one document, in bounded memory.

    blend.units     one task a token file: documents and tokens of every unit (domain, category, source, language),
                    holdout apart
    blend.order     one task a token file: a row per candidate copy, sent by its draw. Whole epochs take every
                    document; the last, fractional epoch is decided by the order of the draws
    blend.sums      one task a range of draws: sorts it, sums the fractional candidates' tokens by unit
    blend.select    knowing the sums of all earlier ranges, takes fractional candidates while the unit's target is not
                    reached; sums what is taken by domain
    blend.place     knowing the domains' sums of earlier ranges, turns a copy's place in its domain into a shard
    shards.scatter  one task a token file: ids of its copies and of its holdout documents, sent by shard
    shards.write    one task a shard: sorted by an independent draw, written as .bin, .idx, .docs.parquet

So prefix sums over the whole corpus need no sort of the whole corpus in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.draw import draw
from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive_table
from gristmill.pipeline.engine.identity import UPSTREAM, Payload, Shared
from gristmill.pipeline.engine.manifest import File, Manifest, Reported, Role, Sealed, Stats, StatsT
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.sending import Sender, partition_of, send
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.blend_work import BlendWork
from gristmill.pipeline.steps.chain import KERNELS, TABLES
from gristmill.pipeline.steps.sharding import SCATTER, WRITE, ScatterInput, ShardParts, ShardStats, ShardWriting
from gristmill.pipeline.steps.tokens import TokenStats, batches
from gristmill.pipeline.steps.units import UNIT, Amount, Holdout, UnitStats, token_files
from gristmill.stages.blend import Blend, Unit, plan
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store
from gristmill.tokenizer.shards import Layout

PART_TOKENS = 8_000_000
MAX_PARTS = 65_536
COPY = pa.schema(
    [
        pa.field("draw", pa.uint64(), nullable=False),
        pa.field("unit", pa.int32(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("fractional", pa.bool_(), nullable=False),
        pa.field("handle", pa.uint64(), nullable=False),  # token file << 32 | row
    ]
)
PLACED = pa.schema(
    [
        pa.field("handle", pa.uint64(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
    ]
)


def parts(shards: int, tokens: int) -> int:
    """Of one shard. With very many shards one each: what a sender writes of where its parts are would outgrow them."""
    return max(1, min(-(-tokens // PART_TOKENS), MAX_PARTS // shards))


def resolve(
    name: str, counted: Sealed[UnitStats], config: Blend, *, seed: int, holdout: float, tokens_per_shard: int
) -> BlendWork:
    """The plan of one blend from the counts of all units."""
    totals: dict[str, Amount] = {}
    held = 0
    for _, manifest in counted.done():
        held += manifest.stats.held_out.tokens
        for key, amount in manifest.stats.units.items():
            totals[key] = totals.get(key, Amount()) + amount
    units = tuple(
        Unit(**dict(zip(UNIT, key.split("\0"), strict=True)), documents=amount.documents, tokens=amount.tokens)
        for key, amount in sorted(totals.items())
    )
    planned = plan(units, config, name)
    total = planned.tokens
    return BlendWork(
        name,
        seed,
        Holdout(seed, holdout),
        units,
        planned,
        max(1, round(total / tokens_per_shard)),
        max(1, round(held / tokens_per_shard)) if held else 0,
        parts(max(1, round(total / tokens_per_shard)), min(total, tokens_per_shard)),
        tuple(sorted({unit.domain for unit in units})),
        max(1, len(counted.manifests)),
    )


# -- which copies ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RangeInput:
    """A range of draws, and the sums of all earlier ranges: of tokens by unit, or by domain."""

    file: File = field(metadata=UPSTREAM)
    before: tuple[int, ...] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class Sums(Stats):
    sums: tuple[int, ...]
    """Tokens by unit."""


@dataclass(frozen=True, order=True, slots=True)
class Edge:
    """A unit's candidate in which its target falls, and whether it is taken."""

    tokens: int
    unit: int
    range: int
    taken: bool


@dataclass(frozen=True, slots=True)
class Selected(Sums):
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class Placing:
    blend: BlendWork
    turned: tuple[int, ...]
    """Units whose edge is decided the other way."""
    totals: tuple[int, ...]
    """Tokens by domain."""


def build(
    engine: Engine,
    tokenized: Sealed[TokenStats],
    counted: Sealed[UnitStats],
    blend: BlendWork,
    layout: Layout,
    *,
    max_segments: int,
) -> Sealed[ShardStats]:
    """All steps of one blend; returns the sealed `shards.write`."""

    def step(
        name: str,
        which: Step[Payload, Shared, StatsT],
        payloads: Sequence[Payload],
        shared: Shared,
        *upstream: Sealed[Reported],
    ) -> Sealed[StatsT]:
        before: list[Sealed[Reported]] = [tokenized, counted, *upstream]
        return engine.step(f"blend/{blend.name}/{name}", which, payloads, shared, upstream=before)

    files = token_files(tokenized)
    order = step("order", ORDER, files, blend)
    sums = step("sums", SUMS, merged(engine, order, blend.ranges, max_segments), blend, order)
    before = prefix_sums(sums, len(blend.units))
    ranges = [RangeInput(copies(sums, i), tuple(before[i].tolist())) for i in range(blend.ranges)]
    taken = step("select", SELECT, ranges, blend, sums)
    turned, places = turned_edges(blend, taken)
    placing = Placing(blend, tuple(turned), tuple(places[-1].tolist()))
    ranges = [RangeInput(copies(taken, i), tuple(places[i].tolist())) for i in range(blend.ranges)]
    placed = step("place", PLACE, ranges, placing, taken)
    received = merged(engine, placed, len(files), max_segments)
    scattering = [ScatterInput(file, incoming) for file, incoming in zip(files, received, strict=True)]
    scattered = step("scatter", SCATTER, scattering, blend, placed)
    count = blend.shards + blend.holdout_shards
    parts = merged(engine, scattered, count * blend.parts, max_segments)
    inputs = [ShardParts(tuple(parts[i * blend.parts : (i + 1) * blend.parts])) for i in range(count)]
    return step("write", WRITE, inputs, ShardWriting(blend, layout), scattered)


def copies(sealed: Sealed[Sums], index: int) -> File:
    manifest: Manifest[Sums] | None = sealed.manifests[index]
    if manifest is None:
        raise OSError(f"{sealed.name}: task {index} is missing; run again without --allow-missing")
    return next(file for file in manifest.files if file.role == Role.COPIES)


def prefix_sums(sealed: Sealed[Sums], width: int) -> np.ndarray:
    """(tasks + 1, width) int64: sums of the statistics `sums` over all earlier tasks; the last row is the total."""
    rows = np.zeros((len(sealed.manifests) + 1, width), np.int64)
    for index, manifest in sealed.done():
        rows[index + 1] = manifest.stats.sums
    return np.cumsum(rows, axis=0)


def order_copies(task: Task[File, BlendWork]) -> None:
    blend, file = task.shared, task.payload
    row = 0
    epochs, rest = blend.epochs, blend.remainders
    with Sender(task.output) as sender:
        for table in batches(task.store, file, ["id", "cluster", *UNIT, "tokens"]):
            rows = row + np.arange(table.num_rows)
            row += table.num_rows
            inside = ~blend.holdout.of(table)
            table, rows = table.filter(pa.array(inside)), rows[inside]
            unit = blend.unit_index(table)
            copies = epochs[unit] + (rest[unit] > 0)
            repeat = np.repeat(np.arange(len(rows)), copies)
            epoch = np.arange(len(repeat)) - np.repeat(np.cumsum(copies) - copies, copies)
            ids = table.column("id").combine_chunks().take(pa.array(repeat))
            columns = {
                "draw": draw(blend.seed, f"blend/{blend.name}", ids, epoch.astype(np.uint64)),
                "unit": unit[repeat].astype(np.int32),
                "tokens": table.column("tokens").to_numpy()[repeat],
                "epoch": epoch.astype(np.int32),
                "fractional": epoch == epochs[unit][repeat],
                "handle": (np.uint64(task.index) << np.uint64(32)) | rows[repeat].astype(np.uint64),
            }
            table = pa.table({name: pa.array(column) for name, column in columns.items()}, schema=COPY)
            sender.add(table, partition_of(columns["draw"], blend.ranges).astype(np.int64))


ORDER = Step(order_copies, version=2, libraries=KERNELS)


def sum_fractions(task: Task[Incoming, BlendWork]) -> Sums:
    blend = task.shared
    table = receive_table(task.store, task.payload)
    table = COPY.empty_table() if table is None else table
    table = table.sort_by([("draw", "ascending"), ("handle", "ascending"), ("epoch", "ascending")])
    task.output.table(Role.COPIES, table)
    fractional = table.column("fractional").to_numpy()
    sums = np.zeros(len(blend.units), np.int64)
    np.add.at(sums, table.column("unit").to_numpy()[fractional], table.column("tokens").to_numpy()[fractional])
    return Sums(tuple(sums.tolist()))


SUMS = Step(sum_fractions, version=2, libraries=TABLES)


def read(store: Store, file: File) -> pa.Table:
    with open_checked(store, file) as handle:
        return read_table(handle)


def running(values: np.ndarray, group: np.ndarray, groups: int, start: np.ndarray) -> np.ndarray:
    """Sum of `values` of the same group before each row, plus the group's `start`; (rows,) int64."""
    order = np.argsort(group, kind="stable")
    ordered = values[order]
    total = np.cumsum(ordered) - ordered
    first = np.searchsorted(group[order], np.arange(groups))
    base = np.where(first < len(order), total[np.minimum(first, max(len(order) - 1, 0))] if len(order) else 0, 0)
    result = np.empty(len(values), np.int64)
    result[order] = total - base[group[order]] + start[group[order]]
    return result


def select_copies(task: Task[RangeInput, BlendWork]) -> Selected:
    """Takes a fractional candidate if the unit's fraction is less off with it than without.

    Every unit has one candidate in which its target falls, the *edge*: it is marked, as the plan may still turn its
    decision around so that the domain meets its share, not only each unit nearly its own.
    """
    blend = task.shared
    table = read(task.store, task.payload.file)
    unit = table.column("unit").to_numpy().astype(np.int64)
    tokens = table.column("tokens").to_numpy()
    fractional = table.column("fractional").to_numpy()
    rest = blend.remainders
    reached = running(np.where(fractional, tokens, 0), unit, len(blend.units), np.array(task.payload.before, np.int64))
    taken = ~fractional | (2 * (rest[unit] - reached) > tokens)
    edge = fractional & (reached < rest[unit]) & (rest[unit] <= reached + tokens)
    marked = table.append_column("taken", pa.array(taken)).append_column("edge", pa.array(edge))
    task.output.table(Role.COPIES, marked.filter(pa.array(taken | edge)))
    sums = np.zeros(len(blend.units), np.int64)
    np.add.at(sums, unit[taken], tokens[taken])
    rows = np.flatnonzero(edge)
    edges = zip(tokens[rows].tolist(), unit[rows].tolist(), taken[rows].tolist(), strict=True)
    found = tuple(Edge(size, which, task.index, was) for size, which, was in edges)
    return Selected(tuple(sums.tolist()), found)


SELECT = Step(select_copies, version=2, libraries=TABLES)


def turned_edges(blend: BlendWork, taken: Sealed[Selected]) -> tuple[list[int], np.ndarray]:
    """Units whose edge is decided the other way, and the domains' tokens before every range, (ranges + 1, domains).

    Largest edges first, each turned if that brings the domain nearer to its target: so many units that are each half a
    document off do not add up.
    """
    domain = blend.domain_of_unit()
    by_range = np.diff(prefix_sums(taken, len(blend.units)), axis=0)
    edges = [edge for _, manifest in taken.done() for edge in manifest.stats.edges]
    error = [int(by_range[:, domain == d].sum() - blend.targets[domain == d].sum()) for d in range(len(blend.domains))]
    turned = []
    for edge in sorted(edges, reverse=True):
        change = -edge.tokens if edge.taken else edge.tokens
        if abs(error[domain[edge.unit]] + change) < abs(error[domain[edge.unit]]):
            error[domain[edge.unit]] += change
            by_range[edge.range, edge.unit] += change
            turned.append(edge.unit)
    sums = np.zeros((len(by_range) + 1, len(blend.domains)), np.int64)
    for d in range(len(blend.domains)):
        sums[1:, d] = np.cumsum(by_range[:, domain == d].sum(axis=1))
    return sorted(turned), sums


def place_copies(task: Task[RangeInput, Placing]) -> None:
    """A copy's shard is where the middle of its tokens falls in its domain's order, cut into equal parts."""
    blend = task.shared.blend
    table = read(task.store, task.payload.file)
    turn = table.column("edge").to_numpy() & np.isin(table.column("unit").to_numpy(), task.shared.turned)
    table = table.filter(pa.array(table.column("taken").to_numpy() ^ turn))
    domain = blend.domain_of_unit()[table.column("unit").to_numpy()]
    tokens = table.column("tokens").to_numpy()
    middle = 2 * running(tokens, domain, len(blend.domains), np.array(task.payload.before, np.int64)) + tokens
    whole = 2 * np.array(task.shared.totals, np.int64)[domain]
    shard = middle * blend.shards // np.maximum(whole, 1)  # below 2^63 up to 4e13 tokens in 100,000 shards
    placed = pa.table([table.column("handle"), table.column("epoch"), pa.array(shard.astype(np.int32))], schema=PLACED)
    send(task.output, placed, (table.column("handle").to_numpy() >> np.uint64(32)).astype(np.int64))


PLACE = Step(place_copies, version=2, libraries=TABLES)
