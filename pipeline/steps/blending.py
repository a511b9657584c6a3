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

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.kernels.text.draw import draw
from gristmill.pipeline.engine.checked import open_checked
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import receive_table
from gristmill.pipeline.engine.manifest import File, Sealed
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.sending import Sender, partition_of, send
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.steps.blend_work import BlendWork
from gristmill.pipeline.steps.sharding import scatter, write_shard
from gristmill.pipeline.steps.tokens import batches
from gristmill.pipeline.steps.units import UNIT, held_out, token_files, unit_key
from gristmill.stages.blend import Blend, Unit, plan
from gristmill.storage.store import Store

VERSION = 2
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
    name: str, counted: Sealed, config: Mapping[str, Any], *, seed: int, holdout: float, tokens_per_shard: int
) -> BlendWork:
    """The plan of one blend from the counts of all units."""
    totals: dict[str, list[int]] = {}
    held = 0
    for _, manifest in counted.done():
        held += manifest.stats["holdout"][1]
        for key, values in manifest.stats["units"].items():
            entry = totals.setdefault(key, [0, 0, 0])
            for i, value in enumerate(values):
                entry[i] += value
    units = tuple(
        Unit(**dict(zip(UNIT, key.split("\0"), strict=True)), documents=documents, tokens=tokens)
        for key, (documents, tokens, _) in sorted(totals.items())
    )
    planned = plan(units, Blend(**config), name)
    total = planned.tokens
    return BlendWork(
        name,
        seed,
        holdout,
        units,
        planned,
        max(1, round(total / tokens_per_shard)),
        max(1, round(held / tokens_per_shard)) if held else 0,
        parts(max(1, round(total / tokens_per_shard)), min(total, tokens_per_shard)),
        tuple(sorted({unit.domain for unit in units})),
        max(1, len(counted.manifests)),
    )


# -- which copies ------------------------------------------------------------------------------------------------------


def build(engine: Engine, tokenized: Sealed, counted: Sealed, blend: BlendWork, *, max_segments: int) -> Sealed:
    """All steps of one blend; returns the sealed `shards.write`."""
    files = token_files(tokenized)
    identity = {
        "version": VERSION,
        "blend": blend.name,
        "seed": blend.seed,
        "targets": blend.targets.tolist(),
        "units": [(*unit_key(unit), unit.documents, unit.tokens) for unit in blend.units],
        "epochs": [blend.epochs.tolist(), blend.remainders.tolist()],
        "shards": [blend.shards, blend.holdout_shards, blend.parts],
        "holdout": blend.holdout,
        "ranges": blend.ranges,
    }
    prefix = f"blend/{blend.name}"

    def step(
        name: str, function: Any, payloads: list[Any], *upstream: Sealed, shared: Any = blend, more: Any = None
    ) -> Sealed:
        return engine.step(
            f"{prefix}/{name}",
            function,
            payloads,
            identity={**identity, "more": more},  # all that is shared: a task may be taken over by it
            upstream=[tokenized, counted, *upstream],
            shared=shared,
        )

    order = step("order", order_copies, files)
    sums = step("sums", sum_fractions, merged(engine, order, blend.ranges, max_segments), order)
    before = prefix_sums(sums, len(blend.units))
    taken = step("select", select_copies, [(copies(sums, i), before[i].tolist()) for i in range(blend.ranges)], sums)
    turned, places = turned_edges(blend, taken)
    placing = [(copies(taken, i), places[i].tolist()) for i in range(blend.ranges)]
    decided = (turned, places[-1].tolist())
    placed = step("place", place_copies, placing, taken, shared=(blend, *decided), more=decided)
    received = merged(engine, placed, len(files), max_segments)
    scattered = step("scatter", scatter, list(zip(files, received, strict=True)), placed)
    count = blend.shards + blend.holdout_shards
    received_parts = merged(engine, scattered, count * blend.parts, max_segments)
    inputs = [received_parts[i * blend.parts : (i + 1) * blend.parts] for i in range(count)]
    return step("write", write_shard, inputs, scattered)


def copies(sealed: Sealed, index: int) -> File:
    manifest = sealed.manifests[index]
    if manifest is None:
        raise OSError(f"{sealed.name}: task {index} is missing; run again without --allow-missing")
    return next(file for file in manifest.files if file.role == "copies")


def prefix_sums(sealed: Sealed, width: int) -> np.ndarray:
    """(tasks + 1, width) int64: sums of the statistics `sums` over all earlier tasks; the last row is the total."""
    rows = np.zeros((len(sealed.manifests) + 1, width), np.int64)
    for index, manifest in sealed.done():
        rows[index + 1] = manifest.stats["sums"]
    return np.cumsum(rows, axis=0)


def order_copies(task: Task) -> None:
    blend: BlendWork = task.shared
    file: File = task.payload
    row = 0
    epochs, rest = blend.epochs, blend.remainders
    with Sender(task.output) as sender:
        for table in batches(task.store, file, ["id", "cluster", *UNIT, "tokens"]):
            rows = row + np.arange(table.num_rows)
            row += table.num_rows
            inside = ~held_out(table, blend.seed, blend.holdout)
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


def sum_fractions(task: Task) -> dict[str, Any]:
    blend: BlendWork = task.shared
    table = receive_table(task.store, task.payload)
    table = COPY.empty_table() if table is None else table
    table = table.sort_by([("draw", "ascending"), ("handle", "ascending"), ("epoch", "ascending")])
    task.output.table("copies", table)
    fractional = table.column("fractional").to_numpy()
    sums = np.zeros(len(blend.units), np.int64)
    np.add.at(sums, table.column("unit").to_numpy()[fractional], table.column("tokens").to_numpy()[fractional])
    return {"sums": sums.tolist()}


def read(store: Store, file: File) -> pa.Table:
    with open_checked(store, file) as handle:
        return pq.read_table(handle)


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


def select_copies(task: Task) -> dict[str, Any]:
    """Takes a fractional candidate if the unit's fraction is less off with it than without.

    Every unit has one candidate in which its target falls, the *edge*: it is marked, as the plan may still turn its
    decision around so that the domain meets its share, not only each unit nearly its own.
    """
    blend: BlendWork = task.shared
    file, before = task.payload
    table = read(task.store, file)
    unit = table.column("unit").to_numpy().astype(np.int64)
    tokens = table.column("tokens").to_numpy()
    fractional = table.column("fractional").to_numpy()
    rest = blend.remainders
    reached = running(np.where(fractional, tokens, 0), unit, len(blend.units), np.array(before, np.int64))
    taken = ~fractional | (2 * (rest[unit] - reached) > tokens)
    edge = fractional & (reached < rest[unit]) & (rest[unit] <= reached + tokens)
    marked = table.append_column("taken", pa.array(taken)).append_column("edge", pa.array(edge))
    task.output.table("copies", marked.filter(pa.array(taken | edge)))
    sums = np.zeros(len(blend.units), np.int64)
    np.add.at(sums, unit[taken], tokens[taken])
    rows = np.flatnonzero(edge)
    return {"sums": sums.tolist(), "edges": np.stack([unit[rows], tokens[rows], taken[rows]], 1).tolist()}


def turned_edges(blend: BlendWork, taken: Sealed) -> tuple[list[int], np.ndarray]:
    """Units whose edge is decided the other way, and the domains' tokens before every range, (ranges + 1, domains).

    Largest edges first, each turned if that brings the domain nearer to its target: so many units that are each half a
    document off do not add up.
    """
    domain = blend.domain_of_unit()
    by_range = np.diff(prefix_sums(taken, len(blend.units)), axis=0)
    edges = [(tokens, unit, index, bool(was)) for index, m in taken.done() for unit, tokens, was in m.stats["edges"]]
    error = [int(by_range[:, domain == d].sum() - blend.targets[domain == d].sum()) for d in range(len(blend.domains))]
    turned = []
    for tokens, unit, index, was in sorted(edges, reverse=True):
        change = -tokens if was else tokens
        if abs(error[domain[unit]] + change) < abs(error[domain[unit]]):
            error[domain[unit]] += change
            by_range[index, unit] += change
            turned.append(unit)
    sums = np.zeros((len(by_range) + 1, len(blend.domains)), np.int64)
    for d in range(len(blend.domains)):
        sums[1:, d] = np.cumsum(by_range[:, domain == d].sum(axis=1))
    return sorted(turned), sums


def place_copies(task: Task) -> None:
    """A copy's shard is where the middle of its tokens falls in its domain's order, cut into equal parts."""
    blend, turned, totals = task.shared
    file, before = task.payload
    table = read(task.store, file)
    turn = table.column("edge").to_numpy() & np.isin(table.column("unit").to_numpy(), turned)
    table = table.filter(pa.array(table.column("taken").to_numpy() ^ turn))
    domain = blend.domain_of_unit()[table.column("unit").to_numpy()]
    tokens = table.column("tokens").to_numpy()
    middle = 2 * running(tokens, domain, len(blend.domains), np.array(before, np.int64)) + tokens
    whole = 2 * np.array(totals, np.int64)[domain]
    shard = middle * blend.shards // np.maximum(whole, 1)  # below 2^63 up to 4e13 tokens in 100,000 shards
    placed = pa.table([table.column("handle"), table.column("epoch"), pa.array(shard.astype(np.int32))], schema=PLACED)
    send(task.output, placed, (table.column("handle").to_numpy() >> np.uint64(32)).astype(np.int64))
