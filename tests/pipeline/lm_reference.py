"""Kneser-Ney models for tests: of lines of words by our kernels, and by the definition over dictionaries."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from gristmill.kernels.text import kneser_ney, ngram_trie
from gristmill.kernels.text.ngram_counts import Counts, count

SPECIALS = ["<unk>", "<s>", "</s>"]
Model = list[dict[str, tuple[float, float]]]
"""By order: n-gram -> log10 prob, log10 backoff (0 in the highest order)."""


def ids_of(lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(words, ends, vocabulary): ids in the order of first occurrence, specials in the text left out."""
    vocabulary = dict(zip(SPECIALS, range(3), strict=True))
    words: list[int] = []
    ends = []
    for line in lines:
        words += [vocabulary.setdefault(word, len(vocabulary)) for word in line.split() if word not in SPECIALS]
        ends.append(len(words))
    return np.array(words, np.uint16), np.array(ends, np.int64), list(vocabulary)


def ours(lines: Sequence[str], order: int, prune: Sequence[int]) -> Model:
    words, ends, vocabulary = ids_of(lines)
    return estimated(count(words, ends, order), vocabulary, order, prune)


def estimated(grams: Counts, vocabulary: list[str], order: int, prune: Sequence[int]) -> Model:
    levels = ngram_trie.build(grams, order, prune)
    counts = np.zeros(len(vocabulary), np.uint32)
    counts[levels[0].labels] = levels[0].counts
    found = []
    for n, level in enumerate(levels):
        tally = ngram_trie.count_of_counts(level.counts)
        tally = tally if n == order - 1 else ngram_trie.recount(tally, *level.last)
        found.append(kneser_ney.discounts(tally[2:]))
    current = kneser_ney.unigrams(counts, counts, found[0])
    starts = None
    texts = vocabulary
    model: Model = []
    for n in range(1, order):
        level = levels[n]
        children = level.children if n < order - 1 else np.zeros(0, np.uint32)
        following, backoffs, _ = kneser_ney.next_order(current, starts, level.labels, level.counts, children, found[n])
        model.append(spelled(texts, current, backoffs))
        ends = np.repeat(np.arange(len(texts)), np.diff(current.starts))
        texts = [f"{vocabulary[label]} {texts[end]}" for label, end in zip(level.labels, ends, strict=True)]
        starts, current = current.starts, following
    return [*model, spelled(texts, current, np.zeros(len(texts), np.float32))]


def spelled(texts: list[str], order: kneser_ney.Order, backoffs: np.ndarray) -> dict[str, tuple[float, float]]:
    kept = np.flatnonzero(order.counts < ngram_trie.PRUNED)
    probs = kneser_ney.logarithms(order.probs[kept])
    return {texts[i]: (float(p), float(backoffs[i])) for i, p in zip(kept, probs, strict=True)}


def by_definition(lines: Sequence[str], order: int, prune: Sequence[int]) -> Model:
    """Interpolated modified Kneser-Ney as Chen and Goodman have it, with lmplz's conventions, n-gram by n-gram."""
    words, ends, vocabulary = ids_of(lines)
    sentences = [part.tolist() for part in np.split(words, ends[:-1])]
    occurs: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        padded = [1, *sentence, 2]
        for n in range(1, order + 1):
            occurs[n - 1].update(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))
    del occurs[0][(1,)]
    adjusted: list[dict[tuple[int, ...], int]] = []
    for n in range(1, order + 1):
        before: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for gram in occurs[n] if n < order else ():
            before[gram[1:]].add(gram[0])
        adjusted.append({g: c if n == order or g[0] == 1 else len(before[g]) for g, c in occurs[n - 1].items()})
    amounts = []
    last: tuple[int, ...] = ()  # the greatest n-gram read from its end, as far as it goes
    for n in range(order):
        tally = Counter(adjusted[n].values())
        last = max((g for g in occurs[n] if g[1:] == last), key=lambda g: g[0], default=(-1,) * (n + 1))
        if n < order - 1 and last in adjusted[n]:
            tally[adjusted[n][last]] -= 1
            tally[occurs[n][last]] += 1
        amounts.append(discounts_of(tally))
    probs: dict[tuple[int, ...], float] = {(): 1 / (len(vocabulary) - 1)}
    model: Model = []
    gammas: dict[tuple[int, ...], float] = {}
    for n in range(order):
        totals: Counter[tuple[int, ...]] = Counter()
        left: Counter[tuple[int, ...]] = Counter()
        for gram, value in adjusted[n].items():
            totals[gram[:-1]] += value
            left[gram[:-1]] += value if occurs[n][gram] <= prune[n] else amounts[n][min(value, 3)]
        gammas |= {context: left[context] / totals[context] for context in totals}
        for gram, value in adjusted[n].items():
            if occurs[n][gram] > prune[n]:
                own = (value - amounts[n][min(value, 3)]) / totals[gram[:-1]]
                probs[gram] = own + gammas[gram[:-1]] * probs[gram[1:]]
        if n == 0:
            probs |= {(0,): gammas[()] * probs[()], (1,): 1.0}
    for n in range(1, order + 1):
        grams = [gram for gram in probs if len(gram) == n]
        backoffs = {g: logarithm(gammas.get(g, 1.0)) if n < order else 0.0 for g in grams}
        model.append({" ".join(vocabulary[w] for w in g): (logarithm(probs[g]), backoffs[g]) for g in grams})
    return model


def logarithm(value: float) -> float:
    """Of 0, which a discount of 0 leaves for the backoff, minus infinity: lmplz writes -inf."""
    return math.log10(value) if value > 0 else -math.inf


def discounts_of(tally: Counter[int]) -> list[float]:
    """[0, D1, D2, D3+], or the fallback."""
    n1, n2, n3, n4 = (tally[k] for k in (1, 2, 3, 4))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        if all(0 <= amount <= k + 1 for k, amount in enumerate(found)):
            return [0.0, *found]
    return [0.0, 0.5, 1.0, 1.5]


def probability(model: Model, context: Sequence[str], word: str) -> float:
    """p(word | context) by backing off, as a model is used."""
    weight = 0.0
    for start in range(len(context) + 1):
        seen = [*context[start:], word]
        found = model[len(seen) - 1].get(" ".join(seen))
        if found:
            return 10 ** (weight + found[0])
        weight += model[len(seen) - 2].get(" ".join(context[start:]), (0.0, 0.0))[1]
    raise KeyError(word)
