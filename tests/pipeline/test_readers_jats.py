"""Articles in JATS: structure, what is said of them, archives, and XML made to hurt."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.markup import xml_tree

ARTICLE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD Journal Archiving and Interchange DTD v1.0//EN" "JATS.dtd">
<article article-type="research-article" xml:lang="en" xmlns:xlink="http://www.w3.org/1999/xlink"
  xmlns:mml="http://www.w3.org/1998/Math/MathML">
<front><journal-meta><journal-title-group><journal-title>PLoS ONE</journal-title></journal-title-group></journal-meta>
<article-meta><article-id pub-id-type="pmc">12345</article-id>
<article-id pub-id-type="doi">10.1371/journal.pone.0000001</article-id>
<title-group><article-title>Growth of <italic>E.&#160;coli</italic> at 37&nbsp;degrees</article-title></title-group>
<contrib-group><contrib><name><surname>Doe</surname></name></contrib></contrib-group>
<pub-date pub-type="collection"><year>2010</year></pub-date>
<pub-date pub-type="epub"><day>5</day><month>3</month><year>2010</year></pub-date>
<permissions><copyright-statement>Doe</copyright-statement><license
 xlink:href="http://creativecommons.org/licenses/by/4.0/"><license-p>Open access.</license-p></license></permissions>
<abstract><title>Summary</title><p>We grew it.</p></abstract>
<abstract abstract-type="toc"><p>Not this one.</p></abstract>
<kwd-group><kwd>growth</kwd><kwd>heat</kwd></kwd-group></article-meta></front>
<body><sec id="s1"><label>1</label><title>Introduction</title>
<p>It grew to 10<sup>6</sup> cells<sup><xref ref-type="bibr">2</xref></sup> [<xref ref-type="bibr">1</xref>], as in
 H<sub>2</sub>O.<fn><p>A footnote.</p></fn></p>
<p>Items:<list list-type="bullet"><list-item><p>one</p>
<list list-type="order"><list-item><p>inner</p></list-item></list>
</list-item><list-item><p>two</p></list-item></list>and more.</p>
<sec><title>Formulas</title><p>Where <inline-formula><alternatives><tex-math>\\documentclass[12pt]{minimal}
\\begin{document}$$E = mc^2$$\\end{document}</tex-math><mml:math><mml:mi>E</mml:mi></mml:math></alternatives>
</inline-formula> and <inline-formula><mml:math><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mn>1</mml:mn></mml:math>
</inline-formula> hold:<disp-formula><label>(1)</label><tex-math>a + b</tex-math></disp-formula></p></sec></sec>
<sec><title>Results</title>
<fig><label>Figure 1.</label><caption><title>Growth.</title><p>Over time.</p></caption><graphic/></fig>
<table-wrap><label>Table 1</label><caption><p>Counts</p></caption>
<table><thead><tr><th>Day</th><th>Cells</th></tr></thead>
<tbody><tr><td>1</td><td>10</td></tr></tbody></table><table-wrap-foot><p>foot</p></table-wrap-foot></table-wrap>
</sec></body>
<back><ack><p>Thanks.</p></ack><ref-list><title>References</title><ref><mixed-citation>Smith</mixed-citation></ref></ref-list>
<app-group><app><title>Appendix</title><p>More.</p></app></app-group></back>
</article>
"""

TEXT = """Growth of E. coli at 37 degrees

Summary

We grew it.

Introduction

It grew to 10^6 cells [1], as in H2O.

Items:

  • one
    1. inner
  • two

and more.

Formulas

Where $E = mc^2$ and x=1 hold:

$$a + b$$

Results

Figure 1. Growth. Over time.

Table 1 Counts

Day\tCells
1\t10

Appendix

More."""


def archive(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as out:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(tmp_path: Path, data: str | bytes, **fields) -> list[dict]:
    (tmp_path / "a.xml").write_bytes(data.encode() if isinstance(data, str) else data)
    return read_rows(tmp_path / "a.xml", format="jats", **fields)


def test_an_article_is_its_text_in_reading_order_without_references(tmp_path: Path) -> None:
    (row,) = read(tmp_path, ARTICLE)
    assert row["text"] == TEXT


def test_an_article_says_what_it_is(tmp_path: Path) -> None:
    (row,) = read(tmp_path, ARTICLE)
    assert row["title"] == "Growth of E. coli at 37 degrees"
    assert row["own_id"] == "10.1371/journal.pone.0000001"
    assert row["url"] == "https://doi.org/10.1371/journal.pone.0000001"
    assert (row["license"], row["language"], row["category"]) == ("CC-BY-4.0", "en", "academic")
    assert row["timestamp"].isoformat() == "2010-03-05T00:00:00+00:00"
    assert json.loads(row["metadata"]) == {
        "article_type": "research-article",
        "journal": "PLoS ONE",
        "keywords": ["growth", "heat"],
        "pmcid": "PMC12345",
    }


@pytest.mark.parametrize(
    ("license", "name"),
    [
        ('<license xlink:href="https://creativecommons.org/licenses/by-nc-nd/3.0/us/"/>', "CC-BY-NC-ND-3.0"),
        ("<license><p>See https://creativecommons.org/publicdomain/zero/1.0/ for it.</p></license>", "CC0-1.0"),
        ("<license><license-p>Free for all.</license-p></license>", "Free for all."),
        ('<license license-type="open-access"/>', "open-access"),
        ("", "Doe"),
    ],
)
def test_the_licence_is_that_of_the_permissions(tmp_path: Path, license: str, name: str) -> None:
    begin, end = ARTICLE.index("<license"), ARTICLE.index("</license>") + len("</license>")
    (row,) = read(tmp_path, ARTICLE[:begin] + license + ARTICLE[end:])
    assert row["license"] == name


def test_members_of_an_archive_and_files_of_many_articles_are_documents_of_their_own(tmp_path: Path) -> None:
    one = ARTICLE.encode()
    two = one.replace(b"0000001", b"0000002")
    (tmp_path / "t.tar.gz").write_bytes(archive(("PMC1/a.nxml", one), ("PMC1/a.jpg", b"x"), ("PMC2/b.xml", two)))
    rows = read_rows(tmp_path / "t.tar.gz", format="jats")
    assert [(row["path"], row["own_id"][-1]) for row in rows] == [
        ("t.tar.gz/PMC1/a.nxml", "1"), ("t.tar.gz/PMC2/b.xml", "2"),
    ]  # fmt: skip
    assert rows[0]["record"] == 0
    assert read_skipped(tmp_path / "t.tar.gz", format="jats") == {"files.unwanted_name": 1}
    inner = ARTICLE.partition(">\n<article")[2]
    inner = inner.replace("&nbsp;", "&#160;")
    both = read(tmp_path, f"<pmc-articleset><article{inner}<article{inner}</pmc-articleset>")
    assert [(row["record"], row["text"]) for row in both] == [(0, TEXT), (1, TEXT)]


def test_a_nxml_file_needs_no_format(tmp_path: Path) -> None:
    (tmp_path / "a.nxml").write_text(ARTICLE)
    assert [row["text"] for row in read_rows(tmp_path / "a.nxml")] == [TEXT]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ARTICLE[:2000], "xml.malformed"),
        (ARTICLE.encode().replace(b"We grew", b"caf\xe9"), "xml.malformed"),
        ("<html><body>x</body></html>", "jats.no_article"),
        ("<article><front/></article>", "read.no_text"),
        ("<article>" + "<sec>" * 300 + "</sec>" * 300 + "</article>", "xml.too_deep"),
        ('<!DOCTYPE article [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><article>&b;</article>', "xml.entities"),
        ('<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><article>&f;</article>', "xml.entities"),
        ('<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]><article/>', "xml.entities"),
        ("<article>&undefined;</article>", "xml.malformed"),
        ('<?xml version="1.0" encoding="klingon"?><article/>', "xml.malformed"),
    ],
)
def test_a_broken_or_hostile_article_is_one_row_that_says_why(tmp_path: Path, data: str | bytes, reason: str) -> None:
    assert [row["quarantined_by"] for row in read(tmp_path, data)] == [reason]


def test_encodings_that_the_declaration_names_are_read(tmp_path: Path) -> None:
    article = '<?xml version="1.0" encoding="{}"?><article><body><p>Käse für 5 €?</p></body></article>'
    for encoding in ("iso-8859-15", "utf-16", "windows-1252"):
        assert [row["text"] for row in read(tmp_path, article.format(encoding).encode(encoding))] == ["Käse für 5 €?"]


def test_an_article_beyond_a_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_tree, "MAX_ELEMENTS", 10_000)
    big = "<article><body>" + "<p/>" * 1_100_000 + "</body></article>"
    (row,) = read(tmp_path, big, limits={"max_document_bytes": 1_000_000})
    assert row["quarantined_by"] == "read.too_large"
    (row,) = read(tmp_path, big)
    assert row["quarantined_by"] == "xml.too_many_elements"


def test_nested_tables_and_lists_are_written_once(tmp_path: Path) -> None:
    table = "x" * 10_000
    for _ in range(40):
        table = f"<table><tr><td>{table}</td></tr></table>"
    items = "y" * 10_000
    for _ in range(60):
        items = f"<list><list-item><p>a</p>{items}</list-item></list>"
    (row,) = read(tmp_path, f"<article><body><table-wrap>{table}</table-wrap>{items}</body></article>")
    assert row["text"].count("x") == 10_000
    assert row["text"].count("y") == 10_000
    assert len(row["text"]) < 40_000
