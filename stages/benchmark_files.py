"""Texts of benchmark files: records of JSONL (plain, gz, zst), JSON or Parquet, one string at a time.

Which strings of a record are its texts: those of the named fields, or of all but `METADATA`; strings in lists and in
records within count under the name of the field they are in. A text is taken apart at the labels of a prompt at the
start of a line ("Question:", "Answer:"): what is copied is the question, hardly ever the label. A record belongs to the
benchmark that its field `benchmark` names, else to the one that the file is called.

A file that cannot be read, or has no record with a text, is an error of one sentence: a benchmark that is not looked
for must not look like a clean corpus.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

METADATA = frozenset(
    (
        *("id", "ids", "idx", "index", "uuid", "uid", "qid", "key", "hash", "guid", "task", "task_id"),
        *("task_name", "dataset", "dataset_name", "benchmark", "subset", "config", "split", "lang"),
        *("language", "locale", "license", "licence", "source", "sources", "url", "urls", "uri", "link"),
        *("path", "file", "filename", "doc", "document_id", "date", "created", "added", "timestamp"),
        *("version", "type", "category", "subject", "topic", "topics", "genre", "level", "difficulty"),
        *("domain", "author", "label", "labels", "gold", "correct", "answer_key", "answerkey", "answer_type"),
        *("entry_point", "metadata"),
    )
)
"""Fields, in lower case, that say something about a record and are not its text. A name that is not here is text: what
is missed is found in no report, what is too much is seen there."""

LABELS = re.compile(
    r"^[ \t]*(?:question|q|answer|a|passage|context|choices|options|problem|solution|premise|hypothesis|goal)\s?:",
    re.IGNORECASE | re.MULTILINE,
)

ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet")
"""JSON and JSONL also with .gz or .zst behind."""


def benchmark_texts(path: str, fields: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """(benchmark, text) in the file's order. ValueError in one sentence where the file is of no use."""
    own_name = benchmark_name(path)
    empty = True
    for record in _records(path):
        benchmark = record.get("benchmark")
        name = (benchmark if isinstance(benchmark, str) and benchmark else own_name).replace(",", " ")
        for text in _strings(record, fields):
            for part in LABELS.split(text):
                if part and not part.isspace():
                    empty = False
                    yield name, part
    if empty:
        wanted = f"the fields {', '.join(fields)}" if fields else "any text"
        raise ValueError(f"{path}: no record has {wanted}; name its text fields in stages.decontaminate.fields")


def benchmark_name(path: str) -> str:
    """mmlu_test of some/folder/mmlu_test.jsonl.zst."""
    name = Path(path).name
    for ending in (".gz", ".zst", *ENDINGS):
        name = name.removesuffix(ending)
    return name


def _strings(record: dict[str, Any], fields: Sequence[str]) -> Iterator[str]:
    for key, value in record.items():
        if key in fields if fields else str(key).lower() not in METADATA:
            yield from _within(value)


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _within(each)
    elif isinstance(value, list):
        for each in value:
            yield from _within(each)


def _records(path: str) -> Iterator[dict[str, Any]]:
    bare = path.removesuffix(".gz").removesuffix(".zst")
    if path.endswith(".parquet"):
        yield from _parquet(path)
    elif bare.endswith(ENDINGS[:3]):
        yield from _json_array(path) if bare.endswith(".json") and _begins_array(path) else _json_lines(path)
    else:
        raise ValueError(f"{path}: is no benchmark file; give {', '.join(ENDINGS)} or these with .gz or .zst")


def _json_lines(path: str) -> Iterator[dict[str, Any]]:
    number = 0
    with _open(path) as stream:
        while line := _line(stream, path, number):
            number += 1
            if line.isspace():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
                raise ValueError(f"{path}:{number}: is no JSON ({error}); mend or remove the line") from error
            if not isinstance(record, dict):
                raise ValueError(f"{path}:{number}: is no JSON object but {record!r:.40}; write one record a line")
            yield record


def _json_array(path: str) -> Iterator[dict[str, Any]]:
    try:
        with _open(path) as stream:
            records = json.loads(stream.read())
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: is no JSON ({error}); mend the file") from error
    for record in records:
        if not isinstance(record, dict):
            raise ValueError(f"{path}: holds {record!r:.40} where a record should be; give a list of JSON objects")
        yield record


def _parquet(path: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: is no whole Parquet file ({error}); copy it again") from error


def _begins_array(path: str) -> bool:
    with _open(path) as stream:
        head = _line(stream, path, 0)
        while head and head.isspace():
            head = _line(stream, path, 0)
    return head.lstrip().startswith(b"[")


def _open(path: str) -> io.BufferedReader:
    """The file unpacked; Arrow, unlike zstandard, says where a packed file ends before its end."""
    import pyarrow as pa

    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; check stages.decontaminate.benchmarks")
    packing = {".gz": "gzip", ".zst": "zstd"}.get(Path(path).suffix)
    return io.BufferedReader(pa.input_stream(path, compression=packing))


def _line(stream: io.BufferedReader, path: str, number: int) -> bytes:
    try:
        return stream.readline()
    except OSError as error:
        raise ValueError(f"{path}: cannot be unpacked after line {number} ({error}); copy it again") from error
