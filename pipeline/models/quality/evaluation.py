"""How well scores tell one side from the other.

AUC        P(a good document scores higher than a bad one), equal scores count half (Hanley, McNeil 1982)
accuracy   documents on the right side of 0.5, the mean of both sides, so that their numbers do not matter
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from gristmill.storage.json_values import Json

TAKEN = (0.95, 0.9, 0.75, 0.5)
"""Shares of the good documents for which the minimum that keeps them is told."""


class Minimum(TypedDict):
    """A least score, and the shares of both sides that reach it."""

    minimum: float
    good_kept: float
    bad_kept: float


class Figures(TypedDict):
    auc: float
    accuracy: float
    minimums: list[Minimum]


class Result(Figures):
    """What a training run says of its model; numbers of documents by side."""

    model: str
    bytes: int
    label: str
    options: dict[str, Json]
    trained_on: dict[str, int]
    held_out: dict[str, int]


def figures(good: np.ndarray, bad: np.ndarray) -> Figures:
    """auc, accuracy, and for each share of TAKEN the minimum and what it keeps. good, bad: (n,) scores, not empty."""
    rows: list[Minimum] = []
    for share in TAKEN:
        minimum = float(np.quantile(good, 1 - share, method="lower"))
        rows.append(
            {
                "minimum": minimum,
                "good_kept": float((good >= minimum).mean()),
                "bad_kept": float((bad >= minimum).mean()),
            }
        )
    return {
        "auc": area(good, bad),
        "accuracy": float(((good >= 0.5).mean() + (bad < 0.5).mean()) / 2),
        "minimums": rows,
    }


def area(good: np.ndarray, bad: np.ndarray) -> float:
    """The area under the ROC curve, from ranks."""
    below = np.sort(bad)
    wins = np.searchsorted(below, good, "left") + np.searchsorted(below, good, "right")
    return float(wins.sum() / (2 * len(good) * len(bad)))


def lines_of(result: Result) -> list[str]:
    trained, held = result["trained_on"], result["held_out"]
    lines = [
        f"trained on {trained['good']:,} good and {trained['bad']:,} bad documents, judged by {held['good']:,} and "
        f"{held['bad']:,} others",
        f"AUC {result['auc']:.4f}, accuracy {result['accuracy']:.4f} at 0.5",
        "minimum   keeps of good   of bad",
    ]
    lines += [
        f"{row['minimum']:7.4f}{100 * row['good_kept']:14.1f} %{100 * row['bad_kept']:7.1f} %"
        for row in result["minimums"]
    ]
    return [*lines, f"model: {result['model']} ({result['bytes'] / 1e6:.1f} MB)"]
