"""WARC and WET: what becomes a document, what is counted by reason, broken archives; FastWARC as the oracle."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.http import parse_response


def record(kind: str, block: bytes, **headers: str) -> bytes:
    fields = {
        "WARC-Type": kind,
        "Content-Length": str(len(block)),
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"WARC/1.0\r\n{head}\r\n".encode() + block + b"\r\n\r\n"


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{''.join(h + chr(13) + chr(10) for h in headers)}\r\n".encode() + body


PAGE = b"<html><body><p>A page.</p></body></html>"
HTML = "Content-Type: text/html; charset=utf-8"


def test_pages_are_documents_and_what_is_none_is_counted_by_reason(tmp_path: Path) -> None:
    file = tmp_path / "a.warc"
    file.write_bytes(
        record("warcinfo", b"software: x")
        + record("request", b"GET / HTTP/1.1\r\n\r\n")
        + record("response", response(PAGE, HTML), WARC_Target_URI="<http://a/>", WARC_Date="2020-01-02T03:04:05Z")
        + record("response", response(b"plain", "Content-Type: text/plain"))
        + record("response", response(b"\x89PNG", "Content-Type: image/png"))
        + record("response", response(b"", HTML, status="301 Moved"))
        + record("response", response(PAGE, HTML, status="404 Not Found"))
        + record("response", response(b" \n", HTML))
        + record("response", b"60 IN A 127.0.0.1")
        + record("response", response(b"\x00\x01", HTML, "Content-Encoding: compress"))
        + record("revisit", response(b"", HTML))
        + record("response", response(PAGE))
        + record("conversion", "Wét".encode(), Content_Type="text/plain")
    )
    rows = read_rows(file)
    assert [row["quarantined_by"] for row in rows] == [
        None, None, "warc.not_text", "warc.redirect", "warc.status", "warc.empty", "warc.not_http", "warc.undecodable",
        None, None,
    ]  # fmt: skip
    assert read_skipped(file) == {"warc.warcinfo": 1, "warc.request": 1, "warc.revisit": 1}
    assert (rows[0]["url"], rows[0]["content"], rows[0]["content_type"]) == ("http://a/", PAGE, HTML.partition(": ")[2])
    assert rows[0]["timestamp"].isoformat() == "2020-01-02T03:04:05+00:00"
    assert (rows[0]["category"], rows[1]["text"], rows[9]["text"]) == ("web", "plain", "Wét")
    assert rows[8]["content"] == PAGE  # no content type, told by its first bytes
    assert rows[0]["record"] == file.read_bytes().index(b"WARC/1.0\r\nWARC-Type: response")


@pytest.mark.parametrize("kind", ["plain", "gz", "zst", "gz one member"])
def test_records_are_the_same_however_they_are_compressed(tmp_path: Path, kind: str) -> None:
    parts = [record("response", response(PAGE + b"%d" % i, HTML)) for i in range(20)]
    pack = {
        "plain": lambda: b"".join(parts),
        "gz": lambda: b"".join(gzip.compress(part) for part in parts),
        "gz one member": lambda: gzip.compress(b"".join(parts)),
        "zst": lambda: b"".join(zstandard.ZstdCompressor().compress(part) for part in parts),
    }[kind]
    file = tmp_path / "a.warc"
    file.write_bytes(pack())
    rows = read_rows(file)
    assert [row["content"] for row in rows] == [PAGE + b"%d" % i for i in range(20)]
    assert [row["record"] for row in rows] == [sum(map(len, parts[:i])) for i in range(20)]


def test_a_zstandard_warc_brings_its_dictionary(tmp_path: Path) -> None:
    parts = [record("response", response(PAGE * 3 + b"%d" % i, HTML)) for i in range(300)]
    trained = zstandard.train_dictionary(2048, parts)
    pack = zstandard.ZstdCompressor(dict_data=trained)
    content = trained.as_bytes()
    frame = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
    file = tmp_path / "a.warc.zst"
    file.write_bytes(frame + b"".join(pack.compress(part) for part in parts))
    rows = read_rows(file)
    assert [row["content"] for row in rows] == [PAGE * 3 + b"%d" % i for i in range(300)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_cut_file_keeps_its_whole_records(tmp_path: Path, packed: bool) -> None:
    parts = [record("response", response(PAGE + b"%d" % i, HTML)) for i in range(3)]
    data = b"".join(gzip.compress(part) if packed else part for part in parts)
    file = tmp_path / "a.warc.gz"
    for cut in (len(data) - 40, len(data) * 2 // 3 - 5, 20):
        file.write_bytes(data[:cut])
        rows = read_rows(file)
        whole = [row for row in rows if row["quarantined_by"] is None]
        assert [row["content"] for row in whole] == [PAGE + b"%d" % i for i in range(len(whole))]
        assert [row["quarantined_by"] for row in rows[len(whole) :]] == ["read.truncated"]


def test_a_file_that_is_no_warc_is_one_row(tmp_path: Path) -> None:
    file = tmp_path / "a.warc"
    file.write_bytes(b"<html>not an archive</html>" * 1000)
    (row,) = read_rows(file)
    assert (row["quarantined_by"], row["read_bytes"]) == ("read.truncated", 27_000)


def test_an_oversized_record_is_passed_over_unread(tmp_path: Path) -> None:
    big, small = response(b"x" * 10_000, HTML), response(PAGE, HTML)
    file = tmp_path / "a.warc"
    file.write_bytes(record("response", big) + record("response", small))
    rows = read_rows(file, limits={"max_document_bytes": 1000})
    assert [(row["quarantined_by"], row["content"]) for row in rows] == [("read.too_large", None), (None, PAGE)]
    assert rows[0]["read_bytes"] == len(big)


def test_payload_encodings_are_undone_and_false_ones_are_not_believed() -> None:
    raw_deflate = zlib.compressobj(wbits=-15)
    bodies = {
        "gzip": gzip.compress(PAGE),
        "deflate": zlib.compress(PAGE),
        "Deflate": raw_deflate.compress(PAGE) + raw_deflate.flush(),
        "zstd": zstandard.ZstdCompressor().compress(PAGE),
        "identity": PAGE,
    }
    for encoding, body in bodies.items():
        for stored in (body, PAGE):
            if stored is PAGE and encoding.lower() == "deflate":
                continue
            found = parse_response(response(stored, f"Content-Encoding: {encoding}"), 1 << 20)
            assert found is not None
            assert found.payload == PAGE, encoding
    chunked = b"5;x=1\r\n" + PAGE[:5] + b"\r\n%x\r\n" % len(PAGE[5:]) + PAGE[5:] + b"\r\n0\r\n\r\n"
    for stored in (chunked, PAGE):
        found = parse_response(response(stored, "Transfer-Encoding: chunked"), 1 << 20)
        assert found is not None
        assert found.payload == PAGE


def test_a_decompression_bomb_ends_at_the_limit() -> None:
    found = parse_response(response(gzip.compress(b"\0" * 50_000_000), "Content-Encoding: gzip"), 1000)
    assert found is not None
    assert len(found.payload) == 1001


def test_brotli_payloads_are_decoded() -> None:
    brotli = pytest.importorskip("brotli")
    found = parse_response(response(brotli.compress(PAGE), "Content-Encoding: br"), 1 << 20)
    assert found is not None
    assert found.payload == PAGE


def test_real_archives_hold_the_responses_that_their_manifest_counts(shared_data: Path) -> None:
    folder = shared_data / "web" / "warc"
    # the one is cut within its only record, in the other line ends were converted, so that no length is right
    broken = {"chatnoir-resiliparse__clipped.warc.gz": [0], "cc_net__sample.warc.txt": [0, 617, 1310, 1959]}
    for line in (folder / "MANIFEST.jsonl").read_text("utf-8").splitlines():
        described = json.loads(line)
        name = described["file"]
        format_name = "wet" if "wet" in name or name.endswith(".txt") else "warc"
        rows = read_rows(folder / name, format=format_name)
        skipped = read_skipped(folder / name, format=format_name)
        reasons = Counter(row["quarantined_by"] for row in rows)
        if name in broken:
            assert [row["record"] for row in rows] == broken[name]
            assert [row["quarantined_by"] for row in rows] == [
                *["warc.broken_record"] * (len(rows) - 1),
                "read.truncated",
            ]
            continue
        pages = sum(described["types"].get(kind, 0) for kind in ("response", "conversion"))
        assert len(rows) == pages, name
        if described["reader_error"] is None:  # the reader that counted the types went to the end too
            assert sum(skipped.values()) == sum(described["types"].values()) - pages, name
        assert skipped["warc.revisit"] == described["types"].get("revisit", 0)
        assert not any(reason and reason.startswith("read.") for reason in reasons)


def test_framing_agrees_with_fastwarc(shared_data: Path) -> None:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    kinds = WarcRecordType.response | WarcRecordType.conversion
    for name in ("dolma__sample-0000.warc.gz", "pywb__iana.warc.gz", "webarchive-test-suite__main-page.warc.gz"):
        file = shared_data / "web" / "warc" / name
        plain = b"".join(_members(file.read_bytes()))
        theirs = [r.stream_pos for r in ArchiveIterator(io.BytesIO(plain), record_types=kinds, parse_http=False)]
        assert [row["record"] for row in read_rows(file)] == theirs


def _members(data: bytes) -> list[bytes]:
    found = []
    while data:
        member = zlib.decompressobj(wbits=31)
        found.append(member.decompress(data))
        data = member.unused_data
    return found
