"""What a tokenizer is trained on and measured on: batches of documents, and how much of them there is.

`curated` reads the folder of a run. Everything else that `sources:` takes is read by whoever starts the command: the
pipeline hands a `Reader` in, as nothing here may import it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from gristmill.storage.uris import find, open_input
from gristmill.tokenizer.sample import DOMAIN_SHARES

Batches = Callable[[], Iterable[pa.RecordBatch]]
"""Starts reading the corpus from its beginning: batches with the columns COLUMNS."""

COLUMNS = ("id", "text", "domain", "language")
BATCH_ROWS = 256
_PARTITION = re.compile(r"(?:^|/)(domain|language)=([^/]*)")


@dataclass(frozen=True)
class Corpus:
    batches: Batches
    text_bytes: int
    """Of the text, estimated before it is read."""
    files: int
    notes: Callable[[], Sequence[str]] = tuple
    """What a user should know once it has been read, a sentence each."""
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DOMAIN_SHARES))
    """Weight of each domain in the sample."""


Reader = Callable[..., Corpus]
"""(places, *, format, columns, language_model) -> Corpus; ValueError in one sentence where there is nothing."""


def curated(place: str) -> Corpus | None:
    """The folder `curated` of a run, in the order of its files' names; None where it is something else."""
    try:
        found = [file for file in find(place) if file.path.endswith(".parquet")]
    except ValueError:
        return None
    if not found or _missing(found[0].uri, found[0].path):
        return None

    def read() -> Iterator[pa.RecordBatch]:
        for file in found:
            yield from _batches(file.uri, file.path)

    return Corpus(read, sum(_text_bytes(file.uri) for file in found), len(found))


def curated_batches(place: str) -> Batches:
    """As `curated`. ValueError in one sentence where it is something else."""
    corpus = curated(place)
    if corpus is None:
        raise ValueError(f"{place}: no Parquet files with the columns {', '.join(COLUMNS)}; give the folder `curated`")
    return corpus.batches


def _missing(uri: str, path: str) -> list[str]:
    import pyarrow.parquet as pq

    with open_input(uri) as source:
        try:
            names = pq.read_schema(source).names
        except pa.ArrowInvalid:  # not Parquet, whatever its name
            return list(COLUMNS)
    return [column for column in COLUMNS if column not in (*names, *_stated(path))]


def _stated(path: str) -> dict[str, str]:
    """Columns that the names of the folders state: `domain=english/language=en/`."""
    return dict(_PARTITION.findall(path))


def _batches(uri: str, path: str) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    stated = _stated(path)
    with open_input(uri) as source:
        file = pq.ParquetFile(source)
        missing = [column for column in COLUMNS if column not in (*file.schema_arrow.names, *stated)]
        if missing:
            raise ValueError(f"{uri}: no column {', '.join(missing)}; give the folder `curated` of a run")
        columns = [column for column in COLUMNS if column in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            rows = batch.num_rows
            values: dict[str, Any] = {name: pa.array([value] * rows, pa.string()) for name, value in stated.items()}
            values |= {name: batch.column(name) for name in columns}
            values["id"] = _binary(values["id"])
            yield pa.RecordBatch.from_arrays([values[name] for name in COLUMNS], names=list(COLUMNS))


def _binary(ids: pa.Array) -> pa.Array:
    """Ids of 16 bytes, from those or from 32 hexadecimal digits."""
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        return ids
    return pa.array([bytes.fromhex(name) for name in ids.to_pylist()], pa.binary(16))


def _text_bytes(uri: str) -> int:
    """Uncompressed bytes of the column `text`, from the footer."""
    import pyarrow.parquet as pq

    with open_input(uri) as source:
        metadata = pq.read_metadata(source)
    if not metadata.num_row_groups:
        return 0
    at = metadata.schema.to_arrow_schema().names.index("text")
    return sum(metadata.row_group(i).column(at).total_uncompressed_size for i in range(metadata.num_row_groups))
