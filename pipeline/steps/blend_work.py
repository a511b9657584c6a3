"""One named blend, resolved: what the steps from units to shards share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.steps.units import Holdout, row_key, unit_key
from gristmill.stages.blend import BlendPlan, Unit


@dataclass(frozen=True, slots=True)
class BlendWork:
    """One named blend, resolved: targets by unit, number of shards."""

    name: str
    seed: int
    holdout: Holdout
    units: tuple[Unit, ...]
    plan: BlendPlan
    shards: int
    holdout_shards: int
    parts: int
    """A shard is sent in so many parts of its order, so that whoever writes it holds one of them."""
    domains: tuple[str, ...]
    ranges: int

    @property
    def targets(self) -> np.ndarray:
        return np.array([each.tokens for each in self.plan.units], np.int64)

    @property
    def epochs(self) -> np.ndarray:
        """Whole epochs of each unit; the rest of its target is the fractional epoch."""
        return np.array([each.epochs_whole for each in self.plan.units], np.int64)

    @property
    def remainders(self) -> np.ndarray:
        return np.array([each.remainder for each in self.plan.units], np.int64)

    def unit_index(self, table: pa.Table) -> np.ndarray:
        """Index of each row's unit, (rows,) int64."""
        known = pa.array(["\0".join(unit_key(unit)) for unit in self.units], pa.string())
        index: np.ndarray = pc.index_in(row_key(table), known).to_numpy().astype(np.int64)
        return index

    def domain_of_unit(self) -> np.ndarray:
        return np.array([self.domains.index(unit.domain) for unit in self.units], np.int64)
