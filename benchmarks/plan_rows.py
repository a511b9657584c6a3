"""What every task of a watched run had to do, what it took and what it wrote, for `benchmarks/plan_fit.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from plan_watch import Watched

from gristmill.pipeline.engine.exchange import FOOTER_BYTES, read_index
from gristmill.pipeline.plan.exchange import ENTRY_BYTES
from gristmill.pipeline.plan.rates import canonical
from gristmill.pipeline.steps.first_pass import Grouped
from gristmill.storage.store import Store


@dataclass
class Row:
    """One task: what it had to do and what that took."""

    work: dict[str, float]
    seconds: float
    grown: float
    """Peak memory over what the process had before."""
    first: float
    written: float
    sent: float
    rows: float
    segments: float
    received: float
    framing: float


def rows(run: Watched) -> dict[str, list[Row]]:
    """Canonical step -> its tasks."""
    result: dict[str, list[Row]] = {}
    alive: list[tuple[float, float]] = []
    curated: list[dict[str, float]] = []
    last_segments = 0.0
    for sealed in run.sealed:
        name = canonical(sealed.name)
        count = len(sealed.manifests)
        found = []
        for index, manifest in sealed.done():
            seen = run.tasks[sealed.name, index]
            sent = [file for file in manifest.files if file.role == "exchange"]
            segments = float(sum(len(read_index(run.store, file.path)) for file in sent))
            row = Row(
                _work(run, name, sealed, manifest, index, count, alive, curated),
                seen["seconds"],
                seen["peak"] - seen["before"],
                seen["first"],
                float(sum(file.bytes for file in manifest.files if file.role != "exchange")),
                float(sum(file.bytes for file in sent)) - ENTRY_BYTES * segments - FOOTER_BYTES * len(sent),
                float(sum(file.rows for file in sent)),
                segments,
                last_segments / count,
                framing(run.store, sent[0].path) if sent and not index else 0.0,
            )
            if name == "merge":
                row.work = {"bytes": row.sent}
            found.append(row)
        result.setdefault(name, []).extend(found)
        last_segments = sum(row.segments for row in found)
        if any(isinstance(manifest.stats, Grouped) for _, manifest in sealed.done()):
            volumes = [[*manifest.stats.groups.values()] for _, manifest in sealed.done()]
            alive = [(float(sum(v.documents for v in each)), float(sum(v.bytes for v in each))) for each in volumes]
        if name == "tokenizer.train":  # what each task of the sample gave to it, by the sizes of their files
            whole = sum(row.written for row in result["tokenizer.sample"][-len(curated) :])
            for row in result["tokenizer.sample"][-len(curated) :]:
                row.work["sample"] = found[0].work["bytes"] * row.written / whole
        if name in ("curate", "tokenize"):
            curated = [row.work for row in found]
    return result


def _work(
    run: Watched, name: str, sealed: Any, manifest: Any, index: int, count: int, alive: list, curated: list
) -> dict[str, float]:
    """Documents, bytes, copies and tokens that a task works on."""
    counts = manifest.counts
    if name == "read":
        return {"documents": counts["read"].documents_in, "bytes": counts["read"].bytes_in}
    if name == "curate":
        return {"documents": counts["curate"].documents_in, "bytes": counts["curate"].bytes_in}
    if name == "tokenizer.train":
        trained = run.record["tokenizer"]["report"]["trained"]
        return {"documents": trained["documents"], "bytes": trained["bytes"]}
    if name == "tokenize":
        return {**curated[index], "tokens": manifest.stats.tokens}
    if name in ("tokenizer.sample", "blend.units"):
        return dict(curated[index])
    if name.startswith("blend/"):
        blend = run.record["blends"][sealed.name.split("/")[1]]
        copies, tokens = blend["documents"], blend["tokens"]
        if name in ("blend/order", "blend/scatter"):
            share = curated[index]["tokens"] / sum(each["tokens"] for each in curated)
        elif name == "blend/write":
            share = sum(file.bytes for file in manifest.files if file.path.endswith(".bin")) / 4 / tokens
        else:
            share = 1 / count
        return {"copies": copies * share, "tokens": tokens * share, "bytes": 4 * tokens * share}
    documents, size = (sum(column) for column in zip(*alive, strict=True))
    if "." in name and name.rpartition(".")[2] in ("survivors", "edges", "components", "first"):
        return {"documents": documents / count, "bytes": size / count}
    if name == "merge":
        return {}
    return {"documents": alive[index][0], "bytes": alive[index][1]}


def framing(store: Store, path: str) -> float:
    """Bytes of a segment beside its rows: of one without any, with the columns of those in a file."""
    index = read_index(store, path)
    if not len(index):
        return 0.0
    with store.open_input(path) as file:
        file.seek(int(index[0, 1]))
        with pa.ipc.open_stream(file.read(int(index[0, 2]))) as stream:
            table = stream.read_all()
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, table.schema) as empty:
        empty.write_batch(pa.RecordBatch.from_pylist([], schema=table.schema))
    return float(buffer.getvalue().size)
