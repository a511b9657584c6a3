"""What runs on a small corpus cannot tell, measured by itself, for `benchmarks/plan.py`.

Exchanges in very many segments, components of a million edges; and figures read from a run's files.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from plan_watch import Watched

from gristmill.pipeline.plan.rates import StepRate


def exchange_speed(folder: Path) -> tuple[float, float]:
    """(seconds to write or read a segment of a few rows, seconds to read a byte of an index)."""
    import numpy as np
    import pyarrow as pa

    from gristmill.pipeline.engine.commit import Output
    from gristmill.pipeline.engine.exchange import Incoming, read_index, receive
    from gristmill.pipeline.engine.sending import send
    from gristmill.stages.near_dedup import BAND
    from gristmill.storage.store import Store

    store, count = Store(str(folder / "exchange")), 20_000
    numbers = np.arange(8 * count, dtype=np.uint64)
    table = pa.Table.from_arrays(
        [pa.array(numbers), pa.array(numbers.astype(np.uint32)), pa.array(numbers)], schema=BAND
    )
    output = Output(store, "work/exchange", 0)
    begun = time.perf_counter()
    send(output, table, (numbers // 8).astype(np.int64))
    for _ in receive(store, Incoming([output.files[0].path], 0, count)):
        pass
    received = time.perf_counter()
    for _ in range(5):
        index = read_index(store, output.files[0].path)
        assert (index[:, 0] >= np.uint64(0)).all()
    scanned = time.perf_counter()
    return (received - begun) / count / 2, (scanned - received) / 5 / index.nbytes


def components(steps: dict[str, StepRate]) -> StepRate:
    """Of the one task that holds all edges, from a million of them: the runs have too few to tell."""
    import numpy as np
    import pyarrow as pa

    from gristmill.stages.near_dedup import ROOT, NearDedup

    number = 1_000_000
    handles = np.random.default_rng(1).integers(0, 1 << 40, number, dtype=np.uint64)
    edges = pa.Table.from_arrays([pa.array(handles), pa.array(handles // np.uint64(4))], schema=ROOT)
    NearDedup().components(edges.slice(0, 10))  # compiled
    Path("/proc/self/clear_refs").write_text("5")
    before, begun = memory_of_this_process("VmRSS"), time.perf_counter()
    NearDedup().components(edges)
    seconds = (time.perf_counter() - begun) / number
    size = (memory_of_this_process("VmHWM") - before + 2 * edges.nbytes) / number  # received, and brought together
    per_document = steps["near_dedup.edges"].rows
    held = steps["near_dedup.components"]
    return replace(held, seconds=seconds * per_document, memory_per_unit=size * per_document)


def doubling(reports: list[dict[str, Any]]) -> float:
    """By what share twice the pieces make tokens longer, from a smaller and a larger vocabulary."""
    small, large = ((each["trained"]["vocab_size"], each["measured"]["domains"]) for each in reports)
    shared = [domain for domain in large[1] if small[1].get(domain, {}).get("bytes_per_token")]
    ratios = [small[1][domain]["bytes_per_token"] / large[1][domain]["bytes_per_token"] for domain in shared]
    return (1 - sum(ratios) / len(ratios)) / math.log2(large[0] / small[0])


def memory_of_this_process(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def column_bytes(run: Watched) -> float:
    """Stored bytes of a document's columns beside its text."""
    import pyarrow.parquet as pq

    size = documents = 0
    for _, manifest in run.sealed[0].done():
        with run.store.open_input(manifest.file("documents").path) as file:
            metadata = pq.read_metadata(file)
        documents += metadata.num_rows
        for group in range(metadata.num_row_groups):
            columns = [metadata.row_group(group).column(i) for i in range(metadata.num_columns)]
            size += sum(column.total_compressed_size for column in columns if column.path_in_schema != "text")
    return size / max(1, documents)
