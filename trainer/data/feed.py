"""What this rank computes on: its samples of every step in micro-batches, fetched ahead by a thread.

Of the B samples of a step, [g, g + B), data-parallel rank r of R takes [g + r B // R, g + (r + 1) B // R) and cuts
them into micro-batches; tensor- and pipeline-parallel ranks of one data rank take the same. So any number of ranks
consumes the same samples in a step, also one that does not divide the batch. What comes next follows from the schedule
alone, and is fetched `AHEAD` micro-batches ahead, across steps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from gristmill.trainer.config.schedule import Schedule, Step
from gristmill.trainer.data.loader import Loader, Samples
from gristmill.trainer.parallel.groups import Group

AHEAD = 2


def shares(step: Step, data: Group, micro_batch: int) -> list[np.ndarray]:
    """The samples of a step that data-parallel rank `data.rank` takes: int64, one array per micro-batch."""
    first, end = (step.first_sample + r * step.sequences // data.size for r in (data.rank, data.rank + 1))
    return [np.arange(at, min(at + micro_batch, end)) for at in range(first, end, micro_batch)]


class Feed:
    """Micro-batches in the order of their use, from the step after `samples` samples to the run's end."""

    def __init__(self, loader: Loader, schedule: Schedule, data: Group, micro_batch: int, samples: int):
        self._loader = loader
        self._ahead = _plan(schedule, data, micro_batch, samples)
        self._pool = ThreadPoolExecutor(1, "gristmill-feed")
        self._coming: deque[Future[Samples]] = deque()
        self.waited_s = 0.0
        """Seconds that `take` had to wait, since it was last set to 0."""
        for _ in range(AHEAD):
            self._submit()

    def take(self) -> Samples:
        """The next micro-batch. IndexError past the end."""
        coming = self._coming.popleft()
        self._submit()
        began = time.perf_counter()
        samples = coming.result()
        self.waited_s += time.perf_counter() - began
        return samples

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._pool.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        if (following := next(self._ahead, None)) is not None:
            self._coming.append(self._pool.submit(self._loader.fetch, *following))


def _plan(schedule: Schedule, data: Group, micro_batch: int, samples: int) -> Iterator[tuple[int, np.ndarray]]:
    while (step := schedule.at(samples)) is not None:
        for piece in shares(step, data, micro_batch):
            yield step.phase, piece
        samples += step.sequences
