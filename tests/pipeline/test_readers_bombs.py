"""Input that decompresses, expands or repeats itself to far more than it is: bounded memory, one row that says why."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from reading import read_rows, read_skipped

from gristmill.pipeline.readers import stream
from gristmill.pipeline.readers.http import ExpandingError, UndecodableError, parse_response
from gristmill.pipeline.readers.markup.catalogue import MalformedCatalogueError, catalogue_text
from gristmill.pipeline.readers.markup.roff import render
from gristmill.pipeline.readers.markup.roff_requests import ExpandedError

pytestmark = pytest.mark.slow

MB = 1_000_000


def pack_gz(chunks: Iterator[bytes]) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return out.getvalue()


def pack_zst(chunks: Iterator[bytes]) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join([*(packer.compress(chunk) for chunk in chunks), packer.flush()])


def pack_bz2(chunks: Iterator[bytes]) -> bytes:
    packer = bz2.BZ2Compressor(1)
    return b"".join([*(packer.compress(chunk) for chunk in chunks), packer.flush()])


def pack_xz(chunks: Iterator[bytes]) -> bytes:
    packer = lzma.LZMACompressor(preset=0)
    return b"".join([*(packer.compress(chunk) for chunk in chunks), packer.flush()])


PACKERS: dict[str, Callable[[Iterator[bytes]], bytes]] = {
    "gz": pack_gz,
    "zst": pack_zst,
    "bz2": pack_bz2,
    "xz": pack_xz,
}
BOMB = 100 * MB


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    line = json.dumps({"text": "x" * 80}).encode() + b"\n"
    head = [line] * 3
    return {name: pack(iter([*head, *[b" " * MB] * (BOMB // MB)])) for name, pack in PACKERS.items()}


def peak_of(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_keeps_what_came_before_it_and_ends_in_one_row(tmp_path: Path, bombs: dict, kind: str) -> None:
    assert len(bombs[kind]) * stream.MAX_RATIO < BOMB
    file = tmp_path / f"a.jsonl.{kind}"
    file.write_bytes(bombs[kind])
    rows = read_rows(file)
    assert [row["quarantined_by"] for row in rows] == [None, None, None, "read.expansion"]
    assert rows[-1]["read_bytes"] >= stream.FREE_BYTES - stream.OUTPUT_BYTES


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("name", ["a.txt", "a.warc", "a.tar"])
def test_every_reader_of_streams_ends_at_the_bound(tmp_path: Path, bombs: dict, kind: str, name: str) -> None:
    file = tmp_path / f"{name}.{kind}"
    file.write_bytes(bombs[kind])
    rows = read_rows(file, limits={"max_document_bytes": 200 * MB})
    assert rows[-1]["quarantined_by"] == "read.expansion"


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_is_never_held_whole(bombs: dict, kind: str) -> None:
    """A Zstandard frame gives up to 128 KB for four bytes, a block of bzip2 900 KB for forty."""

    def drain() -> None:
        blocks = stream._unpacked(bombs[kind][:65536], io.BytesIO(bombs[kind][65536:]).read)
        with pytest.raises(stream.ExpansionError):
            assert max(map(len, blocks)) <= 66 * MB

    assert peak_of(drain) < 140 * MB


def test_text_that_compresses_as_no_text_does_is_read_up_to_the_free_bytes(tmp_path: Path) -> None:
    """A million empty documents are 13 MB of gzip at 400 to 1: below the bound, and read."""
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": ""}\n' * 100_000))
    rows = read_rows(file)
    assert len(rows) == 100_000
    assert {(row["text"], row["quarantined_by"]) for row in rows} == {("", None)}


def test_a_bomb_in_an_archive_ends_the_archive_and_keeps_the_members_before(tmp_path: Path) -> None:
    def tar() -> Iterator[bytes]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as out:
            info = tarfile.TarInfo("a.txt")
            info.size = 4
            out.addfile(info, io.BytesIO(b"text"))
            big = tarfile.TarInfo("b.txt")
            big.size = BOMB
            yield buffer.getvalue() + big.tobuf()
        yield from [b"\0" * MB] * (BOMB // MB)

    (tmp_path / "t.tar.gz").write_bytes(pack_gz(tar()))
    rows = read_rows(tmp_path / "t.tar.gz", domain="english")
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [("text", None), (None, "read.expansion")]


@pytest.mark.slow
def test_a_gigabyte_of_empty_lines_is_counted_and_not_looped_over(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    with file.open("wb") as out:
        for _ in range(50):
            out.write(b"\n" * MB)
    assert read_skipped(file) == {"jsonl.empty_line": 50 * MB}
    file.write_bytes(b'{"text": "a"}\n\n\n' + b"\n" * 100 + b'{"text": "b"}\n')
    for partition_bytes in (7, 20, 50, 1000):
        assert [row["text"] for row in read_rows(file, partition_bytes)] == ["a", "b"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
def test_a_page_that_grows_as_no_page_does_is_refused(encoding: str) -> None:
    import zlib

    zeros = b"\0" * (20 * MB)
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.ZstdCompressor().compress}
    if encoding == "br":
        pack["br"] = pytest.importorskip("brotli").compress
    block = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode() + pack[encoding](zeros)
    with pytest.raises(ExpandingError):
        parse_response(block, 64 * MB)
    page = b"<p>" + b" " * 100_000
    small = parse_response(
        f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode() + pack[encoding](page), MB
    )
    assert small is not None
    assert small.payload == page


def test_encodings_in_encodings_end() -> None:
    with pytest.raises(UndecodableError):
        parse_response(b"HTTP/1.1 200 OK\r\nContent-Encoding: " + b"gzip," * 1000 + b"\r\n\r\nx", MB)


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [
        b"HTTP/1.1 200 OK\r\n" + b"a\n" * 2 * MB, b"HTTP/1.1 200 OK\r\n" + b"\r" * 4 * MB,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 300_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b" " * 4 * MB,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 4 * MB,
    ],
)  # fmt: skip
def test_a_response_takes_memory_and_time_in_proportion(block: bytes) -> None:
    assert peak_of(lambda: parse_response(block, 64 * MB)) < 60 * MB


@pytest.mark.parametrize(
    "page",
    [
        ".ds a xxxxxxxxxx\n" + ".as a \\*a\\*a\n" * 60 + "\\*a\n", ".ds a " + "x" * 9000 + "\n" + "\\*a" * MB,
        ".ds a " + "x" * 90_000 + "\n" + ".as a y\n" * 500_000,
    ],
)  # fmt: skip
def test_a_manual_page_whose_strings_grow_is_refused(page: str) -> None:
    with pytest.raises(ExpandedError):
        render(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        ".TS\n" + "T{\n" * 300_000, "\\*[" * 300_000, "\\h'" * 300_000, ".if n " * 300_000, "x\\c\n" * 300_000,
        ".Dd x\n.Op " + ". " * 300_000, ".Dd x\n" + (".Op " + "Ns x " * 3000 + "\n") * 20, ".ie n \\{\n" * 200_000,
        '.B "' + '"' * MB, "\\\n" * MB, ".TP\n" * 300_000, "." * MB, ".de\n" * 300_000,
        ".Dd x\n" + ".Bl\n.It x\n" * 100_000,
    ],
)  # fmt: skip
def test_a_manual_page_takes_time_in_proportion(page: str) -> None:
    assert len(render(page)) <= 2 * len(page)


def lying_catalogue(count: int, size: int, start: int = 0, length: int = 4096) -> bytes:
    import struct

    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28, 0, 0)
    return (head + struct.pack("<2I", size, start) * min(count, 400)).ljust(length, b"x")


@pytest.mark.parametrize(
    "data",
    [
        lying_catalogue(1 << 31, 4), lying_catalogue(400, 4000), lying_catalogue(3, 1 << 31),
        lying_catalogue(3, 4, 1 << 31),
        b"\xde\x12\x04\x95", b"", b"\x95\x04\x12\xde" + b"\xff" * 100,
    ],
)  # fmt: skip
def test_a_catalogue_that_lies_about_its_messages_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedCatalogueError):
        catalogue_text(data)


def test_catalogues_read_as_the_standard_library_reads_them() -> None:
    import gettext

    files = sorted(Path("/usr/share/locale").glob("*/LC_MESSAGES/*.mo"))[::40]
    if not files:
        pytest.skip("this computer has no message catalogues")
    for file in files:
        data = file.read_bytes()
        try:
            catalogue = gettext.GNUTranslations(io.BytesIO(data))._catalog  # type: ignore[attr-defined]
        except (UnicodeDecodeError, IndexError):
            continue  # an original that is not ASCII, in a character set that it does not announce
        lines = sorted((str(key), text) for key, text in catalogue.items() if key != "" and text)
        assert catalogue_text(data) == "\n".join(text for key, text in lines if text != key), file
