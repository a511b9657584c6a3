"""How near the plan comes to the run: measures this machine's rates, plans the demo, runs it, compares.

    python benchmarks/plan.py              rates.json and benchmarks/results/plan.json, five minutes
    python benchmarks/plan.py --compare    with the rates that are there

1. Two runs of the shipped configuration over other samples of `machine:` (a small one in small partitions with merge
   rounds, a larger one in two large partitions), watched task by task, give the rates; two first passes over JSONL and
   WARC give those of these readers, where GRISTMILL_TEST_DATA or ../shared/data has any, else the ones before stay.
2. The demo is planned with them, then run. Claim: seconds, bytes written and peak memory within 30 %.

The demo is not among the runs that the rates come from. Linux only (peaks are read from /proc).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from plan_fit import kind, overhead, step_rates  # noqa: E402
from plan_micro import column_bytes, components, doubling, exchange_speed  # noqa: E402
from plan_watch import watched  # noqa: E402

from gristmill.pipeline.plan.prediction import compare, predicted  # noqa: E402
from gristmill.pipeline.plan.rates import FILE, Rates, shipped  # noqa: E402

RESULT = Path(__file__).parent / "results" / "plan.json"
CLAIM = 0.30

WARM = {"sources.0.max_bytes": 3_000_000, "tokenizer.sample_bytes": 1_000_000, "tokenizer.vocab_size": 4000}
SMALL = {
    "sources.0.max_bytes": 30_000_000,
    "plan.partition_bytes": 1_000_000,
    "plan.max_segments": 20,
    "tokenizer.sample_bytes": 10_000_000,
    "tokenizer.vocab_size": 4096,
    "shards.tokens_per_shard": 500_000,
}
LARGE = {
    "sources.0.max_bytes": 100_000_000,
    "plan.partition_bytes": 40_000_000,
    "shards.tokens_per_shard": 8_000_000,
}
"""Other samples and other cuts than the demo's: 120 MB in partitions of 8 MB, shards of 2 M tokens."""

KINDS = {
    "jsonl": (
        "english/academic-*.jsonl.zst",
        "english/books-*.jsonl.zst",
        "english/news-*.jsonl.zst",
        "english/us-speeches.jsonl.zst",
        "multilingual/wikipedia-ml.jsonl.zst",
    ),
    "warc": ("web/warc/*.warc.gz",),
}
"""Test data of whole documents; files of excerpts would make documents look short."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--compare", action="store_true", help="use the rates that are there")
    arguments.add_argument("--rates", default=str(FILE), help="where rates are written")
    arguments.add_argument("--result", default=str(RESULT))
    given = arguments.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="gristmill-plan-") as folder:
        watched(configured(Path(folder) / "warm", WARM), Path(folder) / "warm.log")  # kernels are compiled from here on
        if given.compare:
            rates = Rates.from_dict(json.loads(Path(given.rates).read_text()))
        else:
            rates = measure(Path(folder))
            Path(given.rates).write_text(json.dumps(rates.to_dict(), indent=1, ensure_ascii=False) + "\n")
            print(f"{given.rates}: written")
        result = demo(Path(folder), rates)
    Path(given.result).parent.mkdir(exist_ok=True)
    Path(given.result).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    show(result)


def demo(folder: Path, rates: Rates) -> dict[str, Any]:
    """Plans the shipped configuration, then runs it."""
    from gristmill.pipeline.readers.inventory import inventory

    config = configured(folder / "demo", {})
    begun = time.perf_counter()
    files = inventory(config.sources)
    listed = time.perf_counter()
    plan = predicted(config, files, os.cpu_count(), rates)
    planned = time.perf_counter()
    load = os.getloadavg()[0]
    run = watched(config, folder / "demo.log")
    peaks: dict[str, int] = {}
    for (step, _), task in run.tasks.items():
        peaks[step] = max(peaks.get(step, 0), int(task["peak"]))
    steps = compare(plan, run.record)
    total = steps[-1]
    pairs = {
        "seconds": (plan.seconds, run.record["seconds"]),
        "bytes written": (plan.bytes_written, total["bytes"]),
        "peak memory of a worker": (plan.memory, max(peaks.values())),
    }
    busy = sum(task["seconds"] for task in run.tasks.values())
    return {
        "claim": f"seconds, bytes written and peak memory of the demo within {CLAIM:.0%} of the plan",
        "machine": machine(),
        "date": today(),
        "load": {"before": load, "after": os.getloadavg()[0]},
        "holds": all(abs(actual / foreseen - 1) <= CLAIM for foreseen, actual in pairs.values()),
        "totals": {
            name: {"predicted": a, "actual": b, "actual_over_predicted": b / a} for name, (a, b) in pairs.items()
        },
        "core_seconds": {"predicted": plan.core_seconds, "actual": busy, "ratio": busy / plan.core_seconds},
        "planning": {"inventory_s": listed - begun, "plan_s": planned - listed, "files": len(files)},
        "steps": steps,
        "peaks": peaks,
        "plan": plan.to_dict(),
        "record": {key: run.record[key] for key in ("started", "seconds", "host", "libraries", "steps", "funnel")},
    }


def measure(folder: Path) -> Rates:
    """The rates of this machine."""
    others = f", while other programs ran (load {os.getloadavg()[0]:.1f})" if os.getloadavg()[0] > 1 else ""
    segment_seconds, index_seconds = exchange_speed(folder)
    runs = [watched(configured(folder / name, keys), folder / f"{name}.log") for name, keys in RUNS.items()]
    steps = step_rates(runs, segment_seconds)
    steps["near_dedup.components"] = components(steps)
    large = runs[-1]
    kinds = {"machine": kind(large, steps["read"])}
    kinds |= {name: found for name in KINDS if (found := first_pass(name, folder)) is not None}
    if missing := [name for name in KINDS if name not in kinds]:
        print(f"no test data: {', '.join(missing)} keep the rates they have")
        kinds |= {name: shipped().kinds[name] for name in missing}
    report = large.record["tokenizer"]["report"]
    funnel = {entry["stage"]: entry for entry in large.record["funnel"]}
    step_seconds, commit_seconds = overhead(runs)
    start = runs[0].sealed[0]
    boot = (
        start.seconds - step_seconds - sum(runs[0].tasks["read", i]["wall"] for i, _ in start.done()) / runs[0].workers
    )
    first = steps["read"].first_seconds + max(0.0, boot)
    steps["read"] = replace(steps["read"], written=0.0, task_written=0.0, first_seconds=first)
    tops = ("curated", "signals", "ledger", "tokenizer", "shards", "manifests")
    published = sum(len(large.store.files(top)) for top in tops)
    beside = large.record["seconds"] - sum(step["seconds"] for step in large.record["steps"])
    train = next(s for s in large.record["steps"] if s["name"] == "tokenizer.train")
    return Rates(
        source=f"measured on {machine()}, {today()}{others}, over the text of that machine (benchmarks/plan.py)",
        machine=machine(),
        step_seconds=step_seconds,
        commit_seconds=commit_seconds,
        publish_seconds=max(0.0, beside) / published,
        start_seconds=large.record["start_seconds"],
        segment_seconds=segment_seconds,
        index_seconds=index_seconds,
        column_bytes=column_bytes(large),
        piece_bytes=train["bytes_written"] / report["trained"]["vocab_size"],
        steps=steps,
        kinds=kinds,
        stages={
            stage: (entry["kept"] / max(1, entry["documents_in"]), entry["bytes_kept"] / max(1, entry["bytes_in"]))
            for stage, entry in funnel.items()
            if stage not in kinds["machine"].stages and "/" not in stage and stage not in ("curate", "tokenize")
        },
        bytes_per_token={d: each["bytes_per_token"] for d, each in report["measured"]["domains"].items()},
        vocabulary=report["trained"]["vocab_size"],
        doubling=doubling([run.record["tokenizer"]["report"] for run in runs]),
    )


RUNS = {"small": SMALL, "large": LARGE}


def configured(output: Path, keys: dict[str, int]) -> Any:
    from gristmill.pipeline.config.keys import load

    return load("pipeline.yaml", [f'output="{output}"', *(f"{key}={value}" for key, value in keys.items())])


def first_pass(name: str, folder: Path) -> Any:
    """The kind of input `name`, from a first pass over test data of that format; None where there is none."""
    from gristmill.pipeline.config.keys import load

    data = Path(os.environ.get("GRISTMILL_TEST_DATA", ROOT.parent / "shared" / "data"))
    patterns = [str(data / pattern) for pattern in KINDS[name] if list(data.glob(pattern))]
    if not patterns:
        return None
    sources = [{"name": f"{name}-{i}", "uri": pattern, "format": name} for i, pattern in enumerate(patterns)]
    output = folder / name
    config = load("pipeline.yaml", [f'output="{output}"', f"sources={json.dumps(sources)}"])
    run = watched(config, folder / f"{name}.log", first_pass_only=True)
    return kind(run, step_rates([run], 0.0)["read"])


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} cores of {model}, {memory / 1e9:.0f} GB, Python {platform.python_version()}"


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def show(result: dict[str, Any]) -> None:
    print(f"{'step':<28}{'tasks':>11}{'seconds':>18}{'kB written':>22}")
    for row in result["steps"]:
        tasks = f"{row['predicted_tasks']} / {row['tasks']}"
        seconds = f"{row['predicted_seconds']:.2f} / {row['seconds']:.2f}" if row["predicted_tasks"] else "-"
        size = f"{row['predicted_bytes'] / 1e3:,.0f} / {row['bytes'] / 1e3:,.0f}" if row["predicted_tasks"] else "-"
        print(f"{row['step']:<28}{tasks:>11}{seconds:>18}{size:>22}")
    for name, each in result["totals"].items():
        print(f"{name}: predicted {each['predicted']:,.1f}, was {each['actual']:,.1f}")
    cores, load = result["core_seconds"], result["load"]
    print(f"core-seconds, whatever else ran: predicted {cores['predicted']:.1f}, was {cores['actual']:.1f}")
    print(
        f"load before {load['before']:.1f}, after {load['after']:.1f}: seconds mean something on a quiet machine only"
    )
    print("holds" if result["holds"] else "does not hold", f"({result['claim']})")


if __name__ == "__main__":
    main()
