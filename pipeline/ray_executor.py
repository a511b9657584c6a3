"""Ray core tasks: bounded in flight, retried, spread over the nodes; a local Ray where none is given.

`RAY_ADDRESS` (set by `ray job submit`) names the cluster to join. What all tasks share is put in the object store
once per step; a task is one partition. Only Rays started here are ended here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.commit import Manifest
from pipeline.engine import Work, execute

IN_FLIGHT_PER_CPU = 2
"""Enough to hide the round trip of 1.6 ms, few enough for the driver's memory."""


class RayExecutor:
    def __init__(self, workers: int | None = None, memory_per_worker: int = 0) -> None:
        """memory_per_worker: bytes that each task reserves, so that Ray places no more on a node than fit."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray = ray
        self.owned = not ray.is_initialized()
        joined = bool(os.environ.get("RAY_ADDRESS")) or not self.owned
        if self.owned:
            if joined:
                ray.init(address=os.environ["RAY_ADDRESS"], logging_level=logging.WARNING, log_to_driver=False)
            else:
                ray.init(
                    address="local",  # a Ray of somebody else on this machine is not joined unasked
                    num_cpus=workers,
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    configure_logging=True,
                )
        self.in_flight = IN_FLIGHT_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        if workers is not None and joined:
            self.in_flight = min(self.in_flight, workers)
        largest = max((node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
        if memory_per_worker > largest:
            raise ValueError(
                f"runtime.memory_per_worker is {memory_per_worker:,} bytes, but the largest node has "
                f"{int(largest):,} for tasks; lower it"
            )
        self.remote = ray.remote(num_cpus=1, memory=memory_per_worker, max_retries=3, scheduling_strategy="SPREAD")(
            execute
        )

    def nodes(self) -> int:
        return sum(1 for node in self.ray.nodes() if node["Alive"])

    def run(self, work: Work, pending: Mapping[int, Any]) -> Iterator[tuple[int, Manifest | Exception]]:
        ray = self.ray
        task = self.remote.options(name=work.name)
        held = ray.put(work)
        queue = iter(pending.items())
        running: dict[Any, int] = {}
        while True:
            while len(running) < self.in_flight and (following := next(queue, None)) is not None:
                index, payload = following
                running[task.remote(held, index, payload)] = index
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                index = running.pop(reference)
                try:
                    yield index, ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    yield index, error.cause if isinstance(error.cause, Exception) else error
                except ray.exceptions.RayError as error:
                    yield index, error

    def close(self) -> None:
        if self.owned:
            self.ray.shutdown()
