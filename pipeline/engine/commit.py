"""Files of a task, its manifest, and the sealed step.

A task writes files under attempt-unique names through `Output` and returns a `Manifest`. The driver commits it:
`work/<step>-<fingerprint>/tasks/<index>.json`, created only if absent. When all tasks are in, the step is sealed by
one `step.parquet` with a row per task, and reruns read only that. Workers never commit, so an orphaned task can
leave files but never a manifest.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import NoneType
from typing import overload

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from gristmill.pipeline.engine.accounting import Counts
from gristmill.pipeline.engine.manifest import File, Manifest, Reported, Role, StatsT
from gristmill.pipeline.engine.packed import Packed
from gristmill.storage.hashing import HashingFile
from gristmill.storage.parquet import read_table
from gristmill.storage.store import Store

COMPRESSION = "zstd"
KEPT_LEVEL, WORKING_LEVEL = 3, 1
"""Zstandard levels: of the text that is published, and of everything else. On English text level 1 takes half the time
of level 3 and an eighth more room."""

UNIQUE = frozenset({"id", "cluster", "survivor", "own_id", "url", "canonical_url", "title", "preview"})
"""String columns that hardly repeat: a dictionary of them costs time and room."""
TEXTS = frozenset({"text", "metadata", "title", "preview", "failed"})
"""Columns whose least and greatest value help no reader to leave out a row group."""


@dataclass
class Output:
    """What a running task writes to. Names carry the attempt, so two attempts never share a file."""

    store: Store
    folder: str
    index: int
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    files: list[File] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)

    @contextmanager
    def open(self, role: Role, suffix: str, name: str = "") -> Iterator[HashingFile]:
        """A binary file; it becomes part of the manifest when the block ends without an exception.

        The block sets `.rows` on the yielded file where rows mean something.
        """
        stem = f"{role}-{name}".replace("/", "-") if name else role
        path = f"{self.folder}/files/{stem}-{self.index:05d}-{len(self.files):03d}-{self.attempt}{suffix}"
        with self.store.open_output(path) as sink:
            file = HashingFile(sink)
            yield file
        self.files.append(File(role, path, file.rows, file.bytes, *file.digest.result(), name))

    @contextmanager
    def parquet(
        self, role: Role, schema: pa.Schema, level: int = WORKING_LEVEL, name: str = "", statistics: bool = False
    ) -> Iterator[ParquetOutput]:
        """level: of Zstandard. statistics: least and greatest values a row group, for files that people query."""
        with self.open(role, ".parquet", name) as file, ParquetOutput(file, schema, level, statistics) as writer:
            yield writer
            file.rows = writer.rows

    def table(self, role: Role, table: pa.Table) -> None:
        with self.parquet(role, table.schema) as writer:
            writer.write(table)

    def manifest(self, stats: StatsT, key: str = "") -> Manifest[StatsT]:
        return Manifest(self.index, tuple(self.files), self.counts, stats, key)

    def discard(self) -> None:
        """Removes what a failed attempt wrote, as far as the storage lets it."""
        for file in self.files:
            with contextlib.suppress(OSError):
                self.store.delete(file.path)


class ParquetOutput:
    """A Parquet file written row group by row group, each group being one call of `write`."""

    def __init__(self, sink: HashingFile, schema: pa.Schema, level: int, statistics: bool = False) -> None:
        self.schema = schema
        self.rows = 0
        self.writer = pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"),
            schema,
            compression=COMPRESSION,
            compression_level=level,
            use_dictionary=[f.name for f in schema if pa.types.is_string(f.type) and f.name not in UNIQUE],
            write_statistics=[f.name for f in schema if f.name not in TEXTS] if statistics else False,
            store_schema=True,
        )

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        if rows.num_rows == 0:
            return
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self.writer.write_table(table.select(self.schema.names).cast(self.schema), row_group_size=table.num_rows)
        self.rows += table.num_rows

    def __enter__(self) -> ParquetOutput:
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.close()


class StepFolder:
    """`work/<name>-<fingerprint>` on the output's store. Commits and seals carry a checksum; a damaged one is none."""

    def __init__(self, store: Store, name: str, fingerprint: str) -> None:
        self.store = store
        self.name = name
        self.fingerprint = fingerprint
        self.folder = f"work/{folder_name(name)}-{fingerprint[:16]}"

    @overload
    def sealed(self) -> Packed[Manifest[None]] | None: ...
    @overload
    def sealed(self, stats: type[StatsT]) -> Packed[Manifest[StatsT]] | None: ...
    def sealed(self, stats: type[StatsT] | None = None) -> Packed[Manifest[StatsT]] | Packed[Manifest[None]] | None:
        """The manifests of a sealed step, or None. stats: what its tasks return; without it that is not read."""
        lines = sealed_lines(self.store, self.folder)
        if lines is None:
            return None
        return packed(lines, stats) if stats is not None else packed(lines, NoneType)

    def committed(self) -> dict[int, Manifest[None]]:
        """Without their statistics."""
        return {index: Manifest.from_json(line, NoneType) for index, line in self.committed_lines()}

    def committed_lines(self) -> Iterator[tuple[int, bytes]]:
        """(task, JSON of its manifest)."""
        return ((Manifest.from_json(line, NoneType).index, line) for line in committed_lines(self.store, self.folder))

    def commit(self, manifest: Manifest[StatsT]) -> Manifest[StatsT]:
        """Commits a task's result; where another attempt was first, that one counts."""
        path = f"{self.folder}/tasks/{manifest.index:07d}.json"
        content = signed(manifest.to_json())
        if self.store.create(path, content, leased=True):
            return manifest
        earlier = unsigned(self.store.read(path))
        if earlier is not None:
            return Manifest.from_json(earlier, type(manifest.stats))
        self.store.write(path, content)
        return manifest

    def seal(self, manifests: Iterable[Manifest[Reported]]) -> None:
        rows = [
            (m.index, sum(f.rows for f in m.files), sum(f.bytes for f in m.files), signed(m.to_json()).decode())
            for m in manifests
        ]
        columns = zip(*rows, strict=True) if rows else ((), (), (), ())
        table = pa.table([pa.array(c, f.type) for c, f in zip(columns, STEP, strict=True)], schema=STEP)
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({"tasks": str(len(rows))}), buffer, compression=COMPRESSION)
        self.store.write(f"{self.folder}/step.parquet", buffer.getvalue())


STEP = pa.schema(
    [
        pa.field("index", pa.int64()),
        pa.field("rows", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("manifest", pa.large_string()),
    ]
)


FORMAT = 2
"""Of what is below `work/`: names of folders, seals, commits, manifests. Raised when one of them changes."""
FORMAT_PATH = "work/format.json"


def check_work(store: Store) -> None:
    """ValueError in one sentence where `work/` holds steps of another format."""
    found: int | str = FORMAT
    if store.exists(FORMAT_PATH):
        try:
            found = json.loads(store.read(FORMAT_PATH))["format"]
        except (ValueError, TypeError, KeyError):
            found = "unknown"
    elif any(is_fingerprinted(name) for name in store.folders("work")):
        found = 1
    if found != FORMAT:
        raise ValueError(
            f"{store.location('work')}: its steps are of format {found}, written by another version of gristmill, and "
            f"this one reads and writes format {FORMAT}; delete that folder, or choose another output; what is "
            "published stays as it is until the next run has finished"
        )


def open_work(store: Store) -> None:
    """Makes `work/` one of this format; ValueError as `check_work`."""
    check_work(store)
    if not store.exists(FORMAT_PATH):
        store.write(FORMAT_PATH, json.dumps({"format": FORMAT}).encode())


def is_fingerprinted(folder: str, step: str = "") -> bool:
    """Whether a folder below `work/` has the name of a step's; step: of this step's."""
    found = re.fullmatch("(.+)-[0-9a-f]{16}", folder)
    return found is not None and (not step or found[1] == folder_name(step))


def folder_name(step: str) -> str:
    return step.replace("/", "-")


def signed(content: bytes) -> bytes:
    """One line of JSON, with its own checksum in front."""
    return xxhash.xxh3_128_hexdigest(content).encode() + b" " + content


def unsigned(content: bytes) -> bytes | None:
    """The JSON of `signed`, or None where it is not what was written."""
    digest, _, rest = content.partition(b" ")
    return rest if xxhash.xxh3_128_hexdigest(rest).encode() == digest else None


def packed(lines: Iterable[bytes | None], stats: type[StatsT]) -> Packed[Manifest[StatsT]]:
    """A sequence of manifests that takes little room; the lines are their JSON."""
    return Packed(lines, lambda line: Manifest.from_json(line, stats))


def read_seal(store: Store, folder: str) -> Packed[Manifest[None]] | None:
    """The manifests of a sealed step below `folder` without their statistics; None where there is no seal."""
    lines = sealed_lines(store, folder)
    return packed(lines, NoneType) if lines is not None else None


def sealed_lines(store: Store, folder: str) -> list[bytes] | None:
    """JSON of the manifests of a sealed step below `folder`; None where it is not sealed or the seal is damaged."""
    path = f"{folder}/step.parquet"
    if not store.exists(path):
        return None
    try:
        table = read_table(io.BytesIO(store.read(path)))
        contents = [unsigned(value.encode()) for value in table.column("manifest").to_pylist()]
        tasks = int(table.schema.metadata[b"tasks"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None
    lines = [content for content in contents if content]
    return lines if len(lines) == len(contents) == tasks else None


def committed_lines(store: Store, folder: str) -> Iterator[bytes]:
    """JSON of the committed tasks below `folder`; a damaged commit is left out."""
    for path in store.files(f"{folder}/tasks"):
        content = unsigned(store.read(path)) if path.endswith(".json") else None
        if content:
            yield content
