"""From documents to normalised lines, by language: the only pass over the text.

    lm/categories   one task a partition of curated documents: documents by language and category
    lm/lines        one task a partition: for every language a file of lines, each with its document's draw

A line is what stands between two U+000A, normalised as by CCNet (`kernels.text.ccnet_normalise`); where nothing is left
there is no line: lines are those that `kernels.text.perplexity` scores. A sample of a language are the documents whose
draw is below a threshold, so that a smaller sample is part of a larger one; what the threshold for some bytes is
follows from a histogram of the draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gristmill.kernels.text.ccnet_normalise import normalise
from gristmill.kernels.text.draw import draw
from gristmill.kernels.text.perplexity import MAX_LINE_BYTES
from gristmill.kernels.text.utf8 import buffers
from gristmill.pipeline.engine.commit import ParquetOutput
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.manifest import File, Role, Sealed, Stats
from gristmill.pipeline.engine.task import Step, Task
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.steps.chain import KERNELS, TABLES
from gristmill.pipeline.steps.first_pass import Input
from gristmill.pipeline.steps.published import row_group
from gristmill.pipeline.steps.tokens import batches
from gristmill.stages.languages import iso_code
from gristmill.storage.store import Store
from gristmill.storage.uris import open_input

BINS = 256
BATCH_BYTES = 4_000_000
LINES = pa.schema([pa.field("line", pa.large_string()), pa.field("draw", pa.uint64())])
NAME = re.compile("[a-z]{2,3}")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tasks share. `categories`: of curated documents, by language; None: all; a language not named: none."""

    curated: bool
    languages: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...] | None]
    seed: int
    max_document_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """The lines of one language, and how many there are."""

    language: str
    files: tuple[File, ...]
    documents: int
    lines: int
    bytes: int
    histogram: tuple[int, ...]
    """Bytes by the draws' upper 8 bits."""

    def threshold(self, max_bytes: int | None) -> int:
        """Documents with a draw below it hold about `max_bytes`; 2^64 for all."""
        if max_bytes is None or self.bytes <= max_bytes:
            return 1 << 64
        ends = np.cumsum(self.histogram)
        last = int(np.searchsorted(ends, max_bytes, "right"))
        before = int(ends[last - 1]) if last else 0
        part = (max_bytes - before) * (1 << 56) // max(1, self.histogram[last])
        return (last << 56) + part


@dataclass(frozen=True, slots=True)
class CategoryStats(Stats):
    documents: dict[str, dict[str, int]]
    """By language and category."""


def count_categories(engine: Engine, inputs: Sequence[Input]) -> dict[str, dict[str, int]]:
    """Curated documents by language and category; code is left out."""
    counted = engine.step("lm/categories", CATEGORIES, list(inputs), None)
    found: dict[str, dict[str, int]] = {}
    for _, manifest in counted.done():
        for language, categories in manifest.stats.documents.items():
            entry = found.setdefault(language, {})
            for category, number in categories.items():
                entry[category] = entry.get(category, 0) + number
    return found


def categories_of(task: Task[Input, None]) -> CategoryStats:
    found: dict[str, dict[str, int]] = {}
    for table in curated_tables(task.payload, ["language", "category", "domain"]):
        sums = table.group_by(["language", "category", "domain"]).aggregate([([], "count_all")])
        for row in sums.to_pylist():
            if row["domain"] != "code" and row["language"]:
                entry = found.setdefault(row["language"], {})
                category = row["category"] or ""
                entry[category] = entry.get(category, 0) + row["count_all"]
    return CategoryStats({language: dict(sorted(found[language].items())) for language in sorted(found)})


CATEGORIES = Step(categories_of, libraries=TABLES)


def curated_tables(given: Input, columns: Sequence[str]) -> Iterator[pa.Table]:
    for segment in given.partition.segments:
        with open_input(segment.uri) as handle:
            parquet = pq.ParquetFile(handle)
            groups = range(segment.start, segment.end)
            for group in groups if segment.unit == "row_groups" else range(parquet.num_row_groups):
                yield row_group(parquet, segment.path, group, columns)


@dataclass(frozen=True, slots=True)
class LinesOf:
    """What a task wrote of one language."""

    documents: int
    lines: int
    bytes: int
    histogram: tuple[int, ...]
    """Bytes by the draws' upper 8 bits."""


@dataclass(frozen=True, slots=True)
class LineStats(Stats):
    languages: dict[str, LinesOf]
    unnamed: int
    """Documents that do not say their language."""


def split_lines(engine: Engine, inputs: Sequence[Input], reading: Reading) -> Sealed[LineStats]:
    """The step `lm/lines`; its files have the role `lines`, and languages as names."""
    return engine.step("lm/lines", SPLIT, list(inputs), reading)


def by_language(step: Sealed[LineStats]) -> dict[str, Source]:
    totals: dict[str, np.ndarray] = {}
    files: dict[str, list[File]] = {}
    for _, manifest in step.done():
        for language, found in manifest.stats.languages.items():
            total = totals.setdefault(language, np.zeros(3 + BINS, np.int64))
            total += [found.documents, found.lines, found.bytes, *found.histogram]
        for file in manifest.all(Role.LINES):
            files.setdefault(file.name, []).append(file)
    result = {}
    for language in sorted(totals):
        documents, lines, size, *bins = totals[language].tolist()
        result[language] = Source(language, tuple(files[language]), documents, lines, size, tuple(bins))
    return result


@dataclass
class Written:
    """One language's file of a task, as it grows."""

    writer: ParquetOutput
    documents: int = 0
    lines: int = 0
    bytes: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def counted(self) -> LinesOf:
        return LinesOf(self.documents, self.lines, self.bytes, tuple(self.histogram.tolist()))


def lines_of(task: Task[Input, Reading]) -> LineStats:
    reading = task.shared
    unnamed = 0
    written: dict[str, Written] = {}
    with ExitStack() as stack:
        for table in documents(task.payload, reading):
            names = language_names(table, reading)
            unnamed += names.count(None)
            for language in sorted({name for name in names if name}):
                rows = table.filter(pa.array([name == language for name in names]))
                draws = draw(reading.seed, "lm", rows.column("id").combine_chunks())
                lines, place = normalised_lines(rows.column("text").combine_chunks())
                if language not in written:
                    context = task.output.parquet(Role.LINES, LINES, name=language)
                    written[language] = Written(stack.enter_context(context))
                entry = written[language]
                entry.writer.write(pa.table([lines, pa.array(draws[place])], schema=LINES))
                _, ends = buffers(lines)
                entry.documents += rows.num_rows
                entry.lines += len(lines)
                entry.bytes += int(ends[-1] - ends[0])
                entry.histogram += np.bincount(draws[place] >> np.uint64(56), np.diff(ends), BINS).astype(np.int64)
    return LineStats({name: entry.counted() for name, entry in sorted(written.items())}, unnamed)


SPLIT = Step(lines_of, libraries=(*KERNELS, "resiliparse"))


def documents(given: Input, reading: Reading) -> Iterator[pa.Table]:
    """Documents that have text: id, text, language, category, domain."""
    columns = ["id", "text", "language", "category", "domain"]
    if reading.curated:
        yield from curated_tables(given, columns)
        return
    limit = reading.max_document_bytes
    for batch in read(given.partition, given.spec, max_document_bytes=limit, batch_bytes=BATCH_BYTES):
        table = pa.Table.from_batches([batch]).select(columns)
        yield table.filter(table.column("text").is_valid())


def language_names(table: pa.Table, reading: Reading) -> list[str | None]:
    """Each row's language: None where it has none, an empty string where the row is not wanted."""
    rows = list(zip(*(table.column(name).to_pylist() for name in ("language", "category", "domain")), strict=True))
    known = {(a, b, c): wanted(a, b, c, reading) for a, b, c in set(rows)}
    return [known[row] for row in rows]


def wanted(language: str | None, category: str | None, domain: str | None, reading: Reading) -> str | None:
    if reading.curated:
        if language is None or domain == "code" or language not in reading.categories:
            return ""
        allowed = reading.categories[language]
        return language if allowed is None or category in allowed else ""
    code = iso_code(language) if language else ""
    if not code:
        return reading.languages[0] if len(reading.languages) == 1 else None
    return code if NAME.fullmatch(code) and (not reading.languages or code in reading.languages) else ""


def normalised_lines(text: pa.LargeStringArray) -> tuple[pa.LargeStringArray, np.ndarray]:
    """The normalised lines of texts without nulls, empty ones left out; and each one's text, (lines,) int64."""
    data, offsets = buffers(text)
    begin, end = int(offsets[0]), int(offsets[-1])
    breaks = np.flatnonzero(data[begin:end] == ord("\n")) + begin + 1
    bounds = cut_long(data, np.union1d(offsets, breaks))  # a line feed stays with its line and is normalised away
    out, ends = normalise(data, bounds)
    lines = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(ends), pa.py_buffer(out))
    full = np.flatnonzero(np.diff(ends))
    return lines.take(pa.array(full)), np.searchsorted(offsets, bounds[:-1][full], "right") - 1


def cut_long(data: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Bounds of lines of at most `MAX_LINE_BYTES`, cut before a character, as those are that perplexity is of."""
    extra = []
    for line in np.flatnonzero(np.diff(bounds) > MAX_LINE_BYTES - 4):
        begin, end = int(bounds[line]), int(bounds[line + 1])
        while (at := begin + MAX_LINE_BYTES - 4) < end:
            while at < min(end, begin + MAX_LINE_BYTES) and data[at] & 0xC0 == 0x80:
                at += 1
            if at < end:
                extra.append(at)
            begin = at
    return np.union1d(bounds, np.array(extra, np.int64)) if extra else bounds


def sampled(store: Store, file: File, threshold: int) -> Iterator[pa.LargeStringArray]:
    """The lines of a file whose draw is below `threshold`, row group by row group."""
    for table in batches(store, file, LINES.names):
        lines = table.column("line").combine_chunks()
        if threshold < 1 << 64:
            lines = lines.filter(pa.array(table.column("draw").to_numpy() < np.uint64(threshold)))
        yield lines
