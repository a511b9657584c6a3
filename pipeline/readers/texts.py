"""The texts of files as they are, without a run: what `gristmill tokenizer train` reads.

Everything that `sources:` takes: web pages go through `extract`, records that hold no text are counted and named.
Nothing is filtered and no duplicate leaves. Documents keep the language that their source states; a language model
finds the others'; of the rest nothing is known (`UNLABELLED`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from gristmill.pipeline.readers.folder import open_file
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import FileEntry, inventory
from gristmill.pipeline.readers.segments import Partition, Segment, partitions
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.stream import BrokenStreamError, blocks
from gristmill.stages.extract import Extract
from gristmill.tokenizer.sample import UNLABELLED, UNLABELLED_SHARES
from gristmill.tokenizer.texts import COLUMNS, Corpus

PARTITION_BYTES = 256_000_000
MAX_NAMES = 12


class _LeftOut:
    """What is no text, by reason; it grows while the files are read."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.things: Counter[str] = Counter()

    def clear(self) -> None:
        self.records.clear()
        self.things.clear()

    def notes(self) -> list[str]:
        kinds = (("records that hold no text", self.records), ("things that are no documents", self.things))
        return [f"left out: {counts.total():,} {what} ({_counted(+counts)})" for what, counts in kinds if +counts]


def corpus(
    places: Sequence[str],
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    language_model: str | None = None,
) -> Corpus:
    """places: as `uri:` of a source. ValueError in one sentence where they name nothing or hold no text."""
    listed: list[str] = []
    names = [f"text{i}" if i else "text" for i in range(len(places))]
    try:
        given = [
            SourceSpec(name, place, format, columns=dict(columns or {}))
            for name, place in zip(names, places, strict=True)
        ]
        files = inventory(given, listed)
    except ValueError as error:
        raise ValueError(_as_asked(str(error))) from error
    specs = {spec.name: spec for spec in given}
    parts = partitions(files, PARTITION_BYTES)
    left_out = _LeftOut()

    def batches() -> Iterator[pa.RecordBatch]:
        left_out.clear()
        some = False
        for part in parts:
            for batch in _texts(part, specs[part.source], language_model, left_out):
                some = some or batch.num_rows > 0
                yield batch
        if not some:
            raise ValueError(_nothing(places, files, specs, left_out))

    return Corpus(
        batches, sum(part.bytes for part in parts), len(files), lambda: [*listed, *left_out.notes()], UNLABELLED_SHARES
    )


def _as_asked(sentence: str) -> str:
    """A sentence about a source of a configuration as one about the command."""
    plain = re.sub(r"^sources\.text\d*[:.] ?", "", sentence)
    return re.sub(r"`format:( \w+)?`", lambda match: f"`--format{match[1] or ''}`", plain)


def _texts(
    part: Partition, spec: SourceSpec, language_model: str | None, left_out: _LeftOut
) -> Iterator[pa.RecordBatch]:
    for batch in read(part, spec, skipped=left_out.things):
        if batch.column("content").null_count < batch.num_rows:
            batch = Extract().apply(batch)
            left_out.records.update(_reasons(batch.column("dropped_by")))
        left_out.records.update(_reasons(batch.column("quarantined_by")))
        batch = batch.filter(pc.greater(pc.fill_null(pc.binary_length(batch.column("text")), 0), 0))
        if batch.num_rows:
            yield _labelled(batch, language_model)


def _counted(counts: Counter[str]) -> str:
    """The most frequent."""
    shown = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MAX_NAMES]
    return ", ".join(f"{name} {number:,}" for name, number in shown) + (" ..." if len(counts) > MAX_NAMES else "")


def _reasons(column: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column.drop_null()).to_pylist()}


def _labelled(batch: pa.RecordBatch, language_model: str | None) -> pa.RecordBatch:
    """The columns `COLUMNS`, with a domain for every row."""
    from gristmill.stages.language import identify, labelled

    stated = batch.column("language")
    is_code = pc.fill_null(pc.equal(batch.column("domain"), "code"), False)
    language = pc.if_else(is_code, stated, labelled(stated))
    if language_model is not None and language.null_count:
        found = identify(batch.column("text"), language_model)[0]
        language = pc.if_else(is_code, language, pc.coalesce(language, found))
    known = pc.fill_null(pc.match_substring_regex(language, "^[a-z]{2,3}$"), False)
    english = pc.fill_null(pc.equal(language, "en"), False)
    prose = pc.if_else(english, "english", pc.if_else(known, "multilingual", UNLABELLED))
    values = {
        "id": batch.column("id"),
        "text": batch.column("text"),
        "domain": pc.if_else(is_code, "code", prose),
        "language": pc.fill_null(language, ""),
    }
    return pa.RecordBatch.from_arrays([values[name] for name in COLUMNS], names=list(COLUMNS))


def _nothing(places: Sequence[str], files: list[FileEntry], specs: Mapping[str, SourceSpec], left_out: _LeftOut) -> str:
    first = files[0]
    wanted = specs[first.source].columns_in_use()["text"]
    names = _columns_of(first)
    reasons = _counted(left_out.records + left_out.things)
    if names and wanted not in names:
        shown = ", ".join(names[:MAX_NAMES]) + (" and more" if len(names) > MAX_NAMES else "")
        return f"{first.uri}: no column {wanted!r}; there are {shown}; name the one with the text: --columns text=NAME"
    return f"{', '.join(places)}: no text to train on" + (f" ({reasons})" if reasons else "")


def _columns_of(file: FileEntry) -> list[str]:
    """Of its first record, in a format that has columns; nothing where that cannot be read."""
    try:
        if file.format == "parquet":
            import pyarrow.parquet as pq

            with open_file(file.uri) as stream:
                return list(pq.read_schema(stream).names)
        if file.format == "jsonl":
            line = next(blocks(Segment(file.uri, file.path, file.size, 0, file.size))).split(b"\n", 1)[0]
            record = json.loads(line)
            return [str(name) for name in record] if isinstance(record, dict) else []
    except (OSError, ValueError, StopIteration, BrokenStreamError):
        pass
    return []
