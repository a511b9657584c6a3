"""The axis of a histogram: bins of round numbers, linear or, where values span decades, logarithmic.

An axis is chosen from a sample of the values and from the limits that shall be seen on it; at most MAX_BINS bins, of
integers none that no integer falls into. It counts nothing and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_BINS = 40
TRIMMED = 0.005
"""Share of the values at either end that may lie beyond the axis."""


@dataclass(frozen=True)
class Axis:
    """Bins between `edges`, ascending; the first and the last bin take what lies beyond them.

    log: drawn logarithmically, where 0 stands as far below 1 as 1 below 2. whole: the values are integers.
    """

    edges: np.ndarray
    log: bool
    whole: bool

    def place(self, value: float) -> float:
        """Where a value stands, from 0 at the first edge to 1 at the last; beyond them at the nearer one."""
        low, high, value = (self._scale(x) for x in (float(self.edges[0]), float(self.edges[-1]), value))
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def line(self, limit: float, maximum: bool) -> float:
        """Where a limit is drawn: among integers a maximum stands behind its value."""
        return self.place(limit + 1 if self.whole and maximum else limit)

    def _scale(self, value: float) -> float:
        return math.log(max(value, float(self.edges[0]) or 0.5)) if self.log else value


def axis_of(values: np.ndarray, limits: Sequence[float], whole: bool) -> Axis:
    """values: (n,) float64, finite, not empty. Limits stay on the axis where it can hold them."""
    low, high = (float(x) for x in np.quantile(values, [TRIMMED, 1 - TRIMMED]))
    positive = values[values > 0]
    small = float(np.quantile(positive, 0.05)) if len(positive) else 1.0
    if low >= 0 and high > 10 and high / small > 30:
        return log_axis(small, high, limits, whole)
    near = [limit for limit in limits if limit <= max(3 * high, 1.0)]
    top = max([high, 0.0, *(1.4 * limit for limit in near)])
    if low >= 0 and float(values.max()) <= 1 and not whole:
        top = min(top, 1.0)
    bottom = min(0.0, low)
    span = top - bottom if top - bottom > 1e-12 else 1.0
    step = _step(span / (0.8 * MAX_BINS))
    if whole:
        step = max(1.0, step)
    first, last = math.floor(bottom / step + 1e-9), math.ceil(top / step - 1e-9)
    if whole and step == 1:
        last = math.floor(top) + 1
    last = max(last, first + 2)
    return Axis(np.array([float(f"{k * step:.12g}") for k in range(first, last + 1)]), False, whole)


def log_axis(small: float, high: float, limits: Sequence[float], whole: bool) -> Axis:
    """Whole decades, divided evenly; of integers no bin is empty by its edges, and 0 has one."""
    wanted = [limit for limit in limits if limit > 0 and small / 100 <= limit <= 100 * high]
    top = math.ceil(math.log10(max([high, *wanted])) - 1e-9)
    low = max(top - MAX_BINS // 2, min(top - 1, math.floor(math.log10(min([small, *wanted])))))
    per_decade = max(1, min(5 if whole and low < 2 else 10, MAX_BINS // (top - low)))
    edges = [float(f"{10 ** (low + k / per_decade):.12g}") for k in range((top - low) * per_decade + 1)]
    if whole:
        edges = sorted({*([0.0] if low == 0 else []), *(float(math.ceil(edge)) for edge in edges)})
    return Axis(np.array(edges), True, whole)


def _step(rough: float) -> float:
    """The least of 1, 2 or 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
