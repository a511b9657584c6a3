"""The exchange: what is sent arrives once, in order, whatever the number of senders and merge rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.engine import Engine, Task
from pipeline.exchange import merged, partition_of, read_index, receive, receive_table, send
from pipeline.store import Store

ROWS = 50


def sender(task: Task) -> None:
    rng = np.random.default_rng(task.payload)
    route = rng.integers(0, 2**64, ROWS, dtype=np.uint64)
    table = pa.table({"route": route, "sender": np.full(ROWS, task.payload), "row": np.arange(ROWS)})
    send(task.output, table, partition_of(route, task.shared).astype(np.int64))


def collected(store: Store, paths: list[list[str]]) -> list[list[tuple[int, int, int]]]:
    result = []
    for partition, group in enumerate(paths):
        table = receive_table(store, group, partition)
        columns = [table.column(n).to_pylist() for n in ("route", "sender", "row")] if table else [[], [], []]
        result.append(list(zip(*columns, strict=True)))
    return result


@pytest.mark.parametrize("max_segments", [2, 3, 100])
def test_rows_arrive_once_in_sender_order_through_any_number_of_merge_rounds(tmp_path: Path, max_segments: int) -> None:
    partitions, senders = 7, 11
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", sender, list(range(senders)), identity=max_segments, shared=partitions)
    paths = merged(engine, step, partitions, max_segments)
    assert max(len(group) for group in paths) <= max_segments
    expected: list[list[tuple[int, int, int]]] = [[] for _ in range(partitions)]
    for number in range(senders):
        route = np.random.default_rng(number).integers(0, 2**64, ROWS, dtype=np.uint64)
        for row, value in enumerate(route.tolist()):
            expected[(value >> 32) * partitions >> 32].append((value, number, row))
    assert collected(engine.store, paths) == expected


def test_a_receiver_reads_only_its_ranges(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", sender, [1], identity=0, shared=5)
    (path,) = merged(engine, step, 5, 10)[0]
    index = read_index(engine.store, path)
    assert index[:, 0].tolist() == sorted(set(index[:, 0].tolist()))
    assert [p for p, _ in receive(engine.store, [path], 1, 3)] == [1, 2]
    assert sum(t.num_rows for _, t in receive(engine.store, [path], 0, 5)) == ROWS


def nothing(task: Task) -> None:
    send(task.output, pa.table({"route": pa.array([], pa.uint64())}), np.array([], np.int64))


def test_a_sender_without_rows_is_fine(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", nothing, [0], identity=0)
    assert receive_table(engine.store, merged(engine, step, 3, 10)[1], 1) is None


def test_a_cut_exchange_file_is_named(tmp_path: Path) -> None:
    engine = Engine(Store(str(tmp_path)))
    step = engine.step("send", sender, [1], identity=0, shared=5)
    (path,) = merged(engine, step, 5, 10)[0]
    whole = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(whole[:-5])
    with pytest.raises(OSError, match="not an exchange file"):
        receive(engine.store, [path], 0)
