"""Which documents the tokenizer is trained on: byte weights of its own, not the blend's.

    share(domain) as configured; share(language in domain) ∝ bytes^alpha

Exponents below 1 lift small languages (alpha 0.3: Conneau et al. 2020, section 3.1). A group never gives more
than it has: what it cannot fill goes to the others in proportion, so the budget is met as long as there is text.
A document is in the sample when its draw, out of 2^64, is below its group's fraction; so the choice depends on
neither order nor partitions, and the sample's size meets the budget in expectation. Documents are not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DOMAIN_SHARES = {"english": 0.50, "multilingual": 0.35, "code": 0.15}
"""Default shares of bytes. Ours: the recipe trains on "a random sample with non-English up-sampled" and does not
publish the factor (Parmar et al. 2024, section 2). The model's blend is 70/15/15; English gives 20 points to
the 53 languages, whose alphabets must be learned from their share."""

UNLABELLED = "unlabelled"
"""Domain of documents of which nobody has said the language; a run's curated corpus has none."""

UNLABELLED_SHARES = {**DOMAIN_SHARES, UNLABELLED: 0.50}
"""Of a corpus that no run has curated: they weigh as English does."""

ALPHA = 0.3
"""Conneau et al. 2020, section 3.1: languages sampled in proportion to n^0.3."""

PURPOSE = "tokenizer-sample"


class GroupRecord(TypedDict):
    """A `Group` as JSON values."""

    domain: str
    language: str
    bytes: int
    target_bytes: int
    fraction: float


class SampleRecord(TypedDict):
    """A `Sample` as JSON values."""

    groups: list[GroupRecord]
    budget_bytes: int
    alpha: float
    shares: dict[str, float]
    seed: int
    purpose: str


@dataclass(frozen=True)
class Group:
    """One (domain, language) of the corpus and what the sample takes of it; all but `fraction` in bytes."""

    domain: str
    language: str
    bytes: int
    target_bytes: int
    fraction: float

    def record(self) -> GroupRecord:
        return {
            "domain": self.domain,
            "language": self.language,
            "bytes": self.bytes,
            "target_bytes": self.target_bytes,
            "fraction": self.fraction,
        }


@dataclass(frozen=True)
class Sample:
    """What is taken from each group; `record()` goes into the artefact beside the model."""

    groups: tuple[Group, ...]
    budget_bytes: int
    alpha: float
    shares: dict[str, float]
    seed: int
    purpose: str

    def record(self) -> SampleRecord:
        """The sample as JSON values."""
        return {
            "groups": [g.record() for g in self.groups],
            "budget_bytes": self.budget_bytes,
            "alpha": self.alpha,
            "shares": dict(self.shares),
            "seed": self.seed,
            "purpose": self.purpose,
        }

    @staticmethod
    def from_record(record: SampleRecord) -> Sample:
        """The sample that gave the record."""
        return Sample(
            tuple(Group(**group) for group in record["groups"]),
            record["budget_bytes"],
            record["alpha"],
            record["shares"],
            record["seed"],
            record["purpose"],
        )


def plan_sample(
    corpus_bytes: Mapping[tuple[str, str], int],
    budget_bytes: int,
    *,
    seed: int,
    shares: Mapping[str, float] = DOMAIN_SHARES,
    alpha: float = ALPHA,
    purpose: str = PURPOSE,
) -> Sample:
    """The fraction of each group's documents to take.

    corpus_bytes: UTF-8 bytes of text per (domain, language). shares: weight of each domain; a domain that is not
    named, or that the corpus does not hold, has weight 0 and the others are renormalised. purpose: of the draw;
    another one is an independent sample. Raises ValueError where nothing is left to sample, or a figure is out of
    its range.
    """
    if budget_bytes <= 0:
        raise ValueError(f"the tokenizer's sample is {budget_bytes} bytes: give a positive number")
    if not 0 <= alpha <= 1:
        raise ValueError(f"the tokenizer's alpha is {alpha}: give 0 (equal shares) to 1 (as in the corpus)")
    negative = [domain for domain, share in shares.items() if share < 0]
    if negative:
        raise ValueError(f"the tokenizer's share of {negative[0]} is {shares[negative[0]]}: give 0 or more")
    keys = sorted(key for key, size in corpus_bytes.items() if size > 0 and shares.get(key[0], 0) > 0)
    if not keys:
        raise ValueError(f"the corpus has no text in the domains that the tokenizer samples ({', '.join(shares)})")
    sizes = np.array([corpus_bytes[key] for key in keys], np.float64)
    domains = np.array([key[0] for key in keys])
    weights = np.zeros(len(keys))
    for domain in sorted(set(domains.tolist())):
        of_domain = domains == domain
        lifted = sizes[of_domain] ** alpha
        weights[of_domain] = shares[domain] * lifted / lifted.sum()
    targets = _fill(float(budget_bytes), weights, sizes)
    groups = tuple(
        Group(*key, int(size), min(int(size), round(float(target))), min(1.0, float(target / size)))
        for key, size, target in zip(keys, sizes, targets, strict=True)
    )
    return Sample(groups, budget_bytes, alpha, dict(shares), seed, purpose)


def choose(ids: pa.Array | np.ndarray, fraction: np.ndarray | float, seed: int, purpose: str = PURPOSE) -> np.ndarray:
    """(n,) bool: which documents are in the sample. ids as in `kernels.text.draw`; fraction (n,) or one, 0 to 1."""
    from gristmill.kernels.text.draw import draw, uniform

    return uniform(draw(seed, purpose, ids)) < fraction  # uniform is below 1: fraction 1 takes all, 0 none


def choose_batch(batch: pa.RecordBatch | pa.Table, sample: Sample) -> np.ndarray:
    """(rows,) bool for a batch with columns id, domain, language; rows of a group not in the plan are left out."""
    keys = pc.binary_join_element_wise(
        batch["domain"].cast(pa.string()), batch["language"].cast(pa.string()), "\0", null_handling="replace"
    )
    known = pa.array([f"{g.domain}\0{g.language}" for g in sample.groups], pa.string())
    fractions = pa.array([g.fraction for g in sample.groups], pa.float64())
    fraction = pc.fill_null(fractions.take(pc.index_in(keys, known)), 0.0).to_numpy(zero_copy_only=False)
    return choose(batch["id"], fraction, sample.seed, sample.purpose)


def count_bytes(batch: pa.RecordBatch | pa.Table) -> dict[tuple[str, str], int]:
    """UTF-8 bytes of `text` per (domain, language) of a batch; null domains and languages count as ''."""
    table = pa.table(
        {
            "domain": pc.fill_null(batch["domain"].cast(pa.string()), ""),
            "language": pc.fill_null(batch["language"].cast(pa.string()), ""),
            "bytes": pc.cast(pc.binary_length(batch["text"]), pa.int64()),
        }
    )
    sums = table.group_by(["domain", "language"]).aggregate([("bytes", "sum")])
    return {(row["domain"], row["language"]): row["bytes_sum"] or 0 for row in sums.to_pylist()}


def _fill(budget: float, weights: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Shares of the budget by weight, none above its size; what one cannot take the others share by weight."""
    order = np.argsort(sizes / weights, kind="stable")  # the first to run full come first
    targets = np.zeros(len(sizes))
    left, weight_left = budget, float(weights.sum())
    for i in order:
        targets[i] = min(sizes[i], left * weights[i] / weight_left) if weight_left > 0 else sizes[i]
        left = max(0.0, left - targets[i])
        weight_left -= weights[i]
    return targets
