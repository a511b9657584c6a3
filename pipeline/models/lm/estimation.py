"""From adjusted counts to weights, and from weights to KenLM's files.

    lm/<language>/estimate  one task: interpolated modified Kneser-Ney probs and backoffs (`kernels.text.kneser_ney`)
    lm/<language>/write     two tasks: `lm.binary` (`kernels.text.probing`) and `lm.arpa` (`kernels.text.arpa`)

A context's n-grams lie anywhere in suffix order, so one task holds two neighbouring orders of a language at a time,
pruned n-grams included: some 75 bytes a piece of text, measured on 5.7 million pieces of English, order 5. What it
writes are the n-grams that stay; the writing tasks hold two orders of those, 70 bytes a piece where none is pruned.
Text that needs more than `runtime.memory_per_worker` is refused before it is counted.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from gristmill.kernels.text import arpa, probing
from gristmill.kernels.text.kneser_ney import Discounts, Order, discounts, logarithms, next_order, unigrams
from gristmill.kernels.text.ngram_trie import PRUNED, count_of_counts, recount
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.identity import UPSTREAM
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.models.lm.columns import read, write
from gristmill.pipeline.models.lm.ngrams import Adjusted
from gristmill.pipeline.models.lm.pieces import Words
from gristmill.pipeline.steps.chain import KERNELS, TABLES
from gristmill.storage.hashing import HashingFile
from gristmill.storage.store import Store

BYTES_A_PIECE = 75
ARPA_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Estimating:
    rows: tuple[int, ...]
    """N-grams by order, pruned ones included."""
    tallies: tuple[tuple[int, ...], ...]
    words: int
    last_count: int
    """Occurrences of the last word."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Files by order, from 1."""

    files: tuple[tuple[File, ...], ...] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class EstimateStats(Stats):
    """By order, from 1."""

    seen: tuple[int, ...]
    kept: tuple[int, ...]
    discounts: tuple[tuple[float, ...], ...]
    fallback: tuple[int, ...]
    """Orders whose discounts are not their counts' own."""


def estimated(engine: Engine, language: str, adjusted: Adjusted, words: Words) -> Sealed[EstimateStats]:
    """Its files have the role `order`: labels, probs, backoffs (log10), children; its statistics are of the orders."""
    shared = Estimating(
        tuple(adjusted.rows),
        tuple(map(tuple, adjusted.tallies)),
        len(words.counts),
        int(words.counts[-1]),
    )
    orders = Orders(tuple(map(tuple, adjusted.files)))
    return engine.step(f"lm/{language}/estimate", ESTIMATE, [orders], shared, upstream=[adjusted.step])


def estimate(task: Task[Orders, Estimating]) -> EstimateStats:
    work, files = task.shared, task.payload.files
    order, tally, found = first_order(task.store, files[0], work)
    tallies = [tally, *work.tallies[1:]]
    given = [found]
    starts_below: np.ndarray | None = None
    for n in range(2, len(files) + 1):
        columns = read(task.store, files[n - 1], work.rows[n - 1])
        given.append(discounts(tallies[n - 1][2:]))
        none = np.zeros(0, np.uint32)
        children = columns.get("children", none)
        following, backoffs, kept = next_order(
            order, starts_below, columns["labels"], columns["counts"], children, given[-1]
        )
        write_order(task.output, n - 1, order, backoffs, kept)
        del columns, children, backoffs, kept
        starts_below = order.starts
        order = following
    write_order(task.output, len(files), order, None, None)
    return EstimateStats(
        seen=tuple(int(each[0]) for each in tallies),
        kept=tuple(int(each[1]) for each in tallies),
        discounts=tuple(tuple(float(amount) for amount in each.amounts[1:]) for each in given),
        fallback=tuple(n + 1 for n, each in enumerate(given) if each.fallback),
    )


ESTIMATE = Step(estimate, libraries=KERNELS)


def first_order(store: Store, files: Sequence[File], work: Estimating) -> tuple[Order, list[int], Discounts]:
    """The unigrams, their tally and discounts. A word whose bigrams are in two partitions is in both."""
    columns = read(store, files, work.rows[0])
    counts = np.zeros(work.words, np.uint32)
    np.add.at(counts, columns["labels"], columns["counts"])
    tally = recount(count_of_counts(counts), int(counts[-1]), work.last_count)
    found = discounts(tally[2:])
    return unigrams(counts, counts, found), tally, found


def write_order(output: Output, n: int, order: Order, backoffs: np.ndarray | None, children: np.ndarray | None) -> None:
    """The n-grams that are not pruned."""
    kept = order.counts < PRUNED
    columns = {"labels": order.labels[kept], "probs": logarithms(order.probs[kept])}
    if backoffs is not None and children is not None:
        columns |= {"backoffs": backoffs[kept], "children": children[kept]}
    write(output, Role.ORDER, columns, str(n))


# -- KenLM's files -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What to write, from the n-grams of every order."""

    name: str
    orders: tuple[File, ...] = field(metadata=UPSTREAM)


@dataclass(frozen=True, slots=True)
class Spelling:
    words: tuple[bytes, ...]


def written(
    engine: Engine, language: str, weights: Sealed[EstimateStats], spelled: Sequence[bytes], kind: str
) -> Sealed[None]:
    """Its files are `lm.binary`, and `lm.arpa` or `lm.arpa.gz`. kind: plain, gz or none of the latter."""
    manifest = weights.manifests[0]
    if manifest is None:
        raise OSError(f"{weights.name} is missing; run again")
    names = ["lm.binary", *{"plain": ["lm.arpa"], "gz": ["lm.arpa.gz"], "none": []}[kind]]
    inputs = [ModelFile(name, manifest.files) for name in names]
    return engine.step(f"lm/{language}/write", WRITE, inputs, Spelling(tuple(spelled)), upstream=[weights])


def write_model(task: Task[ModelFile, Spelling]) -> None:
    name, files, spelled = task.payload.name, task.payload.orders, task.shared.words
    with task.output.open(Role.LANGUAGE_MODEL, f".{name.partition('.')[2]}", name) as file:
        parts = (binary if name == "lm.binary" else arpa_text)(task.store, files, spelled)
        with ExitStack() as stack:
            sink: HashingFile | gzip.GzipFile = file
            if name.endswith(".gz"):
                sink = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
            for part in parts:
                sink.write(part)
                del part  # a table, which need not wait for the next one


WRITE = Step(write_model, libraries=(*TABLES, "numba"))


def levels(store: Store, files: Sequence[File]) -> Iterator[dict[str, np.ndarray]]:
    for n in range(1, len(files) + 1):
        found = [file for file in files if file.name == str(n)]
        yield read(store, found, found[0].rows)


def binary(store: Store, files: Sequence[File], spelled: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """The parts of `lm.binary` one after the other."""
    yield probing.header([file.rows for file in files])
    yield probing.vocabulary(spelled)
    keys = probing.first_keys(len(spelled))
    children = np.zeros(0, np.uint32)
    for n, level in enumerate(levels(store, files)):
        if n:
            keys = probing.next_keys(keys, children, level["labels"])
        if "backoffs" not in level:
            yield probing.longest_table(keys, level["probs"]).reshape(-1).view(np.uint8).data
            break
        children = level["children"]
        weights = level["probs"], level["backoffs"], children > 0
        yield probing.unigrams(*weights) if n == 0 else probing.table(keys, *weights).reshape(-1).view(np.uint8).data
    yield b"".join(word + b"\0" for word in spelled)


def arpa_text(store: Store, files: Sequence[File], spelled: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """The text of `lm.arpa`, some rows at a time."""
    words = arpa.as_words(list(spelled))
    counts = "".join(f"ngram {n}={file.rows}\n" for n, file in enumerate(files, 1))
    yield f"\\data\\\n{counts}\n".encode()
    ids = np.arange(len(spelled), dtype=np.uint16)[:, None]
    children = np.zeros(0, np.uint32)
    for n, level in enumerate(levels(store, files), 1):
        if n > 1:
            ids = arpa.next_ids(ids, children, level["labels"])
        children = level.get("children", children)
        yield f"\\{n}-grams:\n".encode()
        for start in range(0, len(ids), ARPA_ROWS):
            part = slice(start, start + ARPA_ROWS)
            backoffs = level["backoffs"][part] if "backoffs" in level else None
            yield arpa.lines(level["probs"][part], backoffs, ids[part], words)
        yield b"\n"
    yield b"\\end\\\n"
