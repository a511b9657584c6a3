"""Kills a run a thousand times and counts what that cost: bytes that differ, committed tasks computed again, errors.

    python benchmarks/chaos/kills.py [--kills 1000] [--seed 1] [--data ../shared/data] [--model models/lid.176.ftz]

Runs of a small corpus in one process are killed with SIGKILL at points drawn by the seed and started again until they
end, one chain of kills after the other: after the k-th commit, before the k-th operation on a name or half-way through
a write, or by the clock. Each chain's output is compared byte by byte with that of a run nobody disturbed, and
verified. Kills of Ray's workers and nodes are in tests/pipeline/test_cluster.py. Result: results/kills.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
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

from attack import COMMIT, OPERATION, TIME, Attempt, Chain, Kill, Nursery, lay_out_small  # noqa: E402
from corpus import differences, tree  # noqa: E402

from gristmill.pipeline.steps.chain import library_versions  # noqa: E402
from gristmill.pipeline.upkeep.verify import verify  # noqa: E402

SHARES = {COMMIT: 0.4, OPERATION: 0.5, TIME: 0.1}
CHAINS = 25
"""So many kills a chain, about: few enough that the whole comes to its end often, enough to hit every step."""


def draw(source: random.Random, whole: Attempt) -> Kill:
    """A kill within the next twelfth or so of a run, so that a chain takes about CHAINS of them."""
    kind = source.choices(list(SHARES), list(SHARES.values()))[0]
    most = {COMMIT: 2 * len(whole.tasks) // CHAINS, OPERATION: 4 * whole.operations // CHAINS, TIME: 500}[kind]
    return Kill(kind, source.randint(1, most))


def attack(kills: int, seed: int, data: Path, model: Path, folder: Path) -> dict[str, Any]:
    """Kills until there were so many; returns the counts."""
    source = random.Random(seed)
    undisturbed = folder / "undisturbed"
    by_kind: Counter[str] = Counter()
    by_step: Counter[str] = Counter()
    failures: list[str] = []
    differing = problems = chains = tasks = 0
    with Nursery(lay_out_small(data, folder, model), undisturbed) as nursery:
        expected = tree(undisturbed)
        while by_kind.total() < kills:
            chain = Chain(nursery, folder / "out", {})
            try:
                killed = True
                while killed:
                    kill = draw(source, nursery.whole)
                    attempt = chain.attempt(kill)
                    killed = attempt.killed
                    tasks += len(attempt.tasks)
                    by_kind[kill.kind] += killed
                    by_step[attempt.step or "before the first step with work left"] += killed
            except AssertionError as error:
                failures.append(str(error)[-500:])
            chains += 1
            differing += len(differences(tree(chain.output), expected))
            problems += len(verify(str(chain.output)))
            shutil.rmtree(chain.output)
            print(f"{by_kind.total():,} kills, {chains} runs ended, {differing} files differ, {len(failures)} failures")
        return {
            "kills": by_kind.total(),
            "runs_ended": chains,
            "files_compared_per_run": len(expected),
            "tasks_per_run": len(nursery.whole.tasks),
            "operations_per_run": nursery.whole.operations,
            "tasks_committed": tasks,
            "files_that_differ": differing,
            "problems_found_by_verify": problems,
            "failures": failures,
            "kills_by_kind": dict(by_kind.most_common()),
            "kills_by_step": dict(by_step.most_common()),
            "steps_never_killed_in": sorted({step for step, _ in nursery.whole.tasks} - by_step.keys()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "lid.176.ftz")
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "kills.json")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = attack(options.kills, options.seed, options.data, options.model, Path(folder))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    record = {
        "claim": "a run killed at any point and started again writes the same bytes and recomputes nothing committed",
        "seed": options.seed,
        **counts,
        "seconds": round(time.monotonic() - started, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "memory_bytes": memory},
        "versions": {"python": platform.python_version(), **library_versions()},
    }
    options.result.parent.mkdir(exist_ok=True)
    options.result.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{options.result}: {counts['kills']:,} kills, {counts['files_that_differ']} files differ")
    sys.exit(bool(counts["files_that_differ"] or counts["problems_found_by_verify"] or counts["failures"]))


if __name__ == "__main__":
    main()
