"""Arrow IPC files and streams, data sets that Hugging Face saved, and what folders say of tables."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_rows, read_skipped

from gristmill.pipeline.readers.arrow_frames import BATCH, DICTIONARY, SCHEMA, frames_of
from gristmill.pipeline.readers.inventory import inventory
from gristmill.pipeline.readers.source import SourceSpec

ROWS = 100
TABLE = pa.table(
    {
        "text": [f"text {i} größer" for i in range(ROWS)],
        "id": [f"{i:04d}" for i in range(ROWS)],
        "date": pa.array(
            [datetime(2020, 1, 1, 0, 0, i % 60, tzinfo=UTC) for i in range(ROWS)], pa.timestamp("ns", "UTC")
        ),
        "score": [i / 2 for i in range(ROWS)],
        "tags": [[str(i), None] for i in range(ROWS)],
        "meta": [{"url": f"http://a/{i}"} for i in range(ROWS)],
    }
)
WAYS: list[tuple[Callable[..., Any], str | None]] = [
    (pa.ipc.new_file, None), (pa.ipc.new_file, "zstd"), (pa.ipc.new_stream, None), (pa.ipc.new_stream, "lz4"),
]  # fmt: skip


def written(table: pa.Table, new: Callable[..., Any], compression: str | None = None, rows: int = 10) -> bytes:
    out = io.BytesIO()
    with new(out, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return out.getvalue()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("new", "compression"), WAYS)
def test_rows_are_the_same_by_file_and_by_batches(
    tmp_path: Path, new: Callable[..., Any], compression: str | None
) -> None:
    file = put(tmp_path / "a.arrow", written(TABLE, new, compression))
    columns = {"id": "id", "timestamp": "date", "url": "meta.url"}
    whole = read_rows(file, columns=columns)
    assert [row["text"] for row in whole] == TABLE["text"].to_pylist()
    assert [row["record"] for row in whole] == list(range(ROWS))
    assert [row["own_id"] for row in whole] == TABLE["id"].to_pylist()
    assert whole[3]["timestamp"] == datetime(2020, 1, 1, 0, 0, 3, tzinfo=UTC)
    assert json.loads(whole[3]["metadata"]) == {"score": 1.5, "tags": ["3", None]}
    (entry,) = inventory([SourceSpec("s", str(file))])
    assert (entry.format, len(entry.row_groups)) == ("arrow", 10)
    for partition_bytes in (1, 2000, 5000):
        assert read_rows(file, partition_bytes, columns=columns) == whole
    put(tmp_path / "b.arrow.gz", gzip.compress(file.read_bytes()))
    packed = read_rows(tmp_path / "b.arrow.gz", columns=columns)
    assert [row["text"] for row in packed] == [row["text"] for row in whole]


def test_frames_are_those_that_the_library_reads() -> None:
    dictionary = TABLE.set_column(0, "text", TABLE["text"].dictionary_encode())
    for table in (TABLE, dictionary, TABLE.slice(0, 0)):
        for new, compression in WAYS:
            data = written(table, new, compression)
            found = frames_of(io.BytesIO(data), len(data))
            assert found.whole
            assert found.frames[0].kind == SCHEMA
            assert found.has_dictionaries == (table is dictionary)
            assert {frame.kind for frame in found.frames} <= {SCHEMA, DICTIONARY, BATCH}
            assert sum(frame.rows for frame in found.batches) == table.num_rows
            for frame, following in zip(found.frames, found.frames[1:]):
                assert frame.offset + frame.size == following.offset


def test_feather_dictionaries_and_files_without_rows(tmp_path: Path) -> None:
    pyarrow.feather.write_feather(TABLE, str(tmp_path / "a.feather"))
    assert [row["text"] for row in read_rows(tmp_path / "a.feather")] == TABLE["text"].to_pylist()
    repeated = pa.table({"text": pa.array(["a", "b", "a"] * 30).dictionary_encode()})
    for new, compression in WAYS:
        file = put(tmp_path / "b.arrow", written(repeated, new, compression))
        assert [row["text"] for row in read_rows(file, 1)] == ["a", "b", "a"] * 30
        put(tmp_path / "c.arrow", written(TABLE.slice(0, 0), new, compression))
        assert read_rows(tmp_path / "c.arrow") == []
        assert read_skipped(tmp_path / "c.arrow") == {"arrow.no_rows": 1}


@pytest.mark.parametrize(("new", "compression"), WAYS)
def test_a_cut_file_keeps_the_batches_before_the_cut(
    tmp_path: Path, new: Callable[..., Any], compression: str | None
) -> None:
    data = written(TABLE, new, compression)
    batches = frames_of(io.BytesIO(data), len(data)).batches
    for cut in range(1, len(data) - 20, max(1, len(data) // 60)):
        rows = read_rows(put(tmp_path / "a.arrow", data[:cut]))
        kept = [row["text"] for row in rows if row["quarantined_by"] is None]
        assert len(kept) == sum(frame.rows for frame in batches if frame.offset + frame.size <= cut)
        assert kept == TABLE["text"].to_pylist()[: len(kept)]
        ended = any(frame.offset + frame.size == cut for frame in batches)
        assert ended or rows[-1]["quarantined_by"] in ("read.truncated", "read.malformed_json"), cut


@pytest.mark.parametrize(("new", "compression"), WAYS)
def test_a_damaged_file_is_never_a_crash(tmp_path: Path, new: Callable[..., Any], compression: str | None) -> None:
    data = written(TABLE, new, compression)
    draw = random.Random(1)
    for _ in range(250):
        changed = bytearray(data)
        for _ in range(draw.choice((1, 3, 30))):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        for row in read_rows(put(tmp_path / "a.arrow", bytes(changed)), draw.choice((1, 1 << 40))):
            assert row["quarantined_by"] or row["text"] is not None


def test_a_string_that_is_no_utf8_is_one_row(tmp_path: Path) -> None:
    values = pa.array([b"good", b"\xff\xfe", b"fine"])
    for kind in (pa.string(), pa.large_string()):
        binary = values if kind == pa.string() else values.cast(pa.large_binary())
        table = pa.table({"text": pa.Array.from_buffers(kind, 3, binary.buffers())})
        file = put(tmp_path / "a.arrow", written(table, pa.ipc.new_file))
        assert [row["text"] or row["quarantined_by"] for row in read_rows(file)] == [
            "good",
            "read.invalid_utf8",
            "fine",
        ]


def test_a_batch_that_promises_more_than_text_can_be_is_refused(tmp_path: Path) -> None:
    data = written(pa.table({"text": ["x" * 3000]}), pa.ipc.new_stream, "zstd")
    batch = frames_of(io.BytesIO(data), len(data)).batches[0]
    size = (3000).to_bytes(8, "little")
    place = data.rindex(size)  # what the buffer of the text says of itself
    assert batch.offset < place
    bomb = data[:place] + (1 << 40).to_bytes(8, "little") + data[place + 8 :]
    (row,) = read_rows(put(tmp_path / "a.arrow", bomb))
    assert row["quarantined_by"] == "read.truncated"


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_frames_of_any_bytes_end(data: bytes) -> None:
    for start in (b"", b"ARROW1\0\0", b"\xff\xff\xff\xff\x10\0\0\0"):
        found = frames_of(io.BytesIO(start + data), len(start + data))
        assert 0 <= found.end <= len(start + data) + 8


def test_a_data_set_that_hugging_face_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"text": [f"text {i}" for i in range(3000)], "n": list(range(3000))}
    one = datasets.Dataset.from_dict(rows)
    datasets.DatasetDict({"train": one, "test": one.select(range(5))}).save_to_disk(
        str(tmp_path / "d"), num_shards={"train": 3, "test": 1}
    )
    put(
        tmp_path / "d" / "train" / "cache-0123456789abcdef.arrow",
        (tmp_path / "d/train/data-00000-of-00003.arrow").read_bytes(),
    )
    left_out: list[Any] = []
    for fields in ({}, {"format": "arrow"}):
        left_out.clear()
        found = inventory([SourceSpec("s", str(tmp_path / "d"), **fields)], [], left_out)
        assert [entry.path for entry in found] == [
            "test/data-00000-of-00001.arrow", *(f"train/data-{i:05d}-of-00003.arrow" for i in range(3)),
        ]  # fmt: skip
        assert {row.extension: row.files for row in left_out} == {".arrow": 1, ".json": 5}
    texts = [row["text"] for row in read_rows(tmp_path / "d", 4000)]
    assert texts == rows["text"][:5] + rows["text"]
    loaded = datasets.load_from_disk(str(tmp_path / "d" / "train"))
    assert [row["text"] for row in read_rows(tmp_path / "d" / "train")] == loaded["text"][:]


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


HOLDERS: dict[str, Callable[[], bytes]] = {
    "a.parquet": lambda: parquet(pa.table({"text": ["a"], "n": ["1"]})),
    "a.arrow": lambda: written(pa.table({"text": ["a"], "n": ["1"]}), pa.ipc.new_file),
    "a.jsonl": lambda: b'{"text": "a", "n": "1"}\n',
    "a.json": lambda: b'[{"text": "a", "n": "1"}]',
    "a.csv": lambda: b"text,n\na,1\n",
}


@pytest.mark.parametrize("name", HOLDERS)
def test_folders_give_columns(tmp_path: Path, name: str) -> None:
    put(tmp_path / "language=de" / "source=a%2Fb" / "n=9" / "empty=__HIVE_DEFAULT_PARTITION__" / name, HOLDERS[name]())
    (row,) = read_rows(tmp_path)
    assert (row["text"], row["language"]) == ("a", "de")
    assert json.loads(row["metadata"]) == {"n": "1", "source": "a/b"}  # the record's own goes first
    (row,) = read_rows(tmp_path, columns={"category": "source", "url": "missing", "language": "other"})
    assert json.loads(row["metadata"]) == {"language": "de", "n": "1", "source": "a/b"} or row["category"] == "a/b"
    plain = put(tmp_path / "plain" / name, HOLDERS[name]())
    (row,) = read_rows(plain)
    assert row["metadata"] == '{"n":"1"}'


def test_parquet_that_is_compressed_as_a_whole(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {i}" for i in range(500)]})
    data = gzip.compress(parquet(table))
    assert [row["text"] for row in read_rows(put(tmp_path / "a.parquet.gz", data), 10)] == table["text"].to_pylist()
    (row,) = read_rows(put(tmp_path / "a.parquet.gz", data[:-40]))
    assert row["quarantined_by"] == "read.truncated"
