"""Joins the files of one language of one repository into documents, in path order.

"All files from a repository of the same language are concatenated into one document" (Parmar et al. 2024, "Data, Data
Everywhere", section on code). Files follow each other in byte order of their paths; a document ends before the file
with which it would exceed `max_document_tokens`, so a file is never cut and a larger one is a document alone. Files
without a repository, and groups of one file, stay what they are.

    route(batch)            (n,) uint64: equal for the files of a group, null for files that stay alone
    keys(batch)             what `arrange` needs of each file
    arrange(keys)           the order of the files and the document that each goes to
    combine(rows, document) the documents of rows in that order
    join(table)             the three together, for rows of whole groups in any order

A joined document has the id xxh3_128(id of its first file ‖ "join_code" ‖ 0 ‖ 0), the repository as its path, its
number within its group as its record, its newest file's timestamp, the lowest priority, all licences joined by AND (of
files without one: NOASSERTION), and in `metadata` the paths and ids of its files. What else files differ in is null.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.stages.code_places import REPOSITORY_KEYS, places
from gristmill.stages.interface import MERGED, Arrangement

__all__ = ["KEYS", "MERGED", "JoinCode"]

KEYS = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("repository", pa.string()),  # null: stays alone
        pa.field("language", pa.string()),
        pa.field("file", pa.string()),
        pa.field("id", pa.binary()),
        pa.field("bytes", pa.int64()),  # of the text, and of the header and separator that joining adds
    ]
)


@dataclass(frozen=True)
class JoinCode:
    max_document_tokens: int = 262_144
    """Our own choice: large enough for most repositories whole, small beside a shard. Neither paper gives a limit."""
    bytes_per_token: float = 3.0
    """What a token is taken for before there is a tokenizer: our own choice."""
    separator: str = "\n"
    """Between two files; with the line end that files end in it makes a blank line."""
    header: str = ""
    """Before each file of a joined document; {path} and {repository} stand for its own. A line of StarCoder2's would
    be "<file_sep>{path}\\n"."""
    repository_depth: int = 1
    """Folders of a source tree's paths that name a repository: 1 where the tree holds one folder a repository, 2 for
    owner/name, 0 where the tree is one."""
    repository_keys: tuple[str, ...] = REPOSITORY_KEYS
    """Columns of records that name the repository, in order."""

    name: ClassVar[str] = "join_code"
    version: ClassVar[int] = 1
    needs: ClassVar[tuple[str, ...]] = ("text", "domain", "language", "source", "path", "record", "metadata")
    adds: ClassVar[tuple[str, ...]] = ()
    edits: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()
    joins: ClassVar[tuple[str, ...]] = ("code",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "repository_keys", tuple(self.repository_keys))
        if self.max_document_tokens < 1 or self.bytes_per_token <= 0:
            raise ValueError(
                f"stages.join_code: {self.max_document_tokens} tokens of {self.bytes_per_token} bytes make no "
                "document; give positive numbers"
            )
        if self.repository_depth < 0:
            raise ValueError(f"stages.join_code.repository_depth: {self.repository_depth} is no number of folders")

    @property
    def max_bytes(self) -> int:
        return int(self.max_document_tokens * self.bytes_per_token)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch as it is: one document alone has no repository around it."""
        return batch

    def route(self, batch: pa.RecordBatch) -> pa.Array:
        """(n,) uint64: xxh3_64 of source, repository and language; null where a row stays alone."""
        import xxhash

        group = _group(self.keys(batch)).dictionary_encode()
        hashed = [xxhash.xxh3_64_intdigest(name.encode()) for name in group.dictionary.to_pylist()]
        return pa.array(hashed, pa.uint64()).take(group.indices)

    def keys(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """(n,) of schema `KEYS`."""
        where = places(batch, self.repository_depth, self.repository_keys)
        added = pc.fill_null(pc.binary_length(self._headers(where.path, where.repository)), 0)
        size = pc.add(pc.fill_null(pc.binary_length(batch.column("text")), 0).cast(pa.int64()), added.cast(pa.int64()))
        columns = {
            "source": batch.column("source"),
            "repository": where.repository,
            "language": batch.column("language"),
            "file": where.path,
            "id": batch.column("id").cast(pa.binary()),
            "bytes": pc.add(size, len(self.separator.encode())),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in KEYS.names], schema=KEYS)

    def arrange(self, keys: pa.Table) -> Arrangement:
        """keys: (n,) of schema `KEYS`, of whole groups."""
        names = ("source", "repository", "language", "file", "id")
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in names]).to_numpy().astype(np.int64)
        group = _group(keys).dictionary_encode().indices
        codes = pc.fill_null(group, -1).to_numpy(zero_copy_only=False)[order].tolist()
        sizes = keys.column("bytes").to_numpy()[order].tolist()
        document = np.zeros(len(order), np.int64)
        ordinals: list[int] = []
        last, room = -1, 0
        for row, (code, size) in enumerate(zip(codes, sizes)):
            if code < 0 or code != last:
                ordinals.append(0)
                room = self.max_bytes
            elif size > room:
                ordinals.append(ordinals[-1] + 1)
                room = self.max_bytes
            room -= size
            last = code
            document[row] = len(ordinals) - 1
        return Arrangement(order, document, np.array(ordinals, np.int64))

    def combine(self, rows: pa.Table, document: np.ndarray, ordinal: np.ndarray) -> pa.Table:
        """The documents of rows that lie in their order, with the column `merged` at the end.

        rows: schema `stages.document.DOCUMENT` and any more columns. document: (rows,) int64, ascending and whole.
        ordinal: of each of them, as in `Arrangement`.
        """
        bounds = np.flatnonzero(np.concatenate(([True], document[1:] != document[:-1], [True])))
        if len(document) == 0:
            return rows.append_column(MERGED, pa.array([], pa.int64()))
        sizes = np.diff(bounds)
        alone = sizes == 1
        kept = rows.take(pa.array(bounds[:-1][alone]))
        kept = kept.append_column(MERGED, pa.array(np.ones(kept.num_rows, np.int64)))
        if alone.all():
            return kept
        inside = np.repeat(~alone, sizes)
        joined = self._joined(rows.filter(pa.array(inside)).combine_chunks(), sizes[~alone], ordinal[~alone])
        place = np.empty(len(sizes), np.int64)
        place[np.flatnonzero(alone)] = np.arange(kept.num_rows)
        place[np.flatnonzero(~alone)] = np.arange(kept.num_rows, len(sizes))
        return pa.concat_tables([kept, joined]).take(pa.array(place))

    def join(self, table: pa.Table) -> pa.Table:
        """The documents of rows of whole groups, in an order that does not depend on theirs."""
        keys = pa.Table.from_batches([self.keys(batch) for batch in table.to_batches()], KEYS)
        order, document, ordinal = self.arrange(keys.combine_chunks())
        return self.combine(table.take(pa.array(order)), document, ordinal)

    def _headers(self, path: pa.Array, repository: pa.Array) -> pa.Array:
        """(n,) string: what stands before each file."""
        result = pa.repeat(pa.scalar(self.header), len(path))
        for mark, values in (("{path}", path), ("{repository}", repository)):
            if mark not in self.header:
                continue
            pieces = pc.split_pattern(result, mark)
            result = pc.binary_join(pieces, pc.fill_null(values, ""))
        return result

    def _joined(self, rows: pa.Table, sizes: np.ndarray, ordinal: np.ndarray) -> pa.Table:
        """One document of each `sizes` neighbouring rows; all sizes are two or more."""
        from gristmill.kernels.text.hashing import derived_ids

        ends = np.cumsum(sizes)
        first = pa.array(ends - sizes)
        batch = rows.to_batches()[0]
        where = places(batch, self.repository_depth, self.repository_keys)
        text = batch.column("text")
        if self.header:
            headers = self._headers(where.path, where.repository).cast(pa.large_string())
            text = pc.binary_join_element_wise(headers, text, pa.scalar("", pa.large_string()))
        offsets = pa.array(np.concatenate(([0], ends)).astype(np.int32))
        whole = pc.binary_join(pa.ListArray.from_arrays(offsets, text), pa.scalar(self.separator, pa.large_string()))
        parents = np.frombuffer(b"".join(batch.column("id").take(first).to_pylist()), np.uint8).reshape(-1, 16)
        ids = derived_ids(parents, self.name, np.zeros(len(sizes), np.int64))
        id_column = pa.array([row.tobytes() for row in ids], pa.binary(16))
        number = pa.array(np.repeat(np.arange(len(sizes)), sizes))
        repository = where.repository.take(first)
        sums = pa.table(
            {"document": number, "timestamp": batch.column("timestamp"), "priority": batch.column("priority")}
        )
        sums = sums.group_by("document", use_threads=False)
        sums = sums.aggregate([("timestamp", "max"), ("priority", "min")]).sort_by("document")
        columns: dict[str, Any] = {
            "id": id_column,
            "text": whole,
            "path": pc.if_else(pc.equal(repository, ""), batch.column("source").take(first), repository),
            "record": pa.array(ordinal, pa.int64()),
            "timestamp": sums.column("timestamp_max"),
            "priority": sums.column("priority_min"),
            "license": pa.array(_licenses(batch.column("license"), ends), pa.string()),
            "metadata": pa.array(_listed(where, batch.column("id"), ends), pa.string()),
            "cluster": id_column,
            **{name: batch.column(name).take(first) for name in ("source", "domain", "category", "language")},
        }
        arrays = [columns[f.name] if f.name in columns else pa.nulls(len(sizes), f.type) for f in rows.schema]
        table = pa.table([a.cast(f.type) for a, f in zip(arrays, rows.schema, strict=True)], schema=rows.schema)
        return table.append_column(MERGED, pa.array(sizes.astype(np.int64)))


def _group(keys: pa.Table | pa.RecordBatch) -> pa.Array:
    """(n,) string: the group's name; null where a row stays alone."""
    parts = [keys.column("source"), keys.column("repository"), pc.fill_null(keys.column("language"), "")]
    name = pc.binary_join_element_wise(*parts, "\0")
    return name.combine_chunks() if isinstance(name, pa.ChunkedArray) else name


def _licenses(licenses: pa.Array, ends: np.ndarray) -> list[str | None]:
    """An expression for each document: what all of its files say."""
    values = licenses.to_pylist()
    result: list[str | None] = []
    for begin, end in pairwise([0, *ends.tolist()]):
        found = set(values[begin:end])
        if len(found) == 1:
            result.append(found.pop())
            continue
        names = ["NOASSERTION" if each is None else f"({each})" if " OR " in each else each for each in found]
        result.append(" AND ".join(sorted(names)))
    return result


def _listed(where: Any, ids: pa.Array, ends: np.ndarray) -> list[str]:
    """The files of each document as JSON: {"files":[[path, id in hexadecimal], ...],"repository":name}."""
    paths, repositories, names = where.path.to_pylist(), where.repository.to_pylist(), ids.to_pylist()
    result = []
    for begin, end in pairwise([0, *ends.tolist()]):
        files = [[path, name.hex()] for path, name in zip(paths[begin:end], names[begin:end], strict=True)]
        value = {"files": files, "repository": repositories[begin]}
        result.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return result
