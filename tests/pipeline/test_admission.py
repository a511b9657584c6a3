"""Which files of a folder or a pattern are read, as what, and what is said of the others."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from corpus import differences, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.config.keys import load
from gristmill.pipeline.readers.content import KINDS, content_of
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.left_out import LeftOut
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.pipeline.run import Result, run

LINES = b'{"text": "one"}\n{"text": "two"}\n'
PAGE = b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>"
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["a row"]}), out)
    return out.getvalue()


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jsonl", LINES)
    return out.getvalue()


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def taken(uri: Path | str, **fields: object) -> tuple[dict[str, str], list[LeftOut], list[str]]:
    """(path -> format of what is read, what is left out, the notes)."""
    notes: list[str] = []
    left_out: list[LeftOut] = []
    found = inventory([SourceSpec("s", str(uri), **fields)], notes, left_out)  # type: ignore[arg-type]
    return {entry.path: entry.format for entry in found}, left_out, notes


DATA = {
    "a.jsonl": LINES,
    "b.jsonl.zstd": zstandard.ZstdCompressor().compress(LINES),
    "c.jsonl.zstd": LINES,  # a name may lie about a compression too
    "d.jsonl.gzip": gzip.compress(LINES),
    "e.json.bgz": gzip.compress(LINES),
    "f.bz2": bz2.compress(LINES),
    "g.xz": lzma.compress(LINES),
    "part-r-00000": LINES,
    "_en/h.jsonl": LINES,
    "_i.jsonl": LINES,
    "j.data": LINES,
}
BESIDE = {
    "_SUCCESS": b"",
    ".a.jsonl.crc": b"crc",
    "b.crc": b"crc",
    "_metadata": b"PAR1",
    ".DS_Store": b"\0\0",
    "._a.jsonl": b"\0",
    ".cache/x.jsonl": LINES,
    "_delta_log/00000.json": b'{"commitInfo": {}}\n',
}


def test_a_folder_of_a_stated_format_is_read_by_content(tmp_path: Path) -> None:
    found, left_out, notes = taken(lay(tmp_path, {**DATA, **BESIDE}), format="jsonl")
    assert found == dict.fromkeys(DATA, "jsonl")
    assert sum(row.files for row in left_out) == len(BESIDE)
    assert sum(row.bytes for row in left_out) == sum(map(len, BESIDE.values()))
    assert {row.why for row in left_out} == {"hidden", "written by a program beside its data"}
    assert len(notes) == 2
    assert len(read_rows(tmp_path, format="jsonl")) == 2 * len(DATA)


@pytest.mark.parametrize("pattern", ["*.gz", "**/*.gz"])
def test_a_pattern_is_read_by_content_too(tmp_path: Path, pattern: str) -> None:
    lay(tmp_path, {"a.gz": gzip.compress(LINES), "b.gz": gzip.compress(b"only words"), "c.gz": LINES})
    found, left_out, notes = taken(f"{tmp_path}/{pattern}", format="jsonl")
    assert list(found) == ["a.gz", "c.gz"]
    (row,) = left_out
    assert (row.source, row.extension, row.files, row.example) == ("s", ".gz", 1, "b.gz")
    assert "it holds text, and the source says format: jsonl" in notes[0]


def test_what_is_left_out_is_counted_by_extension_and_reason(tmp_path: Path) -> None:
    other = {
        "README.md": b"# words",
        "p.parquet": parquet(),
        "q.parquet": parquet(),
        "i.png": PICTURE,
        "z.zip": zipped(),
    }
    found, left_out, notes = taken(lay(tmp_path, {"a.jsonl": LINES, **other}), format="jsonl")
    assert list(found) == ["a.jsonl"]
    rows = {row.extension: row for row in left_out}
    assert {name: row.files for name, row in rows.items()} == {".md": 1, ".parquet": 2, ".png": 1, ".zip": 1}
    assert rows[".parquet"].bytes == 2 * len(parquet())
    assert rows[".parquet"].why == "it holds Parquet, and the source says format: jsonl"
    assert any("'p.parquet' is one" in note for note in notes)
    assert any("'i.png' is left out, 16 bytes: it holds a picture" in note for note in notes)


def test_extensions_beyond_number_are_one_row_a_reason(tmp_path: Path) -> None:
    files = {f"x{i}.k{i}": b"only words" for i in range(80)} | {f"part.{i:05d}": b"words" for i in range(30)}
    _, left_out, _ = taken(lay(tmp_path, {"a.jsonl": LINES, **files}), format="jsonl")
    assert len(left_out) == 51
    assert sum(row.files for row in left_out) == 110
    assert [row.files for row in left_out if row.extension == ""] == [30]


def test_a_name_that_contradicts_its_content(tmp_path: Path) -> None:
    files = {
        "packed.jsonl": gzip.compress(LINES),
        "rows.jsonl": parquet(),
        "page.jsonl": PAGE,
        "twice.jsonl": gzip.compress(gzip.compress(LINES)),
        "z.jsonl": zipped(),
        "l.jsonl.lz4": b"\x04\x22\x4d\x18" + bytes(60),
        "empty.jsonl": b"",
        "one.jsonl": b"{",
    }
    found, left_out, notes = taken(lay(tmp_path, files), format="jsonl")
    assert found["packed.jsonl"] == "jsonl"
    assert found["rows.jsonl"] == "parquet"
    rows = {row["path"]: row for row in read_rows(tmp_path, format="jsonl")}
    assert rows["rows.jsonl"]["text"] == "a row"
    reasons = {path: row["quarantined_by"] for path, row in rows.items() if row["quarantined_by"]}
    assert reasons == {
        "page.jsonl": "read.html", "twice.jsonl": "read.packed_twice", "z.jsonl": "read.zip",
        "one.jsonl": "read.malformed_json",
    }  # fmt: skip
    assert {row.example: row.why for row in left_out} == {
        "empty.jsonl": "it is empty",
        "l.jsonl.lz4": "it holds data compressed with lz4, and the source says format: jsonl; unpack it first",
    }
    assert any("'page.jsonl' is jsonl by name and a web page by content; quarantined" in note for note in notes)
    assert any("'rows.jsonl' is jsonl by name and Parquet by content; read as what is inside" in note for note in notes)


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.csv", "x.json"])
def test_an_error_page_under_any_name_is_one_row(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PAGE)
    (row,) = read_rows(tmp_path / name)
    assert (row["quarantined_by"], row["content"], row["read_bytes"]) == ("read.html", PAGE, len(PAGE))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.txt"])
def test_an_empty_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    found, left_out, notes = taken(tmp_path / name)
    assert list(found) == [name]
    assert left_out[0].why == "it is empty"
    assert notes == [f"source s: {name!r} is left out, 0 bytes: it is empty"]
    assert read_rows(tmp_path / name) == []


def test_a_folder_of_texts(tmp_path: Path) -> None:
    texts = dict.fromkeys(["a.txt", "b.rst", "c.log", "LICENSE", "README", "sub/d", "f.xyz"], b"words")
    texts |= {"e.txt.gz": gzip.compress(b"words"), "t.tar": tar({"m": b"words"})}
    other = {"g.py": b"x = 1\n", "h.json": b"{}", "i.png": PICTURE, "j": b"\0\1\2\3" * 50, "k.csv": b"a,b\n1,2\n"}
    found, left_out, _ = taken(lay(tmp_path, {**texts, **other}), format="text")
    assert set(found) == set(texts)
    assert {row.extension for row in left_out} >= {".py", ".png", "", ".csv"}
    assert sum(row.files for row in left_out) == len(other)
    assert {row["text"] for row in read_rows(tmp_path, format="text")} == {"words"}


def test_an_archive_is_one_whatever_it_is_called_and_is_not_opened_in_another(tmp_path: Path) -> None:
    inner = tar({"deep.txt": b"deep"})
    lay(tmp_path, {"a.bin1": tar({"in.tar": inner, "in.tar.gz": gzip.compress(inner), "x.txt": b"words"})})
    rows = read_rows(tmp_path, format="text")
    assert [(row["path"], row["text"], row["quarantined_by"]) for row in rows] == [
        ("a.bin1/in.tar", None, "read.packed_twice"),
        ("a.bin1/in.tar.gz", None, "read.packed_twice"),
        ("a.bin1/x.txt", "words", None),
    ]


def test_a_folder_that_holds_one_format_needs_none_stated(tmp_path: Path) -> None:
    lay(tmp_path / "a", {**DATA, **BESIDE})
    assert taken(tmp_path / "a")[0] == dict.fromkeys(DATA, "jsonl")
    lay(tmp_path / "b", {"data/x.parquet": parquet(), "data/y": parquet(), "README.md": b"# card", "LICENSE": b"free"})
    found, left_out, _ = taken(tmp_path / "b")
    assert found == {"data/x.parquet": "parquet", "data/y": "parquet"}
    assert {row.example for row in left_out} == {"README.md", "LICENSE"}
    lay(tmp_path / "c", {"a.txt": b"words", "b": b"words", "LICENSE": b"words", "d.rst": b"words"})
    assert set(taken(tmp_path / "c")[0].values()) == {"text"}
    lay(tmp_path / "d", {"a.csv": b"text,n\na,1\n", "b.tsv": b"text\tn\na\t1\n"})
    assert set(taken(tmp_path / "d")[0].values()) == {"csv"}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.parquet": parquet(), "b.jsonl": LINES, "c.txt": b"words"}, r"parquet 1, jsonl 1, text 1\); add `format:`"),
        ({"a.py": b"x = 1\n", "b.c": b"int x;\n"}, "folder of source code .2.; add `format: tree`"),
        (
            {"a.png": PICTURE, "b.zip": zipped()},
            "without a file whose format can be told .a picture 1, a zip archive 1",
        ),
    ],
)
def test_a_folder_of_several_is_a_sentence_with_the_remedy(
    tmp_path: Path, files: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        taken(lay(tmp_path, files))
    assert "\n" not in str(raised.value)


def test_a_source_tree_is_not_left_by_a_link(tmp_path: Path) -> None:
    lay(tmp_path, {"secret/s.py": b"s = 1\n", "outside.py": b"o = 1\n", "tree/a.py": b"a = 1\n", "tree/.git/x": b"x"})
    (tmp_path / "tree" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "tree" / "file.py").symlink_to("../outside.py")
    (tmp_path / "tree" / "within.py").symlink_to("a.py")
    found, left_out, notes = taken(tmp_path / "tree", format="tree")
    assert list(found) == ["a.py", "within.py"]
    assert [note for note in notes if "leads out of the source's folder" in note] == [
        f"source s: {name!r} is a link that leads out of the source's folder and is passed over"
        for name in ("file.py", "folder")
    ]
    assert [(row.example, row.files) for row in left_out] == [(".git/x", 1)]
    assert set(taken(tmp_path / "tree", format="text", domain="code")[0]) >= {"file.py"}  # links to data are followed


def test_what_a_tree_passes_over_is_counted_by_extension(tmp_path: Path) -> None:
    lay(tmp_path, {"a.py": b"a = 1\n", "b.png": PICTURE, "c.png": PICTURE, "d.xyz": b"words"})
    found, left_out, _ = taken(tmp_path, format="tree", domain="code")
    assert len(found) == 4  # the reader counts them as well
    assert {row.extension: row.files for row in left_out} == {".png": 2, ".xyz": 1}
    assert read_skipped(tmp_path, format="tree", domain="code") == {"files.unwanted_name": 3}


@pytest.fixture(scope="module")
def run_of_every_kind(tmp_path_factory: pytest.TempPathFactory, language_model: Path) -> tuple[Path, Result]:
    """(the configuration, its run in one process) of the same texts as JSON, tables, Arrow and text."""
    folder = tmp_path_factory.mktemp("kinds")
    places = ("mill", "bridge", "church", "market", "school", "tower", "station", "harbour", "castle", "garden")
    texts = [
        f"The old {place} stands by the river where the water runs slowly between the willows {number}. "
        f"Farmers brought their grain to the {place} in autumn, and the miller ground it for a small share.\n" * 3
        for place in places
        for number in range(12)
    ]
    records = [{"id": f"{i:03d}", "text": text} for i, text in enumerate(texts)]
    frame = pd.DataFrame(records)
    lay(folder / "json", {"a.json": json.dumps(records[:40], indent=1).encode("utf-16"), "notes.md": b"# words"})
    (folder / "tables").mkdir()
    frame[40:80].to_csv(folder / "tables" / "b.csv.gz", index=False)
    frame[60:90].to_csv(folder / "tables" / "c.tsv", index=False, sep="\t")
    frame[80:].to_feather(folder / "d.feather")
    lay(folder / "texts", {f"{i}.txt": text.encode("utf-16-le") for i, text in enumerate(texts[:20])})
    uris = {"json": "json", "tables": "tables", "arrow": "d.feather", "texts": "texts"}
    config = {
        "output": str(folder / "out"),
        "sources": [{"name": name, "uri": str(folder / uri)} for name, uri in uris.items()],
        "stages": [{"language": {"model": str(language_model)}}, "exact_dedup"],
        "tokenizer": {"vocab_size": 1200, "sample_bytes": 100_000},
        "blends": {"pretrain": {"domains": {"english": 1.0}, "on_shortage": "renormalize"}},
        "plan": {"partition_bytes": 9_000},
    }
    config["sources"][0]["format"] = "json"  # type: ignore[index]
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(config))
    return folder / "pipeline.yaml", run(load(str(folder / "pipeline.yaml")), inline=True)


@pytest.mark.slow
def test_the_record_of_a_run_has_what_was_left_out(run_of_every_kind: tuple[Path, Result]) -> None:
    record = run_of_every_kind[1].record
    (row,) = record["inputs"]["left_out"]
    assert (row["source"], row["extension"], row["files"], row["bytes"]) == ("json", ".md", 1, 7)
    assert any("'notes.md' is left out" in note for note in record["notes"])
    read = record["funnel"][0]
    assert (read["documents_in"], read["quarantined"]) == (40 + 40 + 30 + 40 + 20, 0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_write_the_same_bytes(
    run_of_every_kind: tuple[Path, Result], tmp_path: Path, workers: int, one_ray: None
) -> None:
    path, result = run_of_every_kind
    other = run(load(str(path), [f"output={tmp_path / 'out'}"]), workers=workers)
    assert differences(tree(Path(other.output)), tree(Path(result.output))) == []


CONTENTS = {
    b'{"text": "a"}\n{"text": "b"}\n': "jsonl",
    b'\xef\xbb\xbf{"text": "a"}': "jsonl",
    b'{"text": "half \n{"text": "b"}\n{"text": "c"}\n': "jsonl",
    b'garbage\n{"text": "b"}\n{"text": "c"}\n': "jsonl",
    b'[{"text": "a"}, {"text": "b"}]': "json",
    b'[{"text": "a"}, {"text": bro': "json",
    b'{\n  "text": "a"\n}\n': "json",
    b'{"text": "a"}{"text": "b"}\n': "json",
    b'{"version": 1, "data": [{"text": "a"}]}': "json",
    b'["a", "b"]': "json",
    b"[]": "json",
    b'{"refs": [{"a": 1}], "text": "b"}\n': "jsonl",
    b'[{"a": 1}], "text": "b"}\n{"text": "c"}\n{"text": "d"}\n': "jsonl",
    b"[chapter one]\nwords\n": "text",
    b"{\\rtf1 words}": "text",
    b'{"text": "a"}\n'.decode().encode("utf-16"): "jsonl",
    '[{"text": "a"}]'.encode("utf-16-be"): "json",
    "Привет, мир".encode("utf-16-le"): "text",
    "größer".encode("latin-1"): "text",
    b"WARC/1.1\r\n": "warc",
    PAGE: "html",
    b"<?xml version='1.0'?><mediawiki>": "xml",
    PICTURE: "image",
    b"ORCHARDS are places with trees": "text",
    b"BM is what two letters are": "text",
    b"\x00\x01\x02\x03" * 100: "binary",
    b"": "empty",
}


@pytest.mark.parametrize("data", CONTENTS)
def test_the_first_bytes_tell_what_a_file_is(data: bytes) -> None:
    assert content_of(data) == CONTENTS[data]


@given(st.binary(max_size=400))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_something(data: bytes) -> None:
    assert content_of(data) in KINDS


def test_a_file_of_one_byte_or_of_random_bytes_under_every_name(tmp_path: Path) -> None:
    from gristmill.pipeline.readers.format_table import FORMATS

    for extension in sorted({each for row in FORMATS.values() for each in row.extensions}):
        for packed in ("", ".gz", ".zst"):
            for data in (b"{", b"\xff", b"\0", os.urandom(3000), b"\xff\xfe", b'"', b"["):
                path = tmp_path / f"x{extension}{packed}"
                path.write_bytes(data)
                for row in read_rows(path):
                    assert row["quarantined_by"] or row["text"] is not None or row["content"] is not None
