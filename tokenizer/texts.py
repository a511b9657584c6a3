"""What a tokenizer is trained on and measured on: batches of documents, and how much of them there is.

`curated` reads the folder of a run. Everything else that `sources:` takes is read by whoever starts the command: the
pipeline hands a `Reader` in, as nothing here may import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from gristmill.kernels.text.hexadecimal import in_bytes
from gristmill.storage import hive
from gristmill.storage.uris import find, open_input
from gristmill.tokenizer.sample import DOMAIN_SHARES

Batches = Callable[[], Iterable[pa.RecordBatch]]
"""Starts reading the corpus from its beginning: batches with the columns COLUMNS."""

COLUMNS = ("id", "text", "domain", "language")
BATCH_ROWS = 256


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
    return [column for column in COLUMNS if column not in (*names, *hive.values(path))]


def _batches(uri: str, path: str) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with open_input(uri) as source:
        file = pq.ParquetFile(source)
        there = [column for column in COLUMNS if column in file.schema_arrow.names]
        missing = [column for column in COLUMNS if column not in (*there, *hive.values(path))]
        if missing:
            raise ValueError(f"{uri}: no column {', '.join(missing)}; give the folder `curated` of a run")
        for batch in file.iter_batches(BATCH_ROWS, columns=there):
            yield from hive.with_keys(in_bytes(pa.table(batch)), path, COLUMNS).combine_chunks().to_batches()


def _text_bytes(uri: str) -> int:
    """Uncompressed bytes of the column `text`, from the footer."""
    import pyarrow.parquet as pq

    with open_input(uri) as source:
        metadata = pq.read_metadata(source)
    if not metadata.num_row_groups:
        return 0
    at = metadata.schema.to_arrow_schema().names.index("text")
    return sum(metadata.row_group(i).column(at).total_uncompressed_size for i in range(metadata.num_row_groups))
