"""Values of Arrow columns in Python: dates to the microsecond, and the same whatever else is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read_rows

from gristmill.pipeline.readers.arrow_values import plain_array, plain_records

NANOSECONDS = 1_388_534_400_123_456_789
MOMENT = "2014-01-01 00:00:00.123456"

PROGRAM = """
import sys
if {blocked}:
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("pandas", "pytz", "dateutil"):
                raise ModuleNotFoundError(name)
    sys.meta_path.insert(0, Blocked())
from gristmill.pipeline.readers.formats import read
from gristmill.pipeline.readers.segments import Partition, Segment
from gristmill.pipeline.readers.source import SourceSpec
import os
path = {path!r}
size = os.path.getsize(path)
partition = Partition(0, "s", (Segment(path, "a.parquet", size, 0, size),), size)
for batch in read(partition, SourceSpec("s", path, columns={{"timestamp": "ts"}})):
    print(batch.to_pylist())
print("pandas" in sys.modules)
"""


def everything() -> pa.Table:
    value = pa.array([NANOSECONDS, None, 0])
    moment = pa.timestamp("ns")
    times = value.cast(moment)
    zone = value.cast(pa.timestamp("ns", "Europe/Berlin"))
    return pa.table(
        {
            "text": ["one", "two", "three"],
            "ts": times,
            "zone": zone,
            "nowhere": value.cast(pa.timestamp("ns", "Nowhere/Else")),
            "duration": value.cast(pa.duration("ns")),
            "time": pa.array([1_234_567, None, 0]).cast(pa.time64("ns")),
            "struct": pa.StructArray.from_arrays([times, zone], ["a", "b"]),
            "list": pa.array([[NANOSECONDS], None, []], pa.list_(moment)),
            "large": pa.array([[NANOSECONDS], None, []], pa.large_list(moment)),
            "map": pa.array([[("k", NANOSECONDS)], None, []], pa.map_(pa.string(), moment)),
            "dictionary": times.dictionary_encode(),
            "decimal": pa.array(["1.50", None, "2"]).cast(pa.decimal128(6, 2)),
            "half": pa.array([0.5, None, 2.0], pa.float16()),
            "day": pa.array([16071, None, 0], pa.date32()),
            "milliday": pa.array([86_400_000, None, 0], pa.date64()),
            "bytes": pa.array([b"\xff", b"ok", None]),
            "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None, "2"], pa.string())),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None, b"1" * 16], pa.binary(16))),
        }
    )


def test_nothing_depends_on_pandas(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(everything(), path)
    told = []
    for blocked in (False, True):
        program = PROGRAM.format(blocked=blocked, path=str(path))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        rows, _, seen = done.stdout.strip().rpartition("\n")
        told.append(rows)
        assert seen == "False" or not blocked
    assert told[0] == told[1]
    assert "datetime.datetime(2014, 1, 1, 0, 0, 0, 123456" in told[0]
    assert '"duration":"16071 days, 0:00:00.123456"' in told[0]


@pytest.mark.parametrize("int96", [True, False])
def test_a_date_with_nanoseconds_is_a_date(tmp_path: Path, int96: bool) -> None:
    path = tmp_path / "a.parquet"
    options = {"use_deprecated_int96_timestamps": True} if int96 else {}
    pq.write_table(pa.table({"text": ["x"], "ts": pa.array([NANOSECONDS]).cast(pa.timestamp("ns"))}), path, **options)
    [row] = read_rows(path, columns={"timestamp": "ts"})
    assert str(row["timestamp"]) == f"{MOMENT}+00:00"
    assert row["metadata"] is None


def test_types_within_types_are_made_plain() -> None:
    moment = pa.timestamp("ns")
    views = pa.array([[9], [NANOSECONDS, 1], None, [], [NANOSECONDS]], pa.list_view(moment)).slice(1)
    assert [each and [str(one) for one in each] for each in plain_array(views).to_pylist()] == [
        [MOMENT, "1970-01-01 00:00:00"], None, [], [MOMENT],
    ]  # fmt: skip
    runs = pa.RunEndEncodedArray.from_arrays([2], pa.array([NANOSECONDS], moment))
    assert [str(each) for each in plain_array(runs).to_pylist()] == [MOMENT] * 2
    deep = pa.array([[{"a": [("k", NANOSECONDS)]}]], pa.list_(pa.struct([("a", pa.map_(pa.string(), moment))])))
    [record] = plain_records(pa.RecordBatch.from_arrays([deep], ["deep"]))
    assert str(record["deep"][0]["a"]["k"]) == MOMENT  # type: ignore[index, call-overload]


def test_what_needs_no_change_is_not_copied() -> None:
    column = pa.array(["a", "b"])
    assert plain_array(column) is column


def test_a_date_beyond_all_calendars_within_an_object_is_text() -> None:
    far = pa.array([{"when": 10**15, "n": 1}], pa.struct([("when", pa.timestamp("s")), ("n", pa.int64())]))
    [record] = plain_records(pa.RecordBatch.from_arrays([far, pa.array(["x"])], ["far", "text"]))
    assert record == {"far": {"when": "1000000000000000 timestamp[s]", "n": 1}, "text": "x"}


def test_strings_without_an_annotation_are_strings(tmp_path: Path) -> None:
    row = {"text": "words", "id": "7", "url": "http://a", "title": "T", "language": "en", "more": "x", "raw": b"\xff"}
    columns = {name: pa.array([value.encode() if isinstance(value, str) else value]) for name, value in row.items()}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    [found] = read_rows(path, columns={"id": "id"})
    assert [found[name] for name in ("text", "own_id", "url", "title", "language")] == [
        "words", "7", "http://a", "T", "en",
    ]  # fmt: skip
    assert found["metadata"] == '{"more":"x","raw":"ff"}'


@given(st.lists(st.none() | st.integers(-(2**62), 2**62), max_size=5))
def test_moments_lose_what_is_below_a_microsecond(values: list[int | None]) -> None:
    found = plain_array(pa.array(values, pa.int64()).cast(pa.timestamp("ns"))).cast(pa.int64()).to_pylist()
    assert all(a is b is None or abs(a * 1000 - b) < 1000 for a, b in zip(found, values, strict=True))  # type: ignore[operator]
