"""From ids to the n-grams of one language with their adjusted counts, in partitions that follow from the words alone.

    lm/<language>/count     one task a file of ids: distinct n-grams of the highest order, sent by the words they end in
    lm/<language>/adjust    one task a partition: merged, as levels of the trie with adjusted counts

A partition is a range of pairs of last words, so all n-grams that end in a pair meet, and the partitions end to end are
in suffix order. Memory: a sender holds `CHUNK_WORDS` words, a receiver the n-grams of about `PART_WORDS` words, 80 and
90 bytes a word, measured on English, order 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gristmill.kernels.text.ngram_counts import BEGIN, END, Counts, count, merge
from gristmill.kernels.text.ngram_trie import Level, build, count_of_counts, recount
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, receive_table
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.sending import Sender
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.models.lm.columns import write
from gristmill.pipeline.models.lm.pieces import IdStats, NotTrainable, Words, lines_in_ids
from gristmill.pipeline.steps.chain import KERNELS
from gristmill.storage.store import Store

CHUNK_WORDS = 4_000_000
PART_WORDS = 4_000_000
MAX_TOKENS = (1 << 31) - 1
"""Counts and places of n-grams have 31 bits."""


@dataclass(frozen=True, slots=True)
class Counting:
    order: int
    word_of_piece: np.ndarray
    bounds: np.ndarray
    """(partitions - 1,) int64: the first pair, last word << 16 | word before it, of each partition but the first."""
    chunk_words: int


@dataclass(frozen=True, slots=True)
class Adjusting:
    order: int
    prune: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AdjustStats(Stats):
    """By order, from 1; nothing where there were no n-grams."""

    tallies: tuple[tuple[int, ...], ...]
    last: tuple[tuple[int, ...], ...]
    """What `recount` needs of the last n-gram."""


@dataclass(frozen=True)
class Adjusted:
    """What `lm/<language>/adjust` left. The lists are by order, from 1."""

    files: list[list[File]]
    rows: list[int]
    tallies: list[list[int]]
    """`count_of_counts`; of the first order not yet known."""
    step: Sealed[AdjustStats]


def adjusted(
    engine: Engine,
    language: str,
    encoded: Sealed[IdStats],
    words: Words,
    order: int,
    prune: Sequence[int],
    *,
    max_segments: int,
) -> Adjusted:
    if words.tokens + words.lines > MAX_TOKENS:
        raise NotTrainable(
            f"{language}: {words.tokens:,} pieces are more than a model is trained on ({MAX_TOKENS:,}); take a sample "
            "with --max-bytes"
        )
    bounds = partition_bounds(words, 1 + (words.tokens + words.lines) // PART_WORDS)
    counting = Counting(order, words.of_pieces(), bounds, CHUNK_WORDS)
    sent = engine.step(f"lm/{language}/count", COUNT, encoded.files(Role.IDS), counting, upstream=[encoded])
    incoming = merged(engine, sent, len(bounds) + 1, max_segments)
    adjusting = Adjusting(order, tuple(prune))
    step = engine.step(f"lm/{language}/adjust", ADJUST, incoming, adjusting, upstream=[sent])
    by_order: list[list[File]] = [[] for _ in range(order)]
    tallies = np.zeros((order, 6), np.int64)
    last = np.zeros((order, 2), np.int64)
    for _, manifest in step.done():
        if manifest.files:
            for file in manifest.all(Role.ORDER):
                by_order[int(file.name) - 1].append(file)
            tallies += manifest.stats.tallies
            last = np.array(manifest.stats.last)
    for n in range(1, order - 1):
        tallies[n] = recount(tallies[n].tolist(), *last[n].tolist())
    rows = [sum(file.rows for file in files) for files in by_order]
    return Adjusted(by_order, rows, tallies.tolist(), step)


def partition_bounds(words: Words, partitions: int) -> np.ndarray:
    """Bounds that cut the text into about equal parts, as if a word's predecessors were those of any other."""
    last = words.counts.copy()
    last[BEGIN] = 0
    before = words.counts.copy()
    before[END] = 0
    ends = np.cumsum(last)
    ends_before = np.cumsum(before)
    bounds = []
    for part in range(1, partitions):
        target = int(ends[-1]) * part // partitions
        word = int(np.searchsorted(ends, target, "right"))
        inside = (target - int(ends[word] - last[word])) / int(last[word])
        bounds.append(word << 16 | int(np.searchsorted(ends_before, inside * int(ends_before[-1]), "right")))
    return np.unique(np.array(bounds, np.int64))


def count_ngrams(task: Task[File, Counting]) -> None:
    work = task.shared
    held: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    size = 0
    with Sender(task.output) as sender:

        def flush() -> None:
            nonlocal size
            if size:
                send(sender, count(np.concatenate(held), np.concatenate(ends), work.order), work.bounds)
            held.clear()
            ends.clear()
            size = 0

        for pieces, stops in lines_in_ids(task.store, task.payload):
            found = work.word_of_piece[pieces]
            known = np.concatenate([[0], np.cumsum(found > 0)])
            start = first = 0
            while first < len(stops):  # as many lines as there is room for, or one
                room = max(0, work.chunk_words - size)
                lines = int(np.searchsorted(stops[first:] - start + np.arange(len(stops) - first), room, "right"))
                if not lines and size:
                    flush()
                    continue
                end = int(stops[first + max(1, lines) - 1])
                part = found[start:end]
                ends.append(known[stops[first : first + max(1, lines)]] - known[start] + sum(map(len, held)))
                held.append(part[part > 0])
                size += end - start + max(1, lines)
                start, first = end, first + max(1, lines)
        flush()


COUNT = Step(count_ngrams, libraries=KERNELS)


def send(sender: Sender, grams: Counts, bounds: np.ndarray) -> None:
    pair = (grams.high >> np.uint64(32)).astype(np.int64)
    starts = np.searchsorted(pair, bounds)
    partition = np.zeros(len(pair), np.int64)
    np.add.at(partition, starts[starts < len(pair)], 1)
    table = pa.table({name: pa.array(column) for name, column in zip(grams._fields, grams, strict=True)})
    sender.add(table, np.cumsum(partition))


def adjust(task: Task[Incoming, Adjusting]) -> AdjustStats:
    order = task.shared.order
    grams = received(task.store, task.payload)
    if grams is None:
        return AdjustStats((), ())
    levels = build(grams, order, task.shared.prune)
    del grams
    for n, level in enumerate(levels):
        columns = {"labels": level.labels, "counts": level.counts, "children": level.children}
        if n == order - 1:
            del columns["children"]
        write(task.output, Role.ORDER, columns, str(n + 1))
    tallies = tuple(tuple(tally(n, level)) for n, level in enumerate(levels))
    return AdjustStats(tallies, tuple(tuple(level.last) for level in levels))


ADJUST = Step(adjust, libraries=KERNELS)


def received(store: Store, incoming: Incoming) -> Counts | None:
    """The n-grams of a partition in one ascending run; those of each sender are one."""
    table = receive_table(store, incoming)
    if table is None:
        return None
    return merge(Counts(*(table.column(name).to_numpy() for name in Counts._fields)))


def tally(n: int, level: Level) -> list[int]:
    """Nothing of the first order: a word may end n-grams of two partitions."""
    return count_of_counts(level.counts) if n else [0] * 6
