"""Extraction: encodings, verdicts, and what is kept of real pages."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.stages.document import RAW
from gristmill.stages.extract import Extract, decode, is_html
from gristmill.stages.interface import DocumentStage

BODY = "Die Größe der Stadt ändert sich über die Jahre nicht. " * 3
PAGE = (
    "<html><head><title>t</title></head><body><nav><a href=/>Home</a></nav>"
    f"<article><p>{BODY}</p></article></body></html>"
)


def pages(
    *content: bytes | None, media: str | None = "text/html; charset=utf-8", text: str | None = None
) -> pa.RecordBatch:
    rows = [
        {"id": bytes(16), "text": text, "source": "s", "path": "p", "record": i, "priority": 0,
         "content": page, "content_type": media}
        for i, page in enumerate(content)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, RAW)


def extract(page: bytes, media: str = "text/html", **fields: object) -> tuple[str | None, str | None, str | None]:
    row = Extract(**fields).apply(pages(page, media=media)).to_pylist()[0]  # type: ignore[arg-type]
    return row["text"], row["dropped_by"], row["quarantined_by"]


def test_it_is_a_document_stage() -> None:
    assert isinstance(Extract(), DocumentStage)


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
def test_the_main_content_is_kept_and_the_navigation_is_not(engine: str) -> None:
    if engine == "trafilatura":
        pytest.importorskip("trafilatura")
    text, dropped, quarantined = extract(PAGE.encode(), engine=engine)
    assert text is not None
    assert BODY.strip() in text
    assert "Home" not in text
    assert (dropped, quarantined) == (None, None)


def test_columns_are_replaced_and_rows_without_a_page_stay() -> None:
    batch = pages(None, PAGE.encode(), text="as it was")
    result = Extract().apply(batch)
    assert set(result.schema.names) == set(RAW.names) - {"content", "content_type"} | {"dropped_by", "quarantined_by"}
    assert result.schema.field("text").type == pa.large_string()
    assert result.schema.field("id") == RAW.field("id")
    assert result.column("text")[0].as_py() == "as it was"
    untouched = pages(None, None, text="x")
    assert (
        Extract().apply(untouched).column("text").buffers()[2].address == untouched.column("text").buffers()[2].address
    )


def test_a_row_that_is_already_out_keeps_its_verdict() -> None:
    batch = pages(b"\x00 raw excerpt", PAGE.encode())
    batch = batch.append_column("quarantined_by", pa.array(["warc.not_text", None]))
    rows = Extract().apply(batch).to_pylist()
    assert [(row["text"] is None, row["quarantined_by"]) for row in rows] == [(True, "warc.not_text"), (False, None)]


@pytest.mark.parametrize("page", [b"", b"<html></html>", b"<script>x=1</script>", b"   ", b"<img src=x>"])
def test_a_page_without_text_is_dropped(page: bytes) -> None:
    assert extract(page) == (None, "extract.empty", None)


def test_what_would_take_too_long_is_quarantined_by_size_or_depth() -> None:
    assert extract(PAGE.encode(), max_page_bytes=50)[2] == "extract.too_large"
    assert extract(b"<div>" * 200_000 + b"text")[2] == "extract.too_deep"
    wide = b"<ul>" + b"<li>point<br><img src=x>" * 20_000 + b"</ul>"
    assert extract(wide)[2] is None


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("where", ["header", "meta", "nowhere"])
def test_the_encoding_is_found(encoding: str, where: str) -> None:
    name = "iso-8859-1" if encoding == "latin-1" else encoding.removesuffix("-sig")
    head = f"<meta charset={name}>" if where == "meta" else ""
    page = PAGE.replace("<head>", "<head>" + head).encode(encoding)
    media = f"text/html; charset={name}" if where == "header" else "text/html"
    assert extract(page, media)[0] == BODY.strip()


@pytest.mark.parametrize(
    ("text", "encoding", "label"),
    [
        ("日本語の文章です。" * 20, "shift_jis", "Shift_JIS"), ("日本語の文章です。" * 20, "iso2022_jp", "ISO-2022-JP"),
        ("简体中文的网页" * 20, "gb18030", "gb2312"), ("Русский текст страницы. " * 20, "koi8_r", "koi8-r"),
        ("Русский текст страницы. " * 20, "cp1251", "windows-1251"),
        ("한국어 문장입니다. " * 20, "euc_kr", "ks_c_5601-1987"),
        ("Größe", "cp1252", "ISO-8859-1"),
    ],
)  # fmt: skip
def test_labels_mean_what_browsers_take_them_for(text: str, encoding: str, label: str) -> None:
    assert decode(text.encode(encoding), f'text/html; charset="{label}"') == text


def test_valid_utf8_is_utf8_whatever_its_label() -> None:
    assert decode("Größe, naïveté, 東京".encode(), "text/html; charset=iso-8859-1") == "Größe, naïveté, 東京"
    assert decode("Größe ".encode() * 50 + b"\xc3", "text/html") == "Größe " * 50 + "\ufffd"  # cut within a character
    assert decode(b"x", "text/html; charset=no-such-thing") == "x"


def test_html_is_told_by_type_and_where_there_is_none_by_its_first_bytes() -> None:
    assert is_html("Text/HTML;charset=x", b"")
    assert is_html("application/xhtml+xml", b"")
    assert is_html("", b" <!DOCTYPE html><html>")
    assert is_html("", b'<?xml version="1.0"?><!-- c --><html>')
    assert not is_html("", b"\x89PNG")
    assert not is_html("image/png", b"<html>")


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ValueError, match=r"stages\.extract\.engine"):
        Extract(engine="regex")


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60), st.sampled_from([b"<div>", b"</p>", b"<!--", b"<a href='", b"&#x110000;", b"<p>x"])
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_verdict_and_the_same_alone_or_among_others(parts: list[bytes]) -> None:
    page = b"".join(parts)
    (alone,) = Extract().apply(pages(page)).to_pylist()
    among = Extract().apply(pages(PAGE.encode(), page, None, page)).to_pylist()
    for row in (among[1], among[3]):
        assert (row["text"], row["dropped_by"], row["quarantined_by"]) == (
            alone["text"], alone["dropped_by"], alone["quarantined_by"],
        )  # fmt: skip
    assert sum(x is not None for x in (alone["text"], alone["dropped_by"], alone["quarantined_by"])) == 1


def test_of_real_pages_most_of_the_wanted_and_little_of_the_unwanted_is_kept(shared_data: Path) -> None:
    """trafilatura's evaluation pages: strings that extraction must and must not keep, a hundred pages of them."""
    expected, content = {}, {}
    with (shared_data / "web" / "html-trafilatura-eval.tar.zst").open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.endswith("evaldata.json"):
                    expected = json.load(archive.extractfile(member))  # type: ignore[arg-type]
                elif member.isfile() and len(content) < 100:
                    content[member.name.rpartition("/")[2]] = archive.extractfile(member).read()  # type: ignore[union-attr]
    texts = Extract().apply(pages(*content.values(), media="text/html")).column("text").to_pylist()
    found = dict(zip(content, texts, strict=True))
    wanted = [(s in (found[e["file"]] or "")) for e in expected.values() if e["file"] in found for s in e["with"]]
    unwanted = [(s in (found[e["file"]] or "")) for e in expected.values() if e["file"] in found for s in e["without"]]
    assert len(wanted) > 100
    assert sum(wanted) / len(wanted) > 0.85
    assert sum(unwanted) / len(unwanted) < 0.45
