"""File names of any bytes, links that lead in circles, pipes and sockets among the files, files that change."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read_rows

from gristmill.pipeline.readers.folder import ChangedError
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.names import stored_name, text_name
from gristmill.pipeline.readers.segments import partitions
from gristmill.pipeline.readers.source import SourceSpec


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_every_name_has_one_text_of_its_own_that_is_valid_utf8(one: bytes, other: bytes) -> None:
    text = text_name(one)
    assert text.encode().decode() == text
    assert stored_name(text) == one
    assert (text == text_name(other)) == (one == other)


@given(st.text(st.characters(exclude_categories=["Cs", "Co"])))
def test_a_name_of_valid_utf8_stays_as_it_is(name: str) -> None:
    assert text_name(name.encode()) == name


def test_the_characters_that_stand_for_bytes_are_told_from_themselves() -> None:
    assert text_name("\uefe9".encode()) == "\uefee\uefbf\uefa9"
    assert text_name(b"\xe9") == "\uefe9"


NAMES = [b"plain.txt", b"sp ace.txt", b"new\nline.txt", b"caf\xe9.txt", "café.txt".encode(), b"100%25.txt", b"a\\b.txt",
         b"[1].txt", b"*.txt", "\uefe9.txt".encode(), b"\xff\xfe/x.txt"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        path = os.fsencode(tmp_path) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(name.hex().encode())
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "/**/*.txt"])
def test_files_of_any_name_are_found_read_and_told_apart(folder: Path, pattern: str) -> None:
    rows = read_rows(f"{folder}{pattern}", format="text", domain="english")
    assert {stored_name(row["path"]) for row in rows} == set(NAMES)
    assert len({row["id"] for row in rows}) == len(NAMES)
    for row in rows:
        assert stored_name(row["path"]) == bytes.fromhex(row["text"])


def test_a_file_whose_name_looks_like_a_pattern_is_found_by_its_name(folder: Path) -> None:
    assert [row["text"] for row in read_rows(folder / "[1].txt")] == [b"[1].txt".hex()]


def test_parquet_under_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    os.rename(os.fsencode(tmp_path / "a.parquet"), os.fsencode(tmp_path) + b"/\xe9.parquet")
    assert [row["text"] for row in read_rows(f"{tmp_path}/*.parquet")] == ["one", "two"]


def test_a_loop_of_links_ends_and_no_file_is_read_twice_for_it(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.txt").write_text("x")
    (tmp_path / "a" / "b" / "up").symlink_to("..")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "link.txt").symlink_to("a/b/x.txt")
    notes: list[str] = []
    found = inventory([SourceSpec("s", str(tmp_path), format="text")], notes)
    assert [entry.path for entry in found] == ["a/b/x.txt", "link.txt"]
    assert len(notes) == 4
    assert all(note.endswith("and is passed over") for note in notes)


def test_pipes_sockets_and_devices_are_named_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.txt"))
        notes: list[str] = []
        assert len(inventory([SourceSpec("s", f"{tmp_path}/*.txt")], notes)) == 1
        assert sorted(note.rpartition(" is a")[2] for note in notes) == [
            " pipe and is passed over", " socket and is passed over",
        ]  # fmt: skip
    for uri in (tmp_path / "pipe.txt", "/dev/zero"):
        with pytest.raises(ValueError, match="no file; write its content to a file"):
            inventory([SourceSpec("s", str(uri), format="text")])


def test_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    (tmp_path / "x.jsonl" / "part-0.jsonl").write_text('{"text": "inside"}\n')
    (tmp_path / "y.jsonl").write_text('{"text": "beside"}\n')
    assert [row["text"] for row in read_rows(f"{tmp_path}/*.jsonl")] == ["beside"]
    assert [row["text"] for row in read_rows(f"{tmp_path}/**/*.jsonl")] == ["inside", "beside"]
    assert [row["text"] for row in read_rows(tmp_path / "x.jsonl", format="jsonl")] == ["inside"]
    assert [row["text"] for row in read_rows(tmp_path / "x.jsonl")] == ["inside"]


def test_what_nobody_may_read_is_said_before_the_run_starts(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.txt").chmod(0)
    with pytest.raises(ValueError, match="cannot be read"):
        inventory([SourceSpec("s", str(tmp_path / "a.txt"))])
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(ValueError, match="cannot be listed"):
        inventory([SourceSpec("s", str(tmp_path), format="text")])


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.parquet", "a.warc", "a.tar"])
def test_a_file_that_changes_or_vanishes_after_the_plan_is_an_error_and_no_row(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b'{"text": "x"}\n')
    spec = SourceSpec("s", str(file))
    (partition,) = partitions(inventory([spec]), 1000)
    file.write_bytes(b'{"text": "x"}\n{"text": "y"}\n')
    with pytest.raises(ChangedError, match="14 bytes when the run was planned and 28 now"):
        list(read(partition, spec))
    file.unlink()
    with pytest.raises(FileNotFoundError):
        list(read(partition, spec))


def test_an_empty_file_gives_no_document(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.warc", "a.txt", "a.html", "a.tar", "a.parquet"):
        (tmp_path / name).write_bytes(b"")
        rows = read_rows(tmp_path / name)
        assert [row["quarantined_by"] for row in rows] == (["read.truncated"] if name == "a.parquet" else [])
