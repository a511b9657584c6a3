"""Web pages as files: folders and archives, real and hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import zstandard
from reading import read_rows, read_skipped

PAGE = b"<!DOCTYPE html><html><head><title>T</title></head><body><p>Text of a page.</p></body></html>"


def archive(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["html-debian-handbook.tar.zst", "html-free-cc.tar.zst"])
def test_a_real_archive_gives_a_page_for_each_html_member(shared_data: Path, name: str) -> None:
    rows = read_rows(shared_data / "web" / name, format="html")
    with (shared_data / "web" / name).open("rb") as file:
        data = zstandard.ZstdDecompressor().stream_reader(file).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        expected = {
            f"{name}/{m.name.removeprefix('./')}": opened.extractfile(m).read()  # type: ignore[union-attr]
            for m in opened
            if m.isreg() and m.name.endswith((".html", ".htm", ".xhtml"))
        }
    found = {row["path"]: row["content"] for row in rows if row["content_type"] == "text/html"}
    assert expected.items() <= found.items()
    assert all(content.lstrip().startswith(b"<!DOCTYPE html>") for path, content in found.items() - expected.items())
    assert not [row for row in rows if row["quarantined_by"]]


def test_pages_are_told_by_name_or_by_their_first_bytes(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    names = {"a.html": PAGE, "b.HTM": PAGE, "page.php": PAGE, "index": PAGE, "c.html.gz": gzip.compress(PAGE)}
    others = {"d.css": b"p {}", "e.js": b"x", "f.png": b"\x89PNG", "g": b"plain", "h.html": b" \n", "i.txt": PAGE}
    for name, data in {**names, **others}.items():
        (site / name).write_bytes(data)
    rows = read_rows(site, format="html")
    assert {row["path"] for row in rows} == set(names)
    assert {row["content"] for row in rows} == {PAGE}
    assert read_skipped(site, format="html") == {"files.unwanted_name": 4, "html.no_page": 1, "html.empty": 1}


def test_a_page_is_content_for_extract_and_its_record_is_its_place(tmp_path: Path) -> None:
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(archive(("x/a.html", PAGE), ("b.html", PAGE))))
    rows = read_rows(tmp_path / "t.tar.gz", format="html", language="de")
    assert [(row["path"], row["record"], row["content_type"], row["text"]) for row in rows] == [
        ("t.tar.gz/x/a.html", 0, "text/html", None), ("t.tar.gz/b.html", 1024, "text/html", None),
    ]  # fmt: skip
    assert {(row["category"], row["language"]) for row in rows} == {("web", "de")}


def test_too_large_and_truncated_pages_are_rows_with_a_reason(tmp_path: Path) -> None:
    data = archive(("a.html", PAGE), ("b.html", PAGE * 100), ("c.html", PAGE))
    (tmp_path / "t.tar").write_bytes(data[: data.index(b"c.html") + 512 + 20])
    rows = read_rows(tmp_path / "t.tar", format="html", limits={"max_document_bytes": 1000})
    assert [row["quarantined_by"] for row in rows] == [None, "read.too_large", "read.truncated"]


def test_the_name_of_an_xhtml_file_says_that_it_is_xml(tmp_path: Path) -> None:
    page = "<html><head><title/></head><body><p>text</p></body></html>"
    for name in ("a.xhtml", "b.html"):
        (tmp_path / name).write_text(page)
    for read_as in ("html", "text"):
        types = {row["path"]: row["content_type"] for row in read_rows(tmp_path, format=read_as)}
        assert types == {"a.xhtml": "application/xhtml+xml", "b.html": "text/html"}
