"""Units: what a blend gives a budget to, a (domain, category, source, language) each, counted over the token files.

The holdout is apart: documents whose near-duplicate cluster's draw falls below `shards.holdout` are in no unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.draw import draw, uniform
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.steps.chain import KERNELS
from gristmill.pipeline.steps.tokens import TokenStats, batches
from gristmill.stages.blend import Unit

UNIT = ("domain", "category", "source", "language")


def unit_key(unit: Unit) -> tuple[str, ...]:
    return tuple(getattr(unit, name) or "" for name in UNIT)


def row_key(table: pa.Table) -> pa.Array:
    parts = [pc.fill_null(table.column(name), "").combine_chunks() for name in UNIT]
    return pc.binary_join_element_wise(*parts, "\0")


@dataclass(frozen=True, slots=True)
class Holdout:
    seed: int
    fraction: float

    def of(self, table: pa.Table) -> np.ndarray:
        """(rows,) bool: by a draw of the near-duplicate cluster, so that a cluster is never on both sides."""
        return uniform(draw(self.seed, "holdout", table.column("cluster").combine_chunks())) < self.fraction


@dataclass(frozen=True, slots=True)
class Amount:
    documents: int = 0
    tokens: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.tokens + other.tokens, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class UnitStats(Stats):
    units: dict[str, Amount]
    """By the parts of a unit's key with NUL between them."""
    held_out: Amount


def count_units(engine: Engine, tokenized: Sealed[TokenStats], *, seed: int, holdout: float) -> Sealed[UnitStats]:
    return engine.step("blend.units", UNITS, token_files(tokenized), Holdout(seed, holdout), upstream=[tokenized])


def token_files(tokenized: Sealed[TokenStats]) -> list[File]:
    return tokenized.files(Role.TOKENS)


def units_of_file(task: Task[File, Holdout]) -> UnitStats:
    units: dict[str, Amount] = {}
    held = Amount()
    for table in batches(task.store, task.payload, ["cluster", *UNIT, "bytes", "tokens"]):
        out = task.shared.of(table)
        size = table.column("bytes").to_numpy()[out]
        held += Amount(int(out.sum()), int(table.column("tokens").to_numpy()[out].sum()), int(size.sum()))
        rest = table.filter(pa.array(~out))
        keyed = pa.table({"key": row_key(rest), "tokens": rest.column("tokens"), "bytes": rest.column("bytes")})
        sums = keyed.group_by("key").aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
        for row in sums.sort_by("key").to_pylist():
            more = Amount(row["tokens_count"], row["tokens_sum"], row["bytes_sum"])
            units[row["key"]] = units.get(row["key"], Amount()) + more
    return UnitStats(units, held)


UNITS = Step(units_of_file, libraries=KERNELS)
