"""Trains language models: from curated documents or files of text to `<output>/<language>/`.

    sentencepiece.model, lm.binary, lm.arpa, lm.json (what they are and come from), files.json (their checksums)

The driver: one pass over the text gives every language its lines, then the languages are trained one after the other.
The steps' files are in `work/` beside the output folder, and a run that stopped goes on where it was. What is published
is the same for any number of workers.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from gristmill.pipeline.config.keys import Config, PlanConfig, RuntimeConfig
from gristmill.pipeline.config.sizes import AUTO, PARTITION_BYTES
from gristmill.pipeline.engine.commit import check_work
from gristmill.pipeline.engine.engine import Engine, Executor, Inline, Progress, Silent
from gristmill.pipeline.engine.manifest import File, Role, Sealed
from gristmill.pipeline.engine.process import prepare
from gristmill.pipeline.engine.publish import publish
from gristmill.pipeline.models.lm import pieces
from gristmill.pipeline.models.lm.estimation import BYTES_A_PIECE, EstimateStats, estimated, written
from gristmill.pipeline.models.lm.lines import (
    NAME,
    LineStats,
    Reading,
    Source,
    by_language,
    count_categories,
    split_lines,
)
from gristmill.pipeline.models.lm.ngrams import adjusted
from gristmill.pipeline.models.lm.options import Options
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.run import on_ray
from gristmill.pipeline.steps.chain import library_versions
from gristmill.pipeline.steps.first_pass import Input, inputs
from gristmill.storage.lease import Lease
from gristmill.storage.store import Store
from gristmill.wording import plural

FORMAT = 1
NORMALISATION = "ccnet"
MODEL = "sentencepiece.model"


class TextRecord(TypedDict):
    documents: int
    lines: int
    bytes: int
    share: float
    trained_lines: int
    trained_pieces: int
    unknown_pieces: int


class PiecesRecord(TypedDict):
    pieces: int
    asked: int
    lines: int
    bytes: int
    model: str
    used: int


class FileRecord(TypedDict):
    bytes: int
    xxh3_128: str


class ModelRecord(TypedDict):
    """`lm.json`: what a language's model is and comes from. Figures of n-grams are by their length."""

    language: str
    format: int
    normalisation: str
    order: int
    prune: list[int]
    ngrams: dict[str, int]
    ngrams_before_pruning: dict[str, int]
    discounts: dict[str, list[float]]
    fallback_discounts: list[int]
    pieces: PiecesRecord
    text: TextRecord
    seed: int
    libraries: dict[str, str]
    files: dict[str, FileRecord]


@dataclass
class Trained:
    """`models`: what each language's `lm.json` says. `notes`: what a user should know."""

    output: str
    models: list[ModelRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def train(
    options: Options,
    output: str,
    *,
    curated: str | None = None,
    texts: Sequence[str] = (),
    plan: PlanConfig | None = None,
    runtime: RuntimeConfig | None = None,
    workers: int | None = None,
    inline: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """curated: the output of a run; texts: files, folders or patterns instead.

    Raises ValueError in one sentence where there is no text, LeaseHeld, StepFailed.
    """
    prepare()
    parent, folder = placed(output)
    store = Store(parent)
    config = Config((), parent, options.seed, plan=plan or PlanConfig(), runtime=runtime or RuntimeConfig())
    specs = sources(options, curated, texts)
    with Lease(store) as lease:
        check_work(store)
        size = config.plan.partition_bytes
        given = read_inputs(specs, PARTITION_BYTES[-1] if size == AUTO else size, curated)
        executor: Executor = Inline() if inline else on_ray(config, store, workers)
        try:
            engine = Engine(store, executor, progress or Silent(), check_lease=lease.check)
            memory, segments = config.runtime.memory_per_worker, config.plan.max_segments
            trainer = Trainer(engine, options, folder, segments, memory, Trained(store.location(folder)))
            trainer.run(given, curated, config.plan.max_document_bytes)
            return trainer.result
        finally:
            executor.close()


def placed(output: str) -> tuple[str, str]:
    """(the folder above, the last folder's name)."""
    if "://" not in output:
        local = Path(output).absolute()
        return str(local.parent), local.name
    path, mark, options = output.partition("?")
    parent, name = posixpath.split(path.rstrip("/"))
    return parent + mark + options, name


def sources(options: Options, curated: str | None, texts: Sequence[str]) -> list[SourceSpec]:
    if curated is not None:
        return [SourceSpec("curated", f"{curated.rstrip('/')}/curated/**/*.parquet", "parquet")]
    return [SourceSpec(f"text-{i}", uri, columns=options.columns) for i, uri in enumerate(texts)]


def read_inputs(specs: Sequence[SourceSpec], partition_bytes: int, curated: str | None) -> list[Input]:
    try:
        entries = inventory(specs)
    except ValueError as error:
        if curated is None:
            raise
        raise ValueError(
            f"{curated}: holds no curated documents; curate some with `gristmill run`, or name text with --text"
        ) from error
    return inputs(specs, entries, partitions(entries, partition_bytes), ())


@dataclass
class Trainer:
    engine: Engine
    options: Options
    folder: str
    max_segments: int
    memory: int
    """Bytes that the largest task may take."""
    result: Trained

    def run(self, given: Sequence[Input], curated: str | None, max_document_bytes: int) -> None:
        options = self.options
        for language in options.languages:
            if not NAME.fullmatch(language):
                raise ValueError(f"--languages {language}: not the code of a language; write ISO 639-1, as in en,de")
        categories = self.categories(given) if curated is not None else {}
        reading = Reading(
            curated is not None, tuple(sorted(options.languages)), categories, options.seed, max_document_bytes
        )
        lines = split_lines(self.engine, given, reading)
        found = by_language(lines)
        self.tell_unnamed(lines)
        for language in self.chosen(found):
            self.result.models.append(self.model(found[language]))

    def categories(self, given: Sequence[Input]) -> dict[str, tuple[str, ...] | None]:
        """For every language the categories to read, None for all."""
        options = self.options
        result: dict[str, tuple[str, ...] | None] = {}
        without = []
        for language, counts in sorted(count_categories(self.engine, given).items()):
            if not NAME.fullmatch(language) or (options.languages and language not in options.languages):
                continue
            has = any(counts.get(category) for category in options.categories)
            result[language] = tuple(sorted(options.categories)) if has else None
            without += [] if has else [language]
        if without:
            named = " or ".join(options.categories)
            self.result.notes.append(f"{', '.join(without)}: no documents of {named}; all categories are taken")
        return result

    def tell_unnamed(self, lines: Sealed[LineStats]) -> None:
        unnamed = sum(manifest.stats.unnamed for _, manifest in lines.done())
        if unnamed:
            one, more = "document does not say its language and is", "documents do not say their language and are"
            self.result.notes.append(f"{plural(unnamed, one, more)} left out; name one with --languages")

    def chosen(self, found: dict[str, Source]) -> list[str]:
        """The languages to train; ValueError where one that was named, or every one, has no text."""
        options = self.options
        if options.languages:
            for language in options.languages:
                if language not in found or not found[language].lines:
                    raise ValueError(f"{language}: there is no text in this language; name other text or languages")
            return list(dict.fromkeys(options.languages))
        small = [source for source in found.values() if 0 < source.bytes < options.min_bytes]
        chosen = [language for language, source in found.items() if source.bytes >= max(1, options.min_bytes)]
        if not chosen:
            most = max(small, key=lambda source: source.bytes, default=None)
            why = f"{most.language} has most, {most.bytes:,} bytes" if most else "there is none in any language"
            raise ValueError(f"no language has {options.min_bytes:,} bytes of text ({why}); lower --min-bytes")
        if small:
            names = ", ".join(f"{source.language} ({source.bytes:,})" for source in small)
            self.result.notes.append(f"less than {options.min_bytes:,} bytes of text, no model: {names}")
        return chosen

    def model(self, source: Source) -> ModelRecord:
        """Trains and publishes one language; what its `lm.json` says."""
        engine, options, language = self.engine, self.options, source.language
        threshold = source.threshold(options.max_bytes)
        trained = pieces.train(engine, source, options.pieces, threshold)
        model_file = next(file for _, manifest in trained.done() for file in manifest.files)
        model = engine.read(model_file)
        encoded = pieces.encode(engine, source, model, hashlib.sha256(model).hexdigest(), threshold)
        words = pieces.words(engine, encoded)
        if not words.tokens:
            raise ValueError(f"{language}: there is no text in this language; name other text or languages")
        self.check_memory(source, words)
        counted = adjusted(
            engine, language, encoded, words, options.order, options.thresholds, max_segments=self.max_segments
        )
        weights = estimated(engine, language, counted, words)
        model_files = written(engine, language, weights, pieces.spelled(model, words), options.arpa)
        files = [(MODEL, model_file), *((file.name, file) for file in model_files.files(Role.LANGUAGE_MODEL))]
        record = self.record(source, threshold, trained, words, weights, files)
        content = json.dumps(record, indent=1, ensure_ascii=False).encode()
        folder = f"{self.folder}/{language}"
        publish(engine, folder, files, {"lm.json": content}, f"{folder}/files.json")
        return record

    def check_memory(self, source: Source, words: pieces.Words) -> None:
        """ValueError where the largest task, a language's estimation, would not fit."""
        needed = BYTES_A_PIECE * (words.tokens + words.lines)
        if needed <= self.memory:
            return
        used = min(source.bytes, self.options.max_bytes or source.bytes)
        raise ValueError(
            f"{source.language}: {words.tokens:,} pieces need a task of about {needed:,} bytes and "
            f"runtime.memory_per_worker is {self.memory:,}: raise it or give --memory {needed}, "
            f"or take a sample, --max-bytes {used * self.memory // needed}"
        )

    def record(
        self,
        source: Source,
        threshold: int,
        trained: Sealed[pieces.PieceStats],
        words: pieces.Words,
        weights: Sealed[EstimateStats],
        files: Sequence[tuple[str, File]],
    ) -> ModelRecord:
        [(_, estimate)] = weights.done()
        [(_, sample)] = trained.done()
        stats, made = estimate.stats, sample.stats
        orders = range(1, self.options.order + 1)
        return {
            "language": source.language,
            "format": FORMAT,
            "normalisation": NORMALISATION,
            "order": self.options.order,
            "prune": list(self.options.thresholds),
            "ngrams": dict(zip(map(str, orders), stats.kept, strict=True)),
            "ngrams_before_pruning": dict(zip(map(str, orders), stats.seen, strict=True)),
            "discounts": dict(zip(map(str, orders), map(list, stats.discounts), strict=True)),
            "fallback_discounts": list(stats.fallback),
            "pieces": {
                "pieces": made.pieces,
                "asked": made.asked,
                "lines": made.lines,
                "bytes": made.bytes,
                "model": pieces.SETTINGS["model_type"],
                "used": len(words.pieces),
            },
            "text": {
                "documents": source.documents,
                "lines": source.lines,
                "bytes": source.bytes,
                "share": round(threshold / (1 << 64), 6),
                "trained_lines": words.lines,
                "trained_pieces": words.tokens,
                "unknown_pieces": words.unknown,
            },
            "seed": self.options.seed,
            "libraries": library_versions(),
            "files": {name: {"bytes": file.bytes, "xxh3_128": file.checksum} for name, file in sorted(files)},
        }


def lines_of(trained: Trained) -> list[str]:
    """What came of it, for a person."""
    head = f"{'':<5}{'text':>11}{'pieces':>15}{'vocabulary':>12}{'n-grams':>15}{'lm.binary':>12}"
    rows = [head]
    for model in trained.models:
        size = model["files"]["lm.binary"]["bytes"]
        rows.append(
            f"{model['language']:<5}{model['text']['bytes'] * model['text']['share'] / 1e6:>8.1f} MB"
            f"{model['text']['trained_pieces']:>15,}{model['pieces']['pieces']:>12,}"
            f"{sum(model['ngrams'].values()):>15,}{size / 1e6:>9.1f} MB"
        )
    return [*rows, *trained.notes, f"models: {trained.output}"]
