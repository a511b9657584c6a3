"""JSON Lines read as columns: the same batches as line by line, whatever the file holds."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.pipeline.readers.json_columns import read_columns
from gristmill.pipeline.readers.json_pieces import pieces
from gristmill.pipeline.readers.jsonl import Line, read_jsonl
from gristmill.pipeline.readers.rows import READ, batches
from gristmill.pipeline.readers.segments import Segment
from gristmill.pipeline.readers.source import SourceSpec

LIMIT = 5_000


def both(path: Path, limit: int = LIMIT, batch_bytes: int = 700, cut: int | None = None, **given: object) -> None:
    """Reads the file by columns and line by line, whole or as two ranges, and compares."""
    spec = SourceSpec("s", str(path), **given)  # type: ignore[arg-type]
    size = path.stat().st_size
    bounds = [0, size] if cut is None else [0, cut, size]
    for start, end in pairwise(bounds):
        segment = Segment(str(path), path.name, size, start, end)
        skipped: tuple[Counter[str], Counter[str]] = Counter(), Counter()
        columns = list(read_columns(segment, spec, limit, batch_bytes, skipped[0]))
        rows = list(batches(read_jsonl(segment, spec, limit, skipped[1]), spec, limit, batch_bytes))
        found, expected = (pa.Table.from_batches(each, READ) for each in (columns, rows))
        for name in READ.names:
            assert found.column(name).to_pylist() == expected.column(name).to_pylist(), name
        assert +skipped[0] == +skipped[1]


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["2015-03-01", "en", ""])
)
nested = st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
names = st.sampled_from(
    ["text", "id", "url", "timestamp", "language", "programming_language", "title", "license", "licenses", "extra", "ü"]
)
PATHS = {ours: f"meta.{ours}" for ours in ("id", "url", "timestamp", "language", "title", "license", "category")}
metas = st.dictionaries(st.sampled_from([*PATHS, "path", "lang", "repo"]), st.text(max_size=8) | nested, max_size=6)
objects = st.fixed_dictionaries({"meta": metas | metas.map(json.dumps)}) | st.just({"meta.url": "its own"})
records = st.dictionaries(names, st.text(max_size=30) | nested, max_size=7)
texts = st.fixed_dictionaries({"text": st.text(max_size=60)}).flatmap(
    lambda head: st.tuples(records, objects).map(lambda pair: {**pair[0], **pair[1], **head})
)
lines = st.one_of(
    st.tuples(records | texts, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1]).encode()),
    st.binary(max_size=12),
    st.sampled_from(
        [
            b"", b"  \t", b"\xef\xbb\xbf", b"[]", b'{"text":"a"', b'{"text":"a"}x', b'{"text":"\\ud83d\\ude00"}\r',
            b'{"text":"\\ud800"}', b'{"text":"\\udc00x"}', b'{"text":"a","text":"b"}', b'{"te\\u0078t":"a"}',
            b'{"text":"a","n":01}', b'{"text":"a","n":-0,"m":1e3}', b'{"text":"a","n":NaN}', b'{"text":"a",}',
            b'{"text" : "tab\\tquote\\"slash\\/\\u00e9\\u0000" , "id" : 12 }', b'{"text":"a","id":1.0}', b"{}",
            b'{"text":"a","id":-0}', b'{"text":"a","id":99999999999999999999}', b'{"text":"raw\ttab"}',
            b'{"text":"a","x":[1 2]}', b'{"text":"a","x":{"y":"\xff"}}', b'{"text":"a","timestamp":123}',
            b'{"text":"a","timestamp":"123"}', b'{"text":"a","timestamp":1425168000}', b'{"text":"a" "b":1}',
            b'{"text":"a","x":' + b"[" * 150 + b"]" * 150 + b"}", b'{"text":"' + b"y" * 6000 + b'"}',
            b'{"text":"a","language":"no such/name\\u0007"}', b'{"text":null}', b'{"text":"","x":tru}',
        ]
    ),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(lines, max_size=12), st.booleans(), st.data())
def test_any_lines_give_what_the_complete_parser_gives(found: list[bytes], ended: bool, data: st.DataObject) -> None:
    import tempfile

    content = b"\n".join(found) + (b"\n" if ended else b"")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(content)
        mapped = [{}, {"id": "id"}, {"id": "id", "category": "extra"}, {"text": "ü"}, PATHS]
        columns = data.draw(st.sampled_from(mapped))
        given = {
            "domain": data.draw(st.sampled_from([None, "english", "code"])),
            "columns": columns,
            "ids": data.draw(st.sampled_from(["per_source", "per_file"])),
        }
        cut = data.draw(st.none() | st.integers(1, max(1, len(content) - 1)))
        both(path, cut=cut if len(content) > 1 else None, **given)


@pytest.mark.parametrize("name", ["english/academic-plos", "multilingual/wikipedia-ml", "code/code-permissive"])
def test_real_files_give_what_the_complete_parser_gives(name: str, shared_data: Path) -> None:
    both(shared_data / f"{name}.jsonl.zst", 64_000_000, 1_000_000, columns={"id": "id", "timestamp": "date"})


def test_code_that_its_keys_tell_is_read_alike(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "x = 1", "max_stars_repo_path": "a.py", "max_stars_repo_name": "b/c", "ext": "py", "lang": "Python"},
        {"text": "x = 1", "path": "src/a.py", "repo_name": "b/c", "language": "Python", "license": "mit"},
        {"text": "x = 1", "meta": {"path": "src/a.c", "repo_name": "b/c"}},
        {"text": "x = 1", "meta": json.dumps({"path": "src/a.rs", "repo_name": "b/c"})},
        {"text": "words", "path": "src/a.py"},
        {"text": "words", "language": "go"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    both(path)
    segment = Segment(str(path), "a.jsonl", path.stat().st_size, 0, path.stat().st_size)
    table = pa.Table.from_batches(read_columns(segment, SourceSpec("s", str(path)), LIMIT, LIMIT, Counter()), READ)
    code = [("code", "python"), ("code", "python"), ("code", "c"), ("code", "rust"), (None, None), (None, "go")]
    assert list(zip(table.column("domain").to_pylist(), table.column("language").to_pylist(), strict=True)) == code


def test_where_pieces_end_does_not_depend_on_how_the_bytes_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.pipeline.readers import json_pieces

    long = b'{"text":"' + b"x" * 9_000 + b'"}\n'
    content = b"".join(b'{"text":"%s"}\n' % (b"y" * (37 * i % 500)) for i in range(200)) + long + b'{"text":"z"}\n' * 50
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    segment = Segment(str(path), "a.jsonl", len(content), 0, len(content))

    def cut(size: int) -> list[tuple[int, int, bool]]:
        chunks = (content[at : at + size] for at in range(0, len(content), size))
        monkeypatch.setattr(json_pieces, "blocks", lambda segment: chunks)
        found = list(pieces(segment, 3_000, 1_000))
        alone = [isinstance(each, Line) for each in found]
        sizes = [each.size if isinstance(each, Line) else len(each.data) for each in found]
        return [(each.offset, size, by_itself) for each, size, by_itself in zip(found, sizes, alone, strict=True)]

    expected = cut(len(content))
    assert sum(size for _, size, _ in expected) == len(content)
    assert [size for _, size, alone in expected if alone] == [len(long)]
    assert max(size for _, size, alone in expected if not alone) <= 1_000
    for size in (1, 7, 100, 999, 1000, 1001, 4096, 9011):
        assert cut(size) == expected
