"""Reads real files damaged in ten thousand ways with the real first pass, and counts what that does.

    python benchmarks/chaos/inputs.py [--cases 12000] [--seed 1] [--workers 2] [--data ../shared/data]
                                      [--model models/lid.176.ftz]

Files of every format, plain and compressed, are damaged by the seed (tests/pipeline/mutations.py): bits, numbers in
headers, cuts, splices, repeated and inserted blocks, within the compressed data or around it. Each is read in a process
of its own kind, which is killed if a file takes longer than a minute or 4 GB: a crash of a library, a hang, an
exception, a document before the damage that is missing and a sum that does not add up are each counted and named.
Result: results/inputs.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import queue
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "pipeline")]

import mutations  # noqa: E402

from gristmill.pipeline.steps.chain import library_versions  # noqa: E402

LIMIT_S = 60
LIMIT_BYTES = 4 << 30
READ_AND_FORGOTTEN = 500
"""Cases after which a process is replaced, so that one that leaks is seen by its peak and not by the next."""


def work(seeds: list[int], data: Path, model: str, results: Any) -> None:
    """Examines the cases and reports each twice: when it begins, and what came out."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    folder = Path(tempfile.mkdtemp(prefix="gristmill-inputs-"))
    try:
        found = mutations.bases(data, folder)
        stages = mutations.stages(model)
        for seed in seeds:
            case = mutations.case(found, seed)
            results.put(("begins", seed, case.base.format, case.mutation))
            started = time.monotonic()
            try:
                wrong, reasons = mutations.examine(case, folder, stages)
            except Exception as error:
                wrong, reasons = [f"{type(error).__name__}: {error}"[:300]], Counter()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            results.put(("ends", seed, wrong, dict(reasons), time.monotonic() - started, peak))
        results.put(("done",))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Watch:
    """One process at a time over a share of the seeds; one that dies or hangs is replaced behind the case it was at."""

    def __init__(self, seeds: list[int], data: Path, model: str, tally: Tally) -> None:
        self.seeds, self.data, self.model, self.tally = seeds, data, model, tally
        self.process: Any = None
        self.at: tuple[int, str, str] | None = None
        self.since = 0.0

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.results = context.Queue()
        share = self.seeds[:READ_AND_FORGOTTEN]
        self.process = context.Process(target=work, args=(share, self.data, self.model, self.results), daemon=True)
        self.process.start()
        self.at, self.since = None, time.monotonic()

    def poll(self) -> bool:
        """Takes in what there is; whether anything is left to do."""
        if self.process is None:
            if not self.seeds:
                return False
            self.start()
        while True:
            try:
                message = self.results.get(timeout=0.2)
            except queue.Empty:
                break
            self.since = time.monotonic()
            if message[0] == "begins":
                self.at = message[1:]
            elif message[0] == "ends":
                self.tally.add(self.at[1], self.at[2], *message[1:])  # type: ignore[index]
                self.seeds.remove(message[1])
                self.at = None
            else:
                self.process.join()
                self.process = None
                return True
        if not self.process.is_alive():
            self.lost(f"the process died (exit code {self.process.exitcode})")
        elif time.monotonic() - self.since > LIMIT_S:
            self.process.kill()
            self.lost(f"not done after {LIMIT_S} s")
        return True

    def lost(self, why: str) -> None:
        self.process.join()
        self.process = None
        if self.at is None:
            raise RuntimeError(f"{why} before the first case")
        seed, format_name, mutation = self.at
        self.tally.add(format_name, mutation, seed, [why], {}, 0.0, 0)
        self.seeds.remove(seed)


class Tally:
    """Counts by format and by mutation."""

    def __init__(self) -> None:
        self.by_format: dict[str, Counter[str]] = {}
        self.by_mutation: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []
        self.cases = self.peak = 0
        self.slowest = 0.0

    def add(
        self, format_name: str, mutation: str, seed: int, wrong: list[str], reasons: dict, seconds: float, peak: int
    ) -> None:
        self.cases += 1
        self.by_mutation[mutation] += 1
        counts = self.by_format.setdefault(format_name, Counter())
        counts["inputs"] += 1
        counts["documents"] += reasons.pop("", 0)
        counts["quarantined"] += sum(reasons.values())
        self.reasons.update(reasons)
        self.slowest, self.peak = max(self.slowest, seconds), max(self.peak, peak)
        if wrong:
            counts["failures"] += 1
            self.failures.append({"seed": seed, "format": format_name, "mutation": mutation, "wrong": wrong[:3]})
            print(f"\nseed {seed}, {format_name}, {mutation}: {wrong[:3]}", file=sys.stderr)


def attack(cases: int, seed: int, workers: int, data: Path, model: str) -> Tally:
    tally = Tally()
    seeds = list(range(seed, seed + cases))
    watches = [Watch(seeds[i::workers], data, model, tally) for i in range(workers)]
    while sum(watch.poll() for watch in watches):  # each is asked, whatever the first one says
        print(f"\r{tally.cases:,} of {cases:,}, {len(tally.failures)} failures", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "lid.176.ftz")
    options = parser.parse_args()
    started = time.monotonic()
    tally = attack(options.cases, options.seed, options.workers, options.data.absolute(), str(options.model.absolute()))
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "python": platform.python_version(),
        "libraries": library_versions(),
        "seed": options.seed,
        "inputs": tally.cases,
        "failures": tally.failures,
        "by_format": {name: dict(sorted(counts.items())) for name, counts in sorted(tally.by_format.items())},
        "by_mutation": dict(sorted(tally.by_mutation.items())),
        "quarantined_by": dict(sorted(tally.reasons.items())),
        "slowest_s": round(tally.slowest, 2),
        "peak_bytes": tally.peak,
        "seconds": round(time.monotonic() - started),
    }
    target = Path(__file__).parent / "results" / "inputs.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{tally.cases:,} inputs, {len(tally.failures)} failures, {result['seconds']} s: {target}")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
