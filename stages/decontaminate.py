"""Takes benchmark questions out of the text: whatever shares a gram of 13 words with a benchmark file.

A place that matches is removed with 200 characters on each side (Brown et al. 2020, appendix C; Megatron-LM,
filter_ngrams): the rest falls into pieces, those under 200 characters go too, and a document cut more than 10 times, or
of which nothing is left, is dropped. What words are and how long a gram is in Chinese or Thai says
`kernels.text.word_grams`. A question shorter than a gram counts as a whole where it has 8 words, the shortest length of
Brown et al.; a shorter one is skipped and counted in the index.

A document stays one document: its pieces are joined by a blank line. Edited text is looked through again until nothing
is found, so a second application changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.signals import with_columns

if TYPE_CHECKING:
    from gristmill.stages.decontamination_index import Benchmarks

SHORTEST_WORDS = 8
"""Brown et al. 2020, appendix C: grams of 8 to 13 words, by the length of the benchmark's questions."""
MAX_WORDS = 64


@dataclass(frozen=True)
class Decontaminate:
    benchmarks: tuple[str, ...] = ()
    """Files, folders or patterns of JSONL, JSON (plain, gz, zst) and Parquet: see `stages.benchmark_files`."""
    fields: tuple[str, ...] = ()
    """Fields of a record that hold its texts; none: all strings but those of `benchmark_files.METADATA`."""
    words: int = 13
    """Words of a gram; Brown et al. 2020, appendix C."""
    action: Literal["remove", "drop"] = "remove"
    """remove: the place and what stands around it; drop: the document."""
    margin_characters: int = 200
    """Removed on each side of a match, and on to the next white space; Brown et al. 2020, appendix C."""
    min_piece_characters: int = 200
    """Shorter pieces go; Brown et al. 2020, appendix C."""
    max_cuts: int = 10
    """A document cut more often is dropped; Brown et al. 2020, appendix C."""

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text",)
    adds: ClassVar[tuple[str, ...]] = ("contaminated", "contaminated_by")
    files: ClassVar[tuple[str, ...]] = ("benchmarks",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "benchmarks", tuple(self.benchmarks))
        object.__setattr__(self, "fields", tuple(self.fields))
        if not self.benchmarks:
            raise ValueError(
                'stages.decontaminate.benchmarks: names no file; give those to look for, as in ["evals/*.jsonl"]'
            )
        if not 2 <= self.words <= MAX_WORDS:
            raise ValueError(f"stages.decontaminate.words: {self.words} is out of range; give 2 to {MAX_WORDS}")
        for name in ("margin_characters", "min_piece_characters", "max_cuts"):
            if getattr(self, name) < 0:
                raise ValueError(f"stages.decontaminate.{name}: {getattr(self, name)} is negative; give 0 or more")
        if self.action not in ("remove", "drop"):
            raise ValueError(f"stages.decontaminate.action: unknown action {self.action!r}; use remove or drop")

    @property
    def edits(self) -> bool:
        return self.action == "remove"

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Edits `text`; fills contaminated (int64: matched grams, one for each word at which one begins),
        contaminated_by (string, by benchmark "gsm8k:12,mmlu:3", null where there is none), dropped_by, value, limit:

            decontaminate.overlap        action drop; value: grams, limit: 0
            decontaminate.too_many_cuts  value: cuts, limit: max_cuts
            decontaminate.nothing_left   value: characters of the longest piece, limit: min_piece_characters

        Rows without text, or already out, stay as they are, with nulls in the first two. Raises ValueError or
        RuntimeError where a benchmark file is of no use or a planted question is not found.
        """
        opened = _opened(self.benchmarks, self.words, self.fields)
        rows = batch.num_rows
        text, dropped = batch.column("text"), _column(batch, "dropped_by", pa.string())
        alive = pc.and_(text.is_valid(), dropped.is_null())
        if "quarantined_by" in batch.schema.names:
            alive = pc.and_(alive, batch.column("quarantined_by").is_null())
        at = np.flatnonzero(alive.to_numpy(zero_copy_only=False))

        texts = text if len(at) == rows else text.take(pa.array(at))
        found = _matches(texts, opened)
        grams = np.bincount(found[0], minlength=len(at))
        hit = np.flatnonzero(grams)
        reason: list[str | None] = [None] * rows
        value, limit = np.zeros(rows), np.zeros(rows)
        if self.action == "drop":
            for i in hit.tolist():
                reason[at[i]], value[at[i]] = "decontaminate.overlap", grams[i]
        elif len(hit):
            cleaned, cuts, longest = self._cleaned(texts.take(pa.array(hit)), opened)
            sizes = pc.binary_length(cleaned).to_numpy()
            for i, row in enumerate(at[hit].tolist()):
                if cuts[i] > self.max_cuts:
                    reason[row], value[row], limit[row] = "decontaminate.too_many_cuts", cuts[i], self.max_cuts
                elif sizes[i] == 0:
                    reason[row], value[row] = "decontaminate.nothing_left", longest[i]
                    limit[row] = self.min_piece_characters
            stays = np.array([reason[row] is None for row in at[hit].tolist()])
            # what is dropped keeps its text, which is what the ledger counts and shows
            text = _replaced(text, at[hit[stays]], cleaned.filter(pa.array(stays)))
        out = pa.array(reason, pa.string())
        leaves = out.is_valid().to_numpy(zero_copy_only=False)
        columns = {
            "contaminated": _scattered(pa.array(grams, pa.int64()), at, rows),
            "contaminated_by": _scattered(_described(found, len(at), opened), at, rows),
            "dropped_by": pc.coalesce(dropped, out),
            "value": pc.if_else(leaves, value, _column(batch, "value", pa.float64())),
            "limit": pc.if_else(leaves, limit, _column(batch, "limit", pa.float64())),
        }
        return with_columns(batch, {"text": text, **columns} if self.edits else columns)

    def tally(self, table: pa.Table) -> dict[str, int]:
        """'benchmark \\t source \\t documents' and '... grams' -> how many."""
        rows = contamination_report([table]).to_pylist()
        return {f"{row['benchmark']}\t{row['source']}\t{of}": row[of] for row in rows for of in ("documents", "grams")}

    def _cleaned(self, texts: pa.Array, opened: Benchmarks) -> tuple[pa.Array, np.ndarray, np.ndarray]:
        """The texts cut until nothing is found, their cuts and the characters of their longest pieces (int64).

        More than once, since the ends of two pieces may make a gram of a benchmark.
        """
        from gristmill.kernels.text.decontaminate import cut
        from gristmill.kernels.text.utf8 import buffers, table

        cuts, longest = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
        while (found := _matches(texts, opened)).shape[1]:
            data, offsets = buffers(texts)
            content, bounds, more, left = cut(
                *(data, offsets, found),
                *(self.margin_characters, max(1, self.min_piece_characters), self.max_cuts),
                table(),
            )
            cuts += more
            longest = np.where(more > 0, left, longest)
            texts = pa.Array.from_buffers(
                pa.large_string(), len(texts), [None, pa.py_buffer(bounds), pa.py_buffer(content)]
            )
        return texts, cuts, longest


def contamination_report(tables: Iterable[pa.Table | pa.RecordBatch]) -> pa.Table:
    """What was found where: benchmark, source (string), documents, grams (int64), most grams first.

    tables: with the columns source, contaminated and contaminated_by of this stage, one batch after the other.
    """
    totals: dict[tuple[str, str], list[int]] = {}
    for table in tables:
        found = table.filter(pc.greater(pc.fill_null(table.column("contaminated"), 0), 0))
        for source, described in zip(found.column("source").to_pylist(), found.column("contaminated_by").to_pylist()):
            for benchmark, grams in shares_of(described):
                entry = totals.setdefault((benchmark, source), [0, 0])
                entry[0] += 1
                entry[1] += grams
    rows = sorted(totals.items(), key=lambda item: (-item[1][1], item[0]))
    return pa.table(
        {
            "benchmark": pa.array([key[0] for key, _ in rows], pa.string()),
            "source": pa.array([key[1] for key, _ in rows], pa.string()),
            "documents": pa.array([counts[0] for _, counts in rows], pa.int64()),
            "grams": pa.array([counts[1] for _, counts in rows], pa.int64()),
        }
    )


def report_of_tallies(tallies: Mapping[str, int]) -> pa.Table:
    """The same table as `contamination_report`, from what `Decontaminate.tally` counted."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for name, number in tallies.items():
        benchmark, source, of = name.split("\t")
        found.setdefault((benchmark, source), {})[of] = number
    rows = sorted(found.items(), key=lambda item: (-item[1]["grams"], item[0]))
    columns = {"benchmark": [key[0] for key, _ in rows], "source": [key[1] for key, _ in rows]}
    return pa.table(columns | {of: [counts[of] for _, counts in rows] for of in ("documents", "grams")})


def shares_of(described: str | None) -> list[tuple[str, int]]:
    """(benchmark, grams) of a value of `contaminated_by`."""
    pairs = [part.rpartition(":") for part in described.split(",")] if described else []
    return [(name, int(grams)) for name, _, grams in pairs]


@lru_cache(maxsize=2)
def _opened(benchmarks: tuple[str, ...], words: int, fields: tuple[str, ...]) -> Benchmarks:
    from gristmill.stages.decontamination_index import open_index

    return open_index(benchmarks, words, min(words, SHORTEST_WORDS), fields)


def _matches(texts: pa.Array, opened: Benchmarks) -> np.ndarray:
    """(4, m) int64: row, first byte, byte after the last, entry; bytes counted in the array's own buffer."""
    from gristmill.kernels.text.decontaminate import find
    from gristmill.kernels.text.utf8 import buffers
    from gristmill.kernels.text.word_grams import letters

    data, offsets = buffers(texts)
    return find(data, offsets, opened.index, letters())


def _described(found: np.ndarray, rows: int, opened: Benchmarks) -> pa.Array:
    """Of each row its matched grams by benchmark, as in `contaminated_by`."""
    from gristmill.stages.decontamination_index import owners

    shares: dict[int, dict[str, int]] = {}
    pairs, counts = np.unique(found[[0, 3]], axis=1, return_counts=True)
    for row, entry, count in zip(*pairs.tolist(), counts.tolist()):
        mine = shares.setdefault(row, {})
        for name in owners(opened, entry):
            mine[name] = mine.get(name, 0) + count
    described: list[str | None] = [None] * rows
    for row, mine in shares.items():
        described[row] = ",".join(f"{name}:{grams}" for name, grams in sorted(mine.items()))
    return pa.array(described, pa.string())


def _column(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> Any:
    return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)


def _scattered(values: pa.Array, at: np.ndarray, rows: int) -> pa.Array:
    """`values` at the rows `at`, null elsewhere."""
    place = np.full(rows, -1, np.int64)
    place[at] = np.arange(len(at))
    return values.take(pa.array(place, mask=place < 0))


def _replaced(values: pa.Array, at: np.ndarray, new: pa.Array) -> pa.Array:
    """`values` with `new` at the rows `at`, which ascend."""
    mask = np.zeros(len(values), np.bool_)
    mask[at] = True
    return pc.replace_with_mask(values, pa.array(mask), new)
