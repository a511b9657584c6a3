"""Units: what a blend gives a budget to, a (domain, category, source, language) each, counted over the token files.

The holdout is apart: documents whose near-duplicate cluster's draw falls below `shards.holdout` are in no unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.draw import draw, uniform
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File, Sealed
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.steps.tokens import TOKENS, batches
from gristmill.stages.blend import Unit

VERSION = 1
UNIT = ("domain", "category", "source", "language")


def unit_key(unit: Unit) -> tuple[str, ...]:
    return tuple(getattr(unit, name) or "" for name in UNIT)


def row_key(table: pa.Table) -> pa.Array:
    parts = [pc.fill_null(table.column(name), "").combine_chunks() for name in UNIT]
    return pc.binary_join_element_wise(*parts, "\0")


def held_out(table: pa.Table, seed: int, fraction: float) -> np.ndarray:
    """(rows,) bool: by a draw of the near-duplicate cluster, so that a cluster is never on both sides."""
    return uniform(draw(seed, "holdout", table.column("cluster").combine_chunks())) < fraction


def count_units(engine: Engine, tokenized: Sealed, *, seed: int, holdout: float) -> Sealed:
    return engine.step(
        "blend.units",
        units_of_file,
        token_files(tokenized),
        identity={"version": VERSION, "seed": seed, "holdout": holdout},
        upstream=[tokenized],
        shared=(seed, holdout),
    )


def token_files(tokenized: Sealed) -> list[File]:
    return [file for _, manifest in tokenized.done() for file in manifest.roles(TOKENS)]


def units_of_file(task: Task) -> dict[str, Any]:
    seed, holdout = task.shared
    units: dict[str, list[int]] = {}
    held = [0, 0]
    for table in batches(task.store, task.payload, ["cluster", *UNIT, "bytes", "tokens"]):
        out = held_out(table, seed, holdout)
        held[0] += int(out.sum())
        held[1] += int(table.column("tokens").to_numpy()[out].sum())
        rest = table.filter(pa.array(~out))
        keyed = pa.table({"key": row_key(rest), "tokens": rest.column("tokens"), "bytes": rest.column("bytes")})
        sums = keyed.group_by("key").aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
        for row in sums.sort_by("key").to_pylist():
            entry = units.setdefault(row["key"], [0, 0, 0])
            for i, name in enumerate(("tokens_count", "tokens_sum", "bytes_sum")):
                entry[i] += row[name]
    return {"units": units, "holdout": held}
