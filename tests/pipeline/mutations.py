"""Real files damaged by a seed, read by the real first pass, and what must hold of every one of them.

`bases` are small real files in every format, `case` damages one, `examine` reads it and says what is wrong: rows that
break the schema, ids given twice, bytes that do not add up, documents before the damage that are not there.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from corpus import records

from gristmill.pipeline.engine.accounting import check, check_chain
from gristmill.pipeline.engine.commit import Output
from gristmill.pipeline.engine.manifest import Role
from gristmill.pipeline.engine.task import Task
from gristmill.pipeline.readers.arrow_frames import frames_of
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import FileEntry, inventory
from gristmill.pipeline.readers.rows import READ
from gristmill.pipeline.readers.segments import Partition, partitions
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.steps.first_pass import Pass, inputs, read_partition
from gristmill.pipeline.steps.resources import equipped
from gristmill.stages.extract import Extract
from gristmill.stages.language import Language
from gristmill.stages.signals import Signals
from gristmill.storage.store import Store

MAX_DOCUMENT = 1_000_000  # so that hostile sizes are met with small files
LOOKAHEAD = 64  # bytes behind a WARC record that say whether its length is right

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": lambda data: gzip.compress(data, 6, mtime=0),
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "bz2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
}
SLACK = {"": 0, "gz": 0, "zst": 3 << 17, "bz2": 900_000, "xz": 1 << 17}
"""Bytes before damage that a decompressor may keep to itself: the blocks that it is working on."""


@dataclass(frozen=True)
class Base:
    format: str
    """As the counts name it: warc.gz, jsonl, tree.zst ..."""
    name: str
    inner: bytes
    """What is in the file before it is compressed."""
    packing: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of its source."""
    rows: tuple[tuple[int, Any], ...] = ()
    """(record, document) of the undamaged file; the record is a place in `inner` where the format has such places."""

    @property
    def stored(self) -> bytes:
        return PACK[self.packing](self.inner)


def bases(shared_data: Path, folder: Path) -> list[Base]:
    def crawl(name: str) -> bytes:
        return unpacked("gz", (shared_data / "web" / "warc" / name).read_bytes())

    texts = [r for name in ("english", "multilingual") for p in sorted((shared_data / name).glob("*.jsonl.zst"))[:9]
             for r in records(p, 3)]  # fmt: skip
    programs = list(records(shared_data / "code" / "code-permissive.jsonl.zst", 30))
    lines = b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in texts + programs)
    found = [
        Base("jsonl", "a.jsonl", lines, fields={"columns": {"id": "id"}}),
        *(Base(f"jsonl.{kind}", f"a.jsonl.{kind}", lines, kind) for kind in PACK if kind),
        Base("warc", "0.warc", crawl("pywb__example.warc.gz")),
        Base("warc", "1.warc", crawl("webarchive-test-suite__IAH-urls-wget.warc.gz")),
        Base("warc.gz", "a.warc.gz", crawl("chatnoir-resiliparse__warcfile.warc.gz"), "gz"),
        Base("warc.zst", "a.warc.zst", crawl("warcio__example.warc.gz"), "zst"),
        Base("wet.gz", "a.warc.wet.gz", crawl("whirlwind-python__whirlwind.warc.wet.gz"), "gz"),
        Base("wat", "a.warc", (shared_data / "web" / "warc" / "whirlwind-python__whirlwind.warc.wat").read_bytes()),
        *(Base(f"tree{'.' + kind if kind else ''}", f"a.tar{'.' + kind if kind else ''}", archive(programs), kind,
               {"domain": "code"}) for kind in ("", "gz", "zst")),
        *(Base("parquet", f"{i}.parquet", parquet(texts, **options)) for i, options in enumerate(
            ({"compression": "none"}, {"compression": "snappy", "use_dictionary": False}, {"compression": "zstd"}))),
        Base("json", "a.json", json.dumps(texts, ensure_ascii=False, indent=1).encode()),
        Base("json.gz", "b.json.gz", json.dumps(texts[:20]).encode(), "gz"),
        Base("csv", "a.csv", table_of_values(texts, ",")),
        Base("csv.gz", "a.tsv.gz", table_of_values(texts, "\t"), "gz"),
        Base("arrow", "a.arrow", arrow(texts, pa.ipc.new_file)),
        *(Base(f"arrow.{kind}", f"{kind}.arrow", arrow(texts, pa.ipc.new_stream, kind)) for kind in ("zstd", "lz4")),
        Base("text", "a.txt", texts[0]["text"].encode()), Base("text.gz", "a.txt.gz", texts[1]["text"].encode(), "gz"),
        Base("code", "a.py", programs[0]["text"].encode(), fields={"domain": "code", "format": "tree"}),
        *(Base("html", f"{i}.html", page) for i, page in enumerate(pages(shared_data))),
        *(Base(kind, name, data, packing, {"uri": "machine:"}) for kind, name, data, packing in machine()),
    ]  # fmt: skip
    return [with_rows(base, folder) for base in found]


def archive(programs: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for i, program in enumerate(programs[:15]):
            data = program["text"].encode()
            info = tarfile.TarInfo(f"repository/{'long/' * (i % 30)}{i}.{('py', 'c', 'js')[i % 3]}")
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({name: [row.get(name) for row in rows] for name in ("text", "id", "url", "lang")})
    pq.write_table(table, buffer, row_group_size=20, **options)
    return buffer.getvalue()


def table_of_values(rows: list[dict[str, Any]], separator: str) -> bytes:
    """With `\\n` alone at the ends of lines, in values too."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow(["id", "text", "url"])
    writer.writerows(
        [row["id"], re.sub(r"[\r\v\f\x1c-\x1e\x85\u2028\u2029]", " ", row["text"]), row.get("url")] for row in rows
    )
    return out.getvalue().encode()


def arrow(rows: list[dict[str, Any]], new: Callable[..., Any], compression: str | None = None) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({name: [row.get(name) for row in rows] for name in ("text", "id", "url", "lang")})
    with new(buffer, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as out:
        out.write_table(table, max_chunksize=10)
    return buffer.getvalue()


def pages(shared_data: Path) -> Iterator[bytes]:
    with (shared_data / "web" / "html-free-cc.tar.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            wanted = (m for m in opened if m.isfile() and m.name.endswith(".html") and 5_000 < m.size < 40_000)
            for member, _ in zip(wanted, range(6)):
                yield opened.extractfile(member).read()  # type: ignore[union-attr]


def machine() -> Iterator[tuple[str, str, bytes, str]]:
    """Manual pages and catalogues of this computer, with the places that the reader of `machine:` gives them."""
    found = [
        path for section in "158" for path in sorted(Path(f"/usr/share/man/man{section}").glob("[bdgmst]*.gz"))[:60:40]
    ]
    for path in found:
        if path.stat().st_size < 30_000:
            yield "man.gz", f"man/{path.parent.name}/{path.name}", gzip.decompress(path.read_bytes()), "gz"
            yield "man", f"man/{path.parent.name}/{path.stem}", gzip.decompress(path.read_bytes()), ""
    for path in sorted(Path("/usr/share/locale").glob("[de][elst]/LC_MESSAGES/*.mo"))[:40:8]:
        if path.stat().st_size < 100_000:
            yield "mo", f"locale/{path.parts[-3]}/LC_MESSAGES/{path.name}", path.read_bytes(), ""


def unpacked(packing: str, data: bytes) -> bytes:
    """All that the library makes of a prefix of a file."""
    if packing == "":
        return data
    new: Callable[[], Any] = {
        "gz": lambda: zlib.decompressobj(wbits=31), "bz2": bz2.BZ2Decompressor, "xz": lzma.LZMADecompressor,
        "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
    }[packing]  # fmt: skip
    parts = []
    while data:
        member = new()
        parts.append(member.decompress(data))
        data = member.unused_data
    return b"".join(parts)


# -- damage ------------------------------------------------------------------------------------------------------------


def damage(data: bytes, draw: random.Random, other: bytes) -> tuple[str, bytes]:
    """(what was done, the damaged bytes)."""
    kind = draw.choice(sorted(MUTATIONS))
    if not data:
        return kind, draw.randbytes(20)
    a, b = sorted((draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)))
    b = min(b, a + draw.choice((1, 8, 100, 5000)))
    return kind, MUTATIONS[kind](data, a, b, draw, other)


def flip(data: bytes, a: int, b: int, draw: random.Random, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 20))):
        at = draw.randrange(len(data))
        changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def digits(data: bytes, a: int, b: int, draw: random.Random, other: bytes) -> bytes:
    """Numbers in headers: lengths, counts, sizes."""
    at = [i for i in range(a, min(len(data), a + 3000)) if 48 <= data[i] <= 57]
    changed = bytearray(data)
    for i in draw.sample(at, min(len(at), draw.choice((1, 2, 5)))):
        changed[i] = draw.choice(b"0123456789-xF")
    return bytes(changed)


MUTATIONS: dict[str, Callable[[bytes, int, int, random.Random, bytes], bytes]] = {
    "flip": flip,
    "digits": digits,
    "overwrite": lambda data, a, b, draw, other: data[:a] + draw.randbytes(b - a) + data[b:],
    "zeros": lambda data, a, b, draw, other: data[:a] + bytes(b - a) + data[b:],
    "ones": lambda data, a, b, draw, other: data[:a] + b"\xff" * (b - a) + data[b:],
    "cut": lambda data, a, b, draw, other: data[:a],
    "behead": lambda data, a, b, draw, other: data[a:],
    "remove": lambda data, a, b, draw, other: data[:a] + data[b:],
    "duplicate": lambda data, a, b, draw, other: data[:b] + data[a:b] * draw.choice((1, 2, 50)) + data[b:],
    "insert": lambda data, a, b, draw, other: data[:a] + draw.randbytes(b - a) + data[a:],
    "header": lambda data, a, b, draw, other: flip(data[:600], a, b, draw, other) + data[600:],
    "swap": lambda data, a, b, draw, other: data[b:] + data[a:b] + data[:a],
    "splice": lambda data, a, b, draw, other: data[:a] + other[-draw.randrange(1, len(other) + 1) :],
    "append": lambda data, a, b, draw, other: data + draw.choice((other, data, draw.randbytes(100), b"\0" * 1000)),
    "tail": lambda data, a, b, draw, other: data[:-600] + flip(data[-600:], a, b, draw, other),
}


@dataclass(frozen=True)
class Case:
    base: Base
    mutation: str
    stored: bytes
    intact: int
    """Bytes of `base.inner` that any reader can get from what was not touched."""
    partition_bytes: int


def case(bases: list[Base], seed: int) -> Case:
    draw = random.Random(seed)
    formats = sorted({base.format for base in bases})
    base = draw.choice([base for base in bases if base.format == formats[seed % len(formats)]])
    other = draw.choice(bases).stored
    if base.packing and draw.random() < 0.5:  # within: the compressed file is whole
        mutation, inner = damage(base.inner, draw, other)
        stored, intact = PACK[base.packing](inner), common(base.inner, inner)
    else:
        whole = base.stored
        mutation, stored = damage(whole, draw, other)
        intact = len(unpacked(base.packing, whole[: common(whole, stored)])) - SLACK[base.packing]
    return Case(base, mutation, stored, max(0, intact), draw.choice((1 << 40, 1 << 40, 20_000)))


def common(one: bytes, other: bytes) -> int:
    """Length of the common prefix."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


# -- reading -----------------------------------------------------------------------------------------------------------


def with_rows(base: Base, folder: Path) -> Base:
    table = read_all(*laid_out(base, base.stored, folder, 1 << 40))
    rows = tuple((row["record"], document(row)) for row in table.to_pylist())
    return Base(base.format, base.name, base.inner, base.packing, base.fields, rows)


def document(row: dict[str, Any]) -> Any:
    return row["text"], row["content"], row["quarantined_by"], row["url"], row["metadata"]


def laid_out(base: Base, stored: bytes, folder: Path, size: int) -> tuple[SourceSpec, list[FileEntry], list[Partition]]:
    path = folder / base.name.rpartition("/")[2]
    path.write_bytes(stored)
    spec = SourceSpec("source", **{"uri": str(path), **base.fields})
    if spec.is_machine:
        entries = [FileEntry("source", str(path), base.name, len(stored), "", "machine")]
    else:
        entries = inventory([spec])
    return spec, entries, partitions(entries, size)


def read_all(spec: SourceSpec, entries: list[FileEntry], plan: list[Partition]) -> pa.Table:
    found = [batch for partition in plan for batch in read(partition, spec, max_document_bytes=MAX_DOCUMENT)]
    return pa.Table.from_batches(found, READ)


def stages(model: str) -> tuple[Any, ...]:
    return Extract(), Language(model), Signals()


@cache
def shared_by_all(stages: tuple[Any, ...]) -> Pass:
    return Pass(equipped(stages), 1, MAX_DOCUMENT)


def examine(damaged: Case, folder: Path, stages: tuple[Any, ...]) -> tuple[list[str], Counter[str]]:
    """(what is wrong, rows by the reason why they are no documents; '' for documents)."""
    wrong: list[str] = []
    given = laid_out(damaged.base, damaged.stored, folder, damaged.partition_bytes)
    table = read_all(*given)
    table.validate(full=True)
    if table.schema != READ:
        wrong.append("schema")
    ids = table.column("id").to_pylist()
    if damaged.base.fields.get("columns") is None and len(set(ids)) < len(ids):
        wrong.append("ids given twice")
    rows = table.to_pylist()
    for row in rows:
        size = len((row["text"] or "").encode()) if row["text"] is not None else len(row["content"] or b"")
        if row["read_bytes"] < 0 or (row["quarantined_by"] is None and row["read_bytes"] != size):
            wrong.append(f"bytes of record {row['record']}: {row['read_bytes']}")
        if row["quarantined_by"] is None and row["text"] is None and row["content"] is None:
            wrong.append(f"record {row['record']} is nothing")
    wrong += missing(damaged, rows)
    wrong += passed_on(given, table, folder, stages)
    return wrong, Counter(row["quarantined_by"] or "" for row in rows)


def missing(damaged: Case, rows: list[dict[str, Any]]) -> list[str]:
    """Documents that end before the damage and are not there as they were."""
    base = damaged.base
    found = Counter((row["record"], document(row)) for row in rows)
    if base.format == "parquet":
        return [f"row {n} is lost" for n, kept in base.rows[: rows_before(damaged)] if not found[n, kept]]
    if base.format.partition(".")[0] not in ("jsonl", "json", "csv", "arrow", "warc", "wet", "tree"):
        return []
    ends = ends_of(base)
    lookahead = 0 if base.format.startswith(("json", "csv", "arrow")) else LOOKAHEAD
    whole = [row for row, end in zip(base.rows, ends) if end + lookahead <= damaged.intact]
    return [f"record {record} is lost" for record, kept in whole if not found[record, kept]]


def ends_of(base: Base) -> list[int]:
    """Where in `inner` each of the undamaged rows ends."""
    if base.format.startswith("arrow"):
        ends = []
        for frame in frames_of(io.BytesIO(base.inner), len(base.inner)).batches:
            ends += [frame.offset + frame.size] * frame.rows
        return ends
    starts = [record for record, _ in base.rows]
    if base.format.startswith("csv"):
        lines = [0, *accumulate(len(line) for line in base.inner.splitlines(keepends=True))]
        starts = [lines[number - 1] for number in starts]
    return [*starts[1:], len(base.inner)]


def rows_before(damaged: Case) -> int:
    """Rows of the row groups that end before the first byte that changed, where the footer is as it was."""
    whole = damaged.base.stored
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    if len(damaged.stored) != len(whole) or damaged.stored[-footer:] != whole[-footer:]:
        return 0
    first = common(whole, damaged.stored)
    metadata = pq.ParquetFile(io.BytesIO(whole)).metadata
    rows = 0
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        columns = [group.column(i) for i in range(group.num_columns)]
        starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        if max(start + column.total_compressed_size for start, column in zip(starts, columns)) > first:
            break
        rows += group.num_rows
    return rows


def passed_on(given: Any, table: pa.Table, folder: Path, stages: tuple[Any, ...]) -> list[str]:
    """The tasks of the real first pass over the partitions: their accounting, their files, their ledger."""
    spec, entries, plan = given
    shared = shared_by_all(stages)
    store = Store(str(folder / "store"))
    taken = stayed = left = 0
    for payload in inputs([spec], entries, plan, ()):
        output = Output(store, "step", payload.partition.index)
        manifest = output.manifest(read_partition(Task(payload.partition.index, payload, shared, store, output)))
        for stage, counts in manifest.counts.items():
            check(stage, manifest.index, counts)
        check_chain(manifest.index, list(manifest.counts.items()))
        manifest.to_json()
        taken += manifest.counts["read"].documents_in
        stayed += sum(file.rows for file in manifest.all(Role.DOCUMENTS))
        ledgers = [pq.read_table(store.path(file.path)) for file in manifest.all(Role.LEDGER)]
        left += sum(len(t) - t.column("action").to_pylist().count("edited") for t in ledgers)
        for file in manifest.files:
            store.delete(file.path)
    return (
        []
        if taken == table.num_rows == stayed + left
        else [f"{table.num_rows} read, {taken} in, {stayed} + {left} out"]
    )
