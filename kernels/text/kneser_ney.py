"""Interpolated modified Kneser-Ney smoothing over the trie of n-grams, order by order (Chen and Goodman 1998, eq. 26).

    p(w | c) = (a(c w) - D(a(c w))) / sum of a(c x) over x  +  gamma(c) p(w | c without its first word)
    gamma(c) = (D1 N1(c .) + D2 N2(c .) + D3+ N3+(c .) + the adjusted counts of pruned c x) / sum of a(c x) over x

with a the adjusted counts of `kernels.text.ngram_trie` and N over n-grams that are not pruned, as KenLM's lmplz has it
(Heafield et al. 2013, section 3). Below the unigrams stands 1 / V, V the words with <unk> and without <s>. Arithmetic
is lmplz's, single precision in the same order of operations, so results are the same but for the logarithm's last bit.

An n-gram finds its context by that of its end: the context of w1 .. wn is the child, with label w1, of the context of
w2 .. wn. Arrays of `next_order`: 14 bytes an n-gram of the order at hand and 47 one of the order below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from gristmill.kernels.text.ngram_counts import BEGIN
from gristmill.kernels.text.ngram_trie import PRUNED

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the counts give none: lmplz --discount_fallback."""


class Discounts(NamedTuple):
    amounts: np.ndarray  # (4,) float32: of counts 0, 1, 2, 3 and more
    fallback: bool


class Order(NamedTuple):
    """The n-grams of one order in suffix order, pruned ones included: what the next order needs of them."""

    labels: np.ndarray  # (n,) uint16: the first word
    counts: np.ndarray  # (n,) uint32 adjusted, with PRUNED
    starts: np.ndarray  # (n + 1,) int32: the first child, in the next order
    contexts: np.ndarray  # (n,) int32: the context's place in the order below; none for unigrams
    probs: np.ndarray  # (n,) float32, not a logarithm; 0 where pruned


def discounts(tally: Sequence[int]) -> Discounts:
    """Discounts of an order from its n-grams of adjusted count 1, 2, 3 and 4.

    The fallback where one of the first three is none, or a discount outside 0 to its count (lmplz, adjust_counts.cc).
    """
    n = [0, *tally]
    amounts = np.zeros(4, np.float32)
    if min(n[1:4]) > 0:
        y = np.float32(n[1]) / np.float32(n[1] + 2.0 * n[2])
        for j in (1, 2, 3):
            amounts[j] = np.float32(j) - np.float32(j + 1) * y * np.float32(n[j + 1]) / np.float32(n[j])
        if all(0 <= amounts[j] <= j for j in (1, 2, 3)):
            return Discounts(amounts, False)
    amounts[1:] = FALLBACK
    return Discounts(amounts, True)


def unigrams(counts: np.ndarray, children: np.ndarray, found: Discounts) -> Order:
    """The first order: all words by id, <unk> and <s> included, whose counts are 0.

    counts: (words,) uint32 adjusted; children: (words,) bigrams that end in each.
    """
    none = np.zeros(len(counts), np.int32)
    context, _ = _gammas(none, counts, 1, found.amounts)
    probs = _probs(np.array([0, len(counts)], np.int32), _uniform(len(counts)), none, counts, context, found.amounts)
    probs[BEGIN] = 1.0
    return Order(np.arange(len(counts), dtype=np.uint16), counts, _starts(children), none[:0], probs)


def next_order(
    below: Order,
    starts_below: np.ndarray | None,
    labels: np.ndarray,
    counts: np.ndarray,
    children: np.ndarray,
    found: Discounts,
) -> tuple[Order, np.ndarray, np.ndarray]:
    """The next order, and of the order `below`: backoffs, (n,) float32, and how many children are not pruned, (n,)
    uint32.

    starts_below: `starts` of the order below `below`, None where that is the unigrams. labels, counts, children: of the
    new order, as of `ngram_trie.Level`; no children: it is the highest. A backoff is log10 gamma; -0.0 where no n-gram
    of the new order continues this one, so that KenLM can forget it (lm/blank.hh). ValueError where the orders do not
    fit.
    """
    if starts_below is None:
        contexts = labels.astype(np.int32)
    else:
        contexts = _contexts(labels, below.starts, below.contexts, below.labels, starts_below)
        if len(contexts) < len(labels):
            raise ValueError("the context of an n-gram is not among the n-grams of the order below")
    context, continued = _gammas(contexts, counts, len(below.labels), found.amounts)
    probs = _probs(below.starts, below.probs, contexts, counts, context, found.amounts)
    order = Order(labels, counts, _starts(children), contexts, probs)
    return order, _backoffs(context, continued), _kept(below.starts, counts)


def logarithms(probs: np.ndarray) -> np.ndarray:
    """(n,) float32 log10, at most 0, rounded from double precision."""
    return _logarithms(probs)


def _starts(children: np.ndarray) -> np.ndarray:
    starts = np.zeros(len(children) + 1, np.int32)
    np.cumsum(children, out=starts[1:])
    return starts


def _uniform(words: int) -> np.ndarray:
    """1 / V, (1,) float32."""
    return np.array([1.0 / float(np.float32(words - 1))], np.float32)


@numba.njit(cache=True, nogil=True)
def _contexts(labels, starts, contexts, labels_below, starts_below):
    """(n,) int32; shorter where one is missing."""
    out = np.empty(len(labels), np.int32)
    for end in range(len(starts) - 1):
        if starts[end] == starts[end + 1]:
            continue
        place, stop = starts_below[contexts[end]], starts_below[contexts[end] + 1]
        for gram in range(starts[end], starts[end + 1]):
            place = _reach(labels_below, place, stop, labels[gram])
            if place == stop or labels_below[place] != labels[gram]:
                return out[:gram]
            out[gram] = place
    return out


@numba.njit(inline="always")
def _reach(values, begin, end, wanted):
    """The first place from `begin` on whose value is not below `wanted`: steps that double, then halves."""
    step = 1
    while begin + step < end and values[begin + step] < wanted:
        begin += step
        step *= 2
    low, high = begin, min(begin + step, end)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def _gammas(contexts, counts, n, amounts):
    """(n, 2) float32: gamma and denominator of every context, 0 of those that are none; (n,) bool: is continued."""
    sums = np.zeros((n, 5), np.uint32)  # all; pruned; those of count 1, 2, 3 and more
    for i in range(len(counts)):
        count = counts[i] & np.uint32(PRUNED - 1)
        row = sums[contexts[i]]
        row[0] += count
        if counts[i] >= PRUNED:
            row[1] += count
        elif count:
            row[1 + min(count, np.uint32(3))] += np.uint32(1)
    out = np.zeros((n, 2), np.float32)
    continued = np.zeros(n, np.bool_)
    for i in range(n):
        if sums[i, 0]:
            gamma = np.float32(0)
            for k in range(1, 4):
                gamma += amounts[k] * np.float32(sums[i, 1 + k])
            gamma += np.float32(sums[i, 1])
            out[i, 1] = np.float32(sums[i, 0])
            out[i, 0] = gamma / out[i, 1]
            continued[i] = sums[i, 1] < sums[i, 0]
    return out, continued


@numba.njit(cache=True, nogil=True)
def _probs(starts, below, contexts, counts, context, amounts):
    out = np.zeros(len(counts), np.float32)
    for end in range(len(starts) - 1):
        for i in range(starts[end], starts[end + 1]):
            if counts[i] < PRUNED:
                gamma, denominator = context[contexts[i], 0], context[contexts[i], 1]
                discounted = np.float32(counts[i]) - amounts[min(counts[i], np.uint32(3))]
                out[i] = discounted / denominator + gamma * below[end]
    return out


@numba.njit(cache=True, nogil=True)
def _backoffs(context, continued):
    out = np.empty(len(context), np.float32)
    for i in range(len(context)):
        value = np.float32(math.log10(np.float64(context[i, 0]))) if context[i, 1] > 0 else np.float32(0)
        out[i] = value if value != 0 else np.float32(0) if continued[i] else np.float32(-0.0)
    return out


@numba.njit(cache=True, nogil=True)
def _kept(starts, counts):
    out = np.zeros(len(starts) - 1, np.uint32)
    for end in range(len(out)):
        for i in range(starts[end], starts[end + 1]):
            out[end] += counts[i] < PRUNED
    return out


@numba.njit(cache=True, nogil=True)
def _logarithms(probs):
    out = np.empty(len(probs), np.float32)
    for i in range(len(probs)):
        out[i] = min(np.float32(0), np.float32(math.log10(np.float64(probs[i]))))
    return out
