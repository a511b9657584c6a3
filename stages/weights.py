"""Weights and how a budget follows them, in exact integers.

UniMax (Chung et al. 2023, Algorithm 1), shares by a power of the size, explicit weights, and `fill`, which turns
weights and caps into whole tokens. What they are weights of is for `stages.blend` to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

TOLERANCE = Fraction(1, 100)
"""Weights whose sum is further from 1 (or 100) than this are an error, nearer ones are normalised."""


def unimax(sizes: Sequence[int], budget: int, epochs: float) -> list[int]:
    """Tokens of each source: as flat as a budget can be when no source is taken more than `epochs` times.

    Chung et al. 2023, Algorithm 1. Sums to the budget, or to all there is where that is less.
    """
    caps = [int(fraction(epochs) * size) for size in sizes]
    return fill(min(budget, sum(caps)), [Fraction(1)] * len(sizes), caps)


def alpha(sizes: Sequence[int], exponent: float) -> list[Fraction]:
    """Shares ∝ size^exponent, summing to 1. Above 1 sharpens, below 1 flattens."""
    largest = max(sizes, default=0)
    if largest <= 0:
        raise ValueError("alpha weights need a size above 0")
    ratios = [Fraction(size, largest) for size in sizes]
    if float(exponent).is_integer():
        powers = [ratio ** int(exponent) if ratio else ratio for ratio in ratios]  # exact: 1 is plain proportion
    else:
        powers = [Fraction(float(ratio) ** exponent) if ratio else ratio for ratio in ratios]
    return [power / sum(powers) for power in powers]


def normalize(weights: Mapping[str, float], key: str) -> dict[str, Fraction]:
    """Weights that sum to 1. `key` is named in the error where their sum is over 1 % off both 1 and 100."""
    if not weights:
        raise ValueError(f"{key} is empty: give at least one weight")
    exact = {name: fraction(weight) for name, weight in weights.items()}
    for name, weight in exact.items():
        if weight < 0:
            raise ValueError(f"{key}.{name} is {weights[name]}: weights are 0 or more")
    total = sum(exact.values(), Fraction(0))
    if min(abs(total - 1), abs(total / 100 - 1)) > TOLERANCE:
        raise ValueError(f"{key} sum to {float(total):g}: make them sum to 1 or to 100, within 1 %")
    return {name: weight / total for name, weight in exact.items()}


def fill(budget: int, weights: Sequence[Fraction], caps: Sequence[int]) -> list[int]:
    """Integers that sum to the budget, in proportion to weights but none above its cap.

    What a capped one cannot take is shared by the others, by weight. Rounded by largest remainder, ties to the
    first. A weight of 0 gets nothing. Raises ValueError where the caps of the weighted do not hold the budget.
    """
    open_rows = [i for i in range(len(weights)) if weights[i] > 0 and caps[i] > 0]
    if budget > sum(caps[i] for i in open_rows):
        raise ValueError(f"{budget:,} tokens do not fit into {sum(caps[i] for i in open_rows):,}")
    exact = [Fraction(0)] * len(weights)
    left, weight_left = Fraction(budget), sum((weights[i] for i in open_rows), Fraction(0))
    for i in sorted(open_rows, key=lambda i: (Fraction(caps[i]) / weights[i], i)):  # the first to run full come first
        exact[i] = min(Fraction(caps[i]), left * weights[i] / weight_left)
        left -= exact[i]
        weight_left -= weights[i]
    whole = [int(value) for value in exact]
    by_remainder = sorted((i for i in open_rows if whole[i] < caps[i]), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: budget - sum(whole)]:
        whole[i] += 1
    return whole


def fraction(value: Fraction | float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return value if isinstance(value, Fraction) else Fraction(str(value))
