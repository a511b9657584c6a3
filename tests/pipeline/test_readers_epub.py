"""Books as EPUB: structure as Standard Ebooks publishes it, text of real books, and archives made to hurt."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from html import escape
from pathlib import Path

import pytest
import zstandard
from reading import read_rows, read_skipped

CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="epub/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
METADATA = (
    '<dc:identifier id="uid">url:https://standardebooks.org/ebooks/x</dc:identifier><dc:date>2015-03-01T00:00:00Z</dc:date>'
    "<dc:title>Frankenstein</dc:title><dc:creator>Mary Shelley</dc:creator><dc:creator>An &amp; Other</dc:creator>"
    "<dc:language>en-GB</dc:language><dc:publisher>Standard Ebooks</dc:publisher>"
    "<dc:rights>Public domain in the United States. CC0 1.0.</dc:rights>"
)


def chapter(title: str, *paragraphs: str) -> str:
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en-GB"><head>'
        f"<title>{title}</title></head><body><section><h2>{title}</h2>{body}</section></body></html>"
    )


def package(names: list[str], metadata: str = METADATA, linear: str = "") -> str:
    items = "".join(f'<item href="text/{n}" id="{n}" media-type="application/xhtml+xml"/>' for n in names)
    spine = "".join(f'<itemref idref="{n}"{linear if n == "cover.xhtml" else ""}/>' for n in names)
    return (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{metadata}</metadata><manifest>{items}'
        '<item href="toc.xhtml" id="toc" media-type="application/xhtml+xml" properties="nav"/>'
        '<item href="i.svg" id="i" media-type="image/svg+xml"/></manifest>'
        f'<spine><itemref idref="toc"/><itemref idref="i"/>{spine}</spine></package>'
    )


def book(chapters: Mapping[str, str], opf: str | None = None, **more: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        out.writestr("META-INF/container.xml", CONTAINER)
        out.writestr("epub/content.opf", opf or package(list(chapters)))
        out.writestr("epub/toc.xhtml", chapter("Table of Contents", "nav"))
        for name, text in chapters.items():
            out.writestr(f"epub/text/{name}", text)
        for name, data in more.items():
            out.writestr(name, data)
    return buffer.getvalue()


def read(tmp_path: Path, data: bytes, **fields) -> dict:
    (tmp_path / "book.epub").write_bytes(data)
    (row,) = read_rows(tmp_path / "book.epub", **fields)
    return row


def test_a_book_is_its_chapters_in_the_order_of_the_spine(tmp_path: Path) -> None:
    names = ["ch2.xhtml", "ch1.xhtml"]
    data = book({n: chapter(n[:3], f"First of {n}.", "Second <em>one</em>.") for n in names})
    row = read(tmp_path, data)
    assert row["text"] == ("ch2\n\nFirst of ch2.xhtml.\n\nSecond one.\n\nch1\n\nFirst of ch1.xhtml.\n\nSecond one.")
    assert (row["title"], row["language"], row["category"]) == ("Frankenstein", "en", "books")
    assert row["license"] == "Public domain in the United States. CC0 1.0."
    assert row["timestamp"].isoformat() == "2015-03-01T00:00:00+00:00"
    assert json.loads(row["metadata"]) == {
        "author": "Mary Shelley; An & Other",
        "identifier": "url:https://standardebooks.org/ebooks/x",
        "publisher": "Standard Ebooks",
    }
    assert (row["record"], row["path"], row["own_id"]) == (0, "book.epub", None)


def test_the_text_of_real_books_comes_back_word_for_word(tmp_path: Path, shared_data: Path) -> None:
    chapters: dict[str, str] = {}
    words: list[str] = []
    with (shared_data / "english/books-standard-ebooks.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        for record in (json.loads(line) for line in lines):
            if len(chapters) == 10 or (chapters and not record["id"].startswith("mary-shelley")):
                break
            paragraphs = record["text"].split("\n\n")
            chapters[record["id"].rpartition("/")[2]] = chapter(*(escape(p) for p in paragraphs))
            words += record["text"].split()
    row = read(tmp_path, book(chapters))
    assert len(words) > 5_000
    assert row["text"].split() == words


def test_parts_that_are_no_text_are_left_out_and_missing_ones_counted(tmp_path: Path) -> None:
    names = ["cover.xhtml", "a.xhtml", "gone.xhtml", "a.xhtml"]
    chapters = {"cover.xhtml": chapter("Cover", "c"), "a.xhtml": chapter("A", "text")}
    row = read(tmp_path, book(chapters, package(names, linear=' linear="no"')))
    assert row["text"] == "A\n\ntext"
    assert json.loads(row["metadata"])["missing_parts"] == 1


ENDLESS = [
    *("title/", 'script src="x.js"/', "style/", 'iframe src="v.html"/', "textarea/", "div/", 'a id="x"/', "p/", "i/"),
    *("noscript/", "xmp/", "br></br"),
]


@pytest.mark.parametrize("tag", ENDLESS)
def test_an_empty_element_of_xhtml_takes_nothing_with_it(tmp_path: Path, tag: str) -> None:
    begun = chapter("A", "one", "two&nbsp;three").replace("<p>two", f"<{tag}><p>two")
    row = read(
        tmp_path, book({"a.xhtml": begun.replace("<title>A</title>", "<title/>"), "b.xhtml": chapter("B", "four")})
    )
    assert row["text"].replace("\xa0", " ").split() == ["A", "one", "two", "three", "B", "four"]


def test_every_item_of_the_spine_is_in_the_text_or_counted_or_a_row(tmp_path: Path) -> None:
    names = ["cover.xhtml", "a.xhtml", "gone.xhtml", "picture.xhtml", "deep.xhtml"]
    chapters = {
        "cover.xhtml": chapter("Cover", "c"),
        "a.xhtml": chapter("A", "text"),
        "picture.xhtml": "<html><body><img src='x.jpg' alt='x'/></body></html>",
        "deep.xhtml": "<div>" * 5000,
    }
    opf = package(names, linear=' linear="no"').replace("</spine>", '<itemref idref="not in the manifest"/></spine>')
    (tmp_path / "book.epub").write_bytes(book(chapters, opf))
    rows = read_rows(tmp_path / "book.epub")
    assert [(row["path"], row["text"], row["quarantined_by"]) for row in rows] == [
        ("book.epub", "A\n\ntext", None),
        ("book.epub/epub/text/deep.xhtml", None, "markup.too_deep"),
    ]
    assert json.loads(rows[0]["metadata"])["missing_parts"] == 2
    assert read_skipped(tmp_path / "book.epub") == {
        "epub.navigation": 1, "epub.no_text": 1, "epub.not_linear": 1, "epub.missing_part": 2, "epub.empty_part": 1,
    }  # fmt: skip


def test_an_item_that_is_no_page_is_read_by_its_fallback(tmp_path: Path) -> None:
    opf = (
        package(["a.xhtml"])
        .replace('id="a.xhtml" media-type="application/xhtml+xml"', 'id="fallback" media-type="application/xhtml+xml"')
        .replace(
            "</manifest>", '<item id="a.xhtml" href="a.svg" media-type="image/svg+xml" fallback="fallback"/></manifest>'
        )
    )
    assert read(tmp_path, book({"a.xhtml": chapter("A", "text")}, opf))["text"] == "A\n\ntext"


def encryption(uri: str, algorithm: str) -> str:
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><enc:EncryptedData '
        f'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptionMethod Algorithm="{algorithm}"/>'
        f'<enc:CipherData><enc:CipherReference URI="{uri}"/></enc:CipherData></enc:EncryptedData></encryption>'
    )


def test_encrypted_books_are_quarantined_and_obfuscated_fonts_are_not(tmp_path: Path) -> None:
    chapters = {"a.xhtml": chapter("A", "text")}
    aes, font = "http://www.w3.org/2001/04/xmlenc#aes128-cbc", "http://www.idpf.org/2008/embedding"
    name = "META-INF/encryption.xml"
    row = read(tmp_path, book(chapters, **{name: encryption("epub/text/a.xhtml", aes)}))
    assert row["quarantined_by"] == "epub.encrypted"
    for uri, algorithm in (("epub/fonts/f.otf", font), ("epub/images/x.jpg", aes)):
        assert read(tmp_path, book(chapters, **{name: encryption(uri, algorithm)}))["text"] == "A\n\ntext"


@pytest.mark.slow
def test_a_bomb_in_a_book_is_refused_with_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    data = book({"a.xhtml": "<html><body><p>" + " " * 200_000_000 + "</p></body></html>"})
    assert len(data) < 1_000_000
    tracemalloc.start()
    row = read(tmp_path, data, limits={"max_document_bytes": 1_000_000})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (row["quarantined_by"], row["text"]) == ("read.too_large", None)
    assert peak < 50_000_000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: book({"a.xhtml": chapter("A", "t")}, "<package><a></package>"), "xml.malformed"),
        (lambda: book({"a.xhtml": chapter("A", "t")}, '<!DOCTYPE x [<!ENTITY a "b">]><package/>'), "xml.entities"),
        (lambda: book({"a.xhtml": chapter("A", "t")}, "<a>" * 300 + "</a>" * 300), "xml.too_deep"),
        (lambda: book({"a.xhtml": chapter("A", "t")}, "<package/>"), "read.no_text"),
        (lambda: book({"a.xhtml": "<b>" * 5000}), "markup.too_deep"),
        (lambda: b"PK\3\4 no archive", "epub.damaged"),
        (lambda: b"", "epub.damaged"),
        (lambda: book({"a.xhtml": chapter("A", "t" * 9999)})[:-400], "epub.damaged"),
        (lambda: book({"a.xhtml": chapter("A", "t")}).replace(b"META-INF", b"META-XNF"), "epub.no_package"),
        (lambda: b"PK\5\6" + b"\0" * 4 + b"\xff" * 14 + b"\0\0", "epub.too_many_files"),
    ],
)
def test_a_damaged_or_hostile_book_is_one_row_that_says_why(tmp_path: Path, change, reason: str) -> None:
    assert read(tmp_path, change())["quarantined_by"] == reason


@pytest.mark.parametrize("step", range(0, 2000, 97))
def test_a_flipped_byte_anywhere_is_a_row_and_no_crash(tmp_path: Path, step: int) -> None:
    data = bytearray(book({"a.xhtml": chapter("A", "text " * 50), "b.xhtml": chapter("B", "more " * 50)}))
    data[step % len(data)] ^= 0xFF
    row = read(tmp_path, bytes(data))
    assert row["quarantined_by"] is not None or row["text"] is not None


def test_other_files_beside_books_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    folder.mkdir()
    (folder / "a.epub").write_bytes(book({"a.xhtml": chapter("A", "text")}))
    (folder / "cover.jpg").write_bytes(b"x")
    assert [row["path"] for row in read_rows(folder, format="epub")] == ["a.epub"]
    assert read_skipped(folder, format="epub") == {"epub.navigation": 1, "epub.no_text": 1}  # of the spine
