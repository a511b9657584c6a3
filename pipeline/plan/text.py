"""A plan as lines of at most 80 characters, for a terminal or a file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from gristmill.pipeline.plan.cluster import Estimate
from gristmill.pipeline.plan.prediction import Plan
from gristmill.wording import plural

WIDTH = 80
LABEL = 12

BOUNDS = {
    "computing": "computing",
    "network": "the network",
    "requests": "requests to the storage",
    "driver": "the driver's commits",
}


def plan_lines(plan: Plan, heading: str) -> list[str]:
    """The plan of a run on this machine."""
    rows = [("step", "tasks", "files", "read", "written", "time", "memory")]
    for step in plan.steps:
        rows.append(
            (
                step.name,
                count(step.tasks),
                count(step.files) if step.files else "",
                size(step.bytes_read),
                size(step.bytes_written),
                duration(step.seconds),
                size(step.memory),
            )
        )
    tasks, read = sum(step.tasks for step in plan.steps), sum(step.bytes_read for step in plan.steps)
    rows.append(("in all", count(tasks), "", size(read), size(plan.bytes_written), duration(plan.seconds), ""))
    largest = max(plan.steps, key=lambda step: step.memory)
    facts = {
        "time": f"{duration(plan.seconds)} with {plural(plan.workers, 'worker')}, and "
        f"{duration(plan.start_s)} to start Ray",
        "": f"{duration(plan.core_seconds)} of cores: {stages(plan)}",
        "memory": f"{size(plan.memory)} at most, in {largest.name}; {plural(plan.workers, 'worker')} at a time",
        "disk": f"{size(plan.bytes_written)} in work/, {size(plan.published_bytes)} of it the output by other names",
        "text": text(plan),
    }
    if plan.sizes:
        facts["sizes"] = plan.sizes
    shuffles = sorted({step.name.split(".merge")[0] for step in plan.steps if ".merge" in step.name})
    if shuffles:
        facts["merges"] = f"after {', '.join(shuffles)}: more senders than plan.max_segments"
    lines = [*wrapped("", heading), "", *table(rows, (28, 8, 7, 9, 9, 9, 9))]
    lines += wrapped("", "files: exchange files that a task reads; memory: of a worker at its largest task")
    lines += ["", *labelled(facts)]
    lines += listed("Found in the sources", plan.findings)
    return lines + listed("Where the numbers come from", plan.sources) + listed("Note", plan.notes)


def estimate_lines(found: Estimate, heading: str) -> list[str]:
    """The plan of a described corpus on a described cluster."""
    plan, cluster = found.plan, found.described
    bounds: dict[str, float] = {}
    for time in found.times:
        bounds[time.bound] = bounds.get(time.bound, 0.0) + time.seconds
    ordered = sorted(bounds.items(), key=lambda item: -item[1])
    largest = max(plan.steps, key=lambda step: step.memory)
    gets, puts = sum(step.gets for step in plan.steps), sum(step.puts for step in plan.steps)
    facts = {
        "time": f"{duration(found.seconds)}, of which bound by "
        + ", ".join(f"{BOUNDS[name]} {duration(each)}" for name, each in ordered),
        "core-hours": f"{plan.core_seconds / 3600:,.0f}: {stages(plan)}",
        "cluster": f"{plural(cluster.nodes, 'node')} with {plural(found.workers_per_node, 'task')} at a time, "
        f"{size(cluster.memory)} and "
        f"{cluster.network * 8 / 1e9:g} Gbit/s each; {cluster.storage}",
        "text": text(plan),
        "storage": f"{size(plan.bytes_written)} in work/, {size(plan.published_bytes)} of output; {count(gets)} GETs, "
        f"{count(puts)} PUTs",
        "memory": f"{size(plan.memory)} at most, in {largest.name}"
        + (f"; near_dedup.components has {count(found.edges)} edges in one task" if found.edges else ""),
    }
    if plan.sizes:
        facts["sizes"] = plan.sizes
    lines = [*wrapped("", heading), "", *labelled(facts), *listed("Warning", found.warnings), ""]
    return (
        lines
        + table(times(found), (22, 9, 9, 11, 9, 10, 10))
        + ["* what bounds the step"]
        + listed("Shuffles", shuffles(plan))
        + listed("Assumed, as not said", cluster.assumed)
        + listed("Where the numbers come from", plan.sources)
        + listed("Note", plan.notes)
    )


def times(found: Estimate) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("step", "tasks", "moved", "computing ", "network ", "requests ", "driver ")]
    moved = 0
    for step, time in zip(found.plan.steps, found.times, strict=True):
        bytes_moved = step.bytes_read + step.bytes_written
        moved += bytes_moved
        cells = [f"{duration(each)}{'*' if name == time.bound else ' '}" for name, each in time.bounds.items()]
        rows.append((step.name, count(step.tasks), size(bytes_moved), *cells))
    cells = [f"{duration(each)} " for each in found.seconds_by_bound().values()]
    return [*rows, ("in all", count(sum(step.tasks for step in found.plan.steps)), size(moved), *cells)]


def shuffles(plan: Plan) -> list[str]:
    """A sentence for every exchange."""
    found = []
    for step in plan.steps:
        if step.sent and ".merge" not in step.name:
            rounds = sum(1 for other in plan.steps if other.name.startswith(f"{step.name}.merge"))
            merges = f", {plural(rounds, 'merge round')}" if rounds else ""
            each = size(step.sent / max(1, step.segments))
            found.append(f"{step.name}: {size(step.sent)} in {counted(step.segments, 'segment')} of {each}{merges}")
    return found


def text(plan: Plan) -> str:
    amounts = plan.volumes
    return (
        f"{counted(amounts['documents'], 'document')} ({size(amounts['bytes'])}) read, "
        f"{count(amounts['curated_documents'])} ({size(amounts['curated_bytes'])}) curated, "
        f"{counted(amounts['tokens'], 'token')}, {count(amounts['blend_tokens'])} in the blends"
    )


def stages(plan: Plan) -> str:
    """What share of the cores' time each stage has."""
    whole = plan.core_seconds or 1.0
    return ", ".join(
        f"{stage} " + (f"{each / 3600:,.0f}" if whole > 36_000 else duration(each)) + f" ({100 * each / whole:.0f} %)"
        for stage, each in plan.by_stage().items()
    )


def duration(seconds: float) -> str:
    """Two figures or so, at most seven characters."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    for unit, length, limit in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < limit:
            return f"{seconds / length:.{1 if seconds / length < 9.95 else 0}f} {unit}"
    days = seconds / 86_400
    return f"{days:.1f} d" if days < 9.95 else f"{days:,.0f} d"


def counted(number: float, noun: str) -> str:
    said = count(number)
    return f"{said} {noun}" if said == "1" else f"{said} {noun}s"


def count(number: float) -> str:
    """As it is up to 99,999, else to three figures: 12.3 M."""
    if number < 99_999.5:
        return f"{number:,.0f}"
    for unit in ("k", "M", "G", "T"):
        number /= 1000
        if number < 999.5 or unit == "T":
            break
    return f"{number:,.{0 if number >= 99.95 else 1}f} {unit}"


def size(number: float) -> str:
    """Bytes to three figures."""
    if number < 999.5:
        return f"{number:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        number /= 1000
        if number < 999.5 or unit == "PB":
            break
    return f"{number:,.{0 if number >= 99.95 else 1}f} {unit}"


def wrapped(label: str, sentence: str) -> list[str]:
    return textwrap.wrap(f"{label}{sentence}", WIDTH, subsequent_indent=" " * len(label), break_on_hyphens=False)


def labelled(facts: dict[str, str]) -> list[str]:
    return [line for label, sentence in facts.items() for line in wrapped(f"{label:<{LABEL}}", sentence)]


def listed(title: str, sentences: Iterable[str]) -> list[str]:
    lines = [line for sentence in sentences for line in wrapped("  - ", sentence)]
    return ["", title, *lines] if lines else []


def table(rows: Sequence[tuple[str, ...]], widths: tuple[int, ...]) -> list[str]:
    """The first column to the left, the others to the right; a name that is too long is cut in its middle."""
    lines = []
    for name, *cells in rows:
        if len(name) > widths[0]:
            name = f"{name[: widths[0] - 13]}…{name[-12:]}"
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append((f"{name:<{widths[0]}}" + "".join(padded)).rstrip())
    return lines
