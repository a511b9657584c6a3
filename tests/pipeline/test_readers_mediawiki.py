"""MediaWiki exports: a real one, what wikitext becomes, and files that no wiki exports."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.markup.wikitext import Names, plain_text

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="de"><siteinfo><sitename>W</sitename>'
    "<dbname>dewiki</dbname><base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base><namespaces>"
    '<namespace key="0" case="first-letter" /><namespace key="6" case="first-letter">Datei</namespace>'
    '<namespace key="14" case="first-letter">Kategorie</namespace></namespaces></siteinfo>\n'
)
TAIL = "</mediawiki>\n"


def page(title: str, text: str, number: int = 1, ns: int = 0, extra: str = "", revision: str = "") -> str:
    return (
        f"  <page><title>{escape(title)}</title><ns>{ns}</ns><id>{number}</id>{extra}<revision><id>{number}7</id>"
        f"<timestamp>2020-05-06T07:08:09Z</timestamp><model>wikitext</model>{revision}"
        f'<text xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


def written(tmp_path: Path, *pages: str, name: str = "wiki.xml") -> Path:
    (tmp_path / name).write_text(HEAD + "".join(pages) + TAIL, encoding="utf-8")
    return tmp_path / name


def shown(text: str) -> str:
    return plain_text(text, Names())


def test_a_real_export_gives_its_articles_and_counts_the_rest(shared_data: Path) -> None:
    path = shared_data / "english/mediawiki-export-sample.xml"
    rows = read_rows(path, format="mediawiki")
    space = "{http://www.mediawiki.org/xml/export-0.10/}"
    pages = ET.parse(path).getroot().findall(f"{space}page")
    articles = [p for p in pages if p.findtext(f"{space}ns") == "0" and p.find(f"{space}redirect") is None]
    assert [row["title"] for row in rows] == [p.findtext(f"{space}title") for p in articles]
    assert [row["own_id"] for row in rows] == [f"enwiki:{p.findtext(f'{space}id')}" for p in articles]
    assert sum(read_skipped(path, format="mediawiki").values()) == len(pages) - len(articles)
    assert not [row for row in rows if row["quarantined_by"]]
    first = rows[0]
    assert first["url"] == "https://en.wikipedia.org/wiki/Ville-d'Avray_(1865_painting)"
    assert (first["license"], first["language"], first["category"]) == ("CC-BY-SA-4.0", "en", "encyclopedia")
    assert first["timestamp"].isoformat() == "2017-07-03T19:45:45+00:00"
    text = "\n".join(row["text"] for row in rows)
    for mark in ("{{", "}}", "[[", "]]", "<ref", "{|", "|}", "'''", "Category:", "&nbsp;"):
        assert mark not in text, mark
    assert first["text"].startswith(
        "Ville d’Avray is an 1865 oil painting by French artist Jean-Baptiste-Camille Corot."
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("'''Bold''' and ''italic'' [[France|French]] [[oil painting]]s", "Bold and italic French oil paintings"),
        ("A<ref name=x>gone</ref> b<ref name=x /> c{{cite web|title=[[x|y]]}}.", "A b c."),
        ("[[File:a.jpg|thumb|A [[caption]] with [http://x.y link]]]Text", "Text"),
        ("Text[[Category:Painters|Key]][[fr:Peinture]] [[:Category:Painters]]", "Text Category:Painters"),
        ("See [http://x.y the site] and [http://x.y].", "See the site and ."),
        ("== Life ==\nHe lived.\n== See also ==\n== Notes ==\n{{reflist}}", "Life\n\nHe lived."),
        ("== A ==\n=== B ===\nText.", "A\n\nB\n\nText."),
        ("* one\n** two\n# first\n# second", "  • one\n    • two\n  1. first\n  2. second"),
        ("{| class=x\n|+ Cap\n! a !! b\n|-\n| 1 || style=y | [[c|2]]\n|}", "Cap\na\tb\n1\t2"),
        ("a<!-- {{ [[ -->b", "ab"),
        ("<nowiki>[[not]] '''a''' {{link}}</nowiki>", "[[not]] '''a''' {{link}}"),
        ("<math>E = mc^2</math> is <code>x</code>", "$E = mc^2$ is x"),
        ("It is {{convert|65|cm|in}} by {{frac|1|2}}, {{lang|fr|''plein air''}}.", "It is 65 cm by 1/2, plein air."),
        ("Corot ({{IPA|x}}; 1796{{ndash}}1875)", "Corot (x; 1796 – 1875)"),
        ("Corot ({{lang-fr|}}) painted.", "Corot painted."),
        ("one\ntwo\n\nthree<br>four", "one two\n\nthree\nfour"),
        ("{{Infobox\n| a = [[b]]\n| c = {{d|e={{f}}}}\n}}\nText __NOTOC__", "Text"),
        ("unclosed {{template and [[link", "unclosed {{template and [[link"),
        ("closed }} and ]] first", "closed }} and ]] first"),
        ("1 &lt; 2 &amp;&amp; x&nbsp;y", "1 < 2 && x y"),
    ],
)
def test_wikitext_is_what_a_reader_sees(source: str, text: str) -> None:
    assert shown(source) == text


def test_names_of_files_and_categories_are_those_of_the_wiki(tmp_path: Path) -> None:
    path = written(tmp_path, page("Käse", "Text[[Datei:a.jpg|mini|x]] [[Kategorie:Käse]] [[Bild]]"))
    (row,) = read_rows(path, format="mediawiki")
    assert (row["text"], row["own_id"], row["language"]) == ("Text Bild", "dewiki:1", "de")
    assert row["url"] == "https://de.wikipedia.org/wiki/K%C3%A4se"


def test_redirects_other_namespaces_models_and_deleted_texts_are_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        page("A", "#REDIRECT [[B]]", 1),
        page("B", "#WEITERLEITUNG [[C]]", 2, extra='<redirect title="C" />'),
        page("Talk:C", "x", 3, ns=1),
        page("D", "{{stub}}", 4),
        page("E", "{}", 5).replace(">wikitext<", ">json<"),
        page("F", "x", 6).replace('<text xml:space="preserve">x</text>', '<text deleted="deleted" />'),
        page("G", "stays", 7),
    )
    assert [row["title"] for row in read_rows(path, format="mediawiki")] == ["G"]
    counted = {"redirect": 2, "other_namespace": 1, "empty": 1, "other_model": 1, "no_text": 1}
    assert read_skipped(path, format="mediawiki") == {f"mediawiki.{name}": n for name, n in counted.items()}


def test_of_a_history_the_latest_revision_counts(tmp_path: Path) -> None:
    old = "<revision><id>1</id><timestamp>2021-01-01T00:00:00Z</timestamp><text>newest</text></revision>"
    path = written(tmp_path, page("A", "older").replace("<revision>", f"{old}<revision>", 1))
    assert [row["text"] for row in read_rows(path, format="mediawiki")] == ["newest"]


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress, zstandard.ZstdCompressor().compress])
def test_compressed_exports_give_the_same_documents(tmp_path: Path, pack) -> None:
    plain = written(tmp_path, page("A", "one"), page("B", "two", 2))
    packed = tmp_path / "wiki.xml.packed"
    packed.write_bytes(pack(plain.read_bytes()))
    names = ("own_id", "record", "text", "url")
    expected = [{n: row[n] for n in names} for row in read_rows(plain, format="mediawiki")]
    assert [{n: row[n] for n in names} for row in read_rows(packed, format="mediawiki")] == expected


def test_record_is_the_offset_of_the_page(tmp_path: Path) -> None:
    path = written(tmp_path, page("A", "é ü"), page("B", "two", 2))
    data = path.read_bytes()
    assert [data[row["record"] :][:13] for row in read_rows(path, format="mediawiki")] == [b"<page><title>"] * 2


@pytest.mark.slow
def test_documents_are_the_same_bytes_whatever_the_partitions_and_the_process(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, page(name, f"{name} [[b]] " * 50, i), name=f"{name}.xml") for i, name in enumerate("abc")
    ]
    pattern = tmp_path / "*.xml"
    rows = read_rows(pattern, format="mediawiki")
    assert read_rows(pattern, 1, format="mediawiki") == rows
    program = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[2]); from reading import read_rows;"
        "print(hashlib.sha256(repr(read_rows(sys.argv[1], format='mediawiki')).encode()).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program, str(pattern), str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip
    assert len(paths) == len(rows) == 3
    assert len(seen) == 1


def test_a_broken_page_is_one_row_and_the_others_are_read(tmp_path: Path) -> None:
    broken = page("B", "two", 2)
    for damage in (
        broken.replace("</title>", "<"),
        broken.replace("two", "&undefined;"),
        broken.replace("</page>\n", ""),
        broken.replace("<page>", "<pqge>"),
        broken.replace("two", "\x01"),
    ):
        path = written(tmp_path, page("A", "one"), damage, page("C", "three", 3))
        rows = read_rows(path, format="mediawiki")
        assert [row["text"] for row in rows if row["text"]] == ["one", "three"]
        assert [row["quarantined_by"] for row in rows if row["quarantined_by"]] == ["xml.malformed"], damage


def test_bytes_that_are_no_utf8_break_their_page_alone(tmp_path: Path) -> None:
    path = written(tmp_path, page("A", "one"), page("B", "XX", 2), page("C", "three", 3))
    path.write_bytes(path.read_bytes().replace(b"XX", b"caf\xe9"))
    rows = read_rows(path, format="mediawiki")
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [
        ("one", None), (None, "xml.malformed"), ("three", None),
    ]  # fmt: skip


@pytest.mark.parametrize("cut", [10, 30, 200])
def test_of_a_truncated_export_the_pages_before_are_kept(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, page("A", "one"), page("B", "two " * 100, 2))
    path.write_bytes(path.read_bytes()[: -len(TAIL) - cut])
    rows = read_rows(path, format="mediawiki")
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [("one", None), (None, "read.truncated")]
    whole = bz2.compress(written(tmp_path, page("A", "one")).read_bytes())
    path.write_bytes(whole[:-5])
    assert read_rows(path, format="mediawiki")[-1]["quarantined_by"] == "read.truncated"


def test_entities_are_never_expanded_and_files_never_opened(tmp_path: Path) -> None:
    laughs = '<!DOCTYPE mediawiki [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    for reference in ("&b;", "&f;"):
        path = written(tmp_path, page("A", "XX"), page("B", "two", 2))
        path.write_text(laughs + path.read_text().replace("XX", reference))
        rows = read_rows(path, format="mediawiki")
        assert [(row["text"], row["quarantined_by"]) for row in rows] == [(None, "xml.malformed"), ("two", None)]


def test_a_page_larger_than_a_document_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, page("A", "x" * 4_000_000), page("B", "two", 2))
    rows = read_rows(path, format="mediawiki", limits={"max_document_bytes": 1_000_000})
    assert [row["quarantined_by"] for row in rows] == ["read.too_large", None]
    assert rows[0]["read_bytes"] > 4_000_000


def test_what_is_no_export_is_one_row_that_says_so(tmp_path: Path) -> None:
    for data, reason in ((b"no xml at all", "xml.malformed"), (b"7z\xbc\xaf\x27\x1c" + b"x" * 90, "read.7z")):
        (tmp_path / "a.xml").write_bytes(data)
        assert [row["quarantined_by"] for row in read_rows(tmp_path / "a.xml", format="mediawiki")] == [reason]


MARKS = st.sampled_from(
    ["{{", "}}", "[[", "]]", "|", "=", "==", "\n", "{|", "|}", "|-", "!", "<ref>", "</ref>", "<nowiki>", "</nowiki>",
     "''", "'''''", "<!--", "-->", "*", "#", ":", "a b", "é", "[http://x ", "]", "&lt;", "<br>", "__TOC__", "\0", "\1",
     "File:", "convert", "lang", "1"]
)  # fmt: skip


@given(st.lists(MARKS, max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_marks_in_any_order_become_text(marks: list[str]) -> None:
    text = shown("".join(marks))
    assert "\0" not in text
    assert text == shown("".join(marks))


@pytest.mark.slow
@pytest.mark.parametrize(
    "mark",
    ["{{", "[[", "{{a|", "[[a|", "<ref>", "<nowiki>", "<!--", "{|\n", "''", "[http://x", "(", "( ", "<a", "{{{", "= ",
     "|", "a=", "{{a}}", "[[a]]", "*", "&#", "<math>x</math>", "[[File:a|[[", "(;", "<br> ",
     "{|\n|a" + "||" * 1000 + "b\n"]
)  # fmt: skip
def test_a_page_of_one_mark_takes_time_in_proportion(mark: str) -> None:
    """Would be hours where it were quadratic."""
    assert len(shown(mark * (1_000_000 // len(mark)))) <= 4_000_000


def test_metadata_tells_the_revision(tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path, page("A", "one")), format="mediawiki", metadata={"snapshot": "2024"})
    assert json.loads(row["metadata"]) == {"revision": "17", "snapshot": "2024", "wiki": "dewiki"}
