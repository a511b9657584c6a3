"""Perplexity under a language model of the document's own language, and CCNet's buckets of it.

    measure   a document stage: `perplexity`, float64, by `kernels.text.perplexity`
    buckets   a corpus stage: `bucket`. Of each language: head, the documents below the 30th percentile of its
              perplexities; middle, below the 60th; tail, the rest (Wenzek et al. 2019, section 3.4)

Percentiles are those of the run's own documents, since perplexities of different models do not compare. They come from
histograms of integers, so they depend on no order. A document that nothing measured, code and languages without a
model, has no perplexity and is in the bucket `all`, which is always kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.extras import require
from gristmill.stages.interface import Round, Stage
from gristmill.stages.signals import with_columns

ENGINES = ("gristmill", "kenlm")
BUCKETS = ("head", "middle", "tail")
UNMEASURED = "all"  # CCNet's name for what has no model

BINS_PER_OCTAVE = 64
"""A cutoff is the upper edge of the bin in which the percentile falls: at most 2^(1/64), 1.1 %, above it."""
_EDGES = 2.0 ** (np.arange(BINS_PER_OCTAVE + 1) / BINS_PER_OCTAVE - 1)  # of the bins of one octave, 0.5 to 1

HISTOGRAM = pa.schema(
    [
        pa.field("language", pa.string(), nullable=False),
        pa.field("bin", pa.int32(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("handle", pa.uint64(), nullable=False),  # one of the partition's, where the answer is to go
    ]
)
CUTOFFS = pa.schema(
    [
        pa.field("handle", pa.uint64(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("head", pa.float64(), nullable=False),  # below this
        pa.field("middle", pa.float64(), nullable=False),  # below this and not head
        pa.field("documents", pa.int64(), nullable=False),  # measured, of the language
    ]
)


@dataclass(frozen=True)
class Perplexity:
    """Measures perplexity and sorts documents into head, middle and tail.

    models: folder with a folder for each language, as `gristmill lm train` writes it.
    keep: buckets that stay, such as head and middle; empty: all. What is dropped is dropped by perplexity.bucket.
    percentiles: where head and middle end.
    limit: a fixed upper limit of perplexity, or one for each language named; above it: dropped by perplexity.limit.
        Such documents are not counted in percentiles. A limit belongs to the model it was found with.
    engine: gristmill, `kernels.text.perplexity`; or kenlm, SentencePiece and KenLM from Python: the same figures,
        several times slower.
    """

    models: str = "models/lm"
    keep: tuple[str, ...] = ()
    percentiles: tuple[float, ...] = (30, 60)
    limit: float | Mapping[str, float] | None = field(default=None, hash=False)
    engine: Literal["gristmill", "kenlm"] = "gristmill"

    name: ClassVar[str] = "perplexity"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "language", "domain")
    adds: ClassVar[tuple[str, ...]] = ("perplexity", "bucket")
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("models",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", tuple(self.keep))
        object.__setattr__(self, "percentiles", tuple(self.percentiles))
        self.parts()

    @property
    def libraries(self) -> tuple[str, ...]:
        return _libraries(self.engine)

    def parts(self) -> tuple[Stage, ...]:
        return (Measure(self.models, self.limit, self.engine), Buckets(self.keep, self.percentiles))


@dataclass(frozen=True)
class Measure:
    """Adds `perplexity` to documents of a language that has a model; null for others and for code."""

    models: str = "models/lm"
    limit: float | Mapping[str, float] | None = field(default=None, hash=False)
    engine: Literal["gristmill", "kenlm"] = "gristmill"

    name: ClassVar[str] = "perplexity"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "language", "domain")
    adds: ClassVar[tuple[str, ...]] = ("perplexity",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("models",)

    def __post_init__(self) -> None:
        limits = self.limit if isinstance(self.limit, Mapping) else {"": self.limit}
        for language, value in limits.items():
            if value is not None and not value > 0:
                where = f"perplexity.limit.{language}" if language else "perplexity.limit"
                raise ValueError(f"{where} is {value}: give a perplexity above 0, or leave it out")
        if self.engine not in ENGINES:
            raise ValueError(f"perplexity.engine is {self.engine!r}: use {' or '.join(ENGINES)}")
        for package in self.libraries:
            require(package, f"perplexity.engine: {self.engine}")

    @property
    def libraries(self) -> tuple[str, ...]:
        return _libraries(self.engine)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Fills `perplexity` and, with a limit, dropped_by (perplexity.limit), value and limit.

        Rows that have no text or are already out stay as they are, with a null perplexity.
        """
        found = self._measured(batch)
        columns: dict[str, pa.Array] = {"perplexity": found}
        if self.limit is not None:
            limits = _limits(batch.column("language"), self.limit)
            columns |= _verdict(
                batch, pc.fill_null(pc.greater(found, limits), False), "perplexity.limit", found, limits
            )
        return with_columns(batch, columns)

    def _measured(self, batch: pa.RecordBatch) -> pa.Array:
        from gristmill.kernels.text.perplexity import models, open_model, perplexities
        from gristmill.kernels.text.utf8 import buffers
        from gristmill.stages import perplexity_kenlm

        text, language = batch.column("text"), batch.column("language")
        alive = pc.and_(text.is_valid(), pc.fill_null(pc.not_equal(batch.column("domain"), "code"), True))
        for name in ("dropped_by", "quarantined_by"):
            if name in batch.schema.names:
                alive = pc.and_(alive, batch.column(name).is_null())
        values = np.full(batch.num_rows, np.nan)
        present = set(language.filter(alive).unique().to_pylist())
        for each in [name for name in models(self.models) if name in present]:
            rows = np.flatnonzero(pc.fill_null(pc.and_(alive, pc.equal(language, each)), False))
            texts = text if len(rows) == len(text) else text.take(pa.array(rows))
            if self.engine == "kenlm":
                values[rows] = perplexity_kenlm.perplexities(f"{self.models}/{each}", texts)
            else:
                values[rows] = perplexities(open_model(f"{self.models}/{each}"), *buffers(texts))
        return pa.array(values, mask=np.isnan(values))


@dataclass(frozen=True)
class Buckets:
    """Adds `bucket`; drops what is in none of those to keep."""

    keep: tuple[str, ...] = ()
    percentiles: tuple[float, ...] = (30, 60)

    name: ClassVar[str] = "perplexity_buckets"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("language", "perplexity")
    adds: ClassVar[tuple[str, ...]] = ("bucket",)
    edits: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if unknown := [name for name in self.keep if name not in BUCKETS]:
            raise ValueError(f"perplexity.keep has {unknown[0]!r}: use {', '.join(BUCKETS)}, or leave it empty for all")
        if len(self.percentiles) != 2 or not 0 < self.percentiles[0] < self.percentiles[1] < 100:
            given = ", ".join(map(str, self.percentiles))
            raise ValueError(f"perplexity.percentiles is ({given}): give two, rising, between 0 and 100")

    def rounds(self) -> tuple[Round, ...]:
        return (
            Round("histogram", over="documents", send="one", columns=("language", "perplexity")),
            Round("cutoffs", over="exchange", send="document"),
        )

    def histogram(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.Table:
        """Rows of schema `HISTOGRAM`: documents of each language in each bin."""
        measured = pc.and_(batch.column("perplexity").is_valid(), batch.column("language").is_valid())
        rows = pa.table(
            {
                "language": batch.column("language").filter(measured).cast(pa.string()),
                "bin": bins(batch.column("perplexity").filter(measured).to_numpy(zero_copy_only=False)),
                "handle": batch.column("handle").filter(measured),
            }
        )
        counted = rows.group_by(["language", "bin"], use_threads=False).aggregate(
            [("handle", "count"), ("handle", "min")]
        )
        counted = counted.sort_by([("language", "ascending"), ("bin", "ascending")])
        names = ("language", "bin", "handle_count", "handle_min")
        return pa.Table.from_arrays([counted.column(name).combine_chunks() for name in names], schema=HISTOGRAM)

    def cutoffs(self, table: pa.Table) -> pa.Table:
        """Rows of schema `CUTOFFS`: for every partition its languages' cutoffs over the whole corpus."""
        languages = table.column("language").to_pylist()
        number, count = (table.column(name).to_numpy() for name in ("bin", "count"))
        of = np.array(languages)
        found = {name: percentiles(number[of == name], count[of == name], self.percentiles) for name in set(languages)}
        size = {name: int(count[of == name].sum()) for name in found}
        handles: dict[tuple[int, str], int] = {}
        for handle, name in zip(table.column("handle").to_pylist(), languages, strict=True):
            place = (handle >> 32, name)
            handles[place] = min(handle, handles.get(place, handle))
        rows = [(handles[place], place[1], *found[place[1]], size[place[1]]) for place in sorted(handles)]
        columns = zip(*rows, strict=True) if rows else ([] for _ in CUTOFFS)
        return pa.Table.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, CUTOFFS, strict=True)], schema=CUTOFFS
        )

    def decide(self, batch: pa.RecordBatch, received: pa.Table | None) -> pa.RecordBatch:
        """Adds `bucket` and, for what is not kept, dropped_by (perplexity.bucket), value (the perplexity) and limit
        (the cutoff between it and the nearest bucket that is kept)."""
        rows = {row["language"]: row for row in (CUTOFFS.empty_table() if received is None else received).to_pylist()}
        language = batch.column("language").dictionary_encode()
        names = language.dictionary.to_pylist()
        table = np.array([[rows[n]["head"], rows[n]["middle"]] if n in rows else [np.nan] * 2 for n in [*names, None]])
        cutoff = table[pc.fill_null(language.indices, len(names)).to_numpy(zero_copy_only=False)]  # (rows, 2)
        value = pc.fill_null(batch.column("perplexity"), np.nan).to_numpy(zero_copy_only=False)
        measured = ~(np.isnan(value) | np.isnan(cutoff[:, 0]))
        place = (value >= cutoff[:, 0]).astype(np.int64) + (value >= cutoff[:, 1])
        bucket = np.where(measured, np.array(BUCKETS, object)[place], UNMEASURED)
        columns: dict[str, pa.Array] = {"bucket": pa.array(bucket, pa.string())}
        if self.keep:
            kept = np.array([name in self.keep for name in BUCKETS])
            limit = np.choose(self._nearest()[place], cutoff.T)
            out = pa.array(measured & ~kept[place])
            columns |= _verdict(batch, out, "perplexity.bucket", batch.column("perplexity"), pa.array(limit))
        return with_columns(batch, columns)

    def _nearest(self) -> np.ndarray:
        """(3,): for each bucket which cutoff, 0 or 1, parts it from the nearest bucket that is kept, a better first."""
        kept = [BUCKETS.index(name) for name in self.keep]
        nearest = [min(kept, key=lambda other: (abs(other - i), other)) for i in range(len(BUCKETS))]
        return np.array([other if other < i else max(other - 1, 0) for i, other in enumerate(nearest)])


def _libraries(engine: str) -> tuple[str, ...]:
    return ("sentencepiece", "kenlm") if engine == "kenlm" else ("sentencepiece",)


def bins(perplexity: np.ndarray) -> np.ndarray:
    """(n,) int32: bin of each perplexity > 0; bin b is 2^(b / 64) up to 2^((b + 1) / 64), the upper edge outside."""
    mantissa, exponent = np.frexp(perplexity)  # mantissa 0.5 up to 1
    within = np.searchsorted(_EDGES, mantissa, "right") - 1
    numbers: np.ndarray = ((exponent - 1) * BINS_PER_OCTAVE + within).astype(np.int32)
    return numbers


def upper_edge(number: int) -> float:
    """Smallest perplexity above bin `number`, the same float64 that `bins` compares with."""
    octave, within = divmod(number + 1, BINS_PER_OCTAVE)
    return float(np.ldexp(_EDGES[within], octave + 1))


def percentiles(number: np.ndarray, count: np.ndarray, wanted: tuple[float, ...]) -> tuple[float, ...]:
    """Perplexity below which at least that many per cent of the documents are, at the resolution of bins.

    number, count: (n,) bins, in any order and repeated, and the documents in each; at least one document.
    """
    order, inverse = np.unique(number, return_inverse=True)
    total = np.zeros(len(order), np.int64)
    np.add.at(total, inverse, count)
    below = np.cumsum(total)
    return tuple(upper_edge(int(order[np.argmax(below * 100 >= each * below[-1])])) for each in wanted)


def _limits(language: pa.Array, limit: float | Mapping[str, float]) -> pa.Array:
    if not isinstance(limit, Mapping):
        return pa.array(np.full(len(language), float(limit)))
    place = pc.index_in(language, pa.array(list(limit), pa.string()))
    return pa.array(list(limit.values()), pa.float64()).take(place)


def _verdict(
    batch: pa.RecordBatch, out: pa.Array, reason: str, value: pa.Array, limit: pa.Array
) -> dict[str, pa.Array]:
    """Verdict columns with `reason` for the rows that are `out`, and for the others what the batch says."""

    def own(name: str, kind: pa.DataType) -> pa.Array:
        return batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)

    out = pc.and_(out, own("dropped_by", pa.string()).is_null())
    return {
        "dropped_by": pc.if_else(out, pa.scalar(reason), own("dropped_by", pa.string())),
        "value": pc.if_else(out, value, own("value", pa.float64())),
        "limit": pc.if_else(out, limit, own("limit", pa.float64())),
    }
