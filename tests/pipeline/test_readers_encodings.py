"""Files that are not UTF-8: texts, source trees, archives, JSON Lines, tables; what was decided is in the metadata."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from reading import read_rows

TEXTS = {
    "utf-16": "Über den Wolken muß die Freiheit wohl grenzenlos sein.",
    "utf-16-le": "Старая мельница стоит у реки, где вода течёт медленно.",
    "utf-16-be": "The old mill stands by the river.",
    "utf-32": "古い水車小屋は川のそばに立っています。",
    "latin-1": "Où est passé le garçon de café ? Il était là hier, près de la fenêtre.",
    "cp1252": "“Größe” und Schönheit – über alles geht die Mühle am rauschenden Bach.",
    "gb18030": "老磨坊坐落在河边，河水在柳树之间缓缓流过。秋天，农民们把粮食带到这里来。",
    "shift_jis": "古い水車小屋は川のそばに立っていて、水は柳の間をゆっくりと流れています。",
    "euc_jp": "古い水車小屋は川のそばに立っていて、水は柳の間をゆっくりと流れています。",
    "euc_kr": "오래된 방앗간은 강가에 서 있고, 물은 버드나무 사이로 천천히 흐릅니다.",
    "big5": "老磨坊坐落在河邊，河水在柳樹之間緩緩流過。秋天，農民們把糧食帶到這裡來。",
    "koi8-r": "Старая мельница стоит у реки, где вода медленно течет между ивами.",
    "cp1251": "Старая мельница стоит у реки, где вода медленно течёт между ивами.",
    "iso8859-2": "Zażółć gęślą jaźń, powiedział młynarz, i poszedł nad rzekę, gdzie rosły wierzby.",
    "iso8859-7": "Ο παλιός μύλος στέκεται δίπλα στο ποτάμι, όπου το νερό κυλάει αργά.",
}


def encoding_of(row: dict[str, Any]) -> str | None:
    return json.loads(row["metadata"] or "{}").get("encoding")


@pytest.mark.parametrize("encoding", TEXTS)
def test_a_text_a_member_and_a_compressed_text(tmp_path: Path, encoding: str) -> None:
    data = TEXTS[encoding].encode(encoding)
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(data))
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        info = tarfile.TarInfo("m.txt")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    rows = read_rows(tmp_path, format="text")
    assert [row["text"] for row in rows] == [TEXTS[encoding]] * 3
    assert len({encoding_of(row) for row in rows}) == 1
    assert encoding_of(rows[0]) is not None


@pytest.mark.parametrize("encoding", TEXTS)
def test_json_lines(tmp_path: Path, encoding: str) -> None:
    texts = [f"{TEXTS[encoding]} {i}" for i in range(40)]
    lines = "".join(json.dumps({"text": text, "n": i}, ensure_ascii=False) + "\n" for i, text in enumerate(texts))
    data = lines.encode(encoding)
    for name, content in (("a.jsonl", data), ("b.jsonl.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(content)
        for partition_bytes in (1 << 40, 700):
            rows = read_rows(tmp_path / name, partition_bytes)
            assert [row["text"] for row in rows] == texts
            assert len({row["record"] for row in rows}) == len(texts)
            assert {encoding_of(row) for row in rows} not in ({None}, set())
            assert [json.loads(row["metadata"])["n"] for row in rows] == list(range(40))
    array = json.dumps([{"text": text} for text in texts], ensure_ascii=False, indent=1)
    (tmp_path / "c.json").write_bytes(array.encode(encoding))
    assert [row["text"] for row in read_rows(tmp_path / "c.json")] == texts


@pytest.mark.parametrize("encoding", TEXTS)
def test_a_table(tmp_path: Path, encoding: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["id", "text"], *([f"{i:03d}", f"{TEXTS[encoding]}\n{i}"] for i in range(20))])
    (tmp_path / "a.csv").write_bytes(out.getvalue().encode(encoding))
    rows = read_rows(tmp_path / "a.csv", columns={"id": "id"})
    assert [(row["own_id"], row["text"]) for row in rows] == [
        (f"{i:03d}", f"{TEXTS[encoding]}\n{i}") for i in range(20)
    ]
    assert None not in {encoding_of(row) for row in rows}


def test_a_damaged_line_of_utf8_is_one_row_and_no_other_encoding(tmp_path: Path) -> None:
    good = [json.dumps({"text": f"größer {i}"}, ensure_ascii=False).encode() for i in range(30)]
    damaged = b'{"text": "gr\xf6\xdfer als alles andere, was hier steht"}'
    for lines in ([*good, damaged, *good], [b'{"text": "plain"}', damaged, b'{"text": "plain"}']):
        (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
        reasons = [row["quarantined_by"] for row in read_rows(tmp_path / "a.jsonl")]
        assert reasons == [None if line is not damaged else "read.invalid_utf8" for line in lines]


def test_the_encoding_of_lines_does_not_depend_on_the_part_that_is_read(tmp_path: Path) -> None:
    texts = [TEXTS["koi8-r"] if i % 3 else "plain" for i in range(60)]
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    (tmp_path / "a.jsonl").write_bytes(lines.encode("koi8-r"))
    whole = read_rows(tmp_path / "a.jsonl")
    assert [row["text"] for row in whole] == texts
    assert read_rows(tmp_path / "a.jsonl", 300) == whole
    assert [encoding_of(row) for row in whole] == ["koi8-r" if i % 3 else None for i in range(60)]


def test_what_the_source_states_is_taken(tmp_path: Path) -> None:
    text = "ÄÖÜ"
    (tmp_path / "a.txt").write_bytes(text.encode("cp437"))
    (tmp_path / "b.jsonl").write_bytes(json.dumps({"text": text}, ensure_ascii=False).encode("cp437"))
    (tmp_path / "c.csv").write_bytes(f"text\n{text}\n".encode("cp437"))
    for name in ("a.txt", "b.jsonl", "c.csv"):
        (row,) = read_rows(tmp_path / name, encoding="cp437")
        assert (row["text"], encoding_of(row)) == (text, "cp437")
    (tmp_path / "d.jsonl").write_bytes(b'{"text": "\x81\x8d"}\n{"text": "fine"}\n')
    rows = read_rows(tmp_path / "d.jsonl", encoding="cp1252")
    assert [row["quarantined_by"] for row in rows] == ["read.invalid_utf8", None]
    (row,) = read_rows(tmp_path / "a.txt", encoding="utf-8")
    assert row["quarantined_by"] == "read.invalid_utf8"
    with pytest.raises(ValueError, match=r"sources\.source\.encoding: 'klingon' is no encoding of text"):
        read_rows(tmp_path / "a.txt", encoding="klingon")


def test_a_source_tree_of_several_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes("# -*- coding: latin-1 -*-\ns = 'é'\n".encode("latin-1"))
    (tmp_path / "b.c").write_bytes("/* Größe der Mühle, über die man müde lächelt */\nint x;\n".encode("cp1252"))
    (tmp_path / "c.cs").write_bytes("class Straße {}\n".encode("utf-16"))
    (tmp_path / "d.java").write_bytes("// 古い水車小屋は川のそばに立っています\nclass A {}\n".encode("shift_jis"))
    (tmp_path / "e.py").write_bytes(b"x = 1\n")
    (tmp_path / "blob").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "f.rs").write_bytes("größer".encode() + b"\xff\xfe\xfd")
    rows = {row["path"]: row for row in read_rows(tmp_path, format="tree", domain="code")}
    assert sorted(rows) == ["a.py", "b.c", "c.cs", "d.java", "e.py", "f.rs"]
    assert [rows[name]["quarantined_by"] for name in sorted(rows)] == [None] * 5 + ["read.invalid_utf8"]
    assert [encoding_of(rows[name]) is not None for name in sorted(rows)] == [True] * 4 + [False] * 2
    assert "é" in rows["a.py"]["text"]
    assert "水車" in rows["d.java"]["text"]


def test_a_mark_of_byte_order_in_the_middle(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "a.jsonl").write_bytes(mark + b'{"text": "a"}\n' + mark + b'{"text": "b"}\n' + mark + b"\n")
    (tmp_path / "b.csv").write_bytes(mark + b"id,text\n1,a\n" + mark + b"id,text\n2,b\n")
    (tmp_path / "c.txt").write_bytes(mark + b"a\n" + mark + b"b\n")
    (tmp_path / "d.json").write_bytes(mark + b'[{"text": "a"}]\n' + mark + b'[{"text": "b"}]')
    for name in ("a.jsonl", "b.csv", "d.json"):
        rows = read_rows(tmp_path / name)
        assert [(row["text"], row["quarantined_by"]) for row in rows] == [("a", None), ("b", None)], name
    assert [row["text"] for row in read_rows(tmp_path / "c.txt")] == ["a\nb\n"]
