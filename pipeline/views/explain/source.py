"""Reading one record of a source again, for a document whose text the output does not hold.

The file is looked up below the source's URI as the configuration in `run.json` has it, and read by the readers of the
first pass: a plain JSONL file from the record's offset, a Parquet file from its row group, others from the beginning.
A web page goes through the configured `extract`. The source may have changed since, or not be reachable from here.
"""

from __future__ import annotations

import os
import posixpath
import sysconfig
from collections.abc import Mapping, Sequence

import pyarrow as pa

from gristmill.pipeline.readers.admission import ENCODED, encoding_of, format_here, look
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.machine import ROOTS, root_of
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.record import ConfigurationRecord, source_of
from gristmill.pipeline.views.tables import StoredRow
from gristmill.storage.json_values import Json
from gristmill.storage.uris import Found, find, is_local, open_input, redacted

BATCH_BYTES = 1_000_000  # small batches: only one record is wanted
MAX_STREAM_BYTES = 2_000_000_000
"""How far into a compressed stream, or a file that is read from its beginning, a record is looked for."""


def read_again(
    configuration: ConfigurationRecord | None, source: str, path: str, record: int
) -> tuple[StoredRow | None, str]:
    """(columns of `pipeline.readers.rows.READ`, "") or (None, why it cannot be read).

    `text` is filled from the page where there is one; `raw` holds up to 1 kB of a record that is no text.
    """
    sources = configuration.get("sources", []) if configuration else []
    value = next((entry for entry in sources if entry["name"] == source), None)
    if configuration is None or value is None:
        return None, f"the configuration has no source {source}"
    spec = source_of(value)
    limit = int(configuration.get("plan", {}).get("max_document_bytes", 64_000_000))
    try:
        file = _file(spec, path)
        if file is None:
            return None, f"source {source} ({redacted(spec.uri)}) has no file {path} now"
        segment = _segment(spec, file, record)
        if segment.is_whole and record > MAX_STREAM_BYTES:
            return None, f"the record begins {record:,} bytes into {redacted(file.uri)}, which is too far to read again"
        row = _row(spec, segment, path, record, limit)
    except (OSError, ValueError, pa.ArrowException, ImportError) as error:
        where = "" if is_local(spec.uri) else "; are the credentials set?"
        return None, f"source {source} cannot be read from here ({redacted(str(error).splitlines()[0])}{where})"
    if row is None:
        return None, f"{redacted(file.uri)} has no record {record} now"
    return _with_text(row, configuration.get("stages", [])), ""


def _file(spec: SourceSpec, path: str) -> Found | None:
    if spec.is_machine:
        return _machine_file(spec, path)
    for found in find(spec.uri):
        if path == found.path or path.startswith(found.path + "/"):  # a member of an archive
            return found
    return None


def _machine_file(spec: SourceSpec, path: str) -> Found | None:
    """`machine:` names its files by the folder that they are in: `pipeline.readers.machine`."""
    name, _, rest = path.partition("/")
    interpreter = sysconfig.get_paths()
    folders = {
        "stdlib": [interpreter["stdlib"]],
        "site-packages": [interpreter["purelib"], interpreter["platlib"]],
        **{root: [folder] for root, folder in ROOTS.items()},
    }
    for folder in folders.get(name, []):
        uri = posixpath.join(root_of(spec), folder.lstrip("/"), rest)
        if os.path.isfile(uri):
            return Found(uri, path, os.path.getsize(uri))
    return None


def _segment(spec: SourceSpec, file: Found, record: int) -> Segment:
    seen = look(file)
    format_name = format_here(spec, seen)
    encoding = encoding_of(spec, seen) if format_name in ENCODED else None
    if format_name == "parquet" and seen.compression is None:
        import pyarrow.parquet as pq

        with open_input(file.uri) as stream:
            metadata = pq.read_metadata(stream)
        end = 0
        for group in range(metadata.num_row_groups):
            end += metadata.row_group(group).num_rows
            if record < end:
                return Segment(file.uri, file.path, file.size, group, group + 1, "row_groups", format_name)
    elif format_name == "jsonl" and seen.compression is None and encoding is None:
        return Segment(file.uri, file.path, file.size, record, record + 1, format=format_name)
    return Segment(file.uri, file.path, file.size, 0, file.size, format=format_name, encoding=encoding)


def _row(spec: SourceSpec, segment: Segment, path: str, record: int, limit: int) -> dict[str, pa.Array] | None:
    partition = Partition(0, spec.name, (segment,), segment.size)
    for batch in read(partition, spec, max_document_bytes=limit, batch_bytes=BATCH_BYTES):
        paths, records = batch.column("path").to_pylist(), batch.column("record").to_pylist()
        for row, place in enumerate(zip(paths, records, strict=True)):
            if place == (path, record):
                return {name: batch.column(name)[row : row + 1] for name in batch.schema.names}
    return None


def _with_text(row: Mapping[str, pa.Array], stages: Sequence[Mapping[str, Mapping[str, Json]]]) -> StoredRow:
    """Values of a row of one-row columns; a page becomes text by the configured `extract`."""
    batch = pa.RecordBatch.from_arrays(list(row.values()), names=list(row))
    columns = batch.to_pylist()[0]
    page = columns.pop("content", None)
    value: StoredRow = columns
    value["raw"] = page[:1024].decode("utf-8", "replace") if page else None
    settings = next((entry["extract"] for entry in stages if "extract" in entry), None)
    if page and value["quarantined_by"] is None and settings is not None:
        from gristmill.stages.registry import load

        extracted = load("extract")(**settings).apply(batch)  # type: ignore[attr-defined]
        value["text"] = extracted.column("text")[0].as_py()
    return value
