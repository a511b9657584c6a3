"""Which files a source names, in which order, and how they are cut into partitions."""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows

from gristmill.pipeline.readers.inventory import FileEntry, inventory
from gristmill.pipeline.readers.segments import MAX_SEGMENTS, Partition, partitions
from gristmill.pipeline.readers.source import SourceSpec
from gristmill.storage.uris import filesystem_of, find


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("b/2.jsonl", "a/1.jsonl", "a/10.jsonl.gz", "a/_SUCCESS", "a/.hidden.jsonl", "a/notes.txt", "c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        data = json.dumps({"text": name}).encode() + b"\n"
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return tmp_path


def paths(*specs: SourceSpec) -> list[tuple[str, str]]:
    return [(entry.source, entry.path) for entry in inventory(specs)]


def test_files_are_sorted_by_source_then_path(corpus: Path) -> None:
    z, a = SourceSpec("z", f"{corpus}/a/*.jsonl*"), SourceSpec("a", f"{corpus}/**/*.jsonl")
    assert paths(z, a) == [
        ("z", "1.jsonl"), ("z", "10.jsonl.gz"), ("a", "a/1.jsonl"), ("a", "b/2.jsonl"), ("a", "c.jsonl"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("c.jsonl", ["c.jsonl"]), ("?/1.jsonl", ["a/1.jsonl"]), ("[ab]/*.jsonl", ["a/1.jsonl", "b/2.jsonl"]),
        ("[!a]/*.jsonl", ["b/2.jsonl"]), ("*.jsonl", ["c.jsonl"]), ("a/1*", ["1.jsonl", "10.jsonl.gz"]),
    ],
)  # fmt: skip
def test_patterns_stay_within_a_folder(corpus: Path, pattern: str, found: list[str]) -> None:
    assert [entry.path for entry in inventory([SourceSpec("s", f"{corpus}/{pattern}")])] == found


def test_a_folder_gives_the_files_of_the_stated_format(corpus: Path) -> None:
    # notes.txt holds JSON Lines too: what is inside decides
    assert paths(SourceSpec("s", f"{corpus}/a", format="jsonl")) == [
        ("s", "1.jsonl"),
        ("s", "10.jsonl.gz"),
        ("s", "notes.txt"),
    ]
    assert ("s", "a/notes.txt") in paths(SourceSpec("s", str(corpus), format="tree"))


def test_what_is_wrong_is_said_in_one_sentence(corpus: Path) -> None:
    wrong = {
        "no such file": [SourceSpec("s", f"{corpus}/gone.jsonl")],
        "no file matches": [SourceSpec("s", f"{corpus}/*.parquet")],
        "is a folder": [SourceSpec("s", str(corpus))],
        "does not tell its format": [SourceSpec("s", f"{corpus}/a/_*")],
        "two are named 's'": [SourceSpec("s", f"{corpus}/c.jsonl"), SourceSpec("s", f"{corpus}/c.jsonl")],
    }
    for sentence, specs in wrong.items():
        with pytest.raises(ValueError, match=sentence) as raised:
            inventory(specs)
        assert "\n" not in str(raised.value)
    for fields in ({"format": "doc"}, {"domain": "french"}, {"columns": {"texts": "x"}}, {"name": "a/b"}):
        with pytest.raises(ValueError, match=r"use |sources"):
            SourceSpec(**{"name": "s", "uri": "x", **fields})


def test_the_etag_is_the_content_and_never_the_time(corpus: Path) -> None:
    spec = SourceSpec("s", f"{corpus}/c.jsonl")
    (before,) = inventory([spec])
    os.utime(corpus / "c.jsonl", (1, 1))
    assert inventory([spec]) == [before]
    assert before.etag == xxhash.xxh3_128_hexdigest((corpus / "c.jsonl").read_bytes())
    (corpus / "c.jsonl").write_bytes((corpus / "c.jsonl").read_bytes().replace(b"c", b"d"))
    assert inventory([spec])[0].etag != before.etag


def test_entries_and_partitions_survive_json(corpus: Path) -> None:
    files = inventory([SourceSpec("s", f"{corpus}/a/*.jsonl*")])
    assert [FileEntry.from_json(json.loads(json.dumps(entry.to_json()))) for entry in files] == files
    plan = partitions(files, 20)
    assert [Partition.from_json(json.loads(json.dumps(p.to_json()))) for p in plan] == plan


def test_max_bytes_takes_whole_files_and_the_same_each_time(corpus: Path) -> None:
    spec = SourceSpec("s", f"{corpus}/**/*.jsonl", max_bytes=45)
    chosen = inventory([spec])
    assert 0 < sum(entry.size for entry in chosen) <= 45
    assert inventory([spec]) == chosen
    assert len(inventory([replace(spec, max_bytes=1)])) == 1


def test_a_large_file_is_cut_and_a_compressed_one_is_not(tmp_path: Path) -> None:
    data = b"".join(json.dumps({"text": "x" * 50}).encode() + b"\n" for _ in range(100))
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(data, 0))
    (tmp_path / "c.jsonl").write_bytes(gzip.compress(data, 0))  # by its content, not its name
    plan = partitions(inventory([SourceSpec("s", f"{tmp_path}/*")]), 1000)
    pieces = [segment for partition in plan for segment in partition.segments if segment.path == "a.jsonl"]
    assert len(pieces) == -(-len(data) // 1000)
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert (pieces[0].start, pieces[-1].end) == (0, len(data))
    assert [len([s for p in plan for s in p.segments if s.path == name]) for name in ("b.jsonl.gz", "c.jsonl")] == [
        1,
        1,
    ]
    assert len(read_rows(f"{tmp_path}/*", partition_bytes=1000)) == 300


FILES = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 5000), st.booleans()), max_size=40)


@given(FILES, st.integers(1, 4000))
@settings(deadline=None)
def test_partitions_cover_every_byte_once_in_order_and_hold_one_source(files: list, partition_bytes: int) -> None:
    files.sort(key=lambda f: f[0])
    entries = [
        FileEntry(source, f"/{i}", f"{i:04d}", size, "", "jsonl", "gz" if packed else None)
        for i, (source, size, packed) in enumerate(files)
    ]
    plan = partitions(entries, partition_bytes)
    assert [partition.index for partition in plan] == list(range(len(plan)))
    covered: dict[str, int] = {}
    order = []
    for partition in plan:
        assert {entry.source for entry in entries for s in partition.segments if s.uri == entry.uri} == {
            partition.source
        }
        assert len(partition.segments) == 1 or partition.bytes <= partition_bytes
        for segment in partition.segments:
            assert segment.start == covered.get(segment.uri, 0)
            covered[segment.uri] = segment.end
            order.append(segment.uri)
    assert covered == {entry.uri: entry.size for entry in entries}
    assert list(dict.fromkeys(order)) == [entry.uri for entry in entries]


def test_many_small_files_are_more_than_one_partition() -> None:
    entries = [FileEntry("s", f"/{i}", f"{i:05d}", 1, "", "text") for i in range(10_000)]
    assert [len(p.segments) for p in partitions(entries, 1 << 30)] == [
        MAX_SEGMENTS,
        MAX_SEGMENTS,
        10_000 - 2 * MAX_SEGMENTS,
    ]


def test_an_object_store_keeps_its_options_in_the_uri_of_each_file() -> None:
    filesystem, path, form = filesystem_of("s3://anonymous@bucket/web/*.warc.gz?region=eu-west-1")
    assert (filesystem.type_name, path) == ("s3", "bucket/web/*.warc.gz")
    assert form.format("bucket/web/a.warc.gz") == "s3://anonymous@bucket/web/a.warc.gz?region=eu-west-1"
    assert filesystem_of("s3://bucket/part-?.jsonl?region=us-east-1")[1] == "bucket/part-?.jsonl"
    with pytest.raises(ValueError, match="cannot be opened"):
        filesystem_of("ftp://host/file")


@pytest.fixture
def served(corpus: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(corpus)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_file_on_a_web_server_is_read(served: str) -> None:
    assert [row["text"] for row in read_rows(f"{served}/a/10.jsonl.gz")] == ["a/10.jsonl.gz"]
    with pytest.raises(ValueError, match="does not exist"):
        find(f"{served}/gone.jsonl")
