"""Whatever the bytes: no crash, no hang, no document lost, no memory beyond what was read. Across all formats.

The full attack, twelve thousand damaged files, is benchmarks/chaos/inputs.py.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import mutations
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import read_rows, read_skipped
from test_readers_warc import HTML, PAGE, record, response

from gristmill.pipeline.steps.first_pass import group_name
from gristmill.stages.extract import Extract, decode, is_html

ROOT = Path(__file__).parents[2]
CASES = 220


@pytest.fixture(scope="module")
def damaged(
    shared_data: Path, language_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[mutations.Base], Path, tuple]:
    folder = tmp_path_factory.mktemp("damaged")
    return mutations.bases(shared_data, folder), folder, mutations.stages(str(language_model))


@pytest.mark.slow
def test_a_folder_of_broken_files_is_a_first_pass_like_any_other(damaged: tuple, tmp_path: Path) -> None:
    """Everything in one source, names that are no UTF-8 and a pipe among it: committed, sealed, added up."""
    from gristmill.pipeline.engine.accounting import check
    from gristmill.pipeline.engine.engine import Engine
    from gristmill.pipeline.readers.inventory import inventory
    from gristmill.pipeline.readers.segments import partitions
    from gristmill.pipeline.readers.source import SourceSpec
    from gristmill.pipeline.steps.first_pass import first_pass
    from gristmill.storage.store import Store

    bases, _, stages = damaged
    folder = tmp_path / "input"
    folder.mkdir()
    for seed in range(160):
        case = mutations.case(bases, seed)
        if not case.base.fields:
            (folder / f"{seed}-{case.base.name}").write_bytes(case.stored)
    os.rename(folder / os.listdir(folder)[0], os.fsencode(folder) + b"/\xff.txt")
    os.mkfifo(folder / "pipe.txt")
    notes: list[str] = []
    sources = [SourceSpec("mixed", f"{folder}/*")]
    files = inventory(sources, notes)
    assert len(notes) == 1
    plan = partitions(files, 200_000)
    engine = Engine(Store(str(tmp_path / "out")))
    sealed = first_pass(engine, sources, files, plan, stages, seed=1, max_document_bytes=1_000_000)
    counts = sealed.counts()
    for stage in counts:
        check(stage, 0, counts[stage])
    assert counts["read"].documents_in > 300
    assert {"read.truncated", "read.malformed_json", "warc.broken_record"} <= set(counts["read"].rules)
    assert sum(m.stats.skipped.get("warc.request", 0) for _, m in sealed.done()) > 0


@pytest.mark.slow
def test_damaged_files_lose_nothing_that_is_before_the_damage(damaged: tuple) -> None:
    bases, folder, stages = damaged
    failures = {}
    for seed in range(1_000_000, 1_000_000 + CASES):
        case = mutations.case(bases, seed)
        wrong, _ = mutations.examine(case, folder, stages)
        if wrong:
            failures[seed, case.base.format, case.mutation] = wrong
    assert not failures


@pytest.mark.slow
def test_the_examination_sees_what_is_missing(damaged: tuple) -> None:
    bases, folder, stages = damaged
    base = next(base for base in bases if base.format == "jsonl.gz")
    case = mutations.Case(base, "cut", base.stored[: len(base.stored) // 2], len(base.inner), 1 << 40)
    wrong, reasons = mutations.examine(case, folder, stages)
    assert any("is lost" in sentence for sentence in wrong)
    assert reasons["read.truncated"] == 1


LINES = [json.dumps({"text": f"document {i} " + "é" * 40}, ensure_ascii=False).encode() + b"\n" for i in range(12)]
RECORDS = [record("response", response(PAGE + b"%d" % i, HTML)) for i in range(12)]


def members() -> list[bytes]:
    parts = []
    for i in range(12):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as out:
            info = tarfile.TarInfo(f"{i}.txt")
            info.size = 600
            out.addfile(info, io.BytesIO(b"%d" % (i % 10) * 600))
        parts.append(buffer.getvalue()[:1536])
    return parts


TABLE = [b"id,text\n0,document\n", *(b'%d,"document %d, with a\x20comma"\n' % (i, i) for i in range(1, 12))]


def batches() -> list[bytes]:
    """Of a stream of Arrow IPC; the first with the schema."""
    out = io.BytesIO()
    ends = []
    schema = pa.schema([pa.field("text", pa.string())])
    with pa.ipc.new_stream(out, schema) as writer:
        for i in range(12):
            writer.write_batch(pa.record_batch([[f"document {i}"]], schema=schema))
            ends.append(out.tell())
    data = out.getvalue()
    return [data[begin:end] for begin, end in zip([0, *ends], ends)]


BATCHES = batches()
CUT = {
    "a.jsonl": (LINES, 1), "a.warc": (RECORDS, 5), "a.tar": (members(), 424), "a.csv": (TABLE, 1),
    "a.arrows": (BATCHES, 0),
}  # fmt: skip
"""Name -> (the pieces that are documents, bytes at a piece's end that it can do without)."""
REASONS = {"read.truncated", "read.malformed_json", "read.invalid_utf8", "csv.malformed", "csv.ragged"}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("packing", ["", "gz", "zst", "bz2", "xz"])
def test_a_file_cut_anywhere_keeps_the_documents_before_the_cut(tmp_path: Path, name: str, packing: str) -> None:
    parts, spare = CUT[name]
    stored = mutations.PACK[packing](b"".join(parts))
    bounds = [0]
    for part in parts:
        bounds.append(bounds[-1] + len(part))
    file = tmp_path / f"{name}.{packing}".rstrip(".")
    for cut in range(len(stored) if len(stored) < 400 else 1, len(stored), max(1, len(stored) // 40)):
        file.write_bytes(stored[:cut])
        rows = read_rows(file, domain="english")
        kept = [row for row in rows if row["quarantined_by"] is None]
        there = len(mutations.unpacked(packing, stored[:cut])) if packing in ("gz", "") else 0
        assert len(kept) >= sum(end - spare <= there for end in bounds[1:]), cut
        if name in ("a.csv", "a.arrows"):  # lines and rows are counted
            assert [row["record"] for row in kept] == [i + (name == "a.csv") * 2 for i in range(len(kept))]
        else:
            assert [row["record"] for row in kept] == bounds[: len(kept)]
        assert {row["quarantined_by"] for row in rows[len(kept) :]} <= REASONS
        assert rows[len(kept) :] or packing or any(end - spare <= cut <= end for end in bounds)


LIES = {
    "too short": b"Content-Length: 5",
    "too long": b"Content-Length: 250",
    "longer than the file": b"Content-Length: 100000",
    "negative": b"Content-Length: -5",
    "no number": b"Content-Length: many",
    "digits of another script": "Content-Length: ٣".encode(),
    "missing": b"X: y",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("kind", ["response", "request"])
def test_a_warc_record_with_a_wrong_length_costs_no_other(tmp_path: Path, lie: str, kind: str) -> None:
    block = response(PAGE, HTML)
    wrong = record(kind, block).replace(b"Content-Length: %d" % len(block), LIES[lie])
    assert LIES[lie] in wrong
    file = tmp_path / "a.warc"
    file.write_bytes(RECORDS[0] + wrong + b"".join(RECORDS[1:]))
    rows = read_rows(file)
    kept = [row["content"] for row in rows if row["quarantined_by"] is None]
    assert kept == [PAGE + b"%d" % i for i in range(12)]
    (gap,) = (row for row in rows if row["quarantined_by"] is not None)
    assert (gap["quarantined_by"], gap["record"]) == ("warc.broken_record", len(RECORDS[0]))
    assert 0 <= len(wrong) - gap["read_bytes"] <= 4  # up to the empty lines


def test_a_warc_with_huge_headers_empty_records_and_odd_types(tmp_path: Path) -> None:
    file = tmp_path / "a.warc"
    file.write_bytes(
        record("response", response(PAGE, HTML), X="y" * 100_000)
        + record("response", b"")
        + record("conversion", b"")
        + record("response", response(PAGE, "X: " + "y" * 2_000_000))
        + record("blog post", response(PAGE, HTML))
        + b"\r\n" * 100_000
        + record("response", response(PAGE, HTML))
    )
    rows = read_rows(file)
    assert [row["quarantined_by"] for row in rows] == [
        "warc.broken_record", "warc.not_http", None, "warc.empty", "warc.unknown_type", None,
    ]  # fmt: skip
    assert (rows[2]["text"], rows[5]["content"]) == ("", PAGE)


@pytest.mark.slow
def test_a_warc_of_nothing_but_broken_records_ends_soon(tmp_path: Path) -> None:
    file = tmp_path / "a.warc"
    broken = b"WARC/1.0\r\nContent-Length: 20000000\r\nWARC-Type: response\r\n\r\nx\r\n\r\n"
    file.write_bytes(broken * 300_000)
    started = time.process_time()
    rows = read_rows(file)
    assert time.process_time() - started < 60  # each would read 20 MB again: 6 TB
    assert {row["quarantined_by"] for row in rows} == {"warc.broken_record", "read.truncated"}
    assert sum(row["read_bytes"] for row in rows) == file.stat().st_size


@pytest.mark.parametrize(
    ("headers", "body", "payload"),
    [
        ("Transfer-Encoding: chunked", b"ad\nvertisement, no chunk", b"ad\nvertisement, no chunk"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\nffffffff\r\nrest", b"hellorest"),
        ("Transfer-Encoding: chunked", b"5\r\nhello", b"hello"),
        ("Content-Encoding: gzip", b"\x1f\x8bnot gzip", None),
        ("Content-Encoding: br", b"<p>plain", b"<p>plain"),
        ("Content-Encoding: br", b"plain", None),
        ("Content-Encoding: deflate", b"<p>plain", b"<p>plain"),
        ("Content-Encoding: deflate", b"plain text", None),
        ("Content-Encoding: zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 20, None),
        ("Content-Encoding: gzip", gzip.compress(b"0123456789abcdef" * 9 + bytes(range(256)))[:-20], b"0123"),
    ],
)
def test_lies_about_encodings(headers: str, body: bytes, payload: bytes | None) -> None:
    from gristmill.pipeline.readers.http import UndecodableError, parse_response

    if payload is None:
        with pytest.raises(UndecodableError):
            parse_response(response(body, headers), 1 << 20)
        return
    found = parse_response(response(body, headers), 1 << 20)
    assert found is not None
    assert found.payload.startswith(payload) if payload == b"0123" else found.payload == payload


ODD_LINES = {
    b'{"text": "' + b"\\ud800" + b'"}': "read.invalid_utf8",
    b'{"text": "x", "a": ' + b"[" * 150 + b"]" * 150 + b"}": None,
    b'{"text": "x", "a": ' + b"[" * 250 + b"]" * 250 + b"}": "read.malformed_json",
    b'{"text": "x", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}": "read.malformed_json",
    b'{"text": "x", "n": ' + b"9" * 10_000 + b"}": "read.malformed_json",
    b'{"text": "x", "n": 1e999, "m": NaN, "id": 1e999}': None,
    b'{"text": ["x"]}': "read.no_text",
    b'{"text": 7}': "read.no_text",
    b'{"text": null}': "read.no_text",
    b'{"text": "x", "url": {"a": 1}, "language": ["de"], "timestamp": {"y": 1}, "programming_language": 3.5}': None,
    b'{"text": "x", "language": "../../../etc", "programming_language": ".."}': None,
    b'{"text": "x", "text": "y"}': None,
    b'{"text": "half': "read.malformed_json",
    b'{"text": "x"} {"text": "y"}': "read.malformed_json",
    b'"text"': "read.malformed_json",
    b"\0": "read.malformed_json",
    b'{"text": "\\u0000 stays"}': None,
    b'{"text": "\xc3"}': "read.invalid_utf8",
    b'{"text": ""}': None,
    b'{"": "x"}': "read.no_text",
}


@pytest.mark.parametrize("domain", [None, "code"])
def test_json_of_every_kind_is_a_row_with_its_reason(tmp_path: Path, domain: str | None) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\n".join(ODD_LINES))
    rows = read_rows(file, domain=domain, columns={"id": "id"})
    assert {line[:60]: row["quarantined_by"] for line, row in zip(ODD_LINES, rows, strict=True)} == {
        line[:60]: reason for line, reason in ODD_LINES.items()
    }
    for row in rows:
        assert not row["metadata"] or json.loads(row["metadata"], parse_constant=pytest.fail)
        folders = group_name(row["domain"], row["language"]).split("/")
        assert len(folders) == 2
        assert not {"", ".", ".."} & set(folders)


def test_ids_that_are_no_characters_stay_different(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "a", "id": "\\ud800"}\n{"text": "b", "id": "\\ud801"}\n{"text": "c", "id": "?"}\n')
    assert len({row["id"] for row in read_rows(file, columns={"id": "id"})}) == 3


def test_what_stands_beside_a_text_counts_against_the_limit_too(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        json.dumps({"text": "x", "junk": "y" * 3_000_000}).encode()
        + b"\n"
        + json.dumps({"text": "x", "url": "y" * 3_000_000}).encode()
        + b'\n{"text": "z"}'
    )
    rows = read_rows(file, limits={"max_document_bytes": 2_000_000})
    assert [row["quarantined_by"] for row in rows] == ["read.too_large", "read.too_large", None]


@pytest.mark.parametrize(
    ("media", "page"),
    [
        ("", b"<!---->" * 146), ("", b"<!--" * 200), ("", b"<?xml" * 200), ("", b" " * 1024),
        ("text/html; charset=" + " " * 1_000_000, b"\xff<p>x"), ("text/html;" + "charset=" * 100_000, b"\xff<p>x"),
        ("text/html", b"<meta charset=" + b" " * 4000 + b"\xff"), ("text/html", b"<meta " * 680 + b"\xff"),
        ("text/html", b"<meta charset=" * 290 + b"\xff"),
    ],
)  # fmt: skip
def test_no_pattern_that_looks_at_a_page_takes_longer_than_the_page(media: str, page: bytes) -> None:
    started = time.process_time()
    is_html(media, page)
    decode(page, media)
    assert time.process_time() - started < 5  # milliseconds; the first of them took longer than the universe


@pytest.mark.slow
def test_a_page_of_ten_megabytes_of_anything_is_extracted_or_refused(tmp_path: Path) -> None:
    pages = [
        b"<p " + b"a='" + b"x" * 9_000_000,
        b"&" * 9_900_000,
        b"<" * 9_900_000,
        b"<p>x" * 400_000,
        b"\0" * 9_900_000,
    ]
    pages += ["<p>é".encode() * 300_000, b"<!--" * 2_000_000, b"</p>" * 1_000_000]
    batch = pa.table(
        {
            "content": pa.array(pages, pa.large_binary()),
            "content_type": ["text/html"] * len(pages),
            "text": pa.nulls(len(pages), pa.large_string()),
        }
    ).to_batches()[0]
    result = Extract().apply(batch)
    assert result.num_rows == len(pages)


MEASURE = """
import resource, sys
sys.path[:0] = [{root!r}, {tests!r}]
from reading import read_table
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.readers.formats import read
spec = SourceSpec("s", {uri!r})
plan = partitions(inventory([spec]), 1 << 40)
for _ in range(2):
    next(iter(()), None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reasons, rows = set(), 0
for batch in read(plan[0], spec, max_document_bytes={limit}):
    reasons |= set(batch.column("quarantined_by").to_pylist())
    rows += batch.num_rows
print(rows, sorted(map(str, reasons)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_megabytes(file: Path, limit: int) -> tuple[int, str, float]:
    """(rows, reasons, MB that reading the file added to the peak of a fresh process)."""
    program = MEASURE.format(root=str(ROOT), tests=str(ROOT / "tests" / "pipeline"), uri=str(file), limit=limit)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rows, rest = done.stdout.split(" ", 1)
    reasons, _, peak = rest.rpartition(" ")
    return int(rows), reasons, int(peak) / 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.warc", "a.txt", "a.tar"])
def test_a_document_of_200_mb_is_quarantined_within_twice_the_limit(tmp_path: Path, name: str) -> None:
    limit, size = 32_000_000, 200_000_000
    file = tmp_path / name
    piece = b"word " * 200_000
    opener = gzip.open if name.endswith("gz") else open
    heads = {
        "a.jsonl": b'{"text": "',
        "a.json": b'[{"text": "',
        "a.csv": b'text\n"',
        "a.txt": b"",
        "a.warc": b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: %d\r\n\r\n" % size,
    }
    info = tarfile.TarInfo("x.txt")
    info.size = size
    with opener(file, "wb", **({"compresslevel": 1} if name.endswith("gz") else {})) as out:
        out.write(heads.get(name.removesuffix(".gz"), info.tobuf()))
        for i in range(size // len(piece)):
            out.write(piece if i % 8 else b"%08d" % i * (len(piece) // 8))  # no bomb
        out.write(
            b'"}]\n'
            if name == "a.json"
            else b'"}\n'
            if "jsonl" in name
            else b'"\n'
            if name == "a.csv"
            else b"\r\n\r\n"
            if "warc" in name
            else b""
        )
    rows, reasons, peak = peak_megabytes(file, limit)
    assert (rows, reasons) == (1, "['read.too_large']")
    assert peak < 2.2 * limit / 1e6 + 30  # MB: a block, its decompressed form and the modules of the reader


@pytest.mark.slow
def test_a_million_empty_documents_are_read_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    with file.open("wb") as out:
        for _ in range(100):
            out.write(b'{"text": ""}\n' * 10_000)
    rows, reasons, peak = peak_megabytes(file, 64_000_000)
    assert (rows, reasons) == (1_000_000, "['None']")
    assert peak < 250


def test_every_real_archive_is_read_to_its_end_and_all_of_it_is_counted(shared_data: Path) -> None:
    for path in sorted((shared_data / "web" / "warc").glob("*warc*")):
        format_name = "wet" if path.suffix in (".txt", ".wat") else None
        rows = read_rows(path, format=format_name)
        skipped = read_skipped(path, format=format_name)
        assert len(rows) + sum(skipped.values()) > 0, path.name
        assert all(row["quarantined_by"] or row["text"] or row["content"] for row in rows), path.name
        assert set(skipped) <= {f"warc.{kind}" for kind in ("warcinfo", "request", "metadata", "resource", "revisit")}


@pytest.mark.slow
def test_what_was_no_document_is_in_the_manifest_of_its_partition(tmp_path: Path, shared_data: Path) -> None:
    from gristmill.pipeline.engine.commit import Output
    from gristmill.pipeline.engine.task import Task
    from gristmill.pipeline.readers.inventory import inventory
    from gristmill.pipeline.readers.segments import partitions
    from gristmill.pipeline.readers.source import SourceSpec
    from gristmill.pipeline.steps.first_pass import Pass, inputs, read_partition
    from gristmill.pipeline.steps.resources import equipped
    from gristmill.storage.store import Store

    spec = SourceSpec("s", str(shared_data / "web" / "warc" / "pywb__example.warc.gz"))
    entries = inventory([spec])
    (payload,) = inputs([spec], entries, partitions(entries, 1 << 40), ())
    store = Store(str(tmp_path))
    output = Output(store, "step", 0)
    stats = read_partition(Task(0, payload, Pass(equipped([]), 1, 1 << 20), store, output))
    assert stats.skipped == {"warc.request": 2, "warc.revisit": 1, "warc.warcinfo": 1}
    assert output.counts["read"].rules == {"warc.redirect": [1, 471]}


@pytest.mark.slow
def test_parquet_in_one_row_group_is_read_in_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    texts = pa.array([f"{i:06d} " * 1500 for i in range(20_000)])  # 210 MB
    pq.write_table(pa.table({"text": texts}), file, row_group_size=1 << 30, compression="zstd", use_dictionary=False)
    rows, reasons, peak = peak_megabytes(file, 64_000_000)
    assert (rows, reasons) == (20_000, "['None']")
    assert peak < 200
