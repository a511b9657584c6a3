"""JSON Lines read as columns: whole lines, about `batch_bytes` at a time, through `kernels.text.json_lines`.

What the kernel marks as odd goes line by line through `pipeline.readers.jsonl`, whose rows are the definition: the two
give the same batches, and tests compare them. Where a batch ends follows from the bytes of the file alone, not from how
a storage hands them out.

A column that is mapped to a dotted path (`metadata.url`) is taken from the fields that become metadata, which are
parsed in any case; a line that has a key of that very name, dots and all, goes to the complete parser.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gristmill.kernels.text import json_lines, json_strings
from gristmill.kernels.text.hashing import document_ids
from gristmill.pipeline.readers.json_metadata import Metadata, Values
from gristmill.pipeline.readers.json_pieces import Piece, pieces
from gristmill.pipeline.readers.jsonl import Beside, Line, line_limit, line_row, read_jsonl
from gristmill.pipeline.readers.records import LICENSE_COLUMNS, Record, domain_and_language, name_of
from gristmill.pipeline.readers.rows import (
    EXCERPT_BYTES,
    MAX_BATCH_ROWS,
    MIN_BESIDE_BYTES,
    READ,
    Skipped,
    batches,
    row_batch,
)
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.timestamps import is_missing, parse_timestamp
from gristmill.pipeline.readers.values import NO_IDS
from gristmill.stages.code_keys import NOTHING, Evidence
from gristmill.stages.document import ID, TIMESTAMP

OURS = ("text", "id", "url", "timestamp", "language", "programming_language", "title", "license", "category")
TAKEN = ("id", "url", "language", "category", "title", "license", "timestamp", "programming_language")
"""Columns that a path may lead to, in the order in which `record_row` takes them out of the record."""
KEPT = ("title", "license")
"""Those of which a null stays where it is."""
NUMBERS = ("id", "timestamp")
BLANK = r"^[\s\x{1c}-\x{1f}\x{85}\p{Z}]*$"
"""What `str.strip` leaves nothing of."""
TIMES = 4096
"""Different values of timestamps that are remembered."""


def can_read(spec: SourceSpec) -> bool:
    """Whether each of our columns has a key of its own, and none is a page."""
    columns = spec.columns_in_use()
    return "content" not in columns and len(set(columns.values())) == len(columns)


def read_columns(
    segment: Segment, spec: SourceSpec, max_document_bytes: int, batch_bytes: int, skipped: Skipped
) -> Iterator[pa.RecordBatch]:
    """Batches of schema `READ`, each of at most `MAX_BATCH_ROWS` rows and about `batch_bytes` of lines."""
    beside = Beside.of(segment, spec)
    if beside.given:  # columns of ours that are not in the lines
        yield from batches(
            read_jsonl(segment, spec, max_document_bytes, skipped), spec, max_document_bytes, batch_bytes
        )
        return
    lines = Lines(segment.path, beside, max_document_bytes, skipped)
    limit = line_limit(max_document_bytes)
    for piece in pieces(segment, limit, batch_bytes, segment.encoding or spec.encoding):
        found = lines.rows([piece]) if isinstance(piece, Line) else lines.columns(piece)
        for start in range(0, found.num_rows, MAX_BATCH_ROWS):
            yield found.slice(start, MAX_BATCH_ROWS)


class Lines:
    """Makes batches of the lines of one file."""

    def __init__(self, path: str, beside: Beside, max_document_bytes: int, skipped: Skipped) -> None:
        self.path = path
        self.beside = beside
        spec = self.spec = beside.spec
        self.max_document_bytes = max_document_bytes
        self.skipped = skipped
        self.theirs = spec.columns_in_use()
        self.ours = [name for name in OURS if name in self.theirs]
        strange = [(name, json_lines.STRANGE) for name in LICENSE_COLUMNS if name not in self.theirs.values()]
        wanted = [
            (self.theirs[name], json_lines.NUMBERED if name in NUMBERS else json_lines.WANTED) for name in self.ours
        ]
        self.keys = json_lines.keys(wanted + strange)
        self.nested = [name for name in TAKEN if "." in self.theirs.get(name, "")]
        self.metadata = Metadata(
            spec.metadata,
            [self.theirs[name] for name in self.nested],
            numbers=[self.theirs[name] for name in self.nested if name in NUMBERS],
            kept=[self.theirs[name] for name in self.nested if name in KEPT],
            code=spec.domain is None,
        )

    def rows(self, lines: list[Line]) -> pa.RecordBatch:
        """A batch of lines that the complete parser reads."""
        found = [line_row(self.path, line, self.beside, self.skipped) for line in lines]
        return row_batch([row for row in found if row is not None], self.spec, self.max_document_bytes)

    def columns(self, piece: Piece) -> pa.RecordBatch:
        scanned = Scanned(piece, self.keys)
        fast = np.flatnonzero(scanned.marks == json_lines.FAST)
        self.skipped["jsonl.empty_line"] += int((scanned.marks == json_lines.EMPTY).sum())
        batch, good = self._fast(scanned, fast[self._fits(scanned, fast)])
        odd = np.flatnonzero(scanned.marks != json_lines.EMPTY)
        odd = odd[~np.isin(odd, good, assume_unique=True)]
        if not len(odd):
            return batch
        limit = line_limit(self.max_document_bytes)
        lines = [scanned.line(number, limit) for number in odd.tolist()]
        found = [line_row(self.path, line, self.beside, self.skipped) for line in lines]
        there = np.array([row is not None for row in found])
        others = row_batch([row for row in found if row is not None], self.spec, self.max_document_bytes)
        order = np.argsort(np.concatenate([good, odd[there]]), kind="stable")
        table = pa.Table.from_batches([batch, others], READ).take(pa.array(order)).combine_chunks()
        return table.to_batches()[0] if table.num_rows else batch

    def _fits(self, scanned: Scanned, fast: np.ndarray) -> np.ndarray:
        """Whether a line's text, and what stands beside it, are surely within the limits."""
        text = self.ours.index("text")
        size = (scanned.spans[fast, text, 1] - scanned.spans[fast, text, 0]) * (scanned.kinds[fast, text] >= 2)
        beside = scanned.ends[fast] - scanned.begins[fast] - size
        there = scanned.kinds[fast, text] >= json_strings.PLAIN
        fits: np.ndarray = there & (size <= self.max_document_bytes) & (beside <= MIN_BESIDE_BYTES)
        return fits

    def _fast(self, scanned: Scanned, lines: np.ndarray) -> tuple[pa.RecordBatch, np.ndarray]:
        """(the batch, its lines): of `lines` those whose other columns are as they should be."""
        spec = self.spec
        string = {name: scanned.column(self.ours.index(name), lines) for name in self.ours if name != "text"}
        none = pa.nulls(len(lines), pa.string())
        numbers = scanned.kinds[lines, self.ours.index("timestamp")] == json_strings.INTEGER
        texts, values, evidence = self._fields(scanned, lines)
        parsed = np.ones(len(lines), np.bool_)
        if None in values:
            parsed = np.array([each is not None for each in values], np.bool_)
        for place, name in enumerate(self.nested):
            taken = [None if each is None else each[place] for each in values]
            string[name] = pa.array([None if value is None else str(value) for value in taken], pa.string())
            parsed &= scanned.kinds[lines, self.ours.index(name)] == json_strings.ABSENT
            if name == "timestamp":
                numbers = np.array([isinstance(value, int) for value in taken], np.bool_)
        times, fine = micros(string["timestamp"], numbers)
        domain, language, named = self._domains(string, evidence)
        category, sorted_in = self._categories(string.get("category"), len(lines))
        metadata = pa.array(texts, pa.string())
        good = fine & named & sorted_in & parsed
        count = int(good.sum())
        chosen = None if count == len(lines) else pa.array(good)
        lines = lines if chosen is None else lines[good]

        def kept(column: pa.Array) -> pa.Array:
            return column if chosen is None else column.filter(chosen)

        own_ids = identifiers(kept(string.get("id", none)))
        if spec.ids == "per_file":
            own_ids = pc.binary_join_element_wise(spec.own_id(self.path, ""), own_ids, "")
        records = pa.array(scanned.begins[lines] + scanned.piece.offset)
        paths = pa.repeat(pa.scalar(self.path), count)
        ids = document_ids(spec.name, own_ids, paths=paths, records=records)
        text = scanned.column(self.ours.index("text"), lines, pa.large_string())
        columns = {
            "id": pa.FixedSizeBinaryArray.from_buffers(ID, count, [None, pa.py_buffer(ids)]),
            "text": text,
            "source": pa.repeat(pa.scalar(spec.name), count),
            "path": paths,
            "record": records,
            "own_id": own_ids,
            "domain": kept(domain),
            "category": kept(category),
            "language": kept(language),
            "url": kept(not_empty(string["url"])),
            "timestamp": kept(times).cast(TIMESTAMP),
            "priority": pa.repeat(pa.scalar(spec.priority, pa.int32()), count),
            "title": kept(not_empty(string["title"])),
            "license": kept(not_empty(string["license"])),
            "metadata": kept(metadata),
            "read_bytes": pc.binary_length(text).cast(pa.int64()),
        }
        arrays = [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in READ]
        return pa.RecordBatch.from_arrays(arrays, schema=READ), lines

    def _domains(
        self, string: dict[str, pa.Array], evidence: Sequence[Evidence | None]
    ) -> tuple[pa.Array, pa.Array, np.ndarray]:
        """(domain, language, whether a row's language can be told from these columns alone)."""
        spec = self.spec
        keyed = [self.theirs["language"], self.theirs["programming_language"]]

        def told(pair: tuple[str | None, str | None], said: Evidence | None) -> tuple[str | None, str | None, bool]:
            record: Record = {key: value for key, value in zip(keyed, pair, strict=True) if value is not None}
            language = name_of(record, keyed[0])
            by_path = spec.domain == "code" and not pair[1] and not (language or spec.language)
            domain, named = domain_and_language(record, self.theirs, spec, language, None, said or NOTHING)
            return domain or spec.domain, named, not record and not by_path

        columns, each = pairs(string["language"], string["programming_language"])
        rows = [told(pair, None) for pair in columns]
        place = each.copy()
        for i in [i for i, said in enumerate(evidence) if said is not None]:
            place[i] = len(rows)
            rows.append(told(columns[each[i]], evidence[i]))
        domain, language = (pa.array([row[i] for row in rows], pa.string()).take(pa.array(place)) for i in (0, 1))
        return domain, language, np.array([row[2] for row in rows], np.bool_)[place]

    def _categories(self, column: pa.Array | None, count: int) -> tuple[pa.Array, np.ndarray]:
        given = self.spec.category
        if column is None:
            return pa.repeat(pa.scalar(given or "misc"), count), np.ones(count, np.bool_)
        columns, each = pairs(column, pa.nulls(count, pa.string()))
        key = self.theirs["category"]
        records: list[Record] = [{key: pair[0]} if pair[0] is not None else {} for pair in columns]
        names = [given or name_of(record, key) or "misc" for record in records]
        if given:
            names = [given] * len(columns)
            for record in records:
                name_of(record, key)
        return pa.array(names, pa.string()).take(pa.array(each)), np.array([not r for r in records], np.bool_)[each]

    def _fields(
        self, scanned: Scanned, lines: np.ndarray
    ) -> tuple[Sequence[str | None], Sequence[Values | None], Sequence[Evidence | None]]:
        """What the fields that are no column of ours give, for each line."""
        rest, offsets = scanned.rest, scanned.rest_offsets
        places = zip(offsets[lines].tolist(), offsets[lines + 1].tolist(), strict=True)
        found = self.metadata.of([rest[begin:end] for begin, end in places])
        return tuple(zip(*found)) if found else ((), (), ())  # type: ignore[return-value]


class Scanned:
    """A piece, and where in it the values are."""

    def __init__(self, piece: Piece, keys: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        self.piece = piece
        self.data = np.frombuffer(piece.data, np.uint8)
        lines, wanted = json_lines.count_lines(self.data), len(keys[2])
        self.marks = np.empty(lines, np.int8)
        self.ends = np.empty(lines, np.int64)
        self.spans = np.empty((lines, wanted, 2), np.int64)
        self.kinds = np.empty((lines, wanted), np.int8)
        self.rest_offsets = np.empty(lines + 1, np.int64)
        rest = np.empty(len(self.data) + lines, np.uint8)
        json_lines.scan(self.data, *keys, self.marks, self.ends, self.spans, self.kinds, rest, self.rest_offsets)
        self.rest = rest[: self.rest_offsets[-1]].tobytes()
        self.begins = np.concatenate([[0], self.ends[:-1]]).astype(np.int64)

    def line(self, number: int, limit: int) -> Line:
        begin, end = int(self.begins[number]), int(self.ends[number])
        size = end - begin - (number == len(self.ends) - 1 and not self.piece.ended)
        if size > limit:
            return Line(
                self.piece.offset + begin, size, self.piece.data[begin : begin + EXCERPT_BYTES], "read.too_large"
            )
        return Line(self.piece.offset + begin, size, self.piece.data[begin : end - 1], None)

    def column(self, key: int, lines: np.ndarray, kind: pa.DataType | None = None) -> pa.Array:
        spans, kinds = np.ascontiguousarray(self.spans[:, key]), np.ascontiguousarray(self.kinds[:, key])
        out = np.empty(json_strings.sizes(spans, kinds, lines), np.uint8)
        offsets = np.empty(len(lines) + 1, np.int64)
        valid = np.empty(len(lines), np.bool_)
        used = json_strings.column(self.data, spans, kinds, lines, out, offsets, valid)
        places = offsets if kind is not None else offsets.astype(np.int32)
        validity = pa.py_buffer(np.packbits(valid, bitorder="little"))
        buffers = [validity, pa.py_buffer(places), pa.py_buffer(out[:used])]
        return pa.Array.from_buffers(kind or pa.string(), len(lines), buffers)


def identifiers(column: pa.Array) -> pa.Array:
    """What `values.identifier` says of each string."""
    none = pc.or_(pc.is_in(column, pa.array(NO_IDS)), pc.match_substring_regex(column, BLANK))
    if not pc.any(none, min_count=0).as_py():
        return column
    return pc.if_else(none, pa.scalar(None, pa.string()), column)


def not_empty(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def pairs(one: pa.Array, other: pa.Array) -> tuple[list[tuple[str | None, str | None]], np.ndarray]:
    """(the different pairs of values, which of them each row has)."""
    first, second = (column.dictionary_encode("encode") for column in (one, other))
    width = len(second.dictionary)
    codes = first.indices.to_numpy().astype(np.int64) * width + second.indices.to_numpy()
    different, each = np.unique(codes, return_inverse=True)
    left, right = first.dictionary.to_pylist(), second.dictionary.to_pylist()
    return [(left[code // width], right[code % width]) for code in different.tolist()], each


def micros(column: pa.Array, numbers: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """(int64 microseconds, whether each value is a time or says that there is none). numbers: which are numbers."""
    found, fine = [], np.ones(len(column), np.bool_)
    for i, value in enumerate(column.to_pylist()):
        found.append(None if value is None else moment_of(value, bool(numbers[i])))
        fine[i] = found[-1] is not None or is_missing(value)
    return pa.array(found, pa.int64()), fine


@lru_cache(maxsize=TIMES)
def moment_of(value: str, number: bool) -> int | None:
    return parse_timestamp(int(value) if number else value)
