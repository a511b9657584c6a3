"""Sums by source, language and licence, streamed over what a run published; used by the report and the datasheet.

Columns are read batch by batch and only those that are summed; memory grows with the groups, not with the documents.
A licence is what a document's metadata says under LICENCE_KEYS, its first MAX_LICENCE characters.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristmill.kernels.text.hexadecimal import in_bytes
from gristmill.pipeline.steps.chain import as_batch
from gristmill.pipeline.steps.published import has
from gristmill.pipeline.steps.record import UnitRecord
from gristmill.pipeline.views.published import parts, step_of
from gristmill.storage import hive
from gristmill.storage.store import Store

BATCH_ROWS = 65_536
LICENCE_KEYS = ("license", "licence")
MAX_LICENCE = 80
MAX_LICENCES = 4096
"""Different licences counted a source; what comes after them counts as OTHERS, so that free text cannot fill memory."""
NOT_STATED = "not stated"
OTHERS = "others"
UNIT = ("domain", "category", "source", "language")

Group = tuple[str, ...]


def unit_key(unit: UnitRecord) -> Group:
    """The unit's values of UNIT; '' where it has none."""
    return unit["domain"] or "", unit["category"] or "", unit["source"] or "", unit["language"] or ""


def column_batches(store: Store, paths: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns of published Parquet files, batch by batch, in order of the paths; ids are 16 bytes.

    A column that neither a file nor its folders have is null.
    """
    for path in paths:
        with store.open_input(path) as handle:
            file = pq.ParquetFile(handle)
            stored = [name for name in columns if name in file.schema_arrow.names]
            there = [name for name in columns if has(file, path, name)]
            for batch in file.iter_batches(BATCH_ROWS, columns=stored):
                table = hive.with_keys(in_bytes(pa.Table.from_batches([batch])), path, there)
                for name in columns:
                    if name not in there:
                        table = table.append_column(name, pa.nulls(batch.num_rows, pa.string()))
                yield as_batch(table.select(list(columns)))


def shard_tokens(store: Store, folder: str) -> dict[Group, tuple[int, int]]:
    """(domain, category, source, language) -> (copies of documents, tokens) of the shards directly in `folder`."""
    paths = [path for path in store.files(folder, recursive=False) if path.endswith(".docs.parquet")]
    sums: dict[Group, tuple[int, int]] = {}
    for batch in column_batches(store, paths, [*UNIT, "tokens"]):
        for key, n, tokens in grouped(batch, UNIT, "tokens"):
            before = sums.get(key, (0, 0))
            sums[key] = before[0] + n, before[1] + tokens
    return sums


def grouped(batch: pa.RecordBatch, keys: Sequence[str], value: str) -> Iterator[tuple[Group, int, int]]:
    """(key, rows, sum of `value`) for each combination of `keys` in the batch; a null key is ''."""
    sums = pa.table(batch).group_by(list(keys)).aggregate([(value, "sum"), ([], "count_all")])
    for row in sums.to_pylist():
        yield tuple(row[key] or "" for key in keys), row["count_all"], row[f"{value}_sum"] or 0


@dataclass
class SourceSums:
    """What one source gave: documents read, of them measured (with bytes of text), of them curated, by licence."""

    read: int = 0
    measured: int = 0
    bytes: int = 0
    curated: int = 0
    licences: dict[str, int] = field(default_factory=dict)


def source_sums(store: Store) -> dict[str, SourceSums]:
    """By the source's name: signals and the first pass's ledger give what was read, curated/ what is left."""
    sums: dict[str, SourceSums] = {}
    for batch in column_batches(store, parts(store, "signals"), ["source", "text_bytes"]):
        for (source,), n, size in grouped(batch, ["source"], "text_bytes"):
            entry = sums.setdefault(source, SourceSums())
            entry.read += n
            entry.measured += n
            entry.bytes += size
    first = [path for path in parts(store, "ledger") if step_of(path) == "read"]
    for batch in column_batches(store, first, ["source", "action"]):
        left = batch.filter(pc.not_equal(batch.column("action"), "edited"))
        for pair in pc.value_counts(left.column("source")).to_pylist():
            sums.setdefault(pair["values"], SourceSums()).read += pair["counts"]
    for batch in column_batches(store, parts(store, "curated"), ["source", "license", "metadata"]):
        stated = licences(batch.column("license"), batch.column("metadata"))
        table = pa.table({"source": batch.column("source"), "licence": stated})
        counts = table.group_by(["source", "licence"]).aggregate([([], "count_all")])
        for row in counts.sort_by([("source", "ascending"), ("licence", "ascending")]).to_pylist():
            entry = sums.setdefault(row["source"], SourceSums())
            entry.curated += row["count_all"]
            known = row["licence"] in entry.licences or len(entry.licences) < MAX_LICENCES
            name = row["licence"] if known else OTHERS
            entry.licences[name] = entry.licences.get(name, 0) + row["count_all"]
    return dict(sorted(sums.items()))


def licences(column: pa.Array, metadata: pa.Array) -> pa.Array:
    """(n,) string: the licence of each document's own column, else what its metadata (JSON objects, one a row) states,
    else NOT_STATED."""
    if not len(metadata):
        return pa.array([], pa.string())
    try:
        found = _by_column(metadata)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # a value that is no string, or a row that is no object
        found = pa.array([_stated(value) for value in metadata.to_pylist()], pa.string())
    found = pc.coalesce(column, found)
    folded = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.fill_null(found, ""), r"\s+", " "))
    short = pc.utf8_slice_codeunits(folded, 0, MAX_LICENCE)
    return pc.if_else(pc.equal(short, ""), NOT_STATED, short)


def _by_column(metadata: pa.Array) -> pa.Array:
    import pyarrow.json as pa_json

    lines = pc.fill_null(metadata, "{}").cast(pa.large_string())
    content = "\n".join(lines.to_pylist()).encode()
    schema = pa.schema([(key, pa.string()) for key in LICENCE_KEYS])
    table = pa_json.read_json(
        io.BytesIO(content),
        read_options=pa_json.ReadOptions(use_threads=False, block_size=len(content) + 1),
        parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )
    if table.num_rows != len(metadata):
        raise pa.ArrowInvalid("a row is not one line")
    return pc.coalesce(*(table.column(key).combine_chunks() for key in LICENCE_KEYS))


def _stated(metadata: str | None) -> str | None:
    try:
        entry = json.loads(metadata or "{}")
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    found = next((entry[key] for key in LICENCE_KEYS if entry.get(key) is not None), None)
    if isinstance(found, list):
        found = ", ".join(str(value) for value in found)
    return None if found is None else str(found).encode(errors="replace").decode()
