"""Archives: the standard library as the oracle, and members that no honest program writes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.forward import Forward
from gristmill.pipeline.readers.tar import BLOCK, BrokenArchiveError, members

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def archive(*files: tuple[str, bytes], format: int = tarfile.GNU_FORMAT, **fields: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as out:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def ours(data: bytes, step: int = 1000) -> list[tuple[bytes, str, bytes | None]]:
    blocks = (data[i : i + step] for i in range(0, len(data), step))
    return [(m.name, m.kind, m.data) for m in members(Forward(blocks), 1 << 30, lambda name: True)]


def theirs(data: bytes) -> list[tuple[bytes, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as opened:
        return [
            (m.name.encode("utf-8", "surrogateescape"), opened.extractfile(m).read())  # type: ignore[union-attr]
            for m in opened
            if m.isreg()
        ]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=150).filter(
    lambda name: name.strip("/") == name
)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=6), st.sampled_from(FORMATS), st.integers(1, 3000))
@settings(deadline=None, max_examples=150)
def test_files_are_those_that_the_standard_library_finds(files: list, format: int, step: int) -> None:
    try:
        data = archive(*files, format=format)
    except ValueError:
        return  # a name too long for ustar
    assert [(name, content) for name, kind, content in ours(data, step) if kind == "file"] == theirs(data)


def test_real_archives_are_framed_as_the_standard_library_frames_them(shared_data: Path) -> None:
    for path in sorted((shared_data / "web").glob("html-free-cc.tar.zst")):
        with path.open("rb") as file:
            data = zstandard.ZstdDecompressor().stream_reader(file).read()
        assert [(name, content) for name, kind, content in ours(data) if kind == "file"] == theirs(data)


@pytest.mark.parametrize("format", FORMATS)
def test_names_may_be_anything_and_stay_different(tmp_path: Path, format: int) -> None:
    names = [
        "/etc/passwd.txt",
        "../../up.txt",
        "new\nline.txt",
        "sp ace.txt",
        "./a.txt",
        "a.txt",
        "caf\udce9.txt",
        "é.txt",
    ]
    (tmp_path / "t.tar").write_bytes(
        archive(*((name, name.encode("utf-8", "replace")) for name in names), format=format)
    )
    rows = read_rows(tmp_path / "t.tar", domain="english")
    paths = [row["path"] for row in rows]
    assert paths[:4] == [f"t.tar/{name}" for name in names[:4]]
    assert paths[4] == paths[5] == "t.tar/a.txt"  # one name, two records
    assert paths[6:] == ["t.tar/caf\uefe9.txt", "t.tar/é.txt"]
    assert len({row["id"] for row in rows}) == len(names)


def test_links_folders_and_devices_are_counted_and_sparse_files_are_not_filled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"x{kind.decode()}.txt")
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
        text = tarfile.TarInfo("last.txt")
        text.size = 4
        out.addfile(text, io.BytesIO(b"text"))
    whole = buffer.getvalue()
    sparse = bytearray(archive(("hole.txt", b"x" * 700)))
    sparse[156:157], sparse[483:495] = b"S", b"77777777777\0"  # eight gigabytes of hole
    sparse[148:156] = b"%06o\0 " % sum(sparse[:148] + b" " * 8 + sparse[156:512])
    (tmp_path / "t.tar").write_bytes(bytes(sparse[: 3 * BLOCK]) + whole)
    rows = read_rows(tmp_path / "t.tar", domain="english")
    assert [(row["path"], row["quarantined_by"], row["text"]) for row in rows] == [
        ("t.tar/hole.txt", "read.sparse", None), ("t.tar/last.txt", None, "text"),
    ]  # fmt: skip
    assert read_skipped(tmp_path / "t.tar", domain="english") == {"tar.link": 2, "tar.folder": 1, "tar.device": 2}


def test_archives_put_one_behind_the_other_are_read_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(archive(("a.txt", b"one")) + archive(("b.txt", b"two")))
    assert [row["text"] for row in read_rows(tmp_path / "t.tar", domain="english")] == ["one", "two"]


@given(st.integers(0, 5 * BLOCK - 1))
@settings(max_examples=60, deadline=None)
def test_a_damaged_header_is_never_the_silent_end(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    """The standard library takes a header with a wrong checksum for the end of the archive."""
    data = bytearray(archive(("a.txt", b"one"), ("b.txt", b"two"), ("c.txt", b"three"))[: 6 * BLOCK])
    data[at] ^= 0x55
    file = tmp_path_factory.mktemp("t") / "t.tar"
    file.write_bytes(data)
    rows = read_rows(file, domain="english")
    whole = [row for row in rows if row["quarantined_by"] is None]
    assert len(whole) == 3 or rows[-1]["quarantined_by"] is not None
    if at >= 2 * BLOCK:
        assert whole[0]["text"] == "one"


@pytest.mark.parametrize(
    "damage",
    [
        lambda h: h.__setitem__(slice(124, 136), b"\xff" * 12),  # a negative size: CVE-2025-8194
        lambda h: h.__setitem__(slice(124, 136), b"\x80" + b"\x7f" * 11),  # an exabyte and more
        lambda h: h.__setitem__(slice(124, 136), b"77777777777\0"),  # eight gigabytes that are not there
        lambda h: (h.__setitem__(156, ord("x")), h.__setitem__(slice(124, 136), b"77777777777\0")),  # of pax records
        lambda h: h.__setitem__(156, ord("x")),  # pax records that are none
    ],
)
def test_a_lying_header_is_one_row_and_fills_no_memory(damage) -> None:
    data = bytearray(archive(("a.txt", b"x" * 600)))
    damage(data)
    data[148:156] = b"%06o\0 " % sum(data[:148] + b" " * 8 + data[156:512])
    with pytest.raises(BrokenArchiveError):
        ours(bytes(data))


def test_what_is_compressed_within_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    import gzip

    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(archive(("a.txt.gz", gzip.compress(b"\0" * 1_000_000)))))
    (row,) = read_rows(tmp_path / "t.tar.gz", domain="english")
    assert row["quarantined_by"] == "read.packed_twice"
