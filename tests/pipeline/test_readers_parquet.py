"""Parquet files that are damaged, that lie, or that hold what Python cannot."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import read_rows

from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.parquet import Watched, _page_bytes, read_parquet
from gristmill.pipeline.readers.rows import READ
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec


def write(path: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, path, **options)
    return path


def test_columns_of_any_type_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["one", "two", None],
            "nested": pa.array([{"a": [{"b": [1, 2]}]}, None, {"a": []}]),
            "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "bytes": pa.array([b"\xff\0", b"", None]),
            "nan": [float("nan"), float("inf"), 1.5],
            "decimal": pa.array([None, 1, 2], pa.decimal128(20, 3)),
            "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
            "time": pa.array([1, 2, 3], pa.time64("ns")),
            "list": pa.array([["\0", "é"], [], None]),
        }
    )
    rows = read_rows(write(tmp_path / "a.parquet", table))
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [
        ("one", None),
        ("two", None),
        (None, "read.no_text"),
    ]
    assert '"nan":null' in rows[0]["metadata"]
    assert '"nested":{"a":[{"b":[1,2]}]}' in rows[0]["metadata"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([10**18, 0], pa.timestamp("us")), pa.array([2**31 - 1, 0], pa.date32()),
        pa.array([2**62, 0], pa.duration("s")), pa.array([10**18, 0], pa.timestamp("us", tz="Europe/Paris")),
        pa.array([0, 0], pa.timestamp("us", tz="Nowhere/Else")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["timestamp", "extra"])
def test_a_date_beyond_all_calendars_loses_no_row(tmp_path: Path, column: pa.Array, name: str) -> None:
    rows = read_rows(write(tmp_path / "a.parquet", pa.table({"text": ["one", "two"], name: column})))
    assert [row["text"] for row in rows] == ["one", "two"]
    assert rows[0]["timestamp"] is None


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([["a"], ["b"]]),
        pa.array([b"\xff", b"\xfe"]),
        pa.array([None, None]),
        pa.array([{"a": 1}, None]),
    ],
)
def test_a_text_column_of_another_type_quarantines_its_rows(tmp_path: Path, column: pa.Array) -> None:
    rows = read_rows(write(tmp_path / "a.parquet", pa.table({"text": column})))
    assert [row["quarantined_by"] for row in rows] == ["read.no_text"] * 2


def test_invalid_utf8_within_a_nested_column_quarantines_its_row_alone(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff"], pa.binary())
    texts = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    table = pa.table({"text": ["one", "two"], "list": pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), texts)})
    rows = read_rows(write(tmp_path / "a.parquet", table))
    assert [(row["text"], row["quarantined_by"]) for row in rows] == [("one", None), (None, "read.invalid_utf8")]
    rows = read_rows(write(tmp_path / "b.parquet", pa.table({"text": texts.dictionary_encode()})))
    assert [row["quarantined_by"] for row in rows] == [None, "read.invalid_utf8"]


def test_columns_of_one_name_and_none_at_all(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    with pytest.raises(ValueError, match=r"a\.parquet has two columns named 'text', number 1 and number 2"):
        read_rows(write(tmp_path / "a.parquet", twice))
    assert read_rows(write(tmp_path / "b.parquet", pa.table({"text": pa.array([], pa.string())}))) == []
    pq.write_table(pa.table({}), tmp_path / "c.parquet")
    assert read_rows(tmp_path / "c.parquet") == []


def test_a_dictionary_of_one_long_text_is_decoded_a_few_rows_at_a_time(tmp_path: Path) -> None:
    """4 MB that 20,000 rows repeat are 80 GB decoded, in a file of 100 KB."""
    table = pa.table({"text": pa.array(["x" * 4_000_000]).dictionary_encode().take(pa.array([0] * 20_000))})
    file = write(tmp_path / "a.parquet", table, dictionary_pagesize_limit=10**8, compression="zstd")
    assert file.stat().st_size < 200_000
    spec = SourceSpec("s", str(file))
    segment = Segment(str(file), "a.parquet", file.stat().st_size, 0, file.stat().st_size)
    before = pa.total_allocated_bytes()
    batches = read(Partition(0, "s", (segment,), 1), spec)
    for _ in range(20):
        next(batches)
        assert pa.total_allocated_bytes() - before < 400_000_000
    batches.close()


def test_the_size_of_a_page_is_read_from_its_header(tmp_path: Path) -> None:
    table = pa.table({"text": ["x" * 1000 + str(i) for i in range(300)]})
    file = write(tmp_path / "a.parquet", table, compression="none")
    column = pq.ParquetFile(file).metadata.row_group(0).column(0)
    with pa.OSFile(str(file)) as stream:
        assert 300_000 < _page_bytes(Watched(stream), column.dictionary_page_offset) < 320_000


def test_a_byte_wrong_anywhere_gives_no_id_twice_and_no_row_too_few_without_a_word(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", pa.table({"text": [f"t{i}" for i in range(30)]}), row_group_size=10)
    for at in range(0, file.stat().st_size, 7):
        data = bytearray(file.read_bytes())
        data[at] ^= 0xFF
        damaged = tmp_path / "b.parquet"
        damaged.write_bytes(data)
        rows = read_rows(damaged)
        assert len({row["id"] for row in rows}) == len(rows)
        assert all(row["read_bytes"] >= 0 for row in rows)
        assert len(rows) >= 30 or any(row["quarantined_by"] for row in rows)


@pytest.mark.slow
def test_a_storage_that_fails_is_an_error_and_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.parquet", pa.table({"text": [str(random.random()) for _ in range(200_000)]}))
    reads = 0

    def read_and_fail(self: Watched, size: int = -1) -> bytes:
        nonlocal reads
        reads += 1
        try:
            if reads > 4:
                raise OSError("connection reset")
            return self.file.read(size)
        except OSError as error:
            self.error = error
            raise

    monkeypatch.setattr(Watched, "read", read_and_fail)
    segment = Segment(str(file), "a.parquet", file.stat().st_size, 0, file.stat().st_size)
    with pytest.raises(OSError, match="connection reset"):
        list(read_parquet(segment, SourceSpec("s", str(file)), 1 << 30, Counter()))


def test_every_schema_is_the_same(tmp_path: Path) -> None:
    spec = SourceSpec("s", str(tmp_path))
    for name, data in {"a.parquet": b"PAR1", "b.parquet": b"x" * 100, "c.parquet": b"PAR1" * 20}.items():
        (tmp_path / name).write_bytes(data)
        segment = Segment(str(tmp_path / name), name, len(data), 0, len(data))
        (batch,) = read(Partition(0, "s", (segment,), 1), spec)
        assert batch.schema == READ
        assert batch.column("quarantined_by").to_pylist() == ["read.truncated"]
