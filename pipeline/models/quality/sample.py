"""Documents of one side of a classifier: at most so many, chosen by a draw of their text's hash.

    draw = draw(seed, "quality-sample", hash of the text); the smallest stay, in this order

A text counts once, and has the same draw wherever it stands, so no copy of a text that the classifier is trained on is
among those that it is judged by. Memory: twice the texts that stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text.draw import draw, uniform
from gristmill.kernels.text.hashing import text_hashes
from gristmill.pipeline.readers.folder import find
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.storage.uris import is_folder

BATCH_BYTES = 16_000_000
PARTITION_BYTES = 256_000_000


def sample(uris: Sequence[str], side: str, column: str, documents: int, seed: int) -> pa.Table:
    """Columns text (large_string), hash (binary 16), held (float64: uniform in [0, 1), who is below is held out).

    uris: files, folders or patterns as sources take them, curated folders included; side: what --SIDE was, for errors.
    ValueError in one sentence where there is no text.
    """
    kept: list[pa.Table] = []
    rows = 0
    for texts in documents_of(uris, side, column):
        hashes = text_hashes(texts)
        table = pa.table(
            {
                "text": texts,
                "hash": pa.array(list(map(bytes, hashes)), pa.binary(16)),
                "place": draw(seed, "quality-sample", hashes),
                "held": uniform(draw(seed, "quality-held-out", hashes)),
            }
        )
        kept.append(table)
        rows += table.num_rows
        if rows > 2 * documents:
            kept = [_smallest(kept, documents)]
            rows = kept[0].num_rows
    found = _smallest(kept, documents) if kept else None
    if found is None or not found.num_rows:
        raise ValueError(f"--{side}: there is no text in {', '.join(uris)}; name files with a column {column!r}")
    return found.drop_columns(["place"])


def _smallest(tables: Sequence[pa.Table], documents: int) -> pa.Table:
    table = pa.concat_tables(tables).combine_chunks()
    order = pc.sort_indices(table, [("place", "ascending"), ("hash", "ascending")])
    table = table.take(order)
    hashes = np.array(table.column("hash").to_pylist(), "S16") if table.num_rows else np.zeros(0, "S16")
    first = np.concatenate(([True], hashes[1:] != hashes[:-1])) if len(hashes) else np.zeros(0, bool)
    return table.filter(pa.array(first)).slice(0, documents)


def documents_of(uris: Sequence[str], side: str, column: str) -> Iterator[pa.Array]:
    """Texts (large_string, no nulls, none empty) batch by batch."""
    for number, uri in enumerate(uris):
        spec = SourceSpec(f"{side}-{number}", _files(uri), columns={"text": column})
        try:
            files = inventory([spec])
        except ValueError as error:
            raise ValueError(f"--{side} {uri}: {error}") from error
        for partition in partitions(files, PARTITION_BYTES):
            for batch in read(partition, spec, batch_bytes=BATCH_BYTES):
                texts = batch.column("text").drop_null()
                yield texts.filter(pc.greater(pc.binary_length(texts), 0))


def _files(uri: str) -> str:
    """Of a folder that holds Parquet, the Parquet: beside it may lie a licence, a data set card, lists in JSON."""
    if not is_folder(uri):
        return uri
    below = f"{uri.rstrip('/')}/**/*.parquet"
    try:
        return below if find(below) else uri
    except ValueError:
        return uri
