"""From runs that were watched task by task to the rates that `gristmill plan` reckons with (`pipeline.plan.rates`).

Every rate is a least-squares fit with non-negative coefficients over the tasks of a step in all runs:

    seconds = task_seconds + seconds · units          bytes = task_written + written · units
    peak memory = memory + memory_per_unit · units    sent bytes = sent · units + segment_bytes · segments

so that runs with small and with large partitions together tell what a task costs and what its data cost.
"""

from __future__ import annotations

import numpy as np
from plan_rows import Row, rows
from plan_watch import Watched

from gristmill.pipeline.engine.sending import RUN_BYTES
from gristmill.pipeline.plan.rates import Kind, StepRate
from gristmill.pipeline.steps.blending import PART_TOKENS
from gristmill.pipeline.steps.curate import ROW_GROUP_BYTES

UNITS = {
    "tokenize": "bytes",
    "tokenizer.sample": "bytes",
    "tokenizer.train": "bytes",
    "curate.send": "bytes",
    "curate": "bytes",
    "blend/order": "copies",
    "blend/sums": "copies",
    "blend/select": "copies",
    "blend/place": "copies",
    "blend/scatter": "tokens",
    "blend/write": "tokens",
    "merge": "bytes",
}
"""What a step's seconds go with; rounds that read text: bytes; all others: documents."""

BATCH = 16e6  # bytes of text that the first pass reads at a time: pipeline.readers.read
HELD = dict.fromkeys(
    ("read", "rules", "exact_dedup.key", "exact_dedup", "near_dedup.key", "near_dedup.members", "near_dedup"), BATCH
)
HELD |= dict.fromkeys(("curate", "tokenizer.sample", "tokenize", "blend.units"), ROW_GROUP_BYTES)
HELD |= {"curate.send": BATCH + RUN_BYTES, "blend/scatter": ROW_GROUP_BYTES + RUN_BYTES, "blend/write": 4 * PART_TOKENS}
"""Bytes of text, or of ids, that a task holds at a time; other steps hold all."""

SENT = {"curate.send": "bytes", "blend/scatter": "tokens"}
"""What an exchange's bytes go with; others: copies in a blend, documents elsewhere."""


def least_squares(columns: list[list[float]], values: list[float]) -> list[float]:
    """Non-negative coefficients, one a column, by coordinate descent."""
    a, b = np.array(columns, float).T, np.array(values, float)
    scale = np.maximum(np.linalg.norm(a, axis=0), 1e-300)
    a = a / scale
    x = np.zeros(a.shape[1])
    residual = b.copy()
    for _ in range(5000):
        for j in range(a.shape[1]):
            step = max(x[j] + a[:, j] @ residual, 0.0) - x[j]
            x[j] += step
            residual -= step * a[:, j]
    return [float(each) for each in x / scale]


def step_rates(runs: list[Watched], segment_seconds: float) -> dict[str, StepRate]:
    """The rates of every step that the runs have."""
    gathered: dict[str, list[list[Row]]] = {}
    for run in runs:
        for name, found in rows(run).items():
            gathered.setdefault(name, []).append(found)
    before = [task["before"] for run in runs for (step, _), task in run.tasks.items() if "dedup" in step]
    before = before or [task["before"] for run in runs for task in run.tasks.values()]
    base = float(np.median(before))  # of a worker that has its imports and kernels, before it trained a tokenizer
    return {name: _rate(name, found, segment_seconds, base) for name, found in gathered.items()}


def _rate(name: str, parts: list[list[Row]], segment_seconds: float, base: float) -> StepRate:
    found = [row for part in parts for row in part]
    text = name.endswith(".key") and not name.startswith("identity")
    unit = "bytes" if text or name == "read" else UNITS.get(name, "documents")
    basis = "copies" if name.startswith("blend/") else "documents"
    sent_unit = SENT.get(name, basis)
    ones = [1.0] * len(found)
    units = [row.work[unit] for row in found]
    busy = [max(0.0, row.seconds - segment_seconds * (row.segments + row.received)) for row in found]
    fixed, speed, first = least_squares([ones, units, [row.first for row in found]], busy)
    made = [row.work.get("sample", row.work[unit]) for row in found]
    file_bytes, written = relative_fit([ones, made], [row.written for row in found])
    sent, segment = 0.0, 0.0
    if name in SENT:  # what is sent is large beside its framing, and compresses better where a document's repeats meet
        segment = next((row.framing for row in found if row.framing), 0.0)
        sent = max(sent_per_unit(part, sent_unit, segment) for part in parts)
    elif name != "merge":
        sums = [[sum(row.work.get(sent_unit, 0.0) for row in part) for part in parts]]
        sums.append([sum(row.segments for row in part) for part in parts])
        sent, segment = relative_fit(sums, [sum(row.sent for row in part) for part in parts])
    bound = HELD.get(name, 0.0)
    whole = [row.work.get("bytes", 0.0) for row in found]
    held = [
        size * min(1.0, bound / max(1.0, all_of_it)) if bound else size
        for size, all_of_it in zip(units, whole, strict=True)
    ]
    own, memory = least_squares([ones, held], [row.grown for row in found])
    over = [row.grown - own - memory * size for row, size in zip(found, held, strict=True)]
    documents = sum(row.work.get(basis, 0.0) for row in found)
    return StepRate(
        unit=unit,
        seconds=speed,
        task_seconds=fixed,
        first_seconds=first,
        written=written,
        task_written=file_bytes,
        rows=sum(row.rows for row in found) / documents if documents else 0.0,
        sent=sent,
        sent_unit=sent_unit,
        segment_bytes=segment,
        memory=base + own + max(0.0, float(np.quantile(over, 0.9))),
        memory_per_unit=memory,
        held_bytes=bound,
    )


def sent_per_unit(found: list[Row], unit: str, segment: float) -> float:
    content = sum(row.sent - segment * row.segments for row in found)
    return max(0.0, content) / max(1.0, sum(row.work.get(unit, 0.0) for row in found))


def relative_fit(columns: list[list[float]], values: list[float]) -> list[float]:
    """As `least_squares`, of the relative errors, so that small tasks count as large ones do."""
    least = 0.1 * float(np.median(values)) or 1.0
    weights = [1.0 / max(value, least) for value in values]
    weighted = [[each * w for each, w in zip(column, weights, strict=True)] for column in columns]
    return least_squares(weighted, [value * w for value, w in zip(values, weights, strict=True)])


def kind(run: Watched, reading: StepRate) -> Kind:
    """What a kind of input becomes, from the first pass of a run whose sources are all of it."""
    sealed = run.sealed[0]
    counts = sealed.counts()
    first = counts["read"]
    stored = {"": 0, "packed": 0}
    for entry in run.files:
        stored["packed" if entry.compression else ""] += entry.size
    plain = min(stored[""], first.bytes_in)
    packed = (first.bytes_in - plain) / stored["packed"] if stored["packed"] else 4.0
    expansion = {"": 1.0 if stored["packed"] or not stored[""] else first.bytes_in / stored[""]}
    expansion |= dict.fromkeys(("gz", "zst", "bz2", "xz"), max(1.0, packed))
    groups: dict[tuple[str, str], float] = {}
    if "groups" in run.record:
        groups = {(g["domain"], g["language"]): g["bytes"] for g in run.record["groups"]}
    else:
        for _, manifest in sealed.done():
            for group, volume in manifest.stats.groups.items():
                key = tuple(group.split("/", 1))
                groups[key] = groups.get(key, 0) + volume.bytes  # type: ignore[index]
    whole = sum(groups.values())
    roles: dict[str, float] = {}
    for _, manifest in sealed.done():
        for file in manifest.files:
            roles[file.role] = roles.get(file.role, 0) + file.bytes
    size = first.bytes_in
    return Kind(
        seconds=reading.seconds,
        expansion=expansion,
        document_bytes=size / first.documents_in,
        files=abs(first.documents_in / len(run.files) - 1) < 0.1,
        documents=roles["documents"] / size,
        signals=(roles["signals"] + roles.get("ledger", 0)) / size,
        stages={
            stage: (each.kept / max(1, each.documents_in), each.bytes_kept / max(1, each.bytes_in))
            for stage, each in counts.items()
        },
        groups=tuple((*key, share / whole) for key, share in sorted(groups.items())),
    )


def overhead(runs: list[Watched]) -> tuple[float, float]:
    """(seconds of a step, of a task) beside the tasks' own, medians over the steps of all runs but their first."""
    found = []
    for run in runs:
        for sealed in run.sealed[1:]:
            wall = [run.tasks[sealed.name, index]["wall"] for index, _ in sealed.done()]
            own = max(sum(wall) / min(run.workers, len(wall)), max(wall))
            found.append((len(wall), max(0.0, sealed.seconds - own)))
    few = [rest for tasks, rest in found if tasks <= 3]
    step = float(np.median(few)) if few else 0.0
    many = [max(0.0, rest - step) / tasks for tasks, rest in found if tasks >= 8]
    return step, float(np.median(many)) if many else 0.0
