"""The exchange: what is sent arrives once, in order, whatever the number of senders and merge rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.engine.checked import Damaged
from gristmill.pipeline.engine.engine import Engine
from gristmill.pipeline.engine.exchange import Incoming, read_index, receive, receive_table
from gristmill.pipeline.engine.merging import merged
from gristmill.pipeline.engine.sending import Sender, partition_of, send
from gristmill.pipeline.engine.task import Step, Task
from gristmill.storage.store import Store

ROWS = 50


def sender(task: Task[int, int]) -> None:
    rng = np.random.default_rng(task.payload)
    route = rng.integers(0, 2**64, ROWS, dtype=np.uint64)
    table = pa.table({"route": route, "sender": np.full(ROWS, task.payload), "row": np.arange(ROWS)})
    send(task.output, table, partition_of(route, task.shared).astype(np.int64))


def collected(store: Store, received: list[Incoming]) -> list[list[tuple[int, int, int]]]:
    result = []
    for incoming in received:
        table = receive_table(store, incoming)
        columns = [table.column(n).to_pylist() for n in ("route", "sender", "row")] if table else [[], [], []]
        result.append(list(zip(*columns, strict=True)))
    return result


@pytest.mark.parametrize("max_segments", [2, 3, 100])
def test_rows_arrive_once_in_sender_order_through_any_number_of_merge_rounds(tmp_path: Path, max_segments: int) -> None:
    partitions, senders = 7, 11
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", Step(sender), list(range(senders)), partitions)
    received = merged(engine, step, partitions, max_segments)
    assert max(len(incoming.paths) for incoming in received) <= max_segments
    expected: list[list[tuple[int, int, int]]] = [[] for _ in range(partitions)]
    for number in range(senders):
        route = np.random.default_rng(number).integers(0, 2**64, ROWS, dtype=np.uint64)
        for row, value in enumerate(route.tolist()):
            expected[(value >> 32) * partitions >> 32].append((value, number, row))
    assert collected(engine.store, received) == expected


def test_a_receiver_reads_only_its_ranges(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", Step(sender), [1], 5)
    (path,) = merged(engine, step, 5, 10)[0].paths
    index = read_index(engine.store, path)
    assert index[:, 0].tolist() == sorted(set(index[:, 0].tolist()))
    assert [p for p, _ in receive(engine.store, Incoming([path], 1, 3))] == [1, 2]
    assert sum(t.num_rows for _, t in receive(engine.store, Incoming([path], 0, 5))) == ROWS


def nothing(task: Task[int, None]) -> None:
    send(task.output, pa.table({"route": pa.array([], pa.uint64())}), np.array([], np.int64))


def test_a_sender_without_rows_is_fine(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", Step(nothing), [0], None)
    assert receive_table(engine.store, merged(engine, step, 3, 10)[1]) is None


def test_a_cut_exchange_file_is_named(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", Step(sender), [1], 5)
    (path,) = merged(engine, step, 5, 10)[0].paths
    whole = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(whole[:-5])
    with pytest.raises(Damaged, match=f"{path}: not an exchange file"):
        read_index(engine.store, path)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_every_flipped_bit_of_an_exchange_file_is_seen(
    flipped: tuple[Engine, str, bytes], place: int, bit: int
) -> None:
    engine, path, whole = flipped
    changed = bytearray(whole)
    changed[place % len(whole)] ^= 1 << bit
    (Path(engine.store.root) / path).write_bytes(changed)
    with pytest.raises(Damaged, match=path):
        list(receive(engine.store, Incoming([path], 0, 5)))


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, str, bytes]:
    engine = Engine(Store(str(tmp_path_factory.mktemp("flipped"))))
    step = engine.step("send", Step(sender), [1], 5)
    (path,) = merged(engine, step, 5, 10)[0].paths
    return engine, path, engine.store.read(path)


def wide_sender(task: Task[int, None]) -> None:
    rows = np.arange(5000)
    send(task.output, pa.table({"row": rows, "sender": np.full(5000, task.payload)}), rows)


@pytest.mark.slow
def test_of_a_long_index_a_receiver_reads_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristmill.pipeline.engine.exchange.TAIL_BYTES", 300)
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", Step(wide_sender), [0, 1, 2, 3], None)
    for incoming in merged(engine, step, 5000, 3)[::499]:
        table = receive_table(engine.store, incoming)
        assert table is not None
        assert table.column("row").to_pylist() == [incoming.first] * 4
        assert table.column("sender").to_pylist() == [0, 1, 2, 3]


def long_sender(task: Task[int, None]) -> None:
    with Sender(task.output) as file:
        for first in range(0, ROWS, 10):
            table = pa.table({"sender": np.full(10, task.payload), "row": np.arange(first, first + 10)})
            file.add(table, np.arange(first, first + 10) % 3)


def test_a_sender_that_holds_little_writes_several_runs_and_the_order_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gristmill.pipeline.engine.sending.RUN_BYTES", 200)
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", Step(long_sender), [0, 1, 2], None)
    received = merged(engine, step, 3, 2)
    assert len(read_index(engine.store, received[0].paths[0])) > 3
    for partition, incoming in enumerate(received):
        table = receive_table(engine.store, incoming)
        assert table is not None
        assert table.column("row").to_pylist() == [*range(partition, ROWS, 3)] * 3
        assert table.column("sender").to_pylist() == sorted(table.column("sender").to_pylist())
