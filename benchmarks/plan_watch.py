"""Runs the pipeline on Ray with every task timed and its peak memory noted, for `benchmarks/plan.py`.

The engine's own `execute` is wrapped; what it writes is what it always writes. Linux: a process's peak is VmHWM of
/proc/self/status, set back before every task by /proc/self/clear_refs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gristmill.storage.store import Store


@dataclass(frozen=True)
class Watched:
    """A run of the whole pipeline, or of the first pass alone."""

    sealed: list[Any]
    record: dict[str, Any]
    tasks: dict[tuple[str, int], dict[str, float]]
    """(step, index) -> wall, seconds (the smaller of wall and CPU), before and peak (bytes of the process), first (1 in
    its worker, else 0)."""
    store: Store
    files: list[Any]
    workers: int


def watched(config: Any, log: Path, first_pass_only: bool = False) -> Watched:
    """Runs the pipeline on Ray with every task timed and its peak memory noted."""
    import ray

    from gristmill.pipeline.config.order import order
    from gristmill.pipeline.engine.engine import Engine
    from gristmill.pipeline.engine.progress import Terminal
    from gristmill.pipeline.engine.ray_executor import RayExecutor
    from gristmill.pipeline.readers.inventory import inventory
    from gristmill.pipeline.run import Driver
    from gristmill.storage.lease import Lease
    from gristmill.storage.store import Store

    log.mkdir()
    workers = os.cpu_count() or 1
    store = Store(config.output)
    files = inventory(config.sources)
    begun = time.perf_counter()
    executor = RayExecutor(workers, config.runtime.memory_per_worker)
    started = time.perf_counter() - begun
    memory = config.runtime.memory_per_worker
    executor.remote = ray.remote(num_cpus=1, memory=memory, scheduling_strategy="SPREAD")(timed(str(log)))
    progress = Terminal()
    try:
        with Lease(store):
            engine = Engine(store, executor, progress)
            driver = Driver(config, engine, files)
            if first_pass_only:
                driver.read(order(config.stages).first)
                record: dict[str, Any] = {}
            else:
                record = driver.run().record
    finally:
        progress.close()
        executor.close()
    lines = [json.loads(line) for path in sorted(log.glob("*.jsonl")) for line in path.read_text().splitlines()]
    seen: set[tuple[int, str]] = set()
    tasks = {}
    for line in sorted(lines, key=lambda line: line["at"]):
        mark = (line["pid"], line["step"])
        tasks[line["step"], line["index"]] = {**line, "first": float(mark not in seen)}
        seen.add(mark)
    return Watched(list(engine.sealed), {**record, "start_seconds": started}, tasks, store, files, workers)


def timed(log: str) -> Callable[..., Any]:
    """The engine's `execute`, leaving a line a task in `log`; sent to the workers by value."""

    def run(work: Any, index: int, payload: Any) -> Any:
        import json
        import os
        import time

        from gristmill.pipeline.engine.task import execute

        def memory(name: str) -> int:
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # forgets the peak so far
        before = memory("VmRSS")
        begun, cpu = time.perf_counter(), time.process_time()
        result = execute(work, index, payload)
        wall = time.perf_counter() - begun
        seconds = min(wall, time.process_time() - cpu)
        line = {"step": work.name, "index": index, "pid": os.getpid(), "at": begun, "seconds": seconds, "wall": wall}
        line |= {"before": before, "peak": memory("VmHWM")}
        with open(f"{log}/{os.getpid()}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        return result

    return run
